"""One Lambda execution environment: a process that serves one function, one invocation at a
time.

It behaves as the Lambda Python runtime does where a function can see it: environment, context
object, what is on the import path, error reports. Imports nothing of the local AWS: it must not
weigh on start-up.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import json
import logging
import os
import struct
import sys
import time
import traceback
import types
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from types import ModuleType

RESPONSE_LIMIT = 6 * 1024 * 1024


class Connection:
    """Length-prefixed JSON messages over a stream socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def send(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode()
        self._socket.sendall(struct.pack(">I", len(data)) + data)

    def receive(self) -> dict[str, Any] | None:
        header = self._exactly(4)
        if header is None:
            return None
        body = self._exactly(struct.unpack(">I", header)[0])
        return None if body is None else json.loads(body)

    def settimeout(self, seconds: float | None) -> None:
        self._socket.settimeout(seconds)

    def close(self) -> None:
        self._socket.close()

    def _exactly(self, size: int) -> bytes | None:
        data = bytearray()
        while len(data) < size:
            part = self._socket.recv(min(size - len(data), 1 << 20))
            if not part:
                return None
            data += part
        return bytes(data)


class _Log(io.TextIOBase):
    """Standard output of the function: whole lines go to the log stream."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._partial = ""

    def write(self, text: str) -> int:
        *lines, self._partial = (self._partial + text).split("\n")
        if lines:
            self._connection.send({"log": lines})
        return len(text)

    def writable(self) -> bool:
        return True

    def finish(self) -> None:
        if self._partial:
            self._connection.send({"log": [self._partial]})
            self._partial = ""


class _JsonFormatter(logging.Formatter):
    """What the runtime makes of a record when the function's log format is JSON."""

    def format(self, record: logging.LogRecord) -> str:
        content = {"level": record.levelname, "message": record.getMessage(), "logger": record.name}
        if record.exc_info:
            content["stackTrace"] = self.formatException(record.exc_info)
        return json.dumps(content)


class _FirstParty(importlib.abc.MetaPathFinder):
    """Finds the handler's own package in the asset before anything on the path.

    The rest of the asset is for Lambda's platform; its compiled wheels must not shadow the local
    ones.
    """

    def __init__(self, package: str, root: str) -> None:
        self._package = package
        self._root = root

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname == self._package:
            return importlib.machinery.PathFinder.find_spec(fullname, [self._root])
        return None


class Context:
    """The context object of an invocation."""

    def __init__(self, job: dict[str, Any], request: dict[str, Any]) -> None:
        self.function_name: str = job["name"]
        self.function_version: str = job["version"]
        self.invoked_function_arn: str = job["arn"]
        self.memory_limit_in_mb = str(job["memory"])
        self.aws_request_id: str = request["request_id"]
        self.log_group_name: str = job["log_group"]
        self.log_stream_name: str = job["log_stream"]
        self.identity = None
        self.client_context = None
        self._timeout: float = job["timeout"]
        self._real_timeout: float = request["real_timeout"]
        self._started = time.monotonic()

    def get_remaining_time_in_millis(self) -> int:
        """Left of the function's time-out. The local AWS stretches it for slow machines; so does
        this."""
        used = (time.monotonic() - self._started) / self._real_timeout
        return max(0, int(self._timeout * 1000 * (1 - used)))


def run(sock: socket.socket, job: dict[str, Any]) -> None:
    """Serve invocations until the other end closes."""
    connection = Connection(sock)
    log = _Log(connection)
    sys.stdout = sys.stderr = log
    _enter(job)
    try:
        handler = _load(job)
    except BaseException as error:
        _serve_failure(
            connection, _report(error, init=True, module=job["handler"].rsplit(".", 1)[0]), job
        )
        return
    while (request := connection.receive()) is not None:
        _follow_clock(request["clock"])
        response = _invoke(handler, job, request)
        log.finish()
        connection.send(response)


def _enter(job: dict[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(job["environment"])
    time.tzset()
    root = job["root"]
    os.chdir(root)
    package = job["handler"].split(".")[0]
    sys.meta_path.insert(0, _FirstParty(package, root))
    for name in [n for n in sys.modules if n == package or n.startswith(f"{package}.")]:
        del sys.modules[name]
    sys.path.append(root)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        _JsonFormatter()
        if job["log_format"] == "JSON"
        else logging.Formatter("[%(levelname)s]\t%(asctime)s\t%(message)s")
    )
    logging.getLogger().handlers = [handler]


def _load(job: dict[str, Any]) -> Any:
    module, _, function = job["handler"].rpartition(".")
    package = module.split(".")[0].split("/")[0]
    _replace_clock(package, job)
    _hurry_sdk(job["scale"])
    return getattr(importlib.import_module(module.replace("/", ".")), function)


_CLOCK: dict[str, float] = {}


def _follow_clock(reading: dict[str, float]) -> None:
    _CLOCK.update(reading)


def aws_now() -> datetime:
    passed = (time.monotonic() - _CLOCK["monotonic"]) * _CLOCK["scale"]
    return datetime.fromtimestamp(_CLOCK["aws"] + passed, UTC)


def _hurry_sdk(scale: float) -> None:
    """The SDK's pauses between its tries pass at AWS's pace; the rest of a function runs at the
    machine's."""
    endpoint: Any = importlib.import_module("botocore.endpoint")
    endpoint.time = types.SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / scale))


