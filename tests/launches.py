"""What every launch by the bakery must ask of EC2: looked at in every test."""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from unittest.mock import patch

from bakery import first_boot
from bakery.naming import TAG_RECIPE
from scripts.local import LocalAws, LocalAwsError, moto_seam
from scripts.local.calls import Call, CallLog

_STACK = "AmiBakery-"
"""What CloudFormation begins the name of each role of the stack with."""
_OTHER_WAYS = {
    *("CreateFleet", "ModifyFleet", "RequestSpotFleet", "ModifySpotFleetRequest"),
    *("RequestSpotInstances", "RunScheduledInstances"),
}
"""EC2's other calls that launch: the rules are about `RunInstances`, so there must be none."""
_LAUNCHERS = {"TasksLaunchBuilder": "builder", "TasksLaunchTest": "test"}
_TAGGED = {"instance", "volume", "network-interface"}
_OPEN = "public"
"""The one recipe of the tests that allows a public address."""

_Shape = Mapping[str, "_Shape | None"]


def _keys(*names: str) -> _Shape:
    return dict.fromkeys(names)


_EBS = (
    *("VolumeSize", "VolumeType", "Iops", "Throughput", "SnapshotId"),
    *("Encrypted", "KmsKeyId", "DeleteOnTermination"),
)
_SHAPE: _Shape = {
    **_keys("ImageId", "InstanceType", "MinCount", "MaxCount", "ClientToken", "UserData"),
    **_keys("InstanceInitiatedShutdownBehavior"),
    "IamInstanceProfile": _keys("Arn"),
    "MetadataOptions": _keys("HttpTokens", "HttpPutResponseHopLimit", "HttpEndpoint"),
    "NetworkInterfaces": _keys(
        *("DeviceIndex", "SubnetId", "Groups", "AssociatePublicIpAddress", "DeleteOnTermination")
    ),
    "BlockDeviceMappings": {"DeviceName": None, "Ebs": _keys(*_EBS)},
    "TagSpecifications": {"ResourceType": None, "Tags": _keys("Key", "Value")},
    "InstanceMarketOptions": {
        "MarketType": None,
        "SpotOptions": _keys("SpotInstanceType", "InstanceInterruptionBehavior", "ValidUntil"),
    },
}
"""All that a request may have, in lists too. Whatever else RunInstances knows, today or later, is a
way around a rule until somebody has thought about it: a launch template, an IPv6 address."""


@dataclass(frozen=True)
class Here:
    """What the account has of what a request names."""

    root: str
    """The device of the image's root; empty if there is no such image, so that nothing starts."""
    public: bool
    """Whether the subnet gives each instance an address."""
    groups: frozenset[str]
    """The stack's security groups, by id."""
    profiles: frozenset[str]
    """The stack's instance profiles, by name."""

    @classmethod
    def of(cls, call: Call) -> "Here":
        """As it is in the local AWS of this process."""
        aws = LocalAws.current()
        if aws is None:
            raise LocalAwsError("no local AWS in this process")
        image = aws.ec2.state.region(call.region).images.get(call.get("ImageId"), {})
        interfaces = call.get("NetworkInterfaces") or [{}]
        return cls(
            root=image.get("RootDeviceName", ""),
            public=_gives_addresses(call.region, interfaces[0].get("SubnetId")),
            groups=_made(aws, "AWS::EC2::SecurityGroup"),
            profiles=_made(aws, "AWS::IAM::InstanceProfile"),
        )


def _gives_addresses(region: str, id_: str | None) -> bool:
    zones = moto_seam.backend("ec2", region).subnets.values()
    found = [subnets[id_] for subnets in zones if id_ in subnets]
    return any(str(it.map_public_ip_on_launch).lower() == "true" for it in found)


def _made(aws: LocalAws, type_: str) -> frozenset[str]:
    return frozenset(
        made.id
        for stack in list(aws.cloudformation.stacks.values())
        for logical, made in list(stack.made.items())
        if stack.types.get(logical) == type_
    )


def ours(call: Call) -> bool:
    """Whether it is a launch by some role of the stack.

    What the operator launches, or a service or a role that a test has made, is no part of the
    bakery.
    """
    launches = call.operation == "RunInstances" or call.operation in _OTHER_WAYS
    return launches and call.principal.role.startswith(_STACK)


def flaws(call: Call, here: Here | None = None) -> list[str]:
    """Which rules a launch of ours breaks; nothing of other calls.

    The rules are those of docs/security.md. ``here``: by default as it is in the local AWS.
    Raises nothing: the gateway would answer by a failure after the launch, and a bake may get over
    that. So what cannot be judged is a flaw.
    """
    if not ours(call):
        return []
    role = call.principal.role
    try:
        found = list(_broken(call, here))
    except Exception as error:
        found = [f"cannot be judged: {error!r}"]
    return [f"{role}: {it}: {call.parameters}" for it in found]


