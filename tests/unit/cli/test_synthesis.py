"""When the cloud assembly for the local AWS is made anew."""

import os
from pathlib import Path

import pytest

from scripts.bakery_cli import synthesis
from scripts.bakery_cli.errors import CommandError
from scripts.bakery_cli.synthesis import recipes_folder, synthesize

APP = """\
import json, os, pathlib, sys
folder = pathlib.Path(os.environ["CDK_OUTDIR"])
recipes = pathlib.Path(json.loads(os.environ["CDK_CONTEXT_JSON"])["recipes"])
if (recipes / "bad.yaml").exists():
    sys.exit("bad.yaml: is bad")
folder.mkdir(parents=True)
(folder / "manifest.json").write_text("{}")
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "cdk.json").write_text('{"context": {"kms_key": "k"}}')
    for name in ("requirements.lock", "infra/a.py", "functions/b.py", "documents/c.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "recipes").mkdir()
    monkeypatch.setattr(synthesis, "PROJECT", tmp_path)
    monkeypatch.setattr(synthesis, "ASSEMBLIES", tmp_path / "build" / "assembly")
    return tmp_path


def made(project: Path) -> tuple[Path, bool]:
    said: list[str] = []
    folder = synthesize(project / "recipes", said.append)
    assert (folder / "manifest.json").is_file()
    return folder, bool(said)


def test_a_second_synthesis_of_the_same_sources_is_not_run(project: Path) -> None:
    first, _ = made(project)
    assert made(project) == (first, False)


@pytest.mark.parametrize(
    "name", ["app.py", "cdk.json", "infra/a.py", "functions/new.py", "documents/c.yaml"]
)
def test_a_changed_source_is_synthesized_anew(project: Path, name: str) -> None:
    first, _ = made(project)
    path = project / name
    path.write_text((path.read_text() if path.exists() else "") + "\n")
    second, anew = made(project)
    assert anew and second != first


def test_a_changed_recipe_is_synthesized_anew_and_a_byte_code_file_is_no_source(
    project: Path,
) -> None:
    first, _ = made(project)
    (project / "infra/__pycache__").mkdir()
    (project / "infra/__pycache__/a.pyc").write_text("x")
    assert made(project) == (first, False)
    (project / "recipes/web.yaml").write_text("x")
    assert made(project)[1]


def test_what_the_app_complains_about_is_shown_and_nothing_is_kept(project: Path) -> None:
    (project / "recipes/bad.yaml").write_text("x")
    with pytest.raises(CommandError, match=r"cannot be synthesized:\nbad.yaml: is bad"):
        made(project)
    assert list((project / "build/assembly").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "folder"),
    [('{"context": {"recipes": "images"}}', "images"), ("{}", "recipes"), (None, "recipes")],
)
def test_the_folder_of_recipes_is_the_one_that_is_deployed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content:
        (tmp_path / "cdk.json").write_text(content)
    assert recipes_folder() == Path(folder)


def test_old_assemblies_are_forgotten_and_recent_ones_kept(project: Path) -> None:
    folder = project / "build" / "assembly"
    for number in range(8):
        (folder / f"{number:016x}").mkdir(parents=True)
        age = 2 * 86_400 if number < 6 else 60
        moment = (folder / f"{number:016x}").stat().st_mtime - age
        os.utime(folder / f"{number:016x}", (moment, moment))
    made(project)
    assert len(list(folder.iterdir())) == 4
