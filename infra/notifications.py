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
    """A topic for failed bakes, for events that could not be delivered, for a failing sweeper."""

    def __init__(
        self, scope: Construct, id_: str, *, settings: Settings, store: Store, jobs: Jobs
    ) -> None:
        super().__init__(scope, id_)
        topic = sns.Topic(self, "Topic", display_name="AMI Bakery", enforce_ssl=True)
        if settings.notification_email:
            topic.add_subscription(subscriptions.EmailSubscription(settings.notification_email))
        # The policy that TLS-only needs takes the place of the default that lets alarms in.
        topic.grant_publish(iam.ServicePrincipal("cloudwatch.amazonaws.com"))
        field = events.EventField.from_path
        events.Rule(
            self,
            "BakeFailed",
            event_pattern=events.EventPattern(source=[EVENT_SOURCE], detail_type=["Bake Failed"]),
            targets=[
                targets.SnsTopic(
                    topic,
                    message=events.RuleTargetInput.from_text(
                        f"AMI Bakery: recipe {field('$.detail.recipe')} failed with "
                        f"{field('$.detail.error')}: {field('$.detail.summary')} "
                        f"Execution: {field('$.detail.execution')}"
                    ),
                    dead_letter_queue=store.dead_letters,
                )
            ],
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
