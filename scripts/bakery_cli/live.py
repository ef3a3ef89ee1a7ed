"""Progress as a table that is drawn anew, for terminals."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

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
from scripts.bakery_cli.stages import AWAIT_TURN, CLONE_HOST, STAGES
from scripts.bakery_cli.words import duration

_STEPS_SHOWN = 6
_WIDEST = 40


@dataclass
class _Row:
    title: str
    started: datetime | None = None
    seconds: float | None = None
    detail: str = ""
    failed: bool = False


class LiveView:
    """All stages at once: those that are done, the one under way, those to come.

    What few bakes have, the wait for a turn and the clone of a host, is shown once it has begun.
    """

    def __init__(self, screen: Console) -> None:
        first, *others = STAGES
        few = (AWAIT_TURN, CLONE_HOST)
        self._rows = {stage.key: _Row(stage.title) for stage in (first, *few, *others)}
        self._steps: list[_Row] = []
        self._parts: list[_Row] = []
        self._now: datetime | None = None
        self._note = ""
        self._replaced = ""
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(
            console=screen, get_renderable=self._table, refresh_per_second=8, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def tick(self, now: datetime) -> None:
        """Let the running stage's time run."""
        self._now = now

    def note(self, text: str) -> None:
        """Something about following itself, below the table."""
        self._note = text

    def show(self, change: Change) -> None:
        """Bring the table up to date."""
        self._note = ""
        match change:
            case StageStarted():
                row = self._rows[change.stage.key]
                row.started, row.seconds, row.detail = change.at, None, change.detail
            case StageEnded():
                row = self._rows[change.stage.key]
                row.seconds, row.failed = change.seconds, change.failure is not None
                row.detail = change.failure.error if change.failure else change.detail
            case TriedAgain():
                row = self._rows[change.stage.key]
                row.detail = f"try {change.tries}: {change.failure.cause.partition('. ')[0]}"
            case StepStarted():
                title = f"  {change.number}/{change.total} {change.name}"
                self._steps.append(_Row(title, change.at))
            case StepEnded():
                self._steps[-1].seconds = change.seconds
                self._steps[-1].failed = change.failed
            case PartEnded():
                row = _Row(f"  {change.title}", change.at, change.seconds, change.detail)
                row.failed = change.failed
                self._parts.append(row)
            case BuilderReplaced():
                self._begin_anew(change.why)
            case Ended():
                return

    def _begin_anew(self, why: str) -> None:
        """All rows but the plan's as they were; the reason stays to the end."""
        plan, *others = STAGES
        kept = {it.key: self._rows[it.key] for it in (plan, CLONE_HOST) if it.key in self._rows}
        self._rows = kept | {it.key: _Row(it.title) for it in others}
        self._steps, self._parts = [], []
        self._replaced = why

    def _table(self) -> RenderableType:
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        titles = [row.title for row in self._shown()]
        table.add_column(min_width=1, max_width=1)
        table.add_column(no_wrap=True, min_width=min(_WIDEST, max(map(len, titles))))
        table.add_column(justify="right", no_wrap=True, min_width=11)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for row in self._shown():
            table.add_row(
                self._mark(row), self._title(row), self._time(row), Text(row.detail, "dim")
            )
        if self._replaced:
            table.add_row("", Text("New builder", "yellow"), "", Text(self._replaced, "yellow"))
        if self._note:
            table.add_row("", Text(self._note, "yellow"))
        return table

    def _shown(self) -> Iterator[_Row]:
        for key, row in self._rows.items():
            if key not in (AWAIT_TURN.key, CLONE_HOST.key) or row.started:
                yield row
            if key == "customize":
                yield from self._steps[-_STEPS_SHOWN:]
            if key == "test_and_copy":
                yield from self._parts[-_STEPS_SHOWN:]

    def _mark(self, row: _Row) -> RenderableType:
        if row.failed:
            return Text("✗", "bold red")
        if row.seconds is not None:
            return Text("✓", "green")
        return self._spinner if row.started else Text("·", "dim")

    def _title(self, row: _Row) -> Text:
        under_way = row.started is not None and row.seconds is None
        return Text(row.title, "bold" if under_way else "" if row.started else "dim")

    def _time(self, row: _Row) -> Text:
        if row.started is None:
            return Text("")
        if row.seconds is not None:
            return Text(duration(row.seconds))
        running = (self._now - row.started).total_seconds() if self._now else 0.0
        return Text(duration(max(0.0, running)), "cyan")
