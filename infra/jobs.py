"""Functions outside the machine, and the events and schedules that start them.

They have no versions: what is deployed last serves the bakes of every release still under way, so a
job must understand the waits, inputs and outputs of the release before.
"""

from collections.abc import Mapping
from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as scheduler_targets
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from bakery import settings as env
from bakery.naming import BAKE_SUCCEEDED, DOCUMENT_PREFIX, EVENT_SOURCE, STAGE_SLOW
from bakery.waits import Kind
from infra.documents import Documents
from infra.functions import FunctionFactory
from infra.machine import BakeMachine
from infra.mover import MoveMachine
from infra.permissions import Permissions
from infra.settings import Settings
from infra.store import Store

_ENDED = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")


class Jobs(Construct):
    """Resumes waits by events and by the sweeper; announces how bakes ended; bakes what builds on a
    new image; removes what bakes left behind, and old images."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        factory: FunctionFactory,
        store: Store,
        machine: BakeMachine,
        mover: MoveMachine,
        retire_images: lambda_.Function,
        documents: Documents,
        may: Permissions,
        settings: Settings,
    ) -> None:
        super().__init__(scope, id_)
        self._dead_letters = store.dead_letters
        self._schedule_group = store.schedule_group
        self.rules: list[events.Rule] = []
        resume = factory.make(
            self,
            "jobs.resume_waits",
            statements=[
                may.waits("GetItem", "Query"),
                *may.settle(*Kind),
                # That a slow wait was told.
                may.claims("PutItem"),
                # Whether Sysprep had begun before it stopped its builder.
                may.read_command_log(),
                may.announce(),
            ],
            environment=env.WaitSettings(table=store.table.table_name),
            # A Region that does not answer takes two minutes of it.
            timeout=Duration.minutes(5),
        )
        self._every(
            Duration.minutes(1),
            resume,
            "Sweeper",
            description="AMI Bakery: resume waits whose event was lost",
            content={"sweep": True},
        )
        for name, pattern in _wait_events(documents).items():
            self._on(name, resume, pattern)
        # A rollback or a promotion has the recipe's lease as a bake does.
        self._on("TurnCame", resume, _ends_of(machine, *_ENDED, beside=(mover,)))
        # Its own event tells the sweeper that it was sent.
        self._on("SlowTold", resume, {"source": [EVENT_SOURCE], "detail_type": [STAGE_SLOW]})
        announce = factory.make(
            self,
            "jobs.announce_bake",
            statements=[
                may.claims("PutItem", "DeleteItem"),
                may.executions("DescribeExecution"),
                may.announce(),
            ],
            environment=env.AnnounceSettings(table=store.table.table_name),
            dead_letters=store.dead_letters,
        )
        self._on(
            "BakeEnded",
            announce,
            _ends_of(machine, *_ENDED),
        )
        janitor = factory.make(
            self,
            "jobs.remove_orphans",
            statements=[
                may.read(
                    "ec2:DescribeImages",
                    "ec2:DescribeInstances",
                    "ec2:DescribeSnapshots",
                    "ec2:DescribeSpotInstanceRequests",
                    "ec2:DescribeVolumes",
                ),
                *may.remove(),
                may.remove_volumes(),
                may.executions("DescribeExecution"),
                may.list_pointers("GetParametersByPath", "GetParameterHistory"),
                may.waits("Query", "DeleteItem"),
                may.claims("Query", "DeleteItem"),
                may.announce(),
            ],
            environment=env.JanitorSettings(
                table=store.table.table_name,
                machine=may.machine_arn,
                report_only=settings.janitor == "report",
                most=settings.janitor_removes_at_most,
                regions=tuple(may.regions[1:]),
            ),
            timeout=Duration.minutes(5),
        )
        self._every(
            Duration.minutes(15),
            janitor,
            "Janitor",
            description="AMI Bakery: remove what bakes left behind",
            content={},
        )
        # Both pass every Catch of the machine by.
        self._on("BakeCutShort", janitor, _ends_of(machine, "ABORTED", "TIMED_OUT"))
        dependents = factory.make(
            self,
            "jobs.bake_dependents",
            statements=[may.start_bakes()],
            environment=env.DependentsSettings(machine=may.machine_arn),
            # A base may have a hundred recipes on it, and Step Functions be short of time.
            timeout=Duration.minutes(5),
            dead_letters=store.dead_letters,
        )
        self._on(
            "ImagePublished",
            dependents,
            {"source": [EVENT_SOURCE], "detail_type": [BAKE_SUCCEEDED]},
        )
        retire = factory.make(
            self,
            "jobs.retire_daily",
            statements=[may.claims("GetItem"), may.start_retiring(retire_images)],
            environment=env.RetireSettings(
                table=store.table.table_name, function=retire_images.function_arn
            ),
        )
        self._every(
            Duration.days(1),
            retire,
            "Retire",
            description="AMI Bakery: let old images go",
            content={},
        )
        self.sweeper = resume
        self.others = (announce, dependents, janitor, retire)
        self.with_dead_letters = (announce, dependents)

    def _every(
        self,
        period: Duration,
        function: lambda_.Function,
        name: str,
        *,
        description: str,
        content: Mapping[str, object],
    ) -> None:
        scheduler.Schedule(
            self,
            # Not the name alone, which was that of a schedule outside the group: CloudFormation
            # would take the move for an update, and find nothing to update in the new group.
            f"{name}Schedule",
            description=description,
            schedule_group=self._schedule_group,
            schedule=scheduler.ScheduleExpression.rate(period),
            target=scheduler_targets.LambdaInvoke(
                function,
                # Without an input, Scheduler sends an event that looks like one of EventBridge's.
                input=scheduler.ScheduleTargetInput.from_object(dict(content)),
                dead_letter_queue=self._dead_letters,
                max_event_age=Duration.seconds(min(period.to_seconds(), 3600)),
                # The next run is the retry of this one.
                retry_attempts=0,
            ),
        )

    def _on(self, name: str, function: lambda_.Function, pattern: Mapping[str, Any]) -> None:
        rule = events.Rule(
            self,
            name,
            event_pattern=events.EventPattern(**pattern),
            targets=[_target(function, self._dead_letters)],
        )
        self.rules.append(rule)


def _target(function: lambda_.Function, dead_letters: sqs.IQueue) -> targets.LambdaFunction:
    return targets.LambdaFunction(
        function,
        dead_letter_queue=dead_letters,
        max_event_age=Duration.hours(1),
        retry_attempts=10,
    )


def _ends_of(
    machine: BakeMachine, *statuses: str, beside: tuple[MoveMachine, ...] = ()
) -> dict[str, Any]:
    """The events of bakes that have ended so."""
    return {
        "source": ["aws.states"],
        "detail_type": ["Step Functions Execution Status Change"],
        "detail": {
            "stateMachineArn": [machine.arn, *(it.arn for it in beside)],
            "status": list(statuses),
        },
    }


def _wait_events(documents: Documents) -> dict[str, dict[str, Any]]:
    """The events that end waits. None carries our tag, so a stranger's event finds no wait."""
    return {
        "BuilderStopped": {
            "source": ["aws.ec2"],
            "detail_type": ["EC2 Instance State-change Notification"],
            "detail": {"state": ["stopped", "shutting-down", "terminated"]},
        },
        "ImageMade": {
            "source": ["aws.ec2"],
            "detail_type": ["EC2 AMI State Change"],
            "detail": {"State": ["available", "failed", "deregistered", "disabled"]},
        },
        "CommandEnded": {
            "source": ["aws.ssm"],
            "detail_type": ["EC2 Command Invocation Status-change Notification"],
            "detail": {
                "document-name": [{"prefix": DOCUMENT_PREFIX}, *documents.names_in_events],
                "status": [{"anything-but": ["Pending", "InProgress", "Delayed", "Cancelling"]}],
            },
        },
    }
