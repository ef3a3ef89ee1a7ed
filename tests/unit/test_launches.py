"""The look at every launch sees what is wrong with one."""

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from bakery import clock, first_boot
from bakery.naming import TAG_RECIPE
from scripts.local import LocalAws
from scripts.local.calls import Call, CallLog
from scripts.local.iam import Principal
from tests import launches, watched

Request = dict[str, Any]

HERE = launches.Here(
    root="/dev/xvda",
    public=False,
    groups=frozenset({"sg-1", "sg-2"}),
    profiles=frozenset({"HostBuilder1", "HostTest1"}),
)
PUBLIC = replace(HERE, public=True)


def request() -> Request:
    """As LaunchBuilder makes it."""
    kinds = ("instance", "volume", "network-interface")
    return {
        "ImageId": "ami-0123456789abcdef0",
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": "token",
        "IamInstanceProfile": {"Arn": "arn:aws:iam::123456789012:instance-profile/HostBuilder1"},
        "InstanceInitiatedShutdownBehavior": "stop",
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
        "NetworkInterfaces": [{"Groups": ["sg-1"], "AssociatePublicIpAddress": False}],
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"Encrypted": True}}],
        "TagSpecifications": [{"ResourceType": kind, "Tags": []} for kind in kinds],
    }


BUILDER = "AmiBakery-TasksLaunchBuilderRole1-2"
TEST = "AmiBakery-TasksLaunchTestRole1-2"


def call_of(asked: Request, role: str = BUILDER, operation: str = "RunInstances") -> Call:
    arn = f"arn:aws:iam::123456789012:role/{role}"
    principal = Principal("role", arn, arn)
    return Call(principal, "ec2", operation, asked, "eu-west-1", "123456789012", clock.now())


def seen(asked: Request, role: str = BUILDER, here: launches.Here = HERE) -> list[str]:
    return launches.flaws(call_of(asked, role), here)


def test_a_launch_as_the_bakery_makes_it_has_no_flaw() -> None:
    assert seen(request()) == []


def set_(*path: str | int, to: object) -> Callable[[Request], None]:
    def change(asked: Any) -> None:
        for key in path[:-1]:
            asked = asked[key]
        asked[path[-1]] = to

    return change


def without(*path: str | int) -> Callable[[Request], None]:
    def change(asked: Any) -> None:
        for key in path[:-1]:
            asked = asked[key]
        del asked[path[-1]]

    return change


def more(name: str, *entries: Any) -> Callable[[Request], None]:
    return lambda asked: asked[name].extend(entries)


