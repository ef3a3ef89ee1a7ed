"""EBS volumes and snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scripts.local.clock import iso_millis, iso_seconds
from scripts.local.ec2_state import Region, State, check_dry_run
from scripts.local.errors import AwsError
from scripts.local.iam import ACCOUNT
from scripts.local.records import Getter, Record, filtered, new_id, page, specified_tags

if TYPE_CHECKING:
    from scripts.local.calls import Call, Handler

_MOST_MODIFICATIONS = 500
"""Of a snapshot's permissions. Source: EC2 API reference, ModifySnapshotAttribute."""

VOLUME_FILTERS: dict[str, Getter] = {
    "volume-id": "VolumeId",
    "status": "State",
    "encrypted": "Encrypted",
    "size": "Size",
    "snapshot-id": "SnapshotId",
    "volume-type": "VolumeType",
    "availability-zone": "AvailabilityZone",
    "attachment.instance-id": "Attachments.InstanceId",
    "attachment.status": "Attachments.State",
    "attachment.device": "Attachments.Device",
    "attachment.delete-on-termination": "Attachments.DeleteOnTermination",
}
SNAPSHOT_FILTERS: dict[str, Getter] = {
    "snapshot-id": "SnapshotId",
    "status": "State",
    "volume-id": "VolumeId",
    "volume-size": "VolumeSize",
    "encrypted": "Encrypted",
    "owner-id": "OwnerId",
    "description": "Description",
    "start-time": "StartTime",
    "progress": "Progress",
}


