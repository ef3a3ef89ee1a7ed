"""EC2: images, instance types, subnets, the builder, test instances, the image and its copies.

Without a Region: that of the stack.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from bakery.aws import clients
from bakery.aws.failures import code_of, is_gone, translated
from bakery.errors import BuilderLostError, CopyLimitError, NotYetVisibleError
from bakery.hosts import host_of
from bakery.naming import TAG_ATTEMPT, TAG_BAKE, TAG_CLONE_OF, TAG_TEST
from bakery.resources import (
    DataVolume,
    Host,
    Image,
    Instance,
    InstanceTypeInfo,
    LaunchSpec,
    SpotRequest,
    Subnet,
)

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import (
        FilterTypeDef,
        ImageTypeDef,
        InstanceTypeDef,
        SnapshotTypeDef,
        SpotInstanceRequestTypeDef,
        TagSpecificationTypeDef,
        VolumeTypeDef,
    )

_READERS_PER_CALL = 500
"""Of a snapshot. Source: EC2 API reference, ModifySnapshotAttribute."""

_NUMBER = re.compile("[1-9][0-9]{0,8}")

LIVE_STATES = ("pending", "running", "stopping", "stopped")

# Answers to RunInstances that say "not here", so that the next type or subnet is worth a try.
_NO_ROOM = {
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientReservedInstanceCapacity",
    "InsufficientCapacity",
    "InsufficientFreeAddressesInSubnet",
    "SpotMaxPriceTooLow",
    "UnfulfillableCapacity",
    "Unsupported",
}

# Answers that say "no spot instance at all": the account's quota of spot is used up, or nobody has
# made the service's role, which a deployment cannot make without failing where it is there already.
# Source: EC2 API reference, "Error codes".
_NO_SPOT = {
    "MaxSpotInstanceCountExceeded",
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
}


class NoRoomError(Exception):
    """This instance type has no room in this subnet's zone; try another."""


class NoSpotError(NoRoomError):
    """No type has room in any zone as spot; try on-demand."""


def find_images(ids: Sequence[str], *, region: str | None = None) -> list[Image]:
    """The images of ``ids`` that exist and are visible, deprecated and disabled ones included."""
    return _images({"ImageIds": list(ids)}, f"of {', '.join(ids)}", region)


def search_images(*, owner: str, name: str, architecture: str) -> list[Image]:
    """Available images of ``owner`` whose name fits, newest first."""
    found = _images(
        {
            "Owners": [owner],
            "Filters": [
                {"Name": "name", "Values": [name]},
                {"Name": "architecture", "Values": [architecture]},
                {"Name": "state", "Values": ["available"]},
            ],
        },
        f"of owner {owner} named {name}",
    )
    return sorted(found, key=lambda image: image.created, reverse=True)


def own_images_named(name: str, *, region: str | None = None) -> list[Image]:
    """Images of this account with exactly this name, whatever their state."""
    named = [{"Name": "name", "Values": [name]}]
    return _images({"Owners": ["self"], "Filters": named}, name, region)


def images_of_bake(bake: str, *, region: str | None = None) -> list[Image]:
    """Images of this account that the bake made; not the clone of a host, which is no result."""
    return [it for it in _all_of_bake(bake, region) if TAG_CLONE_OF not in it.tags]


def clones_of_bake(bake: str) -> list[Image]:
    """The image of the running host that the bake begins with; as a rule one at most, but anybody
    may tag: of which host one is, its ``source_instance`` says."""
    return [it for it in _all_of_bake(bake, None) if TAG_CLONE_OF in it.tags]


def _all_of_bake(bake: str, region: str | None) -> list[Image]:
    tagged = [{"Name": f"tag:{TAG_BAKE}", "Values": [bake]}]
    return _images({"Owners": ["self"], "Filters": tagged}, bake, region)


def _images(request: dict[str, Any], subject: str, region: str | None = None) -> list[Image]:
    with translated("ec2:DescribeImages", _in(region, subject)):
        try:
            pages = (
                clients.ec2(region)
                .get_paginator("describe_images")
                .paginate(**request, IncludeDeprecated=True, IncludeDisabled=True)
            )
            return [_image(record) for page in pages for record in page["Images"]]
        except ClientError as error:
            if code_of(error) in {"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"}:
                return []
            raise


