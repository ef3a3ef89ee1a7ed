"""Windows fast launch: which images have it, over AWS time, and what it asks of its caller.

The instances and snapshots that EC2 makes for it are not there: they are EC2's own business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scripts.local.clock import iso_millis
from scripts.local.ec2_launch import key_granted
from scripts.local.ec2_state import Region, State, arn, check_dry_run
from scripts.local.errors import AwsError
from scripts.local.iam import ACCOUNT
from scripts.local.records import Record, page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.local.calls import Call, Handler
    from scripts.local.ec2_images import Images

_QUOTA = 40
"""Launches at once of all images of a Region. Source: EC2 user guide, "EC2 Fast Launch
prerequisites for Windows"."""
_LEAST = 6
_ROLE = (
    f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/ec2fastlaunch.amazonaws.com/"
    "AWSServiceRoleForEC2FastLaunch"
)
# Source: EC2 user guide, "Configure EC2 Fast Launch settings", what a template must not have.
_FORBIDDEN = ("UserData", "DisableApiTermination", "InstanceMarketOptions")


class FastLaunch:
    """`aws.ec2.fast_launch`."""

    def __init__(self, state: State, images: Images) -> None:
        self._state = state
        self._images = images
        self._has_role = False
        self.failures: list[str] = []
        """Why each of the next ones that are enabled fails; then that each next end does."""

    def handlers(self) -> dict[str, Handler]:
        return {
            "EnableFastLaunch": self._enable,
            "DisableFastLaunch": self._disable,
            "DescribeFastLaunchImages": self._describe,
        }

    def _enable(self, call: Call) -> dict[str, Any]:
        p = call.parameters
        with self._state.lock:
            region, image = self._images.own(call)
            if image.get("Platform") != "windows":
                raise AwsError("InvalidParameter", f"{image['ImageId']} is no Windows image.")
            if image["State"] != "available":
                message = f"The image '{image['ImageId']}' is {image['State']}, not available."
                raise AwsError("InvalidAMIID.Unavailable", message)
            parallel = int(p.get("MaxParallelLaunches") or _LEAST)
            if parallel < _LEAST:
                raise AwsError(
                    "InvalidParameterValue", f"MaxParallelLaunches must be {_LEAST} or greater."
                )
            template = self._template(call, region)
            self._check_rights(call, region, image, template)
            before = region.fast_launches.get(image["ImageId"])
            if before and before["State"] != "enabling-failed":
                message = f"Fast launch of {image['ImageId']} is {before['State']}."
                raise AwsError("IncorrectState", message)
            others = [it for id_, it in region.fast_launches.items() if id_ != image["ImageId"]]
            if sum(it["MaxParallelLaunches"] for it in others) + parallel > _QUOTA:
                raise AwsError(
                    "ResourceLimitExceeded",
                    f"You have reached the limit of {_QUOTA} parallel launches in this Region.",
                )
            check_dry_run(p)
            record: Record = {
                "ImageId": image["ImageId"],
                "ResourceType": "snapshot",
                "SnapshotConfiguration": p.get("SnapshotConfiguration") or {},
                "LaunchTemplate": p["LaunchTemplate"],
                "MaxParallelLaunches": parallel,
                "OwnerId": ACCOUNT,
            }
            region.fast_launches[image["ImageId"]] = record
            self._move(record, "enabling", "Client.UserInitiated")
            failure = self.failures.pop(0) if self.failures else ""
            reached = ("enabling-failed", failure) if failure else ("enabled", "Server.Success")
            self._state.after(
                self._state.durations.fast_launch,
                lambda: self._arrive(record, "enabling", *reached),
                f"fast launch of {image['ImageId']}",
            )
            return self._shown(record)

    def _template(self, call: Call, region: Region) -> dict[str, Any]:
        """The data of the version. Without a template EC2 would make a VPC and much more, with the
        caller's rights, which none of the bakery's functions has."""
        asked = call.parameters.get("LaunchTemplate") or {}
        template = region.templates.get(str(asked.get("LaunchTemplateId")))
        if template is None:
            raise AwsError(
                "InvalidLaunchTemplateId.NotFound",
                f"There is no launch template {asked.get('LaunchTemplateId')}.",
            )
        number = str(asked.get("Version") or template["DefaultVersionNumber"])
        found = template["Versions"].get(int(number)) if number.isdecimal() else None
        if found is None:
            message = f"Could not find launch template version {number}."
            raise AwsError("InvalidLaunchTemplateId.VersionNotFound", message)
        data: dict[str, Any] = found["LaunchTemplateData"]
        for name in _FORBIDDEN:
            if data.get(name):
                message = f"A launch template for fast launch must not have {name}."
                raise AwsError("InvalidParameterCombination", message)
        return {**data, "Id": asked["LaunchTemplateId"]}

    def _check_rights(
        self, call: Call, region: Region, image: Record, template: dict[str, Any]
    ) -> None:
        """EC2 looks whether the caller might launch what it will launch."""
        keys = {
            "ec2:LaunchTemplate": arn(region.name, "launch-template", template["Id"]),
            "ec2:IsLaunchTemplateResource": True,
        }
        for resource in self._resources(region, image, template):
            if not self._images.allowed(call, "ec2:RunInstances", resource, keys):
                raise _denied("ec2:RunInstances", resource)
        if template.get("IamInstanceProfile"):
            # Whichever it is, the bakery's functions may pass no role for this.
            role = f"arn:aws:iam::{ACCOUNT}:role/of-the-template"
            to_ec2 = {"iam:PassedToService": "ec2.amazonaws.com"}
            if not self._images.allowed(call, "iam:PassRole", role, to_ec2):
                raise _denied("iam:PassRole", role)
        for mapping in image["BlockDeviceMappings"]:
            snapshot = region.snapshots.get(mapping.get("Ebs", {}).get("SnapshotId", ""), {})
            key = snapshot.get("KmsKeyId")
            if key and not key_granted(call, str(key), self._images.allowed):
                raise _denied("kms:CreateGrant", str(key))
        service = {"iam:AWSServiceName": "ec2fastlaunch.amazonaws.com"}
        if not self._has_role and not self._images.allowed(
            call, "iam:CreateServiceLinkedRole", _ROLE, service
        ):
            raise _denied("iam:CreateServiceLinkedRole", _ROLE)
        self._has_role = True

    @staticmethod
    def _resources(region: Region, image: Record, template: dict[str, Any]) -> Iterator[str]:
        interfaces: list[dict[str, Any]] = template.get("NetworkInterfaces") or [{}]
        interface = interfaces[0]
        yield arn(region.name, "image", image["ImageId"])
        yield arn(region.name, "launch-template", template["Id"])
        yield arn(region.name, "subnet", str(interface.get("SubnetId") or "subnet-1"))
        for kind in ("instance", "volume", "network-interface"):
            yield arn(region.name, kind, "*")
        groups = [*interface.get("Groups", []), *template.get("SecurityGroupIds", [])]
        for group in groups or ["sg-1"]:
            yield arn(region.name, "security-group", str(group))

    def _disable(self, call: Call) -> dict[str, Any]:
        p = call.parameters
        with self._state.lock:
            region, image = self._images.own(call)
            record = region.fast_launches.get(image["ImageId"])
            if record is None:
                message = f"Fast launch is not enabled for {image['ImageId']}."
                raise AwsError("InvalidParameterValue", message)
            check_dry_run(p)
            if record["State"] == "disabling":
                return self._shown(record)
            self._move(record, "disabling", "Client.UserInitiated")
            failure = self.failures.pop(0) if self.failures and not p.get("Force") else ""
            self._state.after(
                self._state.durations.fast_launch,
                lambda: self._end(region, record, failure),
                f"end of the fast launch of {image['ImageId']}",
            )
            return self._shown(record)

    def _end(self, region: Region, record: Record, failure: str) -> None:
        if failure:
            self._arrive(record, "disabling", "disabling-failed", failure)
        elif region.fast_launches.get(record["ImageId"]) is record:
            del region.fast_launches[record["ImageId"]]

    def _describe(self, call: Call) -> dict[str, Any]:
        p = call.parameters
        with self._state.lock:
            check_dry_run(p)
            rows = [
                self._shown(it)
                for id_, it in self._state.region(call.region).fast_launches.items()
                if id_ in (p.get("ImageIds") or [id_])
            ]
            chosen, token = page(rows, p)
            return {"FastLaunchImages": chosen, "NextToken": token}

    def _arrive(self, record: Record, before: str, state: str, reason: str) -> None:
        if record["State"] == before:
            self._move(record, state, reason)

    def _move(self, record: Record, state: str, reason: str) -> None:
        record.update(
            State=state,
            StateTransitionReason=reason,
            StateTransitionTime=self._state.clock.now(),
        )

    @staticmethod
    def _shown(record: Record) -> dict[str, Any]:
        moment = iso_millis(record["StateTransitionTime"])
        return {**record, "StateTransitionTime": moment}


def _denied(action: str, resource: str) -> AwsError:
    return AwsError(
        "UnauthorizedOperation",
        f"You are not authorized to perform this operation: {action} on {resource}",
        403,
    )
