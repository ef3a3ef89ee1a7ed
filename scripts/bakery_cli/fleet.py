"""``bakery bake --all``: a run over all recipes, watched."""

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from scripts.bakery_cli.bake import execution_name
from scripts.bakery_cli.errors import FAILED, INTERRUPTED
from scripts.bakery_cli.history import Event
from scripts.bakery_cli.screen import line
from scripts.bakery_cli.target import Target
from scripts.bakery_cli.words import count


def bake_all(screen: Console, target: Target, *, force: bool, detach: bool) -> int:
    """Start a run and, unless told to leave it, show how each recipe fares; the exit code."""
    name = execution_name("fleet", datetime.now(UTC))
    arn = target.stack.start_all(name=name, force=force)
    line(screen, f"Baking all recipes in {target.stack.region}, execution {name}", style="bold")
    if detach:
        line(screen, arn)
        return 0
    try:
        _watch(screen, target, arn)
    except KeyboardInterrupt:
        line(screen)
        left = "The run goes on" if target.outlives_command else "The local AWS ends, and the run"
        line(screen, f"Stopped watching. {left}: {arn}", style="bold")
        return INTERRUPTED
    ended = target.stack.execution(arn)
    line(screen)
    if ended.status == "SUCCEEDED":
        line(screen, "Every recipe is up to date.", style="bold green")
        return 0
    line(screen, f"{ended.error or ended.status}", style="bold red")
    for text in ended.cause.splitlines():
        line(screen, f"  {text}")
    if target.outlives_command:
        line(screen, "Look at one of them: bakery follow EXECUTION")
    return FAILED


def _watch(screen: Console, target: Target, arn: str) -> None:
    last = 0
    while True:
        # Before the look at the events: what ended the run is among them then.
        over = target.stack.execution(arn).status != "RUNNING"
        for event in target.stack.events_after(arn, last):
            last = event["id"]
            for text, style in said(event):
                line(screen, text, style=style)
            if bake := failed(event):
                why = target.stack.execution(target.stack.execution_arn(bake))
                line(screen, f"    {why.error}: {why.cause.strip()}")
        if over:
            return
        time.sleep(target.poll_seconds)


def said(event: Event) -> Iterator[tuple[str, str]]:
    """What an event of the run tells a person, and its style."""
    entered = event.get("stateEnteredEventDetails", {})
    left = event.get("stateExitedEventDetails", {})
    if entered.get("name") == "Wave":
        wave = _content(entered, "input")["wave"]
        names = ", ".join(item["recipe"] for item in wave)
        yield f"{count(len(wave), 'recipe')} to look at: {names}", ""
    elif left.get("name") == "NotBaked":
        item = _content(left, "output")
        yield f"  {item['recipe']}: failed, execution {item['bake']}", "red"
    elif left.get("name") == "BakeRecipe" and "ended" in (item := _content(left, "output")):
        image = (item["ended"].get("image") or {}).get("id", "no image")
        yield f"  {item['recipe']}: {item['ended']['outcome']}, {image}", "green"


def failed(event: Event) -> str | None:
    """The name of the bake that failed by this event of the run."""
    left = event.get("stateExitedEventDetails", {})
    return _content(left, "output")["bake"] if left.get("name") == "NotBaked" else None


def _content(details: Mapping[str, Any], key: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(details[key])
    return content
