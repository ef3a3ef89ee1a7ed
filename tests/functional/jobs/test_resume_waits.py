"""resume_waits: looks at AWS and not at the event, and a token works once."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from tests.functional.conftest import FunctionFailedError, World
from tests.functional.making import NOBODY, Making, resumed, state

Event = dict[str, Any]


@pytest.fixture(autouse=True)
def nothing_waits(quiet: World) -> Iterator[None]:
    """Each test begins with an empty table."""
    for key in quiet.open_waits():
        quiet.remove_item(key)
    yield


def event(kind: str, **detail: str) -> Event:
    return {"detail-type": kind, "source": "aws.any", "detail": detail}


def instance_event(builder: str, name: str = "stopped") -> Event:
    return event(
        "EC2 Instance State-change Notification", **{"instance-id": builder, "state": name}
    )


def stopping(making: Making, *, token: str = NOBODY) -> str:
    """A builder that is being stopped, and the wait for it."""
    builder = making.launched()
    making.world.invoke("stop_builder", making.stopping(builder, token=token))
    return builder


def has(making: Making, builder: str, wanted: str) -> None:
    making.world.aws.until(lambda: state(making.world, builder) == wanted, what=wanted)


def test_an_event_resumes_its_own_wait_and_forgets_it(making: Making) -> None:
    builder = stopping(making)
    has(making, builder, "stopped")
    making.world.invoke("resume_waits", instance_event(builder))
    assert resumed(making.world) == [{"output": json.dumps({"instance_id": builder})}]
    assert making.world.open_waits() == []


@pytest.mark.failure(47)
def test_the_same_event_again_finds_nobody_waiting(making: Making) -> None:
    builder = stopping(making)
    has(making, builder, "stopped")
    for _ in range(3):
        making.world.invoke("resume_waits", instance_event(builder))
    assert len(resumed(making.world)) == 1


def test_an_event_that_comes_too_early_leaves_the_wait(making: Making) -> None:
    """What counts is the state that EC2 shows, not the one that the event tells."""
    making.world.aws.ec2.durations.stopping = 600
    builder = stopping(making)
    making.world.aws.ec2.durations.stopping = 20
    making.world.invoke("resume_waits", instance_event(builder))
    assert resumed(making.world) == []
    assert making.world.open_waits() == [f"wait#stop/{builder}"]


@pytest.mark.parametrize(
    "given",
    [
        instance_event("i-0123456789abcdef0"),
        event("EC2 AMI State Change", ImageId="ami-0123456789abcdef0", State="available"),
        event("EC2 Command Invocation Status-change Notification", **{"command-id": "none"}),
        event("Parameter Store Change", name="/ami-bakery/other/image", operation="Update"),
        event("Something Else"),
    ],
    ids=lambda given: given["detail-type"],
)
def test_an_event_of_others_finds_no_wait_and_asks_nothing(making: Making, given: Event) -> None:
    stopping(making)
    making.world.aws.calls.clear()
    making.world.invoke("resume_waits", given)
    operations = [call.operation for call in making.world.aws.calls.of(role="ResumeWaits")]
    assert operations in (["GetItem"], [])
    assert resumed(making.world) == []


def test_a_sweep_ends_what_is_over_and_leaves_the_rest(making: Making) -> None:
    world = making.world
    over = stopping(making, token="over")
    has(making, over, "stopped")
    world.aws.ec2.durations.stopping = 600
    still = stopping(Making.begin(world), token="still")
    world.aws.ec2.durations.stopping = 20
    world.invoke("resume_waits", {})
    assert len(resumed(world, "over")) == 1
    assert resumed(world, "still") == []
    assert world.open_waits() == [f"wait#stop/{still}"]


def test_a_wait_that_cannot_be_looked_at_does_not_stop_the_others(making: Making) -> None:
    world = making.world
    denied = stopping(making, token="denied")
    fine = stopping(Making.begin(world), token="fine")
    has(making, denied, "stopped")
    has(making, fine, "stopped")
    fault = world.aws.faults.error(
        "ec2",
        "DescribeInstances",
        code="UnauthorizedOperation",
        status=403,
        times=9,
        when=lambda parameters: denied in str(parameters),
    )
    with pytest.raises(FunctionFailedError) as failed:
        world.invoke("resume_waits", {})
    assert failed.value.name == "ExceptionGroup"
    assert len(resumed(world, "fine")) == 1
    assert world.open_waits() == [f"wait#stop/{denied}"]
    fault.times = 0
    world.invoke("resume_waits", {})
    assert len(resumed(world, "denied")) == 1


@pytest.mark.parametrize("code", ["AccessDeniedException", "KmsThrottlingException"])
def test_a_token_that_could_not_be_sent_is_sent_by_the_next_sweep(
    making: Making, code: str
) -> None:
    builder = stopping(making)
    has(making, builder, "stopped")
    making.world.aws.faults.error("stepfunctions", "SendTaskSuccess", code=code)
    with pytest.raises(FunctionFailedError):
        making.world.invoke("resume_waits", instance_event(builder))
    assert making.world.open_waits() == [f"wait#stop/{builder}"]
    making.world.invoke("resume_waits", {})
    assert making.world.open_waits() == []


def test_a_lost_answer_to_the_token_is_ridden_out(making: Making) -> None:
    builder = stopping(making)
    has(making, builder, "stopped")
    making.world.aws.faults.lost_answer("dynamodb", "DeleteItem")
    making.world.invoke("resume_waits", instance_event(builder))
    assert making.world.open_waits() == []


def test_a_retry_that_waits_with_a_newer_token_is_not_forgotten(making: Making) -> None:
    """The task was tried again between the look at AWS and the end of the old wait."""
    builder = stopping(making, token="old")
    has(making, builder, "stopped")
    newer = {**making.world.waits()[f"wait#stop/{builder}"], "token": "newer"}

    def tried_again() -> None:
        making.world.put_item(f"wait#stop/{builder}", token="newer", wait=json.dumps(newer))

    making.world.aws.faults.after("ec2", "DescribeInstances", tried_again)
    making.world.invoke("resume_waits", instance_event(builder))
    assert making.world.waits()[f"wait#stop/{builder}"]["token"] == "newer"
    making.world.invoke("resume_waits", {})
    assert len(resumed(making.world, "newer")) == 1


@pytest.mark.failure(22)
def test_a_wait_beyond_its_time_is_ended_with_what_it_waited_for(making: Making) -> None:
    making.world.aws.ec2.durations.stopping = float("inf")
    builder = stopping(making)
    making.world.aws.ec2.durations.stopping = 20
    making.world.aws.clock.advance(minutes=14)
    making.world.invoke("resume_waits", {})
    assert resumed(making.world) == []
    making.world.aws.clock.advance(minutes=2)
    making.world.invoke("resume_waits", {})
    (failure,) = resumed(making.world)
    assert failure["error"] == "StageTimedOutError"
    assert f"Stopping the builder did not end within its time budget (stop {builder})" in str(
        failure["cause"]
    )
    assert making.world.open_waits() == []


@pytest.mark.failure(22)
def test_a_wait_that_nobody_can_look_at_ends_too(making: Making) -> None:
    """Step Functions' own time-out would end it later, and as no failure that tells anything."""
    making.world.aws.ec2.durations.stopping = float("inf")
    builder = stopping(making)
    making.world.aws.ec2.durations.stopping = 20
    making.world.aws.faults.error(
        "ec2", "DescribeInstances", code="UnauthorizedOperation", times=99, role="ResumeWaits"
    )
    making.world.aws.clock.advance(minutes=16)
    with pytest.raises(FunctionFailedError):
        making.world.invoke("resume_waits", {})
    making.world.aws.clock.advance(minutes=2)
    making.world.invoke("resume_waits", {})
    (failure,) = resumed(making.world)
    assert failure["error"] == "StageTimedOutError" and builder in failure["cause"]
    assert making.world.open_waits() == []


