"""What looks for leaks after every test, and after every fault, tells of each that there is."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from bakery.naming import TAG_BAKE, TAG_RECIPE, TAG_TEST, pointer
from tests.functional.conftest import Ended, World
from tests.functional.faults.invariants import Watched
from tests.functional.faults.published import Published

BASE = "ami-0a120230000000064"

pytestmark = pytest.mark.failure(67)


@pytest.fixture
def ended(world: World) -> Ended:
    """A bake that has failed, and has left nothing."""
    world.aws.agent.script("AmiBakery.small.packages", exit_code=1)
    ended = world.bake("small", force=True)
    assert ended.status == "FAILED"
    return ended


def tagged(kind: str, ended: Ended, **more: str) -> dict[str, Any]:
    tags = {TAG_BAKE: ended.name, TAG_RECIPE: "small", **more}
    return {"ResourceType": kind, "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}


def instance(world: World, ended: Ended, **more: str) -> str:
    answer = world.aws.client("ec2").run_instances(
        ImageId=BASE,
        InstanceType="t3.small",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[tagged("instance", ended, **more)],
    )
    return str(answer["Instances"][0]["InstanceId"])


def volume(world: World, ended: Ended) -> str:
    ec2 = world.aws.client("ec2")
    made = ec2.create_volume(
        AvailabilityZone="eu-west-1a", Size=1, TagSpecifications=[tagged("volume", ended)]
    )
    ec2.get_waiter("volume_available").wait(VolumeIds=[made["VolumeId"]])
    return str(made["VolumeId"])


def snapshot(world: World, ended: Ended) -> str:
    ec2 = world.aws.client("ec2")
    source = ec2.create_volume(AvailabilityZone="eu-west-1a", Size=1)["VolumeId"]
    made = ec2.create_snapshot(VolumeId=source, TagSpecifications=[tagged("snapshot", ended)])
    return str(made["SnapshotId"])


def image(world: World, ended: Ended, region: str = "eu-central-1") -> str:
    made = world.aws.client("ec2", region).copy_image(
        SourceImageId=BASE,
        SourceRegion="eu-west-1",
        Name=f"left-{ended.name}",
        TagSpecifications=[tagged("image", ended)],
    )
    return str(made["ImageId"])


def lease(world: World, ended: Ended) -> str:
    world.put_item("claim#lease#small", holder=ended.arn)
    return ended.arn


def wait(world: World, ended: Ended) -> str:
    world.put_item("wait#stop/i-1", wait=json.dumps({"bake": ended.name}))
    return "wait#stop/i-1"


@pytest.mark.parametrize("leave", [instance, volume, snapshot, image, lease, wait])
def test_whatever_an_ended_bake_has_left_is_told(
    world: World, ended: Ended, leave: Callable[[World, Ended], str], request: pytest.FixtureRequest
) -> None:
    left = leave(world, ended)
    request.addfinalizer(lambda: remove(world, leave, left))
    assert [it for it in world.leaks() if left in it], world.leaks()


def remove(world: World, leave: Callable[[World, Ended], str], left: str) -> None:
    ec2 = world.aws.client("ec2")
    if leave is instance:
        ec2.terminate_instances(InstanceIds=[left])
    elif leave is volume:
        ec2.delete_volume(VolumeId=left)
    elif leave is snapshot:
        ec2.delete_snapshot(SnapshotId=left)
    elif leave is image:
        forget(world, left, "eu-central-1")
    else:
        world.remove_item("claim#lease#small" if leave is lease else left)


def forget(world: World, left: str, region: str) -> None:
    world.aws.client("ec2", region).deregister_image(ImageId=left, DeleteAssociatedSnapshots=True)


def test_an_image_that_was_current_for_a_while_is_told_after_a_fault(
    world: World, ended: Ended
) -> None:
    """The janitor keeps what a pointer has ever held, so nothing else would."""
    watched, before = Watched(world), world.pointer("small") or BASE
    assert list(watched.broken(ended, "small", Published.of(world, "small"))) == []
    left = image(world, ended, "eu-west-1")
    world.aws.until(lambda: world.tagged("image", ended.name)[0]["State"] == "available")
    for current in (left, before):
        world.aws.parameters.publish(pointer("small"), current, "eu-west-1")
    assert world.leaks() == []
    told = list(watched.broken(ended, "small", Published.of(world, "small")))
    assert told == [f"published, taken back and left behind: ['{left}']"]
    forget(world, left, "eu-west-1")


def test_a_second_test_instance_is_told_after_a_fault(world: World, ended: Ended) -> None:
    watched = Watched(world)
    made = [instance(world, ended, **{TAG_TEST: "1"}) for _ in range(2)]
    world.aws.client("ec2").terminate_instances(InstanceIds=made)
    assert list(watched.twice(ended.name, 1)) == ["2 test instances 1"]
