"""Bakes on spot, and bakes whose builder AWS takes away.

That nothing is left, spot requests included, is asserted after every test by the ``world`` fixture.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.functional.conftest import Ended, World
from tests.functional.making import state

pytestmark = pytest.mark.long

STEP = "AmiBakery.thrifty.packages"


@pytest.fixture(autouse=True)
def pointer_true(world: World) -> Iterator[None]:
    """The pointer holds an image that is there, and nobody waits for anything any more."""
    yield
    pointed = world.pointer("thrifty")
    if pointed:
        (image,) = world.aws.client("ec2").describe_images(ImageIds=[pointed])["Images"]
        assert image["State"] == "available"
    assert world.open_waits() == []


def started(world: World, **options: Any) -> tuple[str, str]:
    """ARN and name of a bake under way."""
    arn = world.start({"recipe": "thrifty", "force": True, **options})
    return arn, arn.rpartition(":")[2]


def builder(world: World, bake: str, number: int = 1) -> dict[str, Any]:
    """The bake's so-manieth builder, once it is there."""

    def there() -> dict[str, Any] | None:
        found = sorted(world.tagged("builder", bake), key=lambda it: str(it["LaunchTime"]))
        return found[number - 1] if len(found) >= number else None

    found: dict[str, Any] = world.aws.until(there, what=f"builder {number}")
    return found


def held_in(world: World, document: str) -> None:
    """The next command of the document runs until its builder is gone."""
    world.aws.agent.script(document, status="InProgress", times=1)


def sent(world: World, document: str, times: int = 1) -> None:
    def enough() -> bool:
        names = [call["DocumentName"] for call in world.sent_to_builders()]
        return names.count(document) >= times

    world.aws.until(enough, what=f"{document} sent")


@contextmanager
def unnoticed(world: World) -> Iterator[None]:
    """Nobody looks at the builder meanwhile: no event comes, no sweeper, and no task is at work."""
    world.aws.schedules.paused = True
    held = world.aws.events.hold()
    try:
        world.aws.until(lambda: world.aws.lambdas.idle, what="the task's own look")
        yield
    finally:
        world.aws.schedules.paused = False
        world.aws.events.release(held)


def replaced_once(world: World, arn: str, bake: str) -> Ended:
    """The bake went well with its second builder, which is on-demand."""
    ended = world.ended(arn)
    assert ended.status == "SUCCEEDED", f"{ended.error}: {ended.cause}"
    first, second = builder(world, bake, 1), builder(world, bake, 2)
    assert len(world.tagged("builder", bake)) == 2
    assert second.get("InstanceLifecycle") is None
    (image,) = world.tagged("image", bake)
    assert image["SourceInstanceId"] == second["InstanceId"]
    assert ended.output["image"]["id"] == image["ImageId"] == world.pointer("thrifty")
    assert f"builder {first['InstanceId']} was replaced: " in ended.output["reason"]
    stages = [stage["stage"] for stage in ended.output["timeline"]]
    assert stages[:3] == ["plan", "lost_builder", "launch"]
    assert len(world.calls("CreateImage")) == 1
    return ended


def test_a_bake_on_spot_publishes_and_leaves_no_request(world: World) -> None:
    arn, bake = started(world)
    ended = world.ended(arn)
    assert ended.status == "SUCCEEDED", ended.cause
    (instance,) = world.tagged("builder", bake)
    assert instance["InstanceLifecycle"] == "spot"
    (request,) = world.tagged("spot request", bake)
    assert request["State"] == "cancelled"
    assert request["Type"] == "persistent"
    assert request["InstanceInterruptionBehavior"] == "stop"
    assert world.pointer("thrifty") == ended.output["image"]["id"]
    assert "replaced" not in ended.output["reason"]


def test_without_room_on_spot_the_bake_is_on_demand(world: World) -> None:
    world.aws.ec2.no_capacity(market="spot")
    arn, bake = started(world)
    assert world.ended(arn).status == "SUCCEEDED"
    (instance,) = world.tagged("builder", bake)
    assert "InstanceLifecycle" not in instance
    assert world.tagged("spot request", bake) == []
    calls = [c.parameters for c in world.aws.calls.of("ec2", "RunInstances")]
    tried = [it for it in calls if "ami-bakery:test" not in json.dumps(it, default=str)]
    markets = ["InstanceMarketOptions" in parameters for parameters in tried]
    assert markets == [True] * (len(tried) - 1) + [False]


