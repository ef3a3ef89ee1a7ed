"""A world for functional tests: the synthesized stack, deployed on a local AWS."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bakery.naming import TAG_TEST, pointer, previous_pointer
from scripts.bakery_cli.synthesis import synthesize
from scripts.local import LocalAws
from scripts.local.lambdas import Function
from tests.account import Account
from tests.functional.making import Making, begun, end_all

RECIPES = Path(__file__).parent / "recipes"

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
class World(Account):
    """The account, and what tests do in it."""

    outputs: dict[str, str]
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

    @contextmanager
    def carrying(
        self, recipes: dict[str, Any], module: str, folder: Path, *, published: bool = False
    ) -> Iterator[None]:
        """Meanwhile a function's deployment has these recipes; the machine does not know of it,
        unless its published versions have them too."""
        (function,) = [
            it for it in self.aws.lambdas.functions.values() if f".{module}." in it.handler
        ]
        versions = self.aws.lambdas.versions(function.name) if published else []
        before, root = function.root, folder / "asset"
        root.mkdir()
        for part in before.iterdir():
            if part.name != "recipes.json":
                (root / part.name).symlink_to(part.resolve())
        (root / "recipes.json").write_text(json.dumps(recipes), encoding="utf-8")
        try:
            for it in (function, *versions):
                self._unpack(it, root)
            yield
        finally:
            for it in (function, *versions):
                self._unpack(it, before)

    @staticmethod
    def _unpack(function: Function, root: Path) -> None:
        function.root = root
        while function.idle:
            function.idle.pop().kill()

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

    @contextmanager
    def baking(self, recipe: str) -> Iterator[None]:
        """Meanwhile a bake has the recipe, and gets no builder."""
        self.aws.faults.error(
            "ec2", "RunInstances", code="RequestLimitExceeded", status=503, times=99
        )
        running = self.start({"recipe": recipe, "force": True})
        self.aws.until(lambda: self.leases().get(recipe) == running, what="the lease")
        try:
            yield
        finally:
            self.aws.client("stepfunctions").stop_execution(executionArn=running)
            self.ended(running)

    def invoke(self, module: str, event: object) -> Any:
        """What the deployed function of a module returns; raises FunctionFailedError.

        ``module`` is the last part of its name, e.g. ``launch_builder``.
        """
        (function,) = [
            function.name
            for function in self.aws.lambdas.functions.values()
            if function.handler.split(".")[-2] == module
        ]
        if isinstance(event, dict) and "token" in event:
            self._given(event["token"])
        outcome = self.aws.invoke(function, json.dumps(event))
        answer = json.loads(outcome.payload)
        if outcome.error:
            raise FunctionFailedError(answer["errorType"], answer["errorMessage"])
        return answer

    def _given(self, token: str) -> None:
        """Be the token of a state of the machine: to send it back is a right on the machine."""
        tokens = self.aws.executions.engine.tokens
        tokens.machines.setdefault(token, self.outputs["BakeStateMachineArn"])

    def pointer(self, recipe: str, region: str | None = None) -> str | None:
        return self.parameter(pointer(recipe), region)

    def previous(self, recipe: str, region: str | None = None) -> str | None:
        return self.parameter(previous_pointer(recipe), region)

    def parameter(self, name: str, region: str | None = None) -> str | None:
        ssm = self.aws.client("ssm", region)
        try:
            return str(ssm.get_parameter(Name=name)["Parameter"]["Value"])
        except ssm.exceptions.ParameterNotFound:
            return None

    def told(self, kind: str, bake: str) -> list[dict[str, Any]]:
        """The events of the kind about this bake: one of the test before may come late."""
        return [it for it in self.aws.events.of(kind) if it["detail"]["bake"] == bake]

    def calls(self, operation: str, region: str = "") -> list[dict[str, Any]]:
        """Parameters of every call of an operation that had its effect, in a Region or in all."""
        return [
            c.parameters
            for c in self.aws.calls.of(operation=operation)
            if c.error in _HAPPENED and region in ("", c.region)
        ]

    def launches(self) -> list[dict[str, Any]]:
        """Parameters of every launch of a builder."""
        return [it for it in self.calls("RunInstances") if TAG_TEST not in json.dumps(it)]

    def sent_to_builders(self) -> list[dict[str, Any]]:
        """Parameters of every command but those to test instances."""
        return [it for it in self.calls("SendCommand") if "/test/" not in it["Comment"]]


@pytest.fixture(scope="session")
def assembly() -> Path:
    """The cloud assembly of the stack with the recipes beside this file."""
    return synthesize(RECIPES, lambda _: None)


@pytest.fixture(scope="module")
def deployed(assembly: Path) -> Iterator[World]:
    with LocalAws.start(assembly, region="eu-west-1", scale=120.0) as aws:
        prepare(aws)
        yield World(aws, aws.deploy())
        assert end_all(aws) == []


def prepare(aws: LocalAws) -> None:
    """What the recipes take for granted: keys and launch templates of the account."""
    for region in ("eu-west-1", "eu-central-1"):
        kms = aws.client("kms", region)
        key = kms.create_key()["KeyMetadata"]["KeyId"]
        kms.create_alias(AliasName="alias/images", TargetKeyId=key)
    aws.ec2.launch_template("lt-0123456789abcdef0", InstanceType="t3.small", ImageId="ami-12345678")
    aws.ec2.launch_template("lt-0123456789abcdef2", InstanceType="t3.small", ImageId="ami-12345678")
    aws.ec2.launch_template(
        "lt-0123456789abcdef1", "eu-central-1", InstanceType="t3.small", ImageId="ami-12345678"
    )


@pytest.fixture
def world(deployed: World) -> Iterator[World]:
    """The module's world without the faults, calls and events of the test before."""
    aws = deployed.aws
    aws.calls.clear()
    aws.events.recorded.clear()
    others = begun(aws)  # of the whole module
    yield deployed
    # A function of a bake that was stopped goes on: what kept it from making something must stay.
    aws.until(lambda: aws.lambdas.idle, what="the end of all functions")
    aws.faults.clear()
    aws.events.clear()
    aws.agent.scripts.clear()
    aws.agent.all_silent = False
    aws.ec2.state.shortages.clear()
    assert end_all(aws, but=others) == []


@pytest.fixture
def quiet(world: World) -> World:
    """The world while nothing but the test resumes a wait: no event arrives, nothing is swept."""
    world.aws.schedules.paused = True
    world.aws.events.drop(times=float("inf"))
    # An event of the test before may have begun to resume a wait of that.
    world.aws.until(lambda: world.aws.lambdas.idle, what="the end of all functions")
    world.aws.calls.clear()
    world.aws.ec2.durations.image = 20
    return world


@pytest.fixture
def making(quiet: World) -> Making:
    """A bake that is planned and has not begun."""
    return Making.begin(quiet)
