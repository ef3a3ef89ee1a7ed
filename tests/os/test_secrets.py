"""Steps with secrets on a booted system: its own shell, its own Python, its own logs."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bakery.recipe import MAX_SECRETS, ShellStep, parse_recipe
from bakery.steps import script_document
from infra.loading import load_program
from scripts.local.runner import StepOutcome, run_document
from scripts.local.sandbox import Sandbox
from tests.canaries import SAY_ALL, SECRETS, leaks
from tests.instance_services import InstanceServices, serve

pytestmark = [pytest.mark.os, pytest.mark.timeout(900)]

KINDS = list(SECRETS)
CARELESS = f"{SAY_ALL}logger 'a step was here'\n"


class Builder:
    """A booted host that is led to the services."""

    def __init__(self, host: Sandbox, services: InstanceServices) -> None:
        self._host = host
        self._more = services.environment(host.instance_id)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def execute(self, argv: Any, *, environment: Mapping[str, str], **more: Any) -> Any:
        return self._host.execute(argv, environment={**environment, **self._more}, **more)


def step(first: int, script: str = CARELESS) -> dict[str, Any]:
    """The document of a step with some of the secrets, each known by its number."""
    numbers = range(first, min(first + MAX_SECRETS, len(KINDS)))
    secrets = {f"IT_{n}": {"secret": f"planted/{n}"} for n in numbers}
    content = {
        "description": "with secrets",
        "base": {"ami": "ami-0123456789abcdef0"},
        "customize": [{"name": "x", "shell": script, "secrets": secrets}],
    }
    (found,) = parse_recipe("vault", content).customize
    assert isinstance(found, ShellStep)
    return script_document(found, load_program())


def value(_instance: str, _action: str, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"SecretString": SECRETS[KINDS[int(wanted["SecretId"].rpartition("/")[2])]]}


def written(host: Sandbox) -> dict[str, bytes]:
    """Every file that the system has written since its boot, logs and journal among them."""
    host.sh("journalctl --sync; sync")
    upper = host.folder / "upper"
    return {str(it): it.read_bytes() for it in upper.rglob("*") if _is_file(it)}


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


@pytest.mark.failure(28)
def test_no_value_is_in_the_output_or_in_anything_that_the_system_has_written() -> None:
    with serve(value) as services, Sandbox.boot(cloud_init=False, network=True) as host:
        builder: Any = Builder(host, services)
        outcomes: list[StepOutcome] = []
        for first in range(0, len(KINDS), MAX_SECRETS):
            outcomes += run_document(step(first), {}, builder)
        files = written(host)
        run_document(step(0, 'printf %s "$IT_0" >/root/left'), {}, builder)
        after = written(host)
    printed = {f"output {n}": outcome.printed for n, outcome in enumerate(outcomes)}
    assert [outcome.status for outcome in outcomes] == ["Success"] * len(outcomes), outcomes
    said = "".join(outcome.stdout for outcome in outcomes)
    for n, kind in enumerate(KINDS):
        assert f"IT_{n}={hashlib.sha256(SECRETS[kind].encode()).hexdigest()}" in said, kind
    assert any(name.endswith("/step") for name in files)
    places = [*printed.items(), *files.items()]
    assert {kind: it for kind in KINDS if (it := leaks(SECRETS[kind], places))} == {}
    # The counter-test: what a script writes is seen.
    (left,) = leaks(SECRETS[KINDS[0]], after.items())
    assert left.endswith("/root/left")