def test_an_interruption_while_waiting_for_the_agent(world: World) -> None:
    world.aws.agent.never_online()
    arn, bake = started(world)
    instance = builder(world, bake)["InstanceId"]
    world.aws.ec2.interrupt(instance)
    gone = ("stopping", "stopped", "shutting-down", "terminated")
    world.aws.until(lambda: state(world, instance) in gone, what="the interruption")
    world.aws.agent.all_silent = False
    ended = replaced_once(world, arn, bake)
    assert "before it came up: Server.SpotInstanceShutdown" in ended.output["reason"]


@pytest.mark.failure(13)
@pytest.mark.parametrize(
    "document",
    ["AmiBakery-prepare-linux", STEP, "AmiBakery-generalize-linux", "AmiBakery-verify-identity"],
)
def test_an_interruption_while_a_document_runs(world: World, document: str) -> None:
    held_in(world, document)
    arn, bake = started(world)
    sent(world, document)
    world.aws.ec2.interrupt(builder(world, bake)["InstanceId"])
    ended = replaced_once(world, arn, bake)
    assert "Server.SpotInstanceShutdown" in ended.output["reason"]
    # Both builders went through everything: the second one is as new.
    runs = [c["InstanceIds"][0] for c in world.sent_to_builders() if c["DocumentName"] == document]
    assert len(runs) == len(set(runs)) == 2
    costs = ended.output["estimated_cost_usd"]
    assert costs > 0.001


