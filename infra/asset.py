"""The one Lambda asset: packages for Lambda's platform, the package ``bakery``, the recipes.

``make dependencies`` (``scripts/build_dependencies.py``) fetches the packages; synthesis only puts
the parts together, so it needs neither network nor Docker, and the same sources give the same bytes
in every checkout. ``bakery.aws.SERVICES`` says which service definitions botocore keeps.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bakery.aws import SERVICES

PROJECT = Path(__file__).resolve().parent.parent
LOCK = PROJECT / "functions" / "requirements.lock"
PACKAGE = PROJECT / "functions" / "bakery"
BUILD = PROJECT / "build" / "lambda"

PYTHON_VERSION = "3.13"
ARCHITECTURE = "aarch64"

_LAYOUT_VERSION = "1"
"""Raise it when `scripts/build_dependencies.py` lays the same wheels out differently."""
_EPOCH = 315532800
"""1980-01-01, the earliest time that a zip file can hold."""


class DependenciesMissingError(Exception):
    """The packages for Lambda are not there: run ``make dependencies``."""


def dependencies_folder(build: Path = BUILD) -> Path:
    """Where the packages of the current lock and services are, or belong."""
    key = hashlib.sha256(LOCK.read_bytes())
    key.update("\0".join((*SERVICES, PYTHON_VERSION, ARCHITECTURE, _LAYOUT_VERSION)).encode())
    return build / key.hexdigest()[:16]


def stage_asset(*, recipes_json: str, destination: Path, dependencies: Path | None = None) -> Path:
    """Put the asset together in a folder under ``destination`` and return that folder.

    The folder is named after its content: staged twice it is reused, and two syntheses at the same
    time cannot disturb each other.
    """
    packages = dependencies or dependencies_folder()
    if not packages.is_dir():
        raise DependenciesMissingError(
            f"the Lambda dependencies are not in {packages}: run `make dependencies`"
        )
    folder = destination / _content_key(packages, recipes_json)
    if not folder.is_dir():
        destination.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=destination, prefix=".staging-") as name:
            staging = Path(name) / "asset"
            _fill(staging, packages, recipes_json)
            _publish(staging, folder)
    return folder


def _fill(staging: Path, packages: Path, recipes_json: str) -> None:
    shutil.copytree(
        packages, staging, copy_function=_link, ignore=shutil.ignore_patterns("__pycache__")
    )
    for source in _package_files():
        target = staging / "bakery" / source.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    (staging / "recipes.json").write_text(recipes_json, encoding="utf-8", newline="\n")
    normalize(staging)


def _link(source: str, target: str) -> None:
    """Hard-link where the file system can: the packages never change, and copies add up."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _publish(staging: Path, folder: Path) -> None:
    try:
        staging.rename(folder)
    except OSError:
        if not folder.is_dir():  # otherwise another synthesis finished the same folder first
            raise


def _package_files() -> Iterator[Path]:
    for path in sorted(PACKAGE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
            yield path


def _content_key(packages: Path, recipes_json: str) -> str:
    key = hashlib.sha256(packages.name.encode())
    for path in _package_files():
        content = path.read_bytes()
        key.update(f"\0{path.relative_to(PACKAGE).as_posix()}\0{len(content)}\0".encode() + content)
    key.update(b"\0recipes\0" + recipes_json.encode())
    return key.hexdigest()[:16]


def normalize(folder: Path) -> None:
    """Give every file and folder the same mode and time on every machine."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (_EPOCH, _EPOCH))
