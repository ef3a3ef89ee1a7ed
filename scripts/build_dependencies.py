"""Fetch the Lambda functions' dependencies for Lambda's own platform: ``make dependencies``.

pip downloads the wheels that the lock names and checks their hashes; they are unpacked here instead
of installed, so that nothing of this machine (its Python, its compiled files, the time) gets in.
botocore is cut down to the services that the bakery calls: whole it is larger than all the rest.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

from bakery.aws import SERVICES
from infra.asset import (
    ARCHITECTURE,
    BUILD,
    LOCK,
    PROJECT,
    PYTHON_VERSION,
    dependencies_folder,
    normalize,
)

# Newest first; Lambda's Python 3.13 runs on Amazon Linux 2023 with glibc 2.34.
_PLATFORMS = tuple(
    f"{libc}_{ARCHITECTURE}" for libc in ("manylinux_2_34", "manylinux_2_28", "manylinux2014")
)
_BOTOCORE_SHARED = (
    "_retry.json",
    "endpoints.json",
    "partitions.json",
    "sdk-default-configuration.json",
)
_METADATA_KEPT = ("METADATA", "licenses", "LICENSE", "LICENSE.txt", "NOTICE", "NOTICE.txt")
_DROPPED_FOLDERS = ("tests", "__pycache__")
_DROPPED_SUFFIXES = (".pyi", ".pyc", ".pyx", ".c", ".h", ".rst")


def main(argv: list[str] | None = None) -> int:
    """Fetch and unpack unless the folder of the current lock exists."""
    parser = argparse.ArgumentParser(description=__doc__, prog="build_dependencies")
    parser.add_argument("--wheels", type=Path, default=BUILD.parent / "wheels")
    parser.add_argument("--output", type=Path, default=BUILD)
    arguments = parser.parse_args(argv)
    folder = dependencies_folder(arguments.output)
    if folder.is_dir():
        return 0
    print("Fetching the Lambda dependencies (only when their lock changes)", flush=True)
    wheels = arguments.wheels / folder.name
    if problem := fetch(wheels):
        print(f"build_dependencies: {problem}", file=sys.stderr)
        return 1
    unpack(wheels, folder)
    print(f"{shown(folder)}: {size(folder) / 1e6:.1f} MB unpacked")
    return 0


def shown(folder: Path) -> Path:
    """A folder as somebody knows it who has just said `make`."""
    return folder.relative_to(PROJECT) if folder.is_relative_to(PROJECT) else folder


def fetch(wheels: Path) -> str | None:
    """Download the wheels of the lock; what went wrong, or None."""
    wheels.mkdir(parents=True, exist_ok=True)
    platforms = [option for name in _PLATFORMS for option in ("--platform", name)]
    command = [
        *(sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--require-hashes"),
        *("--only-binary", ":all:", "--implementation", "cp", "--python-version", PYTHON_VERSION),
        *("--abi", f"cp{PYTHON_VERSION.replace('.', '')}", "--abi", "abi3", "--abi", "none"),
        *platforms,
        *("--requirement", str(LOCK), "--dest", str(wheels)),
    ]
    done = subprocess.run(command, check=False)
    return None if done.returncode == 0 else "pip could not download the wheels, see above"


def unpack(wheels: Path, folder: Path) -> None:
    """Make ``folder`` from the wheels: complete and deterministic, or not there at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpack-") as name:
        target = Path(name) / "packages"
        for wheel in sorted(wheels.glob("*.whl")):
            _unpack_wheel(wheel, target)
        _keep_newest_api(target / "botocore" / "data")
        normalize(target)
        shutil.rmtree(folder, ignore_errors=True)
        target.rename(folder)


def _unpack_wheel(wheel: Path, target: Path) -> None:
    with ZipFile(wheel) as archive:
        for member in archive.infolist():
            inside = _installed_path(member.filename)
            if member.is_dir() or inside is None or not kept(inside):
                continue
            path = target / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(member))


def _installed_path(member: str) -> str | None:
    """Where a wheel's member is installed below site-packages; None when it is not (scripts)."""
    first, _, rest = member.partition("/")
    if not first.endswith(".data"):
        return member
    scheme, _, inside = rest.partition("/")
    return inside if scheme in ("purelib", "platlib") else None


def kept(path: str) -> bool:
    """Whether a wheel's file belongs in the asset; see also `_keep_newest_api`."""
    first, *rest = path.split("/")
    if first.endswith(".dist-info"):
        return rest[0] in _METADATA_KEPT
    if path.endswith(_DROPPED_SUFFIXES) or any(name in _DROPPED_FOLDERS for name in rest[:-1]):
        return False
    if path.startswith("botocore/data/"):
        return rest[1] in SERVICES or rest[1] in _BOTOCORE_SHARED
    # The data of boto3's resource layer, which the bakery does not use.
    return not path.startswith("boto3/data/")


def _keep_newest_api(botocore_data: Path) -> None:
    """Drop the API versions that botocore keeps for those who ask for an old one by name."""
    for service in SERVICES:
        versions = sorted(path for path in (botocore_data / service).iterdir() if path.is_dir())
        for old in versions[:-1]:
            shutil.rmtree(old)
        (versions[-1] / "examples-1.json").unlink(missing_ok=True)


def size(folder: Path) -> int:
    """Bytes in all files of ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
