"""Prepare: the promises of every task that runs a document, and its own parameters."""

from tests.functional.making import Making
from tests.functional.tasks.commanding import CommandTask


class TestPrepare(CommandTask):
    module = "prepare"
    stage = "prepare"
    document = "AmiBakery-prepare-linux"
    error = "PreparationFailedError"


def test_a_recipe_that_locks_no_release_sends_none(making: Making) -> None:
    parameters = making.plan["prepare"]["parameters"]
    assert parameters["Bake"] == [making.bake]
    assert "LockRelease" not in parameters


def test_a_recipe_that_locks_its_release_sends_it(making: Making) -> None:
    locked = Making.begin(making.world, "locked")
    assert locked.plan["prepare"]["parameters"]["LockRelease"] == ["2023.6.20250115"]
