"""What EC2 refuses at RunInstances: images, instance types and volumes that do not go together."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from scripts.local.errors import AwsError

if TYPE_CHECKING:
    from scripts.local.records import Record


@lru_cache(maxsize=1)
def instance_types() -> dict[str, Record]:
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    return dict(INSTANCE_TYPES)


def instance_type(name: str) -> Record:
    found = instance_types().get(name)
    if found is None:
        raise AwsError("InvalidParameterValue", f"Invalid value '{name}' for InstanceType.")
    return found


@lru_cache(maxsize=32)
def offered(region: str) -> frozenset[tuple[str, str]]:
    """(instance type, zone) pairs that a Region offers."""
    from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS

    zones = INSTANCE_TYPE_OFFERINGS["availability-zone"].get(region, [])
    return frozenset((o["InstanceType"], o["Location"]) for o in zones)


def check_offering(region: str, type_name: str, zone: str) -> None:
    known = offered(region)
    if known and (type_name, zone) not in known:
        message = (
            f"Your requested instance type ({type_name}) is not supported in your requested "
            f"Availability Zone ({zone}). Please retry your request by not specifying an "
            "Availability Zone."
        )
        raise AwsError("Unsupported", message)


def check_launchable(image: Record) -> None:
    state = image["State"]
    if state != "available":
        if state in ("pending", "failed", "disabled", "invalid", "error"):
            message = f"The image ID '{image['ImageId']}' is not available: it is {state}"
            raise AwsError("InvalidAMIID.Unavailable", message)
        raise AwsError(
            "InvalidAMIID.NotFound", f"The image id '[{image['ImageId']}]' does not exist"
        )


def check_pair(image: Record, type_: Record) -> None:
    """Architecture, virtualization, boot mode, ENA, root device and TPM, in EC2's words."""
    name = type_["InstanceType"]
    architecture = image.get("Architecture", "x86_64")
    if architecture not in type_["ProcessorInfo"]["SupportedArchitectures"]:
        supported = ", ".join(type_["ProcessorInfo"]["SupportedArchitectures"])
        message = (
            f"The architecture '{supported}' of the specified instance type does not match the "
            "architecture "
            f"'{architecture}' of the specified AMI. Specify an instance type and an AMI that "
            "have matching "
            "architectures, and try again. You can use 'describe-instance-types' or "
            "'describe-images' to "
            "discover the architecture of the instance type or AMI."
        )
        raise AwsError("InvalidParameterValue", message)
    if image.get("VirtualizationType", "hvm") not in type_["SupportedVirtualizationTypes"]:
        kind = "Non-Windows" if image.get("Platform") != "windows" else "Windows"
        message = (
            f"{kind} instances with a virtualization type of '{image.get('VirtualizationType')}' "
            "are currently "
            f"not supported for this instance type : {name}"
        )
        raise AwsError("InvalidParameterCombination", message)
    _check_boot(image, type_)
    if type_["NetworkInfo"].get("EnaSupport") == "required" and not image.get("EnaSupport"):
        message = (
            "Enhanced networking with the Elastic Network Adapter (ENA) is required for the "
            f"'{name}' instance type. Ensure that you are using an AMI that is enabled for ENA."
        )
        raise AwsError("InvalidParameterCombination", message)
    if image.get("RootDeviceType") not in type_["SupportedRootDeviceTypes"]:
        message = (
            f"The instance type '{name}' does not support an AMI with a root device type of "
            f"'{image.get('RootDeviceType')}'."
        )
        raise AwsError("InvalidParameterCombination", message)


def _check_boot(image: Record, type_: Record) -> None:
    mode = image.get("BootMode")
    supported = type_.get("SupportedBootModes", ["legacy-bios"])
    if mode in ("uefi", "legacy-bios") and mode not in supported:
        message = (
            f"The boot mode {mode} of the AMI is not supported by the instance type "
            f"'{type_['InstanceType']}' (supported: {', '.join(supported)})."
        )
        raise AwsError("InvalidParameterCombination", message)
    if image.get("TpmSupport") and type_.get("NitroTpmSupport") != "supported":
        message = f"NitroTPM is not supported by the instance type '{type_['InstanceType']}'."
        raise AwsError("InvalidParameterCombination", message)


def check_volume(device: str, ebs: dict[str, Any], snapshot_size: int | None) -> None:
    kind, size = ebs["VolumeType"], int(ebs["VolumeSize"])
    if snapshot_size and size < snapshot_size:
        message = (
            f"Volume of size {size}GB is smaller than snapshot '{ebs.get('SnapshotId')}', expect "
            f"size >= {snapshot_size}GB"
        )
        raise AwsError("InvalidBlockDeviceMapping", message)
    iops, throughput = ebs.get("Iops"), ebs.get("Throughput")
    if iops and kind not in ("gp3", "io1", "io2"):
        raise AwsError(
            "InvalidParameterCombination",
            f"The parameter iops is not supported for {kind} volumes.",
        )
    if throughput and kind != "gp3":
        raise AwsError(
            "InvalidParameterCombination",
            f"The parameter throughput is not supported for {kind} volumes.",
        )
    if ebs.get("KmsKeyId") and not ebs.get("Encrypted"):
        raise AwsError(
            "InvalidParameterDependency",
            "The parameter KmsKeyId requires the parameter Encrypted to be set.",
        )
    if kind == "gp3":
        _check_gp3(device, size, int(iops or 3000), int(throughput or 125))


def _check_gp3(device: str, size: int, iops: int, throughput: int) -> None:
    if not 3000 <= iops <= 80000:
        raise AwsError(
            "InvalidParameterValue",
            f"Volume iops of {iops} for {device} is not between 3000 and 80000.",
        )
    if iops > 3000 and iops > 500 * size:
        message = f"Iops to volume size ratio of {iops / size:.6f} is too high; maximum is 500"
        raise AwsError("InvalidParameterValue", message)
    if not 125 <= throughput <= 2000:
        message = f"Throughput (MiBps) to {device} of {throughput} is not between 125 and 2000."
        raise AwsError("InvalidParameterValue", message)
    if throughput > 125 and throughput > iops / 4:
        message = (
            f"Throughput (MiBps) to iops ratio of {throughput / iops:.6f} is too high; maximum is "
            "0.250000"
        )
        raise AwsError("InvalidParameterValue", message)
