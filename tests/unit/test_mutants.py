"""The bugs of `make mutants` fit the code: each changes the one place that it means."""

from pathlib import Path

import pytest

from tests.mutants.bugs import BUGS, Bug

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_fits_the_code_and_names_tests_that_are_there(bug: Bug) -> None:
    assert (PROJECT / bug.file).read_text(encoding="utf-8").count(bug.old) == 1
    assert all((PROJECT / test).exists() for test in bug.tests)
