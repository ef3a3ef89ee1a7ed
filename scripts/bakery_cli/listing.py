"""``bakery recipes``: what can be baked."""

from collections.abc import Mapping
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bakery.recipe import AmiBase, InstanceBase, ParameterBase, Recipe, SearchBase
from infra.loading import load_recipes
from scripts.bakery_cli.screen import line
from scripts.bakery_cli.words import schedule


def show(screen: Console, folder: Path, current: Mapping[str, str] | None, why_not: str) -> None:
    """Print all recipes; ``current`` has their images, None if AWS was not asked."""
    recipes = load_recipes(folder)
    if not recipes:
        line(screen, f"There is no recipe in {folder}; see docs/recipe-reference.md.")
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for title in ("Recipe", "Base", "Steps", "Bakes", "Current image"):
        table.add_column(title, no_wrap=title in ("Recipe", "Current image"), overflow="fold")
    for name, recipe in recipes.items():
        when = schedule(recipe.schedule) if recipe.schedule else "when started"
        image = current.get(name, "none yet") if current is not None else "?"
        steps = str(len(recipe.customize))
        table.add_row(Text(name, "bold"), base(recipe), steps, when, image)
    screen.print(table)
    if why_not:
        line(screen, why_not, style="dim")


def base(recipe: Recipe) -> str:
    """Where a recipe starts from, in one line."""
    match recipe.base:
        case ParameterBase(parameter=parameter):
            return parameter.removeprefix("/aws/service/")
        case AmiBase(ami=image):
            return image
        case SearchBase(search=search):
            return f"newest {search.name} of {search.owner}"
        case InstanceBase(instance=instance):
            return instance
        case other:
            return f"recipe {other.recipe}"
