"""Generalize: the promises of every task that runs a document, and its own parameters."""

from tests.functional.making import Making
from tests.functional.tasks.commanding import CommandTask


class TestGeneralize(CommandTask):
    module = "generalize"
    stage = "generalize"
    document = "AmiBakery-generalize-linux"
    error = "GeneralizationFailedError"
