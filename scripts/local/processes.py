"""Runs a process group the way the SSM agent does."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from scripts.local.runner import Ran

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_GRACE = 2.0
"""How long to wait for the output of a killed group: a daemon that left it may hold the pipe."""


def run_group(
    argv: Sequence[str],
    *,
    timeout: float,
    environment: Mapping[str, str],
    directory: str | None = None,
) -> Ran:
    """Run to the end, or kill the whole group; ends only when stdout and stderr are closed."""
    process = subprocess.Popen(
        argv,
        cwd=directory,
        env={"PATH": PATH, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        said, complained = _kill(process)
        return Ran(-1, _text(said), _text(complained), timed_out=True)
    except BaseException:
        _kill(process)
        raise
    return Ran(process.returncode, _text(stdout), _text(stderr))


def _kill(process: subprocess.Popen[bytes]) -> tuple[bytes | None, bytes | None]:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        return process.communicate(timeout=_GRACE)
    except subprocess.TimeoutExpired as late:
        return late.stdout, late.stderr


def _text(data: bytes | None) -> str:
    return (data or b"").decode(errors="replace")
