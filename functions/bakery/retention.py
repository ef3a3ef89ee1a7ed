"""Which old images of a recipe go in one Region, and why each of the others stays. Pure.

An image goes in steps with time between them: EC2 calls it deprecated; it is disabled, so that
nobody can launch it, which can be undone; it is deregistered with its snapshots, which cannot.

Everything that is not known keeps an image: this is the most dangerous code of the product.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from bakery.naming import TAG_DISABLED_AT
from bakery.recipe import Retention

_WHOLE = ("available", "disabled")


class Verb(StrEnum):
    """What is done with an image."""

    KEEP = "keep"
    DEPRECATE = "deprecate"
    DISABLE = "disable"
    """Of one that another hand has disabled: only the day is noted, its grace period begins."""
    DEREGISTER = "deregister"


@dataclass(frozen=True)
class OldImage:
    """An image of the recipe, in whatever state."""

    id: str
    created: datetime
    state: str
    deprecated: datetime | None = None
    """When EC2 calls it deprecated, or will."""
    disabled_at: datetime | None = None
    """When it was disabled, as its tag says."""
    protected: bool = False
    """Whether EC2 refuses to deregister it."""
    launched: datetime | None = None
    """When it was last launched, by anybody; EC2 tells it a day late."""
    snapshots: tuple[str, ...] = ()
    bake: str = ""
    """The bake that made it, as its tag says; whoever copies an image may copy its tags."""


@dataclass(frozen=True)
class Evidence:
    """What AWS was asked about the use of one image."""

    uses: tuple[str, ...] = ()
    """Each use in words; none: it is not in use."""
    unknown: tuple[str, ...] = ()
    """What AWS does not tell yet."""
    failed: tuple[str, ...] = ()
    """Calls that AWS refused."""


@dataclass(frozen=True)
class Seen:
    """One Region, as AWS shows it."""

    images: tuple[OldImage, ...]
    pointers: Mapping[str, str]
    """Every parameter of the bakery, of all recipes, and the image that it holds."""
    bases: Mapping[str, str] = field(default_factory=dict)
    """Images that another recipe's image was made from, and that image."""
    named: Mapping[str, str] = field(default_factory=dict)
    """Images that something names which EC2's own check of references passes by."""
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    """By image; one without is not known to be unused, and stays."""

    def plus(self, evidence: Mapping[str, Evidence]) -> "Seen":
        """The same with more evidence."""
        return replace(self, evidence={**self.evidence, **evidence})


@dataclass(frozen=True)
class Decision:
    """What becomes of one image, and why, in one line."""

    image: OldImage
    verb: Verb
    reason: str

    def __str__(self) -> str:
        return f"{self.image.id}: {self.verb}: {self.reason}"


def decide(seen: Seen, policy: Retention, *, now: datetime) -> tuple[Decision, ...]:
    """One decision for each image, oldest first; at most ``policy.at_most`` are not ``keep``."""
    oldest_first = sorted(seen.images, key=lambda it: (it.created, it.id))
    line = _line(seen.images, policy.keep)
    found: list[Decision] = []
    acts = 0
    for image in oldest_first:
        verb, reason = _of(image, seen, policy, line, now)
        if verb is not Verb.KEEP and acts == policy.at_most:
            reason = f"waits for the next run, which may {verb} it: one run acts on {acts} at most"
            verb = Verb.KEEP
        elif verb is not Verb.KEEP and image.id not in seen.evidence:
            verb, reason = Verb.KEEP, "whether it is in use is not known: nobody has asked"
        acts += verb is not Verb.KEEP
        found.append(Decision(image, verb, reason))
    return tuple(found)


def to_ask(seen: Seen, policy: Retention, *, now: datetime) -> tuple[str, ...]:
    """Images of which only the evidence is missing: those that would go if they are not in use.

    No more than one run may act on; ask, add what was told, and call again until it is empty.
    """
    missing = {image.id: Evidence() for image in seen.images if image.id not in seen.evidence}
    assumed = decide(seen.plus(missing), policy, now=now)
    return tuple(
        it.image.id for it in assumed if it.verb is not Verb.KEEP and it.image.id in missing
    )