def _in(region: str | None, subject: str) -> str:
    return f"{subject} in {region}" if region else subject


def _image(record: "ImageTypeDef") -> Image:
    mappings = record.get("BlockDeviceMappings", [])
    root = record.get("RootDeviceName", "")
    volumes = {mapping.get("DeviceName", ""): mapping.get("Ebs", {}) for mapping in mappings}
    reason = record.get("StateReason", {})
    return Image(
        id=record.get("ImageId", ""),
        name=record.get("Name", ""),
        owner=record.get("OwnerId", ""),
        owner_alias=record.get("ImageOwnerAlias", ""),
        state=record.get("State", "pending"),
        architecture=record.get("Architecture", ""),
        virtualization=record.get("VirtualizationType", ""),
        root_device_type=record.get("RootDeviceType", ""),
        root_device_name=root,
        root_size_gib=volumes.get(root, {}).get("VolumeSize", 0),
        boot_mode=record.get("BootMode"),
        ena=record.get("EnaSupport", False),
        tpm=record.get("TpmSupport"),
        platform=record.get("PlatformDetails", "Linux/UNIX"),
        created=record.get("CreationDate", ""),
        source_instance=record.get("SourceInstanceId", ""),
        copy_of=(record.get("SourceImageId", ""), record.get("SourceImageRegion", "")),
        state_reason=": ".join(filter(None, [reason.get("Code"), reason.get("Message")])),
        deprecation_time=record.get("DeprecationTime"),
        data_volumes=tuple(
            DataVolume(device, ebs.get("VolumeSize", 0), ebs.get("SnapshotId"))
            for device, ebs in volumes.items()
            if ebs and device != root
        ),
        snapshots=tuple(v["SnapshotId"] for v in volumes.values() if v.get("SnapshotId")),
        encrypted=all(ebs.get("Encrypted", False) for ebs in volumes.values() if ebs),
        imds=record.get("ImdsSupport"),
        tags={tag.get("Key", ""): tag.get("Value", "") for tag in record.get("Tags", [])},
    )


def describe_types(names: Sequence[str]) -> dict[str, InstanceTypeInfo]:
    """The types of ``names`` that exist in this Region, by name."""
    with translated("ec2:DescribeInstanceTypes", ", ".join(names)):
        # A filter, unlike InstanceTypes=, answers for the known ones when one is unknown.
        pages = (
            clients.ec2()
            .get_paginator("describe_instance_types")
            .paginate(Filters=[{"Name": "instance-type", "Values": list(names)}])
        )
        return {
            record["InstanceType"]: InstanceTypeInfo(
                name=record["InstanceType"],
                architectures=tuple(record["ProcessorInfo"].get("SupportedArchitectures", [])),
                virtualizations=tuple(record.get("SupportedVirtualizationTypes", [])),
                boot_modes=tuple(record.get("SupportedBootModes", [])),
                root_device_types=tuple(record.get("SupportedRootDeviceTypes", [])),
                ena=record["NetworkInfo"].get("EnaSupport", "unsupported"),
                tpm=record.get("NitroTpmSupport") == "supported",
                vcpus=record["VCpuInfo"].get("DefaultVCpus", 0),
                memory_mib=record["MemoryInfo"].get("SizeInMiB", 0),
                instance_stores=sum(
                    disk.get("Count", 0)
                    for disk in record.get("InstanceStorageInfo", {}).get("Disks", [])
                ),
            )
            for page in pages
            for record in page["InstanceTypes"]
        }


def subnets(ids: Sequence[str]) -> list[Subnet]:
    """The subnets of ``ids`` that exist, in that order; without ids, those of the default VPC."""
    # A filter, unlike SubnetIds=, answers for the known ones when one is unknown.
    by_id = {"Name": "subnet-id", "Values": list(ids)}
    request: dict[str, Any] = {
        "Filters": [by_id if ids else {"Name": "default-for-az", "Values": ["true"]}]
    }
    with translated("ec2:DescribeSubnets", ", ".join(ids)):
        found = {
            record["SubnetId"]: Subnet(
                record["SubnetId"],
                record["AvailabilityZone"],
                record.get("MapPublicIpOnLaunch", False),
            )
            for record in clients.ec2().describe_subnets(**request)["Subnets"]
        }
    in_order = ids or sorted(found, key=lambda key: found[key].zone)
    return [found[id_] for id_ in in_order if id_ in found]


