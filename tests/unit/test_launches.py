"""The look at every launch sees what is wrong with one."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from bakery import clock, first_boot
from scripts.local.calls import Call
from scripts.local.iam import Principal
from tests.launches import flaws

Request = dict[str, Any]


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


def seen(asked: Request, role: str = "AmiBakery-TasksLaunchBuilderRole1-2") -> list[str]:
    arn = f"arn:aws:iam::123456789012:role/{role}"
    principal = Principal("role", arn, arn)
    call = Call(principal, "ec2", "RunInstances", asked, "eu-west-1", "123456789012", clock.now())
    return list(flaws(call))


def test_a_launch_as_the_bakery_makes_it_has_no_flaw() -> None:
    assert seen(request()) == []


def set_(*path: str | int, to: object) -> Callable[[Request], None]:
    def change(asked: Any) -> None:
        for key in path[:-1]:
            asked = asked[key]
        asked[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (set_("MetadataOptions", "HttpTokens", to="optional"), "IMDSv2"),
        (set_("MetadataOptions", to={}), "IMDSv2"),
        (set_("MetadataOptions", "HttpPutResponseHopLimit", to=2), "one hop"),
        (set_("BlockDeviceMappings", 0, "Ebs", "Encrypted", to=False), "encrypted"),
        (set_("BlockDeviceMappings", to=[]), "root volume"),
        (set_("KeyName", to="mine"), "key pair"),
        (set_("UserData", to="#!/bin/sh"), "user data"),
        (set_("NetworkInterfaces", 0, "AssociatePublicIpAddress", to=True), "address"),
        (set_("NetworkInterfaces", 0, "Groups", to=["sg-1", "sg-2"]), "security group"),
        (set_("IamInstanceProfile", "Arn", to="instance-profile/HostTest1"), "role of a builder"),
        (set_("IamInstanceProfile", "Arn", to="instance-profile/Admin"), "role of a builder"),
        (set_("IamInstanceProfile", "Arn", to="instance-profile/my-builder"), "role of a builder"),
        (set_("TagSpecifications", to=[]), "tagged"),
        (set_("InstanceInitiatedShutdownBehavior", to="terminate"), "shutdown"),
        (set_("MaxCount", to=2), "one instance"),
        (set_("ClientToken", to=""), "answered once"),
    ],
)
def test_a_launch_that_breaks_a_rule_is_seen(change: Callable[[Request], None], rule: str) -> None:
    asked = request()
    change(asked)
    found = seen(asked)
    assert len([it for it in found if rule in it]) == 1


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

    assert len(seen(asked, "AmiBakery-TasksLaunchTestRole1-2")) == found


def test_no_other_function_launches_anything() -> None:
    assert seen(request(), "AmiBakery-TasksPlanRole1-2") == ["TasksPlan launches an instance"]


def test_what_others_launch_is_their_own_business() -> None:
    assert seen({}, "Operator") == []
