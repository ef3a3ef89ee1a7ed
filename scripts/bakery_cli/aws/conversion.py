"""From an instance with an instance store root to an EBS-backed image, by the operator's rights.

The instance keeps running, and gets no right of its own: it copies its root to a volume that is
attached to it (``documents/convert-instance-store.yaml``), all else is done from here. Nothing but
the image and its snapshot is left, however it ends, unless this process is killed or AWS's answer
to CreateSnapshot or RegisterImage is lost: what it made is tagged with the instance.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any, Final, Literal

from bakery.naming import TAG_CONVERTED_FROM, valid_image_name
from scripts.bakery_cli.aws.failures import explained
from scripts.bakery_cli.aws.hosts import Hosts, Say, refuse
from scripts.bakery_cli.aws.patience import Patience
from scripts.bakery_cli.aws.stack import Stack
from scripts.bakery_cli.errors import FAILED, CommandError
from scripts.bakery_cli.host import Instance

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, InstanceTypeDef, TagSpecificationTypeDef

DOCUMENT: Final = "convert-instance-store"
_ASKED_BY: Final = "convert"
_LOOKS: Final = 7500
"""At two seconds each: longer than delivery and the document's own time-out, or a snapshot."""
_VOLUME_LOOKS: Final = 450
"""A volume that is attached or detached takes seconds, or for ever: one that is in use."""
_NAMES: Final = tuple(f"/dev/sd{letter}" for letter in ascii_lowercase[5:16])
_MORE_NAMES: Final = tuple(f"/dev/xvdb{letter}" for letter in ascii_lowercase)
"""Where the instance store has those, as on D2 and I2; not for paravirtual ones. Source: EC2 user
guide, "Device names for volumes"."""


@dataclass(frozen=True)
class Wanted:
    """What the owner chooses."""

    name: str
    size_gib: int


