"""What names an image and could launch from it, where DescribeImageReferences does not look.

That call knows instances, launch templates by id of the image, parameters by their present value,
and Image Builder. It passes by launch configurations and groups of Auto Scaling, requests of Spot
Fleet and EC2 Fleet, and templates that name an earlier value of a parameter. Of a template it does
not tell which version it is, so those that something launches from are looked at here.
Source: EC2 user guide, "Identify your resources referencing specified AMIs".
A call that fails raises; none of these answers with less than there is.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from bakery.aws import clients, ssm
from bakery.aws.failures import code_of, translated
from bakery.naming import POINTERS

Named = tuple[str, str]
"""The id of an image, or a parameter that holds one, and what names it."""
Version = tuple[str, str, str]
"""How a launch template is named, its id or name, and the number of one of its versions."""

_KEYS = ("LaunchTemplateId", "LaunchTemplateName")
_NEWEST = ("$Latest", "$Default")
_PINNED = re.compile(
    rf"resolve:ssm:(?:arn:[^:]*:ssm:[^:]*:[^:]*:parameter)?(?P<name>{POINTERS}/[^:]+):(?P<pin>[^:]+)"
)
"""A pointer at one of its versions, or with a label. One without either launches what the pointer
holds, and what that is is known."""
_GONE = {
    "InvalidLaunchTemplateId.NotFound",
    "InvalidLaunchTemplateId.VersionNotFound",
    "InvalidLaunchTemplateName.NotFoundException",
}


def images(*, region: str) -> dict[str, str]:
    """Images in the Region, each with one thing that names it."""
    groups, spot_fleets, fleets = _groups(region), _spot_fleets(region), _fleets(region)
    newest = _versions({"Versions": list(_NEWEST)}, region)
    found = [
        *_of_launch_configurations(region),
        *_of_groups(groups),
        *_of_spot_fleets(spot_fleets),
        *_of_fleets(fleets),
        *_of_templates(newest),
    ]
    # Most name the newest one by its number.
    seen = {(key, it[key], str(it["VersionNumber"])) for it in newest for key in _KEYS}
    numbered = {it for each in (*groups, *spot_fleets, *fleets) for it in _versions_in(each)}
    for key, template, number in sorted(numbered - seen):
        found += _of_templates(_versions({key: template, "Versions": [number]}, region))
    return {image: what for image, what in _resolved(found, region) if image}


def _of_launch_configurations(region: str) -> Iterator[Named]:
    with translated("autoscaling:DescribeLaunchConfigurations", f"in {region}"):
        pages = (
            clients.autoscaling(region).get_paginator("describe_launch_configurations").paginate()
        )
        for page in pages:
            for it in page["LaunchConfigurations"]:
                yield it.get("ImageId", ""), f"launch configuration {it['LaunchConfigurationName']}"


def _groups(region: str) -> list[Mapping[str, Any]]:
    with translated("autoscaling:DescribeAutoScalingGroups", f"in {region}"):
        pages = clients.autoscaling(region).get_paginator("describe_auto_scaling_groups").paginate()
        return [it for page in pages for it in page["AutoScalingGroups"]]


def _of_groups(groups: Iterable[Mapping[str, Any]]) -> Iterator[Named]:
    """A mixed group may have an image of its own for an instance type, beside its template's."""
    for it in groups:
        template = it.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
        for override in template.get("Overrides", []):
            yield override.get("ImageId", ""), f"Auto Scaling group {it['AutoScalingGroupName']}"


def _spot_fleets(region: str) -> list[Mapping[str, Any]]:
    """Those that may still launch."""
    with translated("ec2:DescribeSpotFleetRequests", f"in {region}"):
        pages = clients.ec2(region).get_paginator("describe_spot_fleet_requests").paginate()
        return [
            dict(it)
            for page in pages
            for it in page["SpotFleetRequestConfigs"]
            if it.get("SpotFleetRequestState") not in {"cancelled", "failed"}
        ]


def _of_spot_fleets(fleets: Iterable[Mapping[str, Any]]) -> Iterator[Named]:
    for it in fleets:
        for launch in it.get("SpotFleetRequestConfig", {}).get("LaunchSpecifications", []):
            yield launch.get("ImageId", ""), f"Spot Fleet {it.get('SpotFleetRequestId')}"


def _fleets(region: str) -> list[Mapping[str, Any]]:
    """Those that may still launch."""
    with translated("ec2:DescribeFleets", f"in {region}"):
        pages = clients.ec2(region).get_paginator("describe_fleets").paginate()
        return [
            dict(it)
            for page in pages
            for it in page["Fleets"]
            if it.get("FleetState") not in {"deleted", "failed"}
        ]


def _of_fleets(fleets: Iterable[Mapping[str, Any]]) -> Iterator[Named]:
    for fleet in fleets:
        for config in fleet.get("LaunchTemplateConfigs", []):
            for override in config.get("Overrides", []):
                yield override.get("ImageId", ""), f"EC2 Fleet {fleet.get('FleetId')}"


def _versions_in(content: object) -> Iterator[Version]:
    """Versions of launch templates that a group or fleet names by number, wherever in it, but for
    those that its instances came from: what has launched is no matter of it."""
    if isinstance(content, Mapping):
        version = content.get("Version")
        named = [key for key in _KEYS if content.get(key)][:1]
        if named and version and version not in _NEWEST:
            yield named[0], content[named[0]], version
        for key, it in content.items():
            if key != "Instances":
                yield from _versions_in(it)
    elif isinstance(content, list):
        for it in content:
            yield from _versions_in(it)


def _of_templates(versions: Iterable[Mapping[str, Any]]) -> Iterator[Named]:
    for it in versions:
        what = f"version {it.get('VersionNumber')} of launch template {it.get('LaunchTemplateId')}"
        yield it.get("LaunchTemplateData", {}).get("ImageId", ""), what


def _versions(request: Mapping[str, Any], region: str) -> list[Mapping[str, Any]]:
    """What a group names may be gone; it launches nothing then."""
    which = next((request[key] for key in _KEYS if key in request), "all")
    what = f"{', '.join(request['Versions'])} of {which}"
    with translated("ec2:DescribeLaunchTemplateVersions", f"{what} in {region}"):
        paginator = clients.ec2(region).get_paginator("describe_launch_template_versions")
        try:
            pages = paginator.paginate(**request)
            return [it for page in pages for it in page["LaunchTemplateVersions"]]
        except ClientError as error:
            if code_of(error) in _GONE:
                return []
            raise


def _resolved(found: Iterable[Named], region: str) -> Iterator[Named]:
    held: dict[str, str | None] = {}
    for image, what in found:
        if match := _PINNED.fullmatch(image):
            pinned = f"{match['name']}:{match['pin']}"
            if pinned not in held:
                held[pinned] = ssm.get_parameter(pinned, region=region)
            yield held[pinned] or "", f"{what}, by parameter {pinned},"
        else:
            yield image, what
