"""From an instance with an instance store root to an EBS-backed image, by the operator's rights.

The instance keeps running, and gets no right of its own: it copies its root to a volume that is
attached to it (``documents/convert-instance-store.yaml``), all else is done from here. Nothing but
the image and its snapshot is left, however it ends, unless this process is killed: what it made is
tagged with the instance.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bakery.naming import TAG_CONVERTED_FROM
from scripts.bakery_cli.aws.failures import explained
from scripts.bakery_cli.aws.hosts import Hosts, refuse
from scripts.bakery_cli.aws.stack import Stack
from scripts.bakery_cli.errors import FAILED, CommandError
from scripts.bakery_cli.host import Instance

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, InstanceTypeDef, TagSpecificationTypeDef

DOCUMENT: Final = "convert-instance-store"
_LOOKS: Final = 7500
"""At two seconds each: longer than delivery and the document's own time-out."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What the owner chooses."""

    name: str
    size_gib: int


class Conversion:
    """Of one instance."""

    def __init__(
        self,
        stack: Stack,
        instance: Instance,
        say: Say,
        *,
        pause: float = 2.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ec2: EC2Client = stack.client("ec2")
        self._hosts = Hosts(stack, pause=pause, sleep=sleep)
        self._region, self._instance, self._say = stack.region, instance, say
        self._pause, self._sleep = pause, sleep

    def image(self, wanted: Wanted) -> str:
        """The id of the new image; raises CommandError with what to do about it."""
        with explained(self._region):
            record = self._checked(wanted)
            snapshot = self._copied(record, wanted)
            try:
                return self._registered(record, snapshot, wanted)
            except BaseException:
                self._ec2.delete_snapshot(SnapshotId=snapshot)
                raise

    def _checked(self, wanted: Wanted) -> "InstanceTypeDef":
        """The instance as EC2 has it; nothing is made before all that can be known is right."""
        it = self._instance
        if it.root_device_type != "instance-store":
            raise CommandError(
                f"{it.id} has an {it.root_device_type} root: there is nothing to convert.",
                f"Bake from it: base: {{instance: {it.id}}}.",
                code=FAILED,
            )
        refuse(it)
        named: FilterTypeDef = {"Name": "name", "Values": [wanted.name]}
        if found := self._ec2.describe_images(Owners=["self"], Filters=[named])["Images"]:
            raise CommandError(
                f"There is an image named {wanted.name} already: {found[0]['ImageId']}.",
                "Say another --name.",
            )
        return self._ec2.describe_instances(InstanceIds=[it.id])["Reservations"][0]["Instances"][0]

    def _copied(self, record: "InstanceTypeDef", wanted: Wanted) -> str:
        """A complete snapshot of a volume that has the root; the volume is gone."""
        volume = self._ec2.create_volume(
            AvailabilityZone=record["Placement"]["AvailabilityZone"],
            Size=wanted.size_gib,
            VolumeType="gp3",
            TagSpecifications=[self._tags("volume", wanted.name)],
        )["VolumeId"]
        try:
            self._until(volume, "available")
            device = self._free_device(record)
            self._ec2.attach_volume(VolumeId=volume, InstanceId=self._instance.id, Device=device)
            self._until(volume, "in-use", attached=True)
            self._say(f"{self._instance.id} copies its root to volume {volume}")
            said = self._hosts.run(
                self._instance,
                DOCUMENT,
                {"Device": device, "SizeGib": str(wanted.size_gib)},
                what="did not copy its root",
                looks=_LOOKS,
            )
            for line in said.strip().split("\n")[:-1]:
                self._say(line)
            self._detach(volume)
            return self._snapshot(volume, wanted)
        finally:
            self._remove(volume)

    def _free_device(self, record: "InstanceTypeDef") -> str:
        """One of those for EBS. Source: EC2 user guide, "Device names for volumes"."""
        taken = {it["DeviceName"] for it in record.get("BlockDeviceMappings", [])}
        free = (name for letter in "fghijklmnop" if (name := f"/dev/sd{letter}") not in taken)
        if (device := next(free, None)) is None:
            raise CommandError(
                f"{self._instance.id} has no device name free from /dev/sdf to /dev/sdp.",
                "Detach a volume that it does not need.",
                code=FAILED,
            )
        return device

    def _snapshot(self, volume: str, wanted: Wanted) -> str:
        made = self._ec2.create_snapshot(
            VolumeId=volume,
            Description=f"Root of {self._instance.id}",
            TagSpecifications=[self._tags("snapshot", wanted.name)],
        )["SnapshotId"]
        self._say(f"Snapshot {made} is being made")
        try:
            for _ in range(_LOOKS):
                (found,) = self._ec2.describe_snapshots(SnapshotIds=[made])["Snapshots"]
                if found["State"] == "completed":
                    return made
                if found["State"] == "error":
                    break
                self._sleep(self._pause)
            reason = found.get("StateMessage") or "it was still pending"
            raise CommandError(f"Snapshot {made} has failed: {reason}.", "Try again.", code=FAILED)
        except BaseException:
            self._ec2.delete_snapshot(SnapshotId=made)
            raise

    def _registered(self, record: "InstanceTypeDef", snapshot: str, wanted: Wanted) -> str:
        it = self._instance
        ebs = {"SnapshotId": snapshot, "VolumeType": "gp3", "DeleteOnTermination": True}
        # What a paravirtual image boots by; others have none.
        more: dict[str, Any] = {
            name: record[name] for name in ("KernelId", "RamdiskId") if record.get(name)
        }
        if it.ena:
            more["EnaSupport"] = True
        return self._ec2.register_image(
            Name=wanted.name,
            Description=f"EBS-backed copy of {it.id}, with its identity",
            Architecture=it.architecture,  # type: ignore[arg-type]
            VirtualizationType=it.virtualization,
            RootDeviceName=it.root_device,
            BlockDeviceMappings=[{"DeviceName": it.root_device, "Ebs": ebs}],  # type: ignore[typeddict-item]
            TagSpecifications=[self._tags("image", wanted.name)],
            **more,
        )["ImageId"]

    def _tags(self, kind: Any, name: str) -> "TagSpecificationTypeDef":
        tags = {"Name": name, TAG_CONVERTED_FROM: self._instance.id}
        return {
            "ResourceType": kind,
            "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
        }

    def _until(self, volume: str, state: str, *, attached: bool = False) -> None:
        for _ in range(_LOOKS):
            (found,) = self._ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
            attachments = [it["State"] for it in found.get("Attachments", [])]
            if found["State"] == state and attachments == (["attached"] if attached else []):
                return
            self._sleep(self._pause)
        raise CommandError(f"Volume {volume} is not {state}.", "Look at it in EC2.", code=FAILED)

    def _detach(self, volume: str) -> None:
        self._ec2.detach_volume(VolumeId=volume)
        self._until(volume, "available")

    def _remove(self, volume: str) -> None:
        """Whatever came before; if this fails, that is said, and is not the error."""
        try:
            with explained(self._region):
                (found,) = self._ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
                if found.get("Attachments"):
                    self._detach(volume)
                self._ec2.delete_volume(VolumeId=volume)
        except CommandError as error:
            self._say(f"Volume {volume} is left ({error.message}): detach and delete it.")
