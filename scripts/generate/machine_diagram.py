"""The README's picture of the state machine, drawn from the synthesized definition."""

import json
from pathlib import Path
from typing import Any

import infra.synthesize
from bakery.recipe import parse_recipe
from infra.permissions import MACHINE_NAME
from scripts.generate import marks

README = Path(__file__).resolve().parents[2] / "README.md"

State = dict[str, Any]


def text() -> str:
    """README.md with today's machine in its place."""
    return marks.filled(README, machine=f"```mermaid\n{diagram(definition())}\n```")


def definition() -> dict[str, Any]:
    """The machine of a stack with one recipe, references as texts."""
    recipe = parse_recipe(
        "example", {"description": "example", "base": {"ami": "ami-00000000000000000"}}
    )
    template = infra.synthesize.template({"example": recipe})
    (machine,) = (
        resource["Properties"]["DefinitionString"]["Fn::Join"][1]
        for resource in template["Resources"].values()
        if resource["Properties"].get("StateMachineName") == MACHINE_NAME
    )
    parts = [part if isinstance(part, str) else "reference" for part in machine]
    return json.loads("".join(parts))  # type: ignore[no-any-return]


_REPLACES = "ReplaceBuilder"
"""Takes the bake back to the launch of a builder when AWS has taken the first one."""
_EACH = {
    "Customize": "step",
    "Test": "instance",
}
_FAILS = "FailBake"
"""Ends the execution by failing itself; what follows it follows a redrive."""


def diagram(machine: dict[str, Any]) -> str:
    """A Mermaid flow chart: solid lines for a bake that goes well, dashed ones for failures."""
    states = _in_order(machine)
    guarded = [name for name, s in states.items() if _goes_to(s, "CleanUp") and name != _REPLACES]
    on_builder = [name for name in guarded if _goes_to(states[name], _REPLACES)]
    lines = ["flowchart TD", f'  start(["{{recipe: NAME}}"]) --> {machine["StartAt"]}']
    lines += ['  subgraph bake ["any failure in here goes to CleanUp"]']
    lines += ['    subgraph builder ["if AWS takes the builder in here, ReplaceBuilder, once"]']
    lines += [f"      {_node(name, states[name])}" for name in on_builder]
    lines += ["    end"]
    for name in guarded:
        if name not in on_builder:
            lines += [f"    {line}" for line in _lines(name, states[name])]
    lines += ["  end"]
    lines += [f"  {_node(name, s)}" for name, s in states.items() if name not in guarded]
    for name, state in states.items():
        lines += [f"  {edge}" for edge in _edges(name, state, guarded)]
    lines += [f"  builder -.-> {_REPLACES}", "  bake -.-> CleanUp"]
    return "\n".join(lines)


def _in_order(machine: dict[str, Any]) -> dict[str, State]:
    """The states as a bake that goes well comes to them, and then the others."""
    found: dict[str, State] = {}
    todo = [machine["StartAt"]]
    while todo:
        name = todo.pop(0)
        if name not in found:
            state = found[name] = machine["States"][name]
            branches = [*state.get("Choices", []), {"Next": state.get("Default")}]
            ways = [state, *branches, *state.get("Catch", [])]
            todo = [way["Next"] for way in ways if way.get("Next")] + todo
    return found


def _goes_to(state: State, name: str) -> bool:
    """Whether a failure of the state leads there."""
    return any(catch["Next"] == name for catch in state.get("Catch", []))


def _lines(name: str, state: State) -> list[str]:
    """A state's node; of a Parallel a frame with the states of its branches."""
    if state["Type"] != "Parallel":
        return [_node(name, state)]
    lines = [f'subgraph {name} ["{name}: beside each other"]']
    for branch in state["Branches"]:
        inner = branch["States"]
        lines += [f"  {_node(it, inner[it])}" for it in inner]
        lines += [f"  {it} --> {inner[it]['Next']}" for it in inner if "Next" in inner[it]]
    return [*lines, "end"]


def _node(name: str, state: State) -> str:
    if name == _FAILS:
        return f'{name}(["{name}: the bake has failed"])'
    match state["Type"]:
        case "Choice":
            return f"{name}{{{name}}}"
        case "Fail":
            return f"{name}([{name}])"
        case "Map":
            inner = ", ".join(state["ItemProcessor"]["States"])
            return f'{name}["{name}: {inner} for each {_EACH.get(name, "Region")}"]'
        case _:
            waits = str(state.get("Resource", "")).endswith("waitForTaskToken")
            return f'{name}["{name} (waits for an event)"]' if waits else f"{name}[{name}]"


def _edges(name: str, state: State, guarded: list[str]) -> list[str]:
    if name == _FAILS:
        return [f"{name} -. once redriven .-> {state['Next']}"]
    edges = [f"{name} --> {state['Next']}"] if "Next" in state else []
    edges += [f"{name} --> {choice['Next']}" for choice in state.get("Choices", [])]
    if "Default" in state:
        edges.append(f"{name} --> {state['Default']}")
    if name not in guarded:
        edges += [f"{name} -.-> {catch['Next']}" for catch in state.get("Catch", [])]
    if state.get("End"):
        edges.append(f'{name} --> done(["the report of the bake"])')
    return edges
