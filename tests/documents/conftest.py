"""The documents, as they are deployed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from bakery.documents import script_of

FOLDER = Path(__file__).parents[2] / "documents"
STEMS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
WINDOWS = [stem for stem in STEMS if "windows" in stem]
LINUX = [stem for stem in STEMS if stem not in WINDOWS]
ORDINARY = {
    "Bake": "bake-1",
    "SourceType": "S3",
    "SourceInfo": '{"path": "https://s3.eu-west-1.amazonaws.com/bucket/app.tar.gz"}',
    "Sha256": "0" * 64,
    "Directory": "/srv/app",
    "Device": "/dev/sdf",
    "SizeGib": "20",
    "Account": "123456789012",
    "Bucket": "images/shop",
    "Certificate": "bundles/certificate",
    "PrivateKey": "/bundles/key",
}
"""An ordinary value for each parameter that has no default."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `stem` for every document, and one that takes `linux_stem` or
    `windows_stem` for every one of that system."""
    for fixture, stems in (("stem", STEMS), ("linux_stem", LINUX), ("windows_stem", WINDOWS)):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, stems)


class _Documents(dict[str, dict[str, Any]]):
    """Shown short: hypothesis writes out the arguments of each example."""

    def __repr__(self) -> str:
        return f"{len(self)} documents"


@pytest.fixture(scope="session")
def documents() -> Mapping[str, dict[str, Any]]:
    """Every document by its short name."""
    return _Documents(
        {stem: yaml.safe_load((FOLDER / f"{stem}.yaml").read_text()) for stem in STEMS}
    )


@pytest.fixture
def document(documents: Mapping[str, dict[str, Any]], stem: str) -> dict[str, Any]:
    """One document."""
    return documents[stem]


@pytest.fixture
def linux_document(documents: Mapping[str, dict[str, Any]], linux_stem: str) -> dict[str, Any]:
    """One document of shell scripts."""
    return documents[linux_stem]


@pytest.fixture
def windows_script(documents: Mapping[str, dict[str, Any]], windows_stem: str) -> str:
    """The script of one document of PowerShell, which has one step."""
    (step,) = documents[windows_stem]["mainSteps"]
    return script_of(step)
