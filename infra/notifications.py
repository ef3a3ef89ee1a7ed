"""Who is told when something needs a person."""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from bakery.naming import EVENT_SOURCE
from infra.jobs import Jobs
from infra.settings import Settings
from infra.store import Store


class Notifications(Construct):
    """A topic for failed bakes, for what clean up left, for lost events, for failing jobs."""

    def __init__(
        self, scope: Construct, id_: str, *, settings: Settings, store: Store, jobs: Jobs
    ) -> None:
        super().__init__(scope, id_)
        self._dead_letters = store.dead_letters
        self._topic = topic = sns.Topic(self, "Topic", display_name="AMI Bakery", enforce_ssl=True)
        if settings.notification_email:
            topic.add_subscription(subscriptions.EmailSubscription(settings.notification_email))
        # The policy that TLS-only needs takes the place of the default that lets alarms in.
        topic.grant_publish(iam.ServicePrincipal("cloudwatch.amazonaws.com"))
        field = events.EventField.from_path
        self._tell(
            "BakeFailed",
            events.EventPattern(source=[EVENT_SOURCE], detail_type=["Bake Failed"]),
            f"AMI Bakery: recipe {field('$.detail.recipe')} failed with "
            f"{field('$.detail.error')}: {field('$.detail.summary')} "
            f"Execution: {field('$.detail.execution')}",
        )
        self._tell(
            "BakeLeftSomething",
            events.EventPattern(
                source=[EVENT_SOURCE], detail_type=["Bake Succeeded"], detail={"clean": [False]}
            ),
            f"AMI Bakery: recipe {field('$.detail.recipe')} was baked, but clean up could not "
            f"remove: {field('$.detail.left')} Execution: {field('$.detail.execution')}",
        )
        self._tell(
            "OrphansRemoved",
            events.EventPattern(source=[EVENT_SOURCE], detail_type=["Orphans Removed"]),
            f"AMI Bakery: bakes were cut short; the janitor has removed "
            f"{field('$.detail.removed')} and left {field('$.detail.left')}",
        )
        alarms = {
            "DeadLetters": store.dead_letters.metric_approximate_number_of_messages_visible(
                period=Duration.minutes(5)
            ),
            **{
                f"{function.node.id}Errors": function.metric_errors(period=Duration.minutes(5))
                for function in jobs.functions
            },
        }
        for name, metric in alarms.items():
            alarm = cloudwatch.Alarm(
                self,
                name,
                metric=metric,
                threshold=1,
                # The sweeper fails now and then under throttling; twice in a row needs a person.
                evaluation_periods=2 if name.endswith("Errors") else 1,
                comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
                treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            )
            alarm.add_alarm_action(actions.SnsAction(topic))

    def _tell(self, name: str, pattern: events.EventPattern, text: str) -> None:
        message = events.RuleTargetInput.from_text(text)
        events.Rule(
            self,
            name,
            event_pattern=pattern,
            targets=[
                targets.SnsTopic(self._topic, message=message, dead_letter_queue=self._dead_letters)
            ],
        )