INTERFACE = {"Groups": ["sg-1"], "AssociatePublicIpAddress": False}
ROOT, DATA = "/dev/xvda", "/dev/xvdb"
OWN = {"Encrypted": True}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (set_("MetadataOptions", "HttpTokens", to="optional"), "IMDSv2"),
        (set_("MetadataOptions", to={}), "IMDSv2"),
        (without("MetadataOptions"), "IMDSv2"),
        (set_("MetadataOptions", "HttpPutResponseHopLimit", to=2), "one hop"),
        (set_("BlockDeviceMappings", 0, "Ebs", "Encrypted", to=False), "encrypted"),
        (without("BlockDeviceMappings", 0, "Ebs", "Encrypted"), "encrypted"),
        (more("BlockDeviceMappings", {"DeviceName": DATA, "Ebs": {}}), "encrypted"),
        (set_("BlockDeviceMappings", to=[]), "root volume"),
        (without("BlockDeviceMappings"), "root volume"),
        (set_("BlockDeviceMappings", 0, "DeviceName", to=DATA), "root volume"),
        (
            set_("BlockDeviceMappings", to=[{"DeviceName": ROOT, "VirtualName": "ephemeral0"}]),
            "root volume",
        ),
        (more("BlockDeviceMappings", {"DeviceName": DATA, "NoDevice": ""}), "device is a volume"),
        (more("BlockDeviceMappings", {"DeviceName": DATA, "NoDevice": ""}), "Mappings.NoDevice"),
        (set_("KeyName", to="mine"), "no key pair"),
        (set_("UserData", to="#!/bin/sh"), "user data"),
        (set_("NetworkInterfaces", 0, "AssociatePublicIpAddress", to=True), "recipe allows"),
        (set_("NetworkInterfaces", 0, "AssociatePublicIpAddress", to=True), "subnet gives"),
        (without("NetworkInterfaces", 0, "AssociatePublicIpAddress"), "whether there is an addr"),
        (set_("NetworkInterfaces", 0, "AssociatePublicIpAddress", to="false"), "whether there is"),
        (more("NetworkInterfaces", INTERFACE), "one network interface"),
        (
            more("NetworkInterfaces", {**INTERFACE, "AssociatePublicIpAddress": True}),
            "recipe allows",
        ),
        (without("NetworkInterfaces"), "one network interface"),
        (set_("NetworkInterfaces", 0, "Groups", to=["sg-1", "sg-2"]), "security group"),
        (set_("NetworkInterfaces", 0, "Groups", to=["sg-3"]), "security group"),
        (without("NetworkInterfaces", 0, "Groups"), "security group"),
        (set_("NetworkInterfaces", 0, "Ipv6AddressCount", to=1), "Interfaces.Ipv6AddressCount"),
        (
            set_("NetworkInterfaces", 0, "Ipv6Addresses", to=[{"Ipv6Address": "::"}]),
            "NetworkInterfaces.Ipv6Addresses",
        ),
        (set_("Ipv6AddressCount", to=1), ": Ipv6AddressCount"),
        (set_("SecurityGroupIds", to=["sg-1"]), ": SecurityGroupIds"),
        (set_("LaunchTemplate", to={"LaunchTemplateId": "lt-1"}), ": LaunchTemplate"),
        (set_("MetadataOptions", "HttpProtocolIpv6", to="enabled"), "Options.HttpProtocolIpv6"),
        (set_("BlockDeviceMappings", 0, "Ebs", "OutpostArn", to="arn"), "Mappings.Ebs.OutpostArn"),
        (set_("IamInstanceProfile", "Arn", to="instance-profile/HostTest1"), "role of a builder"),
        (set_("IamInstanceProfile", "Arn", to="instance-profile/Admin"), "role of a builder"),
        (set_("IamInstanceProfile", "Arn", to="instance-profile/my-builder"), "role of a builder"),
        (set_("IamInstanceProfile", "Arn", to="x/HostBuilderOfOthers"), "role of a builder"),
        (set_("IamInstanceProfile", to={"Name": "HostBuilder1"}), "role of a builder"),
        (without("IamInstanceProfile"), "role of a builder"),
        (set_("TagSpecifications", to=[]), "tagged"),
        (without("TagSpecifications"), "tagged"),
        (set_("InstanceMarketOptions", to={"MarketType": "spot"}), "tagged"),
        (set_("InstanceInitiatedShutdownBehavior", to="terminate"), "shutdown"),
        (set_("MaxCount", to=2), "one instance"),
        (set_("ClientToken", to=""), "answered once"),
        (set_("NetworkInterfaces", to="none"), "cannot be judged"),
        (set_("MetadataOptions", to=None), "cannot be judged"),
    ],
)
def test_a_launch_that_breaks_a_rule_is_seen(change: Callable[[Request], None], rule: str) -> None:
    asked = request()
    change(asked)
    found = [it.partition(f": {asked}")[0] for it in seen(asked)]
    assert len([it for it in found if rule in it]) == 1


def test_of_an_image_that_is_not_there_any_volume_is_the_root() -> None:
    assert seen(request(), here=replace(HERE, root="")) == []


@pytest.mark.parametrize(
    ("recipe", "here", "rules"),
    [
        ("public", PUBLIC, []),
        ("public", HERE, ["subnet gives"]),
        ("private", PUBLIC, ["recipe allows"]),
        ("private", HERE, ["recipe allows", "subnet gives"]),
    ],
)
def test_an_address_needs_both_the_recipe_and_the_subnet(
    recipe: str, here: launches.Here, rules: list[str]
) -> None:
    asked = request()
    asked["NetworkInterfaces"][0]["AssociatePublicIpAddress"] = True
    for it in asked["TagSpecifications"]:
        it["Tags"] = [{"Key": TAG_RECIPE, "Value": recipe}]

    found = seen(asked, here=here)

    assert len(found) == len(rules)
    assert all(rule in it for rule, it in zip(rules, found, strict=True))


