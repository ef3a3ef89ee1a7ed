"""Names, tags and parameter paths: computed here and nowhere else."""

import hashlib
import re
from datetime import UTC, datetime

TAGS = "ami-bakery:"
"""What the keys of all tags of the bakery begin with."""
TAG_RECIPE = "ami-bakery:recipe"
TAG_BAKE = "ami-bakery:bake"
TAG_ATTEMPT = "ami-bakery:attempt"
TAG_TEST = "ami-bakery:test"
"""Of a test instance, which one of its bake it is: 1, 2, ..."""
TAG_BASE_IMAGE = "ami-bakery:base-image"
TAG_FINGERPRINT = "ami-bakery:fingerprint"
TAG_CLONE_OF = "ami-bakery:clone-of"
"""Of an image and its snapshots: the running instance that they were made of, for one bake only;
they are no result, and go with the bake."""
TAG_CONVERTED_FROM = "ami-bakery:converted-from"
"""Of a volume, a snapshot and an image: the instance with an instance store root that they are a
copy of, by `bakery convert`. No bake made them, so no bake and no janitor removes them."""
TAG_DISABLED_AT = "ami-bakery:disabled-at"
"""Of an image: when it was disabled, ISO 8601; EC2 itself tells no date of that."""
TAG_RETIRED = "ami-bakery:retired-image"
"""Of a snapshot: the image that it goes with."""

EVENT_SOURCE = "ami-bakery"
MOVER = "AmiBakery-MovePointer"
"""Name of the state machine that rolls back and promotes."""
BAKE_SUCCEEDED = "Bake Succeeded"
"""Detail type of the event about a bake that has published an image."""
STAGE_SLOW = "Stage Slow"
"""Detail type of the event about a wait that takes longer than it usually does."""
DOCUMENT_PREFIX = "AmiBakery"

# Narrower than CreateImage's own rule (it also allows space, [ ] ' @) because EC2's error page
# documents this smaller set. Source: EC2 API reference, "Error codes", InvalidAMIName.Malformed.
_IMAGE_NAME = re.compile(r"[A-Za-z0-9()./_-]{3,128}")
_PLACEHOLDERS = ("recipe", "time", "date", "bake", "base")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


POINTERS = "/ami-bakery"
"""Path below which all pointers are."""
PROFILES = "/ami-bakery-profiles"
"""Path below which the profiles of builders are: no function may write there."""


def pointer(recipe: str) -> str:
    """SSM parameter that holds the current image of ``recipe``."""
    return f"{POINTERS}/{recipe}/image"


def previous_pointer(recipe: str) -> str:
    """SSM parameter that holds the image that was current before."""
    return f"{POINTERS}/{recipe}/previous-image"


def rolled_back_pointer(recipe: str) -> str:
    """SSM parameter that holds the image that was last rolled back: nothing bakes the same again
    by itself."""
    return f"{POINTERS}/{recipe}/rolled-back-image"


def label_pointer(recipe: str, label: str) -> str:
    """SSM parameter that holds the image of ``recipe`` that has the label."""
    return f"{POINTERS}/{recipe}/labels/{label}"


def instance_profile_parameter(recipe: str) -> str:
    """SSM parameter that holds the ARN of the recipe's own instance profile, if it has one."""
    # Apart from the pointers, which functions write.
    return f"{PROFILES}/{recipe}"


def slug(text: str) -> str:
    """``text`` as a part of a document's name: lower case, hyphens for all else."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def dependent_bake(recipe: str, base: str) -> str:
    """The execution that bakes ``recipe`` because there is a new base image; at most 73 characters
    of those that Step Functions and tags allow."""
    return f"{recipe}-on-{base}"


def fleet_bake(recipe: str, run: str) -> str:
    """The execution that bakes ``recipe`` in a run of the fleet with that ARN; at most 65
    characters, because a run's own name may have 80."""
    return f"{recipe}-fleet-{hashlib.sha256(run.encode()).hexdigest()[:10]}"


def fixed_document(stem: str) -> str:
    """Deployed name of ``documents/<stem>.yaml``."""
    return f"{DOCUMENT_PREFIX}-{stem}"


def step_document(recipe: str, step: str) -> str:
    """Deployed name of the document that a recipe's own script becomes.

    The two dots keep it apart from every fixed document and from another recipe's steps.
    """
    return f"{DOCUMENT_PREFIX}.{recipe}.{slug(step)}"


def test_document(recipe: str, step: str) -> str:
    """Deployed name of the document that a recipe's test becomes; a third dot keeps it apart from
    the steps, whose names have none."""
    return f"{DOCUMENT_PREFIX}.{recipe}.test.{slug(step)}"


def image_name(template: str, *, recipe: str, bake: str, base: str, moment: datetime) -> str:
    """The name of the image that ``bake`` makes; ``template`` must have passed the recipe model."""
    utc = moment.astimezone(UTC)
    return template.format(
        recipe=recipe, time=f"{utc:%Y%m%dT%H%M%SZ}", date=f"{utc:%Y-%m-%d}", bake=bake, base=base
    )


def clone_name(bake: str) -> str:
    """The name of the image of a running host that the bake begins with; at most 97 characters."""
    return f"ami-bakery-clone/{bake}"


def image_name_problem(template: str) -> str | None:
    """What is wrong with a name template, whatever it is used for; None if nothing."""
    unknown = [name for name in _PLACEHOLDER.findall(template) if name not in _PLACEHOLDERS]
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in _PLACEHOLDERS)
        return f"'{{{unknown[0]}}}' is unknown; use {known}"
    literal = _PLACEHOLDER.sub("", template)
    if strange := sorted(set(re.sub(r"[A-Za-z0-9()./_-]", "", literal))):
        return f"contains {strange[0]!r}; image names allow letters, digits and ( ) . / _ -"
    return None


def valid_image_name(name: str) -> bool:
    """Whether EC2 accepts ``name`` (3 to 128 characters of its set)."""
    return _IMAGE_NAME.fullmatch(name) is not None


def bake_tags(recipe: str, bake: str) -> dict[str, str]:
    """Tags of everything that a bake creates, given in the creating call."""
    return {TAG_RECIPE: recipe, TAG_BAKE: bake}


def clone_tags(recipe: str, bake: str, source: str) -> dict[str, str]:
    """Tags of the image of a running host, and of its snapshots."""
    return {**bake_tags(recipe, bake), TAG_CLONE_OF: source, "Name": clone_name(bake)}


def sentinel(bake: str) -> str:
    """The last line of what our own documents print."""
    return f"ami-bakery: {bake} done"
