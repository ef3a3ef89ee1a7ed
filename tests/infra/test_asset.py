"""The Lambda asset: complete for Lambda's own platform, and the same bytes everywhere."""

import ast
import hashlib
import os
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, version
from pathlib import Path

import pydantic_core
import pytest
from aws_cdk import FileSystem
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bakery.aws import SERVICES
from infra import asset
from infra.asset import PROJECT, DependenciesMissingError, dependencies_folder, stage_asset
from scripts import build_dependencies
from tests.infra.import_graph import missing_imports

RECIPES = '{"web": {"description": "a recipe"}}'
LAMBDA_ENVIRONMENT = {
    "python_version": "3.13",
    "python_full_version": "3.13.0",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "aarch64",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
    "os_name": "posix",
}


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stage_asset(recipes_json=RECIPES, destination=tmp_path_factory.mktemp("asset"))


def tree(folder: Path) -> dict[str, tuple[str, int, float]]:
    """Path to content hash, mode and time of everything below ``folder``."""
    return {
        path.relative_to(folder).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder",
            path.stat().st_mode,
            path.stat().st_mtime,
        )
        for path in folder.rglob("*")
    }


def distributions(folder: Path) -> dict[str, Distribution]:
    found = (Distribution.at(path) for path in folder.glob("*.dist-info"))
    return {canonicalize_name(each.metadata["Name"]): each for each in found}


def handlers() -> list[str]:
    package = asset.PACKAGE
    return [
        f"bakery.{folder}.{path.stem}"
        for folder in ("tasks", "jobs")
        for path in sorted((package / folder).glob("*.py"))
        if path.stem != "__init__"
    ]


def test_staging_twice_gives_the_same_bytes_modes_and_times(staged: Path, tmp_path: Path) -> None:
    again = stage_asset(recipes_json=RECIPES, destination=tmp_path)
    assert again.name == staged.name
    assert tree(again) == tree(staged)


def test_the_cdk_gives_both_the_same_asset_hash(staged: Path, tmp_path: Path) -> None:
    again = stage_asset(recipes_json=RECIPES, destination=tmp_path / "another checkout")
    assert FileSystem.fingerprint(str(again)) == FileSystem.fingerprint(str(staged))


def test_other_recipes_give_another_folder(staged: Path, tmp_path: Path) -> None:
    other = stage_asset(recipes_json="{}", destination=tmp_path)
    assert other.name != staged.name
    assert (other / "recipes.json").read_text() == "{}"
    assert (staged / "recipes.json").read_text() == RECIPES


def test_a_staged_folder_is_reused(staged: Path) -> None:
    before = staged.stat().st_ino
    assert stage_asset(recipes_json=RECIPES, destination=staged.parent).stat().st_ino == before


def test_missing_dependencies_name_the_command_that_fetches_them(tmp_path: Path) -> None:
    with pytest.raises(DependenciesMissingError, match="make dependencies"):
        stage_asset(recipes_json="{}", destination=tmp_path, dependencies=tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def test_unpacking_the_same_wheels_twice_gives_the_same_tree(tmp_path: Path) -> None:
    built = dependencies_folder()
    wheels = built.parent.parent / "wheels" / built.name
    old_mask = os.umask(0o077)
    try:
        build_dependencies.unpack(wheels, tmp_path / "again")
    finally:
        os.umask(old_mask)
    assert tree(tmp_path / "again") == tree(built)


def test_a_changed_lock_needs_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dependencies_folder()
    changed = tmp_path / "requirements.lock"
    changed.write_bytes(asset.LOCK.read_bytes() + b"# changed\n")
    monkeypatch.setattr(asset, "LOCK", changed)
    assert dependencies_folder() != before


def test_every_import_that_a_handler_reaches_is_in_the_asset(staged: Path) -> None:
    assert missing_imports(staged, handlers()) == []


def test_a_missing_package_is_noticed(staged: Path, tmp_path: Path) -> None:
    broken = tmp_path / "asset"
    shutil.copytree(staged, broken, ignore=shutil.ignore_patterns("jmespath"))
    found = missing_imports(broken, ["bakery.aws.clients"])
    assert any(name.startswith("jmespath") for _, name in found)


def test_compiled_files_are_for_lambda(staged: Path) -> None:
    compiled = [path.name for path in staged.rglob("*.so")]
    assert compiled
    for name in compiled:
        assert name.endswith((".cpython-313-aarch64-linux-gnu.so", ".abi3.so")), name


def test_the_requirements_of_every_package_are_in_the_asset(staged: Path) -> None:
    present = distributions(staged)
    for name, distribution in present.items():
        for text in distribution.requires or []:
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate(
                {**LAMBDA_ENVIRONMENT, "extra": ""}
            ):
                continue
            needed = present.get(canonicalize_name(requirement.name))
            assert needed is not None, f"{name} needs {text}"
            assert requirement.specifier.contains(needed.version, prereleases=True), text


def test_lambda_runs_the_versions_that_the_tests_use(staged: Path) -> None:
    shipped = {name: each.version for name, each in distributions(staged).items()}
    assert shipped == {name: version(name) for name in shipped}


def test_the_asset_is_small_and_holds_no_leftovers(staged: Path) -> None:
    assert build_dependencies.size(staged) < 20_000_000
    assert not [path for path in staged.rglob("*") if path.name in ("__pycache__", "tests")]
    services = {path.name for path in (staged / "botocore" / "data").iterdir() if path.is_dir()}
    assert services == set(SERVICES)


def test_bakery_makes_clients_only_of_the_services_in_the_asset() -> None:
    asked = {
        node.args[0].value
        for path in asset.PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "client"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    assert asked == set(SERVICES)


def test_every_handler_imports_from_the_asset_alone(staged: Path, tmp_path: Path) -> None:
    """With this machine's build of the one compiled package, and nothing else of this machine."""
    shutil.copytree(Path(pydantic_core.__file__).parent, tmp_path / "pydantic_core")
    program = f"""
import sys
sys.path[:0] = {[str(tmp_path), str(staged)]!r}
import importlib, boto3
for name in {SERVICES!r}:
    boto3.client(name, region_name="eu-west-1")
for name in {handlers()!r}:
    assert callable(importlib.import_module(name).handler), name
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_folder_of_the_project_is_shown_without_the_way_to_it(tmp_path: Path) -> None:
    assert build_dependencies.shown(PROJECT / "build/lambda/0a") == Path("build/lambda/0a")
    assert build_dependencies.shown(tmp_path) == tmp_path
