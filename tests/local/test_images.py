"""EC2 images: made over time, tagged in the call, named once, deprecated, disabled,
deregistered; the catalog."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from scripts.local import catalog
from tests.local.bench import AL2023, UBUNTU_18, Bench, refused

if TYPE_CHECKING:
    from collections.abc import Callable

TAGS = [{"Key": "ami-bakery:bake", "Value": "b-1"}]


def image_of(bench: Bench, name: str = "web-1", instance: str = "", **more: Any) -> str:
    instance = instance or bench.in_state(bench.launch(), "running")
    id_: str = bench.aws.client("ec2").create_image(InstanceId=instance, Name=name, **more)[
        "ImageId"
    ]
    return id_


def record(bench: Bench, image: str) -> dict[str, Any]:
    found: dict[str, Any] = bench.aws.client("ec2").describe_images(ImageIds=[image])["Images"][0]
    return found


def available(bench: Bench, image: str) -> str:
    bench.aws.until(lambda: record(bench, image)["State"] == "available")
    return image


def test_an_image_is_pending_then_available_with_its_snapshots_tagged_by_the_call(
    ec2: Bench,
) -> None:
    ec2.aws.ec2.durations.image = 3000
    spec = [{"ResourceType": kind, "Tags": TAGS} for kind in ("image", "snapshot")]
    image = image_of(ec2, TagSpecifications=spec, Description="made here")
    pending = record(ec2, image)
    assert pending["State"] == "pending" and pending["Tags"] == TAGS
    assert (pending["Architecture"], pending["BootMode"], pending["ImdsSupport"]) == (
        "x86_64",
        "uefi-preferred",
        "v2.0",
    )
    by_bake = [{"Name": "tag:ami-bakery:bake", "Values": ["b-1"]}]
    client = ec2.aws.client("ec2")
    (snapshot,) = client.describe_snapshots(OwnerIds=["self"], Filters=by_bake)["Snapshots"]
    assert snapshot["State"] == "pending" and snapshot["Progress"].endswith("%")
    available(ec2, image)
    (snapshot,) = client.describe_snapshots(OwnerIds=["self"], Filters=by_bake)["Snapshots"]
    assert (snapshot["State"], snapshot["Progress"]) == ("completed", "100%")
    assert f"CreateImage({pending['SourceInstanceId']})" in snapshot["Description"]
    (event,) = ec2.aws.events.of("EC2 AMI State Change")
    assert event["resources"] == [f"arn:aws:ec2:us-east-1::image/{image}"]
    assert {k: event["detail"][k] for k in ("ImageId", "State", "ErrorMessage")} == {
        "ImageId": image,
        "State": "available",
        "ErrorMessage": "",
    }
    (made,) = ec2.aws.events.of("EBS Snapshot Notification")
    assert (
        made["detail"]["snapshot_id"] == f"arn:aws:ec2::us-east-1:snapshot/{snapshot['SnapshotId']}"
    )


@pytest.mark.parametrize(
    ("asked", "restarts"), [({}, 1), ({"NoReboot": False}, 1), ({"NoReboot": True}, 0)]
)
def test_a_running_instance_is_restarted_for_its_image_unless_asked_not_to(
    ec2: Bench, asked: dict[str, Any], restarts: int
) -> None:
    instance = ec2.in_state(ec2.launch(), "running")
    hidden = ec2.aws.ec2.state.region("us-east-1").hidden(instance)
    before = hidden["boot"]
    image_of(ec2, instance=instance, **asked)
    assert hidden["boot"] == before + restarts
    assert ec2.state(instance) == "running"


def test_a_volume_can_be_left_out_of_an_image(ec2: Bench) -> None:
    data = [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 5}}]
    instance = ec2.in_state(ec2.launch(BlockDeviceMappings=data), "running")
    both = record(ec2, image_of(ec2, "both", instance))
    left_out = [{"DeviceName": "/dev/sdf", "NoDevice": ""}]
    one = record(ec2, image_of(ec2, "one", instance, BlockDeviceMappings=left_out))
    assert [it["DeviceName"] for it in both["BlockDeviceMappings"]] == ["/dev/xvda", "/dev/sdf"]
    assert [it["DeviceName"] for it in one["BlockDeviceMappings"]] == ["/dev/xvda"]


def test_an_image_can_fail(ec2: Bench) -> None:
    ec2.aws.ec2.next_image_fails("Server.InternalError: the snapshot could not be made")
    image = image_of(ec2)
    ec2.aws.until(lambda: record(ec2, image)["State"] == "failed")
    assert record(ec2, image)["StateReason"]["Code"] == "Server.InternalError"
    (event,) = ec2.aws.events.of("EC2 AMI State Change")
    assert event["detail"]["State"] == "failed" and "snapshot" in event["detail"]["ErrorMessage"]


def test_names_are_well_formed_and_unique(ec2: Bench) -> None:
    instance = ec2.in_state(ec2.launch(), "running")
    image_of(ec2, "web 1/(a)[b].c-d'e@f_g", instance)
    for name, code in (
        ("web 1/(a)[b].c-d'e@f_g", "InvalidAMIName.Duplicate"),
        ("a:b:c", "InvalidAMIName.Malformed"),
    ):
        with pytest.raises(ClientError) as error:
            image_of(ec2, name, instance)
        assert refused(error) == code
    with pytest.raises(ClientError) as error:
        image_of(
            ec2, "other", instance, TagSpecifications=[{"ResourceType": "volume", "Tags": TAGS}]
        )
    assert refused(error) == "InvalidParameterValue"


def test_deregistering_takes_the_snapshots_along_when_asked(ec2: Bench) -> None:
    client = ec2.aws.client("ec2")
    image = available(ec2, image_of(ec2))
    snapshot = record(ec2, image)["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    with pytest.raises(ClientError) as error:
        client.delete_snapshot(SnapshotId=snapshot)
    assert refused(error) == "InvalidSnapshot.InUse"
    answer = client.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)
    assert answer["DeleteSnapshotResults"] == [{"SnapshotId": snapshot, "ReturnCode": "success"}]
    assert snapshot not in {s["SnapshotId"] for s in ec2.aws.ec2.all("snapshots")}
    with pytest.raises(ClientError) as error:
        client.deregister_image(ImageId=image)
    assert refused(error) == "InvalidAMIID.Unavailable"
    with pytest.raises(ClientError) as error:
        ec2.launch(image)
    assert refused(error) == "InvalidAMIID.NotFound"


def test_deprecated_images_are_listed_for_their_owner_or_on_request(ec2: Bench) -> None:
    client = ec2.aws.client("ec2")
    name = [
        {"Name": "name", "Values": ["ubuntu/images/hvm-ssd/ubuntu-bionic-18.04-amd64-server-*"]}
    ]
    canonical = {"Owners": ["099720109477"], "Filters": name}
    assert client.describe_images(**canonical)["Images"] == []
    assert (
        client.describe_images(**canonical, IncludeDeprecated=True)["Images"][0]["ImageId"]
        == UBUNTU_18
    )
    image = available(ec2, image_of(ec2))
    client.enable_image_deprecation(
        ImageId=image, DeprecateAt=ec2.aws.clock.now() + timedelta(days=1)
    )
    ec2.aws.clock.advance(days=2)
    mine = client.describe_images(Owners=["self"])["Images"]
    assert image in {i["ImageId"] for i in mine}
    assert record(ec2, image)["DeprecationTime"].endswith(":00.000Z")
    with pytest.raises(ClientError) as error:
        client.enable_image_deprecation(ImageId=image, DeprecateAt="2001-01-01T00:00:00Z")
    assert refused(error) == "InvalidParameterValue"


def test_disabled_images_are_listed_only_on_request(ec2: Bench) -> None:
    client = ec2.aws.client("ec2")

    def mine(**more: bool) -> set[str]:
        return {i["ImageId"] for i in client.describe_images(Owners=["self"], **more)["Images"]}

    assert "ami-0bad00000000000f5" not in mine()
    assert "ami-0bad00000000000f5" in mine(IncludeDisabled=True)


def test_other_peoples_images_are_theirs(ec2: Bench) -> None:
    with pytest.raises(ClientError) as error:
        ec2.aws.client("ec2").deregister_image(ImageId=AL2023)
    assert refused(error) == "AuthFailure"


def test_a_copy_is_another_image_in_another_region(ec2: Bench) -> None:
    image = available(ec2, image_of(ec2))
    other = ec2.aws.client("ec2", "eu-west-1")
    given = {
        "SourceImageId": image,
        "SourceRegion": "us-east-1",
        "Name": "web-1",
        "Encrypted": True,
        "ClientToken": "t",
    }
    copy = other.copy_image(**given)["ImageId"]
    assert other.copy_image(**given)["ImageId"] == copy
    ec2.aws.until(
        lambda: other.describe_images(ImageIds=[copy])["Images"][0]["State"] == "available"
    )
    made = other.describe_images(ImageIds=[copy])["Images"][0]
    assert (made["SourceImageId"], made["SourceImageRegion"]) == (image, "us-east-1")
    assert made["BlockDeviceMappings"][0]["Ebs"]["Encrypted"]


def test_launch_permissions(ec2: Bench) -> None:
    client = ec2.aws.client("ec2")
    image = available(ec2, image_of(ec2))
    client.modify_image_attribute(
        ImageId=image, LaunchPermission={"Add": [{"UserId": "111122223333"}]}
    )
    found = client.describe_image_attribute(ImageId=image, Attribute="launchPermission")[
        "LaunchPermissions"
    ]
    assert found == [{"UserId": "111122223333"}]
    with pytest.raises(ClientError) as error:
        client.modify_image_attribute(ImageId=image, LaunchPermission={"Add": [{"UserId": "12"}]})
    assert refused(error) == "InvalidAMIAttributeItemValue"


def test_the_catalogs_ids_are_well_formed_and_its_parameters_point_to_them(ec2: Bench) -> None:
    images = catalog.contents()["images"]
    assert all(re.fullmatch(r"ami-0[0-9a-f]{16}", id_) for id_ in images)
    assert len({i["Name"] for i in images.values()}) == len(images)
    ssm = ec2.aws.client("ssm")
    for name, image in catalog.contents()["parameters"].items():
        parameter = ssm.get_parameter(Name=name)["Parameter"]
        assert (parameter["Value"], parameter["DataType"]) == (image, "aws:ec2:image")
        assert image in images
    elsewhere = ec2.aws.client("ssm", "eu-central-1")
    path = "/aws/service/debian/release/12/latest"
    assert len(elsewhere.get_parameters_by_path(Path=path)["Parameters"]) == 2


def test_an_image_that_only_looks_like_canonicals_is_found_without_an_owner(ec2: Bench) -> None:
    client = ec2.aws.client("ec2")
    name = [{"Name": "name", "Values": ["ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*"]}]
    newest = max(
        client.describe_images(Filters=name)["Images"], key=lambda i: str(i["CreationDate"])
    )
    assert newest["OwnerId"] == "666666666666"
    assert {
        i["OwnerId"]
        for i in client.describe_images(Owners=["099720109477"], Filters=name)["Images"]
    } == {"099720109477"}


def test_no_public_parameter_is_offered_without_an_image_behind_it(ec2: Bench) -> None:
    ssm = ec2.aws.client("ssm")
    for tree in ("ami-amazon-linux-latest", "ecs/optimized-ami"):
        pages = ssm.get_paginator("get_parameters_by_path").paginate(
            Path=f"/aws/service/{tree}", Recursive=True
        )
        offered = [row["Name"] for page in pages for row in page["Parameters"]]
        assert offered and set(offered) <= set(catalog.contents()["parameters"])
    with pytest.raises(ClientError) as error:
        ssm.get_parameter(Name="/aws/service/ecs/optimized-ami/amazon-linux-2/recommended/image_id")
    assert refused(error) == "ParameterNotFound"


def why_not(call: Callable[[], Any]) -> str:
    """The code of the error that a call ends with."""
    with pytest.raises(ClientError) as error:
        call()
    return refused(error)


def volume_of(bench: Bench, instance: str, **more: Any) -> str:
    client = bench.aws.client("ec2")
    found = client.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
    zone = found["Placement"]["AvailabilityZone"]
    id_: str = client.create_volume(**{"AvailabilityZone": zone, "Size": 9, **more})["VolumeId"]
    return id_


def attachments(bench: Bench, volume: str) -> list[str]:
    found = bench.aws.client("ec2").describe_volumes(VolumeIds=[volume])["Volumes"][0]
    return [it["State"] for it in found["Attachments"]]


def test_a_volume_is_attached_over_time_to_an_instance_of_its_zone_under_a_free_name(
    ec2: Bench,
) -> None:
    client, instance = ec2.aws.client("ec2"), ec2.in_state(ec2.launch(), "running")
    volume, away = volume_of(ec2, instance), volume_of(ec2, instance, AvailabilityZone="us-east-1f")
    to = {"InstanceId": instance, "Device": "/dev/sdf"}
    assert client.attach_volume(VolumeId=volume, **to)["State"] == "attaching"
    ec2.aws.until(lambda: attachments(ec2, volume) == ["attached"])
    assert why_not(lambda: client.attach_volume(VolumeId=volume, **to)) == "VolumeInUse"
    assert why_not(lambda: client.delete_volume(VolumeId=volume)) == "VolumeInUse"
    other = volume_of(ec2, instance)
    assert why_not(lambda: client.attach_volume(VolumeId=other, **to)) == "InvalidParameterValue"
    found = why_not(lambda: client.attach_volume(VolumeId=away, **{**to, "Device": "/dev/sdg"}))
    assert found == "InvalidVolume.ZoneMismatch"
    client.detach_volume(VolumeId=volume)
    ec2.aws.until(lambda: attachments(ec2, volume) == [])
    assert why_not(lambda: client.detach_volume(VolumeId=volume)) == "IncorrectState"
    client.delete_volume(VolumeId=volume)


def test_an_image_is_registered_of_a_complete_snapshot(ec2: Bench) -> None:
    client, instance = ec2.aws.client("ec2"), ec2.in_state(ec2.launch(), "running")
    snapshot = client.create_snapshot(VolumeId=volume_of(ec2, instance))["SnapshotId"]

    def register(name: str = "copied", root: str = "/dev/xvda") -> Any:
        ebs = {"SnapshotId": snapshot}
        return client.register_image(
            Name=name,
            Architecture="x86_64",
            VirtualizationType="hvm",
            RootDeviceName="/dev/xvda",
            BlockDeviceMappings=[{"DeviceName": root, "Ebs": ebs}],
        )

    def complete() -> bool:
        found = client.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"]
        return bool(found[0]["State"] == "completed")

    ec2.aws.until(complete)
    assert why_not(lambda: register(root="/dev/sdf")) == "InvalidBlockDeviceMapping"
    image = available(ec2, register()["ImageId"])
    assert why_not(register) == "InvalidAMIName.Duplicate"
    found = record(ec2, image)
    assert (found["RootDeviceType"], found["EnaSupport"]) == ("ebs", False)
    assert found["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 9
    assert why_not(lambda: client.delete_snapshot(SnapshotId=snapshot)) == "InvalidSnapshot.InUse"
