"""Who calls, and whether the caller's role allows it.

Supplies what moto's own enforcement lacks: resources and conditions are compared, boundaries and
service control policies count, and roles are told apart by access key.
"""

from __future__ import annotations

import itertools
import re
import secrets
import string
import threading
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from scripts.local.conditions import context
from scripts.local.errors import AwsError
from scripts.local.policies import Attached, Decision, Document, Request, decide
from scripts.local.reference import narrowed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from scripts.local.conditions import Context
    from scripts.local.iam_needs import Need

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


class Authorizer:
    """Decides calls by roles: identity-based policies, permissions boundary and service control
    policies together, as they are at the time of the call."""

    def __init__(self, attached: Callable[[str], Attached]) -> None:
        self._attached = attached
        self.facts: Callable[[str], Mapping[str, Any]] = lambda _resource: {}
        """The keys of a resource that exists, by its ARN."""
        self.service_control_policies: tuple[Document, ...] = ()
        """Of the account, beside one that allows everything."""
        self.enabled = True
        self.used: set[tuple[str, str]] = set()
        """Each role and action of a call that was allowed."""

    def decide(
        self,
        principal: Principal,
        needs: Iterable[Need],
        request: Mapping[str, Any] | None = None,
    ) -> Decision | None:
        """The first need that the principal's role does not cover, or None when all are covered.

        ``request`` has the keys of the call as a whole.
        """
        if principal.is_admin or not self.enabled:
            return None
        attached = replace(self._attached(principal.role_arn), guards=self.service_control_policies)
        for need in needs:
            keys = partial(self._keys, principal, need, request or {})
            decision = decide(attached, Request(need.action, need.resource, keys))
            if not decision.allowed:
                return decision
            self.used.add((principal.role, need.action))
        return None

    def _keys(self, principal: Principal, need: Need, request: Mapping[str, Any]) -> Context:
        all_ = {
            "aws:PrincipalArn": principal.role_arn,
            "aws:PrincipalAccount": principal.account,
            "aws:PrincipalType": "AssumedRole",
            # Every endpoint of AWS speaks TLS, and every SDK of today its last version.
            "aws:SecureTransport": True,
            "s3:TlsVersion": "1.3",
            "aws:ViaAWSService": False,
            **request,
            **self.facts(need.resource),
            **need.keys,
        }
        return narrowed(need.action, need.resource, context(all_))
