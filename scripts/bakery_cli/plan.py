"""``bakery plan``: what a bake would do, from the same function that decides it."""

import textwrap
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.text import Text

from bakery.bake import Command, HostPlan, WholePlan
from bakery.budgets import of_agent
from bakery.errors import advice
from bakery.estimate import monthly_storage
from bakery.naming import previous_pointer
from scripts.bakery_cli.aws.stack import PREVIEW, PlanRefusedError
from scripts.bakery_cli.errors import FAILED
from scripts.bakery_cli.screen import line
from scripts.bakery_cli.stages import check_name, step_name
from scripts.bakery_cli.words import count, duration, usd

_LABEL = 17
_WIDTH = 80
"""Of what stands beside the titles."""


def show_refusal(screen: Console, recipe: str, error: PlanRefusedError) -> int:
    """Why there is nothing that could be baked; the exit code."""
    line(
        screen, f"A bake of {recipe} would fail in Plan; nothing would be created", style="bold red"
    )
    line(screen)
    line(screen, error.error, style="bold")
    for text in error.cause.splitlines():
        line(screen, f"  {text}")
    if meaning := advice(error.error):
        line(screen)
        line(screen, meaning)
    return FAILED


def show(screen: Console, plan: WholePlan) -> None:
    """Print the plan, in the order in which it would be done."""
    if plan.bake_needed:
        line(screen, f"A bake of {plan.recipe} would make an image: {plan.reason}", style="bold")
    else:
        line(screen, f"A bake of {plan.recipe} would do nothing: {plan.reason}", style="bold")
        line(screen, f"With --force it would do this (bakery plan {plan.recipe} --force):")
    line(screen)
    for number, (title, what, *more) in enumerate(_stages(plan), start=1):
        line(screen, Text.assemble((f"{number:>3}. {title:<{_LABEL}}", "bold"), what))
        for text in more:
            line(screen, f"{'':<{_LABEL + 5}}{text}")
    line(screen)
    for label, value in _facts(plan):
        line(screen, Text.assemble((f"{label:<{_LABEL + 5}}", "bold"), value))


def _stages(plan: WholePlan) -> Iterator[tuple[str, ...]]:
    """Title of each stage, what it would do, and more lines about that."""
    launch, base = plan.launch, plan.base_image
    subnets = ", ".join(f"{subnet.id} ({subnet.zone})" for subnet in launch.subnets)
    types = ", else ".join(launch.instance_types)
    where = textwrap.wrap(f"in {subnets}", _WIDTH, break_on_hyphens=False)
    if plan.host:
        yield "Clone host", *_clone(plan.host)
    yield (
        "Launch builder",
        f"{f'spot: {types}; else on-demand: {types}' if launch.spot else types}; from "
        f"{'the clone of ' if plan.host else ''}{base.id}",
        f"{launch.size_gib} GiB gp3, {launch.iops} iops, {launch.throughput} MiB/s",
        *where,
        *(["it reaches nothing but Systems Manager (context clone_egress)"] if plan.host else []),
    )
    minutes = of_agent(windows=launch.windows).seconds // 60
    yield "Wait for agent", f"until Systems Manager knows the builder, at most {minutes} minutes"
    yield "Prepare", _document(plan.prepare)
    steps = _numbered(_script(step_name(it.label), it) for it in plan.customize)
    yield "Customize", count(len(plan.customize), "step"), *steps
    removed = plan.remove_identity
    yield "Remove identity", _document(removed) if removed else "nothing: the base is Windows"
    yield "Generalize", _document(plan.generalize)
    yield "Verify identity", _document(plan.verify_identity)
    yield "Stop builder", _document(plan.sysprep) if plan.sysprep else "and wait for the stop"
    yield "Create image", _image_name(plan)
    yield "Harden image", "IMDSv2 only; encryption and size are checked"
    yield ("Test and copy", *_test_and_copy(plan))
    yield "Release", ", ".join(place.region for place in plan.places)
    first, *labels = dict.fromkeys(it.name for it in plan.pointers)
    everywhere = f"in {count(len(plan.places), 'Region')}" if len(plan.places) > 1 else ""
    yield ("Publish", f"{first} {everywhere}".strip(), *labels)
    yield ("Launch templates", *(_templates(plan) or ["the recipe names none"]))
    kept = plan.current.image or "nothing: this is the first image"
    yield "Keep previous", f"{previous_pointer(plan.recipe)} gets {kept}"
    yield "Retire images", *_retirement(plan)
    clone = ", remove the clone" if plan.host else ""
    yield "Clean up", f"terminate the builder{clone}"


