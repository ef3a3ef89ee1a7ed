"""What policies say about one action on one resource: AWS's evaluation, policies of all kinds
together.

Source: IAM user guide, "Policy evaluation logic".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from scripts.local.conditions import holds, like, matches

if TYPE_CHECKING:
    from scripts.local.conditions import Context

Document = str | Mapping[str, Any]
Statement = Mapping[str, Any]


@dataclass(frozen=True)
class Decision:
    allowed: bool
    action: str
    resource: str
    reason: str


@dataclass(frozen=True)
class Attached:
    """All policies that count for a role.

    ``guards`` are service control policies, which AWS attaches beside one that allows everything;
    ``boundary`` is None for a role without a permissions boundary.
    """

    identity: tuple[Document, ...]
    boundary: Document | None = None
    guards: tuple[Document, ...] = ()


class Request:
    """One action on one resource; its keys are looked up when a condition first asks for them."""

    def __init__(self, action: str, resource: str, keys: Callable[[], Context]) -> None:
        self.action = action
        self.resource = resource
        self._keys = keys
        self._known: Context | None = None

    @property
    def context(self) -> Context:
        if self._known is None:
            self._known = self._keys()
        return self._known


@dataclass(frozen=True)
class _Layer:
    """Policies of one kind: which of them are needed is what tells the kinds apart."""

    kind: str
    statements: tuple[Statement, ...]
    must_allow: bool = field(default=True)


def decide(attached: Attached, request: Request) -> Decision:
    """A Deny of any kind wins; else every kind that grants must allow."""
    layers = [
        _Layer("service control policy", statements_of(attached.guards), must_allow=False),
        _Layer("identity-based policy", statements_of(attached.identity)),
    ]
    if attached.boundary is not None:
        layers.append(_Layer("permissions boundary", statements_of([attached.boundary])))
    covering = [(layer, _covering(layer.statements, request)) for layer in layers]
    for layer, found in covering:
        if any(s.get("Effect") == "Deny" for s in found):
            article = "an" if layer.kind.startswith("i") else "a"
            return _refusal(request, f"with an explicit deny in {article} {layer.kind}")
    for layer, found in covering:
        if layer.must_allow and not found:
            return _refusal(request, f"because no {layer.kind} allows the {request.action} action")
    return Decision(True, request.action, request.resource, "")


def _refusal(request: Request, reason: str) -> Decision:
    return Decision(False, request.action, request.resource, reason)


def evaluate(
    statements: Iterable[Statement], action: str, resource: str, keys: Context | None = None
) -> Decision:
    """Deny wins, then Allow, then the implicit deny: of identity-based policies alone."""
    document = {"Statement": [dict(s) for s in statements]}
    return decide(Attached((document,)), Request(action, resource, lambda: keys or {}))


def statements_of(documents: Iterable[Document]) -> tuple[Statement, ...]:
    return tuple(
        statement
        for document in documents
        for statement in _parsed(document if isinstance(document, str) else json.dumps(document))
    )


@lru_cache(maxsize=2048)
def _parsed(document: str) -> tuple[Statement, ...]:
    """A policy's statements, each member as a list."""
    policy = json.loads(document)
    return tuple(
        {
            name: value if name in ("Effect", "Condition", "Sid", "Principal") else _list(value)
            for name, value in statement.items()
        }
        for statement in _list(policy.get("Statement"))
    )


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _covering(statements: Iterable[Statement], request: Request) -> list[Statement]:
    return [s for s in statements if _covers(s, request)]


def _covers(statement: Statement, request: Request) -> bool:
    if "Action" in statement:
        named = _is_among(statement["Action"], request.action)
    else:
        named = not _is_among(statement.get("NotAction", ()), request.action)
    if not named or not _is_about(statement, request):
        return False
    condition = statement.get("Condition")
    return not condition or holds(condition, request.context)


def _is_among(patterns: Iterable[str], action: str) -> bool:
    return any(matches(pattern, action, ignore_case=True) for pattern in patterns)


def _is_about(statement: Statement, request: Request) -> bool:
    if "Resource" in statement:
        return any(_resource_matches(str(r), request) for r in statement["Resource"])
    return not any(_resource_matches(str(r), request) for r in statement.get("NotResource", ()))


def _resource_matches(pattern: str, request: Request) -> bool:
    """A resource yet to be made is named by a wildcard (`instance/*`): a narrower pattern covers
    it too."""
    if "${" in pattern:
        return like(pattern, request.resource, request.context)
    if matches(pattern, request.resource):
        return True
    return request.resource.endswith("/*") and pattern.startswith(request.resource[:-1])
