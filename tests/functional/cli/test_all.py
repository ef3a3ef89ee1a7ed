"""``bakery bake --all`` in front of an account: what it shows, and what it exits with."""

import re

import pytest

from tests.functional.cli.conftest import Bakery
from tests.functional.conftest import RECIPES, World

pytestmark = pytest.mark.long

ROOTS = sorted({path.stem for path in RECIPES.glob("*.yaml")} - {"child"})


def test_a_run_over_all_recipes_shows_how_each_fared(bakery: Bakery, world: World) -> None:
    world.aws.agent.script("AmiBakery.web.packages", exit_code=3, stderr="no space left")
    said = bakery("bake", "--all")
    assert said.code == 1
    assert f"{len(ROOTS)} recipes to look at: {', '.join(ROOTS)}" in said.lines
    (failed,) = [text for text in said.lines if text.startswith("  web: failed, execution web-fl")]
    assert failed
    assert "no space left" in said.out
    for recipe in {*ROOTS, "child"} - {"web"}:
        image = world.pointer(recipe)
        assert f"  {recipe}: baked, {image}" in said.lines
    assert f"1 of {len(ROOTS) + 1} recipes were not baked, " in said.out
    assert re.search(r"- web: failed \(States.TaskFailed\) \(execution web-fleet-", said.out)
    again = bakery("bake", "--all")
    assert (again.code, again.lines[-1]) == (0, "Every recipe is up to date.")
    assert f"  small: unchanged, {world.pointer('small')}" in again.lines
    assert f"  web: baked, {world.pointer('web')}" in again.lines


def test_a_run_can_be_left_to_itself(bakery: Bakery, world: World) -> None:
    said = bakery("bake", "--all", "--detach")
    assert said.code == 0
    assert said.lines[-1].startswith("arn:aws:states:eu-west-1:123456789012:execution:AmiBakery-Fl")
    assert world.ended(said.lines[-1], seconds=120).status == "SUCCEEDED"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("bake",), "Which recipe?"),
        (("bake", "small", "--all"), "--all takes only --force and --detach."),
        (("bake", "--all", "--keep-on-failure"), "--all takes only"),
        (("bake", "--all", "--local", "--detach"), "so a bake cannot be left to it"),
    ],
)
def test_what_makes_no_sense_is_refused(
    bakery: Bakery, arguments: tuple[str, ...], says: str
) -> None:
    said = bakery(*arguments)
    assert said.code != 0
    assert says in said.err
