"""A bake that hears of nothing: the sweeper costs each of its waits a minute at most."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bakery import clock
from bakery.waits import subject_of_event
from scripts.local import LocalAws
from tests.account import named
from tests.functional.conftest import World

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

LOST_COSTS = timedelta(seconds=60)
SWEEPING = timedelta(seconds=5)
"""What the sweeper itself takes, between its start and the last wait that it settles."""


@pytest.fixture(scope="module")
def deployed(assembly: Path) -> Iterator[World]:
    """A world in which a second of the test's own work weighs little."""
    with LocalAws.start(assembly, region="eu-west-1", scale=20.0) as aws:
        yield World(aws, aws.deploy())


def happened(world: World) -> Mapping[str, datetime]:
    """Subject of each wait to the last event that could have ended it."""
    told = ((subject_of_event(event), event["time"]) for event in world.aws.events.recorded)
    return {subject: clock.parse(time) for subject, time in told if subject}


def settled(world: World) -> Mapping[str, datetime]:
    """Subject of each wait to when it was over for the bakery."""
    deleted = world.aws.calls.of("dynamodb", "DeleteItem")
    keys = ((named(call.parameters["Key"]), call.time) for call in deleted)
    return {key.removeprefix("wait#"): time for key, time in keys if key.startswith("wait#")}


@pytest.mark.failure(45)
def test_without_any_event_each_wait_takes_a_minute_more(world: World) -> None:
    world.aws.events.drop(times=float("inf"))
    ended = world.bake("small", force=True, seconds=120)
    assert ended.status == "SUCCEEDED", ended.cause
    facts, ends = happened(world), settled(world)
    waited = {subject: ends[subject] - facts[subject] for subject in facts if subject in ends}
    assert {subject.split("/")[0] for subject in waited} >= {"command", "stop", "image"}
    assert len(waited) >= 7
    late = {what: took for what, took in waited.items() if took > LOST_COSTS + SWEEPING}
    assert late == {}
