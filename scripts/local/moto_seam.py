"""The only door to moto: its parsers, serializers, backends and configuration.

moto is untyped; whatever crosses this line is `Any` here and typed beyond it.
"""

from __future__ import annotations

import importlib
import json
import logging
import re
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import moto.backend_index
import moto.core.models
from moto.core.config import default_user_config
from moto.core.exceptions import ServiceException
from moto.core.request import Request
from moto.core.responses import ActionResult, BaseResponse

from scripts.local.calls import Raw
from scripts.local.errors import AwsError, LocalAwsError
from scripts.local.iam import ACCOUNT
from scripts.local.policies import Attached

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Signing name of a request (its credential scope) -> botocore's service name.
SERVICES = {
    "states": "stepfunctions",
    "monitoring": "cloudwatch",
}
#: Where moto takes its HTTP errors from: werkzeug is its dependency, not ours.
_EXCEPTIONS: Any = importlib.import_module("moto.core.exceptions")
_LOCKS: dict[str, threading.RLock] = {}


class _Refused(ServiceException):
    """moto derives the service's model from where an exception's class lives: ours must not live
    in moto."""


class Parsed:
    """A request as the service understands it, and the way back to an answer in the same
    protocol."""

    def __init__(self, service: str, request: Request) -> None:
        self.service = service
        self.request = request
        self._shell: Any = BaseResponse(service_name=service)
        # Objects are bytes; every other request is text.
        self._shell.setup_class(
            request, request.raw_url, request.headers, use_raw_body=service == "s3"
        )
        self.operation: str = self._shell._get_action() or ""
        if self.operation:
            self._shell.parse_parameters(request)
        self.parameters: dict[str, Any] = dict(getattr(self._shell, "params", {}) or {})

    def answer(self, result: Mapping[str, Any] | None) -> Raw:
        return self._serialize(None if result is None else dict(result))

    def refuse(self, error: AwsError) -> Raw:
        raw = self._serialize(_Refused(error.code, error.message))
        headers = {k: v for k, v in raw.headers.items() if k.lower() != "x-amzn-errortype"}
        headers["x-amzn-errortype"] = error.code
        return Raw(error.status, headers, raw.body)

    def _serialize(self, result: object) -> Raw:
        status, headers, body = self._shell.serialized(ActionResult(result))
        clean = {
            k: str(v) for k, v in headers.items() if k.lower() not in ("server", "date", "status")
        }
        return Raw(int(status), clean, body.encode() if isinstance(body, str) else body)

    def by_moto(self) -> Raw:
        """What moto itself answers. One call at a time per service: its backends are not
        thread-safe."""
        with _LOCKS.setdefault(self.service, threading.RLock()):
            try:
                response = _dispatch(self.request)
            except NotImplementedError as error:
                raise AwsError(
                    "NotImplementedByLocalAws", f"{self.service} {self.operation}: {error}", 501
                ) from error
        if response is None:
            raise AwsError("UnknownService", f"moto knows no service {self.service}", 501)
        status, headers, body = response
        clean = {
            str(k): str(v)
            for k, v in dict(headers).items()
            if str(k).lower() not in ("date", "server")
        }
        return Raw(
            int(status), clean, body.encode() if isinstance(body, str) else bytes(body or b"")
        )


def make_default_subnets_private(region: str) -> None:
    """The account's owner has seen to it that no instance gets a public address by itself."""
    for subnets in backend("ec2", region).subnets.values():
        for subnet in subnets.values():
            subnet.map_public_ip_on_launch = False


@lru_cache(maxsize=64)
def _routes(host: str) -> list[tuple[re.Pattern[str], Any]]:
    """moto's views for a host. moto itself builds and searches this list anew for each request."""
    from moto.backends import get_backend

    found = []
    for service, pattern in moto.backend_index.backend_url_patterns:
        if pattern.match(f"https://{host}/"):
            backends: Any = get_backend(service)  # type: ignore[call-overload]
            regions = backends[ACCOUNT]
            any_backend = regions["us-east-1"] if "us-east-1" in regions else regions["aws"]
            found += [(re.compile(url), view) for url, view in any_backend.urls.items()]
    return found


def _dispatch(request: Request) -> Any:
    url = request.base_url
    for pattern, view in _routes(request.host):
        if pattern.match(url):
            try:
                return view(request, request.raw_url, request.headers)
            except _EXCEPTIONS.HTTPException as error:
                return error.code, dict(error.get_headers()), error.get_body()
    return None