class Conversion:
    """Of one instance."""

    def __init__(
        self, stack: Stack, hosts: Hosts, instance: Instance, say: Say, *, pause: float = 2.0
    ) -> None:
        self._ec2: EC2Client = stack.client("ec2")
        self._region, self._hosts, self._instance, self._say = stack.region, hosts, instance, say
        # An organization that demands some of each request demands them of this one as well.
        self._demanded = stack.tags
        self._wait = Patience(stack.region, pause)

    def image(self, wanted: Wanted) -> str:
        """The id of the new image; raises CommandError with what to do about it."""
        with explained(self._region):
            record = self._checked(wanted)
            with self._volume(record, wanted) as volume:
                self._refuse_the_powerless(volume, wanted)
                self._copy_root_to(volume, record, wanted)
                with self._snapshot(volume, wanted) as snapshot:
                    return self._register(record, snapshot, wanted)

    def _checked(self, wanted: Wanted) -> "InstanceTypeDef":
        """The instance as EC2 has it; nothing is made before all that can be known is right."""
        it = self._instance
        if it.root_device_type != "instance-store":
            raise CommandError(
                f"{it.id} has an {it.root_device_type} root: there is nothing to convert.",
                f"Bake from it: base: {{instance: {it.id}}}.",
                code=FAILED,
            )
        if it.architecture != "x86_64":
            raise CommandError(
                f"{it.id} is {it.architecture}, and a recipe bakes x86_64 and arm64 only.",
                "Build it anew from a 64-bit image, and move the data.",
                code=FAILED,
            )
        refuse(it)
        self._refuse_billed()
        if not valid_image_name(wanted.name):
            raise CommandError(
                f"'{wanted.name}' is no name of an image.",
                "Say a --name of 3 to 128 letters, digits and ( ) . / _ -.",
            )
        named: FilterTypeDef = {"Name": "name", "Values": [wanted.name]}
        if found := self._ec2.describe_images(Owners=["self"], Filters=[named])["Images"]:
            raise CommandError(
                f"There is an image named {wanted.name} already: {found[0]['ImageId']}.",
                "Say another --name.",
            )
        return self._ec2.describe_instances(InstanceIds=[it.id])["Reservations"][0]["Instances"][0]

    def _refuse_billed(self) -> None:
        """RegisterImage gives an image no billing code. Source: EC2 API reference, RegisterImage,
        "Register a snapshot of a root device volume"."""
        it = self._instance
        billed = [*it.product_codes, *({it.platform} - {"Linux/UNIX"})]
        if billed:
            raise CommandError(
                f"{it.id} is billed as {', '.join(billed)}, and an image that is registered from "
                "a snapshot would lose that, and with it updates and support.",
                "Start from the vendor's EBS-backed image, and move the data.",
                code=FAILED,
            )

    @contextmanager
    def _volume(self, record: "InstanceTypeDef", wanted: Wanted) -> Iterator[str]:
        """An empty volume where the instance is, which is gone afterwards."""
        volume = self._ec2.create_volume(
            AvailabilityZone=record["Placement"]["AvailabilityZone"],
            Size=wanted.size_gib,
            VolumeType="gp3",
            TagSpecifications=[self._tags("volume", wanted.name)],
        )["VolumeId"]
        try:
            yield volume
        finally:
            self._remove_volume(volume)

    def _refuse_the_powerless(self, volume: str, wanted: Wanted) -> None:
        """Who lacks a right for the end is told before hours of copying."""
        tags = [self._tags("snapshot", wanted.name)]
        self._try(
            lambda: self._ec2.create_snapshot(VolumeId=volume, TagSpecifications=tags, DryRun=True)
        )
        tags_of_image = [self._tags("image", wanted.name)]
        self._try(
            lambda: self._ec2.register_image(
                Name=wanted.name,
                RootDeviceName=self._instance.root_device,
                TagSpecifications=tags_of_image,
                DryRun=True,
            )
        )

    def _try(self, call: Callable[[], object]) -> None:
        """A dry run: whatever else it is told, it may."""
        try:
            call()
        except self._ec2.exceptions.ClientError as error:
            if error.response["Error"]["Code"] == "UnauthorizedOperation":
                raise

    def _copy_root_to(self, volume: str, record: "InstanceTypeDef", wanted: Wanted) -> None:
        """The volume is detached again: what is written to it is on it."""
        self._until(volume, "available")
        device = self._attach(volume, record)
        self._until(volume, "in-use", attached=True)
        self._say(f"{self._instance.id} copies its root to volume {volume}")
        said = self._hosts.run(
            self._instance,
            DOCUMENT,
            {"Bake": _ASKED_BY, "Device": device, "SizeGib": str(wanted.size_gib)},
            what="did not copy its root",
            looks=_LOOKS,
        )
        for line in said.strip().split("\n")[:-1]:
            self._say(line)
        self._detach(volume)

    def _attach(self, volume: str, record: "InstanceTypeDef") -> str:
        """The name that it has now: EC2 tells which volumes have one, but not which disks of the
        instance store."""
        taken = {it["DeviceName"] for it in record.get("BlockDeviceMappings", [])}
        more = _MORE_NAMES if self._instance.virtualization == "hvm" else ()
        for name in (*_NAMES, *more):
            if name in taken:
                continue
            try:
                self._ec2.attach_volume(VolumeId=volume, InstanceId=self._instance.id, Device=name)
            except self._ec2.exceptions.ClientError as error:
                if "already in use" not in str(error):
                    raise
            else:
                return name
        raise CommandError(
            f"{self._instance.id} has no device name free.",
            "Detach a volume that it does not need.",
            code=FAILED,
        )

    @contextmanager
    def _snapshot(self, volume: str, wanted: Wanted) -> Iterator[str]:
        """A complete snapshot, which is gone if no image of it comes to be."""
        made = self._ec2.create_snapshot(
            VolumeId=volume,
            Description=f"Root of {self._instance.id}",
            TagSpecifications=[self._tags("snapshot", wanted.name)],
        )["SnapshotId"]
        try:
            self._say(f"Snapshot {made} is being made")
            state, message = self._wait.until(lambda: self._end_of(made), _LOOKS) or ("", "")
            if state != "completed":
                reason = message or state or "it was still pending"
                raise CommandError(
                    f"Snapshot {made} has failed: {reason}.", "Try again.", code=FAILED
                )
            yield made
        except BaseException:
            self._remove_snapshot(made)
            raise

    def _end_of(self, snapshot: str) -> tuple[str, str] | None:
        # By a filter, for which one that is so new that it is not shown yet is no error.
        wanted: FilterTypeDef = {"Name": "snapshot-id", "Values": [snapshot]}
        found = self._ec2.describe_snapshots(Filters=[wanted])["Snapshots"]
        states = ((it["State"], it.get("StateMessage", "")) for it in found)
        return next((it for it in states if it[0] != "pending"), None)

    def _register(self, record: "InstanceTypeDef", snapshot: str, wanted: Wanted) -> str:
        it = self._instance
        ebs = {"SnapshotId": snapshot, "VolumeType": "gp3", "DeleteOnTermination": True}
        # What a paravirtual image boots by, and by what drivers a network card is driven.
        kept: dict[str, Any] = {
            name: record[name]
            for name in ("KernelId", "RamdiskId", "SriovNetSupport")
            if record.get(name)
        }
        if it.ena:
            kept["EnaSupport"] = True
        image = self._ec2.register_image(
            Name=wanted.name,
            Description=f"EBS-backed copy of {it.id}, with its identity",
            Architecture=it.architecture,  # type: ignore[arg-type]
            VirtualizationType=it.virtualization,
            RootDeviceName=it.root_device,
            BlockDeviceMappings=[{"DeviceName": it.root_device, "Ebs": ebs}],  # type: ignore[typeddict-item]
            TagSpecifications=[self._tags("image", wanted.name)],
            **kept,
        )["ImageId"]
        self._say(f"Image {image} is registered")
        return image

    def _tags(
        self, kind: Literal["volume", "snapshot", "image"], name: str
    ) -> "TagSpecificationTypeDef":
        tags = {**self._demanded, "Name": name, TAG_CONVERTED_FROM: self._instance.id}
        return {
            "ResourceType": kind,
            "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
        }

    def _until(self, volume: str, state: str, *, attached: bool = False) -> None:
        wanted = (state, ["attached"] if attached else [])
        if (
            self._wait.until(lambda: self._state_of(volume) == wanted or None, _VOLUME_LOOKS)
            is None
        ):
            raise CommandError(
                f"Volume {volume} is not {state}.", "Look at it in EC2.", code=FAILED
            )

    def _state_of(self, volume: str) -> tuple[str, list[str]]:
        wanted: FilterTypeDef = {"Name": "volume-id", "Values": [volume]}
        found = self._ec2.describe_volumes(Filters=[wanted])["Volumes"]
        if not found:
            return "not shown", []
        return found[0]["State"], [str(it["State"]) for it in found[0].get("Attachments", [])]

    def _detach(self, volume: str) -> None:
        self._ec2.detach_volume(VolumeId=volume)
        self._until(volume, "available")

    def _remove_volume(self, volume: str) -> None:
        with self._said(f"Volume {volume} is left", "detach and delete it"):
            state, attachments = self._state_of(volume)
            if attachments:
                self._say(f"{self._instance.id} is to let go of volume {volume}")
            if attachments and attachments != ["detaching"]:
                self._ec2.detach_volume(VolumeId=volume)
            if state != "not shown":
                self._until(volume, "available")
            self._ec2.delete_volume(VolumeId=volume)

    def _remove_snapshot(self, snapshot: str) -> None:
        with self._said(f"Snapshot {snapshot} is left", "delete it"):
            self._ec2.delete_snapshot(SnapshotId=snapshot)

    @contextmanager
    def _said(self, what: str, remedy: str) -> Iterator[None]:
        """What cannot be removed is told, whatever came before, and is not the error."""
        try:
            with explained(self._region):
                yield
        except BaseException as error:
            reason = error.message if isinstance(error, CommandError) else "interrupted"
            self._say(f"{what} ({reason}): {remedy}.")
            if not isinstance(error, CommandError):
                raise
