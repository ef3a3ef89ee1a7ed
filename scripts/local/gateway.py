"""The endpoint: one HTTP server that every client of the local AWS talks to.

Each request is parsed by its service's own protocol, its caller recognised, allowed or refused, and
then answered by a handler of the local AWS or, where there is none, by moto.
"""

from __future__ import annotations

import http
import http.server
import re
import socket
import socketserver
import threading
import uuid
from typing import TYPE_CHECKING, Any, NoReturn

from scripts.local import moto_seam
from scripts.local.calls import Call, CallLog, Handler, Raw
from scripts.local.errors import AwsError
from scripts.local.iam import ACCOUNT, Authorizer, Principals
from scripts.local.iam_needs import Arns, needs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scripts.local.clock import Clock
    from scripts.local.faults import Faults
    from scripts.local.iam_facts import Facts
    from scripts.local.policies import Decision

_SCOPE = re.compile(
    r"Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request"
)
_CODES_OF_REFUSAL = {"ec2": ("UnauthorizedOperation", 403), "iam": ("AccessDenied", 403)}


class LostAnswerError(Exception):
    """The work was done; the connection is to be dropped without a word."""


class Gateway:
    """Routes calls. `handle` registers what the local AWS answers itself."""

    def __init__(
        self, clock: Clock, faults: Faults, calls: CallLog, principals: Principals
    ) -> None:
        self.clock = clock
        self.faults = faults
        self.calls = calls
        self.principals = principals
        self.authorizer = Authorizer(moto_seam.attached)
        self.facts: Facts | None = None
        self.crash: Callable[[str], None] = lambda _function: None
        self._handlers: dict[tuple[str, str], Handler] = {}
        self._server = _Server(self)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.02},
            daemon=True,
            name="local-aws",
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def handle(self, service: str, operations: Mapping[str, Handler]) -> None:
        for operation, handler in operations.items():
            self._handlers[service, operation] = handler

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()
        self._thread.join(timeout=5)

    def serve(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Raw:
        """Answer one HTTP request."""
        scope = _SCOPE.search(headers.get("Authorization", ""))
        if scope is None:
            return Raw(403, {"Content-Type": "text/plain"}, b"The request is not signed.")
        service = moto_seam.SERVICES.get(scope["service"], scope["service"])
        host = f"{scope['service']}.{scope['region']}.amazonaws.com"
        addressed = {**{k: v for k, v in headers.items() if k.lower() != "host"}, "Host": host}
        parsed = moto_seam.parse(service, method, f"https://{host}{path}", addressed, body)
        try:
            principal = self.principals.by_access_key(scope["key"])
        except AwsError as error:
            return parsed.refuse(error)
        call = Call(
            principal=principal,
            service=service,
            operation=parsed.operation,
            parameters=parsed.parameters,
            region=scope["region"],
            account=ACCOUNT,
            time=self.clock.now(),
            proceed=parsed.by_moto,
        )
        if self.faults.crashes(call, after=False):
            self._lose(call)
        try:
            raw = self._answer(call, parsed)
        except AwsError as error:
            call.error = error.code
            raw = parsed.refuse(error)
        self.calls.add(call)
        if call.error is None:
            self.faults.run_after(call)
        if self.faults.loses(call):  # an error is an answer, too
            call.error = "LostAnswer"
            raise LostAnswerError
        if self.faults.crashes(call, after=True):
            call.error = "LostAnswer"
            self._lose(call)
        return raw

    def _lose(self, call: Call) -> NoReturn:
        """Kill the calling function; nobody is left to be answered."""
        self.crash(call.principal.session)
        raise LostAnswerError

    def _answer(self, call: Call, parsed: moto_seam.Parsed) -> Raw:
        self.authorize(call)
        if error := self.faults.error_for(call):
            raise error
        handler = self._handlers.get((call.service, call.operation))
        if handler is None:
            raw = parsed.by_moto()
            call.error = moto_seam.error_code(raw)
            return raw
        answer = handler(call)
        if isinstance(answer, Raw):
            call.error = call.error or moto_seam.error_code(answer)
            return answer
        return parsed.answer(answer)

    def authorize(self, call: Call) -> None:
        if call.principal.is_admin or self.facts is None:
            return
        arns = Arns(call.region, call.account, self.facts)
        wanted = needs(call.service, call.operation, call.parameters, arns)
        decision = self.authorizer.decide(call.principal, wanted, request_keys(call))
        if decision is not None:
            raise refusal(call, decision)


def request_keys(call: Call) -> dict[str, Any]:
    """The condition keys of a call that are the same for everything that it touches."""
    return {
        "aws:RequestedRegion": call.region,
        "aws:CurrentTime": call.time,
        "aws:EpochTime": int(call.time.timestamp()),
    }


def refusal(call: Call, decision: Decision) -> AwsError:
    code, status = _CODES_OF_REFUSAL.get(call.service, ("AccessDeniedException", 400))
    if call.service in ("sns", "sts", "sqs", "s3"):
        code, status = "AccessDenied" if call.service != "sns" else "AuthorizationError", 403
    who = f"User: {call.principal.arn} is not authorized to perform: {decision.action}"
    message = f"{who} on resource: {decision.resource} {decision.reason}"
    if call.service == "ec2":
        message = f"You are not authorized to perform this operation. {message}"
    return AwsError(code, message, status)


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""

    def close_connections(self) -> None:
        """End keep-alive connections, so that their threads end."""
        with self._open_lock:
            connections = list(self._open)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection. The server looks for `do_<METHOD>`: every method is answered alike."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: Any) -> None:
        """Calls are kept in `aws.calls`, not printed."""

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._respond
        raise AttributeError(name)

    def _respond(self) -> None:
        body = self._body()
        try:
            raw = self.server.gateway.serve(self.command, self.path, dict(self.headers), body)
        except LostAnswerError:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            raw = Raw(
                500,
                {"Content-Type": "text/plain", "x-amzn-errortype": "LocalAwsBug"},
                text.encode(),
            )
        self.wfile.write(_http(raw, head=self.command == "HEAD"))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)


def _http(raw: Raw, *, head: bool) -> bytes:
    drop = ("content-length", "connection", "transfer-encoding", "status")
    headers = {k: v for k, v in raw.headers.items() if k.lower() not in drop}
    headers.setdefault("x-amzn-requestid", str(uuid.uuid4()))
    lines = [f"HTTP/1.1 {raw.status} {_reason(raw.status)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(raw.body)}", "", ""]
    return "\r\n".join(lines).encode() + (b"" if head else raw.body)


def _reason(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""