def _replace_clock(package: str, job: dict[str, Any]) -> None:
    """The product asks its module `clock` for the time: give it AWS time before anything imports
    it."""
    _follow_clock(job["clock"])
    if importlib.util.find_spec(f"{package}.clock"):
        importlib.import_module(f"{package}.clock").now = aws_now  # type: ignore[attr-defined]


def _invoke(handler: Any, job: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    os.environ["_X_AMZN_TRACE_ID"] = request["trace_id"]
    try:
        result = handler(json.loads(request["payload"]), Context(job, request))
        payload = json.dumps(result)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
        message = (
            f"RequestId: {request['request_id']} Error: Runtime exited with error: exit status "
            f"{code}"
        )
        return _failed({"errorType": "Runtime.ExitError", "errorMessage": message}, job)
    except TypeError as error:
        if "JSON serializable" not in str(error):
            return _failed(_report(error), job)
        message = f"Unable to marshal response: {error}"
        report = {"errorType": "Runtime.MarshalError", "errorMessage": message}
        return _failed({**report, "requestId": request["request_id"], "stackTrace": []}, job)
    except BaseException as error:
        return _failed(_report(error), job)
    if len(payload.encode()) > RESPONSE_LIMIT:
        size = len(payload.encode())
        message = (
            f"Response payload size exceeded maximum allowed payload size (6291556 bytes): {size}"
        )
        return _failed({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": message}, job)
    return {"payload": payload, "error": None}


def _failed(report: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """Log the error as awslambdaric does: in JSON it is one record, whatever its message has."""
    if job["log_format"] == "JSON":
        print(json.dumps({"log_level": "ERROR", **report}))
    else:
        print(f"[ERROR] {report['errorType']}: {report['errorMessage']}")
        for line in report.get("stackTrace", []):
            print(line.rstrip("\n"))
    return {"payload": json.dumps(report), "error": "Unhandled"}


def _report(error: BaseException, *, init: bool = False, module: str = "") -> dict[str, Any]:
    """What awslambdaric reports: type name, text and the frames below the handler."""
    name, text = type(error).__name__, str(error)
    if init and isinstance(error, ImportError):
        name, text = "Runtime.ImportModuleError", f"Unable to import module '{module}': {error}"
    elif init and isinstance(error, AttributeError):
        name, text = "Runtime.HandlerNotFound", f"Handler missing on module '{module}': {error}"
    own = str(Path(__file__))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != own]
    return {"errorMessage": text, "errorType": name, "stackTrace": traceback.format_list(frames)}


def _serve_failure(connection: Connection, report: dict[str, Any], job: dict[str, Any]) -> None:
    """A function that does not initialise answers every invocation with that error, then starts
    anew."""
    if connection.receive() is not None:
        response = _failed(report, job)
        connection.send(response)
