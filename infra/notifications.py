"""Who is told when something needs a person."""

from collections.abc import Sequence

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from bakery.naming import EVENT_SOURCE, STAGE_SLOW
from infra.jobs import Jobs
from infra.settings import Settings
from infra.store import Store

_FIVE_MINUTES = Duration.minutes(5)
_METRICS_OF_AN_ALARM = 10
"""An alarm on an expression takes no more. Source: CloudWatch user guide, "Create a CloudWatch
alarm based on a metric math expression"."""


class Notifications(Construct):
    """A topic for bakes that failed, were skipped or are slow, and for what clean up left; for
    events that were lost, and jobs that fail."""

    def __init__(
        self, scope: Construct, id_: str, *, settings: Settings, store: Store, jobs: Jobs
    ) -> None:
        super().__init__(scope, id_)
        self._dead_letters = store.dead_letters
        self._rules: list[events.Rule] = []
        self._topic = topic = sns.Topic(self, "Topic", display_name="AMI Bakery", enforce_ssl=True)
        if settings.notification_email:
            topic.add_subscription(
                subscriptions.EmailSubscription(
                    settings.notification_email, dead_letter_queue=store.dead_letters
                )
            )
        ours = {"StringEquals": {"aws:SourceAccount": Stack.of(self).account}}
        # The policy that TLS-only needs takes the place of the default that lets alarms in.
        topic.grant_publish(iam.ServicePrincipal("cloudwatch.amazonaws.com", conditions=ours))
        # Rules publish with a role: in a topic's policy EventBridge takes no condition, so that
        # letting it in would let in the rules of every account.
        # Source: EventBridge user guide, "Using resource-based policies": for SNS either a role or
        # a policy. (An earlier text of that page warned of roles; since March 2025 all targets take
        # one.)
        self._teller = iam.Role(
            self,
            "TellerRole",
            assumed_by=iam.ServicePrincipal("events.amazonaws.com", conditions=ours),
            description="AMI Bakery: what the rules that tell a person may do",
        )
        field = events.EventField.from_path
        self._tell(
            "BakeFailed",
            events.EventPattern(source=[EVENT_SOURCE], detail_type=["Bake Failed"]),
            f"AMI Bakery: recipe {field('$.detail.recipe')} failed with "
            f"{field('$.detail.error')}: {field('$.detail.summary')} {field('$.detail.advice')} "
            f"Execution: {field('$.detail.execution')}",
        )
        self._tell(
            "RegionLeftOut",
            events.EventPattern(
                source=[EVENT_SOURCE],
                detail_type=["Bake Succeeded"],
                detail={"everywhere": [False]},
            ),
            f"AMI Bakery: recipe {field('$.detail.recipe')} was baked, but these Regions keep "
            f"their old image: {field('$.detail.left_out')} "
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
        self._tell(
            "SlotSkipped",
            events.EventPattern(
                source=[EVENT_SOURCE], detail_type=["Bake Unchanged"], detail={"skipped": [True]}
            ),
            f"AMI Bakery: recipe {field('$.detail.recipe')} was not baked: "
            f"{field('$.detail.reason')}. Execution: {field('$.detail.execution')}",
        )
        self._tell(
            "StageSlow",
            events.EventPattern(source=[EVENT_SOURCE], detail_type=[STAGE_SLOW]),
            f"AMI Bakery: recipe {field('$.detail.recipe')} is slow: "
            f"{field('$.detail.stage')} (bake {field('$.detail.bake')}) has begun at "
            f"{field('$.detail.since')} and was expected to end by {field('$.detail.expected')}. "
            f"It goes on; at {field('$.detail.deadline')} it fails.",
        )
        self._alarm(
            "DeadLetters",
            store.dead_letters.metric_approximate_number_of_messages_visible(period=_FIVE_MINUTES),
        )
        # What cannot even become a dead letter leaves no other trace.
        self._alarm(
            "DeadLettersLost",
            store.schedule_group.metric_failed_to_be_sent_to_dlq(period=_FIVE_MINUTES),
        )
        lost = [
            *(_lost_by_rule(it) for it in (*jobs.rules, *self._rules)),
            *(_lost_by_function(it) for it in jobs.with_dead_letters),
        ]
        for first in range(0, len(lost), _METRICS_OF_AN_ALARM):
            self._alarm(
                f"EventsLost{first // _METRICS_OF_AN_ALARM + 1}",
                _sum(lost[first : first + _METRICS_OF_AN_ALARM]),
            )
        # The sweeper fails now and then under throttling; twice in a row needs a person.
        self._alarm(
            f"{jobs.sweeper.node.id}Errors",
            jobs.sweeper.metric_errors(period=_FIVE_MINUTES),
            periods=2,
        )
        # The others run so seldom that twice in a row is never: the janitor every 15 minutes.
        for function in jobs.others:
            errors = function.metric_errors(period=Duration.minutes(15))
            self._alarm(f"{function.node.id}Errors", errors)

    def _alarm(self, name: str, metric: cloudwatch.IMetric, *, periods: int = 1) -> None:
        alarm = cloudwatch.Alarm(
            self,
            name,
            metric=metric,
            threshold=1,
            evaluation_periods=periods,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(self._topic))

    def _tell(self, name: str, pattern: events.EventPattern, text: str) -> None:
        message = events.RuleTargetInput.from_text(text)
        rule = events.Rule(
            self,
            name,
            event_pattern=pattern,
            targets=[
                targets.SnsTopic(
                    self._topic,
                    message=message,
                    role=self._teller,
                    dead_letter_queue=self._dead_letters,
                )
            ],
        )
        self._rules.append(rule)


def _lost_by_rule(rule: events.IRule) -> cloudwatch.Metric:
    """Events that a rule could neither deliver nor put into the queue.

    CloudWatch gets it only when it is not zero. Source: EventBridge user guide, "Monitoring Amazon
    EventBridge".
    """
    return cloudwatch.Metric(
        namespace="AWS/Events",
        metric_name="InvocationsFailedToBeSentToDlq",
        dimensions_map={"RuleName": rule.rule_name},
        statistic="Sum",
        period=_FIVE_MINUTES,
    )


def _lost_by_function(function: lambda_.IFunction) -> cloudwatch.Metric:
    """Events on which a function has failed for good, and that Lambda could not put into the
    queue. Source: Lambda developer guide, "Types of metrics for Lambda functions"."""
    return function.metric("DestinationDeliveryFailures", statistic="Sum", period=_FIVE_MINUTES)


def _sum(metrics: Sequence[cloudwatch.IMetric]) -> cloudwatch.MathExpression:
    return cloudwatch.MathExpression(
        expression="SUM(METRICS())",
        using_metrics={f"m{number}": metric for number, metric in enumerate(metrics)},
        period=_FIVE_MINUTES,
    )
