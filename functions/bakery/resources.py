"""AWS's resources as the bakery sees them: plain values without behaviour."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class DataVolume:
    """A volume beside the root that an image brings: from a snapshot, or empty."""

    device: str
    size_gib: int
    snapshot: str | None = None


@dataclass(frozen=True)
class Image:
    """What an image record says that matters to a bake."""

    id: str
    name: str
    owner: str
    state: str
    architecture: str
    virtualization: str
    root_device_type: str
    root_device_name: str
    root_size_gib: int
    boot_mode: str | None
    ena: bool
    tpm: str | None
    platform: str
    created: str
    owner_alias: str = ""
    """``amazon`` for AWS's own, else mostly empty."""
    state_reason: str = ""
    deprecation_time: str | None = None
    source_instance: str = ""
    """The instance that it was made from, where it was made by CreateImage."""
    copy_of: tuple[str, str] = ("", "")
    """The image that it is a copy of, and the Region of that."""
    snapshots: tuple[str, ...] = ()
    data_volumes: tuple[DataVolume, ...] = ()
    encrypted: bool = False
    """Whether all of its snapshots are."""
    imds: str | None = None
    """``v2.0``: its instances ask for that version of the metadata service."""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_windows(self) -> bool:
        return "windows" in self.platform.lower()


@dataclass(frozen=True)
class InstanceTypeInfo:
    """What an instance type can run. Source: DescribeInstanceTypes."""

    name: str
    architectures: tuple[str, ...]
    virtualizations: tuple[str, ...]
    boot_modes: tuple[str, ...]
    root_device_types: tuple[str, ...]
    ena: str
    tpm: bool
    vcpus: int
    memory_mib: int
    instance_stores: int = 0
    """How many volumes of the instance store it comes with; older types have them only if their
    launch asked for them."""


@dataclass(frozen=True)
class Subnet:
    id: str
    zone: str
    public: bool


@dataclass(frozen=True)
class Instance:
    """A builder or test instance as EC2 sees it; ``reason`` is its state reason's message."""

    id: str
    state: str
    instance_type: str
    reason_code: str = ""
    reason: str = ""
    spot: bool = False
    attempt: int = 1
    """Of the bake's builders, which one it is."""
    test: str = ""
    """Of the bake's test instances, which one it is; empty: a builder."""
    launched: datetime | None = None
    """When it was last started; a reboot does not count."""
    profile: str = ""
    """ARN of its instance profile."""
    image_id: str = ""

    @property
    def market(self) -> str:
        return market(spot=self.spot)


def market(*, spot: bool) -> str:
    """What a market is called where people read it."""
    return "spot" if spot else "on-demand"


@dataclass(frozen=True)
class HostVolume:
    """An EBS volume that a host has; ``kms_key`` is empty where it is not encrypted."""

    device: str
    id: str
    size_gib: int
    kms_key: str = ""
    key_state: str = "Enabled"
    """What KMS says of that key; ``unknown`` or ``denied`` if it says nothing."""


@dataclass(frozen=True)
class Host:
    """A running instance that is to be cloned, as EC2 and Systems Manager describe it."""

    id: str
    name: str
    state: str
    instance_type: str
    architecture: str
    virtualization: str
    root_device_type: str
    root_device: str
    boot_mode: str | None
    ena: bool
    tpm: str | None
    platform: str
    image_id: str
    launched: str
    volumes: tuple[HostVolume, ...] = ()
    instance_stores: int = 0
    """How many volumes of the instance store its type comes with, or brings if the image asks."""
    product_codes: tuple[str, ...] = ()
    group: str = ""
    """The Auto Scaling group that it is in."""
    bake: str = ""
    """The bake that it belongs to, if it is one of ours."""
    managed: bool = True
    """Whether Systems Manager knows it."""


@dataclass(frozen=True)
class SpotRequest:
    """A request of the spot market; ``instance_id`` is the last that it launched."""

    id: str
    state: str
    instance_id: str = ""

    @property
    def stands(self) -> bool:
        """Whether it may still launch an instance. Source: EC2 user guide, "Cancel a Spot Instance
        request"."""
        return self.state in {"open", "active", "disabled"}


@dataclass(frozen=True)
class RootVolumeSpec:
    device: str
    size_gib: int
    iops: int
    throughput: int
    kms_key: str | None


@dataclass(frozen=True)
class LaunchSpec:
    """Everything that one RunInstances call needs."""

    image_id: str
    instance_type: str
    subnet: Subnet
    security_group: str
    instance_profile: str
    root_volume: RootVolumeSpec
    data_volumes: tuple[DataVolume, ...]
    tags: Mapping[str, str]
    client_token: str
    spot: bool = False
    spot_until: datetime | None = None
    """When a request of the spot market ends by itself, at the latest."""
    user_data: str = ""
    """What the instance runs at its first boot; a builder runs nothing."""


@dataclass(frozen=True)
class ManagedInstance:
    """An instance that reports to Systems Manager."""

    ping: str
    agent_version: str
    platform: str
    platform_version: str


@dataclass(frozen=True)
class Document:
    """One version of a document; ``hash`` pins its content in SendCommand."""

    name: str
    version: str
    hash: str
    content: Mapping[str, Any]
    """Empty of a document that Run Command cannot run."""
    type: str = "Command"
    status: str = "Active"
    platforms: tuple[str, ...] = ()
    """Empty: not given."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of Parameter Store; the value of a SecureString is not decrypted."""

    name: str
    type: str
    value: str


# StatusDetails of a command that is not over. Source: SSM user guide, "Monitoring commands".
_UNDER_WAY = {"Pending", "InProgress", "Delayed", "Cancelling"}


@dataclass(frozen=True)
class Invocation:
    """What a command did on the builder; ``status`` is what AWS calls StatusDetails."""

    status: str
    exit_code: int
    stdout: str
    stderr: str

    @property
    def under_way(self) -> bool:
        return self.status in _UNDER_WAY
