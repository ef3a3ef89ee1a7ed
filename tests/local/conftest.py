"""One small stack, deployed anew for each test that asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scripts.local import LocalAws
from tests.local import assembly as small
from tests.local.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.write(tmp_path_factory.mktemp("cdk.out"))


@pytest.fixture
def bare() -> Iterator[LocalAws]:
    """An account with nothing deployed, in which an hour passes in a second or so."""
    with LocalAws.start(scale=2000) as aws:
        yield aws


@pytest.fixture
def aws(assembly: Path) -> Iterator[LocalAws]:
    with LocalAws.start(assembly, scale=600) as aws:
        aws.schedules.paused = True
        aws.deploy()
        yield aws


@pytest.fixture
def bench(aws: LocalAws) -> Bench:
    return Bench(aws)


@pytest.fixture
def ec2(bare: LocalAws) -> Bench:
    return Bench(bare)
