"""A run over all recipes: bases before what builds on them, wave by wave. Pure.

A wave holds every recipe that can bake now. What builds on one that has failed is stopped.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bakery.bake import State
from bakery.errors import FleetFailedError
from bakery.naming import fleet_bake
from bakery.problems import shortened
from bakery.recipe import Flag, Recipe, RecipeBase

Outcome = Literal["baked", "unchanged", "failed", "stopped"]

_GOOD = ("baked", "unchanged")
_MOST_TOLD = 50
"""Recipes that a failure names; the output of a run has all."""


class FleetInput(BaseModel):
    """What an execution of the fleet's machine accepts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    force: Flag = Field(default=False, description="Bake even what has not changed.")


class Item(State):
    """One bake to start."""

    recipe: str
    bake: str
    """Name of its execution."""
    input: dict[str, Any]


class Done(State):
    """How one recipe fared."""

    recipe: str
    outcome: Outcome
    bake: str = ""
    image: str | None = None
    because: str = ""


def next_wave(
    recipes: Mapping[str, Recipe], done: Sequence[Done], *, run: str, force: bool
) -> tuple[list[Item], list[Done]]:
    """The bakes to start now, and those that are stopped because what they build on has failed.

    ``run`` is the ARN of the fleet's execution. Only what builds on no other recipe is forced: in a
    forced run all others have a new base, and one that has followed it already is up to date.
    """
    ended = {it.recipe: it for it in done}
    bases = {name: _base(recipe) for name, recipe in sorted(recipes.items())}
    stopped: list[Done] = []
    for name in _bases_first(bases):
        base = ended.get(bases[name] or "")
        if name not in ended and base is not None and base.outcome not in _GOOD:
            because = f"{base.recipe}, which it builds on, was {_WAS[base.outcome]}"
            ended[name] = Done(recipe=name, outcome="stopped", because=because)
            stopped.append(ended[name])
    items = []
    for name, base_name in bases.items():
        if name in ended or (base_name in bases and base_name not in ended):
            continue
        wanted: dict[str, Any] = {"recipe": name, "when_busy": "join"}
        if force and base_name not in bases:
            wanted["force"] = True
        items.append(Item(recipe=name, bake=fleet_bake(name, run), input=wanted))
    return items, stopped


_WAS = {"failed": "not baked", "stopped": "stopped"}


def _base(recipe: Recipe) -> str | None:
    return recipe.base.recipe if isinstance(recipe.base, RecipeBase) else None


def _bases_first(bases: Mapping[str, str | None]) -> list[str]:
    """All names, each after the one that it builds on; synthesis has refused circles."""

    def depth(name: str) -> int:
        base = bases.get(name)
        return 0 if base is None else 1 + depth(base)

    return sorted(bases, key=lambda name: (depth(name), name))


def failure(done: Sequence[Done]) -> FleetFailedError | None:
    """The error that a run ends with; None if every recipe is baked or unchanged."""
    bad = [it for it in done if it.outcome not in _GOOD]
    if not bad:
        return None
    lines = [
        f"- {it.recipe}: {it.because}" + (f" (execution {it.bake})" if it.bake else "")
        for it in bad[:_MOST_TOLD]
    ]
    if len(bad) > _MOST_TOLD:
        lines.append(f"- and {len(bad) - _MOST_TOLD} more")
    good = len(done) - len(bad)
    text = "\n".join(lines)
    return FleetFailedError(
        f"{len(bad)} of {len(done)} recipes were not baked, {good} are up to date:\n{text}\n"
        "See each execution's own error; the others are published. Then bake those that are left."
    )


def result_of(item: Mapping[str, Any]) -> Done:
    """How an item of the machine's Map fared: it has ``ended``, a bake's output, or ``error``."""
    known = {"recipe": item["recipe"], "bake": item["bake"]}
    if "ended" not in item:
        error = shortened(str(item.get("error", "unknown")), most=100)
        return Done(**known, outcome="failed", because=f"failed ({error})")
    ended = item["ended"]
    image = (ended.get("image") or {}).get("id")
    return Done(**known, outcome=ended["outcome"], image=image)
