"""What the account knows at the time of a call: the condition keys that resources have by
themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scripts.local import moto_seam
from scripts.local.conditions import tag_keys
from scripts.local.ec2_state import State, arn
from scripts.local.iam import ACCOUNT
from scripts.local.records import Record, tags_of

if TYPE_CHECKING:
    from collections.abc import Callable

Keys = dict[str, Any]


class Facts:
    """The account, for those who decide about calls."""

    def __init__(self, state: State, machine_of_token: Callable[[str], str | None]) -> None:
        self._state = state
        self.machine_of_token = machine_of_token

    role_of_profile = staticmethod(moto_seam.profile_role)
    partition_key = staticmethod(moto_seam.partition_key)
    key_of_alias = staticmethod(moto_seam.key_of_alias)

    def arn_of_profile(self, profile: str) -> str | None:
        """ARN of an instance profile, given its name or ARN; None if there is none such."""
        found = moto_seam.instance_profile(profile)
        return found[0] if found else None

    def image(self, region: str, image_id: str) -> Record:
        """The image's record; empty for one that there is not."""
        with self._state.lock:
            return dict(self._state.region(region).images.get(image_id, {}))

    def snapshot(self, region: str, snapshot_id: str) -> Record:
        with self._state.lock:
            return dict(self._state.region(region).snapshots.get(snapshot_id, {}))

    def keys(self, resource: str) -> Keys:
        """The keys of a resource that exists; none for one that is yet to be made."""
        parts = resource.split(":", 5)
        if len(parts) < 6 or parts[2] != "ec2":
            return {}
        kind, _, id_ = parts[5].partition("/")
        region = parts[3]
        if kind in ("subnet", "security-group"):
            return _of_network(kind, region, id_)
        held = _HELD.get(kind)
        if held is None:
            return {}
        name, keys_of = held
        with self._state.lock:
            record = getattr(self._state.region(region), name).get(id_)
            return keys_of(region, record) if record is not None else {}


def _tags(record: Record) -> Keys:
    tags = tags_of(record)
    return {
        **tag_keys("aws:ResourceTag", tags),
        **tag_keys("ec2:ResourceTag", tags),
        **tag_keys("ssm:resourceTag", tags),
    }


def _of_instance(_region: str, instance: Record) -> Keys:
    metadata = instance.get("MetadataOptions") or {}
    return {
        **_tags(instance),
        "ec2:InstanceID": instance["InstanceId"],
        "ec2:InstanceType": instance.get("InstanceType"),
        "ec2:InstanceProfile": (instance.get("IamInstanceProfile") or {}).get("Arn"),
        "ec2:InstanceMarketType": instance.get("InstanceLifecycle") or "on-demand",
        "ec2:AvailabilityZone": (instance.get("Placement") or {}).get("AvailabilityZone"),
        "ec2:MetadataHttpTokens": metadata.get("HttpTokens"),
        "ec2:MetadataHttpPutResponseHopLimit": metadata.get("HttpPutResponseHopLimit"),
        "ec2:MetadataHttpEndpoint": metadata.get("HttpEndpoint"),
        "ec2:InstanceMetadataTags": metadata.get("InstanceMetadataTags"),
        "ec2:RootDeviceType": instance.get("RootDeviceType"),
    }


def owner_of(record: Record) -> str:
    """amazon, aws-marketplace, or an account."""
    return str(record.get("ImageOwnerAlias") or record.get("OwnerId") or ACCOUNT)


def _of_image(_region: str, image: Record) -> Keys:
    return {
        **_tags(image),
        "ec2:ImageID": image["ImageId"],
        "ec2:ImageType": image.get("ImageType"),
        "ec2:Owner": owner_of(image),
        "ec2:Public": bool(image.get("Public")),
        "ec2:RootDeviceType": image.get("RootDeviceType"),
    }


def _of_snapshot(region: str, snapshot: Record) -> Keys:
    return {
        **_tags(snapshot),
        "ec2:SnapshotID": snapshot["SnapshotId"],
        "ec2:SnapshotTime": snapshot.get("StartTime"),
        "ec2:Owner": owner_of(snapshot),
        "ec2:ParentVolume": arn(region, "volume", str(snapshot.get("VolumeId"))),
        "ec2:VolumeSize": snapshot.get("VolumeSize"),
        "ec2:Encrypted": bool(snapshot.get("Encrypted")),
    }


def _of_volume(region: str, volume: Record) -> Keys:
    parent = volume.get("SnapshotId")
    return {
        **_tags(volume),
        "ec2:VolumeID": volume["VolumeId"],
        "ec2:VolumeSize": volume.get("Size"),
        "ec2:VolumeType": volume.get("VolumeType"),
        "ec2:VolumeIops": volume.get("Iops"),
        "ec2:VolumeThroughput": volume.get("Throughput"),
        "ec2:Encrypted": bool(volume.get("Encrypted")),
        "ec2:AvailabilityZone": volume.get("AvailabilityZone"),
        "ec2:ParentSnapshot": arn(region, "snapshot", str(parent)) if parent else None,
    }


def _of_tagged(_region: str, record: Record) -> Keys:
    return _tags(record)


_HELD: dict[str, tuple[str, Callable[[str, Record], Keys]]] = {
    "instance": ("instances", _of_instance),
    "image": ("images", _of_image),
    "snapshot": ("snapshots", _of_snapshot),
    "volume": ("volumes", _of_volume),
    "spot-instances-request": ("spot_requests", _of_tagged),
    "launch-template": ("templates", _of_tagged),
    "image-usage-report": ("reports", _of_tagged),
}


def _of_network(kind: str, region: str, id_: str) -> Keys:
    backend = moto_seam.backend("ec2", region)
    if kind == "subnet":
        found = next((z[id_] for z in backend.subnets.values() if id_ in z), None)
    else:
        found = backend.get_security_group_from_id(id_)
    if found is None:
        return {}
    tags = backend.tags.get(id_, {})
    return {
        **tag_keys("aws:ResourceTag", tags),
        **tag_keys("ec2:ResourceTag", tags),
        "ec2:SubnetID" if kind == "subnet" else "ec2:SecurityGroupID": id_,
        "ec2:Vpc": arn(region, "vpc", str(found.vpc_id)),
        "ec2:AvailabilityZone": getattr(found, "availability_zone", None),
    }
