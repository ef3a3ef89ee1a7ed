"""A world in which a bake takes a second or two, and what must hold after every fault."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.local import LocalAws
from tests.functional.conftest import World, prepare
from tests.functional.faults.invariants import Watched


@pytest.fixture(scope="module")
def deployed(assembly: Path) -> Iterator[World]:
    with LocalAws.start(assembly, region="eu-west-1", scale=400.0) as aws:
        prepare(aws)
        yield World(aws, aws.deploy())


@pytest.fixture
def watched(world: World) -> Watched:
    """The world, with recipe small baked once."""
    return Watched.begin(world)


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Say at once what is wrong: a sweep takes long, and may be stopped."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\n{report.nodeid}\n{report.longreprtext}", flush=True)
