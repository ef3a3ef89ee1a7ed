"""Moving pointers by hand: which parameters move, from what to what. Pure.

A rollback moves a recipe's pointer to an image of before, a promotion one label to what another
has; both in every Region of the recipe, or nowhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bakery import naming
from bakery.bake import State, Template
from bakery.errors import CannotMovePointerError
from bakery.formats import AMI_ID, LABEL
from bakery.problems import Problem
from bakery.recipe import Flag, RecipeName
from bakery.resources import Image

Why = Literal["rollback", "promote"]


class Asked(BaseModel):
    """The input of an execution that moves pointers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: RecipeName = Field(description="Name of a deployed recipe.")
    to: str | None = Field(
        default=None,
        pattern=AMI_ID.pattern,
        description="Roll back to this image, by its id in the bakery's own Region; without it, to "
        "the previous one.",
    )
    from_label: str | None = Field(
        default=None, pattern=LABEL.pattern, description="Promote the image that has this label."
    )
    to_label: str | None = Field(
        default=None, pattern=LABEL.pattern, description="The label that gets it."
    )
    new_label: Flag = Field(default=False, description="The label may be one that is not there.")
    by: str = Field(default="", max_length=256, description="Who asks; the command line says it.")

    @model_validator(mode="after")
    def _one_of_both(self) -> "Asked":
        if (self.from_label is None) != (self.to_label is None):
            raise ValueError("name both labels, from_label and to_label, or none for a rollback")
        if self.from_label and self.to:
            raise ValueError("to is for a rollback; a promotion takes what from_label has")
        if self.from_label and self.from_label == self.to_label:
            raise ValueError("from_label and to_label are the same")
        return self

    @property
    def why(self) -> Why:
        return "promote" if self.from_label else "rollback"

    @property
    def source(self) -> str:
        """The parameter that holds the image to move to, unless it is named."""
        if self.from_label:
            return naming.label_pointer(self.recipe, self.from_label)
        return naming.previous_pointer(self.recipe)

    @property
    def moved(self) -> str:
        """The parameter that moves."""
        if self.to_label:
            return naming.label_pointer(self.recipe, self.to_label)
        return naming.pointer(self.recipe)


class Change(State):
    """One parameter in one Region."""

    region: str
    parameter: str
    before: str | None
    """None: there is no such parameter."""
    after: str
    description: str


class NewVersion(State):
    """A launch template that gets a version with the image."""

    region: str
    id: str
    image_id: str
    default: bool
    """Whether the version becomes the template's default."""


@dataclass(frozen=True)
class Place:
    """One Region of the recipe, as AWS shows it."""

    region: str
    held: Mapping[str, str]
    """The recipe's parameters here, by name."""
    images: tuple[Image, ...]
    """The image to move to, or what this account has here as its copies of the same bake."""
    current: Image | None
    """What the moving parameter holds, if it is there."""
    home: bool
    """Whether it is the bakery's own Region."""


def unknown_source(asked: Asked, held: Mapping[str, str]) -> str:
    """Why there is nothing to move to."""
    if asked.from_label:
        return f"no image of recipe '{asked.recipe}' has the label '{asked.from_label}'; " + labels(
            asked.recipe, held
        )
    return (
        f"recipe '{asked.recipe}' has no previous image: {asked.source} is not there; name an "
        "image with --to"
    )


def labels(recipe: str, held: Mapping[str, str]) -> str:
    """A sentence with the labels that exist."""
    prefix = naming.label_pointer(recipe, "")
    names = sorted(name.removeprefix(prefix) for name in held if name.startswith(prefix))
    return f"labels: {', '.join(names)}" if names else "it has no labels yet"


