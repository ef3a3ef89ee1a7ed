"""Groups of EC2 Auto Scaling: what they would launch, which is all that asks for them here.

None of them launches anything. moto's know only launch templates of moto's own EC2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scripts.local.errors import AwsError, LocalAwsError
from scripts.local.iam import ACCOUNT
from scripts.local.records import Record, page

if TYPE_CHECKING:
    from scripts.local.calls import Call, Handler
    from scripts.local.clock import Clock


class AutoScaling:
    """Groups of each Region, by name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._groups: dict[str, dict[str, Record]] = {}

    def handlers(self) -> dict[str, Handler]:
        return {
            "CreateAutoScalingGroup": self._create,
            "DeleteAutoScalingGroup": self._delete,
            "DescribeAutoScalingGroups": self._describe,
        }

    def _of(self, region: str) -> dict[str, Record]:
        return self._groups.setdefault(region, {})

    def _create(self, call: Call) -> dict[str, Any]:
        p, groups = call.parameters, self._of(call.region)
        name = str(p["AutoScalingGroupName"])
        if name in groups:
            raise AwsError("AlreadyExists", f"AutoScalingGroup by this name already exists: {name}")
        if int(p["MaxSize"]):
            raise LocalAwsError("groups of the local AWS launch nothing: give them a MaxSize of 0")
        arn = f"arn:aws:autoscaling:{call.region}:{ACCOUNT}:autoScalingGroup:1:name/{name}"
        groups[name] = {
            "AutoScalingGroupARN": arn,
            "DesiredCapacity": 0,
            "DefaultCooldown": 300,
            "AvailabilityZones": [],
            "HealthCheckType": "EC2",
            "CreatedTime": self._clock.now(),
            **p,
        }
        return {}

    def _delete(self, call: Call) -> dict[str, Any]:
        name = str(call.parameters["AutoScalingGroupName"])
        if self._of(call.region).pop(name, None) is None:
            raise AwsError("ValidationError", f"AutoScalingGroup name not found: {name}")
        return {}

    def _describe(self, call: Call) -> dict[str, Any]:
        p = call.parameters
        wanted = p.get("AutoScalingGroupNames")
        found = [it for name, it in self._of(call.region).items() if not wanted or name in wanted]
        chosen, token = page(found, {**p, "MaxResults": p.get("MaxRecords")}, 50)
        return {"AutoScalingGroups": chosen, "NextToken": token}
