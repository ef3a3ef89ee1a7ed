"""EC2's launch templates and their versions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from bakery.aws import clients
from bakery.aws.failures import code_of, translated
from bakery.errors import AwsCallFailedError

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import LaunchTemplateVersionTypeDef

_GONE = {"launchTemplateIdDoesNotExist", "launchTemplateVersionDoesNotExist"}
_DESCRIPTION = "ami-bakery {by}, default before: {before}"
_BEFORE = re.compile(r"ami-bakery (\S+), default before: (\d+)")


@dataclass(frozen=True)
class Version:
    """A version that a bake, or a rollback, made."""

    number: int
    default: int
    """The number of the template's default version now."""
    default_before: int

    @property
    def is_default(self) -> bool:
        return self.default == self.number

    @property
    def overtaken(self) -> bool:
        """Whether another has made a version the default since this one was made."""
        return self.default not in (self.number, self.default_before)


def existing(ids: Sequence[str], *, region: str) -> set[str]:
    """Which of the templates there are."""
    with translated("ec2:DescribeLaunchTemplates", region):
        # One by one, because a call that names one that is not there answers for none; EC2 has no
        # filter for ids.
        return {id_ for id_ in ids if _latest(id_, region) is not None}


def latest_version(template: str, *, region: str) -> int | None:
    """The number of the template's latest version; None if there is no such template."""
    with translated("ec2:DescribeLaunchTemplates", region):
        return _latest(template, region)


def _latest(template: str, region: str) -> int | None:
    try:
        found = clients.ec2(region).describe_launch_templates(LaunchTemplateIds=[template])
    except ClientError as error:
        if code_of(error) == "InvalidLaunchTemplateId.NotFound":
            return None
        raise
    return found["LaunchTemplates"][0]["LatestVersionNumber"]


def version_by(by: str, template: str, *, region: str) -> Version | None:
    """The version that the bake or rollback made, if it did, and the template is there."""
    versions = _versions(template, region)
    for it in versions:
        found = _BEFORE.fullmatch(it.get("VersionDescription", ""))
        if found and found[1] == by:
            default = next((one["VersionNumber"] for one in versions if one["DefaultVersion"]), 0)
            return Version(it["VersionNumber"], default, int(found[2]))
    return None


def named_by_us_only(template: str, *, region: str) -> set[str]:
    """Images that the template names in versions that bakes or rollbacks made, and in no other."""
    ours: set[str] = set()
    others: set[str] = set()
    for it in _versions(template, region):
        made_by_us = _BEFORE.fullmatch(it.get("VersionDescription", ""))
        image = it["LaunchTemplateData"].get("ImageId", "")
        (ours if made_by_us else others).add(image)
    return ours - others


def _versions(template: str, region: str) -> "list[LaunchTemplateVersionTypeDef]":
    """All of them, the newest first; none of a template that is not there."""
    with translated("ec2:DescribeLaunchTemplateVersions", f"{template} in {region}"):
        try:
            pages = (
                clients.ec2(region)
                .get_paginator("describe_launch_template_versions")
                .paginate(LaunchTemplateId=template)
            )
            return [it for page in pages for it in page["LaunchTemplateVersions"]]
        except ClientError as error:
            if code_of(error) == "InvalidLaunchTemplateId.NotFound":
                return []
            raise


def add_version(
    template: str, image_id: str, *, by: str, client_token: str, default: bool, region: str
) -> int:
    """Make a version with this image; returns its number.

    One that is to become the default is like the default: who may make versions, but not say which
    is the default, does not get theirs to be it by a bake. Any other is like the latest.
    """
    subject = f"{template} in {region}"
    with translated("ec2:DescribeLaunchTemplates", subject):
        found = clients.ec2(region).describe_launch_templates(LaunchTemplateIds=[template])
    before = found["LaunchTemplates"][0]["DefaultVersionNumber"]
    with translated("ec2:CreateLaunchTemplateVersion", subject):
        answer = clients.ec2(region).create_launch_template_version(
            LaunchTemplateId=template,
            SourceVersion=str(before) if default else "$Latest",
            VersionDescription=_DESCRIPTION.format(by=by, before=before),
            LaunchTemplateData={"ImageId": image_id},
            ClientToken=client_token,
        )
    return answer["LaunchTemplateVersion"]["VersionNumber"]


def give_version(
    template: str, image_id: str, *, by: str, client_token: str, default: bool, region: str
) -> int:
    """Adopt or make the version of the bake or rollback, perhaps the default; its number. Safe to
    repeat."""
    made = version_by(by, template, region=region)
    if made:
        number = made.number
    else:
        number = add_version(
            template, image_id, by=by, client_token=client_token, default=default, region=region
        )
    if default:
        set_default(template, number, region=region)
    return number


def set_default(template: str, version: int, *, region: str) -> None:
    """Make the version the default; safe to repeat."""
    with translated("ec2:ModifyLaunchTemplate", f"{template} in {region}"):
        clients.ec2(region).modify_launch_template(
            LaunchTemplateId=template, DefaultVersion=str(version)
        )


def remove_version(template: str, version: Version, *, region: str) -> None:
    """Delete the version; if it is the default, the one before takes its place first."""
    if version.is_default:
        set_default(template, version.default_before, region=region)
    subject = f"{template} in {region}"
    with translated("ec2:DeleteLaunchTemplateVersions", subject):
        answer = clients.ec2(region).delete_launch_template_versions(
            LaunchTemplateId=template, Versions=[str(version.number)]
        )
    for it in answer["UnsuccessfullyDeletedLaunchTemplateVersions"]:
        error = it.get("ResponseError", {})
        if error.get("Code") not in _GONE:
            raise AwsCallFailedError(
                f"ec2:DeleteLaunchTemplateVersions {subject} failed: {error.get('Code')}: "
                f"{error.get('Message')}"
            )
