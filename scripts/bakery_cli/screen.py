"""Where the output goes, and what the place can show."""

import os
import sys
from collections.abc import Iterator
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from bakery.problems import one_line
from scripts.bakery_cli.errors import CommandError

_WIDTH_OF_FILES = 120


def console(*, stderr: bool = False) -> "Screen":
    """A console that writes as wide as a table needs where there is no terminal to fit into."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() and not is_dumb() else _WIDTH_OF_FILES
    return Screen(file=stream, width=width)


class Screen(Console):
    """A console that shows texts as they are: nothing in them is markup, nor acts on the terminal.

    Names, causes and output of scripts come from AWS or from a recipe.
    """

    def __init__(self, *, file: IO[str], width: int | None, **options: Any) -> None:
        super().__init__(
            file=file, width=width, highlight=False, emoji=False, markup=False, **options
        )

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """What is written, with what cannot be printed as its escape."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                lines = map(one_line, segment.text.split("\n"))
                yield Segment("\n".join(lines), segment.style)


def is_dumb() -> bool:
    """Whether the terminal cannot move its cursor."""
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def can_animate(screen: Console) -> bool:
    """Whether lines that were shown can be drawn anew."""
    return screen.is_terminal and not is_dumb() and not os.environ.get("CI")


def line(screen: Console, text: str | Text = "", *, style: str = "") -> None:
    """One line, never folded, its brackets left alone."""
    shown = text if isinstance(text, Text) else Text(text, style=style)
    screen.print(shown, soft_wrap=True)


def complain(error: CommandError) -> None:
    """An error on stderr: what is wrong, then what to do."""
    screen = console(stderr=True)
    line(screen, Text.assemble(("bakery: ", "bold red"), error.message))
    if error.remedy:
        line(screen, Text(f"        {error.remedy}"))
