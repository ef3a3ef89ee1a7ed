"""Forks Lambda workers from a process that has already imported what every function imports.

Run as a script in a clean process, with a socket as file descriptor 3. Each request carries one end
of a socket pair and a JSON job; the reply is the worker's process id. Ends when its parent does.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any

PRELOAD = ("boto3", "pydantic", "aws_lambda_powertools", "aws_lambda_powertools.utilities.parser")
PRELOAD_SERVICES = ("ec2", "ssm", "stepfunctions", "dynamodb", "events", "kms", "sts")


def preload() -> None:
    for name in PRELOAD:
        try:
            __import__(name)
        except ImportError:
            continue
    _warm_sdk()


def _warm_sdk() -> None:
    """Read the service models once: every worker inherits the parsed JSON instead of reading it
    again."""
    try:
        import boto3
        import botocore.session
    except ImportError:
        return
    session = botocore.session.Session()
    for service in PRELOAD_SERVICES:
        session.create_client(
            service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
        )
    loader = session.get_component("data_loader")

    def shared(other: Any) -> None:
        other._components.lazy_register_component("data_loader", lambda: loader)

    setattr(botocore.session.Session, "_register_data_loader", shared)  # noqa: B010
    boto3.DEFAULT_SESSION = None


def main() -> None:
    control = socket.socket(fileno=3)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Assets stay as they were synthesized; their byte code goes where the parent says.
    sys.pycache_prefix = os.environ.pop("LOCAL_AWS_PYCACHE", None)
    preload()
    worker = _worker_module()
    while True:
        header, descriptors, _flags, _address = socket.recv_fds(control, 4, 1)
        if not header:
            return
        (size,) = struct.unpack(">I", header)
        job = json.loads(_exactly(control, size))
        pid = os.fork()
        if pid == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            worker.run(socket.socket(fileno=descriptors[0]), job)
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)
        control.sendall(struct.pack(">I", pid))


def _worker_module() -> Any:
    """The worker by its file: no package of ours may be in a function's process."""
    file = Path(__file__).with_name("worker.py")
    spec = importlib.util.spec_from_file_location("_local_aws_worker", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


if __name__ == "__main__":
    main()
