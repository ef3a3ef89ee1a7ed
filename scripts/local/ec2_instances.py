"""Instances: launched idempotently, moving through their states in AWS time."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

from scripts.local import ec2_rules
from scripts.local.ec2_launch import Launch, key_usable, keys_granted, keys_of
from scripts.local.ec2_spot import ENDED_BY_EC2, STOPPED_BY_EC2, Spot, check_market
from scripts.local.ec2_state import Region, State, arn, check_dry_run
from scripts.local.errors import AwsError
from scripts.local.iam import ACCOUNT
from scripts.local.records import Getter, Record, filtered, new_id, page, specified_tags

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.local.calls import Call, Handler
    from scripts.local.ec2_images import Images
    from scripts.local.ec2_volumes import Volumes

CODES = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}
_BY_PARAMETER = "resolve:ssm:"
INSTANCE_FILTERS: dict[str, Getter] = {
    "architecture": "Architecture",
    "availability-zone": "Placement.AvailabilityZone",
    "block-device-mapping.volume-id": "BlockDeviceMappings.Ebs.VolumeId",
    "client-token": "ClientToken",
    "iam-instance-profile.arn": "IamInstanceProfile.Arn",
    "image-id": "ImageId",
    "instance-id": "InstanceId",
    "instance-lifecycle": "InstanceLifecycle",
    "instance-state-code": "State.Code",
    "instance-state-name": "State.Name",
    "instance-type": "InstanceType",
    "instance.group-id": "SecurityGroups.GroupId",
    "launch-time": "LaunchTime",
    "metadata-options.http-tokens": "MetadataOptions.HttpTokens",
    "private-ip-address": "PrivateIpAddress",
    "root-device-type": "RootDeviceType",
    "state-reason-code": "StateReason.Code",
    "subnet-id": "SubnetId",
    "vpc-id": "VpcId",
}
INTERFACE_FILTERS: dict[str, Getter] = {
    "attachment.instance-id": "Attachment.InstanceId",
    "network-interface-id": "NetworkInterfaceId",
    "status": "Status",
    "subnet-id": "SubnetId",
    "vpc-id": "VpcId",
}
TAGGABLE = ["instance", "volume", "network-interface", "spot-instances-request", "elastic-gpu"]
USER_SHUTDOWN = ("Client.UserInitiatedShutdown", "User initiated shutdown")


class Instances:
    def __init__(self, state: State, images: Images, volumes: Volumes) -> None:
        self._state = state
        self._images = images
        self._volumes = volumes
        self._launch = Launch(state, volumes)
        self.spot = Spot(state)
        self.spot.relaunch = self._relaunch
        self.spot.terminate = self.terminate

    def handlers(self) -> dict[str, Handler]:
        return {
            **self.spot.handlers(),
            "RunInstances": self.run_instances,
            "DescribeInstances": self.describe_instances,
            "DescribeInstanceStatus": self.describe_status,
            "StartInstances": self.start_instances,
            "StopInstances": self.stop_instances,
            "RebootInstances": self.reboot_instances,
            "TerminateInstances": self.terminate_instances,
            "GetConsoleOutput": self.console_output,
            "DescribeNetworkInterfaces": self.describe_interfaces,
        }

    # Launching

    def run_instances(self, call: Call) -> dict[str, Any]:
        p = call.parameters
        with self._state.lock:
            region = self._state.region(call.region)
            subnet = self._launch.subnet(call.region, p)
            scope = subnet["zone"] if subnet["asked"] else call.region
            known = self._idempotent(region, p, scope)
            if known:
                return known
            image = self._images.visible(region, self._image_id(call))
            type_ = ec2_rules.instance_type(str(p.get("InstanceType") or "m1.small"))
            ec2_rules.check_launchable(image)
            ec2_rules.check_pair(image, type_)
            ec2_rules.check_offering(call.region, type_["InstanceType"], subnet["zone"])
            profile = self._launch.profile(p)
            groups = self._launch.groups(call.region, p, subnet)
            mappings = self._launch.mappings(region, image, p)
            tags = {kind: specified_tags(p, kind, TAGGABLE) for kind in TAGGABLE}
            check_market(p)
            self.spot.check_role(call, self._images.allowed)
            check_dry_run(p)
            self._launch.check_capacity(region, p, type_["InstanceType"], subnet)
            instance = self._launch.record(region, image, p, subnet, profile, groups, tags)
            self._launch.attach(region, instance, mappings, tags["volume"], subnet["zone"])
            self.spot.requested(region, instance, p, tags["spot-instances-request"])
            self._start_life(region, instance, image, p, self._key_failure(call, region, image))
            token = (str(p.get("ClientToken") or ""), scope)
            if token[0]:
                region.tokens[token] = (instance["InstanceId"], _canonical(p))
            return self._reservation(region, [instance])

    def _image_id(self, call: Call) -> str:
        """The image, or that of the parameter that stands in its place.

        Source: Systems Manager user guide, "Referencing AMI aliases".
        """
        given = str(call.parameters.get("ImageId"))
        if not given.startswith(_BY_PARAMETER):
            return given
        found = self._state.parameter(given.removeprefix(_BY_PARAMETER), call.region)
        if found is None:
            message = f"Unable to resolve the parameter {given}: ParameterNotFound"
            raise AwsError("InvalidParameterValue", message)
        return found

    def _idempotent(self, region: Region, p: dict[str, Any], scope: str) -> dict[str, Any] | None:
        token = str(p.get("ClientToken") or "")
        if len(token) > 64:
            raise AwsError(
                "InvalidParameterValue", "Invalid value for ClientToken: longer than 64 characters."
            )
        before = region.tokens.get((token, scope)) if token else None
        if before is None:
            return None
        instance_id, parameters = before
        if parameters != _canonical(p):
            message = (
                "The client token you have provided is not consistent with the original request: "
                "arguments on this idempotent request are inconsistent with arguments used in "
                "previous request(s)."
            )
            raise AwsError("IdempotentParameterMismatch", message)
        instance = region.instances[instance_id]
        if instance["State"]["Name"] in ("terminated", "shutting-down"):
            message = "The instance requested by the client token has been terminated."
            raise AwsError("IdempotentInstanceTerminated", message)
        return self._reservation(region, [instance])

    def _start_life(
        self,
        region: Region,
        instance: Record,
        image: Record,
        p: dict[str, Any],
        failure: tuple[str, str] | None = None,
    ) -> None:
        id_ = instance["InstanceId"]
        region.hidden(image["ImageId"]).setdefault("launches", []).append(self._state.clock.now())
        region.instances[id_] = instance
        region.reservations[id_] = new_id("r")
        region.hidden(id_).update(
            image=image,
            system=region.hidden(image["ImageId"]).get("system", {}),
            shutdown=p.get("InstanceInitiatedShutdownBehavior") or "stop",
            protected=bool(p.get("DisableApiTermination")),
            boot=0,
            launched_with=p,
        )
        self._state.born("instance", id_)
        self._announce(region, instance)
        if self._state.failing_instances:
            failure = self._state.failing_instances.pop(0)
        if failure:
            self.later(
                region,
                id_,
                "pending",
                self._state.durations.pending,
                lambda: self._fail(region, id_, *failure),
            )
        else:
            self.later(
                region,
                id_,
                "pending",
                self._state.durations.pending,
                lambda: self._boot(region, id_),
            )

    def _relaunch(self, region: Region, ended: str, request: Record) -> None:
        """Another instance of a persistent request: as the first, but nobody tags it."""
        hidden = region.hidden(ended)
        p = {**hidden["launched_with"], "TagSpecifications": [], "ClientToken": ""}
        subnet = self._launch.subnet(region.name, p)
        image = hidden["image"]
        none: dict[str, list[dict[str, str]]] = {kind: [] for kind in TAGGABLE}
        mappings = self._launch.mappings(region, image, p)
        instance = self._launch.record(
            region,
            image,
            p,
            subnet,
            self._launch.profile(p),
            self._launch.groups(region.name, p, subnet),
            none,
        )
        self._launch.attach(region, instance, mappings, [], subnet["zone"])
        self.spot.fulfilled(request, instance)
        self._start_life(region, instance, image, p)

    def _key_failure(self, call: Call, region: Region, image: Record) -> tuple[str, str] | None:
        """Why an instance ends whose keys KMS does not have, or does not let EC2 use for the
        caller."""
        mappings = call.get("BlockDeviceMappings") or []
        asked = {str(key) for it in mappings if (key := it.get("Ebs", {}).get("KmsKeyId"))}
        # What is given no key keeps the one of its snapshot.
        keys = asked or keys_of(region, image)
        if not all(key_usable(region.name, key) for key in asked):
            return (
                "Client.InvalidKMSKey.InvalidState",
                "The KMS key provided is in an incorrect state",
            )
        allowed = self._images.allowed
        if not all(keys_granted(call, key, region, image, allowed) for key in keys):
            return "Client.InternalError", "Client error on launch"
        return None

    # Life

    def later(
        self, region: Region, id_: str, expected: str, seconds: float, then: Callable[[], None]
    ) -> None:
        """Run `then` unless the instance left the state by then."""
        mark = region.hidden(id_).setdefault("moves", 0)

        def check() -> None:
            instance = region.instances.get(id_)
            same = region.hidden(id_).get("moves") == mark
            if instance and same and instance["State"]["Name"] == expected:
                then()

        self._state.after(seconds, check, f"{id_} leaves {expected}")

    def move(
        self, region: Region, id_: str, state: str, reason: tuple[str, str] | None = None
    ) -> None:
        instance = region.instances[id_]
        instance["State"] = {"Code": CODES[state], "Name": state}
        region.hidden(id_)["moves"] = region.hidden(id_).get("moves", 0) + 1
        if reason:
            code, text = reason
            instance["StateReason"] = {"Code": code, "Message": f"{code}: {text}"}
            if code == "Client.UserInitiatedShutdown":
                moment = self._state.clock.now().strftime("%Y-%m-%d %H:%M:%S GMT")
                instance["StateTransitionReason"] = f"User initiated ({moment})"
            else:
                instance["StateTransitionReason"] = code
        self._announce(region, instance)
        for listener in self._state.instance_listeners:
            listener(region.name, instance, state)

    def _announce(self, region: Region, instance: Record) -> None:
        detail = {"instance-id": instance["InstanceId"], "state": instance["State"]["Name"]}
        resources = [arn(region.name, "instance", instance["InstanceId"])]
        self._state.emit(
            region.name, "aws.ec2", "EC2 Instance State-change Notification", resources, detail
        )

    def _boot(self, region: Region, id_: str) -> None:
        instance = region.instances[id_]
        instance["MetadataOptions"]["State"] = "applied"
        instance.pop("StateReason", None)
        instance["StateTransitionReason"] = ""
        region.hidden(id_)["boot"] += 1
        self.move(region, id_, "running")

    def _fail(self, region: Region, id_: str, code: str, text: str) -> None:
        self.move(region, id_, "shutting-down", (code, text))
        self._finish_termination(region, id_)

    def shut_down(self, region: Region, id_: str, reason: tuple[str, str]) -> None:
        """Stop in AWS time, whoever asked for it."""
        self.move(region, id_, "stopping", reason)
        wait = self._state.durations.stopping
        self.later(region, id_, "stopping", wait, lambda: self.move(region, id_, "stopped"))

    def interrupt(self, region: Region, id_: str, notice: float) -> None:
        """EC2 takes a spot instance back, after its warning."""
        request = self.spot.of(region, id_)
        assert request is not None, f"{id_} is no spot instance"
        action = request["InstanceInterruptionBehavior"]
        self._state.emit(
            region.name,
            "aws.ec2",
            "EC2 Spot Instance Interruption Warning",
            [arn(region.name, "instance", id_)],
            {"instance-id": id_, "instance-action": action},
        )

        def take() -> None:
            if region.instances[id_]["State"]["Name"] not in ("pending", "running"):
                return
            if action == "stop":
                self.shut_down(region, id_, STOPPED_BY_EC2)
            else:
                self.terminate(region, id_, ENDED_BY_EC2)

        self._state.after(notice, take, f"interruption of {id_}")

    def start_again(self, region: Region, id_: str) -> None:
        """Start a stopped instance, whoever asked for it; it counts as launched now, though all
        that was attached to it stays so, since then."""
        region.instances[id_]["LaunchTime"] = self._state.clock.now()
        self.move(region, id_, "pending")
        self.later(
            region, id_, "pending", self._state.durations.pending, lambda: self._boot(region, id_)
        )

    def terminate(self, region: Region, id_: str, reason: tuple[str, str]) -> None:
        self.move(region, id_, "shutting-down", reason)
        wait = self._state.durations.shutting_down
        self.later(
            region, id_, "shutting-down", wait, lambda: self._finish_termination(region, id_)
        )

    def _finish_termination(self, region: Region, id_: str) -> None:
        instance = region.instances[id_]
        self._volumes.release(region, id_)
        for key in (
            "SubnetId",
            "VpcId",
            "PrivateIpAddress",
            "PublicIpAddress",
            "IamInstanceProfile",
        ):
            instance.pop(key, None)
        instance.update(BlockDeviceMappings=[], NetworkInterfaces=[], SecurityGroups=[])
        self.move(region, id_, "terminated")

    # The API

    def _found(self, region: Region, ids: list[str]) -> list[Record]:
        for id_ in ids:
            if not re.fullmatch(r"i-[0-9a-f]{8}([0-9a-f]{9})?", id_):
                raise AwsError("InvalidInstanceID.Malformed", f'Invalid id: "{id_}"')
        missing = [i for i in ids if i not in region.instances or not self._state.visible(i)]
        if missing:
            what = (
                f"ID '{missing[0]}' does" if len(missing) == 1 else f"IDs '{', '.join(missing)}' do"
            )
            raise AwsError("InvalidInstanceID.NotFound", f"The instance {what} not exist")
        return [region.instances[i] for i in ids]

    def _reservation(self, region: Region, instances: list[Record]) -> dict[str, Any]:
        first = instances[0]["InstanceId"]
        return {
            "ReservationId": region.reservations[first],
            "OwnerId": ACCOUNT,
            "Groups": [],
            "Instances": [dict(i) for i in instances],
        }

    def describe_instances(self, call: Call) -> dict[str, Any]:
        with self._state.lock:
            region = self._state.region(call.region)
            ids = call.get("InstanceIds")
            records = self._found(region, ids) if ids else list(region.instances.values())
            found = filtered(records, call.get("Filters"), INSTANCE_FILTERS)
            chosen, token = page(found, call.parameters)
            return {
                "Reservations": [self._reservation(region, [i]) for i in chosen],
                "NextToken": token,
            }

    def describe_status(self, call: Call) -> dict[str, Any]:
        with self._state.lock:
            region = self._state.region(call.region)
            ids = call.get("InstanceIds")
            records = self._found(region, ids) if ids else list(region.instances.values())
            if not call.get("IncludeAllInstances"):
                records = [r for r in records if r["State"]["Name"] == "running"]
            return {
                "InstanceStatuses": [
                    _status(r) for r in filtered(records, call.get("Filters"), INSTANCE_FILTERS)
                ]
            }

    def describe_interfaces(self, call: Call) -> dict[str, Any]:
        """The instances' interfaces; the local AWS knows no others."""
        with self._state.lock:
            region = self._state.region(call.region)
            rows = []
            for instance in region.instances.values():
                for interface in instance["NetworkInterfaces"]:
                    attachment = {**interface["Attachment"], "InstanceId": instance["InstanceId"]}
                    rows.append(
                        {**interface, "Attachment": attachment, "Tags": interface.get("TagSet", [])}
                    )
            wanted = call.get("NetworkInterfaceIds")
            rows = [r for r in rows if not wanted or r["NetworkInterfaceId"] in wanted]
            found = filtered(rows, call.get("Filters"), INTERFACE_FILTERS)
            return {
                "NetworkInterfaces": [{k: v for k, v in r.items() if k != "Tags"} for r in found]
            }

    def _change(
        self, call: Call, key: str, change: Callable[[Region, Record], None]
    ) -> dict[str, Any]:
        with self._state.lock:
            region = self._state.region(call.region)
            records = self._found(region, call.parameters["InstanceIds"])
            check_dry_run(call.parameters)
            before = [dict(r["State"]) for r in records]
            for record in records:
                change(region, record)
            changes = [
                {
                    "InstanceId": r["InstanceId"],
                    "CurrentState": dict(r["State"]),
                    "PreviousState": b,
                }
                for r, b in zip(records, before, strict=True)
            ]
            return {key: changes}

    def stop_instances(self, call: Call) -> dict[str, Any]:
        def stop(region: Region, instance: Record) -> None:
            state, id_ = instance["State"]["Name"], instance["InstanceId"]
            if state in ("pending", "shutting-down", "terminated"):
                message = f"This instance '{id_}' is not in a state from which it can be stopped."
                raise AwsError("IncorrectInstanceState", message)
            self.spot.check_stop(region, id_)
            if state == "running":
                self.shut_down(region, id_, USER_SHUTDOWN)

        return self._change(call, "StoppingInstances", stop)

    def start_instances(self, call: Call) -> dict[str, Any]:
        def start(region: Region, instance: Record) -> None:
            state, id_ = instance["State"]["Name"], instance["InstanceId"]
            if state in ("running", "pending"):
                return
            if state != "stopped":
                message = f"The instance '{id_}' is not in a state from which it can be started."
                raise AwsError("IncorrectInstanceState", message)
            self.spot.check_start(region, id_)
            self.start_again(region, id_)

        return self._change(call, "StartingInstances", start)

    def reboot_instances(self, call: Call) -> None:
        def reboot(region: Region, instance: Record) -> None:
            if instance["State"]["Name"] not in ("running", "pending"):
                message = (
                    f"Instance '{instance['InstanceId']}' is not in a state from which it can be "
                    "rebooted."
                )
                raise AwsError("IncorrectInstanceState", message)
            self.reboot(region, instance["InstanceId"])

        self._change(call, "Rebooted", reboot)

    def reboot(self, region: Region, id_: str) -> None:
        """A reboot changes no state that EC2 shows; the agent is away meanwhile."""
        region.hidden(id_)["boot"] += 1
        for listener in self._state.instance_listeners:
            listener(region.name, region.instances[id_], "rebooting")

    def terminate_instances(self, call: Call) -> dict[str, Any]:
        def end(region: Region, instance: Record) -> None:
            state, id_ = instance["State"]["Name"], instance["InstanceId"]
            if region.hidden(id_).get("protected"):
                message = (
                    f"The instance '{id_}' may not be terminated. Modify its "
                    "'disableApiTermination' instance attribute and try again."
                )
                raise AwsError("OperationNotPermitted", message)
            if state not in ("shutting-down", "terminated"):
                self.terminate(region, id_, USER_SHUTDOWN)

        return self._change(call, "TerminatingInstances", end)

    def console_output(self, call: Call) -> dict[str, Any]:
        with self._state.lock:
            region = self._state.region(call.region)
            id_ = call.parameters["InstanceId"]
            self._found(region, [id_])
            text = self._state.consoles.get(id_, f"[    0.000000] local AWS: console of {id_}\n")
            encoded = base64.b64encode(text[-65536:].encode()).decode()
            return {"InstanceId": id_, "Timestamp": self._state.clock.now(), "Output": encoded}


def _canonical(p: dict[str, Any]) -> str:
    return json.dumps(
        {k: v for k, v in p.items() if k != "ClientToken"}, sort_keys=True, default=str
    )


def _status(instance: Record) -> dict[str, Any]:
    running = instance["State"]["Name"] == "running"
    health = {"Status": "ok" if running else "not-applicable"}
    return {
        "InstanceId": instance["InstanceId"],
        "AvailabilityZone": instance["Placement"]["AvailabilityZone"],
        "InstanceState": instance["State"],
        "InstanceStatus": health,
        "SystemStatus": health,
    }
