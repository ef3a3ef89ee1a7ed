"""The documents, as they are deployed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "documents"
STEMS = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `stem` for every document."""
    if "stem" in metafunc.fixturenames:
        metafunc.parametrize("stem", STEMS)


@pytest.fixture(scope="session")
def documents() -> Mapping[str, dict[str, Any]]:
    """Every document by its short name."""
    return {stem: yaml.safe_load((FOLDER / f"{stem}.yaml").read_text()) for stem in STEMS}


@pytest.fixture
def document(documents: Mapping[str, dict[str, Any]], stem: str) -> dict[str, Any]:
    """One document."""
    return documents[stem]