def test_an_interruption_that_ends_the_command_is_not_the_steps_failure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command has ended before the builder has, and before anybody looked."""
    world.aws.agent.script(STEP, status="Undeliverable", seconds=120)
    arn, bake = started(world)
    sent(world, STEP)
    monkeypatch.setattr(world.aws.ec2.durations, "stopping", 600)
    world.aws.ec2.interrupt(builder(world, bake)["InstanceId"], notice=0)
    world.aws.until(lambda: len(world.tagged("builder", bake)) == 2, what="the second builder")
    monkeypatch.undo()
    replaced_once(world, arn, bake)


def test_an_interruption_between_two_documents(world: World) -> None:
    """Systems Manager takes no command for an instance that does not run."""

    def interrupt() -> None:
        world.aws.ec2.interrupt(builder(world, bake)["InstanceId"], notice=0)

    world.aws.faults.after(
        "stepfunctions", "SendTaskSuccess", interrupt, when=lambda it: "command_id" in it["output"]
    )
    arn, bake = started(world)
    ended = replaced_once(world, arn, bake)
    assert "during Step 'packages'" in ended.output["reason"]
    assert len(world.sent_to_builders()) == 1 + 5


def test_ec2_starts_an_interrupted_builder_again_before_anybody_looks(world: World) -> None:
    held_in(world, STEP)
    arn, bake = started(world)
    sent(world, STEP)
    instance = builder(world, bake)["InstanceId"]
    with unnoticed(world):
        world.aws.ec2.interrupt(instance, notice=0)
        world.aws.until(lambda: state(world, instance) == "stopped", what="the interruption")
        world.aws.ec2.capacity_returns(instance)
        world.aws.until(lambda: state(world, instance) == "running", what="its new start")
    ended = replaced_once(world, arn, bake)
    assert "has started it again" in ended.output["reason"]


def test_an_interruption_at_the_stop_is_a_stop(world: World) -> None:
    """Verification has passed, and nothing was left to do but that."""
    world.aws.faults.error("ec2", "StopInstances", code="RequestLimitExceeded", status=503, times=5)
    arn, bake = started(world)
    world.aws.until(lambda: world.aws.calls.of("ec2", "StopInstances"), what="the stop", seconds=60)
    world.aws.ec2.interrupt(builder(world, bake)["InstanceId"], notice=0)
    ended = world.ended(arn)
    assert ended.status == "SUCCEEDED", ended.cause
    (instance,) = world.tagged("builder", bake)
    assert len(world.tagged("spot request", bake)) == 1
    assert instance["InstanceLifecycle"] == "spot"


@pytest.mark.failure(13)
def test_a_retired_host_is_replaced_too(world: World) -> None:
    """Nothing of this is about spot alone."""
    world.aws.ec2.no_capacity(market="spot")
    held_in(world, STEP)
    arn, bake = started(world)
    sent(world, STEP)
    world.aws.ec2.retire(builder(world, bake)["InstanceId"])
    ended = replaced_once(world, arn, bake)
    assert "Server.ScheduledStop" in ended.output["reason"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("market", ["spot", "on-demand"])
def test_a_killed_replacement_finds_what_its_first_try_did(
    world: World, market: str, after: bool
) -> None:
    """Cancelling the request of a stopped spot builder ends the builder as well."""
    if market == "on-demand":
        world.aws.ec2.no_capacity(market="spot")
    operation = {"spot": "CancelSpotInstanceRequests", "on-demand": "TerminateInstances"}[market]
    held_in(world, STEP)
    arn, bake = started(world)
    sent(world, STEP)
    fault = world.aws.faults.crash("ReplaceBuilder", operation, after=after)
    world.aws.ec2.retire(builder(world, bake)["InstanceId"])
    replaced_once(world, arn, bake)
    assert fault.matched == 1


def test_a_second_loss_fails_the_bake_with_both(world: World) -> None:
    before = world.pointer("thrifty")
    world.aws.agent.script(STEP, status="InProgress", times=2)
    arn, bake = started(world)
    sent(world, STEP)
    first = builder(world, bake)["InstanceId"]
    world.aws.ec2.interrupt(first)
    sent(world, STEP, times=2)
    second = builder(world, bake, 2)["InstanceId"]
    world.aws.ec2.retire(second)
    ended = world.ended(arn)
    assert ended.status == "FAILED"
    assert ended.error == "BuilderTakenError"
    lines = ended.cause.splitlines()
    assert second in lines[0] and "Server.ScheduledStop" in lines[0]
    assert "It was not replaced" in lines[1] and "builder 2 of 2" in lines[1]
    assert f"Before, builder {first} was replaced: " in lines[2]
    assert world.pointer("thrifty") == before
    assert len(world.tagged("builder", bake)) == 2


@pytest.mark.failure(13)
def test_a_loss_that_is_nobodys_but_a_persons_is_not_made_good(world: World) -> None:
    """And the request, which would launch another builder, is cancelled; or that one is ended."""
    held_in(world, STEP)
    arn, bake = started(world)
    sent(world, STEP)
    with unnoticed(world):
        instance = builder(world, bake)["InstanceId"]
        world.aws.client("ec2").terminate_instances(InstanceIds=[instance])

        def again() -> str | None:
            (request,) = world.tagged("spot request", bake)
            found = request.get("InstanceId")
            return found if found != instance else None

        untagged = str(world.aws.until(again, what="the request's next instance"))
    ended = world.ended(arn)
    assert ended.error == "BuilderLostError"
    assert state(world, untagged) in ("shutting-down", "terminated")
    assert len(world.tagged("builder", bake)) == 1


def test_a_failure_of_the_replacement_tells_the_first_loss(world: World) -> None:
    held_in(world, STEP)
    arn, bake = started(world)
    sent(world, STEP)
    fault = world.aws.faults.error(
        "ec2",
        "CancelSpotInstanceRequests",
        code="UnauthorizedOperation",
        status=403,
        role="ReplaceBuilder",
    )
    world.aws.ec2.interrupt(builder(world, bake)["InstanceId"])
    ended = world.ended(arn)
    assert fault.matched == 1
    assert ended.error == "BuilderTakenError"
    assert "Server.SpotInstanceShutdown" in ended.cause.splitlines()[0]
    assert "It was not replaced: AccessDeniedError" in ended.cause
    assert len(world.tagged("builder", bake)) == 1


def test_a_bake_on_spot_that_is_stopped_by_hand_is_cleaned_by_the_janitor(world: World) -> None:
    held_in(world, STEP)
    arn, bake = started(world)
    sent(world, STEP)
    world.aws.client("stepfunctions").stop_execution(executionArn=arn)
    assert world.ended(arn).status == "ABORTED"
    world.aws.until(lambda: world.left_behind(bake) == [], what="the janitor", seconds=60)
    (request,) = world.tagged("spot request", bake)
    assert request["State"] == "cancelled"
    world.aws.until(lambda: not world.open_waits(), what="the end of its waits")


def test_a_kept_builder_on_spot_keeps_its_request_until_the_hold_ends(world: World) -> None:
    """Cancelling it would end a builder that is stopped, and leave one that cannot be stopped."""
    world.aws.agent.script(STEP, exit_code=7, times=1)
    arn, bake = started(world, on_failure="keep")
    ended = world.ended(arn)
    assert ended.error == "CustomizationFailedError"
    instance = builder(world, bake)
    assert instance["State"]["Name"] == "running"
    (request,) = world.tagged("spot request", bake)
    assert request["State"] == "active"
    world.aws.clock.advance(hours=9)
    world.invoke("remove_orphans", {})
    (request,) = world.tagged("spot request", bake)
    assert request["State"] == "cancelled"
    assert world.left_behind(bake) == []