def test_a_region_that_does_not_answer_is_asked_once_in_a_sweep_and_not_in_the_way(
    making: Making,
) -> None:
    """The SDK alone spends two minutes on it: of many waits there, none elsewhere would end."""
    world, image = making.world, making.imaged()
    world.aws.ec2.durations.copy = 600
    for number, region in enumerate(("us-east-1", "us-east-1", "eu-central-1")):
        bake = replace(making, bake=f"{making.bake}-{number}")
        event = {**bake.copying(image, region, token=f"copy-{number}"), "bake": bake.bake}
        event["image_name"] = f"{event['image_name']}-{number}"
        world.invoke("copy_image", event)
    world.aws.clock.advance(minutes=15)
    fault = world.aws.faults.error(
        "ec2",
        "DescribeImages",
        code="InternalError",
        status=503,
        times=999,
        role="ResumeWaits",
        region="us-east-1",
    )
    with pytest.raises(FunctionFailedError) as failed:
        world.invoke("resume_waits", {})
    assert failed.value.name == "ExceptionGroup"
    assert fault.matched == 5, "the SDK's tries of one look"
    assert len(resumed(world, "copy-2")) == 1
    fault.times = 0
    world.invoke("resume_waits", {})
    assert len(resumed(world, "copy-0")) == len(resumed(world, "copy-1")) == 1
    for region in ("us-east-1", "eu-central-1"):  # where its recipe has no images to clean up
        for copy in world.tagged("image", making.bake, region):
            world.aws.client("ec2", region).deregister_image(
                ImageId=copy["ImageId"], DeleteAssociatedSnapshots=True
            )


