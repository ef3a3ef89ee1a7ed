"""Everything in the account that carries the tag of a bake."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bakery import clock
from bakery.aws import clients
from bakery.aws.ec2 import LIVE_STATES
from bakery.aws.failures import translated
from bakery.naming import TAG_BAKE, TAG_RECIPE
from bakery.orphans import Kind, Tagged

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef, TagTypeDef


def everything() -> list[Tagged]:
    """Live instances, volumes that no instance holds, own images and own snapshots of all bakes."""
    return [*_instances(), *_volumes(), *_images(), *_snapshots()]


def _tag() -> "FilterTypeDef":
    return {"Name": "tag-key", "Values": [TAG_BAKE]}


def _pages(operation: str, **request: Any) -> Iterator[Any]:
    call = "".join(part.title() for part in operation.split("_"))
    with translated(f"ec2:{call}", "of all bakes"):
        # The stubs know paginators by literal names only.
        paginator: Any = clients.ec2().get_paginator(operation)  # type: ignore[call-overload]
        yield from paginator.paginate(**request)


def _tagged(
    kind: Kind,
    id_: str,
    tags: "Sequence[TagTypeDef]",
    created: datetime,
    snapshots: tuple[str, ...] = (),
) -> Tagged:
    values: Mapping[str, str] = {tag.get("Key", ""): tag.get("Value", "") for tag in tags}
    return Tagged(
        kind, id_, values.get(TAG_BAKE, ""), values.get(TAG_RECIPE, ""), created, snapshots
    )


def _instances() -> Iterator[Tagged]:
    live = {"Name": "instance-state-name", "Values": list(LIVE_STATES)}
    for page in _pages("describe_instances", Filters=[_tag(), live]):
        for reservation in page["Reservations"]:
            for it in reservation["Instances"]:
                yield _tagged(Kind.INSTANCE, it["InstanceId"], it["Tags"], it["LaunchTime"])


def _volumes() -> Iterator[Tagged]:
    loose = {"Name": "status", "Values": ["available"]}
    for page in _pages("describe_volumes", Filters=[_tag(), loose]):
        for it in page["Volumes"]:
            yield _tagged(Kind.VOLUME, it["VolumeId"], it["Tags"], it["CreateTime"])


def _images() -> Iterator[Tagged]:
    request = {"Owners": ["self"], "IncludeDeprecated": True, "IncludeDisabled": True}
    for page in _pages("describe_images", Filters=[_tag()], **request):
        for it in page["Images"]:
            created = clock.parse(it["CreationDate"])
            volumes = [mapping.get("Ebs", {}) for mapping in it.get("BlockDeviceMappings", [])]
            held = tuple(volume["SnapshotId"] for volume in volumes if volume.get("SnapshotId"))
            yield _tagged(Kind.IMAGE, it["ImageId"], it["Tags"], created, held)


def _snapshots() -> Iterator[Tagged]:
    for page in _pages("describe_snapshots", OwnerIds=["self"], Filters=[_tag()]):
        for it in page["Snapshots"]:
            yield _tagged(Kind.SNAPSHOT, it["SnapshotId"], it["Tags"], it["StartTime"])
