"""Whose base images are taken, and which of theirs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from bakery.origin import origin_problems
from bakery.resources import Image
from tests.unit.samples import IMAGE, NOW, recipe

CANONICAL, HOME = "099720109477", "111122223333"
AMI = {"ami": "ami-0123456789abcdef0"}
PARAMETER = {"parameter": "/aws/service/canonical/x"}
SEARCH = {"search": {"owner": CANONICAL, "name": "ubuntu-*"}}
RECIPE = {"recipe": "other"}
EVERY = [AMI, PARAMETER, SEARCH, RECIPE]
OWN = replace(IMAGE, owner=HOME)
AMAZON = replace(IMAGE, owner="137112412989", owner_alias="amazon")
PAST, FUTURE = "2026-01-31T02:59:00.000Z", "2026-01-31T03:01:00.000Z"


def problems(source: Mapping[str, Any], image: Image, *allowed: str) -> list[tuple[str, str]]:
    base = recipe(base=source).base
    found = origin_problems(base, image, account=HOME, allowed=allowed, now=NOW)
    return [(problem.path, problem.message) for problem in found]


def own_if_of_a_recipe(source: Mapping[str, Any], **changes: Any) -> Image:
    return replace(OWN if source == RECIPE else IMAGE, **changes)


@pytest.mark.parametrize("source", EVERY)
def test_without_a_list_and_a_statement_anybodys_image_is_taken(source: Mapping[str, Any]) -> None:
    assert problems(source, own_if_of_a_recipe(source)) == []


@pytest.mark.parametrize(
    ("stated", "image"),
    [
        ({"owner": CANONICAL}, IMAGE),
        ({"owner": "self"}, OWN),
        ({"owner": HOME}, OWN),
        ({"owner": "amazon"}, AMAZON),
        ({"name": "ubuntu-22.04"}, IMAGE),
        ({"name": "ubuntu-??.*"}, IMAGE),
        ({"name": "a [b] (c)*"}, replace(IMAGE, name="a [b] (c) 1")),
        ({"owner": CANONICAL, "name": "*22*"}, IMAGE),
    ],
)
@pytest.mark.parametrize("source", [AMI, PARAMETER])
def test_an_image_that_is_as_stated_is_taken(
    source: Mapping[str, Any], stated: Mapping[str, str], image: Image
) -> None:
    assert problems({**source, **stated}, image) == []


@pytest.mark.parametrize(
    ("stated", "image", "path", "words"),
    [
        (
            {"owner": "self"},
            IMAGE,
            "base.owner",
            f"is self, but image {IMAGE.id} (ubuntu-22.04) is",
        ),
        ({"owner": HOME}, IMAGE, "base.owner", f"is {HOME}, but image"),
        ({"owner": CANONICAL}, OWN, "base.owner", f"is owned by {HOME}; find out who"),
        # The alias is what EC2 says, not what anybody may call an image.
        ({"owner": "amazon"}, replace(IMAGE, name="amazon"), "base.owner", "is amazon, but image"),
        ({"owner": CANONICAL}, AMAZON, "base.owner", "owned by 137112412989 (amazon)"),
        ({"name": "ubuntu-24.04*"}, IMAGE, "base.name", "is named 'ubuntu-22.04'; correct the"),
        ({"name": "ubuntu-22"}, IMAGE, "base.name", "is 'ubuntu-22', but image"),
        ({"name": "ubuntu-22X04"}, IMAGE, "base.name", "is 'ubuntu-22X04', but"),
        ({"name": "ubuntu.22.04"}, IMAGE, "base.name", "is 'ubuntu.22.04', but"),
    ],
)
@pytest.mark.parametrize("source", [AMI, PARAMETER])
def test_an_image_that_is_not_as_stated_is_refused(
    source: Mapping[str, Any], stated: Mapping[str, str], image: Image, path: str, words: str
) -> None:
    ((where, message),) = problems({**source, **stated}, image)
    assert where == path and words in message


@pytest.mark.parametrize("allowed", [(CANONICAL,), ("amazon", CANONICAL), ("self", CANONICAL)])
@pytest.mark.parametrize("source", [AMI, PARAMETER, SEARCH])
def test_an_image_of_an_owner_on_the_list_is_taken(
    source: Mapping[str, Any], allowed: tuple[str, ...]
) -> None:
    assert problems(source, IMAGE, *allowed) == []


@pytest.mark.parametrize("allowed", [("amazon",), ("self",), ("amazon", "self", "137112412989")])
@pytest.mark.parametrize("source", [AMI, PARAMETER, SEARCH])
def test_an_image_of_nobody_on_the_list_is_refused(
    source: Mapping[str, Any], allowed: tuple[str, ...]
) -> None:
    ((path, message),) = problems(source, IMAGE, *allowed)
    assert path == "base" and f"base images of {', '.join(allowed)} only" in message


def test_an_image_of_the_bakery_is_on_every_list_and_no_other_is_taken_for_one() -> None:
    """Who can move a pointer must not thereby choose what others build on."""
    assert problems(RECIPE, OWN, "amazon") == []
    for allowed in ((), (CANONICAL,)):
        ((path, message),) = problems(RECIPE, IMAGE, *allowed)
        assert path == "base.recipe" and f"is owned by {CANONICAL}, not by this" in message


def test_what_a_pointer_holds_may_be_deprecated() -> None:
    """Retention dates the deprecation of every image; the pointer says which one is current."""
    assert problems(RECIPE, own_if_of_a_recipe(RECIPE, deprecation_time=PAST)) == []


@pytest.mark.parametrize("source", [AMI, PARAMETER, SEARCH])
def test_a_deprecated_image_is_refused_unless_the_recipe_allows_it(
    source: Mapping[str, Any],
) -> None:
    ((path, message),) = problems(source, own_if_of_a_recipe(source, deprecation_time=PAST))
    assert path == "base" and "is deprecated since 2026-01-31" in message
    assert "allow_deprecated: true" in message
    allowing = {**source, "allow_deprecated": True}
    assert problems(allowing, own_if_of_a_recipe(source, deprecation_time=PAST)) == []
    assert problems(source, own_if_of_a_recipe(source, deprecation_time=FUTURE)) == []


def test_all_that_is_wrong_is_told() -> None:
    source = {**AMI, "owner": "self", "name": "other*"}
    found = problems(source, replace(IMAGE, deprecation_time=PAST), "amazon")
    assert [path for path, _ in found] == ["base.owner", "base.name", "base", "base"]
