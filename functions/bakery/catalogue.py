"""The recipes that this deployment carries, as synthesis stored them beside the code."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from bakery.errors import UnknownRecipeError
from bakery.recipe import AmiBase, Recipe, RecipeBase, parse_recipe

FILE = "recipes.json"


def load(name: str) -> Recipe:
    """The deployed recipe of that name.

    Raises UnknownRecipeError with the names that exist, InvalidRecipeError if it does not fit the
    model (which synthesis should have refused).
    """
    deployed = _deployed()
    if name not in deployed:
        raise UnknownRecipeError(f"There is no recipe '{name}'. {names_hint()}")
    return parse_recipe(name, deployed[name])


def all_recipes() -> dict[str, Recipe]:
    """Every deployed recipe by its name; raises as ``load`` does."""
    return {name: load(name) for name in sorted(_deployed())}


def followers(name: str) -> list[str]:
    """The recipes that bake when that one has a new image: built on it, and not told otherwise."""
    return [
        other
        for other, recipe in all_recipes().items()
        if isinstance(recipe.base, RecipeBase) and recipe.base.recipe == name and recipe.base.follow
    ]


def names_hint() -> str:
    """A sentence with the names that exist."""
    names = sorted(_deployed())
    return f"Deployed recipes: {', '.join(names)}." if names else "No recipe is deployed."


def pinned_bases() -> dict[str, str]:
    """Images that recipes are built on by their id, each with one of these recipes."""
    return {it.base.ami: name for name, it in all_recipes().items() if isinstance(it.base, AmiBase)}


@cache
def _deployed() -> dict[str, Any]:
    # LAMBDA_TASK_ROOT is where Lambda unpacked the asset.
    path = Path(os.environ["LAMBDA_TASK_ROOT"]) / FILE
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
