"""Spot requests: what RunInstances makes of its market, and what becomes of it.

A persistent request outlives its instance: when that ends, EC2 launches another, without tags,
until the request is cancelled. Source: EC2 user guide, "Spot Instance requests".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scripts.local.ec2_state import Region, State, check_dry_run
from scripts.local.errors import AwsError
from scripts.local.iam import ACCOUNT
from scripts.local.records import Getter, Record, filtered, new_id, page

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.local.calls import Call, Handler
    from scripts.local.ec2_images import Allowed

    Relaunch = Callable[[Region, str, Record], None]
    Terminate = Callable[[Region, str, tuple[str, str]], None]

REQUEST_FILTERS: dict[str, Getter] = {
    "create-time": "CreateTime",
    "instance-id": "InstanceId",
    "launch.image-id": "LaunchSpecification.ImageId",
    "launch.instance-type": "LaunchSpecification.InstanceType",
    "launched-availability-zone": "LaunchedAvailabilityZone",
    "spot-instance-request-id": "SpotInstanceRequestId",
    "state": "State",
    "status-code": "Status.Code",
    "type": "Type",
}
STOPPED_BY_EC2 = ("Server.SpotInstanceShutdown", "Instance shutdown initiated by EC2 Spot")
ENDED_BY_EC2 = ("Server.SpotInstanceTermination", "Instance termination initiated by EC2 Spot")
_CANCELLABLE = ("open", "active", "disabled")


def spot_options(p: dict[str, Any]) -> dict[str, Any] | None:
    """The options of a launch on the spot market, with EC2's defaults; None for another market."""
    market = p.get("InstanceMarketOptions") or {}
    if market.get("MarketType") != "spot":
        return None
    given = market.get("SpotOptions") or {}
    return {
        "type": given.get("SpotInstanceType") or "one-time",
        "behavior": given.get("InstanceInterruptionBehavior") or "terminate",
    }


def check_market(p: dict[str, Any]) -> None:
    """Refuse combinations and tags that EC2 refuses."""
    options = spot_options(p)
    if options is None:
        kinds = [spec.get("ResourceType") for spec in p.get("TagSpecifications") or []]
        if "spot-instances-request" in kinds:
            message = (
                "You cannot specify tags for Spot instances requests if there are no Spot "
                "instances requests being created by the operation."
            )
            raise AwsError("InvalidParameterCombination", message)
        return
    persistent = options["type"] == "persistent"
    if persistent == (options["behavior"] == "terminate"):
        message = (
            f"The request with type '{options['type']}' is not supported when "
            f"instanceInterruptionBehavior is set to '{options['behavior']}'."
        )
        raise AwsError("InvalidParameterCombination", message)


_ROLE = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"