def _clone(host: HostPlan) -> Iterator[str]:
    """What is done to the host, and what is not in its image."""
    how = "restarted by EC2 for it" if host.reboot else "not restarted, stopped or changed"
    yield f"image {host.instance_id}, which is {how}"
    if host.leave_out:
        yield f"without {', '.join(host.leave_out)}"
    yield f"{host.image_name}, which goes with the bake".replace(PREVIEW, "<bake>")


def _retirement(plan: WholePlan) -> tuple[str, ...]:
    kept = plan.retention
    if kept is None:
        return ("none: the recipe says nothing of retention",)
    age = f", those of the last {count(kept.days, 'day')}" if kept.days else ""
    return (
        f"all but the newest {kept.keep}{age}, and those in use",
        f"in {', '.join(plan.retire_in)}; see bakery retire {plan.recipe} --dry-run",
        *(f"fast launch for the new one in {it.region}" for it in plan.fast_launch),
    )


def _test_and_copy(plan: WholePlan) -> list[str]:
    """What the image must pass, where, and where it is copied to meanwhile."""
    test = plan.test
    checks = _numbered(_script(check_name(it.label), it) for it in test.checks)
    machines = [f"on {', else '.join(machine.instance_types)}" for machine in test.machines]
    if test.compare is not None:
        told = "" if plan.sysprep or not plan.launch.windows else ", but for what Sysprep renews"
        machines.append(f"the identities of the first two must differ{told}")
    copies = [f"copy to {place.region}" for place in plan.places[1:]]
    tests = f"{count(len(test.checks), 'test')} on {count(len(test.machines), 'instance')}"
    return [tests, *machines, *checks, *copies]


def _numbered(texts: Iterable[str]) -> list[str]:
    return [f"{number}. {text}" for number, text in enumerate(texts, start=1)]


def _templates(plan: WholePlan) -> list[str]:
    return [f"{it.id} in {it.region}" for it in plan.templates]


def _image_name(plan: WholePlan) -> str:
    """A bake that is only planned has no name yet."""
    return plan.image_name.replace(PREVIEW, "<bake>")


def _document(command: Command) -> str:
    given = {name: values for name, values in command.parameters.items() if name != "Bake"}
    shown = "".join(f", {name} {' '.join(values)}" for name, values in given.items())
    return f"{command.document} version {command.version}{shown}"


def _script(name: str, command: Command) -> str:
    """A step or a test."""
    limit = duration(command.timeout_seconds)
    return f"{name}: {command.document} version {command.version}, within {limit}"


def _facts(plan: WholePlan) -> Iterator[tuple[str, str]]:
    base, storage = plan.base_image, monthly_storage(plan.launch.size_gib)
    title = "Base host" if plan.host else "Base image"
    yield title, f"{base.id} ({base.name}), {base.architecture}, {base.size_gib} GiB"
    yield "Current image", f"{plan.current.image or 'none'} {plan.current.name}".strip()
    yield "What changed", plan.reason
    yield "Image name", _image_name(plan)
    yield "Time", f"about {plan.estimate.minutes:.0f} min"
    yield (
        "Cost",
        f"about {usd(plan.estimate.usd)} for the bake, at most {usd(storage)} a month to keep",
    )
    for it in plan.fast_launch:
        yield (
            "Fast launch cost",
            f"in {it.region} at most {usd(it.usd)} for each new image, and {usd(it.monthly_usd)} a "
            "month to keep its snapshots",
        )
    if "Secret" in plan.generalize.parameters:
        yield (
            "Password",
            "that of a secret: it stays readable in the image, for all who may use it",
        )
    if plan.launch.spot:
        yield "", "at on-demand prices; spot, which is tried first, costs less"
