"""What RunInstances makes of its parameters: place, rights, volumes, and the new instance's
record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scripts.local import ec2_rules, moto_seam
from scripts.local.errors import AwsError
from scripts.local.iam import ACCOUNT
from scripts.local.records import Record, new_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.local.calls import Call
    from scripts.local.ec2_images import Allowed
    from scripts.local.ec2_state import Capacity, Region, State
    from scripts.local.ec2_volumes import Volumes


class Launch:
    """The steps of a launch; each refuses as EC2 does."""

    def __init__(self, state: State, volumes: Volumes) -> None:
        self._state = state
        self._volumes = volumes

    def subnet(self, region: str, p: dict[str, Any]) -> dict[str, Any]:
        interface = (p.get("NetworkInterfaces") or [{}])[0]
        if p.get("NetworkInterfaces") and (p.get("SubnetId") or p.get("SecurityGroupIds")):
            message = (
                "Network interfaces and an instance-level subnet ID or security groups may not "
                "be specified on the same request"
            )
            raise AwsError("InvalidParameterCombination", message)
        asked = p.get("SubnetId") or interface.get("SubnetId")
        backend = moto_seam.backend("ec2", region)
        subnets = {s.id: s for zone in backend.subnets.values() for s in zone.values()}
        if asked:
            if asked not in subnets:
                raise AwsError(
                    "InvalidSubnetID.NotFound", f"The subnet ID '{asked}' does not exist"
                )
            subnet = subnets[asked]
        else:
            zone = (p.get("Placement") or {}).get("AvailabilityZone")
            defaults = [
                s
                for s in subnets.values()
                if s.default_for_az == "true" or s.default_for_az is True
            ]
            chosen = [s for s in defaults if zone in (None, s.availability_zone)]
            if not chosen:
                raise AwsError("VPCIdNotSpecified", "No default VPC for this user")
            subnet = sorted(chosen, key=lambda s: str(s.availability_zone))[0]
            asked = zone
        public = interface.get("AssociatePublicIpAddress")
        if public is None:
            public = str(subnet.map_public_ip_on_launch).lower() == "true"
        return {
            "asked": bool(asked),
            "id": subnet.id,
            "vpc": subnet.vpc_id,
            "zone": subnet.availability_zone,
            "public": bool(public),
            "cidr": subnet.cidr_block,
        }

    def groups(
        self, region: str, p: dict[str, Any], subnet: dict[str, Any]
    ) -> list[dict[str, str]]:
        interface = (p.get("NetworkInterfaces") or [{}])[0]
        asked = list(p.get("SecurityGroupIds") or interface.get("Groups") or [])
        backend = moto_seam.backend("ec2", region)
        if not asked:
            default = backend.get_security_group_from_name("default", subnet["vpc"])
            asked = [default.id] if default else []
        found = []
        for id_ in asked:
            group = backend.get_security_group_from_id(id_)
            if group is None:
                raise AwsError(
                    "InvalidGroup.NotFound", f"The security group '{id_}' does not exist"
                )
            if group.vpc_id != subnet["vpc"]:
                message = (
                    f"Security group {id_} and subnet {subnet['id']} belong to different networks."
                )
                raise AwsError("InvalidParameter", message)
            found.append({"GroupId": group.id, "GroupName": group.name})
        return found

    def profile(self, p: dict[str, Any]) -> dict[str, str] | None:
        asked = p.get("IamInstanceProfile") or {}
        name = asked.get("Arn") or asked.get("Name")
        if not name:
            return None
        found = moto_seam.instance_profile(str(name))
        if found is None:
            field = "arn" if asked.get("Arn") else "name"
            message = (
                f"Value ({name}) for parameter iamInstanceProfile.{field} is invalid. Invalid IAM "
                f"Instance Profile {field}"
            )
            raise AwsError("InvalidParameterValue", message)
        return {"Arn": found[0], "Id": found[1]}

    def mappings(
        self, region: Region, image: Record, p: dict[str, Any]
    ) -> list[tuple[str, dict[str, Any]]]:
        asked = {m["DeviceName"]: m for m in p.get("BlockDeviceMappings") or []}
        merged: dict[str, dict[str, Any]] = {}
        for mapping in image.get("BlockDeviceMappings", []):
            if "Ebs" in mapping:
                merged[mapping["DeviceName"]] = dict(mapping["Ebs"])
        for device, mapping in asked.items():
            if mapping.get("NoDevice") is not None:
                merged.pop(device, None)
            elif "Ebs" in mapping:
                base = merged.get(
                    device, {"DeleteOnTermination": True, "VolumeType": "gp2", "VolumeSize": 8}
                )
                if mapping["Ebs"].get("VolumeType", base["VolumeType"]) != base["VolumeType"]:
                    base = {k: v for k, v in base.items() if k not in ("Iops", "Throughput")}
                merged[device] = {**base, **mapping["Ebs"]}
        for device, ebs in merged.items():
            snapshot = region.snapshots.get(ebs.get("SnapshotId") or "")
            ec2_rules.check_volume(device, ebs, snapshot["VolumeSize"] if snapshot else None)
            if ebs["VolumeType"] == "gp3":
                ebs.setdefault("Iops", 3000)
                ebs.setdefault("Throughput", 125)
            if ebs.get("Encrypted") and not ebs.get("KmsKeyId"):
                ebs["KmsKeyId"] = (snapshot or {}).get("KmsKeyId") or default_key(region.name)
        return list(merged.items())

    def check_capacity(
        self, region: Region, p: dict[str, Any], type_: str, subnet: dict[str, Any]
    ) -> None:
        market = (p.get("InstanceMarketOptions") or {}).get("MarketType") or "on-demand"
        for shortage in self._state.shortages:
            if shortage.hits(type_, subnet["id"], subnet["zone"], market):
                shortage.times -= 1
                status = 500 if shortage.code.startswith("Insufficient") else 400
                text = _no_room(shortage, type_, subnet["zone"])
                raise AwsError(shortage.code, text, status)

    def record(
        self,
        region: Region,
        image: Record,
        p: dict[str, Any],
        subnet: dict[str, Any],
        profile: dict[str, str] | None,
        groups: list[dict[str, str]],
        tags: dict[str, list[dict[str, str]]],
    ) -> Record:
        region.addresses += 1
        address = ".".join(
            subnet["cidr"].split(".")[:2]
            + [str(region.addresses // 200), str(region.addresses % 200 + 10)]
        )
        public = f"203.0.113.{region.addresses % 254 + 1}" if subnet["public"] else None
        metadata = p.get("MetadataOptions") or {}
        tokens = "required" if image.get("ImdsSupport") == "v2.0" else "optional"
        instance: Record = {
            "InstanceId": self._id(),
            "ImageId": image["ImageId"],
            "InstanceType": p.get("InstanceType") or "m1.small",
            "State": {"Code": 0, "Name": "pending"},
            "StateTransitionReason": "",
            "LaunchTime": self._state.clock.now(),
            "AmiLaunchIndex": 0,
            "Placement": {
                "AvailabilityZone": subnet["zone"],
                "GroupName": "",
                "Tenancy": "default",
            },
            "Monitoring": {"State": "disabled"},
            "Architecture": image.get("Architecture", "x86_64"),
            "VirtualizationType": image.get("VirtualizationType", "hvm"),
            "Hypervisor": "xen",
            "RootDeviceName": image.get("RootDeviceName", "/dev/xvda"),
            "RootDeviceType": image.get("RootDeviceType", "ebs"),
            "BlockDeviceMappings": [],
            "EnaSupport": bool(image.get("EnaSupport")),
            "EbsOptimized": bool(p.get("EbsOptimized")),
            "ClientToken": str(p.get("ClientToken") or ""),
            "SubnetId": subnet["id"],
            "VpcId": subnet["vpc"],
            "PrivateIpAddress": address,
            "PrivateDnsName": f"ip-{address.replace('.', '-')}.{region.name}.compute.internal",
            "SecurityGroups": groups,
            "SourceDestCheck": True,
            "PlatformDetails": image.get("PlatformDetails", "Linux/UNIX"),
            "UsageOperation": image.get("UsageOperation", "RunInstances"),
            "MetadataOptions": {
                "State": "pending",
                "HttpTokens": metadata.get("HttpTokens") or tokens,
                "HttpPutResponseHopLimit": int(metadata.get("HttpPutResponseHopLimit") or 1),
                "HttpEndpoint": metadata.get("HttpEndpoint") or "enabled",
                "HttpProtocolIpv6": metadata.get("HttpProtocolIpv6") or "disabled",
                "InstanceMetadataTags": metadata.get("InstanceMetadataTags") or "disabled",
            },
        }
        optional = {
            "PublicIpAddress": public,
            "IamInstanceProfile": profile,
            "KeyName": p.get("KeyName"),
            "Platform": image.get("Platform"),
            "BootMode": image.get("BootMode"),
            "Tags": tags["instance"],
            "InstanceLifecycle": (p.get("InstanceMarketOptions") or {}).get("MarketType"),
        }
        instance.update({k: v for k, v in optional.items() if v})
        instance["NetworkInterfaces"] = [
            self._interface(instance, subnet, tags["network-interface"])
        ]
        return instance

    def _id(self) -> str:
        ordered = self._state.next_instances
        return ordered.pop(0) if ordered else new_id("i")

    def _interface(
        self, instance: Record, subnet: dict[str, Any], tags: list[dict[str, str]]
    ) -> Record:
        interface: Record = {
            "NetworkInterfaceId": new_id("eni"),
            "SubnetId": subnet["id"],
            "VpcId": subnet["vpc"],
            "OwnerId": ACCOUNT,
            "Status": "in-use",
            "PrivateIpAddress": instance["PrivateIpAddress"],
            "Groups": instance["SecurityGroups"],
            "Attachment": {
                "DeviceIndex": 0,
                "Status": "attached",
                "DeleteOnTermination": True,
                "AttachTime": instance["LaunchTime"],
            },
        }
        if tags:
            interface["TagSet"] = tags
        return interface

    def attach(
        self,
        region: Region,
        instance: Record,
        mappings: list[tuple[str, dict[str, Any]]],
        tags: list[dict[str, str]],
        zone: str,
    ) -> None:
        for device, ebs in mappings:
            volume = self._volumes.new_volume(region, zone, ebs, [dict(t) for t in tags])
            delete = bool(ebs.get("DeleteOnTermination", True))
            self._volumes.attach(volume, instance["InstanceId"], device, delete=delete)
            shown = {
                "VolumeId": volume["VolumeId"],
                "Status": "attached",
                "DeleteOnTermination": delete,
                "AttachTime": self._state.clock.now(),
            }
            instance["BlockDeviceMappings"].append({"DeviceName": device, "Ebs": shown})


def _no_room(shortage: Capacity, type_: str, zone: str) -> str:
    return (
        f"We currently do not have sufficient {type_} capacity in the Availability Zone you "
        f"requested ({zone}). "
        "Our system will be working on provisioning additional capacity."
    )


def default_key(region: str) -> str:
    return f"arn:aws:kms:{region}:{ACCOUNT}:key/00000000-0000-4000-8000-0000000000eb"


_OF_KEYS = (
    "CreateGrant",
    "Decrypt",
    "DescribeKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptTo",
)
_OF_SOURCES = ("Decrypt", "DescribeKey", "ReEncryptFrom")
"""What EC2 does to a customer's key with its caller's rights: one that encrypts a new volume or
snapshot, and one that the snapshot has of which it is made, if they are not the same.

