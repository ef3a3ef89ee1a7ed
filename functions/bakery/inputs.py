"""What went into a recipe's images, kept in the table so that the next bake can name what changed.

One item for each recipe, with the parts of its current image and of the bake under way: the sweeper
looks at the whole table every minute. The tag of an image decides without it.
"""

import json
from collections.abc import Mapping

from bakery import clock
from bakery.aws import table
from bakery.fingerprint import Parts
from bakery.naming import TAG_BAKE

_DAYS = 400
"""An image that stays current for longer has its changes told by group only."""


def keep(
    table_name: str, recipe: str, *, bake: str, parts: Parts, current: Mapping[str, str]
) -> None:
    """Keep the parts of a bake beside those of the current image, whose tags are given.

    Safe to repeat. The bake must have the recipe's lease.
    """
    known = _known(table_name, recipe)
    kept = {it: known[it] for it in [current.get(TAG_BAKE, "")] if it in known}
    text = json.dumps({**kept, bake: parts}, separators=(",", ":"))
    table.remember(table_name, _key(recipe), text, clock.now(), days=_DAYS)


def of_image(table_name: str, recipe: str, tags: Mapping[str, str]) -> Parts:
    """The parts of the image with these tags; empty when they are not known."""
    return _known(table_name, recipe).get(tags.get(TAG_BAKE, ""), {})


def _known(table_name: str, recipe: str) -> dict[str, Parts]:
    text = table.recall(table_name, _key(recipe))
    return json.loads(text) if text else {}


def _key(recipe: str) -> str:
    return f"inputs#{recipe}"
