"""The command line in front of the functional tests' account, as an operator's machine has it."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from scripts.bakery_cli.main import main
from tests.functional.conftest import RECIPES, World


@dataclass(frozen=True)
class Said:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.out.splitlines()]


Bakery = Callable[..., Said]


@pytest.fixture
def bakery(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Bakery:
    """Run a command against the account, through the ordinary environment of any AWS client."""
    for name, value in world.aws.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TERM", "dumb")

    def run(*arguments: str) -> Said:
        code = main([*arguments, "--recipes", str(RECIPES)])
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return Said(code, said.out, said.err)

    return run
