"""Bakes that the clock starts: over changes of clocks, and when Scheduler is late."""

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from scripts import cron
from scripts.bakery_cli.synthesis import synthesize
from scripts.local import LocalAws
from tests.functional.conftest import World

ZONE, HALF_PAST_ONE = "Europe/London", "30 1 * * ? *"
RECIPE = {
    "description": "every night, whatever has changed",
    "base": {"parameter": "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"},
    "schedule": {
        "cron": HALF_PAST_ONE,
        "timezone": ZONE,
        "only_if_changed": False,
        "flexible_minutes": 0,
    },
}


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    recipes = tmp_path_factory.mktemp("recipes")
    # JSON is YAML.
    (recipes / "nightly.yaml").write_text(json.dumps(RECIPE), encoding="utf-8")
    assembly = synthesize(recipes, lambda _: None)
    with LocalAws.start(assembly, region="eu-west-1", scale=240.0) as aws:
        yield World(aws, aws.deploy())


def ahead(world: World) -> Iterator[datetime]:
    """The slots to come, but for one that is about to."""
    now = world.aws.clock.now() + timedelta(hours=1)
    return cron.slots(HALF_PAST_ONE, ZONE, now, now + timedelta(days=800))


def go_to(world: World, moment: datetime) -> None:
    """Let the time be a little before the moment; what the schedule does next is up to it."""
    jump = moment - timedelta(minutes=2) - world.aws.clock.now()
    assert jump > timedelta(0)
    world.aws.clock.advance(seconds=jump.total_seconds())


def begin_with(world: World, slot: datetime) -> None:
    """As ``go_to``; the schedule starts with this slot, which on AWS would be one of many."""
    world.aws.schedules.keep_time("SchedulesBakenightly", since=slot)
    go_to(world, slot)


def passed(world: World, moment: datetime) -> None:
    """Return when the minute is over: what it starts is started."""
    world.aws.until(lambda: world.aws.clock.now() > moment + timedelta(minutes=2), what="a minute")


def fired(world: World) -> list[str]:
    return list(world.aws.schedules.find("SchedulesBakenightly").fired)


def executions(world: World, *, of: list[str]) -> list[dict[str, Any]]:
    """The ended executions that have these slots, in their order."""
    states = world.aws.client("stepfunctions")

    def ended() -> list[dict[str, Any]]:
        found = states.list_executions(stateMachineArn=world.outputs["BakeStateMachineArn"])
        described = [
            states.describe_execution(executionArn=execution["executionArn"])
            for execution in found["executions"]
        ]
        by_slot = {json.loads(it["input"])["slot"]: it for it in described}
        ours = [by_slot[slot] for slot in of if slot in by_slot]
        return ours if len(ours) == len(of) and all(o["status"] != "RUNNING" for o in ours) else []

    return list(world.aws.until(ended, what=f"bakes of {of}", seconds=60))


def outputs(world: World, slots: list[str]) -> list[dict[str, Any]]:
    return [json.loads(it["output"]) for it in executions(world, of=slots)]


def written(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def night_after(world: World, *, hours: int) -> tuple[datetime, datetime]:
    """The next two slots that follow each other after so many hours."""
    apart = timedelta(hours=hours)
    return next((a, b) for a, b in pairwise(ahead(world)) if b - a == apart)


@pytest.mark.failure(58)
def test_the_night_whose_time_does_not_exist_is_skipped_and_those_around_it_are_baked(
    world: World,
) -> None:
    """In spring 01:30 is 01:30 UTC, then not at all, then 00:30 UTC: 47 hours."""
    before, after = night_after(world, hours=47)
    known = len(fired(world))
    begin_with(world, before)
    (first,) = outputs(world, [written(before)])
    for moment in (after - timedelta(days=1), before + timedelta(days=1)):
        go_to(world, moment)
        passed(world, moment)
    assert fired(world)[known:] == [written(before)]
    go_to(world, after)
    (second,) = outputs(world, [written(after)])
    assert fired(world)[known:] == [written(before), written(after)]
    assert first["outcome"] == second["outcome"] == "baked"
    assert second["previous"] == first["image"]["id"]


@pytest.mark.failure(58)
def test_the_time_that_comes_twice_is_baked_once(world: World) -> None:
    """In autumn 01:30 is 00:30 UTC, again 01:30 UTC, and the next night 01:30 UTC: 25 hours."""
    twice, after = night_after(world, hours=25)
    known = len(fired(world))
    begin_with(world, twice)
    (first,) = outputs(world, [written(twice)])
    again = twice + timedelta(hours=1)
    go_to(world, again)
    passed(world, again)
    assert fired(world)[known:] == [written(twice)]
    go_to(world, after)
    (second,) = outputs(world, [written(after)])
    assert fired(world)[known:] == [written(twice), written(after)]
    assert first["outcome"] == second["outcome"] == "baked"


@pytest.mark.failure(57)
def test_a_slot_that_is_delivered_hours_late_is_skipped_and_people_are_told(world: World) -> None:
    (slot, *_) = ahead(world)
    begin_with(world, slot)
    world.aws.clock.advance(hours=3)
    (output,) = outputs(world, [written(slot)])
    assert output["outcome"] == "unchanged"
    assert output["skipped_slot"] == written(slot)
    assert re.search(r"2 h 5[89] min late and is skipped", output["reason"])
    assert world.calls("RunInstances") == []
    (event,) = world.aws.until(lambda: world.aws.events.of("Bake Unchanged"), what="the event")
    assert event["detail"]["skipped"] is True
    (mail,) = world.aws.until(lambda: mails(world), what="the mail")
    assert mail.startswith("AMI Bakery: recipe nightly was not baked: the schedule's slot")
    assert re.search(r"2 h 5[89] min late", mail)


def test_a_slot_that_is_delivered_within_the_hour_is_baked(world: World) -> None:
    (slot, *_) = ahead(world)
    begin_with(world, slot)
    world.aws.clock.advance(minutes=50)
    (output,) = outputs(world, [written(slot)])
    assert (output["outcome"], output["skipped_slot"]) == ("baked", None)
    assert mails(world) == []


def test_a_stage_that_is_slow_is_told_by_one_mail(world: World) -> None:
    world.aws.ec2.durations.image = 2 * 3600
    (slot, *_) = ahead(world)
    begin_with(world, slot)
    world.aws.until(lambda: world.waits(), what="the bake")
    world.aws.until(lambda: any("image/" in wait for wait in world.waits()), what="the image")
    world.aws.ec2.durations.image = 120
    world.aws.clock.advance(minutes=62)
    (mail,) = world.aws.until(lambda: mails(world), what="the mail")
    assert mail.startswith("AMI Bakery: recipe nightly is slow: Creating the image (bake ")
    world.aws.clock.advance(minutes=55)
    (output,) = outputs(world, [written(slot)])
    assert output["outcome"] == "baked"
    assert len(mails(world)) == 1


def mails(world: World) -> list[str]:
    """What was published for people since the test began."""
    return [str(call["Message"]).strip('"') for call in world.calls("Publish")]
