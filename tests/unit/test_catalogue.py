"""The recipes that a deployment carries."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery import catalogue
from bakery.errors import InvalidRecipeError, UnknownRecipeError
from tests.unit.samples import content, recipe


@pytest.fixture
def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that synthesis stores beside the code."""
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(tmp_path))
    catalogue._deployed.cache_clear()
    yield tmp_path / "recipes.json"
    catalogue._deployed.cache_clear()


def test_a_deployed_recipe_is_loaded_by_its_name(deployed: Path) -> None:
    step = {"name": "motd", "shell": "echo café >/etc/motd"}
    stored = {"web": content(customize=[step]), "db": content()}
    deployed.write_text(json.dumps(stored, ensure_ascii=False), "utf-8")
    assert catalogue.load("web") == recipe(customize=[step])


def test_an_unknown_recipe_is_answered_with_those_that_exist(deployed: Path) -> None:
    deployed.write_text(json.dumps({"web": content(), "db": content()}))
    with pytest.raises(UnknownRecipeError) as unknown:
        catalogue.load("wbe")
    assert str(unknown.value) == "There is no recipe 'wbe'. Deployed recipes: db, web."


def test_a_deployment_without_recipes_says_so(deployed: Path) -> None:
    deployed.write_text("{}")
    with pytest.raises(
        UnknownRecipeError, match="There is no recipe 'web'. No recipe is deployed."
    ):
        catalogue.load("web")


def test_a_stored_recipe_that_does_not_fit_the_model_is_refused_with_its_problems(
    deployed: Path,
) -> None:
    deployed.write_text(json.dumps({"web": content(speed=1)}))
    with pytest.raises(InvalidRecipeError, match="speed"):
        catalogue.load("web")


def test_one_broken_recipe_does_not_stop_the_others(deployed: Path) -> None:
    deployed.write_text(json.dumps({"web": content(), "db": None}))
    assert catalogue.load("web").description == "web tier"


def test_what_follows_a_recipe_builds_on_it_itself_and_was_not_told_to_wait(
    deployed: Path,
) -> None:
    stored = {
        "web": content(),
        "shop": content(base={"recipe": "web"}),
        "blog": content(base={"recipe": "web", "follow": True}),
        "cart": content(base={"recipe": "shop"}),
        "slow": content(base={"recipe": "web", "follow": False}),
    }
    deployed.write_text(json.dumps(stored))
    assert catalogue.followers("web") == ["blog", "shop"]
    assert catalogue.followers("shop") == ["cart"]
    assert catalogue.followers("cart") == catalogue.followers("gone") == []


def test_images_that_recipes_are_built_on_by_their_id_are_known(deployed: Path) -> None:
    pinned = content(base={"ami": "ami-0123456789abcdef0"})
    stored = {"web": pinned, "api": content(base={"recipe": "web"})}
    deployed.write_text(json.dumps(stored))
    assert catalogue.pinned_bases() == {"ami-0123456789abcdef0": "web"}
