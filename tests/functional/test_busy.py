"""Several starts of one recipe: who bakes, who waits, and how those end that waited."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from bakery import budgets
from bakery.naming import pointer
from bakery.stages import AWAIT_TURN, STAGES
from tests.functional.conftest import Ended, World

pytestmark = pytest.mark.long

_ENDED = "Step Functions Execution Status Change"


@pytest.fixture(autouse=True)
def nobody_waits(world: World) -> Iterator[None]:
    """After each test no turn is waited for, and the recipe is free."""
    yield
    world.aws.ec2.durations.image = 120
    world.aws.schedules.paused = False
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
        for call in world.launches()
        for tag in call["TagSpecifications"][0]["Tags"]
        if tag["Key"] == "ami-bakery:bake"
    ]


def end_of(arn: str) -> Any:
    """Whether an event is about the end of the execution."""
    return lambda event: (
        event["detail"]["executionArn"] == arn and event["detail"]["status"] != "RUNNING"
    )


@pytest.fixture
def unbaked(world: World) -> World:
    """A world in which every bake of the recipe is needed, forced or not."""
    if world.pointer("small"):
        world.aws.client("ssm").delete_parameter(Name=pointer("small"))
    return world


def test_the_second_waits_for_the_first_and_finds_that_nothing_has_changed(unbaked: World) -> None:
    world = unbaked
    first = busy(world)
    second = world.start({"recipe": "small"})
    waiting(world, second)
    made, ended = world.ended(first), world.ended(second)
    assert made.status == ended.status == "SUCCEEDED", ended.cause
    assert ended.output["outcome"] == "unchanged"
    assert ended.output["reason"] == f"nothing has changed since image {made.output['image']['id']}"
    assert ended.output["image"] == made.output["image"]
    assert stages(ended) == ["plan", AWAIT_TURN]
    assert baked(world) == [made.name]


def test_a_forced_second_bakes_after_the_first_and_its_timeline_says_that_it_waited(
    world: World,
) -> None:
    first = busy(world)
    second = world.start({"recipe": "small", "force": True})
    waiting(world, second)
    made, ended = world.ended(first), world.ended(second)
    assert ended.status == "SUCCEEDED", ended.cause
    assert ended.output["outcome"] == "baked"
    assert ended.output["previous"] == made.output["image"]["id"]
    assert stages(ended) == ["plan", AWAIT_TURN, *STAGES[1:]]
    plan, turn, launch = ended.output["timeline"][:3]
    assert plan["seconds"] < turn["seconds"] > 60
    end_of_first = world.aws.client("stepfunctions").describe_execution(executionArn=first)
    assert datetime.fromisoformat(launch["started"]) >= end_of_first["stopDate"] - timedelta(
        seconds=1
    )
    assert baked(world) == [made.name, ended.name]


@pytest.mark.failure(55)
def test_of_several_that_wait_each_bakes_once_and_one_at_a_time(world: World) -> None:
    arns = [busy(world)]
    arns += [world.start({"recipe": "small", "force": True}) for _ in range(2)]
    waiting(world, *arns[1:])
    ends = {name(arn): world.ended(arn, seconds=90) for arn in arns}
    assert {ended.status for ended in ends.values()} == {"SUCCEEDED"}
    order = baked(world)
    assert sorted(order) == sorted(ends), "each has launched one builder"
    images = [ends[bake].output["image"]["id"] for bake in order]
    assert [ends[bake].output["previous"] for bake in order[1:]] == images[:-1]
    assert world.pointer("small") == images[-1]
    assert world.leases() == {}


def test_those_that_join_end_with_the_image_of_the_bake_they_waited_for(world: World) -> None:
    first = busy(world)
    joining = {"recipe": "small", "force": True, "when_busy": "join"}
    others = [world.start(joining) for _ in range(2)]
    waiting(world, *others)
    made = world.ended(first)
    for ended in (world.ended(arn) for arn in others):
        assert ended.output["outcome"] == "unchanged"
        assert ended.output["image"] == made.output["image"]
        assert ended.output["reason"].startswith(
            f"joined bake {made.name}, which has made this image; "
        )
    assert baked(world) == [made.name]


@pytest.mark.parametrize("when_busy", ["queue", "join"])
def test_after_a_bake_that_failed_the_next_one_bakes(world: World, when_busy: str) -> None:
    world.aws.agent.script("AmiBakery.small.packages", exit_code=1)
    first = busy(world)
    second = world.start({"recipe": "small", "force": True, "when_busy": when_busy})
    waiting(world, second)
    assert world.ended(first).error == "CustomizationFailedError"
    ended = world.ended(second)
    assert (ended.status, ended.output["outcome"]) == ("SUCCEEDED", "baked"), ended.cause


@pytest.mark.failure(56)
@pytest.mark.parametrize("when_busy", ["queue", "join"])
def test_after_a_bake_that_was_stopped_the_next_one_takes_its_lease(
    world: World, when_busy: str
) -> None:
    first = busy(world)
    second = world.start({"recipe": "small", "force": True, "when_busy": when_busy})
    waiting(world, second)
    world.aws.client("stepfunctions").stop_execution(executionArn=first)
    ended = world.ended(second)
    assert (ended.status, ended.output["outcome"]) == ("SUCCEEDED", "baked"), ended.cause
    world.aws.until(lambda: world.left_behind(name(first)) == [], what="the janitor")


def test_a_lost_event_costs_about_a_minute(world: World) -> None:
    first = busy(world)
    lost = world.aws.events.drop(_ENDED, when=end_of(first), times=float("inf"))
    seconds = [world.start({"recipe": "small", "force": True, "when_busy": "join"})]
    seconds.append(world.start({"recipe": "small", "force": True, "when_busy": "join"}))
    waiting(world, *seconds)
    made = world.ended(first)
    assert lost.matched == 1
    states = world.aws.client("stepfunctions")
    stopped = states.describe_execution(executionArn=first)["stopDate"]
    for arn in seconds:
        assert world.ended(arn).output["image"] == made.output["image"]
        late = states.describe_execution(executionArn=arn)["stopDate"] - stopped
        assert late < timedelta(seconds=60 + 360)  # the sweep's period, and what is slow here


@pytest.mark.parametrize("how", ["SUCCEEDED", "FAILED", "ABORTED"])
def test_every_end_is_an_event_that_resumes_all_who_wait(world: World, how: str) -> None:
    """Nothing is swept meanwhile."""
    if how == "FAILED":
        world.aws.agent.script("AmiBakery.small.packages", exit_code=1)
    first = busy(world)
    # Its own waits are for the events as well.
    world.aws.schedules.paused = True
    others = [world.start({"recipe": "small", "force": True}) for _ in range(2)]
    waiting(world, *others)
    if how == "ABORTED":
        world.aws.client("stepfunctions").stop_execution(executionArn=first)
    assert world.ended(first).status == how
    ends = [world.ended(arn) for arn in others]
    assert [ended.status for ended in ends] == ["SUCCEEDED"] * 2
    swept(world, first)


def test_an_event_that_comes_three_times_gives_nobody_a_second_turn(world: World) -> None:
    world.aws.events.duplicate(_ENDED, times=float("inf"), copies=3)
    arns = [busy(world)]
    arns += [world.start({"recipe": "small", "force": True}) for _ in range(2)]
    waiting(world, *arns[1:])
    ends = [world.ended(arn, seconds=90) for arn in arns]
    assert [ended.status for ended in ends] == ["SUCCEEDED"] * 3
    assert sorted(baked(world)) == sorted(name(arn) for arn in arns)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("operation", ["PutItem", "DescribeExecution"])
def test_a_task_that_is_killed_begins_its_wait_again(
    world: World, operation: str, after: bool
) -> None:
    first = busy(world)
    fault = world.aws.faults.crash("TasksAwaitTurnRole", operation, after=after)
    second = world.start({"recipe": "small", "force": True, "when_busy": "join"})
    made, ended = world.ended(first), world.ended(second)
    assert fault.matched == 1
    assert ended.output["image"] == made.output["image"]


def test_who_does_not_want_to_wait_is_refused_at_once(world: World) -> None:
    first = busy(world)
    second = world.bake("small", force=True, when_busy="refuse")
    assert (second.status, second.error) == ("FAILED", "RecipeBusyError")
    assert name(first) in second.cause
    assert world.ended(first).status == "SUCCEEDED"


def test_the_recipe_says_what_to_do_and_the_execution_overrides_it(world: World) -> None:
    """Recipe locked refuses."""
    first = world.start({"recipe": "locked", "force": True})
    world.aws.until(lambda: "locked" in world.leases(), what="the lease")
    assert world.bake("locked").error == "RecipeBusyError"
    third = world.start({"recipe": "locked", "when_busy": "join"})
    waiting(world, third)
    assert world.ended(third).output["image"] == world.ended(first).output["image"]


def test_a_turn_that_does_not_come_ends_as_busy_and_nothing_was_made(world: World) -> None:
    world.aws.ec2.durations.image = 20 * 3600
    first = busy(world)
    second = world.start({"recipe": "small", "force": True})
    waiting(world, second)
    world.aws.until(lambda: world.tagged("image", name(first)), what="the image")
    half = budgets.LONGEST_TURN / 2
    world.aws.clock.advance(seconds=half.total_seconds())
    world.invoke("resume_waits", {})
    waiting(world, second)
    world.aws.clock.advance(seconds=half.total_seconds())
    ended = world.ended(second)
    assert (ended.status, ended.error) == ("FAILED", "RecipeBusyError")
    assert f"another execution: {name(first)}. This bake has waited 12 hours" in ended.cause
    assert name(second) not in baked(world)
    assert world.leases() == {"small": first}
    world.aws.client("stepfunctions").stop_execution(executionArn=first)
    swept(world, first)


def test_one_that_is_stopped_while_it_waits_leaves_no_wait(world: World) -> None:
    """The first takes its time over its image: the janitor's period outlasts none of its waits."""
    world.aws.ec2.durations.image = 1800
    first = busy(world)
    second = world.start({"recipe": "small", "force": True})
    waiting(world, second)
    world.aws.until(lambda: world.tagged("image", name(first)), what="the image")
    world.aws.client("stepfunctions").stop_execution(executionArn=second)
    swept(world, second)
    ended = world.ended(first)
    assert ended.status == "SUCCEEDED", ended.cause
    assert world.pointer("small") == ended.output["image"]["id"]
    assert baked(world) == [ended.name]