class Spot:
    """The requests of all Regions; follows the instances that they launched."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._has_role = False
        self.relaunch: Relaunch = lambda _region, _id, _request: None
        self.terminate: Terminate = lambda _region, _id, _reason: None
        state.instance_listeners.append(self._instance_moved)

    def check_role(self, call: Call, allowed: Allowed) -> None:
        """EC2 makes its role with the right of whoever first asks for a spot instance."""
        if self._has_role or spot_options(call.parameters) is None:
            return
        keys = {"iam:AWSServiceName": "spot.amazonaws.com"}
        if not allowed(call, "iam:CreateServiceLinkedRole", _ROLE, keys):
            raise AwsError(
                "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
                "The provided credentials do not have permission to create the service-linked "
                "role for EC2 Spot Instances.",
                403,
            )
        self._has_role = True

    def handlers(self) -> dict[str, Handler]:
        return {
            "DescribeSpotInstanceRequests": self.describe,
            "CancelSpotInstanceRequests": self.cancel,
        }

    def requested(
        self, region: Region, instance: Record, p: dict[str, Any], tags: list[dict[str, str]]
    ) -> None:
        """The request that a launch made and fulfilled."""
        options = spot_options(p)
        if options is None:
            return
        id_ = new_id("sir")
        request: Record = {
            "SpotInstanceRequestId": id_,
            "Type": options["type"],
            "InstanceInterruptionBehavior": options["behavior"],
            "CreateTime": self._state.clock.now(),
            "LaunchedAvailabilityZone": instance["Placement"]["AvailabilityZone"],
            "LaunchSpecification": {
                "ImageId": instance["ImageId"],
                "InstanceType": instance["InstanceType"],
                "SubnetId": instance["SubnetId"],
            },
            "ProductDescription": "Linux/UNIX",
            "Tags": tags,
        }
        region.spot_requests[id_] = request
        self.fulfilled(request, instance)

    def fulfilled(self, request: Record, instance: Record) -> None:
        instance["SpotInstanceRequestId"] = request["SpotInstanceRequestId"]
        request["InstanceId"] = instance["InstanceId"]
        self._set(request, "active", "fulfilled")

    def of(self, region: Region, instance_id: str) -> Record | None:
        """The request that the instance belongs to."""
        instance = region.instances.get(instance_id, {})
        return region.spot_requests.get(instance.get("SpotInstanceRequestId", ""))

    def check_stop(self, region: Region, instance_id: str) -> None:
        """Only a persistent request that still stands lets its instance be stopped."""
        request = self.of(region, instance_id)
        if request is None or (request["Type"] == "persistent" and _stands(request)):
            return
        message = (
            f"You can't stop the Spot Instance '{instance_id}' because it is associated with a "
            f"{request['Type']} Spot Instance request that is {request['State']}."
        )
        raise AwsError("UnsupportedOperation", message)

    def check_start(self, region: Region, instance_id: str) -> None:
        """What EC2 has stopped only EC2 starts again."""
        request = self.of(region, instance_id)
        if request is None or request["State"] == "disabled":
            return
        message = (
            f"You can't start the Spot Instance '{instance_id}' because the associated Spot "
            "Instance request is not in an appropriate state to support start."
        )
        raise AwsError("IncorrectSpotRequestState", message)

    def _set(self, request: Record, state: str, code: str) -> None:
        now = self._state.clock.now()
        request["State"] = state
        request["Status"] = {"Code": code, "Message": f"local AWS: {code}", "UpdateTime": now}

    def _instance_moved(self, region_name: str, instance: Record, state: str) -> None:
        region = self._state.region(region_name)
        request = self.of(region, instance["InstanceId"])
        if request is None or request.get("InstanceId") != instance["InstanceId"]:
            return
        by_ec2 = instance.get("StateReason", {}).get("Code") in (STOPPED_BY_EC2[0], ENDED_BY_EC2[0])
        if state == "running" and _stands(request):
            self._set(request, "active", "fulfilled")
        elif state == "stopped" and _stands(request):
            code = "instance-stopped-no-capacity" if by_ec2 else "instance-stopped-by-user"
            self._set(request, "open" if by_ec2 else "disabled", code)
        elif state == "terminated":
            self._ended(region, request, by_ec2=by_ec2)

    def _ended(self, region: Region, request: Record, *, by_ec2: bool) -> None:
        code = "instance-terminated-no-capacity" if by_ec2 else "instance-terminated-by-user"
        if not _stands(request):
            self._set(request, request["State"], code)
        elif request["Type"] == "one-time":
            self._set(request, "closed", code)
        else:
            self._set(request, "open", "pending-evaluation")
            ended = request.pop("InstanceId")
            self._state.after(
                self._state.durations.pending,
                lambda: self._again(region, ended, request),
                f"{request['SpotInstanceRequestId']} is fulfilled again",
            )

    def _again(self, region: Region, ended: str, request: Record) -> None:
        if request["State"] == "open":
            self.relaunch(region, ended, request)

    # The API

    def _chosen(self, region: Region, ids: list[str] | None) -> list[Record]:
        for id_ in ids or []:
            if id_ not in region.spot_requests:
                message = f"The spot instance request ID '{id_}' does not exist"
                raise AwsError("InvalidSpotInstanceRequestID.NotFound", message)
        return [region.spot_requests[id_] for id_ in ids or region.spot_requests]

    def describe(self, call: Call) -> dict[str, Any]:
        with self._state.lock:
            region = self._state.region(call.region)
            records = self._chosen(region, call.get("SpotInstanceRequestIds"))
            found = filtered(records, call.get("Filters"), REQUEST_FILTERS)
            chosen, token = page(found, call.parameters)
            return {"SpotInstanceRequests": [dict(r) for r in chosen], "NextToken": token}

    def cancel(self, call: Call) -> dict[str, Any]:
        """Cancelling ends an instance that is stopped, and leaves one that runs."""
        with self._state.lock:
            region = self._state.region(call.region)
            requests = self._chosen(region, call.parameters["SpotInstanceRequestIds"])
            check_dry_run(call.parameters)
            for request in requests:
                if _stands(request):
                    self._cancel(region, request)
            return {
                "CancelledSpotInstanceRequests": [
                    {key: r[key] for key in ("SpotInstanceRequestId", "State")} for r in requests
                ]
            }

    def _cancel(self, region: Region, request: Record) -> None:
        instance = region.instances.get(request.get("InstanceId", ""))
        runs = instance is not None and instance["State"]["Name"] in ("pending", "running")
        running, none = "request-canceled-and-instance-running", "canceled-before-fulfillment"
        self._set(request, "cancelled", running if runs else none)
        if instance is not None and instance["State"]["Name"] in ("stopping", "stopped"):
            self.terminate(region, instance["InstanceId"], ENDED_BY_EC2)


def _stands(request: Record) -> bool:
    return request["State"] in _CANCELLABLE
