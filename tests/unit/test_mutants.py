"""The bugs of `make mutants` fit the code: each changes the one place that it means."""

from pathlib import Path

import pytest

from tests.mutants.bugs import BUGS, Bug

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_fits_the_code_and_names_a_test_that_is_there(bug: Bug) -> None:
    assert (PROJECT / bug.file).read_text(encoding="utf-8").count(bug.old) == 1
    _, _, function = bug.test.rpartition("::")
    folder = (PROJECT / bug.tests).parent  # a class of tests may have them of a module beside it
    texts = [path.read_text(encoding="utf-8") for path in folder.glob("*.py")]
    assert any(f"def {function}(" in text for text in texts)
