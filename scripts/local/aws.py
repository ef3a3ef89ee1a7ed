"""The local AWS: everything put together."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.config import Config

from scripts.local import catalog, moto_seam
from scripts.local.agent import Agent
from scripts.local.autoscaling import AutoScaling
from scripts.local.calls import Call, CallLog
from scripts.local.clock import Clock, Timers
from scripts.local.cloudformation import Assembly, CloudFormation, StackFile
from scripts.local.commands import Commands
from scripts.local.documents import Documents
from scripts.local.ec2 import Ec2
from scripts.local.errors import LocalAwsError
from scripts.local.events import Events
from scripts.local.faults import Faults
from scripts.local.gateway import Gateway, request_keys
from scripts.local.iam import ACCOUNT, OPERATOR, Principals
from scripts.local.iam_facts import Facts
from scripts.local.iam_needs import Need
from scripts.local.lambdas import ForkServer, Function, Lambdas, LogLine, Outcome
from scripts.local.logs import Logs
from scripts.local.machines import CheckOnly, Machines
from scripts.local.managed import ManagedInstances
from scripts.local.objects import fetcher, permission, reading
from scripts.local.parameters import Parameters
from scripts.local.resources import Site
from scripts.local.schedules import Schedules
from scripts.local.stepfunctions import StepFunctions
from scripts.local.targets import Targets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

DEFAULT_REGION = "us-east-1"
_SESSION: Any = None


class LocalAws:
    """An account in this process. Use as a context manager; one at a time, because moto's state
    is global.

    `scale` is how many AWS seconds pass in a real one.
    """

    _current: LocalAws | None = None

    @classmethod
    def start(
        cls,
        assembly: Path | str | None = None,
        *,
        scale: float = 60.0,
        region: str = DEFAULT_REGION,
        machines: Machines | None = None,
    ) -> LocalAws:
        if cls._current is not None:
            raise LocalAwsError("a local AWS is running in this process already: close it first")
        if moto_seam.mocking():
            raise LocalAwsError(
                "mock_aws is active in this process: the local AWS cannot share moto with it"
            )
        aws = cls(Path(assembly) if assembly else None, scale, region, machines or CheckOnly())
        cls._current = aws
        return aws

    @classmethod
    def current(cls) -> LocalAws | None:
        """The one that runs in this process."""
        return cls._current

    def __init__(
        self, assembly: Path | None, scale: float, region: str, machines: Machines
    ) -> None:
        self._assembly = assembly
        self.region = region
        self.account = ACCOUNT
        self._closed = False
        self._config = moto_seam.configure()
        self._patches = moto_seam.Patches()
        self._patch_moto()
        moto_seam.reset()
        self._clients: dict[tuple[str, str, str], Any] = {}
        self._clients_lock = threading.Lock()
        self._scratch = Path(tempfile.mkdtemp(prefix="local-aws-"))
        self.clock = Clock(scale)
        self.timers = Timers(self.clock)
        self.faults = Faults()
        self.calls = CallLog()
        self.principals = Principals()
        self._gateway = Gateway(self.clock, self.faults, self.calls, self.principals)
        self._gateway.start()
        self._build(machines)
        self._register()
        catalog.load(self.ec2.state, self.parameters, self.documents)
        moto_seam.make_default_subnets_private(self.region)

        ForkServer.shared()

    def _build(self, machines: Machines) -> None:
        logs = self._logs = Logs(self.clock, self.region)
        base = self._base_environment()
        self.lambdas = Lambdas(self.clock, self.timers, self.principals, logs, base)
        self._gateway.crash = self.lambdas.crash
        self._targets = Targets(
            self.lambdas, self._client_for, self._gateway.authorizer, self.principals
        )
        self.events = Events(self.clock, self.timers, self._targets.deliver)
        self.lambdas.deliver_failure = self._dead_letter
        self.schedules = Schedules(self.clock, self.timers, self._targets)
        emit = self.events.emit
        self.ec2 = Ec2(self.clock, self.timers, emit, self._allows, self.region)
        self.documents = Documents(self.clock)
        self.parameters = Parameters(self.clock, self.timers, self.ec2, emit)
        self.agent = Agent()
        self.managed = ManagedInstances(
            self.clock, self.timers, self.ec2, self.agent, machines, self._role_may
        )
        self.commands = Commands(
            self.clock,
            self.timers,
            self.ec2,
            self.documents,
            logs,
            emit,
            self.agent,
            machines,
            self.managed,
            self._role_may,
            lambda role: fetcher(lambda: self.client_as(role, "s3")),
        )
        self.executions = StepFunctions(self.clock, emit, self._client_for, self.region)
        self.facts = Facts(self.ec2.state, self.executions.engine.tokens.machines.get)
        self._gateway.facts = self.facts
        self._gateway.authorizer.facts = self.facts.keys
        self.cloudformation = CloudFormation(self.region, self._site, self.clock.now)

    def _register(self) -> None:
        gateway = self._gateway
        gateway.handle("ec2", self.ec2.handlers())
        gateway.handle("autoscaling", AutoScaling(self.clock).handlers())
        gateway.handle(
            "ssm",
            {**self.documents.handlers(), **self.parameters.handlers(), **self.commands.handlers()},
        )
        gateway.handle("lambda", self.lambdas.handlers())
        gateway.handle("events", {"PutEvents": self.events.put_events})
        gateway.handle("logs", self._logs.handlers())
        gateway.handle("s3", reading(self._allows))
        gateway.handle("stepfunctions", self.executions.handlers())
        gateway.handle("cloudformation", self.cloudformation.handlers())
        gateway.handle("sts", {"GetCallerIdentity": self._identity})

    def _patch_moto(self) -> None:
        """Base images come from the catalog; conditions of bucket policies count; EC2's error codes
        are in no model, which moto would warn of; a name of an answer's element is judged once."""
        import moto.core.errors
        from moto.core import serialize
        from moto.ec2.models.amis import AmiBackend
        from moto.s3.models import FakeBucket

        self._patches.set(AmiBackend, "_load_amis", lambda _backend: None)
        self._patches.set(FakeBucket, "get_permission", permission)
        self._patches.set(moto.core.errors, "warn", lambda *_args, **_named: None)
        xml = vars(serialize)["xmltodict"]
        self._patches.set(xml, "_validate_name", lru_cache(maxsize=4096)(xml._validate_name))

    # Use

    def deploy(
        self, assembly: Path | str | None = None, parameters: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Deploy every stack of the assembly; again to update. Returns the outputs of all of
        them."""
        folder = Path(assembly) if assembly else self._assembly
        if folder is None:
            raise LocalAwsError("no cloud assembly was given")
        outputs: dict[str, str] = {}
        with self.clock.busy():
            for stack in Assembly(folder.resolve()).stacks():
                outputs.update(self.cloudformation.deploy(stack, parameters))
        return outputs

    @property
    def url(self) -> str:
        return self._gateway.url

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with which any AWS client talks to this account, as its
        operator."""
        return {**self._base_environment(), **self.principals.credentials(OPERATOR).environment()}

    def client(self, service: str, region: str | None = None) -> Any:
        """A boto3-like client of the operator, who may do everything."""
        return self._client_for(service, region or self.region, "")

    def client_as(self, role_arn: str, service: str, region: str | None = None) -> Any:
        """A client with the rights of a role."""
        return self._client_for(service, region or self.region, role_arn)

    @property
    def iam_enforced(self) -> bool:
        return self._gateway.authorizer.enabled

    @iam_enforced.setter
    def iam_enforced(self, value: bool) -> None:
        self._gateway.authorizer.enabled = value

    @property
    def rights_used(self) -> set[tuple[str, str]]:
        """Name of the role and action of every call that a policy has allowed."""
        return self._gateway.authorizer.used

    @property
    def service_control_policies(self) -> tuple[Mapping[str, Any] | str, ...]:
        """Policies of the organization that count for every role, beside one that allows
        everything."""
        return self._gateway.authorizer.service_control_policies

    @service_control_policies.setter
    def service_control_policies(self, documents: tuple[Mapping[str, Any] | str, ...]) -> None:
        self._gateway.authorizer.service_control_policies = documents

    @property
    def function_logs(self) -> list[LogLine]:
        """What all functions wrote, in order."""
        return self.lambdas.log_lines

    def invoke(self, function: str, payload: str = "{}") -> Outcome:
        """Invoke a function by its name, ARN or logical id in the template."""
        return self.lambdas.invoke(self.physical(function), payload)

    def physical(self, logical: str) -> str:
        """Physical id of a resource by its logical id; other text is returned as it is."""
        for stack in self.cloudformation.stacks.values():
            if logical in stack.made:
                return stack.made[logical].id
        return logical

    def until(self, condition: Callable[[], Any], *, seconds: float = 30.0, what: str = "") -> Any:
        """Wait, in real seconds, until the condition is true; returns its value."""
        deadline, pause = time.monotonic() + seconds, 0.005
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds} s: {what or condition}")
            time.sleep(pause)
            pause = min(0.02, pause * 1.5)  # asking takes time from what is waited for
        return value

    def finished(self, execution_arn: str, *, seconds: float = 60.0) -> dict[str, Any]:
        """Wait for an execution to end and describe it."""
        self.until(
            lambda: not self.executions.is_running(execution_arn),
            seconds=seconds,
            what=f"the end of {execution_arn}",
        )
        states = self.client("stepfunctions")
        found: dict[str, Any] = states.describe_execution(executionArn=execution_arn)
        return found

    # Ends

    def close(self) -> None:
        """End all threads and processes of this account and forget it."""
        if self._closed:
            return
        self._closed = True
        self.executions.close()
        self.timers.close()
        self.commands.close()
        self.lambdas.close()
        self._gateway.close()
        for client in self._clients.values():
            client.close()
        moto_seam.reset()
        self._patches.undo()
        moto_seam.restore(self._config)
        shutil.rmtree(self._scratch, ignore_errors=True)
        LocalAws._current = None

    def __enter__(self) -> LocalAws:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Inside

    def _base_environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self._gateway.url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCOUNT_ID": ACCOUNT,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def _client_for(self, service: str, region: str, role_arn: str) -> Any:
        """One client per service, Region and role: making one costs more than using it."""
        key = (service, region, role_arn)
        with self._clients_lock:
            if key not in self._clients:
                self._clients[key] = self._new_client(service, region, role_arn)
            return self._clients[key]

    def _new_client(self, service: str, region: str, role_arn: str) -> Any:
        principal = self.principals.session(role_arn, "local-aws") if role_arn else OPERATOR
        credentials = self.principals.credentials(principal)
        config = Config(
            retries={"total_max_attempts": 1},
            read_timeout=900,
            connect_timeout=10,
            max_pool_connections=200,
        )
        return _session().create_client(
            service,
            region_name=region,
            endpoint_url=self._gateway.url,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            aws_session_token=credentials.token,
            config=config,
        )

    def _site(self, file: StackFile) -> Site:
        def asset(key: str) -> Path:
            if key not in file.assets:
                raise LocalAwsError(f"the cloud assembly has no asset {key}")
            path = file.assets[key]
            if not path.is_dir():
                raise LocalAwsError(f"the asset {key} is no folder: {path}")
            return path

        return Site(
            stack=file.name,
            region=self.region,
            client=self.client,
            lambdas=self.lambdas,
            schedules=self.schedules,
            asset=asset,
            scratch=self._scratch,
        )

    def _identity(self, call: Call) -> dict[str, str]:
        return {
            "UserId": "AIDALOCALAWS",
            "Account": call.principal.account,
            "Arn": call.principal.arn,
        }

    def _allows(
        self, call: Call, action: str, resource: str, keys: Mapping[str, Any] | None = None
    ) -> bool:
        need = Need(action, resource, keys or {})
        decision = self._gateway.authorizer.decide(call.principal, [need], request_keys(call))
        return decision is None

    def _role_may(self, role_arn: str, action: str, resource: str) -> bool:
        principal = self.principals.session(role_arn, "instance")
        return self._gateway.authorizer.decide(principal, [Need(action, resource)]) is None

    def _dead_letter(self, function: Function, payload: str, outcome: Outcome, tries: int) -> None:
        """Lambda's on-failure destination gets the event and the error."""
        import json

        record = {
            "version": "1.0",
            "requestContext": {
                "functionArn": f"{function.arn}:$LATEST",
                "condition": "RetriesExhausted",
                "approximateInvokeCount": tries,
            },
            "requestPayload": json.loads(payload),
            "responseContext": {"statusCode": 200, "functionError": outcome.error},
            "responsePayload": json.loads(outcome.payload),
        }
        if function.on_failure:
            self._targets.deliver(function.on_failure, json.dumps(record), None, function.arn)


def _session() -> Any:
    """One botocore session, of no configuration, for the process: reading service models is what
    costs."""
    global _SESSION
    if _SESSION is None:
        session = botocore.session.Session()
        session.set_config_variable("config_file", os.devnull)
        session.set_config_variable("credentials_file", os.devnull)
        _SESSION = session
    return _SESSION
