"""Lambda: functions from the deployed template, each in processes of its own.

Supplies what moto does only with Docker: the synthesized asset's handlers run, in environments that
share nothing, under the role's credentials, reporting errors, time-outs and crashes as Lambda does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.local.calls import Call, Raw
from scripts.local.errors import AwsError
from scripts.local.iam import ACCOUNT, Principals
from scripts.local.worker import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scripts.local.clock import Clock, Timers
    from scripts.local.logs import Logs

REQUEST_LIMIT = 6 * 1024 * 1024
ASYNC_LIMIT = 1024 * 1024


class ForkServer:
    """The process that workers are forked from. One serves every local AWS of this process."""

    _shared: ForkServer | None = None
    _lock = threading.Lock()

    @classmethod
    def shared(cls) -> ForkServer:
        with cls._lock:
            if cls._shared is None or cls._shared._process.poll() is not None:
                cls._shared = ForkServer()
            return cls._shared

    def __init__(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        ours, theirs = socket.socketpair()
        environment = {
            k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")
        }
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        environment["LOCAL_AWS_PYCACHE"] = str(cache / "ami-bakery" / "pycache")
        script = str(Path(__file__).with_name("forkserver.py"))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _LAUNCH, str(theirs.fileno()), script],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=environment,
            start_new_session=True,
        )
        theirs.close()
        self._control = ours
        self._fork_lock = threading.Lock()

    def fork(self, job: Mapping[str, Any]) -> tuple[int, Connection]:
        ours, theirs = socket.socketpair()
        data = json.dumps(job).encode()
        try:
            with self._fork_lock:
                socket.send_fds(self._control, [struct.pack(">I", len(data))], [theirs.fileno()])
                self._control.sendall(data)
                (pid,) = struct.unpack(">I", self._control.recv(4))
        except (OSError, struct.error) as error:
            raise RuntimeError(f"the Lambda fork server died: {self._tail()}") from error
        finally:
            theirs.close()
        return pid, Connection(ours)

    def _tail(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-2000:]


_LAUNCH = """
import os, runpy, sys
given = int(sys.argv[1])
if given != 3:
    os.dup2(given, 3)
    os.close(given)
os.set_inheritable(3, False)
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Worker:
    """A running execution environment."""

    def __init__(self, function: str, pid: int, connection: Connection, log_stream: str) -> None:
        self.function = function
        self.pid = pid
        self.connection = connection
        self.log_stream = log_stream

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.connection.close()


@dataclass
class Permission:
    statement_id: str
    principal: str
    source_arn: str | None


LATEST = "$LATEST"


@dataclass
class Function:
    """A deployed function, or a published version of one, and its idle execution environments."""

    name: str
    arn: str
    role: str
    handler: str
    root: Path
    environment: dict[str, str]
    timeout: float
    memory: int
    log_group: str
    properties: dict[str, Any]
    permissions: list[Permission] = field(default_factory=list)
    retries: int = 2
    on_failure: str | None = None
    idle: list[Worker] = field(default_factory=list)
    generation: int = 0
    version: str = LATEST

    @property
    def log_format(self) -> str:
        """``Text`` or ``JSON``."""
        return str((self.properties.get("LoggingConfig") or {}).get("LogFormat") or "Text")

    @property
    def is_published(self) -> bool:
        return self.version != LATEST

    @property
    def content(self) -> dict[str, Any]:
        """Code and configuration, in which two versions differ."""
        unlike = ("Tags", "ReservedConcurrentExecutions")
        return {name: value for name, value in self.properties.items() if name not in unlike}


@dataclass(frozen=True)
class Outcome:
    """What an invocation gave: `payload` is JSON, `error` is Lambda's FunctionError or None."""

    payload: str
    error: str | None


@dataclass
class LogLine:
    function: str
    request_id: str
    text: str


