"""Images: made from instances over AWS time, found, copied, deprecated, disabled, deregistered."""

from __future__ import annotations

import copy
import re
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from scripts.local.clock import iso_millis, parse_time
from scripts.local.ec2_launch import key_usable, keys_granted
from scripts.local.ec2_state import Region, State, arn, check_dry_run
from scripts.local.ec2_volumes import Volumes, creation_date, snapshot_ids
from scripts.local.errors import AwsError
from scripts.local.iam import ACCOUNT
from scripts.local.records import Getter, Record, filtered, new_id, page, specified_tags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scripts.local.calls import Call, Handler

IMAGE_FILTERS: dict[str, Getter] = {
    "architecture": "Architecture",
    "block-device-mapping.device-name": "BlockDeviceMappings.DeviceName",
    "block-device-mapping.snapshot-id": "BlockDeviceMappings.Ebs.SnapshotId",
    "block-device-mapping.encrypted": "BlockDeviceMappings.Ebs.Encrypted",
    "creation-date": "CreationDate",
    "description": "Description",
    "ena-support": "EnaSupport",
    "hypervisor": "Hypervisor",
    "image-id": "ImageId",
    "image-type": "ImageType",
    "is-public": "Public",
    "name": "Name",
    "owner-alias": "ImageOwnerAlias",
    "owner-id": "OwnerId",
    "platform": "Platform",
    "root-device-name": "RootDeviceName",
    "root-device-type": "RootDeviceType",
    "source-image-id": "SourceImageId",
    "source-instance-id": "SourceInstanceId",
    "state": "State",
    "state-reason-code": "StateReason.Code",
    "virtualization-type": "VirtualizationType",
    "boot-mode": "BootMode",
}
_NAME = re.compile(r"[A-Za-z0-9 ()\[\]./'@_-]{3,128}")
_INHERITED = [
    "Architecture",
    "EnaSupport",
    "SriovNetSupport",
    "VirtualizationType",
    "Hypervisor",
    "RootDeviceName",
    "RootDeviceType",
    "Platform",
    "PlatformDetails",
    "UsageOperation",
    "BootMode",
    "TpmSupport",
    "ImdsSupport",
    "ImageType",
]
_COOLDOWN = timedelta(hours=24)
"""How long protection outlives its end, if it was asked for so."""
_UNTOLD = timedelta(hours=24)
"""How long a launch takes to be told. Source: EC2 API reference, Image, lastLaunchedTime."""


class Allowed(Protocol):
    """Whether the caller may do the action on the resource; with these condition keys beside."""

    def __call__(
        self, call: Call, action: str, resource: str, keys: Mapping[str, Any] | None = None, /
    ) -> bool: ...


