"""Waits: lost, late, duplicate events, and tasks that are tried again."""

import pytest

from tests.functional.conftest import World

_COMMAND = "EC2 Command Invocation Status-change Notification"
_INSTANCE = "EC2 Instance State-change Notification"
_IMAGE = "EC2 AMI State Change"


@pytest.mark.failure(45)
def test_a_bake_without_any_event_ends_by_the_sweeper(world: World) -> None:
    for kind in (_COMMAND, _INSTANCE, _IMAGE):
        world.aws.events.drop(kind, times=float("inf"))
    ended = world.bake("small", force=True, seconds=90)
    assert ended.status == "SUCCEEDED", ended.cause


def test_a_lost_event_costs_about_a_minute(world: World) -> None:
    world.aws.events.drop(_INSTANCE, when=lambda e: e["detail"]["state"] == "stopped")
    ended = world.bake("small", force=True)
    stop = next(s for s in ended.output["timeline"] if s["stage"] == "stop")
    # Twenty seconds for the stop, up to sixty until the next sweep; and three real seconds, which
    # are 360 here, for a busy machine. Without the sweeper it would fail after fifteen minutes.
    assert ended.status == "SUCCEEDED"
    assert stop["seconds"] < 20 + 60 + 360


@pytest.mark.failure(44)
def test_every_event_delivered_three_times_changes_nothing(world: World) -> None:
    world.aws.events.duplicate(times=float("inf"), copies=3)
    ended = world.bake("small", force=True)
    assert ended.status == "SUCCEEDED", ended.cause
    assert len(world.launches()) == 1
    assert len(world.calls("CreateImage")) == 1
    assert len(world.sent_to_builders()) == 5
    assert world.open_waits() == []


@pytest.mark.failure(47)
def test_events_that_come_late_and_in_reverse_find_nobody_waiting(world: World) -> None:
    held = world.aws.events.hold(_COMMAND)
    ended = world.bake("small", force=True, seconds=90)
    assert ended.status == "SUCCEEDED", ended.cause
    assert world.aws.events.release(held, reverse=True) >= 5
    world.aws.until(lambda: world.open_waits() == [])
    assert world.pointer("small") == ended.output["image"]["id"]


@pytest.mark.failure(9)
def test_a_lost_answer_to_run_instances_launches_one_builder(world: World) -> None:
    world.aws.faults.lost_answer("ec2", "RunInstances", times=2)
    ended = world.bake("small", force=True)
    assert ended.status == "SUCCEEDED", ended.cause
    assert len(world.tagged("builder", ended.name)) == 1


@pytest.mark.failure(32)
def test_a_lost_answer_to_create_image_makes_one_image(world: World) -> None:
    world.aws.faults.lost_answer("ec2", "CreateImage", times=1)
    ended = world.bake("small", force=True)
    assert ended.status == "SUCCEEDED", ended.cause
    assert len(world.tagged("image", ended.name)) == 1


def test_a_lost_answer_to_send_command_runs_the_script_once(world: World) -> None:
    world.aws.faults.lost_answer("ssm", "SendCommand", times=1)
    ended = world.bake("small", force=True)
    assert ended.status == "SUCCEEDED", ended.cause
    documents = [call["DocumentName"] for call in world.sent_to_builders()]
    assert len(documents) == len(set(documents)) == 5


@pytest.mark.failure(3)
def test_throttling_and_server_errors_everywhere_only_delay(world: World) -> None:
    for service in ("ec2", "ssm"):
        world.aws.faults.error(
            service, "*", code="RequestLimitExceeded", status=503, times=4, skip=3
        )
        world.aws.faults.error(service, "*", code="InternalError", status=500, times=4, skip=9)
    ended = world.bake("small", force=True, seconds=90)
    assert ended.status == "SUCCEEDED", ended.cause
    assert len(world.tagged("builder", ended.name)) == 1
    assert len(world.tagged("image", ended.name)) == 1


@pytest.mark.failure(5, 33)
def test_ec2_that_shows_things_late_is_waited_for(world: World) -> None:
    world.aws.ec2.lag(instances=3, images=3)
    ended = world.bake("small", force=True, seconds=90)
    assert ended.status == "SUCCEEDED", ended.cause


def test_room_that_comes_within_the_patience_is_waited_for(world: World) -> None:
    world.aws.ec2.no_capacity(times=12)
    ended = world.bake("small", force=True)
    assert ended.status == "SUCCEEDED", ended.cause
    launch = next(s for s in ended.output["timeline"] if s["stage"] == "launch")
    assert launch["seconds"] >= 60
    assert len(world.tagged("builder", ended.name)) == 1


def test_a_full_zone_is_left_for_the_next_one(world: World) -> None:
    first = sorted(
        world.aws.client("ec2").describe_subnets()["Subnets"], key=lambda s: s["AvailabilityZone"]
    )[0]
    world.aws.ec2.no_capacity(subnet=first["SubnetId"])
    ended = world.bake("small", force=True)
    assert ended.status == "SUCCEEDED", ended.cause
    (launch,) = world.launches()
    assert launch["InstanceType"] == "t3.small"
    assert launch["NetworkInterfaces"][0]["SubnetId"] != first["SubnetId"]
