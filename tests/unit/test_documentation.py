"""What the documentation names is there."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").glob("*.md")]
# Of files that some command makes.
_MADE = ("build/", "cdk.out/")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    named = set(
        re.findall(r"`((?:tests|functional|unit|documents|os|infra)/[\w./-]+)", page.read_text())
    )
    missing = [
        it for it in named if not ((PROJECT / it).exists() or (PROJECT / "tests" / it).exists())
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_function_that_a_page_names_is_where_it_says(page: Path) -> None:
    """A name without a file is of a file that is named before it, or of any."""
    named = re.findall(
        r"`((?:tests|functional|unit|documents|os|infra)/[\w./-]+)?::(\w+)`", page.read_text()
    )
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in _tests(file)]
    assert missing == []


def _tests(file: str) -> str:
    if file:
        return next(
            it for it in (PROJECT / file, PROJECT / "tests" / file) if it.exists()
        ).read_text()
    return "\n".join(it.read_text() for it in sorted((PROJECT / "tests").rglob("test_*.py")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    links = set(re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()))
    local = [it for it in links if "://" not in it and not it.startswith(_MADE)]
    assert [it for it in local if not (page.parent / it).exists()] == []


def test_every_row_of_the_guide_says_what_became_of_it_and_names_its_test() -> None:
    rows = [row for row in _rows_of_the_guide() if not row[0].startswith(("the guide", "---"))]
    assert len(rows) > 50
    states = r"\*(works|replaced by|cannot exist because)\*"
    assert [step for step, state, _ in rows if not re.match(states, state)] == []
    assert [step for step, _, tests in rows if not re.search(r"`(tests/|::test_)", tests)] == []


def _rows_of_the_guide() -> list[list[str]]:
    """Of all tables that have the guide in their first column."""
    found, inside = [], False
    for line in (PROJECT / "docs" / "opsworks.md").read_text().splitlines():
        inside = line.startswith("|") and (inside or line.startswith("| the guide |"))
        if inside:
            found.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return found


def test_there_is_something_to_find() -> None:
    named = [name for page in PAGES for name in re.findall(r"`tests/[\w./-]+", page.read_text())]
    assert len(named) > 40
