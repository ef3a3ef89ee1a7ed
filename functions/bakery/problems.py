"""What is wrong with an input, where, and what to do about it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that must be changed before a bake can start.

    ``path`` points into the recipe or the execution input, e.g. ``customize[2].shell``.
    ``message`` says what is wrong and how to mend it.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Each problem once, by path; ``customize[2]`` comes before ``customize[10]``."""
    return tuple(sorted(set(problems), key=_natural))


def listing(problems: Iterable[Problem]) -> str:
    """All problems as one text, a line each, in order."""
    return "\n".join(f"- {problem}" for problem in in_order(problems))


def _natural(problem: Problem) -> tuple[list[tuple[str, int]], str]:
    parts = re.findall(r"(\D+)(\d*)", problem.path)
    return [(text, int(number or 0)) for text, number in parts], problem.message