def test_a_slot_that_had_to_queue_is_baked_once_however_long_it_waited(world: World) -> None:
    world.aws.ec2.durations.image = 4 * 3600
    first = busy(world)
    slot = f"{world.aws.clock.now():%Y-%m-%dT%H:%M:%SZ}"
    content = {"recipe": "small", "force": True, "slot": slot}
    arns = [world.start(content) for _ in range(2)]
    done = lambda arn: state_of(world, arn) != "RUNNING"  # noqa: E731
    world.aws.until(lambda: any(map(done, arns)), what="the second delivery to be refused")
    twice, queued = sorted(arns, key=done, reverse=True)
    waiting(world, queued)
    assert f"delivered twice; bake {name(queued)} has it" in world.ended(twice).output["reason"]
    world.aws.until(lambda: world.tagged("image", name(first)), what="the image")
    world.aws.clock.advance(hours=3, minutes=50)
    world.aws.ec2.durations.image = 120
    ended = world.ended(queued, seconds=120)
    assert (ended.status, ended.output["outcome"]) == ("SUCCEEDED", "baked"), ended.cause
    assert ended.output["skipped_slot"] is None
    assert baked(world) == [name(first), name(queued)]


def state_of(world: World, arn: str) -> str:
    answer = world.aws.client("stepfunctions").describe_execution(executionArn=arn)
    return str(answer["status"])


def swept(world: World, arn: str) -> None:
    """One period of the janitor later nothing of the execution is left."""
    world.ended(arn)
    world.aws.until(lambda: world.aws.lambdas.idle, what="the end of all functions")
    world.aws.clock.advance(minutes=16)
    world.invoke("remove_orphans", {})
    assert [key for key in world.open_waits() if key.endswith(f"/{name(arn)}")] == []
    assert world.left_behind(name(arn)) == []