def changes(asked: Asked, target: str, places: Sequence[Place]) -> tuple[Change, ...]:
    """What moves, the parameter that people launch from first; nothing if a promotion finds the
    label where it should be.

    Raises CannotMovePointerError with everything that keeps a Region from moving.
    """
    problems = list(_problems(asked, target, places))
    if problems:
        raise CannotMovePointerError(asked.recipe, problems)
    found = [(place, _usable(asked, place)) for place in places]
    moves = [
        Change(
            region=place.region,
            parameter=asked.moved,
            before=place.held.get(asked.moved),
            after=image.id,
            description=f"Image of recipe {asked.recipe} with label {asked.to_label}"
            if asked.to_label
            else f"Current image of recipe {asked.recipe}",
        )
        for place, images in found
        for image in images
        if place.held.get(asked.moved) != image.id
    ]
    if asked.why == "promote":
        return tuple(moves)
    if not moves:
        text = f"{target} is its current image already"
        raise CannotMovePointerError(asked.recipe, [Problem("", text)])
    regions = {it.region for it in moves}
    return (*moves, *_ways_back(asked, [it for it in places if it.region in regions]))


def new_versions(
    asked: Asked, templates: Sequence[Template], places: Sequence[Place], *, default: bool
) -> tuple[NewVersion, ...]:
    """What launches from templates goes back with the pointer; a label has none."""
    if asked.why == "promote":
        return ()
    images = {place.region: image.id for place in places for image in _usable(asked, place)}
    return tuple(
        NewVersion(region=it.region, id=it.id, image_id=images[it.region], default=default)
        for it in templates
        if it.region in images
    )


def _problems(asked: Asked, target: str, places: Sequence[Place]) -> Iterator[Problem]:
    home = next(place for place in places if place.home)
    if asked.to_label and not asked.new_label and asked.moved not in home.held:
        text = (
            f"there is no label '{asked.to_label}'; {labels(asked.recipe, home.held)}; say --new "
            "to make it"
        )
        yield Problem("", text)
    for place in places:
        usable = _usable(asked, place)
        if len(usable) == 1:
            continue
        if usable:
            ids = ", ".join(image.id for image in usable)
            text = f"which of {ids} is meant is not clear: they are of the same bake"
        elif place.images:
            text = "; ".join(_not_usable(image, asked.recipe) for image in place.images)
        elif place.home:
            text = f"there is no image {target} of this account"
        else:
            text = f"there is no copy of {target} here; bake again, or take the Region away"
        yield Problem(place.region, text)


def _usable(asked: Asked, place: Place) -> list[Image]:
    """The images of the place that the parameter could move to; there should be one."""
    return [
        image
        for image in place.images
        if image.state == "available" and image.tags.get(naming.TAG_RECIPE) == asked.recipe
    ]


def _not_usable(image: Image, recipe: str) -> str:
    made_by = image.tags.get(naming.TAG_RECIPE)
    if made_by != recipe:
        whose = f"of recipe '{made_by}'" if made_by else "of no recipe"
        return f"image {image.id} is {whose}"
    hint = "; enable it first: aws ec2 enable-image" if image.state == "disabled" else ""
    return f"image {image.id} is {image.state}{hint}"


def _ways_back(asked: Asked, places: Sequence[Place]) -> Iterator[Change]:
    """What was current becomes the previous image, so that a second rollback goes back again, and
    it is remembered as rolled back, so that nothing bakes the same once more.

    One that is gone is no way back, and Parameter Store would refuse it.
    """
    rolled_back = naming.rolled_back_pointer(asked.recipe)
    ways = {
        naming.previous_pointer(asked.recipe): "Previous image of recipe",
        rolled_back: "Last image that was rolled back, of recipe",
    }
    for place in places:
        if place.current is None or place.current.state != "available":
            continue
        for parameter, what in ways.items():
            # Plan looks in the bakery's own Region only.
            if parameter == rolled_back and not place.home:
                continue
            if place.held.get(parameter) != place.current.id:
                yield Change(
                    region=place.region,
                    parameter=parameter,
                    before=place.held.get(parameter),
                    after=place.current.id,
                    description=f"{what} {asked.recipe}",
                )
