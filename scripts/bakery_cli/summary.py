"""How a bake ended: the last lines that a person sees."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bakery import errors
from bakery.estimate import monthly_storage
from bakery.naming import TAG_BAKE, pointer
from scripts.bakery_cli.aws.stack import Execution
from scripts.bakery_cli.history import StageEnded, Tracker
from scripts.bakery_cli.screen import line
from scripts.bakery_cli.stages import BY_KEY, LOST
from scripts.bakery_cli.words import count, duration, usd

_LABEL = 12
_SCRIPTS = ("prepare", "customize", "test_and_copy")
"""Stages whose failure is mostly a script's."""


@dataclass(frozen=True)
class Row:
    """A stage in the timeline: what it is called, when it began, how long it took, what it did."""

    title: str
    started: datetime
    seconds: float
    did: str


def show(
    screen: Console,
    execution: Execution,
    tracker: Tracker,
    rows: Sequence[Row],
    *,
    command_log: str,
) -> bool:
    """Print how the bake ended; whether it ended well."""
    line(screen)
    if execution.status != "SUCCEEDED":
        _failed(screen, execution, tracker, rows, command_log)
        return False
    if execution.output.get("outcome") == "unchanged":
        _unchanged(screen, execution)
        return True
    line(screen, f"Baked {execution.recipe} in {duration(_total(rows))}", style="bold green")
    _timeline(screen, rows)
    _facts(screen, _image_facts(execution.output, tracker.plan))
    return True


def in_one_line(execution: Execution) -> str:
    """A bake that ended well."""
    image = execution.output["image"]
    return f"Baked {execution.recipe}: {image['id']} ({image['name']})"


def rows_of(execution: Execution, ended: Iterable[StageEnded]) -> list[Row]:
    """The timeline: from the execution's output where it has one, else from its history."""
    seen = {change.stage.key: change for change in ended}
    timeline = execution.output.get("timeline")
    if not timeline:
        return [
            Row(c.stage.title, c.started, c.seconds, c.failure.error if c.failure else c.detail)
            for c in seen.values()
        ]
    return [
        Row(
            _title(entry["stage"]),
            datetime.fromisoformat(entry["started"].replace("Z", "+00:00")),
            float(entry["seconds"]),
            _did(entry["stage"], seen, execution.output),
        )
        for entry in timeline
    ]


def _title(stage: str) -> str:
    if stage == LOST:
        return "Lost builder"
    return BY_KEY[stage].title if stage in BY_KEY else stage


def _did(stage: str, seen: Mapping[str, StageEnded], output: Mapping[str, Any]) -> str:
    if stage == LOST:
        # The bake's reason ends with what became of it.
        return str(output.get("reason", "")).rpartition("; ")[2]
    return seen[stage].detail if stage in seen else ""


def _total(rows: Sequence[Row]) -> float:
    return sum(row.seconds for row in rows)


def _timeline(screen: Console, rows: Sequence[Row]) -> None:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_footer=True)
    table.add_column("Stage", no_wrap=True, footer="Whole bake")
    table.add_column("Started (UTC)", no_wrap=True)
    table.add_column("Took", justify="right", no_wrap=True, footer=duration(_total(rows)))
    table.add_column("What it did", style="dim", overflow="fold")
    for row in rows:
        table.add_row(row.title, f"{row.started:%H:%M:%S}", duration(row.seconds), Text(row.did))
    screen.print(table)


def _image_facts(output: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, str]:
    image, base = output["image"], plan.get("base_image", {})
    cost = f"about {usd(output['estimated_cost_usd'])} for this bake"
    if size := plan.get("launch", {}).get("size_gib"):
        cost += f", at most {usd(monthly_storage(size))} a month for its {size} GiB snapshot"
    return {
        "Image": image["id"],
        "Name": image["name"],
        "Region": image["region"],
        "Base image": f"{base.get('id', 'unknown')} ({base.get('name', 'unknown')})",
        **_places(output),
        "Previous": output.get("previous") or "none, this is the first",
        "Changes": output.get("changes") or "unknown",
        **({"Shared": "; ".join(output["shared"])} if output.get("shared") else {}),
        "Cost": cost,
        "Pointer": pointer(output["recipe"]),
        "Launch it": f"--image-id resolve:ssm:{pointer(output['recipe'])}",
    }