def enabled_regions() -> set[str]:
    """The Regions that are enabled for the account."""
    with translated("ec2:DescribeRegions"):
        # Those that must be opted into and are not, are left out.
        return {it["RegionName"] for it in clients.ec2().describe_regions()["Regions"]}


def launch(spec: LaunchSpec) -> str:
    """Launch one instance and return its id; the same client token returns the same instance.

    Raises NoRoomError when the zone has no room for the type, NoSpotError when there is none as
    spot at all, BuilderLostError when the token's instance has ended meanwhile, another BakeryError
    otherwise.
    """
    with translated("ec2:RunInstances", f"{spec.instance_type} in {spec.subnet.id}"):
        try:
            answer = clients.ec2_one_try().run_instances(**_launch_request(spec))
        except ClientError as error:
            code, message = code_of(error), error.response["Error"].get("Message", "")
            if spec.spot and code in _NO_SPOT:
                raise NoSpotError(f"{code}: {message}") from error
            if code in _NO_ROOM:
                raise NoRoomError(f"{code}: {message}") from error
            if code == "IdempotentInstanceTerminated":
                raise BuilderLostError(
                    "The builder ended before its launch was answered. Start the bake again."
                ) from error
            if "IAM Instance Profile" in message:
                # Right after a deployment it takes a while to reach EC2.
                raise NotYetVisibleError(f"EC2 does not know the profile: {message}") from error
            raise
    return answer["Instances"][0]["InstanceId"]


def _launch_request(spec: LaunchSpec) -> dict[str, Any]:
    kinds = ("instance", "volume", "network-interface")
    return {
        "ImageId": spec.image_id,
        "InstanceType": spec.instance_type,
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": spec.client_token,
        "IamInstanceProfile": {"Arn": spec.instance_profile},
        # With "terminate", a shutdown from inside would destroy the work. It says nothing about an
        # interruption of a spot instance, which has a behaviour of its own.
        "InstanceInitiatedShutdownBehavior": "stop",
        "MetadataOptions": {
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1,
            "HttpEndpoint": "enabled",
        },
        "NetworkInterfaces": [
            {
                "DeviceIndex": 0,
                "SubnetId": spec.subnet.id,
                "Groups": [spec.security_group],
                "AssociatePublicIpAddress": spec.subnet.public,
                "DeleteOnTermination": True,
            }
        ],
        "BlockDeviceMappings": _mappings(spec),
        "TagSpecifications": _tag_specifications(
            (*kinds, "spot-instances-request") if spec.spot else kinds, spec.tags
        ),
        **({"InstanceMarketOptions": _spot_market(spec)} if spec.spot else {}),
        **({"UserData": spec.user_data} if spec.user_data else {}),
    }


def _spot_market(spec: LaunchSpec) -> dict[str, Any]:
    """An instance of a one-time request cannot be stopped, and what cannot be is not imaged. A
    persistent one launches instances until it is cancelled: it ends by itself, should nobody be
    left who cancels it. No MaxPrice: AWS advises against one.
    Source: EC2 API reference, SpotMarketOptions.
    """
    options = {
        "SpotInstanceType": "persistent",
        "InstanceInterruptionBehavior": "stop",
        "ValidUntil": spec.spot_until,
    }
    return {"MarketType": "spot", "SpotOptions": options}


def _mappings(spec: LaunchSpec) -> list[dict[str, Any]]:
    """Every volume of the base image, encrypted and gone with the builder, whatever it says."""
    root = spec.root_volume
    ours: dict[str, Any] = {"Encrypted": True, "DeleteOnTermination": True}
    if root.kms_key:
        ours["KmsKeyId"] = root.kms_key
    speed = {"VolumeType": "gp3", "Iops": root.iops, "Throughput": root.throughput}
    mappings = [{"DeviceName": root.device, "Ebs": {"VolumeSize": root.size_gib, **speed, **ours}}]
    for volume in spec.data_volumes:
        content = {"SnapshotId": volume.snapshot} if volume.snapshot else {}
        ebs = {"VolumeSize": volume.size_gib, "VolumeType": "gp3", **content, **ours}
        mappings.append({"DeviceName": volume.device, "Ebs": ebs})
    return mappings


