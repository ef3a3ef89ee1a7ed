"""Prepare: the promises of every task that runs a document, and its own parameters."""

from tests.functional.making import Making
from tests.functional.tasks.commanding import CommandTask


class TestPrepare(CommandTask):
    module = "prepare"
    stage = "prepare"
    document = "AmiBakery-prepare-linux"
    error = "PreparationFailedError"