class Volumes:
    def __init__(self, state: State) -> None:
        self._state = state

    def handlers(self) -> dict[str, Handler]:
        return {
            "DescribeVolumes": self.describe_volumes,
            "CreateVolume": self.create_volume,
            "DeleteVolume": self.delete_volume,
            "AttachVolume": self.attach_volume,
            "DetachVolume": self.detach_volume,
            "DescribeSnapshots": self.describe_snapshots,
            "CreateSnapshot": self.create_snapshot,
            "DeleteSnapshot": self.delete_snapshot,
            "ModifySnapshotAttribute": self.modify_snapshot_attribute,
            "ResetSnapshotAttribute": self.reset_snapshot_attribute,
            "DescribeSnapshotAttribute": self.describe_snapshot_attribute,
        }

    # Made by other parts of EC2

    def new_volume(
        self, region: Region, zone: str, ebs: dict[str, Any], tags: list[dict[str, str]]
    ) -> Record:
        volume: Record = {
            "VolumeId": new_id("vol"),
            "AvailabilityZone": zone,
            "Size": int(ebs["VolumeSize"]),
            "SnapshotId": ebs.get("SnapshotId") or "",
            "VolumeType": ebs.get("VolumeType", "gp2"),
            "Encrypted": bool(ebs.get("Encrypted")),
            "State": "available",
            "CreateTime": self._state.clock.now(),
            "MultiAttachEnabled": False,
            "Attachments": [],
        }
        if ebs.get("KmsKeyId"):
            volume["KmsKeyId"] = ebs["KmsKeyId"]
        if ebs.get("Iops"):
            volume["Iops"] = int(ebs["Iops"])
        if ebs.get("Throughput"):
            volume["Throughput"] = int(ebs["Throughput"])
        if tags:
            volume["Tags"] = tags
        region.volumes[volume["VolumeId"]] = volume
        return volume

    def attach(self, volume: Record, instance_id: str, device: str, *, delete: bool) -> None:
        attachment = {
            "VolumeId": volume["VolumeId"],
            "InstanceId": instance_id,
            "Device": device,
            "State": "attached",
            "DeleteOnTermination": delete,
            "AttachTime": self._state.clock.now(),
        }
        volume.update(State="in-use", Attachments=[attachment])

    def release(self, region: Region, instance_id: str) -> None:
        """What termination does: delete the volumes marked so, detach the others."""
        for volume in list(region.volumes.values()):
            for attachment in volume["Attachments"]:
                if attachment["InstanceId"] != instance_id:
                    continue
                if attachment["DeleteOnTermination"]:
                    region.volumes.pop(volume["VolumeId"], None)
                else:
                    volume.update(State="available", Attachments=[])

    def new_snapshot(
        self,
        region: Region,
        volume: Record,
        description: str,
        tags: list[dict[str, str]],
        *,
        done: bool = False,
    ) -> Record:
        snapshot: Record = {
            "SnapshotId": new_id("snap"),
            "VolumeId": volume["VolumeId"],
            "VolumeSize": volume["Size"],
            "Encrypted": volume["Encrypted"],
            "State": "completed" if done else "pending",
            "Progress": "100%" if done else "0%",
            "StartTime": self._state.clock.now(),
            "OwnerId": ACCOUNT,
            "Description": description,
            "StorageTier": "standard",
        }
        if volume.get("KmsKeyId"):
            snapshot["KmsKeyId"] = volume["KmsKeyId"]
        if tags:
            snapshot["Tags"] = [dict(t) for t in tags]
        region.snapshots[snapshot["SnapshotId"]] = snapshot
        return snapshot

    def modify_snapshot_attribute(self, call: Call) -> None:
        """Who may make volumes of the snapshot: accounts, or all."""
        p = call.parameters
        with self._state.lock:
            permissions = self._permissions(call)
            change = p.get("CreateVolumePermission") or {}
            add, remove = list(change.get("Add") or []), list(change.get("Remove") or [])
            named = [{"UserId": it} for it in p.get("UserIds") or []]
            named += [{"Group": it} for it in p.get("GroupNames") or []]
            (remove if p.get("OperationType") == "remove" else add).extend(named)
            if len(add) + len(remove) > _MOST_MODIFICATIONS:
                message = f"More than {_MOST_MODIFICATIONS} modifications in one call."
                raise AwsError("InvalidParameterValue", message)
            check_dry_run(p)
            permissions[:] = [it for it in permissions if it not in remove]
            permissions += [it for it in add if it not in permissions]

    def reset_snapshot_attribute(self, call: Call) -> None:
        with self._state.lock:
            permissions = self._permissions(call)
            check_dry_run(call.parameters)
            permissions.clear()

    def describe_snapshot_attribute(self, call: Call) -> dict[str, Any]:
        with self._state.lock:
            permissions = list(self._permissions(call))
            id_ = call.parameters["SnapshotId"]
            return {"SnapshotId": id_, "CreateVolumePermissions": permissions}

    def _permissions(self, call: Call) -> list[dict[str, str]]:
        region, id_ = self._state.region(call.region), str(call.parameters["SnapshotId"])
        if id_ not in region.snapshots:
            raise AwsError("InvalidSnapshot.NotFound", f"The snapshot '{id_}' does not exist.")
        held: list[dict[str, str]] = region.hidden(id_).setdefault("permissions", [])
        return held

    def finish_snapshot(self, region: Region, snapshot: Record, *, failed: str = "") -> None:
        if snapshot["SnapshotId"] not in region.snapshots:
            return
        if failed:
            snapshot.update(State="error", StateMessage=failed)
        else:
            snapshot.update(State="completed", Progress="100%")
        self._announce(region, snapshot, failed)

    def _announce(self, region: Region, snapshot: Record, failed: str) -> None:
        # AWS puts the Region where an ARN has the account, for this event only.
        arn = f"arn:aws:ec2::{region.name}:snapshot/{snapshot['SnapshotId']}"
        detail = {
            "event": "createSnapshot",
            "result": "failed" if failed else "succeeded",
            "cause": failed,
            "request-id": "",
            "snapshot_id": arn,
            "source": f"arn:aws:ec2::{region.name}:volume/{snapshot['VolumeId']}",
            "startTime": iso_seconds(snapshot["StartTime"]),
            "endTime": iso_seconds(self._state.clock.now()),
        }
        self._state.emit(region.name, "aws.ec2", "EBS Snapshot Notification", [arn], detail)

    def show_progress(self, region: Region, image_id: str, snapshots: list[Record]) -> None:
        """Progress grows with AWS time while the image is being made."""
        hidden = region.hidden(image_id)
        started, duration = hidden.get("started"), self._state.durations.image
        if started is None:
            return
        share = (
            min(0.99, (self._state.clock.timestamp() - started) / duration) if duration else 0.99
        )
        for snapshot in snapshots:
            if snapshot["State"] == "pending":
                snapshot["Progress"] = f"{int(share * 100)}%"

    # The API

    def describe_volumes(self, call: Call) -> dict[str, Any]:
        with self._state.lock:
            region = self._state.region(call.region)
            records = self._chosen(
                region.volumes, call.get("VolumeIds"), "InvalidVolume.NotFound", "volume"
            )
            found = filtered(records, call.get("Filters"), VOLUME_FILTERS)
            chosen, token = page(found, call.parameters)
            return {"Volumes": chosen, "NextToken": token}

    def _chosen(
        self, records: dict[str, Record], ids: list[str] | None, code: str, kind: str
    ) -> list[Record]:
        if not ids:
            return list(records.values())
        for id_ in ids:
            if id_ not in records or not self._state.visible(id_):
                raise AwsError(code, f"The {kind} '{id_}' does not exist.")
        return [records[id_] for id_ in ids]

    def create_volume(self, call: Call) -> Record:
        p = call.parameters
        check_dry_run(p)
        ebs = {**p, "VolumeSize": p.get("Size") or 8}
        with self._state.lock:
            region = self._state.region(call.region)
            tags = specified_tags(p, "volume", ["volume"])
            return self.new_volume(region, str(p.get("AvailabilityZone")), ebs, tags)

    def delete_volume(self, call: Call) -> None:
        check_dry_run(call.parameters)
        with self._state.lock:
            region = self._state.region(call.region)
            id_ = call.parameters["VolumeId"]
            volume = self._chosen(region.volumes, [id_], "InvalidVolume.NotFound", "volume")[0]
            if volume["Attachments"]:
                instance = volume["Attachments"][0]["InstanceId"]
                raise AwsError("VolumeInUse", f"Volume {id_} is currently attached to {instance}")
            del region.volumes[id_]

    def attach_volume(self, call: Call) -> Record:
        p = call.parameters
        with self._state.lock:
            region = self._state.region(call.region)
            volume = self._volume(region, p["VolumeId"])
            instance = region.instances.get(p["InstanceId"])
            if instance is None:
                message = f"The instance ID '{p['InstanceId']}' does not exist"
                raise AwsError("InvalidInstanceID.NotFound", message)
            if volume["State"] != "available":
                raise AwsError("VolumeInUse", f"{p['VolumeId']} is already attached to an instance")
            if instance["State"]["Name"] not in ("running", "stopped"):
                message = f"Instance '{p['InstanceId']}' is not 'running' or 'stopped'."
                raise AwsError("IncorrectState", message)
            zone = instance["Placement"]["AvailabilityZone"]
            if volume["AvailabilityZone"] != zone:
                message = f"The volume '{p['VolumeId']}' is not in the same availability zone."
                raise AwsError("InvalidVolume.ZoneMismatch", message)
            mappings = instance["BlockDeviceMappings"]
            if p["Device"] in [it["DeviceName"] for it in mappings]:
                message = (
                    f"Invalid value '{p['Device']}' for unixDevice. Attachment point "
                    f"{p['Device']} is already in use"
                )
                raise AwsError("InvalidParameterValue", message)
            check_dry_run(p)
            self.attach(volume, p["InstanceId"], p["Device"], delete=False)
            ebs = {"VolumeId": p["VolumeId"], "Status": "attached", "DeleteOnTermination": False}
            mappings.append({"DeviceName": p["Device"], "Ebs": ebs})
            answer = {**volume["Attachments"][0], "State": "attaching"}
            self._settle(volume, "attaching", "attached")
            return answer

    def _settle(self, volume: Record, state: str, later: str) -> None:
        volume["Attachments"][0]["State"] = state

        def settle() -> None:
            for attachment in volume["Attachments"]:
                attachment["State"] = later
            if later == "detached":
                volume.update(State="available", Attachments=[])

        self._state.after(2, settle, f"{volume['VolumeId']} {later}")

    def _volume(self, region: Region, id_: str) -> Record:
        return self._chosen(region.volumes, [id_], "InvalidVolume.NotFound", "volume")[0]

    def detach_volume(self, call: Call) -> Record:
        p = call.parameters
        with self._state.lock:
            region = self._state.region(call.region)
            volume = self._volume(region, p["VolumeId"])
            if not volume["Attachments"]:
                message = f"Volume '{p['VolumeId']}' is in the 'available' state."
                raise AwsError("IncorrectState", message)
            check_dry_run(p)
            instance = region.instances[volume["Attachments"][0]["InstanceId"]]
            instance["BlockDeviceMappings"] = [
                it
                for it in instance["BlockDeviceMappings"]
                if it["Ebs"]["VolumeId"] != p["VolumeId"]
            ]
            self._settle(volume, "detaching", "detached")
            return dict(volume["Attachments"][0])

    def describe_snapshots(self, call: Call) -> dict[str, Any]:
        with self._state.lock:
            region = self._state.region(call.region)
            ids = call.get("SnapshotIds")
            records = self._chosen(region.snapshots, ids, "InvalidSnapshot.NotFound", "snapshot")
            owners = [ACCOUNT if o == "self" else o for o in call.get("OwnerIds") or []]
            if owners:
                records = [r for r in records if r["OwnerId"] in owners]
            elif not ids:
                records = [r for r in records if r["OwnerId"] == ACCOUNT]
            for image in region.images.values():
                mine = [r for r in records if r["SnapshotId"] in snapshot_ids(image)]
                self.show_progress(region, image["ImageId"], mine)
            found = filtered(records, call.get("Filters"), SNAPSHOT_FILTERS)
            chosen, token = page(found, call.parameters)
            return {"Snapshots": chosen, "NextToken": token}

    def create_snapshot(self, call: Call) -> Record:
        check_dry_run(call.parameters)
        with self._state.lock:
            region = self._state.region(call.region)
            id_ = call.parameters["VolumeId"]
            volume = self._chosen(region.volumes, [id_], "InvalidVolume.NotFound", "volume")[0]
            tags = specified_tags(call.parameters, "snapshot", ["snapshot"])
            made = self.new_snapshot(region, volume, str(call.get("Description") or ""), tags)
            self._state.after(60, lambda: self.finish_snapshot(region, made), f"snapshot of {id_}")
            return dict(made)

    def delete_snapshot(self, call: Call) -> None:
        check_dry_run(call.parameters)
        with self._state.lock:
            region = self._state.region(call.region)
            id_ = call.parameters["SnapshotId"]
            self._chosen(region.snapshots, [id_], "InvalidSnapshot.NotFound", "snapshot")
            for image in region.images.values():
                if id_ in snapshot_ids(image):
                    message = f"The snapshot {id_} is currently in use by {image['ImageId']}"
                    raise AwsError("InvalidSnapshot.InUse", message)
            del region.snapshots[id_]


def snapshot_ids(image: Record) -> list[str]:
    mappings = image.get("BlockDeviceMappings", [])
    return [m["Ebs"]["SnapshotId"] for m in mappings if m.get("Ebs", {}).get("SnapshotId")]


def creation_date(state: State) -> str:
    return iso_millis(state.clock.now())
