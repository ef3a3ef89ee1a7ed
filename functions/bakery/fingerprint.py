"""What went into an image, short enough for a tag, so that the next bake knows what changed. Pure.

The tag decides whether something changed: it has one digest for each group of inputs. Which step or
document it was, the *parts* say, one digest for each input; they fit no tag and are kept in the
table (``bakery.inputs``). Without them a reason names the group only.

``base`` is no part: the base image has a tag of its own, whatever names it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bakery import steps
from bakery.naming import test_document
from bakery.recipe import ApplicationStep, CustomizeStep, DocumentStep, Recipe, ScriptStep

_DIGITS = 12

_NOT_IN_THE_IMAGE = {
    "base",
    "customize",
    "description",
    "keep_hours",
    "on_failure",
    "retention",
    "schedule",
    "test",
    "when_busy",
}
"""Fields that have parts or a tag of their own, or whose change makes no other image.

``test`` has parts of its own too, and ``distribute`` and ``publish`` are not here: they make no
other image, but only a bake runs new tests, makes copies, or moves launch templates.
"""
_NOT_OF_THE_BUILDER = {"instance_types", "spot", "patience_minutes"}
"""Those of ``builder``: which type has room is chance anyway."""

_ORDER = ""
"""Stands for the order of the steps among their names; no step has it as its name."""

_MOST_REASONS = 6
"""So many changes are told one by one; the rest is counted."""

Parts = Mapping[str, Mapping[str, str]]
"""Group to name to digest."""


@dataclass(frozen=True)
class Fingerprint:
    """All inputs of a bake but its base image."""

    bakery: str
    """The version that decides."""
    parts: Parts

    def to_tag(self) -> str:
        """The value of its tag, at most 256 characters."""
        digests = {group: _digest(parts) for group, parts in self.parts.items()}
        return " ".join(f"{k}={v}" for k, v in sorted({"bakery": self.bakery, **digests}.items()))


def fingerprint(
    name: str, recipe: Recipe, *, documents: Mapping[str, str], version: str
) -> Fingerprint:
    """The fingerprint of a bake; ``documents`` has the hash of each document that it runs."""
    own = {
        step.name: steps.document_of(name, step)
        for step in recipe.customize
        if isinstance(step, ScriptStep)
    }
    tests = {step.name: test_document(name, step.name) for step in recipe.test.steps}
    scripts = {*own.values(), *tests.values()}
    return Fingerprint(
        bakery=version,
        parts={
            "steps": _in_order(recipe.customize, own, documents),
            "tests": _in_order(recipe.test.steps, tests, documents),
            "parameters": {
                step.name: _digest(step.model_dump(mode="json")["parameters"])
                for step in recipe.customize
                if isinstance(step, DocumentStep)
            },
            "applications": {
                step.name: _digest(step.application.sha256)
                for step in recipe.customize
                if isinstance(step, ApplicationStep)
            },
            # Those of the recipe's own scripts are parts of their steps and tests.
            "documents": {
                document: _digest(hash_)
                for document, hash_ in documents.items()
                if document not in scripts
            },
            "recipe": {path: _digest(value) for path, value in _fields(recipe)},
        },
    )


def _in_order(
    each: Sequence[CustomizeStep], own: Mapping[str, str], documents: Mapping[str, str]
) -> dict[str, str]:
    parts = {step.name: _step(step, documents.get(own.get(step.name, ""))) for step in each}
    return {**parts, _ORDER: _digest(list(parts))}


def _step(step: CustomizeStep, own_document: str | None) -> str:
    """A step without what is told of by itself; with the hash of the document that it became."""
    # The document has the names of the secrets; that a value is another, nobody here can tell.
    apart: dict[str, Any] = {"parameters": True, "application": {"sha256"}, "secrets": True}
    return _digest([step.model_dump(mode="json", exclude=apart), own_document])


def _fields(recipe: Recipe) -> Iterator[tuple[str, object]]:
    """Path and value of every other field that is not at its default.

    Without those at their defaults, a field that a release adds changes no recipe.
    """
    # Fast launch is given to the image that there is, and taken from it.
    left_out: dict[str, Any] = {
        **dict.fromkeys(_NOT_IN_THE_IMAGE, True),
        "distribute": {"__all__": {"fast_launch"}},
    }
    fields = recipe.model_dump(mode="json", exclude=left_out, exclude_defaults=True)
    for name, value in fields.pop("builder", {}).items():
        if name not in _NOT_OF_THE_BUILDER:
            yield f"builder.{name}", value
    yield from fields.items()
    test = recipe.test.model_dump(mode="json", exclude={"steps"}, exclude_defaults=True)
    yield from ((f"test.{name}", value) for name, value in test.items())


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def changes(tag: str, before: Parts, now: Fingerprint) -> Sequence[str]:
    """In words, what differs from an earlier image with this tag; empty if nothing.

    ``before`` are that image's parts, as far as they are known: what does not fit the tag is not
    believed.
    """
    old, new = from_tag(tag), from_tag(now.to_tag())
    differing = [group for group in now.parts if old.get(group) != new[group]]
    told: list[str] = []
    unknown: list[str] = []
    for group in differing:
        parts = before.get(group)
        if parts is None or _digest(parts) != old.get(group):
            unknown.append(f"{group} changed")
        else:
            told += _words(group, parts, now.parts[group])
    if differing and not told and not unknown:
        # What only came or went along with a step, while that step's own part stayed the same.
        unknown = [f"{group} changed" for group in differing]
    if old.get("bakery") != now.bakery:
        unknown.append(f"bakery {old.get('bakery', 'unknown')} -> {now.bakery}")
    return [*_few(told), *unknown]


def from_tag(value: str) -> dict[str, str]:
    """The parts in the value of a tag."""
    return dict(part.split("=", 1) for part in value.split() if "=" in part)


def _few(words: Sequence[str]) -> Sequence[str]:
    if len(words) <= _MOST_REASONS:
        return words
    return [*words[:_MOST_REASONS], f"and {len(words) - _MOST_REASONS} more changes"]


def _words(group: str, before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    both = [name for name in now if name in before]
    changed = [name for name in both if before[name] != now[name]]
    match group:
        case "steps" | "tests":
            yield from _step_words(group.removesuffix("s"), before, now, changed)
        case "parameters":
            yield from (f"parameters of step '{name}' changed" for name in changed)
        case "applications":
            yield from (f"checksum of the application of step '{name}' changed" for name in changed)
        case "documents":
            # One that came or went did so with its step.
            yield from (f"document {name} changed" for name in changed)
        case _:
            gone = [name for name in before if name not in now]
            came = [name for name in now if name not in before]
            yield from (f"{name} changed" for name in sorted([*changed, *came, *gone]))


def _step_words(
    what: str, before: Mapping[str, str], now: Mapping[str, str], changed: Sequence[str]
) -> Iterator[str]:
    came = [name for name in now if name not in before and name != _ORDER]
    gone = [name for name in before if name not in now and name != _ORDER]
    yield from (f"{what} '{name}' changed" for name in changed if name != _ORDER)
    yield from (f"{what} '{name}' added" for name in came)
    yield from (f"{what} '{name}' removed" for name in gone)
    if not came and not gone and _ORDER in changed:
        yield f"order of the {what}s changed"
