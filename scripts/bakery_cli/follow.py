"""Watching an execution until it ends."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from scripts.bakery_cli.aws.stack import Execution
from scripts.bakery_cli.errors import NoAnswerError
from scripts.bakery_cli.history import (
    BuilderReplaced,
    Change,
    Ended,
    Event,
    StageEnded,
    Tracker,
    latest_end_only,
)

_PATIENCE = 10
"""Looks without an answer, one after the other, before following gives up."""


class View(AbstractContextManager["View"], Protocol):
    """What shows the progress."""

    def show(self, change: Change) -> None: ...
    def tick(self, now: datetime) -> None: ...
    def note(self, text: str) -> None: ...


class History(Protocol):
    """What is asked of the stack."""

    def events_after(self, arn: str, last: int) -> list[Event]: ...
    def execution(self, arn: str) -> Execution: ...


class Followed:
    """An execution that is being watched, or was."""

    def __init__(self) -> None:
        self.tracker = Tracker()
        self.stages: list[StageEnded] = []

    def feed(self, event: Event, view: View) -> bool:
        """Show what an event changed; whether it was the last one."""
        ended = False
        for change in self.tracker.feed(event):
            view.show(change)
            if isinstance(change, StageEnded):
                self.stages.append(change)
            elif isinstance(change, BuilderReplaced):
                # What the lost builder did is undone; the plan stands.
                self.stages = [it for it in self.stages if it.stage.key == "plan"]
            ended = ended or isinstance(change, Ended)
        return ended


def follow(
    stack: History,
    arn: str,
    view: View,
    *,
    now: Callable[[], datetime],
    poll_seconds: float,
    after: int = 0,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Followed, Execution]:
    """Show an execution until it has ended, and what became of it; only what came ``after`` event.

    Raises NoAnswerError when AWS stays silent, CommandError when it refuses.
    """
    followed = Followed()
    followed.tracker.last_event = after
    silent = 0
    with view:
        while True:
            try:
                events = stack.events_after(arn, followed.tracker.last_event)
                silent = 0
            except NoAnswerError as error:
                silent += 1
                if silent >= _PATIENCE:
                    raise
                view.note(f"{error.message} Trying again ({silent} of {_PATIENCE})")
                events = []
            if any(followed.feed(event, view) for event in latest_end_only(events)):
                break
            view.tick(now())
            sleep(poll_seconds)
    return followed, stack.execution(arn)
