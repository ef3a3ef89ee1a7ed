"""Whether the Regions, keys and launch templates that a recipe publishes to are there: looked at
before any money is spent."""

from collections.abc import Iterator

from bakery.aws import ec2, kms, templates
from bakery.errors import ServiceUnavailableError
from bakery.problems import Problem
from bakery.recipe import Destination, FastLaunch, Recipe


def closed_regions(recipe: Recipe) -> set[str]:
    """Regions of the recipe that are not enabled for the account, or are none at all."""
    named = {place.region for place in recipe.distribute}
    return named - ec2.enabled_regions() if named else set()


def look(recipe: Recipe, home: str) -> tuple[list[Problem], set[str]]:
    """Everything that would keep an image from a Region, with its path in the recipe; and the
    Regions that cannot be asked: closed ones, and those that do not answer and may be left out."""
    own = recipe.publish.launch_templates
    problems = list(_template_problems("publish.launch_templates", own, home))
    mute = closed_regions(recipe)
    for index, place in enumerate(recipe.distribute):
        path = f"distribute[{index}]"
        if place.region in mute:
            problems.append(
                Problem(
                    f"{path}.region",
                    f"{place.region} is no Region that is enabled for this account; correct it, or "
                    "enable it first",
                )
            )
            continue
        try:
            problems.extend(_problems_of(path, place))
        except ServiceUnavailableError:
            if not may_be_left_out(recipe, place.region, home):
                raise
            mute.add(place.region)
    return problems, mute


def may_be_left_out(recipe: Recipe, region: str, home: str) -> bool:
    """Whether the recipe is published without the Region if need be: CopyImage tries it again."""
    return region != home and recipe.publish.regions == "any"


def _problems_of(path: str, place: Destination) -> Iterator[Problem]:
    yield from _key_problems(path, place)
    templates_path = f"{path}.launch_templates"
    yield from _template_problems(templates_path, place.launch_templates, place.region)
    if place.fast_launch:
        yield from _fast_launch_problems(f"{path}.fast_launch", place.fast_launch, place.region)


def _fast_launch_problems(path: str, wanted: FastLaunch, region: str) -> Iterator[Problem]:
    """EC2 is asked for it only when the image is published."""
    latest = templates.latest_version(wanted.launch_template, region=region)
    if latest is None:
        yield Problem(
            f"{path}.launch_template",
            f"there is no launch template {wanted.launch_template} in {region}",
        )
    elif wanted.version > latest:
        yield Problem(
            f"{path}.version",
            f"{wanted.launch_template} in {region} has no version {wanted.version}; its latest is "
            f"{latest}",
        )


def _key_problems(path: str, place: Destination) -> Iterator[Problem]:
    if place.kms_key is None:
        return
    path, key = f"{path}.kms_key", kms.find_key(place.kms_key, region=place.region)
    if key is None:
        yield Problem(path, f"there is no key {place.kms_key} in {place.region}; correct its name")
    elif key.state != "Enabled":
        yield Problem(path, f"key {place.kms_key} in {place.region} is {key.state}, not Enabled")
    elif not key.symmetric:
        yield Problem(path, f"key {place.kms_key} is not symmetric, as EBS needs it; name another")
    elif place.shared and not key.ours:
        yield Problem(
            path,
            f"key {place.kms_key} is managed by AWS, and what it encrypts cannot be shared; name a "
            "customer managed key, or leave accounts and organizations empty",
        )


def _template_problems(path: str, ids: tuple[str, ...], region: str) -> Iterator[Problem]:
    if not ids:
        return
    there = templates.existing(ids, region=region)
    for index, id_ in enumerate(ids):
        if id_ not in there:
            yield Problem(f"{path}[{index}]", f"there is no launch template {id_} in {region}")
