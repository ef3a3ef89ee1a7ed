"""What points to the images of a recipe, in every Region that it names, before and after a bake."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bakery.naming import POINTERS, TAG_CLONE_OF, label_pointer, pointer, previous_pointer
from bakery.recipe import Recipe, parse_recipe
from tests.functional.conftest import Ended, World

Place = tuple[str, str]
"""A Region, and in it the name of a parameter or the id of a launch template."""


@dataclass(frozen=True)
class Version:
    """One of a launch template."""

    number: int
    is_default: bool
    image: str


@dataclass(frozen=True)
class Published:
    """All that is looked at: one of these equals another when nothing at all has moved."""

    parameters: Mapping[Place, str] = field(default_factory=dict)
    """Everything below the recipe's path, whether the bakery should have put it or not."""
    templates: Mapping[Place, tuple[Version, ...]] = field(default_factory=dict)
    """The oldest version first."""

    @classmethod
    def of(cls, world: World, name: str) -> "Published":
        recipe = deployed_recipe(world, name)
        return cls(
            parameters={
                (region, parameter): image
                for region in regions(world, recipe)
                for parameter, image in _parameters(world, name, region)
            },
            templates={
                (region, template): _versions(world, template, region)
                for region, template in _templates(world, recipe)
            },
        )


def violations(
    world: World, name: str, ended: Ended, before: Published, told: str
) -> Iterator[str]:
    """What is not as the end of the bake says: all moved, or nothing but what ``told`` names."""
    now = Published.of(world, name)
    if ended.status == "SUCCEEDED":
        yield from _not_moved(world, name, ended, before, now)
    else:
        yield from _not_back(name, before, now, told)
    yield from _dangling(world, name, now)


def _not_moved(
    world: World, name: str, ended: Ended, before: Published, now: Published
) -> Iterator[str]:
    """No recipe of the scenes lets a Region be left out: a mixture is never right."""
    recipe = deployed_recipe(world, name)
    copies = {it: _copy(world, ended.name, it) for it in regions(world, recipe)}
    told = {world.aws.region: ended.output["image"]["id"], **ended.output["copies"]}
    if told != copies:
        yield f"the bake tells of {told} and has made {copies}"
    names = [pointer(name), *(label_pointer(name, it) for it in recipe.publish.labels)]
    expected: dict[Place, str | None] = {
        **before.parameters,
        **{
            (region, previous_pointer(name)): held
            for (region, it), held in before.parameters.items()
            if it == pointer(name)
        },
        **{(region, it): copy for region, copy in copies.items() for it in names},
    }
    for region, it in sorted({*expected, *now.parameters}):
        found, image = now.parameters.get((region, it)), expected.get((region, it))
        if found != image:
            yield f"{it} in {region} is {found}, not {image}"
    for (region, template), versions in now.templates.items():
        (*older, newest), were = versions, before.templates[region, template]
        if (newest.image, newest.is_default) != (copies[region], recipe.publish.default_version):
            yield f"launch template {template} in {region} has {newest}, not {copies[region]}"
        if [(it.number, it.image) for it in older] != [(it.number, it.image) for it in were]:
            yield f"launch template {template} in {region} had {were} and has {versions}"


def _not_back(name: str, before: Published, now: Published, told: str) -> Iterator[str]:
    """What is told may be anyhow; so may the previous pointer of a Region whose pointer is told:
    the one goes back with the other."""
    for region, it in sorted({*before.parameters, *now.parameters}):
        was, found = before.parameters.get((region, it)), now.parameters.get((region, it))
        what = pointer(name) if it == previous_pointer(name) else it
        if found != was and not re.search(rf"{re.escape(what)} in {region}\b", told):
            yield f"{it} in {region} moved from {was} to {found} though the bake failed"
    for (region, template), versions in now.templates.items():
        were = before.templates[region, template]
        if versions != were and not re.search(rf"launch template {template}( in {region})?:", told):
            yield f"launch template {template} in {region} had {were} and has {versions}"


def _dangling(world: World, name: str, now: Published) -> Iterator[str]:
    for (region, it), image in now.parameters.items():
        ec2 = world.aws.client("ec2", region)
        found = ec2.describe_images(Filters=[{"Name": "image-id", "Values": [image]}])["Images"]
        states = [it["State"] for it in found]
        if it != previous_pointer(name) and states != ["available"]:
            yield f"the image of {it} in {region}, {image}, is {states or 'gone'}"


def deployed_recipe(world: World, name: str) -> Recipe:
    """The recipe as the functions have it."""
    (plan,) = [it for it in world.aws.lambdas.functions.values() if ".plan." in it.handler]
    content = json.loads((plan.root / "recipes.json").read_text(encoding="utf-8"))
    return parse_recipe(name, content[name])


def regions(world: World, recipe: Recipe) -> list[str]:
    return list(dict.fromkeys([world.aws.region, *(it.region for it in recipe.distribute)]))


def _templates(world: World, recipe: Recipe) -> list[Place]:
    home = [(world.aws.region, it) for it in recipe.publish.launch_templates]
    return home + [(it.region, id_) for it in recipe.distribute for id_ in it.launch_templates]


def _parameters(world: World, name: str, region: str) -> Iterator[tuple[str, str]]:
    pages = world.aws.client("ssm", region).get_paginator("get_parameters_by_path")
    for page in pages.paginate(Path=f"{POINTERS}/{name}", Recursive=True):
        yield from ((it["Name"], it["Value"]) for it in page["Parameters"])


def _versions(world: World, template: str, region: str) -> tuple[Version, ...]:
    pages = world.aws.client("ec2", region).get_paginator("describe_launch_template_versions")
    found = [
        Version(it["VersionNumber"], it["DefaultVersion"], it["LaunchTemplateData"]["ImageId"])
        for page in pages.paginate(LaunchTemplateId=template)
        for it in page["LaunchTemplateVersions"]
    ]
    return tuple(sorted(found, key=lambda it: it.number))


def _copy(world: World, bake: str, region: str) -> str | None:
    """The one image of the bake there; None if there is none, or more than one."""
    images = [
        it["ImageId"]
        for it in world.tagged("image", bake, region)
        if TAG_CLONE_OF not in {tag["Key"] for tag in it["Tags"]}
    ]
    return images[0] if len(images) == 1 else None