def _tag_specifications(
    kinds: Iterable[str], tags: Mapping[str, str]
) -> "list[TagSpecificationTypeDef]":
    pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
    return [{"ResourceType": kind, "Tags": pairs} for kind in kinds]  # type: ignore[typeddict-item]


def builders_of_bake(bake: str) -> list[Instance]:
    """Builders of the bake that are not gone."""
    return [it for it in instances_of_bake(bake) if not it.test]


def test_instances_of_bake(bake: str) -> list[Instance]:
    """Test instances of the bake that are not gone."""
    return [it for it in instances_of_bake(bake) if it.test]


def instances_of_bake(bake: str) -> list[Instance]:
    """Builders and test instances of the bake that are not gone."""
    with translated("ec2:DescribeInstances", f"of bake {bake}"):
        return _live([{"Name": f"tag:{TAG_BAKE}", "Values": [bake]}])


def live_instances_of_bake(bake: str) -> list[str]:
    """Ids of all instances of the bake that are not gone.

    Those included that a spot request of the bake launched by itself after its first instance had
    ended: such have no tags.
    """
    found = [it.id for it in instances_of_bake(bake)]
    named = {request.instance_id for request in spot_requests_of_bake(bake)} - {"", *found}
    if not named:
        return found
    with translated("ec2:DescribeInstances", f"of the spot requests of bake {bake}"):
        # A filter, unlike InstanceIds=, answers for the known ones when one is unknown.
        others = _live([{"Name": "instance-id", "Values": sorted(named)}])
    return [*found, *(it.id for it in others)]


def _live(filters: "Sequence[FilterTypeDef]") -> list[Instance]:
    live = {"Name": "instance-state-name", "Values": list(LIVE_STATES)}
    return _instances({"Filters": [*filters, live]})


def find_instance(instance_id: str) -> Instance | None:
    """The instance, or None while EC2 does not show it (just launched, or long gone)."""
    with translated("ec2:DescribeInstances", instance_id):
        try:
            found = _instances({"InstanceIds": [instance_id]})
        except ClientError as error:
            if code_of(error) == "InvalidInstanceID.NotFound":
                return None
            raise
    return found[0] if found else None


def _instances(request: dict[str, Any]) -> list[Instance]:
    pages = clients.ec2().get_paginator("describe_instances").paginate(**request)
    return [
        _instance(record)
        for page in pages
        for reservation in page["Reservations"]
        for record in reservation.get("Instances", [])
    ]


def _instance(record: "InstanceTypeDef") -> Instance:
    tags = {tag.get("Key"): tag.get("Value", "") for tag in record.get("Tags", [])}
    return Instance(
        id=record["InstanceId"],
        state=record["State"].get("Name", "pending"),
        instance_type=record.get("InstanceType", ""),
        reason_code=record.get("StateReason", {}).get("Code", ""),
        reason=record.get("StateReason", {}).get("Message", ""),
        spot=record.get("InstanceLifecycle") == "spot",
        attempt=_attempt(tags.get(TAG_ATTEMPT, "")),
        test=tags.get(TAG_TEST, ""),
        launched=record.get("LaunchTime"),
        profile=record.get("IamInstanceProfile", {}).get("Arn", ""),
        image_id=record.get("ImageId", ""),
    )


def _attempt(text: str) -> int:
    """The number in a tag, which a hand may have spoilt, or put where it does not belong."""
    return int(text) if _NUMBER.fullmatch(text) else 1


def find_host(instance_id: str) -> Host | None:
    """A running instance that is to be imaged, with its volumes; None if EC2 does not show it.

    What KMS and Systems Manager say of it is left open.
    """
    # A filter, unlike InstanceIds=, is no error for an id that is of nobody.
    wanted = {"Filters": [{"Name": "instance-id", "Values": [instance_id]}]}
    with translated("ec2:DescribeInstances", instance_id):
        groups = clients.ec2().describe_instances(**wanted)["Reservations"]  # type: ignore[arg-type]
    found = [it for group in groups for it in group.get("Instances", [])]
    if not found:
        return None
    with translated("ec2:DescribeVolumes", f"of {instance_id}"):
        volumes = clients.ec2().describe_volumes(
            Filters=[{"Name": "attachment.instance-id", "Values": [instance_id]}]
        )["Volumes"]
    return host_of(found[0], volumes)