class Lambdas:
    """All functions of the account. `invoke` runs one and waits; `invoke_async` queues an event."""

    #: Real seconds after which any function counts as hung, when its own time-out is longer.
    grace = 30.0

    def __init__(
        self,
        clock: Clock,
        timers: Timers,
        principals: Principals,
        logs: Logs,
        environment: dict[str, str],
    ) -> None:
        self._clock = clock
        self._timers = timers
        self._principals = principals
        self._logs = logs
        self._base_environment = environment
        self._lock = threading.Lock()
        self._running: set[Worker] = set()
        self._under_way = 0
        """Invocations that have begun and not ended."""
        self._threads: set[threading.Thread] = set()
        self._closed = False
        self.functions: dict[str, Function] = {}
        self._versions: dict[str, dict[str, Function]] = {}
        self._published: dict[str, int] = {}
        self.log_lines: list[LogLine] = []
        self.deliver_failure: Any = None

    # Deployment

    def define(self, function: Function) -> None:
        """Create or replace a function. Environments of the old code are not reused."""
        with self._lock:
            before = self.functions.get(function.name)
            if before:
                function.generation = before.generation + 1
                function.permissions = before.permissions
                function.retries, function.on_failure = before.retries, before.on_failure
                stale, before.idle = before.idle, []
            else:
                stale = []
            self.functions[function.name] = function
        for worker in stale:
            worker.kill()

    def remove(self, name: str) -> None:
        """Delete a function with all its versions."""
        with self._lock:
            gone = list(self._versions.pop(name, {}).values())
            if function := self.functions.pop(name, None):
                gone.append(function)
        for worker in [worker for function in gone for worker in function.idle]:
            worker.kill()

    def publish(self, name: str) -> Function:
        """A version of the function as it is now, which no later deployment changes.

        As Lambda does, none is made when nothing has changed since the last: that one is returned.
        """
        latest = self.find(name)
        with self._lock:
            versions = self._versions.setdefault(latest.name, {})
            last = self._published.get(latest.name, 0)
            before = versions.get(str(last))
            if before is not None and before.content == latest.content:
                return before
            number = str(last + 1)
            made = replace(latest, arn=f"{latest.arn}:{number}", version=number, idle=[])
            made.permissions = []  # a version has a policy of its own
            versions[number] = made
            self._published[latest.name] = last + 1
        return made

    def versions(self, name: str) -> list[Function]:
        """What is published of a function, oldest first."""
        return list(self._versions.get(name, {}).values())

    def unpublish(self, arn: str) -> None:
        """Delete one version."""
        name, version = _name_and_version(arn)
        with self._lock:
            gone = self._versions.get(name, {}).pop(version, None)
        for worker in gone.idle if gone else []:
            worker.kill()

    def find(self, name_or_arn: str) -> Function:
        """The function, or the version that the name is qualified with."""
        name, version = _name_and_version(name_or_arn)
        if version == LATEST:
            function = self.functions.get(name)
        else:
            function = self._versions.get(name, {}).get(version)
        if function is None:
            message = f"Function not found: {name_or_arn}"
            raise AwsError("ResourceNotFoundException", message, 404)
        return function

    @property
    def idle(self) -> bool:
        """Whether no function runs, or is about to: a cold start takes a moment."""
        with self._lock:
            return not self._under_way

    # Invocation

    def crash(self, name: str) -> None:
        """Kill what runs of a function, as Lambda does when its memory does not suffice."""
        with self._lock:
            running = [worker for worker in self._running if worker.function == name]
        for worker in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)

    def invoke(self, name_or_arn: str, payload: str, request_id: str | None = None) -> Outcome:
        """Run a function to its end."""
        function = self.find(name_or_arn)
        with self._clock.busy(), self._counted():
            return self._run(function, payload, request_id or str(uuid.uuid4()))

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def _run(self, function: Function, payload: str, request_id: str) -> Outcome:
        worker = self._worker(function)
        started = time.monotonic()
        self._log(
            function,
            worker,
            request_id,
            [f"START RequestId: {request_id} Version: {function.version}"],
        )
        outcome = self._exchange(function, worker, request_id, payload)
        took = (time.monotonic() - started) * 1000
        self._log(
            function,
            worker,
            request_id,
            [
                f"END RequestId: {request_id}",
                f"REPORT RequestId: {request_id}\tDuration: {took:.2f} ms\tMemory Size: "
                f"{function.memory} MB",
            ],
        )
        return outcome

    def invoke_async(self, name_or_arn: str, payload: str) -> None:
        """The event invocation: errors are retried (twice, after one and two minutes, under the
        same request id), then dead-lettered."""
        function, request_id = self.find(name_or_arn), str(uuid.uuid4())
        self._spawn(lambda: self._attempt(function.arn, payload, request_id, 0))

    def _attempt(self, name: str, payload: str, request_id: str, tries: int) -> None:
        try:
            function = self.find(name)
        except AwsError:
            return
        try:
            outcome = self.invoke(name, payload, request_id)
        except AwsError:
            if self._closed:
                return
            raise
        if outcome.error is None:
            return
        if tries < function.retries:
            delay = 60.0 * (tries + 1)
            again = lambda: self._spawn(lambda: self._attempt(name, payload, request_id, tries + 1))  # noqa: E731
            self._timers.after(delay, again, f"retry of {name}")
        elif function.on_failure and self.deliver_failure:
            self.deliver_failure(function, payload, outcome, tries + 1)

    def _spawn(self, work: Any) -> None:
        def body() -> None:
            try:
                work()
            finally:
                self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=body, daemon=True, name="local-aws-lambda")
        self._threads.add(thread)
        thread.start()

    def _worker(self, function: Function) -> Worker:
        with self._lock:
            if self._closed:
                raise AwsError("ServiceException", "The local AWS is closing.", 500)
            worker = function.idle.pop() if function.idle else None
        if worker is None:
            worker = self._start(function)
        with self._lock:
            self._running.add(worker)
        return worker

    def _start(self, function: Function) -> Worker:
        stream = f"{self._clock.now():%Y/%m/%d}/[{function.version}]{uuid.uuid4().hex}"
        self._logs.create_stream(function.log_group, stream)
        job = {
            "name": function.name,
            "arn": function.arn,
            "version": function.version,
            "handler": function.handler,
            "root": str(function.root),
            "timeout": function.timeout,
            "memory": function.memory,
            "log_group": function.log_group,
            "log_stream": stream,
            "log_format": function.log_format,
            "clock": self._clock.reading().to_json(),
            "scale": self._clock.scale,
            "environment": self._environment(function, stream),
        }
        pid, connection = ForkServer.shared().fork(job)
        return Worker(function.name, pid, connection, stream)

    def _environment(self, function: Function, stream: str) -> dict[str, str]:
        session = self._principals.session(function.role, function.name)
        return {
            **function.environment,
            **self._base_environment,
            **self._principals.credentials(session).environment(),
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": function.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
            "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": stream,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.properties.get('Runtime', 'python3.13')}",
            "LAMBDA_TASK_ROOT": str(function.root),
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "_HANDLER": function.handler,
            "TZ": ":UTC",
            "LANG": "en_US.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": "/var/runtime",
            "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
            "AWS_XRAY_SDK_ENABLED": "false",
            "POWERTOOLS_TRACE_DISABLED": "true",
        }

    def real_timeout(self, function: Function) -> float:
        """Real seconds before the function counts as hung. The clock runs at real pace
        meanwhile."""
        return min(function.timeout, self.grace)

    def _exchange(
        self, function: Function, worker: Worker, request_id: str, payload: str
    ) -> Outcome:
        limit = self.real_timeout(function)
        deadline = time.monotonic() + limit
        trace = f"Root=1-{int(self._clock.timestamp()):08x}-{uuid.uuid4().hex[:24]};Sampled=0"
        request = {
            "request_id": request_id,
            "payload": payload,
            "real_timeout": limit,
            "trace_id": trace,
            "clock": self._clock.reading().to_json(),
        }
        try:
            worker.connection.send(request)
            while True:
                worker.connection.settimeout(max(0.01, deadline - time.monotonic()))
                message = worker.connection.receive()
                if message is None:
                    return self._crashed(function, worker, request_id)
                if "log" not in message:
                    break
                self._log(function, worker, request_id, message["log"])
        except TimeoutError:
            return self._timed_out(function, worker, request_id)
        except OSError:
            return self._crashed(function, worker, request_id)
        self._release(function, worker)
        return Outcome(message["payload"], message["error"])

    def _release(self, function: Function, worker: Worker) -> None:
        with self._lock:
            self._running.discard(worker)
            if not self._closed and self._is_deployed(function):
                function.idle.append(worker)
                return
        worker.kill()

    def _is_deployed(self, function: Function) -> bool:
        if function.is_published:
            return function.version in self._versions.get(function.name, {})
        return self.functions.get(function.name) is function

    def _discard(self, worker: Worker) -> None:
        with self._lock:
            self._running.discard(worker)
        worker.kill()

    def _timed_out(self, function: Function, worker: Worker, request_id: str) -> Outcome:
        self._discard(worker)
        text = f"RequestId: {request_id} Error: Task timed out after {function.timeout:.2f} seconds"
        self._log(function, worker, request_id, [text])
        return Outcome(
            json.dumps({"errorType": "Sandbox.Timedout", "errorMessage": text}), "Unhandled"
        )

    def _crashed(self, function: Function, worker: Worker, request_id: str) -> Outcome:
        self._discard(worker)
        text = f"RequestId: {request_id} Error: Runtime exited without providing a reason"
        self._log(function, worker, request_id, [text])
        return Outcome(
            json.dumps({"errorType": "Runtime.ExitError", "errorMessage": text}), "Unhandled"
        )

    def _log(self, function: Function, worker: Worker, request_id: str, lines: list[str]) -> None:
        if self._closed:  # the next local AWS of the process has no such group yet
            return
        self.log_lines.extend(LogLine(function.name, request_id, line) for line in lines)
        self._logs.put(function.log_group, worker.log_stream, lines)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            workers = list(self._running)
            published = [v for versions in self._versions.values() for v in versions.values()]
            for function in [*self.functions.values(), *published]:
                workers.extend(function.idle)
                function.idle = []
        for worker in workers:
            worker.kill()
        for thread in list(self._threads):
            thread.join(timeout=2)

    # The service's API

    def handlers(self) -> dict[str, Any]:
        return {
            "Invoke": self._api_invoke,
            "GetFunction": self._api_get,
            "GetFunctionConfiguration": lambda call: self._configuration(self._named(call)),
            "ListFunctions": lambda call: {
                "Functions": [self._configuration(f) for f in self.functions.values()]
            },
            "ListVersionsByFunction": self._api_versions,
        }

    def _named(self, call: Call) -> Function:
        return self.find(qualified(call.parameters["FunctionName"], call.get("Qualifier")))

    def _api_versions(self, call: Call) -> dict[str, Any]:
        latest = self._named(call)
        every = (latest, *self.versions(latest.name))
        return {"Versions": [self._configuration(function) for function in every]}

    def _api_invoke(self, call: Call) -> Raw:
        payload = call.get("Payload") or b"{}"
        text = payload.decode() if isinstance(payload, bytes) else str(payload)
        kind = call.get("InvocationType") or "RequestResponse"
        function = self._named(call)
        limit = ASYNC_LIMIT if kind == "Event" else REQUEST_LIMIT
        if len(text.encode()) > limit:
            message = (
                f"{len(text.encode())} byte payload is too large for the {kind} invocation type "
                f"(limit {limit} bytes)"
            )
            raise AwsError("RequestTooLargeException", message, 413)
        try:
            json.loads(text)
        except ValueError as error:
            message = f"Could not parse request body into json: {error}"
            raise AwsError("InvalidRequestContentException", message, 400) from error
        if kind == "DryRun":
            return Raw(204, {}, b"")
        if kind == "Event":
            self.invoke_async(function.arn, text)
            return Raw(202, {}, b"")
        outcome = self.invoke(function.arn, text)
        headers = {"Content-Type": "application/json", "X-Amz-Executed-Version": function.version}
        if outcome.error:
            headers["X-Amz-Function-Error"] = outcome.error
        return Raw(200, headers, outcome.payload.encode())

    def _api_get(self, call: Call) -> dict[str, Any]:
        return {
            "Configuration": self._configuration(self._named(call)),
            "Code": {"RepositoryType": "S3"},
        }

    def _configuration(self, function: Function) -> dict[str, Any]:
        return {
            "FunctionName": function.name,
            "FunctionArn": function.arn,
            "Role": function.role,
            "Handler": function.handler,
            "Runtime": function.properties.get("Runtime"),
            "Timeout": int(function.timeout),
            "MemorySize": function.memory,
            "Environment": {"Variables": function.environment},
            "Architectures": function.properties.get("Architectures", ["x86_64"]),
            "State": "Active",
            "Version": function.version,
            "LoggingConfig": {"LogGroup": function.log_group, "LogFormat": function.log_format},
        }


def qualified(name_or_arn: str, qualifier: str | None) -> str:
    """Name or ARN with the qualifier that Invoke takes beside it."""
    return f"{name_or_arn}:{qualifier}" if qualifier else name_or_arn


def _name_and_version(name_or_arn: str) -> tuple[str, str]:
    tail = name_or_arn
    if tail.startswith("arn:"):
        tail = tail.split(":", 6)[6]
    name, _, version = tail.partition(":")
    return name, version or LATEST


def function_arn(region: str, name: str) -> str:
    return f"arn:aws:lambda:{region}:{ACCOUNT}:function:{name}"
