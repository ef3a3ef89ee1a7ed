"""The generated files are what the code makes of them today, and they are right."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bakery.recipe import Recipe
from infra.loading import load_yaml, recipe_files
from scripts.generate import __main__ as generate
from scripts.generate import recipe_reference, recipe_schema

PROJECT = Path(__file__).resolve().parents[2]
BASE = {"ami": "ami-0123456789abcdef0"}


@pytest.mark.parametrize(
    "name",
    ["docs/faults.md", "docs/recipe-reference.md", "docs/rights.md", "recipes/recipe.schema.json"],
)
def test_a_generated_file_is_not_stale(name: str) -> None:
    assert (PROJECT / name).read_text(encoding="utf-8") == generate.GENERATED[name](), (
        f"{name}: run `make generate`"
    )


def test_a_stale_file_is_told_and_only_written_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "PROJECT", tmp_path)
    monkeypatch.setattr(generate, "GENERATED", {"docs/a.md": lambda: "new\n"})
    monkeypatch.setattr(generate.stale, "__defaults__", (tmp_path,))
    assert generate.main(["--check"]) == 1
    assert "docs/a.md: is not what the code says; run `make generate`" in capsys.readouterr().err
    assert not (tmp_path / "docs").exists()
    assert generate.main([]) == 0
    assert (tmp_path / "docs/a.md").read_text() == "new\n"
    assert generate.main(["--check"]) == 0


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(recipe_schema.text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", recipe_files(PROJECT / "recipes"), ids=lambda path: path.stem)
def test_editors_find_no_fault_with_a_recipe_of_this_project(
    path: Path, validator: jsonschema.Draft202012Validator
) -> None:
    assert not list(validator.iter_errors(load_yaml(path)))


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"description": "x"},
        {"description": "x", "base": {}},
        {"description": "x", "base": {**BASE, "recipe": "other"}},
        {"description": "x", "base": BASE, "surprise": 1},
        {"description": "x", "base": {"search": {"name": "ubuntu"}}},
        {"description": "x", "base": BASE, "customize": [{"name": "a"}]},
        {"description": "x", "base": BASE, "customize": [{"name": "a", "reboot": False}]},
        {"description": "x", "base": BASE, "opsworks": "chef-13"},
    ],
)
def test_editors_mark_what_the_model_refuses(
    content: dict[str, Any], validator: jsonschema.Draft202012Validator
) -> None:
    assert list(validator.iter_errors(content))


def test_the_reference_describes_every_field_of_every_model() -> None:
    text = recipe_reference.text()
    schema = Recipe.model_json_schema()
    for model in [schema, *schema["$defs"].values()]:
        assert model["description"] in text
        for field, spec in model["properties"].items():
            assert f"| `{field}` |" in text
            assert "description" in spec, f"{model['title']}.{field} has no description"


def test_every_link_of_the_reference_leads_to_a_heading() -> None:
    text = recipe_reference.text()
    headings = {
        line[3:].lower().replace(" ", "-").replace(".", "").replace(":", "")
        for line in text.splitlines()
        if line.startswith("## ")
    }
    links = {part.partition(")")[0] for part in text.split("](#")[1:]}
    assert links and links <= headings