def _places(output: Mapping[str, Any]) -> dict[str, str]:
    copies, left_out = output.get("copies") or {}, output.get("left_out") or {}
    shown = [f"{id_} in {region}" for region, id_ in copies.items()]
    facts = {"Copies": ", ".join(shown)} if shown else {}
    if left_out:
        facts["Left out"] = "; ".join(f"{region}: {why}" for region, why in left_out.items())
    return facts


def _unchanged(screen: Console, execution: Execution) -> None:
    output = execution.output
    line(screen, f"{execution.recipe} is unchanged: {output.get('reason', '')}", style="bold green")
    image = output.get("image") or {}
    _facts(
        screen,
        {
            "Image": image.get("id", "none"),
            "Name": image.get("name", ""),
            "Region": image.get("region", ""),
            "Pointer": pointer(execution.recipe),
            "Cost": f"about {usd(output.get('estimated_cost_usd', 0.0))}",
            "Anyway": f"bakery bake {execution.recipe} --force",
        },
    )


def _failed(
    screen: Console, execution: Execution, tracker: Tracker, rows: Sequence[Row], command_log: str
) -> None:
    where = _where(tracker)
    ended = {"ABORTED": "was stopped", "TIMED_OUT": "ran out of time"}.get(
        execution.status, "failed"
    )
    line(screen, f"The bake of {execution.recipe or 'nothing'} {ended}{where}", style="bold red")
    line(screen)
    error, cause = _reason(execution, tracker)
    line(screen, error, style="bold")
    for text in cause.splitlines():
        line(screen, f"  {text}")
    if rows and tracker.plan:
        _timeline(screen, rows)
    else:
        line(screen)
    _facts(screen, _failure_facts(execution, tracker, error, command_log))


def _where(tracker: Tracker) -> str:
    if tracker.failed is None:
        return ""
    step = (
        f", step '{tracker.step}'"
        if tracker.failed.stage.key == "customize" and tracker.step
        else ""
    )
    return f" in {tracker.failed.stage.title}{step}"


def _reason(execution: Execution, tracker: Tracker) -> tuple[str, str]:
    if execution.error:
        return execution.error, execution.cause
    if tracker.failed and tracker.failed.failure:
        return tracker.failed.failure.error, tracker.failed.failure.cause
    return execution.status, "Step Functions gives no cause."


def _failure_facts(
    execution: Execution, tracker: Tracker, error: str, command_log: str
) -> dict[str, str]:
    facts = {"Meaning": errors.advice(error)} if errors.advice(error) else {}
    current = (tracker.plan.get("current") or {}).get("image")
    if tracker.plan and _pointer_untouched(execution, tracker):
        facts["Pointer"] = (
            f"{pointer(execution.recipe)} is as it was: {current or 'it has no image'}"
        )
    facts["Left over"] = _left_over(execution, tracker)
    if tracker.failed and tracker.failed.stage.key in _SCRIPTS and command_log:
        facts["Output"] = f"of every script: CloudWatch log group {command_log}"
    facts["Execution"] = execution.arn
    return facts


def _left_over(execution: Execution, tracker: Tracker) -> str:
    result = (tracker.state.get("clean_up") or {}).get("result") or {}
    if not tracker.plan and execution.status == "FAILED":
        return "nothing; nothing had been created"
    if result.get("left"):
        return f"{', '.join(result['left'])}; remove it"
    if result:
        removed = count(len(result.get("removed", ())), "resource")
        return f"nothing; Clean up removed {removed}"
    return f"unknown, Clean up has not run: look for the tag {TAG_BAKE} = {execution.name}"


def _pointer_untouched(execution: Execution, tracker: Tracker) -> bool:
    """Whether it is certain: nothing was published, or Clean up has taken it back."""
    failed = tracker.failed.stage.key if tracker.failed else ""
    # Of several pointers, some may have moved before the stage failed.
    published = "publish" in tracker.state or failed == "publish"
    result = (tracker.state.get("clean_up") or {}).get("result") or {}
    taken_back = execution.status == "FAILED" and bool(result) and not result.get("left")
    return taken_back or not published


def _facts(screen: Console, facts: Mapping[str, str]) -> None:
    for label, value in facts.items():
        line(screen, Text.assemble((f"{label:<{_LABEL}}", "bold"), value))
