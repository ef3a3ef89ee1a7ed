"""Who uses an image: references in the account, and reports on the use by other accounts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from scripts.local import moto_seam
from scripts.local.clock import iso_millis
from scripts.local.ec2_state import Region, State, arn, check_dry_run
from scripts.local.errors import AwsError
from scripts.local.iam import ACCOUNT
from scripts.local.records import Record, new_id, page

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scripts.local.calls import Call, Handler
    from scripts.local.ec2_images import Images

_KINDS = (
    "ec2:Instance",
    "ec2:LaunchTemplate",
    "ssm:Parameter",
    "imagebuilder:ImageRecipe",
    "imagebuilder:ContainerRecipe",
)
_REPORT_KINDS = (
    "ec2:Instance",
    "ec2:LaunchTemplate",
    "imagebuilder:ImageRecipe",
    "imagebuilder:ContainerRecipe",
)
_ALL_STATES = ("pending", "running", "shutting-down", "terminated", "stopping", "stopped")
_KEPT = timedelta(days=30)
# What the caller must be allowed to do beside, through EC2.
# Source: EC2 user guide, "Identify your resources referencing specified AMIs".
_THROUGH_EC2 = {
    "ec2:Instance": ("ec2:DescribeInstances",),
    "ec2:LaunchTemplate": (
        "ec2:DescribeLaunchTemplates",
        "ec2:DescribeLaunchTemplateVersions",
    ),
    "ssm:Parameter": ("ssm:DescribeParameters", "ssm:GetParameters"),
    "imagebuilder:ImageRecipe": ("imagebuilder:ListImageRecipes",),
    "imagebuilder:ContainerRecipe": (
        "imagebuilder:ListContainerRecipes",
        "imagebuilder:GetContainerRecipe",
    ),
}
_CALLED_BY_EC2 = {"aws:CalledVia": ["ec2-images.amazonaws.com"], "aws:ViaAWSService": True}


class Usage:
    """`aws.ec2.usage`: what Image Builder and other accounts do with images is for tests to say."""

    def __init__(self, state: State, images: Images) -> None:
        self._state = state
        self._images = images
        self.image_builder: list[tuple[str, str, str]] = []
        """Image, resource type and ARN of recipes of Image Builder."""
        self.elsewhere: dict[str, list[tuple[str, str, int]]] = {}
        """By image: account, resource type and count, as a report tells them."""
        self.report_seconds = 60.0

    def handlers(self) -> dict[str, Handler]:
        return {
            "DescribeImageReferences": self._references,
            "CreateImageUsageReport": self._create_report,
            "DescribeImageUsageReports": self._reports,
            "DescribeImageUsageReportEntries": self._entries,
        }

    # References

    def _references(self, call: Call) -> dict[str, Any]:
        p = call.parameters
        ids = list(p["ImageIds"])
        if len(ids) > 10:
            raise AwsError("InvalidParameterValue", "At most 10 images can be checked at a time.")
        kinds = _asked(p)
        with self._state.lock:
            region = self._state.region(call.region)
            check_dry_run(p)
            for kind in kinds:
                for action in _THROUGH_EC2[kind]:
                    if not self._images.allowed(call, action, "*", _CALLED_BY_EC2):
                        raise AwsError(
                            "UnauthorizedOperation",
                            f"You are not authorized to perform this operation: {action}",
                            403,
                        )
            rows = [
                {"ImageId": image, "ResourceType": kind, "Arn": arn_}
                for kind, options in kinds.items()
                for image, arn_ in self._of_kind(region, kind, options)
                if image in ids
            ]
        chosen, token = page(rows, p)
        return {"ImageReferences": chosen, "NextToken": token}

    def _of_kind(
        self, region: Region, kind: str, options: Mapping[str, list[str]]
    ) -> Iterator[tuple[str, str]]:
        match kind:
            case "ec2:Instance":
                states = options.get("state-name") or _ALL_STATES
                for id_, instance in region.instances.items():
                    if instance["State"]["Name"] in states:
                        yield instance["ImageId"], arn(region.name, "instance", id_)
            case "ec2:LaunchTemplate":
                depth = int((options.get("version-depth") or ["10"])[0])
                yield from _of_templates(region, depth)
            case "ssm:Parameter":
                yield from _of_parameters(region.name)
            case _:
                yield from ((image, it) for image, type_, it in self.image_builder if type_ == kind)

    # Reports

    def _create_report(self, call: Call) -> dict[str, str]:
        p = call.parameters
        with self._state.lock:
            region, image = self._images.own(call)
            for kind in p["ResourceTypes"]:
                if kind["ResourceType"] not in _REPORT_KINDS:
                    raise AwsError(
                        "InvalidParameterValue", f"Invalid resource type {kind['ResourceType']}"
                    )
            check_dry_run(p)
            token = (str(p.get("ClientToken") or new_id("token")), "report")
            if token in region.tokens:
                return {"ReportId": region.tokens[token][0]}
            now = self._state.clock.now()
            report: Record = {
                "ReportId": new_id("amiur"),
                "ImageId": image["ImageId"],
                "ResourceTypes": p["ResourceTypes"],
                "AccountIds": p.get("AccountIds") or [],
                "State": "pending",
                "CreationTime": now,
                "ExpirationTime": now + _KEPT,
            }
            region.reports[report["ReportId"]] = report
            region.tokens[token] = (report["ReportId"], {})
            self._state.after(
                self.report_seconds,
                lambda: report.update(State="available"),
                f"report {report['ReportId']}",
            )
            return {"ReportId": report["ReportId"]}

    def _wanted(self, call: Call) -> list[Record]:
        p, now = call.parameters, self._state.clock.now()
        return [
            report
            for report in self._state.region(call.region).reports.values()
            if report["ReportId"] in (p.get("ReportIds") or [report["ReportId"]])
            and report["ImageId"] in (p.get("ImageIds") or [report["ImageId"]])
            and report["ExpirationTime"] > now
        ]

    def _reports(self, call: Call) -> dict[str, Any]:
        with self._state.lock:
            chosen, token = page(self._wanted(call), call.parameters)
            shown = [
                {
                    **report,
                    "CreationTime": iso_millis(report["CreationTime"]),
                    "ExpirationTime": iso_millis(report["ExpirationTime"]),
                }
                for report in chosen
            ]
            return {"ImageUsageReports": shown, "NextToken": token}

    def _entries(self, call: Call) -> dict[str, Any]:
        with self._state.lock:
            rows = [
                {
                    "ReportId": report["ReportId"],
                    "ImageId": report["ImageId"],
                    "AccountId": account,
                    "ResourceType": kind,
                    "UsageCount": count,
                    "ReportCreationTime": iso_millis(report["CreationTime"]),
                }
                for report in self._wanted(call)
                if report["State"] == "available"
                for account, kind, count in self.elsewhere.get(report["ImageId"], [])
                if kind in {it["ResourceType"] for it in report["ResourceTypes"]}
            ]
            chosen, token = page(rows, call.parameters)
            return {"ImageUsageReportEntries": chosen, "NextToken": token}


def _asked(p: Mapping[str, Any]) -> dict[str, dict[str, list[str]]]:
    """The resource types to check, each with its options."""
    given = {
        it["ResourceType"]: {
            option["OptionName"]: list(option["OptionValues"])
            for option in it.get("ResourceTypeOptions") or []
        }
        for it in p.get("ResourceTypes") or []
    }
    if p.get("IncludeAllResourceTypes"):
        return {kind: given.get(kind, {}) for kind in _KINDS}
    if not given:
        raise AwsError(
            "MissingParameter",
            "Either IncludeAllResourceTypes or ResourceTypes must be specified.",
        )
    for kind in given:
        if kind not in _KINDS:
            raise AwsError("InvalidParameterValue", f"Invalid resource type {kind}")
    return given


def _of_templates(region: Region, depth: int) -> Iterator[tuple[str, str]]:
    """What the newest versions name; `resolve:ssm:…` is no image."""
    for id_, template in region.templates.items():
        newest = sorted(template["Versions"])[-depth:]
        named = {template["Versions"][it]["LaunchTemplateData"].get("ImageId") for it in newest}
        for image in sorted(filter(None, named)):
            yield image, arn(region.name, "launch-template", id_)


def _of_parameters(region: str) -> Iterator[tuple[str, str]]:
    held = moto_seam.backend("ssm", region)._parameters
    for name in list(held):
        parameter = held[name][-1]
        if parameter.parameter_type == "String" and not name.startswith("/aws/"):
            path = f"arn:aws:ssm:{region}:{ACCOUNT}:parameter/{name.lstrip('/')}"
            yield str(parameter.value), path
