"""A world for functional tests: the synthesized stack, deployed on a local AWS."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bakery.naming import TAG_BAKE, pointer, previous_pointer
from scripts.bakery_cli.synthesis import synthesize
from scripts.local import LocalAws
from tests.functional.making import Making

RECIPES = Path(__file__).parent / "recipes"

_GONE = {"terminated", "shutting-down"}
_STANDS = {"open", "active", "disabled"}
_HAPPENED = (None, "LostAnswer")


@dataclass(frozen=True)
class Ended:
    """A bake that is over."""

    name: str
    arn: str
    status: str
    output: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    cause: str = ""


class FunctionFailedError(Exception):
    """What a function raised, as Step Functions sees it: the class's name and the message."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message


@dataclass
class World:
    """The account, and what tests ask of it."""

    aws: LocalAws
    outputs: dict[str, str]
    clean: set[str] = field(default_factory=set)
    """Bakes of which nothing is left: a pointer remembers its last hundred images only."""
    _count: int = 0

    def start(self, content: object, *, name: str | None = None) -> str:
        """Start an execution with this input and return its ARN."""
        self._count += 1
        answer = self.aws.client("stepfunctions").start_execution(
            stateMachineArn=self.outputs["BakeStateMachineArn"],
            name=name or f"bake-{self._count}",
            input=json.dumps(content),
        )
        return str(answer["executionArn"])

    def execution(self, name: str) -> str:
        """ARN of the execution of that name, whether there is one or not."""
        machine = self.outputs["BakeStateMachineArn"]
        return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"

    def ended(self, arn: str, *, seconds: float = 60) -> Ended:
        """Wait for the end of an execution."""
        found = self.aws.finished(arn, seconds=seconds)
        return Ended(
            name=found["name"],
            arn=arn,
            status=found["status"],
            output=json.loads(found.get("output") or "{}"),
            error=found.get("error", ""),
            cause=found.get("cause", ""),
        )

    def bake(self, recipe: str, *, seconds: float = 60, **options: object) -> Ended:
        return self.ended(self.start({"recipe": recipe, **options}), seconds=seconds)

    def invoke(self, module: str, event: object) -> Any:
        """What the deployed function of a module returns; raises FunctionFailedError.

        ``module`` is the last part of its name, e.g. ``launch_builder``.
        """
        (function,) = [
            function.name
            for function in self.aws.lambdas.functions.values()
            if function.handler.split(".")[-2] == module
        ]
        outcome = self.aws.invoke(function, json.dumps(event))
        answer = json.loads(outcome.payload)
        if outcome.error:
            raise FunctionFailedError(answer["errorType"], answer["errorMessage"])
        return answer

    def pointer(self, recipe: str) -> str | None:
        return self.parameter(pointer(recipe))

    def previous(self, recipe: str) -> str | None:
        return self.parameter(previous_pointer(recipe))

    def parameter(self, name: str) -> str | None:
        ssm = self.aws.client("ssm")
        try:
            return str(ssm.get_parameter(Name=name)["Parameter"]["Value"])
        except ssm.exceptions.ParameterNotFound:
            return None

    def tagged(self, kind: str, bake: str) -> list[dict[str, Any]]:
        """Resources of the bake as EC2 describes them: instance, volume, image, snapshot or
        spot request."""
        ec2 = self.aws.client("ec2")
        filters = [{"Name": f"tag:{TAG_BAKE}", "Values": [bake]}]
        match kind:
            case "instance":
                found = ec2.describe_instances(Filters=filters)["Reservations"]
                return [i for reservation in found for i in reservation["Instances"]]
            case "volume":
                return list(ec2.describe_volumes(Filters=filters)["Volumes"])
            case "spot request":
                found = ec2.describe_spot_instance_requests(Filters=filters)
                return list(found["SpotInstanceRequests"])
            case "image":
                return list(ec2.describe_images(Owners=["self"], Filters=filters)["Images"])
            case _:
                found = ec2.describe_snapshots(OwnerIds=["self"], Filters=filters)
                return list(found["Snapshots"])

    def left_behind(self, bake: str) -> list[str]:
        """Ids of what the bake made and neither published nor removed."""
        requests = self.tagged("spot request", bake)
        left = [r["SpotInstanceRequestId"] for r in requests if r["State"] in _STANDS]
        mine = {r["SpotInstanceRequestId"] for r in requests}
        left += [
            instance["InstanceId"]
            for instance in self.aws.ec2.all("instances")
            if not _is_gone(instance)
            # What a request launched by itself has no tags.
            and (_bake_of(instance) == bake or instance.get("SpotInstanceRequestId") in mine)
        ]
        left += [v["VolumeId"] for v in self.tagged("volume", bake) if v["State"] == "available"]
        published = set(self._published())
        images = self.tagged("image", bake)
        left += [image["ImageId"] for image in images if image["ImageId"] not in published]
        held = {m["Ebs"]["SnapshotId"] for image in images for m in image["BlockDeviceMappings"]}
        snapshots = {s["SnapshotId"] for s in self.tagged("snapshot", bake)}
        return left + sorted(snapshots - held)

    def _published(self) -> Iterator[str]:
        """Images that a pointer holds or held: taking those away is not a bake's business."""
        ssm = self.aws.client("ssm")
        pages = ssm.get_paginator("get_parameters_by_path")
        for page in pages.paginate(Path="/ami-bakery", Recursive=True):
            for parameter in page["Parameters"]:
                history = ssm.get_paginator("get_parameter_history")
                for versions in history.paginate(Name=parameter["Name"]):
                    yield from (version["Value"] for version in versions["Parameters"])

    def calls(self, operation: str) -> list[dict[str, Any]]:
        """Parameters of every call of an operation that had its effect."""
        return [
            c.parameters for c in self.aws.calls.of(operation=operation) if c.error in _HAPPENED
        ]

    def leases(self) -> dict[str, str]:
        """Recipe to the execution that holds it."""
        prefix = "claim#lease#"
        return {
            key.removeprefix(prefix): item["holder"]["S"]
            for key, item in self.items().items()
            if key.startswith(prefix)
        }

    def items(self) -> dict[str, dict[str, Any]]:
        """What the table holds, by key."""
        dynamodb = self.aws.client("dynamodb")
        (table,) = dynamodb.list_tables()["TableNames"]
        return {item["id"]["S"]: item for item in dynamodb.scan(TableName=table)["Items"]}

    def open_waits(self) -> list[str]:
        return list(self.waits())

    def waits(self) -> dict[str, dict[str, Any]]:
        """The open waits by their keys in the table."""
        return {
            key: json.loads(item["wait"]["S"])
            for key, item in self.items().items()
            if key.startswith("wait#")
        }


