"""Hosts that no bake begins with: Plan says why and what to do, and nothing is made or touched."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.functional.conftest import FunctionFailedError, World
from tests.functional.hosting import (
    HOST,
    LOOKS,
    OTHER,
    change,
    deployed_with_a_host,
    everything,
    host,
    named_by,
    record,
)


@pytest.fixture(scope="module")
def deployed() -> Iterator[World]:
    with deployed_with_a_host() as world:
        host(world)
        yield world


@pytest.fixture(autouse=True)
def nothing_happens(world: World) -> Iterator[None]:
    yield
    assert named_by(world, HOST, OTHER) <= LOOKS
    made = [it.operation for it in world.aws.calls.of("ec2", role="Tasks")]
    assert not {"CreateImage", "RunInstances"} & {*made}


def planned(world: World, recipe: str = "host") -> dict[str, Any]:
    event = {"bake": "preview", "input": {"recipe": recipe, "force": True}, "preview": True}
    return dict(world.invoke("plan", event))


def refused(world: World, recipe: str = "host") -> str:
    with pytest.raises(FunctionFailedError) as failed:
        planned(world, recipe)
    assert failed.value.name == "InvalidRecipeError"
    return failed.value.message


def tagged(world: World, key: str, value: str) -> dict[str, Any]:
    return {"Tags": [*record(world)["Tags"], {"Key": key, "Value": value}]}


@pytest.mark.parametrize(
    ("fields", "told", "way_out"),
    [
        (
            lambda world: tagged(world, "aws:autoscaling:groupName", "web"),
            "is in Auto Scaling group web, which replaces what fails a health check",
            "base: {ami: ami-0a201803000000064}",
        ),
        (
            lambda _: {
                "ProductCodes": [{"ProductCodeId": "abc", "ProductCodeType": "marketplace"}]
            },
            "has product codes of the AWS Marketplace (abc)",
            "publisher's current image",
        ),
        (lambda _: {"Architecture": "i386"}, "is i386, not 64-bit", "on a 64-bit base"),
        (
            lambda _: {"Architecture": "arm64"},
            f"builder.instance_types[0]: t3.small runs x86_64, but instance {HOST} is arm64",
            "choose types or an image of one architecture",
        ),
        (
            lambda _: {"VirtualizationType": "paravirtual"},
            "t3.small runs hvm images, but",
            "or an older type",
        ),
        (
            lambda _: {"RootDeviceType": "instance-store"},
            "has an instance-store root, which CreateImage cannot image",
            f"`bakery convert {HOST}`",
        ),
        (
            lambda _: {"InstanceType": "m3.medium"},
            "is of type m3.medium, which comes with 1 instance store volume",
            "instance_store: leave_out",
        ),
        (lambda _: {"PlatformDetails": "Windows"}, "is Windows", "as base.ami"),
        (
            lambda world: {"State": {**record(world)["State"], "Name": "stopping"}},
            "is stopping",
            "wait, or start it",
        ),
        (
            lambda world: tagged(world, "ami-bakery:bake", "bake-7"),
            "is an instance of bake bake-7",
            "name the host",
        ),
    ],
)
def test_what_ec2_tells_of_a_host_refuses_it_with_a_way_out(
    world: World, fields: Callable[[World], dict[str, Any]], told: str, way_out: str
) -> None:
    before = {"ProductCodes": [], **record(world)}
    change(world, **fields(world))
    message = refused(world)
    change(world, **before)
    assert told in message
    assert way_out in message


def test_a_host_that_is_not_there_is_told(world: World) -> None:
    assert f"there is no instance {OTHER} in this Region and account" in refused(world, "store")


def test_a_host_that_systems_manager_does_not_know_is_refused_unless_allowed(world: World) -> None:
    known = world.aws.managed.known.pop(HOST)
    message = refused(world)
    world.aws.managed.known[HOST] = known
    assert "base.unmanaged: instance" in message
    assert "does not report to Systems Manager" in message
    assert "unmanaged: allow" in message
    # Recipe store allows it, and the volumes of the instance store.
    host(world, OTHER, instance_type="m5d.large", managed=False)
    assert planned(world, "store")["host"]["instance_id"] == OTHER
    world.aws.client("ec2").terminate_instances(InstanceIds=[OTHER])
    world.aws.until(lambda: record(world, OTHER)["State"]["Name"] == "terminated")
    assert "is terminated" in refused(world, "store")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        ("disabled", "is Disabled, not Enabled"),
        ("pending", "is PendingDeletion, not Enabled"),
        ("unknown", "which KMS does not know here"),
        ("denied", "which this account may not look at"),
    ],
)
def test_a_volume_whose_key_cannot_be_used_is_refused(world: World, spoil: str, told: str) -> None:
    kms = world.aws.client("kms")
    made = kms.create_key()["KeyMetadata"]
    key = made["Arn"]
    match spoil:
        case "disabled":
            kms.disable_key(KeyId=made["KeyId"])
        case "pending":
            kms.schedule_key_deletion(KeyId=made["KeyId"])
        case "unknown":
            key = f"{key[:-4]}0000"
        case "denied":
            code = "AccessDeniedException"
            world.aws.faults.error("kms", "DescribeKey", code=code, status=400)
    root = root_volume(world)
    change_volume(world, root, Encrypted=True, KmsKeyId=key)
    message = refused(world)
    change_volume(world, root, Encrypted=False)
    assert f"has volume {root} (/dev/xvda), encrypted with {key}" in message
    assert told in message


def root_volume(world: World) -> str:
    (found,) = [
        it["Ebs"]["VolumeId"]
        for it in record(world)["BlockDeviceMappings"]
        if it["DeviceName"] == "/dev/xvda"
    ]
    return str(found)


def change_volume(world: World, volume: str, **fields: Any) -> None:
    state = world.aws.ec2.state
    with state.lock:
        state.region("eu-west-1").volumes[volume].update(fields)


def test_data_that_is_left_out_may_have_any_key(world: World) -> None:
    (data,) = [
        it["Ebs"]["VolumeId"]
        for it in record(world)["BlockDeviceMappings"]
        if it["DeviceName"] == "/dev/sdf"
    ]
    gone = "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000"
    change_volume(world, data, Encrypted=True, KmsKeyId=gone)
    assert planned(world)["host"]["leave_out"] == ["/dev/sdf"]
    assert f"has volume {data} (/dev/sdf), encrypted" in refused(world, "whole")
    change_volume(world, data, Encrypted=False)


def test_a_host_is_only_looked_at_by_a_plan(world: World) -> None:
    before = everything(world)
    plan = planned(world)
    assert plan["host"]["reboot"] is False
    assert everything(world) == before
