"""Who calls, and whether the caller's role allows it.

Supplies what moto's own enforcement lacks: resources are compared, and roles are told apart by
access key. Conditions are decided in `condition_holds`, the one place to extend.
"""

from __future__ import annotations

import itertools
import json
import re
import secrets
import string
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from scripts.local.errors import AwsError

ACCOUNT = "123456789012"


@dataclass(frozen=True)
class Principal:
    """A caller: the operator (who may do everything), a role's session, or an AWS service
    itself."""

    kind: str
    arn: str
    role_arn: str = ""
    account: str = ACCOUNT

    @property
    def role(self) -> str:
        """Name of the role, empty for the operator."""
        return self.role_arn.rsplit("/", 1)[-1] if self.role_arn else ""

    @property
    def session(self) -> str:
        """Name of the role's session: a function's own name."""
        return self.arn.rsplit("/", 1)[-1]

    @property
    def is_admin(self) -> bool:
        return self.kind != "role"


OPERATOR = Principal("operator", f"arn:aws:iam::{ACCOUNT}:user/operator")


@dataclass(frozen=True)
class Credentials:
    access_key: str
    secret_key: str
    token: str

    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_SESSION_TOKEN": self.token,
        }


class Principals:
    """Mints credentials for principals and recognises them again by their access key."""

    def __init__(self) -> None:
        self._by_key: dict[str, Principal] = {}
        self._keys: dict[Principal, Credentials] = {}
        self._count = itertools.count(1)
        # Keys of another local AWS (a function that outlived it) must not be taken for the
        # operator's.
        self._mark = "LA" + "".join(secrets.choice(string.ascii_uppercase) for _ in range(6))
        self._lock = threading.Lock()

    def credentials(self, principal: Principal) -> Credentials:
        with self._lock:
            if principal not in self._keys:
                prefix = "ASIA" if principal.kind == "role" else "AKIA"
                key = f"{prefix}{self._mark}{next(self._count):08d}"
                self._keys[principal] = Credentials(key, "local-aws-secret", f"local-{key}")
                self._by_key[key] = principal
            return self._keys[principal]

    def session(self, role_arn: str, session: str) -> Principal:
        account = role_arn.split(":")[4]
        name = role_arn.rsplit("/", 1)[-1]
        arn = f"arn:aws:sts::{account}:assumed-role/{name}/{session}"
        return Principal("role", arn, role_arn, account)

    def by_access_key(self, access_key: str) -> Principal:
        """Unknown keys are the operator's: a developer's own credentials reach the local AWS as
        they are."""
        if access_key not in self._by_key and re.fullmatch(
            r"(AKIA|ASIA)LA[A-Z]{6}\d{8}", access_key
        ):
            raise AwsError(
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
                403,
            )
        return self._by_key.get(access_key, OPERATOR)


@dataclass(frozen=True)
class Decision:
    allowed: bool
    action: str
    resource: str
    reason: str


Statement = Mapping[str, Any]
Context = Mapping[str, str]


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


@lru_cache(maxsize=4096)
def _pattern(text: str, ignore_case: bool) -> re.Pattern[str]:
    regex = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in text)
    return re.compile(regex, re.IGNORECASE | re.DOTALL if ignore_case else re.DOTALL)


def matches(pattern: str, value: str, *, ignore_case: bool = False) -> bool:
    return _pattern(pattern, ignore_case).fullmatch(value) is not None


def condition_holds(statement: Statement, context: Context) -> bool:
    """Whether the statement's Condition holds. Not evaluated yet: an Allow counts as if it held,
    a Deny as if it did not, so that an unknown condition never refuses what AWS would allow."""
    if "Condition" not in statement:
        return True
    return bool(statement.get("Effect") == "Allow")


def _covers(statement: Statement, action: str, resource: str, context: Context) -> bool:
    if "Action" in statement:
        named = any(matches(a, action, ignore_case=True) for a in _list(statement["Action"]))
    else:
        excluded = _list(statement.get("NotAction"))
        named = not any(matches(a, action, ignore_case=True) for a in excluded)
    if not named:
        return False
    if "Resource" in statement:
        inside = any(_resource_matches(str(r), resource) for r in _list(statement["Resource"]))
    else:
        inside = not any(matches(str(r), resource) for r in _list(statement.get("NotResource")))
    return inside and condition_holds(statement, context)


def _resource_matches(pattern: str, resource: str) -> bool:
    """A resource yet to be made is named by a wildcard (`instance/*`): a narrower pattern covers
    it too."""
    if matches(pattern, resource):
        return True
    return resource.endswith("/*") and pattern.startswith(resource[:-1])


def evaluate(
    statements: Iterable[Statement], action: str, resource: str, context: Context | None = None
) -> Decision:
    """Deny wins, then Allow, then the implicit deny."""
    context = context or {}
    allowed = False
    for statement in statements:
        if not _covers(statement, action, resource, context):
            continue
        if statement.get("Effect") == "Deny":
            return Decision(
                False, action, resource, "with an explicit deny in an identity-based policy"
            )
        allowed = True
    reason = "" if allowed else f"because no identity-based policy allows the {action} action"
    return Decision(allowed, action, resource, reason)


def statements_of(documents: Iterable[str | Mapping[str, Any]]) -> list[Statement]:
    found: list[Statement] = []
    for document in documents:
        policy = json.loads(document) if isinstance(document, str) else document
        found.extend(_list(policy.get("Statement")))
    return found


class Authorizer:
    """Decides calls by roles. `policies_of` reads the role's policy documents at the time of the
    call."""

    def __init__(self, policies_of: Callable[[str], list[str | Mapping[str, Any]]]) -> None:
        self._policies_of = policies_of
        self.enabled = True

    def decide(self, principal: Principal, needs: Iterable[tuple[str, str]]) -> Decision | None:
        """The first need that the principal's role does not cover, or None when all are covered."""
        if principal.is_admin or not self.enabled:
            return None
        statements = statements_of(self._policies_of(principal.role_arn))
        for action, resource in needs:
            decision = evaluate(statements, action, resource)
            if not decision.allowed:
                return decision
        return None