def _bake_of(instance: dict[str, Any]) -> str | None:
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
    return tags.get(TAG_BAKE)


def _is_gone(instance: dict[str, Any]) -> bool:
    return instance["State"]["Name"] in _GONE


@pytest.fixture(scope="session")
def assembly() -> Path:
    """The cloud assembly of the stack with the recipes beside this file."""
    return synthesize(RECIPES, lambda _: None)


@pytest.fixture(scope="module")
def deployed(assembly: Path) -> Iterator[World]:
    with LocalAws.start(assembly, region="eu-west-1", scale=120.0) as aws:
        yield World(aws, aws.deploy())


@pytest.fixture
def world(deployed: World) -> Iterator[World]:
    """The module's world without the faults, calls and events of the test before.

    After every test nothing may be left of any bake that has ended.
    """
    aws = deployed.aws
    aws.calls.clear()
    aws.events.recorded.clear()
    yield deployed
    # A function of a bake that was stopped goes on: what kept it from making something must stay.
    aws.until(lambda: aws.lambdas.idle, what="the end of all functions")
    aws.faults.clear()
    aws.events.clear()
    aws.agent.scripts.clear()
    aws.agent.all_silent = False
    aws.ec2.state.shortages.clear()
    states = aws.client("stepfunctions")
    executions = states.list_executions(stateMachineArn=deployed.outputs["BakeStateMachineArn"])
    ended = [e for e in executions["executions"] if e["status"] != "RUNNING"]
    for execution in ended:
        if execution["name"] not in deployed.clean:
            assert deployed.left_behind(execution["name"]) == [], execution["name"]
            deployed.clean.add(execution["name"])
    # No state of an aborted one runs any more: its lease is taken over by the next bake.
    cleaned = {e["executionArn"] for e in ended if e["status"] in ("SUCCEEDED", "FAILED")}
    held = set(deployed.leases().values()) & cleaned
    assert not held, "leases of executions that have ended"


@pytest.fixture
def quiet(world: World) -> World:
    """The world while nothing but the test resumes a wait: no event arrives, nothing is swept."""
    world.aws.schedules.paused = True
    world.aws.events.drop(times=float("inf"))
    world.aws.ec2.durations.image = 20
    return world


@pytest.fixture
def making(quiet: World) -> Making:
    """A bake that is planned and has not begun."""
    return Making.begin(quiet)