def spot_requests_of_bake(bake: str) -> list[SpotRequest]:
    """Spot requests of the bake, those included that have ended: EC2 shows them for four hours."""
    # Not by state: "disabled", that of a stopped instance, is no value of EC2's filter.
    filters: Sequence[FilterTypeDef] = [{"Name": f"tag:{TAG_BAKE}", "Values": [bake]}]
    with translated("ec2:DescribeSpotInstanceRequests", f"of bake {bake}"):
        pages = (
            clients.ec2().get_paginator("describe_spot_instance_requests").paginate(Filters=filters)
        )
        return [
            SpotRequest(
                id=record.get("SpotInstanceRequestId", ""),
                state=record.get("State", "open"),
                instance_id=record.get("InstanceId", ""),
            )
            for page in pages
            for record in page["SpotInstanceRequests"]
        ]


def cancel_spot_request(request_id: str) -> None:
    """Cancel the request, so that it launches nothing any more; harmless when it is gone.

    It ends an instance of the request that is stopped, and leaves one that runs.
    """
    with translated("ec2:CancelSpotInstanceRequests", request_id):
        try:
            clients.ec2().cancel_spot_instance_requests(SpotInstanceRequestIds=[request_id])
        except ClientError as error:
            if not is_gone(error, lambda: _spot_request(request_id)):
                raise


def _spot_request(request_id: str) -> "Sequence[SpotInstanceRequestTypeDef]":
    return clients.ec2().describe_spot_instance_requests(SpotInstanceRequestIds=[request_id])[
        "SpotInstanceRequests"
    ]


# It is stopped, or on its way there: by somebody else, or because spot is just taking it back.
_NOT_TO_BE_STOPPED = {
    "IncorrectInstanceState",
    "IncorrectSpotRequestState",
}


def stop(instance_id: str) -> None:
    """Ask for a clean shutdown; harmless when the instance stops, is stopped or has ended.

    Never with Force or SkipOsShutdown: both risk a dirty file system in the image.
    """
    with translated("ec2:StopInstances", instance_id):
        try:
            clients.ec2().stop_instances(InstanceIds=[instance_id])
        except ClientError as error:
            stopped = code_of(error) in _NOT_TO_BE_STOPPED
            if not stopped and not is_gone(error, lambda: _unless_ended(instance_id)):
                raise


def terminate(instance_id: str) -> None:
    """End the instance; harmless when it is gone already."""
    with translated("ec2:TerminateInstances", instance_id):
        try:
            clients.ec2().terminate_instances(InstanceIds=[instance_id])
        except ClientError as error:
            if not is_gone(error, lambda: _unless_ended(instance_id)):
                raise


def _unless_ended(instance_id: str) -> list[str]:
    """The instance, unless it has ended: EC2 shows it for an hour, with its tags or without."""
    answer = clients.ec2().describe_instances(InstanceIds=[instance_id])
    found = [it for group in answer["Reservations"] for it in group["Instances"]]
    return [it["InstanceId"] for it in found if it["State"]["Name"] in LIVE_STATES]


class NameTakenError(Exception):
    """An image of this account already has the name."""


def create_image(
    instance_id: str,
    *,
    name: str,
    description: str,
    tags: Mapping[str, str],
    without: Sequence[str] = (),
    reboot: bool | None = None,
) -> str:
    """Image an instance; image and snapshots carry ``tags`` from the call on.

    Its volumes at the devices ``without`` are left out. ``reboot`` says whether EC2 restarts a
    running instance for it; None for one that is stopped, where that is no matter. CreateImage has
    no client token; the unique name is what keeps a repeated call from making a second image.
    Raises NameTakenError then.
    """
    more: dict[str, Any] = {} if reboot is None else {"NoReboot": not reboot}
    if without:
        more["BlockDeviceMappings"] = [{"DeviceName": it, "NoDevice": ""} for it in without]
    with translated("ec2:CreateImage", instance_id):
        try:
            # One try: the SDK's own retry after a lost answer would only find its own name taken.
            return clients.ec2_one_try().create_image(
                InstanceId=instance_id,
                Name=name,
                Description=description,
                TagSpecifications=_tag_specifications(("image", "snapshot"), tags),
                **more,
            )["ImageId"]
        except ClientError as error:
            if code_of(error) == "InvalidAMIName.Duplicate":
                raise NameTakenError(name) from error
            raise