@contextmanager
def watched(tell: Callable[[list[str]], object]) -> Iterator[None]:
    """Meanwhile each launch of ours is looked at, in whatever local AWS of this process, and its
    flaws are told: an empty list of a sound one."""
    add = CallLog.add

    def look_and_add(log: CallLog, call: Call) -> None:
        if ours(call):
            tell(flaws(call))
        add(log, call)

    with patch.object(CallLog, "add", look_and_add):
        yield


@contextmanager
def watched_to_the_end(found: list[str]) -> Iterator[None]:
    """As `watched`, into a list of which each test takes what it finds; fails if something is left
    at the end, as of a bake that went on after the last test."""
    with watched(found.extend):
        yield
    assert found == []


def _broken(call: Call, here: Here | None) -> Iterator[str]:
    named = re.search(r"Tasks[A-Za-z]*?(?=Role)", call.principal.role)
    kind = _LAUNCHERS.get(named[0]) if named else None
    if kind is None:
        yield "launches an instance"
        return
    if call.operation in _OTHER_WAYS:
        yield f"launches by {call.operation}, which is not looked at"
        return
    asked, here = call.parameters, here or Here.of(call)
    rules = _rules(asked, kind, here) | _network_rules(asked, here) | _disk_rules(asked, here)
    yield from (rule for rule, held in rules.items() if not held)
    yield from (f"asks for what no launch of ours has: {it}" for it in _strange(asked, _SHAPE))


def _strange(asked: Any, shape: _Shape, path: str = "") -> Iterator[str]:
    """What a request has and its shape has not."""
    if isinstance(asked, list):
        for it in asked:
            yield from _strange(it, shape, path)
        return
    for key, value in asked.items():
        if key not in shape:
            yield f"{path}{key}"
        elif inner := shape[key]:
            yield from _strange(value, inner, f"{path}{key}.")


def _marks_or_has_none(encoded: str | None, kind: str) -> bool:
    """A test instance of a Windows image writes down its bake and a moment, and nothing else."""
    if encoded is None or kind != "test":
        return encoded is None
    text = base64.b64decode(encoded).decode()
    mark = re.search(r"'(\S+) ([0-9TZ:-]+)'", text)
    return mark is not None and text == first_boot.user_data(
        mark[1], datetime.fromisoformat(mark[2])
    )


def _rules(asked: dict[str, Any], kind: str, here: Here) -> dict[str, bool]:
    metadata = asked.get("MetadataOptions", {})
    profile = asked.get("IamInstanceProfile", {}).get("Arn", "").rpartition("/")[2]
    spot = {"spot-instances-request"} if "InstanceMarketOptions" in asked else set()
    tagged = {it["ResourceType"] for it in asked.get("TagSpecifications", [])}
    return {
        "IMDSv2 only": metadata.get("HttpTokens") == "required",
        "one hop to the metadata": metadata.get("HttpPutResponseHopLimit") == 1,
        "no key pair": "KeyName" not in asked,
        "no user data but the mark of a test": _marks_or_has_none(asked.get("UserData"), kind),
        f"the role of a {kind}": f"Host{kind.title()}" in profile and profile in here.profiles,
        "no test of the spot market": not spot or kind == "builder",
        "tagged at creation": tagged == _TAGGED | spot,
        "a shutdown from inside stops": asked.get("InstanceInitiatedShutdownBehavior") == "stop",
        "one instance": (asked.get("MinCount"), asked.get("MaxCount")) == (1, 1),
        "answered once however often it is asked": bool(asked.get("ClientToken")),
    }


def _network_rules(asked: dict[str, Any], here: Here) -> dict[str, bool]:
    interfaces = asked.get("NetworkInterfaces", [])
    groups = [it.get("Groups", []) for it in interfaces]
    addresses = [it.get("AssociatePublicIpAddress") for it in interfaces]
    mark = {"Key": TAG_RECIPE, "Value": _OPEN}
    tags = [it["Tags"] for it in asked.get("TagSpecifications", [])]
    allowed = bool(tags) and all(mark in it for it in tags)
    return {
        "one network interface": len(interfaces) == 1,
        "one security group, of the stack": all(
            len(it) == 1 and it[0] in here.groups for it in groups
        ),
        "it says whether there is an address": all(isinstance(it, bool) for it in addresses),
        "no address but where the recipe allows it": allowed or not any(addresses),
        "no address but where the subnet gives one": here.public or not any(addresses),
    }


def _disk_rules(asked: dict[str, Any], here: Here) -> dict[str, bool]:
    mappings = asked.get("BlockDeviceMappings", [])
    volumes = {it["DeviceName"]: it["Ebs"] for it in mappings if "Ebs" in it}
    return {
        # What is not named is as the image says.
        "the root volume is named": bool(volumes) if not here.root else here.root in volumes,
        "every volume encrypted": all(it.get("Encrypted") is True for it in volumes.values()),
        "every device is a volume": len(volumes) == len(mappings),
    }