class Images:
    def __init__(self, state: State, volumes: Volumes, allowed: Allowed) -> None:
        self._state = state
        self._volumes = volumes
        self.allowed = allowed

    def handlers(self) -> dict[str, Handler]:
        return {
            "CreateImage": self.create_image,
            "RegisterImage": self.register_image,
            "CopyImage": self.copy_image,
            "DescribeImages": self.describe_images,
            "DeregisterImage": self.deregister_image,
            "EnableImage": self.enable_image,
            "DisableImage": self.disable_image,
            "EnableImageDeregistrationProtection": self.enable_protection,
            "DisableImageDeregistrationProtection": self.disable_protection,
            "EnableImageDeprecation": self.enable_deprecation,
            "DisableImageDeprecation": self.disable_deprecation,
            "ModifyImageAttribute": self.modify_attribute,
            "ResetImageAttribute": self.reset_attribute,
            "DescribeImageAttribute": self.describe_attribute,
        }

    # Making

    def create_image(self, call: Call) -> dict[str, str]:
        p = call.parameters
        with self._state.lock:
            region = self._state.region(call.region)
            instance = region.instances.get(p["InstanceId"])
            if instance is None or not self._state.visible(p["InstanceId"]):
                message = f"The instance ID '{p['InstanceId']}' does not exist"
                raise AwsError("InvalidInstanceID.NotFound", message)
            self._check_name(region, str(p.get("Name") or ""))
            if len(str(p.get("Description") or "")) > 255:
                raise AwsError(
                    "InvalidParameterValue", "Description is longer than 255 characters."
                )
            image_tags = specified_tags(p, "image", ["image", "snapshot"])
            snapshot_tags = specified_tags(p, "snapshot", ["image", "snapshot"])
            state = instance["State"]["Name"]
            if state not in ("running", "stopped"):
                message = (
                    f"The instance '{p['InstanceId']}' is not in a valid state: it is {state}, "
                    "not running or stopped."
                )
                raise AwsError("IncorrectInstanceState", message)
            if instance["RootDeviceType"] != "ebs":
                raise AwsError(
                    "InvalidParameterValue", f"The instance '{p['InstanceId']}' is not EBS-backed."
                )
            check_dry_run(p)
            if state == "running" and not p.get("NoReboot"):
                self._restart(region, instance)
            image = self._image_of(region, instance, p, image_tags)
            self._snapshot_all(region, instance, image, p, snapshot_tags)
            failure = self._state.failing_images.pop(0) if self._state.failing_images else ""
            self._make(region, image, failure, self._state.durations.image)
            return {"ImageId": image["ImageId"]}

    def register_image(self, call: Call) -> dict[str, str]:
        """Of a snapshot that is complete; of a bundle in S3 there is nothing to make one of."""
        p = call.parameters
        with self._state.lock:
            region = self._state.region(call.region)
            self._check_name(region, str(p.get("Name") or ""))
            mappings = [dict(it) for it in p.get("BlockDeviceMappings") or []]
            root = [it for it in mappings if it["DeviceName"] == p.get("RootDeviceName")]
            if not root:
                message = "The local AWS registers images with a snapshot for their root only."
                raise AwsError("InvalidBlockDeviceMapping", message)
            for mapping in mappings:
                id_ = mapping["Ebs"]["SnapshotId"]
                snapshot = region.snapshots.get(id_)
                if snapshot is None:
                    raise AwsError(
                        "InvalidSnapshot.NotFound", f"The snapshot '{id_}' does not exist."
                    )
                if snapshot["State"] != "completed":
                    raise AwsError("InvalidParameterValue", f"Snapshot {id_} is not completed.")
                mapping["Ebs"] = {
                    "VolumeSize": snapshot["VolumeSize"],
                    "VolumeType": "gp2",
                    "Encrypted": snapshot["Encrypted"],
                    **mapping["Ebs"],
                }
            tags = specified_tags(p, "image", ["image"])
            check_dry_run(p)
            image = self._blank(str(p["Name"]), str(p.get("Description") or ""), tags)
            image.update(
                Architecture=p.get("Architecture") or "i386",
                VirtualizationType=p.get("VirtualizationType") or "paravirtual",
                RootDeviceName=p["RootDeviceName"],
                RootDeviceType="ebs",
                EnaSupport=bool(p.get("EnaSupport")),
                PlatformDetails="Linux/UNIX",
                UsageOperation="RunInstances",
                BlockDeviceMappings=mappings,
            )
            image.update({it: p[it] for it in ("KernelId", "RamdiskId", "BootMode") if p.get(it)})
            self._make(region, image, "", 2)
            return {"ImageId": image["ImageId"]}

    def _restart(self, region: Region, instance: Record) -> None:
        """EC2 restarts a running instance for its image, unless it is asked not to; as a reboot,
        this changes no state that it shows."""
        region.hidden(instance["InstanceId"])["boot"] += 1
        for listener in self._state.instance_listeners:
            listener(region.name, instance, "rebooting")

    def _check_name(self, region: Region, name: str) -> None:
        if not _NAME.fullmatch(name):
            message = (
                "AMI names must be between 3 and 128 characters long, and may contain letters, "
                "numbers, "
                "'(', ')', '.', '-', '/' and '_'"
            )
            raise AwsError("InvalidAMIName.Malformed", message)
        for image in region.images.values():
            if image["OwnerId"] == ACCOUNT and image["Name"] == name:
                message = f"AMI name {name} is already in use by AMI {image['ImageId']}"
                raise AwsError("InvalidAMIName.Duplicate", message)

    def _image_of(
        self, region: Region, instance: Record, p: dict[str, Any], tags: list[dict[str, str]]
    ) -> Record:
        base = region.hidden(instance["InstanceId"])["image"]
        image = self._blank(str(p["Name"]), str(p.get("Description") or ""), tags)
        image.update({key: base[key] for key in _INHERITED if key in base})
        image.update(SourceInstanceId=instance["InstanceId"], SourceImageId=instance["ImageId"])
        image["SourceImageRegion"] = region.name
        region.hidden(image["ImageId"])["system"] = region.hidden(instance["InstanceId"]).get(
            "system", {}
        )
        return image

    def _blank(self, name: str, description: str, tags: list[dict[str, str]]) -> Record:
        image: Record = {
            "ImageId": new_id("ami"),
            "Name": name,
            "Description": description,
            "ImageLocation": f"{ACCOUNT}/{name}",
            "OwnerId": ACCOUNT,
            "Public": False,
            "State": "pending",
            "CreationDate": creation_date(self._state),
            "ImageType": "machine",
            "Hypervisor": "xen",
            "BlockDeviceMappings": [],
        }
        if tags:
            image["Tags"] = tags
        return image

    def _snapshot_all(
        self,
        region: Region,
        instance: Record,
        image: Record,
        p: dict[str, Any],
        tags: list[dict[str, str]],
    ) -> None:
        overrides = {m["DeviceName"]: m for m in p.get("BlockDeviceMappings") or []}
        for volume in list(region.volumes.values()):
            for attachment in volume["Attachments"]:
                if attachment["InstanceId"] != instance["InstanceId"]:
                    continue
                override = overrides.get(attachment["Device"], {})
                if "NoDevice" in override:
                    continue
                text = f"Created by CreateImage({instance['InstanceId']}) for {image['ImageId']}"
                made = self._volumes.new_snapshot(region, volume, text, tags)
                ebs = {
                    "SnapshotId": made["SnapshotId"],
                    "VolumeSize": volume["Size"],
                    "VolumeType": volume["VolumeType"],
                    "Encrypted": volume["Encrypted"],
                    "DeleteOnTermination": override.get("Ebs", {}).get("DeleteOnTermination", True),
                }
                ebs.update({k: volume[k] for k in ("Iops", "Throughput") if k in volume})
                image["BlockDeviceMappings"].append(
                    {"DeviceName": attachment["Device"], "Ebs": ebs}
                )

    def _make(self, region: Region, image: Record, failure: str, seconds: float) -> None:
        """Pending until the snapshots are complete, or failed when a failure was ordered."""
        id_ = image["ImageId"]
        region.images[id_] = image
        region.hidden(id_)["started"] = self._state.clock.timestamp()
        self._state.born("image", id_)
        self._state.after(
            seconds,
            lambda: self._finish(region, image, failure),
            f"image {id_}",
        )

    def _finish(self, region: Region, image: Record, failure: str) -> None:
        id_ = image["ImageId"]
        for snapshot_id in snapshot_ids(image):
            if snapshot_id in region.snapshots:
                self._volumes.finish_snapshot(region, region.snapshots[snapshot_id], failed=failure)
        if id_ not in region.images or image["State"] != "pending":
            return
        if failure:
            code = failure.split(":")[0]
            image.update(State="failed", StateReason={"Code": code, "Message": failure})
        else:
            image["State"] = "available"
        self._announce(region, image, failure)

    def _announce(self, region: Region, image: Record, error: str = "", state: str = "") -> None:
        detail = {
            "RequestId": str(uuid.uuid4()),
            "ImageId": image["ImageId"],
            "State": state or image["State"],
            "ErrorMessage": error,
        }
        resources = [arn(region.name, "image", image["ImageId"])]
        self._state.emit(region.name, "aws.ec2", "EC2 AMI State Change", resources, detail)

    def copy_image(self, call: Call) -> dict[str, str]:
        p = call.parameters
        with self._state.lock:
            region = self._state.region(call.region)
            token = (str(p.get("ClientToken") or uuid.uuid4()), "copy")
            known = {k: v for k, v in p.items() if k != "ClientToken"}
            if token in region.tokens:
                id_, before = region.tokens[token]
                if before != known:
                    raise AwsError(
                        "IdempotentParameterMismatch",
                        "The client token was used with other parameters.",
                    )
                return {"ImageId": id_}
            source = self._visible(self._state.region(p["SourceRegion"]), p["SourceImageId"])
            self._check_name(region, str(p["Name"]))
            check_dry_run(p)
            image = self._copy_of(region, source, p)
            ordered = self._state.failing_copies.get(region.name)
            failure = ordered.pop(0) if ordered else self._key_failure(call, region, source)
            self._make(region, image, failure, self._state.durations.copy)
            region.tokens[token] = (image["ImageId"], known)
            return {"ImageId": image["ImageId"]}

    def _key_failure(self, call: Call, region: Region, source: Record) -> str:
        """Why a copy fails whose keys KMS does not have, or does not let EC2 use for the caller."""
        key, origin = call.get("KmsKeyId"), self._state.region(call.parameters["SourceRegion"])
        usable = not key or key_usable(region.name, str(key))
        if usable and keys_granted(call, key, origin, source, self.allowed):
            return ""
        return "Client.InternalError: Client error on launch: the KMS key cannot be used"

    def _copy_of(self, region: Region, source: Record, p: dict[str, Any]) -> Record:
        tags = specified_tags(p, "image", ["image", "snapshot"])
        if p.get("CopyImageTags"):
            own = {t["Key"] for t in tags}
            tags = tags + [dict(t) for t in source.get("Tags", []) if t["Key"] not in own]
        image = self._blank(
            str(p["Name"]), str(p.get("Description") or source.get("Description") or ""), tags
        )
        # Whether a copy asks for IMDSv2 as its source does, AWS does not say: it does not here.
        kept = [key for key in _INHERITED if key in source and key != "ImdsSupport"]
        image.update({key: source[key] for key in kept})
        image.update(SourceImageId=source["ImageId"], SourceImageRegion=p["SourceRegion"])
        origin = self._state.region(p["SourceRegion"])
        region.hidden(image["ImageId"])["system"] = origin.hidden(source["ImageId"]).get(
            "system", {}
        )
        snapshot_tags = specified_tags(p, "snapshot", ["image", "snapshot"])
        for mapping in copy.deepcopy(source["BlockDeviceMappings"]):
            if "Ebs" in mapping:
                self._copy_snapshot(region, image, mapping["Ebs"], p, snapshot_tags)
            image["BlockDeviceMappings"].append(mapping)
        return image

    def _copy_snapshot(
        self,
        region: Region,
        image: Record,
        ebs: dict[str, Any],
        p: dict[str, Any],
        tags: list[dict[str, str]],
    ) -> None:
        encrypted = bool(p.get("Encrypted") or ebs.get("Encrypted"))
        volume = {"VolumeId": "vol-ffffffff", "Size": ebs["VolumeSize"], "Encrypted": encrypted}
        if encrypted:
            volume["KmsKeyId"] = (
                p.get("KmsKeyId") or f"arn:aws:kms:{region.name}:{ACCOUNT}:alias/aws/ebs"
            )
        text = f"Copied for DestinationAmi {image['ImageId']} from SourceAmi {p['SourceImageId']}"
        made = self._volumes.new_snapshot(region, volume, text, tags)
        ebs.update(SnapshotId=made["SnapshotId"], Encrypted=encrypted)

    # Finding

    def _visible(self, region: Region, image_id: str) -> Record:
        if not re.fullmatch(r"ami-[0-9a-f]{8}([0-9a-f]{9})?", image_id):
            raise AwsError("InvalidAMIID.Malformed", f'Invalid id: "{image_id}"')
        image = region.images.get(image_id)
        if image is None or not self._readable(image) or not self._state.visible(image_id):
            raise AwsError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
        return image

    visible = _visible

    def _readable(self, image: Record) -> bool:
        if image["OwnerId"] == ACCOUNT:
            return True
        if image["State"] == "disabled":
            return False
        return bool(image.get("Public")) or {"UserId": ACCOUNT} in image.get(
            "LaunchPermissions", []
        )

    def describe_images(self, call: Call) -> dict[str, Any]:
        p = call.parameters
        with self._state.lock:
            region = self._state.region(call.region)
            if ids := p.get("ImageIds"):
                records = [self._visible(region, id_) for id_ in ids]
            else:
                records = [
                    i for i in region.images.values() if self._readable(i) and self._listed(i, p)
                ]
            owners = [ACCOUNT if o == "self" else o for o in p.get("Owners") or []]
            if owners:
                records = [
                    i
                    for i in records
                    if i["OwnerId"] in owners or i.get("ImageOwnerAlias") in owners
                ]
            found = filtered(records, p.get("Filters"), IMAGE_FILTERS)
            found = sorted(found, key=lambda i: i["ImageId"])
            chosen, token = page(found, p)
            shown = [self._shown(region, i) for i in chosen]
            return {"Images": shown, "NextToken": token}

    def _shown(self, region: Region, image: Record) -> Record:
        shown = {k: v for k, v in image.items() if k != "LaunchPermissions"}
        if image["OwnerId"] == ACCOUNT:
            shown.setdefault("DeregistrationProtection", "disabled")
            if launched := self._last_launched(region, image):
                shown["LastLaunchedTime"] = launched
        return shown

    def _last_launched(self, region: Region, image: Record) -> str | None:
        """Only its owner sees it, and a day late."""
        before = self._state.clock.now() - _UNTOLD
        launches = region.hidden(image["ImageId"]).get("launches", [])
        return max((iso_millis(it) for it in launches if it <= before), default=None)

    def _listed(self, image: Record, p: dict[str, Any]) -> bool:
        """Disabled images only on request; deprecated ones on request or for their owner."""
        if image["State"] == "disabled" and not p.get("IncludeDisabled"):
            return False
        if image["OwnerId"] == ACCOUNT or p.get("IncludeDeprecated"):
            return True
        deprecated = image.get("DeprecationTime")
        return not deprecated or parse_time(deprecated) > self._state.clock.now()

    # Changing

    def _own(self, call: Call) -> tuple[Region, Record]:
        region = self._state.region(call.region)
        id_ = str(call.parameters["ImageId"])
        if id_ in region.gone_images:
            raise AwsError(
                "InvalidAMIID.Unavailable", f"The image ID '{id_}' is no longer available"
            )
        image = self._visible(region, id_)
        if image["OwnerId"] != ACCOUNT:
            raise AwsError("AuthFailure", f"Not authorized for image:{id_}", 403)
        return region, image

    own = _own

    def deregister_image(self, call: Call) -> dict[str, Any]:
        with self._state.lock:
            region, image = self._own(call)
            self._refuse_protected(region, image)
            check_dry_run(call.parameters)
            del region.images[image["ImageId"]]
            region.gone_images.add(image["ImageId"])
            results = []
            if call.get("DeleteAssociatedSnapshots"):
                results = [self._delete_with(call, region, id_) for id_ in snapshot_ids(image)]
            self._announce(region, image, state="deregistered")
            return {"Return": True, "DeleteSnapshotResults": results}

    def _delete_with(self, call: Call, region: Region, snapshot_id: str) -> dict[str, str]:
        code = "success"
        if snapshot_id not in region.snapshots:
            code = "client-error"
        elif any(snapshot_id in snapshot_ids(other) for other in region.images.values()):
            code = "skipped"
        elif not self.allowed(
            call, "ec2:DeleteSnapshot", arn(region.name, "snapshot", snapshot_id)
        ):
            code = "missing-permissions"
        else:
            del region.snapshots[snapshot_id]
        return {"SnapshotId": snapshot_id, "ReturnCode": code}

    def disable_image(self, call: Call) -> dict[str, bool]:
        """Nobody can launch it, and whom it was shared with lose it for good."""
        with self._state.lock:
            _region, image = self._own(call)
            check_dry_run(call.parameters)
            if image["State"] not in ("available", "disabled"):
                message = f"The image '{image['ImageId']}' is {image['State']}, not available."
                raise AwsError("IncorrectState", message)
            image["LaunchPermissions"] = []
            image["Public"] = False
            return self._switch(call, "disabled")

    def enable_image(self, call: Call) -> dict[str, bool]:
        """Its launch permissions do not come back."""
        with self._state.lock:
            _region, image = self._own(call)
            check_dry_run(call.parameters)
            if image["State"] not in ("available", "disabled"):
                message = f"The image '{image['ImageId']}' is {image['State']}, not disabled."
                raise AwsError("IncorrectState", message)
            return self._switch(call, "available")

    def _switch(self, call: Call, state: str) -> dict[str, bool]:
        region, image = self._own(call)
        if image["State"] != state:
            image["State"] = state
            self._announce(region, image)
        return {"Return": True}

    def enable_protection(self, call: Call) -> dict[str, str]:
        with self._state.lock:
            region, image = self._own(call)
            check_dry_run(call.parameters)
            cooldown = bool(call.get("WithCooldown"))
            image["DeregistrationProtection"] = (
                "enabled-with-cooldown" if cooldown else "enabled-without-cooldown"
            )
            region.hidden(image["ImageId"])["protected until"] = None
            return {"Return": "true"}

    def disable_protection(self, call: Call) -> dict[str, str]:
        """One with a cooldown goes on for a day."""
        with self._state.lock:
            region, image = self._own(call)
            check_dry_run(call.parameters)
            if image.get("DeregistrationProtection") == "enabled-with-cooldown":
                until = self._state.clock.now() + _COOLDOWN
                region.hidden(image["ImageId"])["protected until"] = until
            image["DeregistrationProtection"] = "disabled"
            return {"Return": "true"}

    def _refuse_protected(self, region: Region, image: Record) -> None:
        until = region.hidden(image["ImageId"]).get("protected until")
        enabled = image.get("DeregistrationProtection", "disabled") != "disabled"
        if enabled or (until and self._state.clock.now() < until):
            message = (
                f"The image '{image['ImageId']}' cannot be deregistered because it is protected "
                "against deregistration."
            )
            raise AwsError("OperationNotPermitted", message)

    def enable_deprecation(self, call: Call) -> dict[str, bool]:
        with self._state.lock:
            _region, image = self._own(call)
            moment = parse_time(call.parameters["DeprecateAt"])
            now = self._state.clock.now()
            if moment < now:
                raise AwsError("InvalidParameterValue", "The deprecation date is in the past.")
            if (
                moment > now + timedelta(days=3653)
                or image.get("Public")
                and moment > now + timedelta(days=730)
            ):
                raise AwsError(
                    "InvalidParameterValue", "The deprecation date is too far in the future."
                )
            check_dry_run(call.parameters)
            image["DeprecationTime"] = iso_millis(moment.replace(second=0, microsecond=0))
            return {"Return": True}

    def disable_deprecation(self, call: Call) -> dict[str, bool]:
        with self._state.lock:
            _region, image = self._own(call)
            image.pop("DeprecationTime", None)
            return {"Return": True}

    def modify_attribute(self, call: Call) -> None:
        p = call.parameters
        with self._state.lock:
            _region, image = self._own(call)
            if description := (p.get("Description") or {}).get("Value"):
                image["Description"] = description
            if p.get("Attribute") == "imdsSupport" or p.get("ImdsSupport"):
                image["ImdsSupport"] = (p.get("ImdsSupport") or {}).get("Value") or p.get("Value")
            add, remove = self._permissions(p)
            if add and image["State"] == "disabled":
                message = f"The image '{image['ImageId']}' is disabled, and cannot be shared."
                raise AwsError("IncorrectState", message)
            kept = [x for x in image.get("LaunchPermissions", []) if x not in remove]
            image["LaunchPermissions"] = kept + [x for x in add if x not in kept]
            image["Public"] = {"Group": "all"} in image["LaunchPermissions"]

    def reset_attribute(self, call: Call) -> None:
        """Only launch permissions can be reset; then only the owner has one."""
        with self._state.lock:
            _region, image = self._own(call)
            check_dry_run(call.parameters)
            image.update(LaunchPermissions=[], Public=False)

    def _permissions(self, p: dict[str, Any]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        change = p.get("LaunchPermission") or {}
        add, remove = list(change.get("Add") or []), list(change.get("Remove") or [])
        named = [{"UserId": u} for u in p.get("UserIds") or []]
        named += [{"Group": g} for g in p.get("UserGroups") or []]
        named += [{"OrganizationArn": o} for o in p.get("OrganizationArns") or []]
        named += [{"OrganizationalUnitArn": o} for o in p.get("OrganizationalUnitArns") or []]
        (remove if p.get("OperationType") == "remove" else add).extend(named)
        for permission in add:
            if not re.fullmatch(r"\d{12}", permission.get("UserId", "0" * 12)):
                value = permission["UserId"]
                raise AwsError(
                    "InvalidAMIAttributeItemValue",
                    f'Invalid attribute item value "{value}" for userId item type.',
                )
        return add, remove

    def describe_attribute(self, call: Call) -> dict[str, Any]:
        with self._state.lock:
            region, image = self._own(call)
            answer: dict[str, Any] = {"ImageId": image["ImageId"]}
            attribute = call.parameters["Attribute"]
            if attribute == "lastLaunchedTime":
                launched = self._last_launched(region, image)
                answer["LastLaunchedTime"] = {"Value": launched} if launched else {}
            elif attribute == "launchPermission":
                answer["LaunchPermissions"] = image.get("LaunchPermissions", [])
            else:
                key = attribute[0].upper() + attribute[1:]
                answer[key] = {"Value": image.get(key, "")}
            return answer