def parse(service: str, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Parsed:
    return Parsed(service, Request.from_primitives(method, url, headers, body))


def error_code(raw: Raw) -> str | None:
    """The error code inside an answer of moto's, for the call log."""
    if raw.status < 400:
        return None
    text = raw.body.decode(errors="replace")
    if match := re.search(r"<Code>(.*?)</Code>", text):
        return match.group(1)
    try:
        return str(json.loads(text).get("__type", raw.status)).split("#")[-1]
    except (ValueError, AttributeError):
        return str(raw.headers.get("x-amzn-errortype", raw.status))


def backend(service: str, region: str, account: str = ACCOUNT) -> Any:
    """moto's backend of a service: `ec2`, `iam` (Region `aws`), `ssm`, ..."""
    from moto.backends import get_backend

    if service == "stepfunctions":
        from moto.stepfunctions.parser.models import stepfunctions_parser_backends

        return stepfunctions_parser_backends[account][region]
    return get_backend(service)[account][region]  # type: ignore[call-overload]


def attached(role_arn: str) -> Attached:
    """The policies of a role: inline, customer managed and AWS managed, and its boundary."""
    iam = backend("iam", "aws", role_arn.split(":")[4])
    role = next((r for r in iam.roles.values() if r.arn == role_arn), None)
    if role is None:
        return Attached(())
    documents = [*role.policies.values(), *map(_in_force, role.managed_policies.values())]
    boundary = role.permissions_boundary_arn
    # A boundary that was deleted allows nothing.
    limit = _in_force(iam.managed_policies[boundary]) if boundary in iam.managed_policies else "{}"
    return Attached(tuple(documents), boundary=limit if boundary else None)


def _in_force(policy: Any) -> str:
    """The document of a managed policy's default version."""
    versions = policy.versions
    return str(next(v for v in versions if v.version_id == policy.default_version_id).document)


def profile_role(profile: str) -> str | None:
    """ARN of the role in an instance profile, given its name or ARN."""
    name = profile.rsplit("/", 1)[-1]
    iam = backend("iam", "aws")
    found = next((p for p in iam.instance_profiles.values() if p.name == name), None)
    return str(found.roles[0].arn) if found and found.roles else None


def instance_profile(profile: str) -> tuple[str, str] | None:
    """ARN and id of an instance profile, given its name or ARN."""
    name = profile.rsplit("/", 1)[-1]
    iam = backend("iam", "aws")
    found = next((p for p in iam.instance_profiles.values() if p.name == name), None)
    return (str(found.arn), str(found.id)) if found else None


def key_of_alias(alias: str, region: str) -> str | None:
    """Id of the KMS key that an alias names."""
    found = backend("kms", region).get_key_id_from_alias(alias)
    return str(found) if found else None


def partition_key(table: str, region: str) -> str:
    """The name of a table's partition key; empty if there is no such table."""
    found = backend("dynamodb", region).tables.get(table.rpartition("/")[2])
    return str(found.hash_key_attr) if found else ""


def ssm_parameter(**fields: Any) -> Any:
    """One version of a parameter, as moto keeps it."""
    from moto.ssm.models import Parameter

    make: Any = Parameter
    return make(**fields)


@lru_cache(maxsize=1)
def _managed_policy_data() -> dict[str, Any]:
    from moto.iam.aws_managed_policies import aws_managed_policies_data

    return dict(json.loads(aws_managed_policies_data))


def managed_policy(name: str) -> str:
    """The document of one of AWS's managed policies."""
    data = _managed_policy_data().get(name)
    if data is None:
        raise LocalAwsError(f"moto has no AWS managed policy {name}")
    document = data["Document"]
    return document if isinstance(document, str) else json.dumps(document)


def ensure_managed_policy(arn: str) -> None:
    """Load one AWS managed policy: all of them would cost every start a second."""
    from moto.iam.models import AWSManagedPolicy

    iam = backend("iam", "aws")
    if arn in iam.managed_policies:
        return
    name = arn.rsplit("/", 1)[-1]
    data = _managed_policy_data().get(name)
    if data is None:
        raise LocalAwsError(f"moto has no AWS managed policy {name}")
    policy = AWSManagedPolicy.from_data(name, ACCOUNT, "us-east-1", data)
    iam.managed_policies[policy.arn] = policy


def reset() -> None:
    """Forget everything that moto holds."""
    from moto.core.base_backend import BackendDict

    BackendDict.reset()


def configure() -> dict[str, Any]:
    """Settings of moto that the local AWS needs; returns what to hand to `restore`."""
    before = {k: dict(v) if isinstance(v, dict) else v for k, v in default_user_config.items()}
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    default_user_config["lambda"] = {"use_docker": False}
    for name in ("moto", "moto.stepfunctions"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    return before


def restore(before: Mapping[str, Any]) -> None:
    settings: Any = default_user_config
    settings.clear()
    settings.update(before)


def mocking() -> bool:
    """Whether `mock_aws` is active in this process: its backends would be these very ones."""
    return bool(moto.core.models.botocore_stubber.enabled)


class Patches:
    """Replaces attributes of moto and puts them back."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any]] = []

    def set(self, target: Any, name: str, value: Any) -> Any:
        before = getattr(target, name)
        self._undo.append((target, name, before))
        setattr(target, name, value)
        return before

    def undo(self) -> None:
        while self._undo:
            target, name, before = self._undo.pop()
            setattr(target, name, before)