def test_a_command_is_ended_by_its_event(making: Making) -> None:
    builder = making.managed()
    making.world.invoke("run_step", making.stepping(builder, 0))
    (wait,) = making.world.waits().values()
    kind = "EC2 Command Invocation Status-change Notification"
    ended = event(kind, **{"command-id": wait["target"], "status": "Success"})
    done = making.world.aws.commands.all[wait["target"]]
    making.world.aws.until(lambda: done.ended, what="the command's end")
    making.world.invoke("resume_waits", ended)
    assert resumed(making.world) == [{"output": json.dumps({"command_id": wait["target"]})}]


def test_an_image_is_ended_by_its_event(making: Making) -> None:
    making.world.invoke("create_image", making.imaging(making.stopped()))
    (image,) = making.images()
    available: Callable[[], bool] = lambda: (  # noqa: E731
        making.world.tagged("image", making.bake)[0]["State"] == "available"
    )
    making.world.aws.until(available)
    change = event("EC2 AMI State Change", ImageId=image, State="available")
    making.world.invoke("resume_waits", change)
    (told,) = resumed(making.world)
    assert json.loads(told["output"])["image_id"] == image


def test_an_image_that_somebody_deregistered_ends_its_wait_after_a_while(
    making: Making,
) -> None:
    """EC2 does not show it any more, as it does not show a new one yet."""
    making.world.invoke("create_image", making.imaging(making.stopped()))
    (image,) = making.images()
    making.world.aws.client("ec2").deregister_image(ImageId=image)
    making.world.invoke("resume_waits", {})
    assert resumed(making.world) == []
    making.world.aws.clock.advance(minutes=11)
    making.world.invoke("resume_waits", {})
    (failure,) = resumed(making.world)
    assert failure["error"] == "ImageFailedError"
    assert f"Image {image} is not there" in failure["cause"]


def test_a_wait_that_an_earlier_release_stored_is_settled(making: Making) -> None:
    """A bake goes on with its own release's tasks, whose waits today's job must understand."""
    world = making.world
    builder = stopping(making)
    has(making, builder, "stopped")
    (stored,) = world.waits().values()
    always = ("kind", "target", "token", "bake", "begun", "deadline")
    earlier = {**{name: stored[name] for name in always}, "polls": 3}
    world.put_item(f"wait#stop/{builder}", token=NOBODY, wait=json.dumps(earlier))
    world.invoke("resume_waits", instance_event(builder))
    assert resumed(world) == [{"output": json.dumps({"instance_id": builder})}]
    assert world.open_waits() == []


def test_a_wait_of_another_release_does_not_stop_the_others(making: Making) -> None:
    builder = stopping(making)
    has(making, builder, "stopped")
    making.world.put_item("wait#stop/i-1", token="t", wait='{"kind": "later"}')
    with pytest.raises(FunctionFailedError) as failed:
        making.world.invoke("resume_waits", {})
    assert failed.value.name == "ExceptionGroup"
    assert len(resumed(making.world)) == 1


# --- soft limits --------------------------------------------------------------------------------


@pytest.fixture
def slow(making: Making) -> Making:
    """A bake whose image is not made within the time in which images usually are."""
    world = making.world
    world.aws.ec2.durations.image = float("inf")
    world.invoke("create_image", making.imaging(making.stopped()))
    world.aws.ec2.durations.image = 20
    world.aws.clock.advance(minutes=61)
    world.aws.events.recorded.clear()
    return making