def copy_image(
    source: str,
    source_region: str,
    *,
    region: str,
    name: str,
    description: str,
    tags: Mapping[str, str],
    kms_key: str | None,
    client_token: str,
) -> str:
    """Begin a copy in ``region``, encrypted; the same client token returns the same copy.

    Image and snapshots carry ``tags`` from the call on. Without a key, the account's default for
    EBS in that Region encrypts it. Raises CopyLimitError while too many copies are under way there.
    """
    key: dict[str, Any] = {"KmsKeyId": kms_key} if kms_key else {}
    with translated("ec2:CopyImage", _in(region, source)):
        try:
            return clients.ec2(region).copy_image(
                SourceImageId=source,
                SourceRegion=source_region,
                Name=name,
                Description=description,
                ClientToken=client_token,
                Encrypted=True,
                TagSpecifications=_tag_specifications(("image", "snapshot"), tags),
                **key,
            )["ImageId"]
        except ClientError as error:
            if code_of(error) == "ResourceLimitExceeded":
                raise CopyLimitError(f"{region} takes no more copies now: {error}") from error
            raise


def require_imdsv2(image_id: str, *, region: str | None = None) -> None:
    """Have every instance of the image ask for version 2 of the metadata service; safe to repeat.

    Source: EC2 user guide, "Configure the AMI" (of instance metadata options). It cannot be undone.
    """
    with translated("ec2:ModifyImageAttribute", _in(region, image_id)):
        clients.ec2(region).modify_image_attribute(
            ImageId=image_id, Attribute="imdsSupport", ImdsSupport={"Value": "v2.0"}
        )


def deprecate_image(image_id: str, at: datetime, *, region: str | None = None) -> None:
    """Have EC2 call the image deprecated from a moment on, at most ten years ahead."""
    with translated("ec2:EnableImageDeprecation", _in(region, image_id)):
        clients.ec2(region).enable_image_deprecation(ImageId=image_id, DeprecateAt=at)


def share_image(
    image: Image,
    *,
    accounts: Sequence[str],
    organizations: Sequence[str],
    region: str | None = None,
) -> None:
    """Let others launch the image, and read its snapshots, which accounts need to copy it.

    Snapshots can be shared with accounts only. Safe to repeat. Source: EC2 API reference,
    ModifyImageAttribute and ModifySnapshotAttribute.
    """
    units = [it for it in organizations if ":ou/" in it]
    grants = [
        *({"UserId": it} for it in accounts),
        *({"OrganizationArn": it} for it in organizations if it not in units),
        *({"OrganizationalUnitArn": it} for it in units),
    ]
    if not grants:
        return
    with translated("ec2:ModifyImageAttribute", _in(region, image.id)):
        clients.ec2(region).modify_image_attribute(
            ImageId=image.id,
            Attribute="launchPermission",
            LaunchPermission={"Add": grants},  # type: ignore[typeddict-item]
        )
    if not accounts:
        return
    for snapshot in image.snapshots:
        for first in range(0, len(accounts), _READERS_PER_CALL):
            with translated("ec2:ModifySnapshotAttribute", _in(region, snapshot)):
                clients.ec2(region).modify_snapshot_attribute(
                    SnapshotId=snapshot,
                    Attribute="createVolumePermission",
                    OperationType="add",
                    UserIds=list(accounts[first : first + _READERS_PER_CALL]),
                )


def is_shared(image_id: str, *, region: str | None = None) -> bool:
    """Whether anybody but this account may launch the image."""
    with translated("ec2:DescribeImageAttribute", _in(region, image_id)):
        found = clients.ec2(region).describe_image_attribute(
            ImageId=image_id, Attribute="launchPermission"
        )
    return bool(found.get("LaunchPermissions"))


def unshare_image(image: Image, *, region: str | None = None) -> None:
    """Take back what ``share_image`` gave, the image last: by that ``is_shared`` tells."""
    for snapshot in image.snapshots:
        with translated("ec2:ResetSnapshotAttribute", _in(region, snapshot)):
            clients.ec2(region).reset_snapshot_attribute(
                SnapshotId=snapshot, Attribute="createVolumePermission"
            )
    with translated("ec2:ResetImageAttribute", _in(region, image.id)):
        clients.ec2(region).reset_image_attribute(ImageId=image.id, Attribute="launchPermission")


