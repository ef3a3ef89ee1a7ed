"""Report: what the bake did, in the form that its callers rely on (the execution's output).

Idempotent because it only computes.
"""

from datetime import datetime
from typing import Any

from bakery import clock, estimate, failures, leftovers, replacing, stages
from bakery.bake import Plan, State
from bakery.task import lambda_handler


class Request(State):
    state: dict[str, Any]
    """The whole state of the execution."""


class ImageReport(State):
    id: str
    name: str
    region: str


class Stage(State):
    stage: str
    started: str
    seconds: float


class Result(State):
    """The execution's output; its keys are a contract."""

    recipe: str
    outcome: str
    image: ImageReport | None
    copies: dict[str, str]
    """Id of the copy in each Region but that of the stack."""
    left_out: dict[str, str]
    """Regions that kept their old image because their copy failed, each with the reason."""
    previous: str | None
    timeline: tuple[Stage, ...]
    estimated_cost_usd: float
    reason: str
    left: tuple[str, ...]
    """What clean up or retirement could not do, each with AWS's reason."""
    changes: str | None
    """What is in the image that was not in the one before, in a line; or why nobody knows."""
    shared: tuple[str, ...]
    """What of their identity instances of the image have in common, where the recipe lets them."""
    skipped_slot: str | None
    """The schedule's slot that came too late to bake for it."""
    retired: tuple[str, ...]
    """Old images that were deprecated, disabled or deregistered, each with the reason."""


def run(request: Request) -> Result:
    """The report of a bake that ended well: ``baked`` or ``unchanged``."""
    state, ended = request.state, clock.now()
    plan = Plan.model_validate(state["plan"])
    away = stages.copies(state)[1:]
    return Result(
        recipe=plan.recipe,
        outcome="baked" if plan.bake_needed else "unchanged",
        image=_image(plan, state),
        copies={it.region: it.image_id for it in away if it.image_id},
        left_out={it.region: it.failed or "" for it in away if not it.image_id},
        previous=state["keep_previous"]["image"] if plan.bake_needed else None,
        timeline=tuple(Stage.model_validate(s) for s in stages.timeline(state, ended)),
        estimated_cost_usd=_cost(plan, state, ended),
        reason="; ".join(filter(None, [plan.reason, replacing.told(state)])),
        left=leftovers.of(state),
        changes=_changes(state),
        shared=state.get("test_and_copy", {}).get("shared", ()),
        skipped_slot=plan.skipped_slot,
        retired=leftovers.retired(state),
    )


def _changes(state: dict[str, Any]) -> str | None:
    found = state.get("test_and_copy", {}).get("inventory")
    if not found:
        return None
    if "summary" in found:
        return str(found["summary"])
    return f"not recorded: {failures.readable(found)}"


def _cost(plan: Plan, state: dict[str, Any], ended: datetime) -> float:
    """What all builders and test instances of the bake cost, at on-demand prices."""

    def hourly(stage: str) -> float:
        return plan.usd_per_hour.get(state.get(stage, {}).get("instance_type", ""), 0.0)

    tests = sum(plan.usd_per_hour.get(it.instance_types[0], 0.0) for it in plan.test.machines)
    return estimate.spent(
        hours=stages.builder_hours(state, ended),
        hourly=hourly("launch"),
        others=stages.lost_hours(state) * hourly(stages.LOST)
        + stages.test_hours(state, ended) * tests,
    )


def _image(plan: Plan, state: dict[str, Any]) -> ImageReport | None:
    if plan.bake_needed:
        return ImageReport(
            id=state["create_image"]["image_id"], name=plan.image_name, region=plan.region
        )
    if plan.current.image is None:
        return None
    return ImageReport(id=plan.current.image, name=plan.current.name, region=plan.region)


handler = lambda_handler(Request, run)
