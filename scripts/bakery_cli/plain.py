"""Progress as lines, for logs and terminals that only print."""

from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console

from scripts.bakery_cli.history import (
    BuilderReplaced,
    Change,
    Ended,
    PartEnded,
    StageEnded,
    StageStarted,
    StepEnded,
    StepStarted,
    TriedAgain,
)
from scripts.bakery_cli.screen import line
from scripts.bakery_cli.words import duration

_TITLE = 24
_SAID_LATER = {"NotManagedYetError"}
"""Tried again every few seconds until the agent is there: no news."""


class PlainView:
    """A line when a stage or step begins, and one with what it did when it ends."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._began: datetime | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Lines need no end."""

    def tick(self, now: datetime) -> None:
        """Time alone is no news."""

    def note(self, text: str) -> None:
        """Something about following itself."""
        line(self._screen, f"         {text}")

    def show(self, change: Change) -> None:
        """Print what changed."""
        match change:
            case StageStarted(stage=stage):
                self._print(change, "start", stage.title, detail=change.detail)
            case StepStarted(name=name, number=number, total=total):
                self._print(change, "start", f"  {number}/{total} {name}")
            case StepEnded() | PartEnded():
                self._print_part(change)
            case StageEnded(failure=None):
                self._print(
                    change, "done", change.stage.title, duration(change.seconds), change.detail
                )
            case StageEnded(failure=failure):
                error = failure.error if failure else ""
                self._print(change, "FAIL", change.stage.title, duration(change.seconds), error)
            case TriedAgain(failure=failure):
                if failure.error not in _SAID_LATER:
                    first = failure.cause.partition("\n")[0]
                    text = f"try {change.tries} after {failure.error}: {first}"
                    self._print(change, "retry", change.stage.title, "", text)
            case BuilderReplaced(why=why):
                self._print(change, "again", "Replace builder", "", why)
            case Ended():
                return

    def _print_part(self, part: StepEnded | PartEnded) -> None:
        word = "FAIL" if part.failed else "done"
        if isinstance(part, StepEnded):
            title, detail = f"{part.number}/{part.total} {part.name}", ""
        else:
            title, detail = part.title, part.detail
        self._print(part, word, f"  {title}", duration(part.seconds), detail)

    def _print(
        self, change: Change, word: str, title: str, took: str = "", detail: str = ""
    ) -> None:
        self._began = self._began or change.at
        since = int((change.at - self._began).total_seconds())
        text = (
            f"{since // 60:>4}:{since % 60:02}  {word:<5}  {title:<{_TITLE}} {took:>11}  {detail}"
        )
        line(self._screen, text.rstrip())
