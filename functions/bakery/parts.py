"""The parts of the bakery's table: its partition keys.

A function's policy says by them what of the table it may touch.
"""

WAITS = "wait"
"""Open waits."""

CLAIMS = "claim"
"""All that happens once or is held by one: leases, slots, holds, what was told."""


def text(key: str) -> str:
    """The part of a text of its own, like ``attempts#`` and a bake's name."""
    return f"text#{key}"
