"""Everything in the account that carries the tag of a bake, in all Regions that get images."""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bakery import clock
from bakery.aws import clients
from bakery.aws.ec2 import LIVE_STATES
from bakery.aws.failures import translated
from bakery.naming import TAG_BAKE, TAG_CLONE_OF, TAG_RECIPE
from bakery.orphans import Kind, Tagged
from bakery.resources import SpotRequest

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef, TagTypeDef


_FOR_IMAGE = re.compile(
    r"(?:Created by CreateImage\(i-[0-9a-f]+\) for|Copied for DestinationAmi) (ami-[0-9a-f]+)\b"
)
"""How EC2 begins the description of a snapshot that it makes for an image, or for a copy."""


def everything(others: Sequence[str] = ()) -> list[Tagged]:
    """Spot requests that stand, live instances, volumes that no instance holds, own images and own
    snapshots of all bakes; of other Regions the images and snapshots."""
    requests = list(_spot_requests())
    instances = list(_instances())
    return [
        *(tagged for request, tagged in requests if request.stands),
        *instances,
        *_untagged(requests, {it.id for it in instances}),
        *_volumes(),
        *(it for region in (None, *others) for it in _images(region)),
        *(it for region in (None, *others) for it in _snapshots(region)),
    ]


def _tag() -> "FilterTypeDef":
    return {"Name": "tag-key", "Values": [TAG_BAKE]}


def _pages(operation: str, region: str | None = None, **request: Any) -> Iterator[Any]:
    call = "".join(part.title() for part in operation.split("_"))
    with translated(f"ec2:{call}", f"of all bakes in {region}" if region else "of all bakes"):
        # The stubs know paginators by literal names only.
        paginator: Any = clients.ec2(region).get_paginator(operation)  # type: ignore[call-overload]
        yield from paginator.paginate(**request)


def _tagged(
    kind: Kind,
    id_: str,
    tags: "Sequence[TagTypeDef]",
    created: datetime,
    region: str | None = None,
) -> Tagged:
    values: Mapping[str, str] = {tag.get("Key", ""): tag.get("Value", "") for tag in tags}
    bake, recipe = values.get(TAG_BAKE, ""), values.get(TAG_RECIPE, "")
    clone = TAG_CLONE_OF in values
    return Tagged(kind, id_, bake, recipe, created, region=region, clone=clone)


def _spot_requests() -> Iterator[tuple[SpotRequest, Tagged]]:
    for page in _pages("describe_spot_instance_requests", Filters=[_tag()]):
        for it in page["SpotInstanceRequests"]:
            id_ = it["SpotInstanceRequestId"]
            request = SpotRequest(id_, it["State"], it.get("InstanceId", ""))
            yield request, _tagged(Kind.SPOT_REQUEST, id_, it["Tags"], it["CreateTime"])


def _untagged(requests: Sequence[tuple[SpotRequest, Tagged]], known: Set[str]) -> Iterator[Tagged]:
    """Live instances that spot requests launched by themselves: they have their request's tags
    nowhere but there."""
    owners = {
        request.instance_id: tagged
        for request, tagged in requests
        if request.instance_id and request.instance_id not in known
    }
    if not owners:
        return
    live = {"Name": "instance-state-name", "Values": list(LIVE_STATES)}
    named = {"Name": "instance-id", "Values": sorted(owners)}
    for page in _pages("describe_instances", Filters=[named, live]):
        for reservation in page["Reservations"]:
            for it in reservation["Instances"]:
                owner = owners[it["InstanceId"]]
                yield replace(owner, kind=Kind.INSTANCE, id=it["InstanceId"])


def _instances() -> Iterator[Tagged]:
    live = {"Name": "instance-state-name", "Values": list(LIVE_STATES)}
    for page in _pages("describe_instances", Filters=[_tag(), live]):
        for reservation in page["Reservations"]:
            for it in reservation["Instances"]:
                yield _tagged(Kind.INSTANCE, it["InstanceId"], it["Tags"], _launched(it))


def _launched(instance: Mapping[str, Any]) -> datetime:
    """When it was first launched: a start sets LaunchTime anew, but attaches nothing again.

    Source: EC2 API reference, Instance, launchTime: "To determine the time that instance was first
    launched, see the attachment time for the primary network interface."
    """
    launched: datetime = instance["LaunchTime"]
    interfaces = [it.get("Attachment", {}) for it in instance.get("NetworkInterfaces", [])]
    volumes = [it.get("Ebs", {}) for it in instance.get("BlockDeviceMappings", [])]
    attached: list[datetime] = [
        it["AttachTime"] for it in (*interfaces, *volumes) if "AttachTime" in it
    ]
    return min(attached, default=launched)


def _volumes() -> Iterator[Tagged]:
    loose = {"Name": "status", "Values": ["available"]}
    for page in _pages("describe_volumes", Filters=[_tag(), loose]):
        for it in page["Volumes"]:
            yield _tagged(Kind.VOLUME, it["VolumeId"], it["Tags"], it["CreateTime"])


def _images(region: str | None) -> Iterator[Tagged]:
    request = {"Owners": ["self"], "IncludeDeprecated": True, "IncludeDisabled": True}
    for page in _pages("describe_images", region, Filters=[_tag()], **request):
        for it in page["Images"]:
            created = clock.parse(it["CreationDate"])
            volumes = [mapping.get("Ebs", {}) for mapping in it.get("BlockDeviceMappings", [])]
            held = tuple(volume["SnapshotId"] for volume in volumes if volume.get("SnapshotId"))
            image = _tagged(Kind.IMAGE, it["ImageId"], it["Tags"], created, region)
            yield replace(image, name=it.get("Name", ""), snapshots=held)


def _snapshots(region: str | None) -> Iterator[Tagged]:
    for page in _pages("describe_snapshots", region, OwnerIds=["self"], Filters=[_tag()]):
        for it in page["Snapshots"]:
            created = it["StartTime"]
            id_, tags = it["SnapshotId"], it["Tags"]
            made = _FOR_IMAGE.match(it.get("Description", ""))
            snapshot = _tagged(Kind.SNAPSHOT, id_, tags, created, region)
            yield replace(snapshot, image=made[1] if made else "")
