"""What is wrong with an input, where, and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that must be changed before a bake can start.

    ``path`` points into the recipe or the execution input, e.g. ``customize[2].shell``.
    ``message`` says what is wrong and how to mend it.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def listing(problems: Iterable[Problem]) -> str:
    """All problems as one text, a line each, in a stable order."""
    return "\n".join(f"- {problem}" for problem in sorted(set(problems)))
