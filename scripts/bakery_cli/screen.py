"""Where the output goes, and what the place can show."""

import os
import sys

from rich.console import Console
from rich.text import Text

from scripts.bakery_cli.errors import CommandError

_WIDTH_OF_FILES = 120


def console(*, stderr: bool = False) -> Console:
    """A console that writes as wide as a table needs where there is no terminal to fit into."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() and not is_dumb() else _WIDTH_OF_FILES
    return Console(file=stream, width=width, highlight=False, emoji=False)


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
