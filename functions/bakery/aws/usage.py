"""Who uses an image: everything that retention asks AWS, in one Region.

A call that fails raises; none of these answers with less than there is.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from bakery import clock
from bakery.aws import clients, templates
from bakery.aws.failures import translated
from bakery.naming import (
    POINTERS,
    TAG_BAKE,
    TAG_BASE_IMAGE,
    TAG_CLONE_OF,
    TAG_DISABLED_AT,
    TAG_RECIPE,
    TAG_RETIRED,
)
from bakery.retention import OldImage

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import ImageTypeDef

_IDS_PER_CALL = 10
"""Of DescribeImageReferences. Source: EC2 API reference."""
_IDS_PER_FILTER = 200
"""Values that a filter may have. Source: EC2 API reference, Filter."""
_ALL_VERSIONS = "10000"
"""Of a launch template; by default EC2 looks at the newest ten only."""

_RESOURCE_TYPES: list[Any] = [
    {
        "ResourceType": "ec2:Instance",
        "ResourceTypeOptions": [
            {
                "OptionName": "state-name",
                "OptionValues": ["pending", "running", "shutting-down", "stopping", "stopped"],
            }
        ],
    },
    {
        "ResourceType": "ec2:LaunchTemplate",
        "ResourceTypeOptions": [
            {"OptionName": "version-depth", "OptionValues": [_ALL_VERSIONS]},
        ],
    },
    {"ResourceType": "ssm:Parameter"},
    {"ResourceType": "imagebuilder:ImageRecipe"},
    {"ResourceType": "imagebuilder:ContainerRecipe"},
]
_SEEN_FOR = timedelta(days=7)
"""A report that is older says too little about today."""


def images_of_recipe(recipe: str, *, region: str) -> tuple[OldImage, ...]:
    """All images of this account that the recipe made, in whatever state; no clones of hosts."""
    request: dict[str, Any] = {
        "Owners": ["self"],
        "Filters": [{"Name": f"tag:{TAG_RECIPE}", "Values": [recipe]}],
        "IncludeDeprecated": True,
        "IncludeDisabled": True,
    }
    with translated("ec2:DescribeImages", f"of recipe {recipe} in {region}"):
        pages = clients.ec2(region).get_paginator("describe_images").paginate(**request)
        records = [record for page in pages for record in page["Images"]]
    return tuple(_old_image(it) for it in records if not _is_clone(it))


def _is_clone(record: "ImageTypeDef") -> bool:
    """Whether it is of a bake under way that begins with a running host; it goes with that."""
    return any(tag.get("Key") == TAG_CLONE_OF for tag in record.get("Tags", []))


def _old_image(record: "ImageTypeDef") -> OldImage:
    tags = {tag.get("Key", ""): tag.get("Value", "") for tag in record.get("Tags", [])}
    volumes = [mapping.get("Ebs", {}) for mapping in record.get("BlockDeviceMappings", [])]
    created, state = clock.parse(record["CreationDate"]), record.get("State", "pending")
    return OldImage(
        id=record["ImageId"],
        created=created,
        state=state,
        deprecated=_moment(record.get("DeprecationTime")),
        disabled_at=_noted(tags.get(TAG_DISABLED_AT), None if state == "disabled" else created),
        # "disabled", "enabled-without-cooldown" or "enabled-with-cooldown"; what else it may say
        # once protection was ended with a cooldown is not documented, and protects.
        protected=record.get("DeregistrationProtection", "disabled") != "disabled",
        launched=_moment(record.get("LastLaunchedTime")),
        snapshots=tuple(v["SnapshotId"] for v in volumes if v.get("SnapshotId")),
        bake=tags.get(TAG_BAKE, ""),
    )


def _moment(text: str | None) -> datetime | None:
    return clock.parse(text) if text else None


def _noted(text: str | None, otherwise: datetime | None) -> datetime | None:
    """The moment in a tag, which a hand may have spoilt: then a disabled image has its grace period
    anew, and one that is available was disabled at some time."""
    try:
        return _moment(text)
    except ValueError:
        return otherwise


def pointers(*, region: str) -> dict[str, str]:
    """Every parameter of the bakery in the Region, of all recipes, with its value."""
    with translated("ssm:GetParametersByPath", f"{POINTERS} in {region}"):
        pages = (
            clients.ssm(region)
            .get_paginator("get_parameters_by_path")
            .paginate(Path=POINTERS, Recursive=True)
        )
        return {it["Name"]: it["Value"] for page in pages for it in page["Parameters"]}


def bases(images: Sequence[str], *, region: str) -> dict[str, str]:
    """The base images of ``images``, as their tags say, each with the image made from it."""
    found: dict[str, str] = {}
    for part in _parts(images, _IDS_PER_FILTER):
        request: dict[str, Any] = {
            # A filter, unlike ImageIds=, answers for the others when one is gone.
            "Filters": [{"Name": "image-id", "Values": part}],
            "IncludeDeprecated": True,
            "IncludeDisabled": True,
        }
        with translated("ec2:DescribeImages", f"that are current in {region}"):
            pages = clients.ec2(region).get_paginator("describe_images").paginate(**request)
            for record in (record for page in pages for record in page["Images"]):
                tags = {tag.get("Key"): tag.get("Value", "") for tag in record.get("Tags", [])}
                if base := tags.get(TAG_BASE_IMAGE):
                    found[base] = record["ImageId"]
    return found


def references(images: Sequence[str], *, region: str) -> dict[str, tuple[str, ...]]:
    """What in this account refers to each image: instances that are not gone, launch templates in
    any version, parameters, recipes of Image Builder.

    Versions of launch templates that bakes or rollbacks have made are none: each image that was
    published to a template would be named there for ever. The newest and the default one, and those
    that a group or fleet names, are in ``bakery.aws.named``, and so is what a template launches
    that names a parameter. Image Builder's recipes keep no image of ours in use, but somebody means
    to build on it.
    """
    found: dict[str, list[str]] = {image: [] for image in images}
    past: dict[str, set[str]] = {}
    for image, kind, arn in _references(images, region):
        if kind == "ec2:LaunchTemplate":
            if arn not in past:
                template = arn.rpartition("/")[2]
                past[arn] = templates.named_by_us_only(template, region=region)
            if image in past[arn]:
                continue
        found.setdefault(image, []).append(_words(kind, arn))
    return {image: tuple(uses) for image, uses in found.items()}


def _references(images: Sequence[str], region: str) -> Iterator[tuple[str, str, str]]:
    """Image, resource type and ARN of each."""
    for part in _parts(images, _IDS_PER_CALL):
        with translated("ec2:DescribeImageReferences", f"of {', '.join(part)} in {region}"):
            pages = (
                clients.ec2(region)
                .get_paginator("describe_image_references")
                .paginate(ImageIds=part, ResourceTypes=_RESOURCE_TYPES)
            )
            rows = [it for page in pages for it in page["ImageReferences"]]
        for it in rows:
            yield it.get("ImageId", ""), it.get("ResourceType", "something"), it.get("Arn", "")


def _words(kind: str, arn: str) -> str:
    name = arn.partition(":parameter")[2] if kind == "ssm:Parameter" else arn.rpartition("/")[2]
    verb = "was launched from it" if kind == "ec2:Instance" else "names it"
    return f"{kind.partition(':')[2]} {name} {verb}"


def is_shared(image: str, *, region: str) -> bool:
    """Whether anybody else may launch the image."""
    with translated("ec2:DescribeImageAttribute", f"of {image} in {region}"):
        answer = clients.ec2(region).describe_image_attribute(
            ImageId=image, Attribute="launchPermission"
        )
    return bool(answer.get("LaunchPermissions"))


class NotReportedError(Exception):
    """EC2 has not told (yet) which other accounts use an image; the message says why."""


def other_accounts(image: str, *, region: str, now: datetime, ask: bool) -> tuple[str, ...]:
    """Which other accounts use a shared image, by a report of EC2's of the last days.

    Reports take time: raises NotReportedError until there is one, after it has been asked for if
    ``ask``. Such a report misses what has happened in the last days.
    Source: EC2 user guide, "View your AMI usage".
    """
    with translated("ec2:DescribeImageUsageReports", f"of {image} in {region}"):
        pages = (
            clients.ec2(region)
            .get_paginator("describe_image_usage_reports")
            .paginate(ImageIds=[image])
        )
        reports = [it for page in pages for it in page["ImageUsageReports"]]
    fresh = [it for it in reports if now - it["CreationTime"] < _SEEN_FOR]
    ready = [it["ReportId"] for it in fresh if it.get("State") == "available"]
    if ready:
        return _entries(image, ready, region)
    if any(it.get("State") == "pending" for it in fresh):
        raise NotReportedError("it is shared, and EC2's report on its use is being made")
    if not ask:
        raise NotReportedError("it is shared, and there is no report of EC2's on its use")
    _ask_for_report(image, region, now)
    raise NotReportedError("it is shared, and EC2 was asked for a report on its use")


def _entries(image: str, reports: list[str], region: str) -> tuple[str, ...]:
    with translated("ec2:DescribeImageUsageReportEntries", f"of {image} in {region}"):
        pages = (
            clients.ec2(region)
            .get_paginator("describe_image_usage_report_entries")
            .paginate(ReportIds=reports)
        )
        used = {
            it.get("AccountId", "another account")
            for page in pages
            for it in page["ImageUsageReportEntries"]
            if it.get("UsageCount")
        }
    return tuple(f"account {account} uses it" for account in sorted(used))


def _ask_for_report(image: str, region: str, now: datetime) -> None:
    """One report a day at most: the token is the day's."""
    with translated("ec2:CreateImageUsageReport", f"of {image} in {region}"):
        clients.ec2(region).create_image_usage_report(
            ImageId=image,
            ResourceTypes=[
                {"ResourceType": "ec2:Instance"},
                {
                    "ResourceType": "ec2:LaunchTemplate",
                    "ResourceTypeOptions": [
                        {"OptionName": "version-depth", "OptionValues": [_ALL_VERSIONS]}
                    ],
                },
                {"ResourceType": "imagebuilder:ImageRecipe"},
                {"ResourceType": "imagebuilder:ContainerRecipe"},
            ],
            ClientToken=f"ami-bakery-{image}-{now:%Y-%m-%d}",
        )


def left_snapshots(recipe: str, *, region: str) -> dict[str, str]:
    """Snapshots that were to go with their image and are still there, and that image."""
    filters: Any = [
        {"Name": f"tag:{TAG_RECIPE}", "Values": [recipe]},
        {"Name": "tag-key", "Values": [TAG_RETIRED]},
    ]
    found: dict[str, str] = {}
    with translated("ec2:DescribeSnapshots", f"of recipe {recipe} in {region}"):
        pages = (
            clients.ec2(region)
            .get_paginator("describe_snapshots")
            .paginate(OwnerIds=["self"], Filters=filters)
        )
        for it in (it for page in pages for it in page["Snapshots"]):
            tags = {tag.get("Key"): tag.get("Value", "") for tag in it.get("Tags", [])}
            found[it["SnapshotId"]] = tags.get(TAG_RETIRED, "")
    return found


def _parts(items: Sequence[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
