"""What a builder reaches to get its secrets: its metadata service, Secrets Manager and Parameter
Store. Requests must be as AWS wants them: IMDSv2, and signatures that are right."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

REGION = "eu-west-1"
_TOKEN = "a-session-of-the-metadata-service"


class RefusedError(Exception):
    """What AWS answers: its code, and its message."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


Ask = Callable[[str, str, Mapping[str, Any]], Mapping[str, Any]]
"""From an instance, an action such as ``GetParameter``, and what is asked, to the answer."""


@dataclass
class InstanceServices:
    """One server for all of them; ``asked`` has every call that was signed as it should be."""

    ask: Ask
    url: str = ""
    asked: list[tuple[str, str, Mapping[str, Any]]] = field(default_factory=list)
    failing: list[tuple[int, bytes]] = field(default_factory=list)
    """Status and body of the next answers, in place of what would be answered."""

    def environment(self, instance: str) -> dict[str, str]:
        """What leads a program of that instance here; every SDK of AWS knows these settings."""
        return {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{self.url}/{instance}",
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.url,
            "AWS_ENDPOINT_URL_SSM": self.url,
        }

    # --- the metadata service ---------------------------------------------------------------

    def metadata(self, method: str, path: str, headers: Mapping[str, str]) -> str | None:
        """Its answer; None: 401."""
        instance, _, what = path.lstrip("/").partition("/latest/")
        if method == "PUT" and what == "api/token":
            return _TOKEN if headers.get("X-aws-ec2-metadata-token-ttl-seconds") else None
        if headers.get("X-aws-ec2-metadata-token") != _TOKEN:
            return None
        credentials = _credentials(instance)
        keys = {
            "AccessKeyId": credentials.access_key,
            "SecretAccessKey": credentials.secret_key,
            "Token": credentials.token,
        }
        return {
            "meta-data/placement/region": REGION,
            "meta-data/services/domain": "amazonaws.com",
            "meta-data/iam/security-credentials/": "builder-role",
            "meta-data/iam/security-credentials/builder-role": json.dumps(keys),
        }[what]

    # --- AWS --------------------------------------------------------------------------------

    def answer(self, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        if self.failing:
            return self.failing.pop(0)
        try:
            instance = self._signed_by(headers, body)
            action = headers["X-Amz-Target"].rpartition(".")[2]
            wanted = json.loads(body)
            self.asked.append((instance, action, wanted))
            return 200, json.dumps(self.ask(instance, action, wanted)).encode()
        except RefusedError as error:
            content = {"__type": error.code, "message": str(error)}
            return error.status, json.dumps(content).encode()

    def _signed_by(self, headers: Mapping[str, str], body: bytes) -> str:
        """The instance that signed the request. botocore signs it again: that must be the same."""
        given = headers["Authorization"]
        scope = given.partition("Credential=")[2].partition(",")[0].split("/")
        instance, region, service = scope[0].removeprefix("ASIA"), scope[2], scope[3]
        credentials = _credentials(instance)
        signed = given.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        request = AWSRequest("POST", f"http://{headers['Host']}/", data=body)
        for name in signed:
            request.headers[name] = headers[name]
        request.context["timestamp"] = headers["X-Amz-Date"]
        signer = SigV4Auth(credentials, service, region)
        text = signer.string_to_sign(request, signer.canonical_request(request))
        signature = signer.signature(text, request)
        needed = {"host", "x-amz-date", "x-amz-security-token", "x-amz-target"}
        if not given.endswith(f"Signature={signature}") or not needed <= {*signed}:
            raise RefusedError("InvalidSignatureException", "The request signature does not match.")
        if headers["X-Amz-Security-Token"] != credentials.token:
            raise RefusedError("UnrecognizedClientException", "The security token is invalid.")
        return instance


def _credentials(instance: str) -> Credentials:
    return Credentials(f"ASIA{instance}", f"secret key of {instance}", f"session of {instance}")


@contextmanager
def serve(ask: Ask) -> Iterator[InstanceServices]:
    """The services, listening on the loopback."""
    services = InstanceServices(ask)

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self._metadata()

        def do_GET(self) -> None:
            self._metadata()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._say(*services.answer(self.headers, body))  # type: ignore[arg-type]

        def _metadata(self) -> None:
            text = services.metadata(self.command, self.path, self.headers)  # type: ignore[arg-type]
            self._say(401 if text is None else 200, (text or "").encode())

        def _say(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    services.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield services
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