@pytest.mark.parametrize(
    ("more", "found"), [("", 0), ("Invoke-WebRequest evil", 1), ("<persist>true</persist>", 1)]
)
def test_a_test_instance_may_have_its_mark_as_user_data_and_nothing_else(
    more: str, found: int
) -> None:
    asked = request()
    asked["IamInstanceProfile"]["Arn"] = "arn:aws:iam::123456789012:instance-profile/HostTest1"
    text = first_boot.user_data("web-1", clock.now()) + more
    asked["UserData"] = base64.b64encode(text.encode()).decode()

    assert len(seen(asked, TEST)) == found


def test_user_data_that_cannot_be_read_is_a_flaw_too() -> None:
    asked = request()
    asked["IamInstanceProfile"]["Arn"] = "arn:aws:iam::123456789012:instance-profile/HostTest1"
    asked["UserData"] = "no base64"
    (found,) = seen(asked, TEST)
    assert "cannot be judged" in found


@pytest.mark.parametrize(("role", "found"), [(BUILDER, 0), (TEST, 1)])
def test_only_a_builder_is_of_the_spot_market(role: str, found: int) -> None:
    asked = request()
    kind = "Test" if role == TEST else "Builder"
    asked["IamInstanceProfile"]["Arn"] = f"arn:aws:iam::123456789012:instance-profile/Host{kind}1"
    asked["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": {}}
    asked["TagSpecifications"] += [{"ResourceType": "spot-instances-request", "Tags": []}]
    assert len(seen(asked, role)) == found


@pytest.mark.parametrize(
    "role",
    [
        "AmiBakery-TasksPlanRole1-2",
        "AmiBakery-MoverMovePointerRole1-2",
        "AmiBakery-MachineBakeRole1-2",
        "AmiBakery-FleetRole1-2",
        "AmiBakery-HostBuilderRole1-2",
    ],
)
def test_no_other_role_of_the_stack_launches_anything(role: str) -> None:
    (found,) = seen(request(), role)
    assert found.startswith(f"{role}: launches an instance")


def test_what_others_launch_is_their_own_business() -> None:
    assert seen({}, "Operator") == []


@pytest.mark.parametrize("operation", ["CreateFleet", "RequestSpotInstances"])
def test_no_role_of_the_stack_launches_by_a_call_that_is_not_looked_at(operation: str) -> None:
    (found,) = launches.flaws(call_of({}, BUILDER, operation), HERE)
    assert found.startswith(f"{BUILDER}: launches by {operation}")
    assert launches.flaws(call_of({}, "Operator", operation), HERE) == []


def test_a_launch_that_no_account_is_known_of_is_a_flaw() -> None:
    with patch.object(LocalAws, "_current", None):
        (found,) = launches.flaws(call_of(request()))
    assert "cannot be judged" in found


# --- the look -------------------------------------------------------------------------------------


def unwatched(_log: CallLog, _call: Call) -> None:
    """In place of what looks at this very test."""


def test_launches_of_a_process_of_its_own_are_noted_with_their_flaws(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    assert watched.noted(notes) == []
    with patch.object(CallLog, "add", unwatched), watched.noting(notes):
        CallLog().add(call_of(request(), "AmiBakery-FleetRole1-2"))
        CallLog().add(call_of(request(), "Operator"))
    ((flaw,),) = watched.noted(notes)
    assert "launches an instance" in flaw


def test_what_is_found_after_the_last_test_is_not_dropped() -> None:
    found: list[str] = []
    with (
        patch.object(CallLog, "add", unwatched),
        pytest.raises(AssertionError),
        launches.watched_to_the_end(found),
    ):
        CallLog().add(call_of(request(), "AmiBakery-FleetRole1-2"))
    assert len(found) == 1
