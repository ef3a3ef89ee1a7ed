"""Several starts of one recipe: who bakes, who waits, and how those end that waited."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from bakery import budgets
from tests.functional.conftest import Ended, World

_ENDED = "Step Functions Execution Status Change"


@pytest.fixture(autouse=True)
def nobody_waits(world: World) -> Iterator[None]:
    """After each test no turn is waited for, and the recipe is free."""
    yield
    world.aws.ec2.durations.image = 120
    assert [key for key in world.open_waits() if key.startswith("wait#turn/")] == []


def busy(world: World, **content: object) -> str:
    """A bake that has the recipe and takes its time."""
    arn = world.start({"recipe": "small", "force": True, **content})
    world.aws.until(lambda: world.leases().get("small") == arn, what="the lease")
    return arn


def waiting(world: World, *arns: str) -> None:
    """Return when all of them wait for their turn."""
    names = {name(arn) for arn in arns}

    def who() -> bool:
        turns = [key for key in world.open_waits() if key.startswith("wait#turn/")]
        return names <= {key.rpartition("/")[2] for key in turns}

    world.aws.until(who, what=f"{names} to wait")


def name(arn: str) -> str:
    return arn.rpartition(":")[2]


def stages(ended: Ended) -> list[str]:
    return [stage["stage"] for stage in ended.output["timeline"]]


def baked(world: World) -> list[str]:
    """Bakes that have launched a builder."""
    return [
        tag["Value"]
        for call in world.calls("RunInstances")
        for tag in call["TagSpecifications"][0]["Tags"]
        if tag["Key"] == "ami-bakery:bake"
    ]


def end_of(arn: str) -> Any:
    """Whether an event is about the end of the execution."""
    return lambda event: (
        event["detail"]["executionArn"] == arn and event["detail"]["status"] != "RUNNING"
    )


def test_the_second_waits_for_the_first_and_then_finds_nothing_changed(world: World) -> None:
    first = busy(world)
    world.aws.client("ssm")
    second = world.start({"recipe": "small", "force": True})
    third = world.start({"recipe": "small"})
    ends = [world.ended(arn, seconds=90) for arn in (first, second, third)]
    assert [ended.status for ended in ends] == ["SUCCEEDED"] * 3
