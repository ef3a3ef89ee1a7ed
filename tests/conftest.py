"""What every test gets: a clean environment, fake credentials, no network but loopback."""

import json
import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import pytest

from infra.node import use_bundled_node
from scripts.local import LocalAws
from tests import launches, rights
from tests.account import Account
from tests.functional.faults import matrix

_KEPT = (
    "HOME",
    "PATH",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "TERM",
    "CI",
    "JSII_NODE",
    "HYPOTHESIS_PROFILE",
)
_KEPT_PREFIXES = ("PYTEST_", "COVERAGE_", "PYTHON", "AMI_BAKERY_")
_FAKE_AWS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_REGION": "eu-west-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
_LOOPBACK = ("127.", "::1", "localhost")


class NetworkBlockedError(RuntimeError):
    """A test tried to reach another machine."""


def pytest_configure(config: pytest.Config) -> None:
    """Clean the environment before any test module is imported: import order cannot matter."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
    os.environ.clear()
    os.environ.update(kept | _FAKE_AWS)
    use_bundled_node()
    _block_network()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long or needs root unless it is asked for by its marker."""
    asked = config.getoption("markexpr")
    reasons = {
        "long": "bakes by the dozen: run `make test-long`",
        "faults": "bakes some hundred times: run `make faults`",
        "os": "boots operating systems: run `make test-os`",
        "dotnet": "wants .NET: run `make test-dotnet`",
    }
    for item in items:
        for marker, reason in reasons.items():
            if item.get_closest_marker(marker) and marker not in asked:
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rights", help="note the rights that were used, under this name")
    parser.addoption("--without", help="a function and an action that its policies do not have")
    parser.addoption("--matrix", type=Path, help="write the fault matrix into this file")


_RIGHTS: rights.Used = {}
"""What the calls of all tests needed of the functions' policies."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker hands over what its tests have used."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["rights"] = [[*right, tests] for right, tests in _RIGHTS.items()]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for role, action, tests in getattr(node, "workeroutput", {}).get("rights", ()):
        rights.add(_RIGHTS, (f"{role}Role", action), tests)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    if name := config.getoption("rights"):
        rights.note(name, _RIGHTS)
    _tell_matrix(terminalreporter, exitstatus, config)


def _tell_matrix(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """The fault matrix, from what the sweeps recorded (in this process, or in workers)."""
    stats = terminalreporter.stats
    found = _rows([*stats.get("passed", ()), *stats.get("failed", ())])
    if not found:
        return
    terminalreporter.section("fault matrix")
    terminalreporter.write_line("\n".join(matrix.lines(matrix.renewed([], found))))
    path: Path | None = config.getoption("--matrix")
    if path:
        whole = exitstatus == 0 and not config.getoption("keyword")
        passed = _rows(stats.get("passed", ()))
        before = [] if whole else json.loads(path.read_text(encoding="utf-8"))
        rows = matrix.renewed(before, passed)
        path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _rows(reports: Iterable[pytest.TestReport]) -> list[dict[str, Any]]:
    properties = [it for report in reports for it in report.user_properties]
    return [cast("dict[str, Any]", row) for name, row in properties if name == matrix.PROPERTY]


@pytest.fixture(autouse=True)
def environment_restored() -> Iterator[None]:
    """What a test does to the environment ends with it."""
    with patch.dict(os.environ):
        yield


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test: of bakes that have ended nothing is left, in whatever account it used."""
    leaks: list[str] = []
    close = LocalAws.close

    def look(aws: LocalAws) -> None:
        leaks.extend(Account(aws).leaks())
        while aws.rights_used:
            rights.add(_RIGHTS, aws.rights_used.pop(), [request.node.nodeid])

    def look_and_close(aws: LocalAws) -> None:
        if aws is LocalAws.current():
            look(aws)
        close(aws)

    with patch.object(LocalAws, "close", look_and_close):
        yield
    if (aws := LocalAws.current()) is not None:
        look(aws)
    assert leaks == []


_FLAWS: list[str] = []
"""What was wrong with launches since the last test."""


@pytest.fixture(autouse=True, scope="session")
def launches_watched() -> Iterator[None]:
    with launches.watched_to_the_end(_FLAWS):
        yield


@pytest.fixture(autouse=True)
def every_launch_is_sound() -> Iterator[None]:
    """Whatever a test bakes, EC2 was asked for nothing that the rules of launches forbid."""
    yield
    found = [_FLAWS.pop() for _ in range(len(_FLAWS))]
    assert found == []


@pytest.fixture(autouse=True, scope="session")
def one_right_less(request: pytest.FixtureRequest) -> Iterator[None]:
    """With ``--without "TasksPlan ec2:DescribeImages"`` that function has not that right."""
    lacked = request.config.getoption("without")
    if lacked is None:
        yield
        return
    function, action = lacked.split()
    close = LocalAws.close
    told: list[bool] = []

    def look_and_close(aws: LocalAws) -> None:
        if aws is LocalAws.current():
            told.append(rights.is_told(aws, (function, action)))
        close(aws)

    with rights.without((function, action)), patch.object(LocalAws, "close", look_and_close):
        yield
    if (aws := LocalAws.current()) is not None:
        told.append(rights.is_told(aws, (function, action)))
    if any(told):
        request.config.get_terminal_writer().line(f"\n{rights.TOLD}")


def _block_network() -> None:
    real_connect, real_connect_ex = socket.socket.connect, socket.socket.connect_ex

    def connect(self: socket.socket, address: Any) -> None:
        _refuse_remote(self.family, address)
        real_connect(self, address)

    def connect_ex(self: socket.socket, address: Any) -> int:
        _refuse_remote(self.family, address)
        return real_connect_ex(self, address)

    setattr(socket.socket, "connect", connect)  # noqa: B010
    setattr(socket.socket, "connect_ex", connect_ex)  # noqa: B010


def _refuse_remote(family: int, address: Any) -> None:
    if family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(_LOOPBACK):
        raise NetworkBlockedError(f"tests reach no other machine, but tried {address!r}")
