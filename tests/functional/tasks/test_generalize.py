"""Generalize: the promises of every task that runs a document."""

from tests.functional.making import Making
from tests.functional.tasks.commanding import CommandTask


class TestGeneralize(CommandTask):
    module = "generalize"
    stage = "generalize"
    document = "AmiBakery-generalize-linux"
    error = "GeneralizationFailedError"


def test_it_is_told_the_name_of_the_bake(making: Making) -> None:
    assert making.plan["generalize"]["parameters"]["Bake"] == [making.bake]
