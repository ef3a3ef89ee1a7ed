"""What went into an image, short enough for a tag, so that the next bake knows what changed."""

import hashlib
import json
from collections.abc import Mapping, Sequence

_DIGITS = 12


def fingerprint(
    *, recipe: Mapping[str, object], documents: Mapping[str, str], version: str
) -> dict[str, str]:
    """One digest for each input of a bake, besides the base image, which has a tag of its own.

    ``recipe`` is the recipe as JSON data without its schedule (when it bakes does not change what
    it bakes); ``documents`` maps each document's name to the hash of its content.
    """
    return {"recipe": _digest(recipe), "documents": _digest(documents), "bakery": version}


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def to_tag(parts: Mapping[str, str]) -> str:
    """The fingerprint as the value of its tag."""
    return " ".join(f"{name}={value}" for name, value in sorted(parts.items()))


def from_tag(value: str) -> dict[str, str]:
    """The parts in the value of a tag."""
    return dict(part.split("=", 1) for part in value.split() if "=" in part)


def changes(before: str, now: Mapping[str, str]) -> Sequence[str]:
    """Names of the parts that differ from the tag of an earlier image; all when it has none."""
    old = from_tag(before)
    return [name for name in now if old.get(name) != now[name]]
