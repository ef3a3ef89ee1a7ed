"""The steps in which an image goes, in one Region; each is harmless when it was taken before."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from bakery.aws import clients
from bakery.aws.ec2 import own_image
from bakery.aws.failures import is_gone, translated
from bakery.naming import TAG_DISABLED_AT, TAG_RETIRED

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import TagTypeDef


def deprecate(image: str, *, region: str, now: datetime) -> None:
    """Have EC2 call the image deprecated: from in a few minutes on, EC2 takes no past date."""
    with translated("ec2:EnableImageDeprecation", f"{image} in {region}"):
        clients.ec2(region).enable_image_deprecation(
            ImageId=image, DeprecateAt=now + timedelta(minutes=5)
        )


def disable(image: str, *, region: str) -> None:
    """Nobody can launch the image any more; whom it was shared with lose it for good."""
    with translated("ec2:DisableImage", f"{image} in {region}"):
        clients.ec2(region).disable_image(ImageId=image)


def note_disabled(image: str, *, region: str, now: datetime) -> None:
    """Write down when the image was disabled."""
    _tag([image], {"Key": TAG_DISABLED_AT, "Value": f"{now:%Y-%m-%dT%H:%M:%SZ}"}, region)


def mark(image: str, snapshots: Sequence[str], *, region: str) -> None:
    """Write on the snapshots that they go with the image, so that they are found without it."""
    if snapshots:
        _tag(snapshots, {"Key": TAG_RETIRED, "Value": image}, region)


def protect(image: str, *, region: str) -> None:
    """Have EC2 refuse to deregister the image; without its cooldown, which would hold us too."""
    with translated("ec2:EnableImageDeregistrationProtection", f"{image} in {region}"):
        clients.ec2(region).enable_image_deregistration_protection(
            ImageId=image, WithCooldown=False
        )


def unprotect(image: str, *, region: str) -> None:
    """End EC2's protection of the image; if it has a cooldown, it lasts another day."""
    with translated("ec2:DisableImageDeregistrationProtection", f"{image} in {region}"):
        clients.ec2(region).disable_image_deregistration_protection(ImageId=image)


def deregister(image: str, *, region: str) -> tuple[str, ...]:
    """Take the image away with its snapshots, for good; what is left of them, each with EC2's
    reason.

    A snapshot that another image consists of is not left, it is that one's.
    """
    with translated("ec2:DeregisterImage", f"{image} in {region}"):
        try:
            answer = clients.ec2(region).deregister_image(
                ImageId=image, DeleteAssociatedSnapshots=True
            )
        except ClientError as error:
            if not is_gone(error, lambda: own_image(image, region)):
                raise
            return ()
    return tuple(
        f"snapshot {it.get('SnapshotId')}: {it.get('ReturnCode')}"
        for it in answer.get("DeleteSnapshotResults", [])
        if it.get("ReturnCode") not in {"success", "skipped"}
    )


def _tag(resources: Sequence[str], tag: "TagTypeDef", region: str) -> None:
    with translated("ec2:CreateTags", f"{', '.join(resources)} in {region}"):
        clients.ec2(region).create_tags(Resources=list(resources), Tags=[tag])
