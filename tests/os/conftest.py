"""Hosts for the tests that run documents for real."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from xdist.scheduler import LoadScopeScheduling

from scripts.local import roots
from scripts.local.opsworks_past import PASTS
from scripts.local.runner import StepOutcome, aggregate, run_document
from scripts.local.sandbox import Sandbox

FOLDER = Path(__file__).parents[2] / "documents"
Run = Callable[..., list[StepOutcome]]
_TOGETHER = tuple(
    f"/test_{it}.py" for it in ("application", "bake", "inspect_host", "instance_store")
)
"""Modules whose tests share hosts."""


class ByHost(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Spreads tests over pytest's workers one by one, but for those that share a host."""

    def _split_scope(self, nodeid: str) -> str:
        module, _, test = nodeid.partition("::")
        if module.endswith(_TOGETHER):
            return module
        if test.startswith("test_nothing_is_left_and_nothing_else_is_lost["):
            return PASTS[test.partition("[")[2].rstrip("]")].family
        return nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByHost:
    """Used in place of the one that --dist names."""
    return ByHost(config, log)


@pytest.fixture(scope="session", autouse=True)
def machine() -> None:
    """Skip, and say why, where no operating system can be booted."""
    if lacks := roots.missing():
        pytest.skip("nothing was proven on a real system: " + "; ".join(lacks))


@pytest.fixture(scope="session")
def documents() -> Mapping[str, Any]:
    """Every document by its short name."""
    return {path.stem: yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yaml")}


@pytest.fixture(scope="session")
def run(documents: Mapping[str, Any]) -> Run:
    """Run one of the documents on a host; it must succeed and reach its last line."""

    def run(
        host: Sandbox, stem: str, *, fails: bool = False, **parameters: str
    ) -> list[StepOutcome]:
        values = {"Bake": "bake-1", **parameters}
        sent = {name: [value] for name, value in values.items()}
        outcomes = run_document(documents[stem], sent, host)
        status, _ = aggregate(outcomes)
        said = "\n".join(outcome.stdout + outcome.stderr for outcome in outcomes)
        sentinel = "ami-bakery: bake-1 done" in outcomes[-1].stdout.splitlines()
        assert (status, sentinel) == (("Failed", False) if fails else ("Success", True)), said
        return outcomes

    return run


@pytest.fixture
def boot() -> Iterator[Callable[..., Sandbox]]:
    """Boot hosts that end with the test; without cloud-init unless the test is about it."""
    with contextlib.ExitStack() as stack:

        def boot(
            family: str = "debian",
            *,
            layers: Sequence[Path] = (),
            cloud_init: bool = False,
            **how: Any,
        ) -> Sandbox:
            return stack.enter_context(
                Sandbox.boot(family, layers=layers, cloud_init=cloud_init, **how)
            )

        yield boot
