"""What every launch by the bakery must ask of EC2: looked at in every test."""

import base64
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from bakery import first_boot
from bakery.naming import TAG_RECIPE
from scripts.local.calls import Call
from tests.rights import function_of

_LAUNCHERS = {"TasksLaunchBuilder": "builder", "TasksLaunchTest": "test"}
_TAGGED = {"instance", "volume", "network-interface"}
_OPEN = "public"
"""The one recipe of the tests that allows a public address."""


def flaws(call: Call) -> Iterator[str]:
    """Which rules a RunInstances of a function breaks; nothing of other calls.

    The rules are those of docs/security.md; who else launches something is no part of the bakery.
    That group and profile are the stack's own, IAM sees to: the policies name them.
    """
    if call.operation != "RunInstances" or not (function := function_of(call.principal.role)):
        return
    if function not in _LAUNCHERS:
        yield f"{function} launches an instance"
        return
    for rule, held in _rules(call.parameters, _LAUNCHERS[function]).items():
        if not held:
            yield f"{function}: {rule}: {call.parameters}"


def _marks_or_has_none(encoded: str | None, kind: str) -> bool:
    """A test instance of a Windows image writes down its bake and a moment, and nothing else."""
    if encoded is None or kind != "test":
        return encoded is None
    text = base64.b64decode(encoded).decode()
    mark = re.search(r"'(\S+) ([0-9TZ:-]+)'", text)
    return mark is not None and text == first_boot.user_data(
        mark[1], datetime.fromisoformat(mark[2])
    )


def _rules(asked: dict[str, Any], kind: str) -> dict[str, bool]:
    metadata = asked.get("MetadataOptions", {})
    (interface,) = asked["NetworkInterfaces"]
    profile = asked["IamInstanceProfile"]["Arn"].rpartition("/")[2]
    spot = {"spot-instances-request"} if "InstanceMarketOptions" in asked else set()
    tagged = {it["ResourceType"] for it in asked["TagSpecifications"]}
    return {
        "IMDSv2 only": metadata.get("HttpTokens") == "required",
        "one hop to the metadata": metadata.get("HttpPutResponseHopLimit") == 1,
        "every volume encrypted": all(
            volume["Ebs"]["Encrypted"]
            for volume in asked["BlockDeviceMappings"]
            if "Ebs" in volume  # else an instance store, or a device left out
        ),
        "at least the root volume is named": bool(asked["BlockDeviceMappings"]),
        "no key pair": "KeyName" not in asked,
        "no user data but the mark of a test": _marks_or_has_none(asked.get("UserData"), kind),
        "no address but where the recipe allows it": not interface["AssociatePublicIpAddress"]
        or {"Key": TAG_RECIPE, "Value": _OPEN} in asked["TagSpecifications"][0]["Tags"],
        "one security group": len(interface["Groups"]) == 1,
        f"the role of a {kind}": f"Host{kind.title()}" in profile,
        "tagged at creation": tagged == _TAGGED | spot,
        "a shutdown from inside stops": asked["InstanceInitiatedShutdownBehavior"] == "stop",
        "one instance": (asked["MinCount"], asked["MaxCount"]) == (1, 1),
        "answered once however often it is asked": bool(asked["ClientToken"]),
    }
