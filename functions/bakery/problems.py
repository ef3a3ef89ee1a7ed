"""What is wrong with an input, where, and what to do about it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_BRIEF = 20


@dataclass(frozen=True)
class Problem:
    """One thing that must be changed before a bake can start.

    ``path`` points into the recipe or the execution input, e.g. ``customize[2].shell``.
    ``message`` says what is wrong and how to mend it.
    """

    path: str
    message: str
    line: int = 0
    """The line of the text at ``path`` that is meant, from 1; 0: the whole value."""

    def __str__(self) -> str:
        return one_line(f"{self.path}: {self.message}" if self.path else self.message)


class LinesError(ValueError):
    """Several lines of one text are wrong: what is wrong with each, by its number from 1."""

    def __init__(self, messages: Mapping[int, str]) -> None:
        self.messages = dict(messages)
        super().__init__("; ".join(f"line {line}: {text}" for line, text in messages.items()))


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Each problem once, by path and line; ``customize[2]`` comes before ``customize[10]``."""
    return tuple(sorted(set(problems), key=_natural))


def listing(problems: Iterable[Problem]) -> str:
    """All problems as one text, a line each, in order."""
    return "\n".join(f"- {problem}" for problem in in_order(problems))


def brief_listing(problems: Iterable[Problem]) -> str:
    """As ``listing``, but short whatever the paths: for an input that anybody may give."""
    found = in_order(problems)
    lines = [f"- {Problem(shortened(each.path), each.message)}" for each in found[:_BRIEF]]
    if len(found) > _BRIEF:
        lines.append(f"- and {len(found) - _BRIEF} more problems")
    return "\n".join(lines)


def one_line(text: str) -> str:
    """A text as one line that shows all of it: what is not printable as Python escapes it, such as
    ``\\n`` or ``\\x1b``. So what it quotes can neither look like another line nor act on a
    terminal."""
    if text.isprintable():
        return text
    return "".join(it if it.isprintable() else ascii(it)[1:-1] for it in text)


def shortened(text: str, most: int = 80) -> str:
    """The beginning of a long text."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _natural(problem: Problem) -> tuple[list[tuple[str, int]], int, str]:
    parts = re.findall(r"(\D+)(\d*)", problem.path)
    return [(text, int(number or 0)) for text, number in parts], problem.line, problem.message
