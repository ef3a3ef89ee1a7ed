"""``bakery convert``: an EBS-backed image of an instance whose root is an instance store."""

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bakery.naming import TAG_CONVERTED_FROM
from scripts.bakery_cli.aws import patience
from scripts.bakery_cli.aws.conversion import Conversion
from scripts.local import estate
from scripts.local.iam import OPERATOR
from tests.functional.cli.conftest import Bakery
from tests.functional.conftest import World
from tests.organization import TAGS

pytestmark = pytest.mark.long

_, EBS, HOST = estate.HOSTS
KINDS = ("volumes", "snapshots", "images")


@pytest.fixture(scope="module")
def hosts(deployed: World) -> None:
    estate.launch(deployed.aws, [EBS, HOST])
    change(deployed, RootDeviceType="instance-store", RootDeviceName="/dev/sda1")


def change(world: World, **fields: Any) -> None:
    with world.aws.ec2.state.lock:
        world.aws.ec2.state.region("eu-west-1").instances[HOST].update(fields)


def record(world: World) -> dict[str, Any]:
    (found,) = [it for it in world.aws.ec2.all("instances") if it["InstanceId"] == HOST]
    return copy.deepcopy(found)


@pytest.fixture(autouse=True)
def the_host_is_as_it_was(
    hosts: None, world: World, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Whatever happens, it keeps its volumes, is not restarted, and no call names it otherwise."""

    monkeypatch.setattr(patience, "sleep", lambda _: time.sleep(0.01))
    before = record(world)
    yield
    assert record(world) == before
    named = {it.operation for it in world.aws.calls if HOST in str(it.parameters)}
    looks = {"DescribeImages", "DescribeInstances", "DescribeInstanceInformation"}
    looks |= {"DescribeVolumes", "GetCommandInvocation"}
    tags = {"CreateVolume", "CreateSnapshot", "RegisterImage"}
    acts = {"AttachVolume", "SendCommand", "CancelCommand", "UpdateInstanceInformation"}
    assert named <= {*looks, *tags, *acts}


def made(world: World) -> dict[str, list[str]]:
    """What is there of a conversion: a line for each kind."""
    key = {"volumes": "VolumeId", "snapshots": "SnapshotId", "images": "ImageId"}
    found = {kind: world.aws.ec2.tagged(kind, TAG_CONVERTED_FROM, HOST) for kind in KINDS}
    return {kind: [it[key[kind]] for it in rows] for kind, rows in found.items() if rows}


def forget(world: World) -> None:
    """The owner removes what was made."""
    ec2 = world.aws.client("ec2")
    found = made(world)
    for image in found.get("images", []):
        ec2.deregister_image(ImageId=image)
    for snapshot in found.get("snapshots", []):
        ec2.delete_snapshot(SnapshotId=snapshot)
    for volume in found.get("volumes", []):
        ec2.delete_volume(VolumeId=volume)


def test_an_image_of_a_copy_of_its_root_is_all_that_is_made(bakery: Bakery, world: World) -> None:
    said = bakery("convert", HOST, "--name", "shop-root", "--size", "12")
    assert (said.code, said.err) == (0, "")
    (image,) = world.aws.ec2.tagged("images", TAG_CONVERTED_FROM, HOST)
    assert said.lines[-2:] == [
        f"Image {image['ImageId']}, shop-root",
        f"In a recipe: base: {{ami: {image['ImageId']}}}",
    ]
    (sent,) = world.calls("SendCommand")
    assert sent["DocumentName"] == "AmiBakery-convert-instance-store"
    assert sent["Parameters"] == {
        "Bake": ["convert"],
        "Device": ["/dev/sdg"],
        "SizeGib": ["12"],
    }
    (volume,) = world.calls("CreateVolume")
    assert (volume["Size"], volume["AvailabilityZone"]) == (
        12,
        record(world)["Placement"]["AvailabilityZone"],
    )
    (attached,) = world.calls("AttachVolume")
    assert attached["Device"] == "/dev/sdg"  # the host has /dev/sdf
    assert (image["RootDeviceType"], image["RootDeviceName"]) == ("ebs", "/dev/sda1")
    assert (image["Architecture"], image["VirtualizationType"]) == ("x86_64", "hvm")
    assert image["EnaSupport"] is True and "KernelId" not in image
    (mapping,) = image["BlockDeviceMappings"]
    assert made(world) == {
        "snapshots": [mapping["Ebs"]["SnapshotId"]],
        "images": [image["ImageId"]],
    }
    # In this order: no snapshot of a volume that is still written to.
    mine = [it for it in world.aws.calls if it.principal == OPERATOR]
    did = [it.operation for it in mine if not it.parameters.get("DryRun")]
    order = ["CreateVolume", "AttachVolume", "SendCommand", "DetachVolume", "CreateSnapshot"]
    order += ["RegisterImage", "DeleteVolume"]
    assert [it for it in did if it in order] == order
    forget(world)


def test_a_paravirtual_one_keeps_its_kernel(bakery: Bakery, world: World) -> None:
    before = record(world)
    change(world, VirtualizationType="paravirtual", KernelId="aki-52a34525", EnaSupport=False)
    said = bakery("convert", HOST)
    change(world, **before)
    with world.aws.ec2.state.lock:
        del world.aws.ec2.state.region("eu-west-1").instances[HOST]["KernelId"]
    assert said.code == 0, said.err
    (image,) = world.aws.ec2.tagged("images", TAG_CONVERTED_FROM, HOST)
    assert (image["Name"], image["KernelId"]) == (f"{HOST}-ebs", "aki-52a34525")
    assert (image["VirtualizationType"], image["EnaSupport"]) == ("paravirtual", False)
    forget(world)


def test_all_that_is_made_has_the_tags_of_the_stack(
    bakery: Bakery, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service control policy that demands them knows nothing of bakes."""
    given = {**TAGS, "Name": "bakery", "aws:servicecatalog:provisioningPrincipalArn": "x"}
    monkeypatch.setattr(world.aws.cloudformation.stacks["AmiBakery"], "tags", given)
    assert bakery("convert", HOST, "--name", "shop-root").code == 0
    asked = [
        {tag["Key"]: tag["Value"] for tag in specification["Tags"]}
        for call in world.aws.calls.of("ec2")
        for specification in call.parameters.get("TagSpecifications", [])
    ]
    expected = {**TAGS, "Name": "shop-root", TAG_CONVERTED_FROM: HOST}
    assert asked == [expected] * 5  # a volume, a snapshot and an image, and two dry runs
    forget(world)


@pytest.mark.parametrize("operation", ["CreateSnapshot", "RegisterImage"])
def test_who_lacks_a_right_for_the_end_is_told_before_anything_is_copied(
    bakery: Bakery, world: World, operation: str
) -> None:
    world.aws.faults.error("ec2", operation, code="UnauthorizedOperation", status=403)
    said = bakery("convert", HOST)
    assert said.code != 0
    assert f"{operation} failed: UnauthorizedOperation" in said.err
    assert not world.calls("SendCommand") and not world.calls("AttachVolume")
    assert made(world) == {}


@pytest.mark.parametrize("operation", ["AttachVolume", "SendCommand", "DetachVolume"])
@pytest.mark.parametrize("code", ["UnauthorizedOperation"])
def test_whatever_fails_before_the_snapshot_leaves_no_volume(
    bakery: Bakery, world: World, operation: str, code: str
) -> None:
    service = "ssm" if operation == "SendCommand" else "ec2"
    world.aws.faults.error(service, operation, code=code, status=403)
    said = bakery("convert", HOST)
    assert said.code != 0
    assert f"{operation} failed: {code}" in said.err
    assert made(world) == {}


@pytest.mark.parametrize("operation", ["CreateSnapshot", "RegisterImage"])
def test_what_fails_afterwards_leaves_no_snapshot(
    bakery: Bakery, world: World, operation: str
) -> None:
    world.aws.faults.error(
        "ec2",
        operation,
        code="UnauthorizedOperation",
        status=403,
        when=lambda asked: not asked.get("DryRun"),
    )
    said = bakery("convert", HOST)
    assert said.code != 0
    assert f"{operation} failed: UnauthorizedOperation" in said.err
    assert len(world.calls("SendCommand")) == 1
    assert made(world) == {}


def test_a_host_that_cannot_copy_itself_says_why(bakery: Bakery, world: World) -> None:
    why = "convert-instance-store: /dev/xvdf is not empty, and is left as it is"
    stderr = f"rsync: some warning\n{why}\n"
    world.aws.agent.script("AmiBakery-convert-instance-store", exit_code=1, stderr=stderr)
    said = bakery("convert", HOST)
    assert said.code == 1
    assert f"{HOST} did not copy its root: Failed: {why}" in said.err
    assert made(world) == {}


def running(world: World) -> bool:
    return any(it.status == "InProgress" for it in world.aws.commands.all.values())


def interrupt(monkeypatch: pytest.MonkeyPatch, when: Callable[[], bool]) -> None:
    """Ctrl-C at the first pause at which it is so."""
    left = [KeyboardInterrupt()]

    def pause(_: float) -> None:
        if left and when():
            raise left.pop()
        time.sleep(0.01)

    monkeypatch.setattr(patience, "sleep", pause)


def test_ctrl_c_ends_the_copy_and_leaves_nothing(
    bakery: Bakery, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The volume is detached when the host has let go of it, not before."""
    world.aws.agent.script("AmiBakery-convert-instance-store", seconds=3600)
    interrupt(monkeypatch, lambda: running(world))
    said = bakery("convert", HOST)
    assert said.code == 130
    assert f"Cancelling what runs on {HOST}" in said.out
    did = [it.operation for it in world.aws.calls if it.principal == OPERATOR]
    assert did.index("CancelCommand") < did.index("DetachVolume") < did.index("DeleteVolume")
    between = did[did.index("CancelCommand") : did.index("DetachVolume")]
    assert "GetCommandInvocation" in between
    *_, command = [it for it in world.aws.commands.all.values() if "convert" in it.document]
    assert command.details == "Cancelled"
    assert made(world) == {}


def test_ctrl_c_while_the_volume_is_removed_keeps_the_image_and_tells_it(
    bakery: Bakery, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Conversion, "_remove_volume", interrupted)
    said = bakery("convert", HOST)
    assert said.code == 130
    (image,) = made(world)["images"]
    assert f"Image {image} is registered" in said.out
    forget(world)


def test_a_network_that_is_away_for_a_while_ends_nothing(bakery: Bakery, world: World) -> None:
    for code, status in (("InternalServerError", 500), ("ThrottlingException", 400)):
        world.aws.faults.error("ssm", "GetCommandInvocation", code=code, status=status, times=20)
    assert bakery("convert", HOST).code == 0
    assert not world.calls("CancelCommand")
    forget(world)


def test_one_that_stays_away_is_told_with_what_may_go_on(bakery: Bakery, world: World) -> None:
    fault = world.aws.faults.error(
        "ssm", "GetCommandInvocation", code="InternalServerError", status=500, times=float("inf")
    )
    said = bakery("convert", HOST)
    fault.times = 0
    assert said.code != 0
    assert f"may still run on {HOST}: cancel it in Systems Manager, Run Command." in " ".join(
        said.out.split()
    )
    assert made(world) == {}


def test_a_name_that_a_disk_of_the_instance_store_has_is_passed_over(
    bakery: Bakery, world: World
) -> None:
    """EC2 tells of EBS volumes only."""
    used = "Invalid value '/dev/sdg' for unixDevice. Attachment point /dev/sdg is already in use"
    world.aws.faults.error("ec2", "AttachVolume", code="InvalidParameterValue", message=used)
    assert bakery("convert", HOST).code == 0
    (sent,) = world.calls("SendCommand")
    assert sent["Parameters"]["Device"] == ["/dev/sdh"]
    forget(world)


def test_a_host_whose_names_are_all_taken_is_told(bakery: Bakery, world: World) -> None:
    used = "Attachment point is already in use"
    fault = world.aws.faults.error(
        "ec2", "AttachVolume", code="InvalidParameterValue", message=used, times=float("inf")
    )
    said = bakery("convert", HOST)
    fault.times = 0
    assert f"{HOST} has no device name free." in said.err
    assert fault.matched == 10 + 26  # it has /dev/sdf
    assert made(world) == {}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"ProductCodes": [{"ProductCodeId": "aw0evgkw8e5c1q413zgy5pjce"}]},
            "is billed as aw0evgkw8e5c1q413zgy5pjce, and an image that is registered",
        ),
        ({"PlatformDetails": "Red Hat Enterprise Linux"}, "is billed as Red Hat Enterprise Linux"),
        ({"Architecture": "i386"}, "is i386, and a recipe bakes x86_64 and arm64 only. Build it"),
    ],
)
def test_what_an_image_of_it_could_not_be_used_for_is_told(
    bakery: Bakery, world: World, fields: dict[str, Any], told: str
) -> None:
    before = record(world)
    change(world, **fields)
    said = bakery("convert", HOST)
    with world.aws.ec2.state.lock:
        there = world.aws.ec2.state.region("eu-west-1").instances[HOST]
        there.clear()
        there.update(before)
    assert said.code == 1
    assert told in " ".join(said.err.split())
    assert not world.calls("CreateVolume")


def test_a_volume_that_cannot_be_removed_is_said(bakery: Bakery, world: World) -> None:
    world.aws.faults.error("ec2", "DeleteVolume", code="UnauthorizedOperation", status=403)
    said = bakery("convert", HOST)
    assert said.code == 0
    (volume,) = made(world)["volumes"]
    assert f"Volume {volume} is left (DeleteVolume failed: UnauthorizedOperation" in said.out
    forget(world)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((EBS,), f"{EBS} has an ebs root: there is nothing to convert. Bake from it"),
        (("web-1",), "'web-1' is no instance."),
        ((HOST, "--size", "0"), "Invalid value for '--size'"),
        ((HOST, "--name", "web*"), "'web*' is no name of an image. Say a --name of 3 to 128"),
        (("i-0123456789abcdef9",), "There is no instance i-0123456789abcdef9"),
    ],
)
def test_what_cannot_be_converted_is_told_before_anything_is_made(
    bakery: Bakery, world: World, arguments: tuple[str, ...], told: str
) -> None:
    said = bakery("convert", *arguments)
    assert said.code in (1, 2)
    assert told in " ".join(said.err.split())
    assert not world.calls("CreateVolume")


def test_a_name_that_is_taken_is_told_before_anything_is_made(bakery: Bakery, world: World) -> None:
    assert bakery("convert", HOST, "--name", "shop-root").code == 0
    world.aws.calls.clear()
    said = bakery("convert", HOST, "--name", "shop-root")
    assert said.code == 2
    (image,) = made(world)["images"]
    assert f"There is an image named shop-root already: {image}. Say another --name." in " ".join(
        said.err.split()
    )
    assert not world.calls("CreateVolume")
    forget(world)
