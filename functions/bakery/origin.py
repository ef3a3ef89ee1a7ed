"""Whether a base image is whose it should be, and still its owner's choice. Pure.

An image can be had of anybody, and names are free: only the account that owns it says who made it.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime

from bakery import clock
from bakery.problems import Problem
from bakery.recipe import AmiBase, Base, InstanceBase, ParameterBase, RecipeBase, SearchBase
from bakery.resources import Image


def origin_problems(
    source: Base, image: Image, *, account: str, allowed: Sequence[str], now: datetime
) -> Iterator[Problem]:
    """Why the recipe, or the deployment, does not want this image.

    ``account`` is the stack's; ``allowed`` are the owners that the deployment takes base images of,
    none for anybody.
    """
    what = f"image {image.id} ({image.name})"
    match source:
        case InstanceBase():
            return
        case RecipeBase(recipe=recipe):
            if image.owner != account:
                yield Problem(
                    "base.recipe",
                    f"the pointer of recipe {recipe} holds {what}, which is owned by "
                    f"{_owner(image)}, not by this account; find out who has moved it, then bake "
                    "that recipe",
                )
            # Its own bakery calls it current; how old its recipe lets it become is its affair.
            return
        case ParameterBase() | AmiBase():
            yield from _not_as_stated(source, image, account)
            yield from _not_allowed(what, image, account, allowed)
        case SearchBase():
            yield from _not_allowed(what, image, account, allowed)
    since = image.deprecation_time
    if since and clock.parse(since) <= now and not source.allow_deprecated:
        yield Problem(
            "base",
            f"{what} is deprecated since {since[:10]}: its owner wants nobody to begin with it any "
            "more; choose a newer one, or write allow_deprecated: true",
        )


def _not_as_stated(
    source: ParameterBase | AmiBase, image: Image, account: str
) -> Iterator[Problem]:
    if source.owner and not _is_of(image, source.owner, account):
        yield Problem(
            "base.owner",
            f"is {source.owner}, but image {image.id} ({image.name}) is owned by {_owner(image)}; "
            "find out who has put it there, or correct the owner",
        )
    if source.name and not re.fullmatch(_pattern(source.name), image.name):
        yield Problem(
            "base.name",
            f"is '{source.name}', but image {image.id} is named '{image.name}'; correct the name, "
            "or choose another base image",
        )


def _not_allowed(
    what: str, image: Image, account: str, allowed: Sequence[str]
) -> Iterator[Problem]:
    if allowed and not any(_is_of(image, owner, account) for owner in allowed):
        yield Problem(
            "base",
            f"{what} is owned by {_owner(image)}, and this deployment takes base images of "
            f"{', '.join(allowed)} only; choose one of theirs, or add the owner to the context "
            "base_owners and deploy",
        )


def _is_of(image: Image, owner: str, account: str) -> bool:
    """Whether the owner, as recipes write it, has the image."""
    if owner == "amazon":
        return image.owner_alias == "amazon"
    return image.owner == (account if owner == "self" else owner)


def _owner(image: Image) -> str:
    return f"{image.owner} ({image.owner_alias})" if image.owner_alias else image.owner


def _pattern(name: str) -> str:
    """EC2's wildcards: brackets are no special characters to it, and may be in a name."""
    return "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in name)
