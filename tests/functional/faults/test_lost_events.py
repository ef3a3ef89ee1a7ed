"""A bake that hears of nothing: the sweeper costs each of its waits a minute at most."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bakery import clock
from bakery.waits import EVERY, subject_of_event
from scripts.local import LocalAws
from tests.account import named
from tests.functional.conftest import World, prepare

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

LOST_COSTS = timedelta(seconds=60)
SWEEPING = timedelta(seconds=5)
"""What the sweeper itself takes, between its start and the last wait that it settles."""


@pytest.fixture(scope="module")
def deployed(assembly: Path) -> Iterator[World]:
    """A world in which a second of the test's own work weighs little."""
    with LocalAws.start(assembly, region="eu-west-1", scale=20.0) as aws:
        prepare(aws)
        yield World(aws, aws.deploy())


@pytest.fixture
def deaf(world: World) -> World:
    """The world, when no event arrives."""
    world.aws.events.drop(times=float("inf"))
    return world


def settled(world: World) -> Mapping[str, datetime]:
    """Subject of each wait to when it was over for the bakery."""
    deleted = world.aws.calls.of("dynamodb", "DeleteItem")
    keys = ((named(call.parameters["Key"]), call.time) for call in deleted)
    return {key.removeprefix("wait#"): time for key, time in keys if key.startswith("wait#")}


def waited(world: World) -> Mapping[str, timedelta]:
    """Subject of each wait to what it took after the last event that could have ended it."""
    told = ((subject_of_event(event), event["time"]) for event in world.aws.events.recorded)
    happened = {subject: clock.parse(time) for subject, time in told if subject}
    return {
        wait: end - time
        for wait, end in settled(world).items()
        for subject, time in happened.items()
        if wait == subject or (subject.endswith(EVERY) and wait.startswith(subject[: -len(EVERY)]))
    }


def too_late(waits: Mapping[str, timedelta]) -> Mapping[str, timedelta]:
    return {wait: took for wait, took in waits.items() if took > LOST_COSTS + SWEEPING}


def kinds(waits: Mapping[str, timedelta]) -> Counter[str]:
    return Counter(wait.split("/")[0] for wait in waits)


@pytest.mark.failure(45)
def test_without_any_event_each_wait_takes_a_minute_more(deaf: World) -> None:
    ended = deaf.bake("small", force=True, seconds=120)
    assert ended.status == "SUCCEEDED", ended.cause
    waits = waited(deaf)
    assert kinds(waits) >= Counter(command=5, stop=1, image=1)
    assert too_late(waits) == {}


def test_without_any_event_each_copy_takes_a_minute_more(deaf: World) -> None:
    ended = deaf.bake("wide", force=True, seconds=240)
    assert ended.status == "SUCCEEDED", ended.cause
    waits = waited(deaf)
    images = {ended.output["image"]["id"], *ended.output["copies"].values()}
    assert len(images) == 3
    assert {f"image/{image}" for image in images} <= set(waits)
    assert too_late(waits) == {}


def test_without_any_event_the_next_in_turn_waits_a_minute_more(deaf: World) -> None:
    arns = [deaf.start({"recipe": "small", "force": True}) for _ in range(2)]
    assert {deaf.ended(arn, seconds=240).status for arn in arns} == {"SUCCEEDED"}
    waits = waited(deaf)
    assert kinds(waits)["turn"] == 1
    assert too_late(waits) == {}
