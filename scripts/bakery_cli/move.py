"""``bakery rollback`` and ``bakery promote``: start the move, wait for its end, tell it."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console

from scripts.bakery_cli.aws.stack import Execution
from scripts.bakery_cli.bake import execution_name
from scripts.bakery_cli.errors import FAILED, INTERRUPTED
from scripts.bakery_cli.screen import line
from scripts.bakery_cli.target import Target


def move(
    screen: Console,
    target: Target,
    wanted: Mapping[str, object],
    *,
    what: str,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Move as ``wanted`` says, in the name of whoever asks; the exit code."""
    recipe, stack = str(wanted["recipe"]), target.stack
    name = execution_name(f"{what}-{recipe}", target.now())
    arn = stack.move_pointer({**wanted, "by": stack.who()}, name=name)
    line(screen, f"{what.title()} of {recipe} in {stack.region}, execution {name}", style="bold")
    try:
        while (execution := stack.execution(arn)).status == "RUNNING":
            sleep(target.poll_seconds)
    except KeyboardInterrupt:
        line(screen, "Stopped watching. It goes on to its end, everywhere or nowhere:")
        line(screen, f"  {arn}")
        return INTERRUPTED
    return _show(screen, execution)


def _show(screen: Console, execution: Execution) -> int:
    if execution.status != "SUCCEEDED":
        line(screen, execution.error or execution.status, style="bold red")
        for text in execution.cause.splitlines():
            line(screen, f"  {text}")
        return FAILED
    output: Mapping[str, Any] = execution.output
    if not output["regions"]:
        line(screen, f"{output['parameter']} holds {output['moved_to']} already", style="green")
        return 0
    line(screen, f"{output['parameter']} has moved", style="green")
    for region, it in output["regions"].items():
        line(screen, f"  {region}: {it['from'] or 'nothing'} -> {it['to']}")
    for id_, version in output["launch_templates"].items():
        line(screen, f"  launch template {id_}: version {version}")
    return 0