Source: EBS user guide, "Requirements for Amazon EBS encryption".
"""


def keys_granted(
    call: Call, key: str | None, source: Region, image: Record, allowed: Allowed
) -> bool:
    """Whether the caller's rights let EC2 make something of an image that a customer's key is to
    encrypt; with no key, AWS's own."""
    # The same alias is another key in another Region.
    others = keys_of(source, image) - ({key} if source.name == call.region else set())
    return (key is None or key_granted(call, key, allowed)) and all(
        key_granted(call, it, allowed, _OF_SOURCES, source.name) for it in others
    )


def keys_of(region: Region, image: Record) -> set[str]:
    """The keys of an image's snapshots."""
    parts = [it.get("Ebs", {}).get("SnapshotId", "") for it in image["BlockDeviceMappings"]]
    found = [region.snapshots.get(it, {}).get("KmsKeyId") for it in parts]
    return {str(it) for it in found if it}


def key_granted(
    call: Call,
    key: str,
    allowed: Allowed,
    actions: Sequence[str] = _OF_KEYS,
    region: str | None = None,
) -> bool:
    """Whether the caller's rights let EC2 use a customer's key, given by id, ARN or alias."""
    region = region or call.region
    name = key.split(":", 5)[-1] if key.startswith("arn:") else key
    if name.startswith("alias/"):
        name = moto_seam.key_of_alias(name, region) or name
    id_ = name.removeprefix("key/")
    if id_ in ("alias/aws/ebs", default_key(region).rsplit("/", 1)[-1]):
        # The policy of AWS's own key lets everybody of the account use it through EC2.
        return True
    resource = key if ":key/" in key else f"arn:aws:kms:{region}:{ACCOUNT}:key/{id_}"
    keys = {
        "kms:ViaService": f"ec2.{region}.amazonaws.com",
        "kms:GrantIsForAWSResource": True,
        "kms:CallerAccount": call.principal.account,
    }
    return all(allowed(call, f"kms:{action}", resource, keys) for action in actions)


def key_usable(region: str, key: str) -> bool:
    """Whether KMS has the key, enabled: given by id, ARN or alias."""
    if key.rsplit("/", 1)[-1] in ("ebs", default_key(region).rsplit("/", 1)[-1]):
        return True
    kms = moto_seam.backend("kms", region)
    name = key.split(":", 5)[-1] if key.startswith("arn:") else key
    if name.startswith("alias/"):
        name = kms.get_key_id_from_alias(name) or ""
    found = kms.keys.get(name.removeprefix("key/"))
    return bool(found and found.enabled)
