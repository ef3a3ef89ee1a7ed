"""Which images of a recipe have Windows fast launch in a Region, and which shall. Pure.

EC2 then boots an image ahead of time and keeps snapshots of what came of it, for its owner's money
and out of a quota of the Region: 40 launches at once, of which each image has at least six. So the
current image gets it; one that has it keeps it as long as a pointer of the recipe holds it, as a
way back; and of all others it is taken, before they are retired, because what a deregistered image
leaves of it belongs to nobody.
Source: EC2 user guide, "Use EC2 Fast Launch for your Windows instances".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bakery import naming
from bakery.recipe import FastLaunch

_FAILED_TO_ENABLE, _FAILED_TO_END = "enabling-failed", "disabling-failed"
_ENDING = {"disabling", _FAILED_TO_END}


class Act(StrEnum):
    """What is done with an image."""

    ENABLE = "enable fast launch"
    END = "end fast launch"
    TELL = "tell of fast launch"
    """Nothing: EC2 has a difficulty that it may overcome by itself."""


@dataclass(frozen=True)
class FastLaunched:
    """An image that has fast launch, as EC2 describes it; in any state."""

    image: str
    state: str
    reason: str = ""


@dataclass(frozen=True)
class Change:
    """What is to be done with one image, and why, in one line."""

    image: str
    act: Act
    reason: str
    force: bool = False
    """An end that has failed before."""

    def __str__(self) -> str:
        return f"{self.image}: {self.act}: {self.reason}"


def changes(
    recipe: str,
    images: Mapping[str, str],
    pointers: Mapping[str, str],
    has: Sequence[FastLaunched],
    wanted: FastLaunch | None,
) -> Iterator[Change]:
    """What a Region lacks of what the recipe wants there.

    ``images`` are those of the recipe, with their states; ``pointers`` every parameter of the
    bakery with the image that it holds; ``has`` every image of the account with fast launch.
    """
    current = pointers.get(naming.pointer(recipe))
    prefix = f"{naming.pointer(recipe).rpartition('/')[0]}/"
    held = {image: name for name, image in pointers.items() if name.startswith(prefix)}
    for it in has:
        if it.image not in images:
            continue  # somebody's else
        if wanted is None:
            yield from _end(it, "the recipe does not ask for it here")
        elif it.image not in held:
            yield from _end(it, "no pointer of the recipe holds the image")
        elif it.state == "enabled-failed":
            yield Change(it.image, Act.TELL, it.reason or "EC2 gives no reason")
    if wanted is None or current is None or images.get(current) != "available":
        return
    now = {it.image: it for it in has}.get(current)
    if now is None:
        yield Change(current, Act.ENABLE, "it is the current image")
    elif now.state == _FAILED_TO_ENABLE:
        yield Change(
            current, Act.ENABLE, f"EC2 could not before: {now.reason or 'no reason given'}"
        )


def _end(it: FastLaunched, why: str) -> Iterator[Change]:
    if it.state == _FAILED_TO_END:
        yield Change(it.image, Act.END, f"{why}; EC2 could not before: {it.reason}", force=True)
    elif it.state not in _ENDING:
        yield Change(it.image, Act.END, why)
