"""Whether a running host can be the base of a bake, and what of it is imaged. Pure.

Everything here is known before anything is done to the host: EC2, KMS and Systems Manager are asked
about it, the host itself is not. What only the host knows (mounts, services, free space) is told by
``bakery inspect``.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bakery import naming
from bakery.bake import HostPlan
from bakery.problems import Problem
from bakery.recipe import InstanceBase
from bakery.resources import Host, HostVolume, Image

_PATH = "base.instance"
_IMAGED = {"running", "stopped"}
"""States in which CreateImage takes an instance. Source: EC2 API reference, CreateImage."""


def host_of(record: Mapping[str, Any], volumes: Iterable[Mapping[str, Any]]) -> Host:
    """What DescribeInstances and DescribeVolumes say of a host; the rest is left open."""
    tags = {tag.get("Key"): tag.get("Value", "") for tag in record.get("Tags", [])}
    codes = (it.get("ProductCodeId", "") for it in record.get("ProductCodes", []))
    launched = record.get("LaunchTime")
    return Host(
        id=record["InstanceId"],
        name=tags.get("Name", ""),
        state=record["State"].get("Name", "pending"),
        instance_type=record.get("InstanceType", ""),
        architecture=record.get("Architecture", ""),
        virtualization=record.get("VirtualizationType", ""),
        root_device_type=record.get("RootDeviceType", ""),
        root_device=record.get("RootDeviceName", ""),
        boot_mode=record.get("BootMode"),
        ena=record.get("EnaSupport", False),
        tpm=record.get("TpmSupport"),
        platform=record.get("PlatformDetails", "Linux/UNIX"),
        image_id=record.get("ImageId", ""),
        launched=launched.isoformat() if launched else "",
        volumes=tuple(_volume_of(it, record["InstanceId"]) for it in volumes),
        product_codes=tuple(filter(None, codes)),
        group=tags.get("aws:autoscaling:groupName", ""),
        bake=tags.get(naming.TAG_BAKE, ""),
    )


def _volume_of(volume: Mapping[str, Any], instance_id: str) -> HostVolume:
    devices = (
        it.get("Device", "")
        for it in volume.get("Attachments", [])
        if it.get("InstanceId") == instance_id
    )
    return HostVolume(
        device=next(devices, ""),
        id=volume["VolumeId"],
        size_gib=volume.get("Size", 0),
        kms_key=volume.get("KmsKeyId", "") if volume.get("Encrypted") else "",
    )


def as_image(host: Host, account: str) -> Image:
    """The host as the image that will be made of it, for what the two have in common."""
    return Image(
        id=host.id,
        name=host.name or "without a name",
        owner=account,
        state="available",
        architecture=host.architecture,
        virtualization=host.virtualization,
        root_device_type=host.root_device_type,
        root_device_name=host.root_device,
        root_size_gib=sum(it.size_gib for it in host.volumes if it.device == host.root_device),
        boot_mode=host.boot_mode,
        ena=host.ena,
        tpm=host.tpm,
        platform=host.platform,
        created=host.launched,
    )


def plan(source: InstanceBase, host: Host, *, bake: str, tags: Mapping[str, str]) -> HostPlan:
    """What is to be imaged, and how."""
    left_out = () if source.data_volumes == "include" else _data_volumes(host)
    return HostPlan(
        instance_id=host.id,
        image_name=naming.clone_name(bake),
        leave_out=tuple(it.device for it in left_out),
        reboot=source.quiesce == "reboot" and host.state == "running",
        tags=dict(tags),
    )


def host_problems(source: InstanceBase, host: Host, *, isolated: bool) -> Iterator[Problem]:
    """Why no bake begins with this host, each reason with a way out.

    ``isolated``: whether the deployment has a security group that keeps a clone from acting.
    """
    what = f"instance {host.id} ({host.name})" if host.name else f"instance {host.id}"
    for text in (*_of_the_machine(host), *_of_its_owner(host), *_of_its_disks(source, host)):
        yield Problem(_PATH, f"{what} {text}")
    if not host.managed and source.unmanaged == "refuse":
        yield Problem(
            "base.unmanaged",
            f"{what} does not report to Systems Manager, by which its clone is cleaned; install "
            "the SSM agent on it, and give it a role with AmazonSSMManagedInstanceCore; if the "
            "agent is installed and only lacks such a role, write unmanaged: allow, its clone has "
            "one",
        )
    if not isolated:
        yield Problem(
            _PATH,
            "needs a network for its clone that reaches nothing but Systems Manager, so that its "
            "services and cron jobs cannot act as the original; deploy with the context vpc_id, "
            "subnet_ids and clone_egress",
        )


def _of_the_machine(host: Host) -> Iterator[str]:
    if host.state not in _IMAGED:
        yield f"is {host.state}; EC2 images only what is running or stopped, so wait, or start it"
    if host.architecture not in {"x86_64", "arm64"}:
        yield (
            f"is {host.architecture}, not 64-bit, and no instance type of today runs its image; "
            "install its application on a 64-bit base by a recipe"
        )
    if "windows" in host.platform.lower():
        yield (
            "is Windows, and only Linux hosts are cloned: make an image of it yourself, and name "
            "it as base.ami"
        )


def _of_its_owner(host: Host) -> Iterator[str]:
    if host.group:
        yield (
            f"is in Auto Scaling group {host.group}, which replaces what fails a health check and "
            "launches the like from an image: bake from that one, "
            f"base: {{ami: {host.image_id}}}, or detach the instance first: aws autoscaling "
            f"detach-instances --instance-ids {host.id} --auto-scaling-group-name "
            f"'{host.group}' --should-decrement-desired-capacity"
        )
    if host.product_codes:
        yield (
            f"has product codes of the AWS Marketplace ({', '.join(host.product_codes)}), which "
            "every image of it would have: it could be neither shared nor launched without the "
            "subscription; bake from the publisher's current image, and install the application "
            "by a step"
        )
    if host.bake:
        yield f"is an instance of bake {host.bake} itself; name the host that is to be imaged"


def _of_its_disks(source: InstanceBase, host: Host) -> Iterator[str]:
    if host.root_device_type != "ebs":
        yield (
            f"has an {host.root_device_type} root, which CreateImage cannot image: make an "
            f"EBS-backed image of it, `bakery convert {host.id}` (docs/opsworks.md, 'Instance "
            "store'), and name that as base.ami"
        )
    elif host.instance_stores and source.instance_store == "refuse":
        yield (
            f"is of type {host.instance_type}, which comes with "
            f"{_count(host.instance_stores, 'instance store volume')}, and no image has what is on "
            "such; if nothing that is needed is, and /etc/fstab lets the host boot without them "
            "(nofail), write instance_store: leave_out"
        )
    included = host.volumes if source.data_volumes == "include" else _root(host)
    for volume in included:
        if volume.kms_key and volume.key_state != "Enabled":
            yield (
                f"has volume {volume.id} ({volume.device}), encrypted with {volume.kms_key}, "
                f"{_KEYS.get(volume.key_state, f'which is {volume.key_state}, not Enabled')}"
            )


_KEYS = {
    "unknown": (
        "which KMS does not know here: a volume whose key is deleted cannot be read any more"
    ),
    "denied": (
        "which this account may not look at: have the key's policy let the bakery's roles use it "
        "through EC2 (kms:DescribeKey, kms:Decrypt, kms:ReEncrypt*, kms:CreateGrant)"
    ),
}


def _root(host: Host) -> tuple[HostVolume, ...]:
    return tuple(it for it in host.volumes if it.device == host.root_device)


def _data_volumes(host: Host) -> tuple[HostVolume, ...]:
    return tuple(it for it in host.volumes if it.device != host.root_device)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
