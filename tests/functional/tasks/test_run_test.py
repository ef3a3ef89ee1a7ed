"""RunTest: what every task promises that runs a document, on a test instance."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from tests.functional.conftest import World
from tests.functional.making import Making
from tests.functional.tasks.commanding import CommandTask, Turn


@pytest.fixture(scope="module")
def host(deployed: World) -> tuple[Making, str]:
    """A bake whose test instance is managed, in place of a builder."""
    making = Making.begin(deployed)
    return making, making.test_booted()


class TestRunTest(CommandTask):
    module: ClassVar[str] = "run_test"
    stage: ClassVar[str] = "test"
    document: ClassVar[str] = "AmiBakery-test-image"
    error: ClassVar[str] = "TestFailedError"
    on_test: ClassVar[bool] = True

    def command(self, making: Making) -> Mapping[str, Any]:
        (first, *_) = making.checks()
        return first

    def payload(self, turn: Turn, command: Mapping[str, Any], token: str) -> dict[str, Any]:
        turn.making.plan_checks([command] * (turn.index + 1))
        return turn.making.stepping(turn.builder, turn.index, token=token)
