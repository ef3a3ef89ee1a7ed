"""EC2: instances, images, volumes and snapshots of the local AWS, with knobs for what may go
wrong.

Supplies in place of moto: time in every state, events, client tokens, image names, refusals of what
does not fit together, snapshots that belong to images, deprecation, launch templates. VPCs,
subnets, security groups and instance types stay with moto.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from scripts.local.ec2_fast_launch import FastLaunch
from scripts.local.ec2_images import Allowed, Images
from scripts.local.ec2_instances import Instances
from scripts.local.ec2_launch import default_key
from scripts.local.ec2_state import NEVER, Capacity, Durations, Emit, Region, State
from scripts.local.ec2_templates import Templates
from scripts.local.ec2_usage import Usage
from scripts.local.ec2_volumes import Volumes
from scripts.local.errors import AwsError
from scripts.local.records import Record, check_tags, filtered, set_tags, tags_of

if TYPE_CHECKING:
    from scripts.local.calls import Call, Handler
    from scripts.local.clock import Clock, Timers

__all__ = ["NEVER", "Durations", "Ec2"]


class Ec2:
    """`aws.ec2`."""

    def __init__(
        self, clock: Clock, timers: Timers, emit: Emit, allowed: Allowed, region: str
    ) -> None:
        self.state = State(clock, timers, emit)
        self.volumes = Volumes(self.state)
        self.images = Images(self.state, self.volumes, allowed)
        self.templates = Templates(self.state)
        self.instances = Instances(self.state, self.images, self.volumes)
        self.usage = Usage(self.state, self.images)
        self.fast_launch = FastLaunch(self.state, self.images)
        self._home = region
        self._encryption_by_default: set[str] = set()

    @property
    def durations(self) -> Durations:
        """AWS seconds that things take; set a field to `NEVER` to have it stuck."""
        return self.state.durations

    # Knobs

    def no_capacity(
        self,
        *,
        instance_type: str | None = None,
        subnet: str | None = None,
        zone: str | None = None,
        market: str | None = None,
        times: float = math.inf,
        code: str = "InsufficientInstanceCapacity",
    ) -> Capacity:
        """RunInstances finds no room for this type, subnet, zone and market (None: any)."""
        shortage = Capacity(instance_type, subnet, zone, times, code, market)
        self.state.shortages.append(shortage)
        return shortage

    def next_image_fails(
        self, reason: str = "Server.InternalError: Internal error on launch"
    ) -> None:
        """The next image becomes `failed` instead of `available`."""
        self.state.failing_images.append(reason)

    def next_copy_fails(
        self, region: str, reason: str = "Server.InternalError: the snapshot was not copied"
    ) -> None:
        """The next copy to the Region becomes `failed` instead of `available`."""
        self.state.failing_copies.setdefault(region, []).append(reason)

    def launch_template(self, id_: str, region: str | None = None, **data: Any) -> None:
        """A launch template of somebody's, with one version."""
        self.templates.add(id_, data, region or self._home)

    def next_instance_fails(
        self, code: str = "Server.InternalError", text: str = "Internal error on launch"
    ) -> None:
        """The next instance goes from pending to terminated, with this state reason."""
        self.state.failing_instances.append((code, text))

    def next_instance_is(self, id_: str) -> None:
        """The next instance has this id: a recipe that clones a host names it before there is."""
        self.state.next_instances.append(id_)

    def lag(self, *, instances: int = 0, images: int = 0) -> None:
        """New ids are not found by this many reads after their creation (eventual consistency)."""
        self.state.lag_of_new.update(instance=instances, image=images)

    def console(self, instance_id: str, text: str) -> None:
        self.state.consoles[instance_id] = text

    def shut_down_from_inside(self, instance_id: str, region: str | None = None) -> None:
        """The guest powers off: stopped or terminated, as its shutdown behaviour says."""
        with self.state.lock:
            held = self.state.region(region or self._home)
            reason = ("Client.InstanceInitiatedShutdown", "Instance initiated shutdown")
            if held.hidden(instance_id).get("shutdown") == "terminate":
                self.instances.terminate(held, instance_id, reason)
            else:
                self.instances.shut_down(held, instance_id, reason)

    def interrupt(self, instance_id: str, *, notice: float = 120) -> None:
        """EC2 takes a spot instance back, so many seconds after its warning."""
        with self.state.lock:
            self.instances.interrupt(self.state.region(self._home), instance_id, notice)

    def capacity_returns(self, instance_id: str) -> None:
        """EC2 starts a spot instance again that it had stopped."""
        with self.state.lock:
            self.instances.start_again(self.state.region(self._home), instance_id)

    def retire(
        self,
        instance_id: str,
        code: str = "Server.ScheduledStop",
        text: str = "Stopped due to a scheduled retirement",
    ) -> None:
        """AWS stops the instance: its host is retired, or has failed."""
        with self.state.lock:
            self.instances.shut_down(self.state.region(self._home), instance_id, (code, text))

    # Views for tests and screens

    def all(self, kind: str, region: str | None = None) -> list[Record]:
        """Copies of all records of a kind: `instances`, `images`, `volumes`, ..."""
        with self.state.lock:
            records = getattr(self.state.region(region or self._home), kind)
            return [dict(r) for r in records.values()]

    def tagged(
        self, kind: str, key: str, value: str | None = None, region: str | None = None
    ) -> list[Record]:
        return [
            r
            for r in self.all(kind, region)
            if value in (None, tags_of(r).get(key)) and key in tags_of(r)
        ]

    # The API

    def handlers(self) -> dict[str, Handler]:
        return {
            **self.instances.handlers(),
            **self.images.handlers(),
            **self.usage.handlers(),
            **self.fast_launch.handlers(),
            **self.volumes.handlers(),
            **self.templates.handlers(),
            "CreateTags": self._create_tags,
            "DeleteTags": self._delete_tags,
            "DescribeTags": self._describe_tags,
            "GetEbsEncryptionByDefault": lambda call: {
                "EbsEncryptionByDefault": call.region in self._encryption_by_default
            },
            "EnableEbsEncryptionByDefault": self._enable_encryption,
            "GetEbsDefaultKmsKeyId": lambda call: {"KmsKeyId": default_key(call.region)},
        }

    def _enable_encryption(self, call: Call) -> dict[str, bool]:
        self._encryption_by_default.add(call.region)
        return {"EbsEncryptionByDefault": True}

    def _own(self, region: Region, id_: str) -> Record | None:
        for records in (
            region.instances,
            region.images,
            region.volumes,
            region.snapshots,
            region.spot_requests,
        ):
            if id_ in records:
                return records[id_]
        return None

    def _create_tags(self, call: Call) -> Any:
        with self.state.lock:
            region = self.state.region(call.region)
            found = [self._own(region, id_) for id_ in call.parameters["Resources"]]
            if not any(found):
                prefix = call.parameters["Resources"][0].split("-")[0]
                if prefix in ("i", "ami", "vol", "snap"):
                    id_ = call.parameters["Resources"][0]
                    codes = {
                        "i": "InvalidInstanceID",
                        "ami": "InvalidAMIID",
                        "vol": "InvalidVolume",
                        "snap": "InvalidSnapshot",
                    }
                    raise AwsError(f"{codes[prefix]}.NotFound", f"The ID '{id_}' does not exist")
                return call.proceed()
            check_tags(call.parameters["Tags"])
            for record in found:
                if record is not None:
                    set_tags(record, call.parameters["Tags"])
            return None

    def _delete_tags(self, call: Call) -> Any:
        with self.state.lock:
            region = self.state.region(call.region)
            found = [self._own(region, id_) for id_ in call.parameters["Resources"]]
            if not any(found):
                return call.proceed()
            gone = {t["Key"] for t in call.get("Tags") or []}
            for record in found:
                if record is not None:
                    kept = [t for t in record.get("Tags", []) if gone and t["Key"] not in gone]
                    record["Tags"] = kept
            return None

    def _describe_tags(self, call: Call) -> dict[str, Any]:
        with self.state.lock:
            region = self.state.region(call.region)
            rows = []
            kinds = (("instance", region.instances), ("image", region.images))
            for kind, records in (
                *kinds,
                ("volume", region.volumes),
                ("snapshot", region.snapshots),
                ("spot-instances-request", region.spot_requests),
            ):
                for id_, record in records.items():
                    for key, value in tags_of(record).items():
                        rows.append(
                            {"ResourceId": id_, "ResourceType": kind, "Key": key, "Value": value}
                        )
            getters = {
                "resource-id": "ResourceId",
                "resource-type": "ResourceType",
                "key": "Key",
                "value": "Value",
            }
            return {"Tags": filtered(rows, call.get("Filters"), getters)}