def delete_image(image_id: str, snapshots: Iterable[str], *, region: str | None = None) -> bool:
    """Deregister the image and delete its snapshots; harmless when they are gone.

    A copy that is still pending is cancelled by that. Returns whether the image was there.
    """
    was_there = True
    with translated("ec2:DeregisterImage", _in(region, image_id)):
        try:
            clients.ec2(region).deregister_image(ImageId=image_id)
        except ClientError as error:
            if not is_gone(error, lambda: own_image(image_id, region)):
                raise
            was_there = False
    for snapshot in snapshots:
        delete_snapshot(snapshot, region=region)
    return was_there


def delete_snapshot(snapshot_id: str, *, region: str | None = None) -> None:
    """Delete the snapshot; harmless when it is gone.

    Raises NotYetVisibleError while EC2 still sees it in use, e.g. by an image that was just
    deregistered.
    """
    with translated("ec2:DeleteSnapshot", _in(region, snapshot_id)):
        try:
            clients.ec2(region).delete_snapshot(SnapshotId=snapshot_id)
        except ClientError as error:
            if code_of(error) == "InvalidSnapshot.InUse":
                raise NotYetVisibleError(f"{snapshot_id} still counts as in use") from error
            if not is_gone(error, lambda: _own_snapshot(snapshot_id, region)):
                raise


def own_image(image_id: str, region: str | None) -> "Sequence[ImageTypeDef]":
    """The image as EC2 has it, disabled or not, if there is one and this account owns it."""
    return clients.ec2(region).describe_images(
        ImageIds=[image_id], Owners=["self"], IncludeDisabled=True
    )["Images"]


def _own_snapshot(snapshot_id: str, region: str | None) -> "Sequence[SnapshotTypeDef]":
    return clients.ec2(region).describe_snapshots(SnapshotIds=[snapshot_id], OwnerIds=["self"])[
        "Snapshots"
    ]


def snapshots_of_bake(bake: str, *, region: str | None = None) -> list[str]:
    """Snapshots of this account that the bake made; without those of the clone of a host."""
    return [id_ for id_, of_clone in _snapshots_of_bake(bake, region) if not of_clone]


def clone_snapshots_of_bake(bake: str) -> list[str]:
    """Snapshots of the clone of a host that the bake begins with."""
    return [id_ for id_, of_clone in _snapshots_of_bake(bake, None) if of_clone]


def _snapshots_of_bake(bake: str, region: str | None) -> list[tuple[str, bool]]:
    """Id, and whether it is of a clone."""
    filters: Sequence[FilterTypeDef] = [{"Name": f"tag:{TAG_BAKE}", "Values": [bake]}]
    with translated("ec2:DescribeSnapshots", _in(region, f"of bake {bake}")):
        pages = (
            clients.ec2(region)
            .get_paginator("describe_snapshots")
            .paginate(OwnerIds=["self"], Filters=filters)
        )
        return [
            (record["SnapshotId"], any(it.get("Key") == TAG_CLONE_OF for it in record["Tags"]))
            for page in pages
            for record in page["Snapshots"]
        ]


def loose_volumes_of_bake(bake: str) -> list[str]:
    """Volumes of the bake that no instance holds."""
    filters: Sequence[FilterTypeDef] = [
        {"Name": f"tag:{TAG_BAKE}", "Values": [bake]},
        {"Name": "status", "Values": ["available"]},
    ]
    with translated("ec2:DescribeVolumes", f"of bake {bake}"):
        pages = clients.ec2().get_paginator("describe_volumes").paginate(Filters=filters)
        return [record["VolumeId"] for page in pages for record in page["Volumes"]]


def delete_volume(volume_id: str) -> None:
    """Delete the volume; harmless when it is gone."""
    with translated("ec2:DeleteVolume", volume_id):
        try:
            clients.ec2().delete_volume(VolumeId=volume_id)
        except ClientError as error:
            if not is_gone(error, lambda: _volume(volume_id)):
                raise


def _volume(volume_id: str) -> "Sequence[VolumeTypeDef]":
    return clients.ec2().describe_volumes(VolumeIds=[volume_id])["Volumes"]
