"""ReplaceBuilder: the lost builder and all of its attempt goes, and the bake begins anew."""

from typing import Any

import pytest

from bakery import clock
from tests.functional.conftest import FunctionFailedError
from tests.functional.making import Making, state

ENTERED = {"entered": "2026-01-01T03:00:00.000Z"}
FAILURE = {
    "Error": "BuilderTakenError",
    "Cause": "EC2 itself stopped builder i-1: Server.ScheduledStop: retired.",
}


@pytest.fixture
def making(quiet: Any) -> Making:
    return Making.begin(quiet, "thrifty")


def lost(making: Making, builder: str, *, attempt: int = 1, **more: object) -> dict[str, Any]:
    launch = {"instance_id": builder, "instance_type": "t3.small", "market": "spot", **ENTERED}
    launched = {**making.plan["launch"], "attempt": attempt}
    plan = {**making.plan, "launch": launched, **ENTERED}
    return {"plan": plan, "launch": launch, "failure": FAILURE, **more}


def replace(making: Making, builder: str, **more: Any) -> dict[str, Any]:
    entered = making.world.aws.clock.now().isoformat()
    whole = lost(making, builder, **more)
    event = {"bake": making.bake, "entered": entered, "state": whole}
    result: dict[str, Any] = making.world.invoke("replace_builder", event)
    return result


def requests(making: Making) -> list[str]:
    return [it["State"] for it in making.world.tagged("spot request", making.bake)]


def test_it_hands_back_the_state_for_an_on_demand_attempt(making: Making) -> None:
    builder = making.launched()
    begun = replace(making, builder, prepare=ENTERED)
    assert set(begun) == {"plan", "lost_builder"}
    assert begun["plan"]["launch"] == {**making.plan["launch"], "spot": False, "attempt": 2}
    assert begun["lost_builder"]["instance_id"] == builder
    assert begun["lost_builder"]["why"] == FAILURE["Cause"]


def test_request_and_instance_go_and_nothing_comes_after_them(making: Making) -> None:
    builder = making.launched()
    replace(making, builder)
    assert requests(making) == ["cancelled"]
    making.world.aws.until(lambda: state(making.world, builder) == "terminated", what="its end")
    making.world.aws.clock.advance(minutes=10)
    assert making.world.left_behind(making.bake) == []


def test_the_request_is_cancelled_before_its_instance_is_ended(making: Making) -> None:
    """The other way round it would launch the next one."""
    replace(making, making.launched())
    calls = [call.operation for call in making.world.aws.calls.of("ec2", role="ReplaceBuilder")]
    assert calls.index("CancelSpotInstanceRequests") < calls.index("TerminateInstances")


def test_an_untagged_instance_that_the_request_launched_goes_too(making: Making) -> None:
    builder = making.launched()
    making.world.aws.client("ec2").terminate_instances(InstanceIds=[builder])

    def again() -> str | None:
        (request,) = making.world.tagged("spot request", making.bake)
        found = request.get("InstanceId")
        return found if found != builder else None

    untagged = str(making.world.aws.until(again, what="another instance"))
    replace(making, builder)
    assert state(making.world, untagged) in ("shutting-down", "terminated")


def test_an_unfinished_image_goes_with_its_snapshots(making: Making) -> None:
    builder = making.stopped()
    making.world.invoke("create_image", making.imaging(builder))
    replace(making, builder)
    assert making.images() == []
    assert making.world.tagged("snapshot", making.bake) == []


def test_the_waits_of_this_bake_are_forgotten_and_no_others(making: Making) -> None:
    builder = making.stopped()
    making.world.invoke("create_image", making.imaging(builder))
    other = Making.begin(making.world)
    others = other.stopped()
    making.world.invoke("create_image", other.imaging(others))
    replace(making, builder)
    bakes = [wait["bake"] for wait in making.world.waits().values()]
    assert making.bake not in bakes
    assert other.bake in bakes


def test_called_twice_it_says_the_same(making: Making) -> None:
    builder = making.launched()
    first, second = replace(making, builder), replace(making, builder)
    for begun in (first, second):
        clock.parse(begun["lost_builder"].pop("replaced"))
    assert first == second


def test_the_next_launch_adopts_nothing_of_the_first_attempt(making: Making) -> None:
    """Not even while EC2 still shows the first builder as stopped."""
    first = making.stopped()
    event = making.launching(attempt=2)
    event["launch"] = {**event["launch"], "spot": False}
    second = making.world.invoke("launch_builder", event)
    assert second["instance_id"] != first
    assert second["market"] == "on-demand"
    assert making.world.invoke("launch_builder", event) == second
    assert sorted(making.instances()) == sorted([first, second["instance_id"]])
    replace(making, first)


def test_the_image_of_the_first_attempt_is_not_adopted(making: Making) -> None:
    first = making.stopped()
    making.world.invoke("create_image", making.imaging(first))
    event = making.launching(attempt=2)
    second = str(making.world.invoke("launch_builder", event)["instance_id"])
    making.world.aws.until(lambda: state(making.world, second) == "running")
    making.world.aws.client("ec2").stop_instances(InstanceIds=[second])
    making.world.aws.until(lambda: state(making.world, second) == "stopped")
    making.world.aws.client("ec2").deregister_image(ImageId=making.images()[0])
    making.world.invoke("create_image", making.imaging(second))
    (image,) = making.world.tagged("image", making.bake)
    assert image["SourceInstanceId"] == second


def test_after_the_last_attempt_there_is_none(making: Making) -> None:
    builder = making.launched()
    with pytest.raises(FunctionFailedError) as failed:
        replace(making, builder, attempt=2)
    assert failed.value.name == "BuilderTakenError"
    assert "builder 2 of 2" in failed.value.message
    assert state(making.world, builder) == "running"  # CleanUp's business, which may keep it
    replace(making, builder)


@pytest.mark.parametrize(
    ("operation", "code", "name"),
    [
        ("DescribeSpotInstanceRequests", "UnauthorizedOperation", "AccessDeniedError"),
        ("CancelSpotInstanceRequests", "RequestLimitExceeded", None),
        ("TerminateInstances", "OperationNotPermitted", "AwsCallFailedError"),
    ],
)
def test_what_it_cannot_remove_ends_the_replacement(
    making: Making, operation: str, code: str, name: str | None
) -> None:
    """A second builder beside the first would cost twice; the bake fails and is cleaned up."""
    builder = making.launched()
    status = 503 if code == "RequestLimitExceeded" else 400
    making.world.aws.faults.error("ec2", operation, code=code, status=status)
    if name is None:  # the SDK rides it out
        replace(making, builder)
        return
    with pytest.raises(FunctionFailedError) as failed:
        replace(making, builder)
    assert failed.value.name == name
    replace(making, builder)


def test_snapshots_go_without_their_image_too(making: Making) -> None:
    """A first try deregistered it, and was killed."""
    builder = making.stopped()
    making.world.invoke("create_image", making.imaging(builder))
    making.world.aws.client("ec2").deregister_image(ImageId=making.images()[0])
    assert making.world.tagged("snapshot", making.bake) != []
    replace(making, builder)
    assert making.world.tagged("snapshot", making.bake) == []
