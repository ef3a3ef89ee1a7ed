"""``bakery bake`` and ``bakery follow``."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from rich.console import Console

from scripts.bakery_cli import summary
from scripts.bakery_cli.errors import FAILED, INTERRUPTED, CommandError
from scripts.bakery_cli.follow import View, follow
from scripts.bakery_cli.live import LiveView
from scripts.bakery_cli.plain import PlainView
from scripts.bakery_cli.screen import can_animate, line
from scripts.bakery_cli.target import Target


def execution_name(recipe: str, moment: datetime) -> str:
    """A name that tells people what and when, and differs for two that start together."""
    return f"{recipe[:48]}-{moment:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def bake(
    screen: Console,
    target: Target,
    recipe: str,
    *,
    options: Mapping[str, object],
    detach: bool,
    name: str | None,
) -> int:
    """Start a bake and, unless told to leave it, watch it to its end; the exit code.

    ``options`` go into the execution's input beside the recipe.
    """
    if code := bake_bases(screen, target, recipe):
        return code
    arn = _start(screen, target, recipe, options=options, name=name)
    if detach:
        line(screen, arn)
        line(screen, f"Watch it with: bakery follow {arn.rpartition(':')[2]}")
        return 0
    return watch(screen, target, arn)


def bake_bases(screen: Console, target: Target, recipe: str, *, silent: bool = False) -> int:
    """Bake what the recipe builds on where that cannot be there yet; the exit code.

    ``silent`` shows only how each bake ended.
    """
    for base in target.bases_to_bake(recipe):
        line(screen, f"{recipe} builds on {base}, which has no image here yet: baking that first")
        progress = Console(quiet=True) if silent else screen
        arn = _start(progress, target, base, options={}, name=None)
        if code := watch(screen, target, arn, brief=True, progress=progress):
            return code
        line(progress)
    return 0


def _start(
    screen: Console,
    target: Target,
    recipe: str,
    *,
    options: Mapping[str, object],
    name: str | None,
) -> str:
    chosen = name or execution_name(recipe, datetime.now(UTC))
    arn = target.stack.start(recipe, name=chosen, options=options)
    line(screen, f"Baking {recipe} in {target.stack.region}, execution {chosen}", style="bold")
    return arn


def retry(screen: Console, target: Target, arn: str) -> int:
    """Go on with an execution that failed, from the stage that failed; the exit code."""
    last = target.stack.last_event(arn)
    target.stack.redrive(arn)
    line(screen, f"Going on with execution {arn.rpartition(':')[2]}", style="bold")
    return watch(screen, target, arn, after=last)


def watch(
    screen: Console,
    target: Target,
    arn: str,
    *,
    brief: bool = False,
    after: int = 0,
    progress: Console | None = None,
) -> int:
    """Show an execution to its end and how it ended, a good end in one line if ``brief``.

    What happens meanwhile goes to ``progress``, by default the screen. Returns the exit code.
    """
    shown = progress or screen
    view: View = LiveView(shown) if can_animate(shown) else PlainView(shown)
    try:
        followed, execution = follow(
            target.stack,
            arn,
            view,
            now=target.now,
            poll_seconds=target.poll_seconds,
            after=after,
        )
    except KeyboardInterrupt:
        return _interrupted(screen, target, arn)
    except CommandError as error:
        if target.outlives_command:
            remedy = f"The bake goes on; come back with: bakery follow {arn}"
            error.remedy = f"{error.remedy}\n{remedy}".strip()
        raise
    if brief and execution.status == "SUCCEEDED":
        line(screen, summary.in_one_line(execution), style="green")
        return 0
    rows = summary.rows_of(execution, followed.stages)
    log = target.stack.command_log
    well = summary.show(screen, execution, followed.tracker, rows, command_log=log)
    return 0 if well else FAILED


def _interrupted(screen: Console, target: Target, arn: str) -> int:
    line(screen)
    if target.outlives_command:
        line(screen, "Stopped watching. The bake goes on:", style="bold")
        line(screen, f"  {arn}")
        line(screen, f"Come back to it: bakery follow {arn.rpartition(':')[2]}")
        line(screen, f"Stop it:         aws stepfunctions stop-execution --execution-arn {arn}")
    else:
        line(screen, "Stopped, and the local AWS with it: the bake is gone.", style="bold")
    return INTERRUPTED