def told(world: World) -> list[dict[str, Any]]:
    return [event["detail"] for event in world.aws.events.of("Stage Slow")]


def test_a_wait_that_is_slow_is_told_once_and_goes_on(slow: Making) -> None:
    world = slow.world
    ((key, wait),) = world.waits().items()
    for _ in range(3):
        world.invoke("resume_waits", {})
    (detail,) = told(world)
    assert detail == {
        "recipe": "small",
        "bake": slow.bake,
        "stage": "Creating the image",
        "wait": key.removeprefix("wait#"),
        "since": seconds(wait["begun"]),
        "expected": seconds(wait["expected"]),
        "deadline": seconds(wait["deadline"]),
    }
    assert world.open_waits() == [key]
    assert resumed(world) == []


def seconds(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%Y-%m-%dT%H:%M:%SZ}"


def test_a_wait_within_its_soft_limit_is_not_told(making: Making) -> None:
    making.world.aws.ec2.durations.stopping = 3600
    stopping(making)
    making.world.aws.ec2.durations.stopping = 20
    making.world.aws.clock.advance(minutes=8)
    making.world.invoke("resume_waits", {})
    assert told(making.world) == []


def test_a_wait_that_is_over_when_it_is_looked_at_was_not_slow(making: Making) -> None:
    builder = stopping(making)
    has(making, builder, "stopped")
    making.world.aws.clock.advance(minutes=11)
    making.world.invoke("resume_waits", {})
    assert told(making.world) == []
    assert len(resumed(making.world)) == 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("operation", ["PutItem", "PutEvents"])
def test_a_sweeper_that_dies_in_between_has_told_once_or_leaves_it_to_the_next(
    slow: Making, operation: str, after: bool
) -> None:
    """Whether its event is out it cannot say any more; the event itself does."""
    world = slow.world
    world.aws.faults.crash("ResumeWaits", operation, after=after)
    with pytest.raises(FunctionFailedError):
        world.invoke("resume_waits", {})
    for event in world.aws.events.of("Stage Slow"):
        world.invoke("resume_waits", event)
    world.invoke("resume_waits", {})
    assert len(told(world)) <= 1, "the first sweeper may be about to tell"
    world.aws.clock.advance(minutes=6)
    for _ in range(2):
        world.invoke("resume_waits", {})
    assert len(told(world)) == 1


def test_two_sweepers_at_the_same_time_tell_once(slow: Making) -> None:
    world = slow.world

    def second() -> None:
        world.invoke("resume_waits", {})

    world.aws.faults.after("ec2", "DescribeImages", second)
    world.invoke("resume_waits", {})
    assert len(told(world)) == 1


def test_what_eventbridge_refused_is_told_by_a_later_sweep(slow: Making) -> None:
    world = slow.world
    world.aws.faults.error("events", "PutEvents", code="AccessDeniedException")
    with pytest.raises(FunctionFailedError):
        world.invoke("resume_waits", {})
    assert told(world) == []
    world.aws.clock.advance(minutes=6)
    world.invoke("resume_waits", {})
    assert len(told(world)) == 1


def test_a_task_that_is_tried_again_goes_on_with_the_same_wait(slow: Making) -> None:
    world = slow.world
    world.invoke("resume_waits", {})
    (builder,) = slow.instances()
    world.invoke("create_image", slow.imaging(builder, token="second"))
    world.aws.clock.advance(minutes=61)
    world.invoke("resume_waits", {})
    assert len(told(world)) == 1


def test_a_wait_of_a_release_without_soft_limits_is_not_told(slow: Making) -> None:
    world = slow.world
    ((key, stored),) = world.waits().items()
    del stored["expected"], stored["recipe"]
    world.put_item(key, token=NOBODY, wait=json.dumps(stored))
    world.invoke("resume_waits", {})
    assert told(world) == []


def test_nothing_that_a_command_printed_is_told(making: Making) -> None:
    world = making.world
    builder = making.managed()
    world.aws.agent.script("AmiBakery.small.packages", status="InProgress", stdout="s3cret")
    world.invoke("run_step", making.commanding(builder, making.plan["customize"][0]))
    world.aws.clock.advance(minutes=31)
    world.invoke("resume_waits", {})
    (detail,) = told(world)
    assert detail["stage"] == "Step 'packages'"
    assert "s3cret" not in json.dumps(detail)