def _line(images: Sequence[OldImage], keep: int) -> datetime | None:
    """When the last of the newest ``keep`` was made; None: there are not so many.

    Only those count that can be launched: a disabled one is no way back. Several of one bake count
    once.
    """
    of_bakes: dict[str, datetime] = {}
    for it in images:
        if it.state == "available":
            which = it.bake or it.id
            of_bakes[which] = min(it.created, of_bakes.get(which, it.created))
    made = sorted(of_bakes.values(), reverse=True)
    return made[keep - 1] if len(made) >= keep else None


def _of(
    image: OldImage, seen: Seen, policy: Retention, line: datetime | None, now: datetime
) -> tuple[Verb, str]:
    for reason in _reasons_to_keep(image, seen, policy, now):
        return Verb.KEEP, reason
    age = now - image.created
    if why := _too_new(image, policy, line, age):
        due = policy.deprecate_after_days
        if image.state == "available" and not image.deprecated and due and _over(age, due):
            return Verb.DEPRECATE, f"is {_days(age)} old, and not in use"
        return Verb.KEEP, why
    if image.state == "disabled":
        return _once_disabled(image, policy, now)
    about = f"is {_days(age)} old, {policy.keep} newer ones are there, and it is not in use"
    if policy.deprecate_after_days and not image.deprecated:
        return Verb.DEPRECATE, about
    return Verb.DISABLE, about


def _reasons_to_keep(
    image: OldImage, seen: Seen, policy: Retention, now: datetime
) -> Iterator[str]:
    """Whatever its age; the first is told."""
    yield from _known_uses(image, seen)
    of_bake = [it for it in seen.images if it.bake == image.bake and it.state in _WHOLE]
    if image.bake and len(of_bake) > 1:
        yield (
            f"another image has the tag of bake {image.bake}, too, which makes one; take the tags "
            "of the bakery off the copy"
        )
    if image.state not in _WHOLE:
        yield f"is {image.state}"
    if image.protected and not policy.protect:
        yield "is protected against deregistration, and not by this recipe (retention.protect)"
    if image.state == "available" and image.disabled_at:
        yield (
            f"was disabled on {image.disabled_at:%Y-%m-%d} and somebody has enabled it again; "
            f"remove its tag {TAG_DISABLED_AT} to let it go"
        )
    if image.launched and not _over(now - image.launched, policy.unused_days):
        yield f"was launched on {image.launched:%Y-%m-%d}"
    evidence = seen.evidence.get(image.id, Evidence())
    if missing := (*evidence.failed, *evidence.unknown):
        yield f"whether it is in use is not known: {_and_more(missing)}"


def _known_uses(image: OldImage, seen: Seen) -> Iterator[str]:
    for name, held in seen.pointers.items():
        if held == image.id:
            yield f"parameter {name} holds it"
    if image.id in seen.bases:
        yield f"is the base of image {seen.bases[image.id]}, which is current"
    if image.id in seen.named:
        yield f"{seen.named[image.id]} names it"
    if uses := seen.evidence.get(image.id, Evidence()).uses:
        yield _and_more(uses)


def _too_new(
    image: OldImage, policy: Retention, line: datetime | None, age: timedelta
) -> str | None:
    if line is None or image.created >= line:
        return f"is one of the newest {policy.keep}"
    if policy.days and not _over(age, policy.days):
        return f"is {_days(age)} old; {policy.days} days are kept"
    return None


def _once_disabled(image: OldImage, policy: Retention, now: datetime) -> tuple[Verb, str]:
    if image.disabled_at is None:
        return Verb.DISABLE, "is disabled, since when is not known; its grace period begins now"
    ends = image.disabled_at + timedelta(days=policy.grace_days)
    since = f"was disabled on {image.disabled_at:%Y-%m-%d}"
    if now < ends:
        return Verb.KEEP, f"{since}; deregistered from {ends:%Y-%m-%d} on"
    return Verb.DEREGISTER, f"{since}, {policy.grace_days} days of grace are over"


def _over(age: timedelta, days: int) -> bool:
    return age >= timedelta(days=days)


def _days(age: timedelta) -> str:
    return f"{age.days} day{'' if age.days == 1 else 's'}"


def _and_more(texts: Sequence[str]) -> str:
    return texts[0] + (f" (and {len(texts) - 1} more)" if len(texts) > 1 else "")
