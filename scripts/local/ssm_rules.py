"""This project's own rules for `documents/*.yaml`, beyond what Systems Manager asks.

They are what keeps a document safe on agents that paste parameters into scripts (before
3.3.2746.0) and what lets the product trust a Success (the sentinel line).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bakery.documents import TOKEN, script_of

SENTINEL: Final = "printf 'ami-bakery: %s done\\n' \"$SSM_Bake\""
POWERSHELL_SENTINEL: Final = 'Write-Output "ami-bakery: $env:SSM_Bake done"'


@dataclass(frozen=True)
class Dialect:
    """How a rule reads in the language of a document's scripts."""

    action: str
    platform: str
    head: str
    sentinel: str
    variable: str
    """How a script reads a parameter, but for its name."""
    fallback: str
    """The one line in which a parameter may be pasted into a script; NAME stands for its name."""
    inert: re.Pattern[str]
    """What a value may consist of."""


SHELL: Final = Dialect(
    action="aws:runShellScript",
    platform="Linux",
    head="#!/bin/sh\nset -eu\n",
    sentinel=SENTINEL,
    variable="$SSM_",
    fallback="if [ -z \"${SSM_NAME+x}\" ]; then SSM_NAME='{{ NAME }}'; fi",
    # No shell gives these characters a meaning, quoted or not.
    inert=re.compile(r"[A-Za-z0-9._/,@+-]*"),
)
POWERSHELL: Final = Dialect(
    action="aws:runPowerShellScript",
    platform="Windows",
    head="$ErrorActionPreference = 'Stop'\nSet-StrictMode -Version 2.0\n",
    sentinel=POWERSHELL_SENTINEL,
    variable="$env:SSM_",
    fallback="if ($null -eq $env:SSM_NAME) { $env:SSM_NAME = '{{ NAME }}' }",
    # None has a meaning between single quotes; those beyond the shell's are in ARNs of secrets.
    inert=re.compile(r"[A-Za-z0-9._/,@+:=#-]*"),
)


def dialect_of(document: Mapping[str, Any]) -> Dialect:
    """The language of the last step, the one that is named like its document."""
    last = document["mainSteps"][-1]
    return POWERSHELL if last["action"] == POWERSHELL.action else SHELL


def house_problems(stem: str, document: Mapping[str, Any]) -> list[str]:
    """Every rule of this project that the document breaks."""
    steps, parameters, dialect = document["mainSteps"], document["parameters"], dialect_of(document)
    problems = [
        f"{step['name']}: {text}" for step in steps for text in _step_problems(step, dialect)
    ]
    problems += [
        f"{name}: {text}"
        for name, definition in parameters.items()
        for text in _parameter_problems(name, definition, document)
    ]
    if steps[-1]["name"] != stem:
        problems.append(f"the last step must be named {stem}: it is GetCommandInvocation's plugin")
    if script_of(steps[-1]).rstrip("\n").split("\n")[-1] != dialect.sentinel:
        problems.append(f"the last line must be {dialect.sentinel}")
    if "Bake" not in parameters:
        problems.append("the parameter Bake is missing")
    return problems


def prologue_of(script: str) -> str:
    """The part of a script in which parameters arrive."""
    lines = script.split("\n")
    last = max((i for i, line in enumerate(lines) if TOKEN.search(line)), default=0)
    return "\n".join(lines[: last + 1]) + "\n"


def _step_problems(step: Mapping[str, Any], dialect: Dialect) -> Iterator[str]:
    inputs = step["inputs"]
    if step.get("precondition") != {"StringEquals": ["platformType", dialect.platform]}:
        yield f"must have the precondition platformType {dialect.platform}"
    if inputs.get("onFailure") != "exit":
        yield "must say onFailure: exit, or the next step runs after it failed"
    script = script_of(step)
    if not script:
        return
    if "timeoutSeconds" not in inputs:
        yield "must have timeoutSeconds"
    if not script.startswith(dialect.head):
        yield f"must begin with {' and '.join(dialect.head.splitlines())}"


def _parameter_problems(
    name: str, definition: Mapping[str, Any], document: Mapping[str, Any]
) -> Iterator[str]:
    if not definition.get("description"):
        yield "must have a description"
    pattern = str(definition.get("allowedPattern", ""))
    if not pattern and not definition.get("allowedValues"):
        yield "must have allowedPattern or allowedValues"
    if pattern and not (pattern.startswith("^") and pattern.endswith("$")):
        yield "allowedPattern must be anchored with ^ and $"
    by_environment = definition.get("interpolationType") == "ENV_VAR"
    in_scripts = any(f"SSM_{name}" in script_of(step) for step in document["mainSteps"])
    if by_environment != in_scripts:
        yield "ENV_VAR is for parameters of scripts, and only for those"
    for step in document["mainSteps"]:
        yield from _use_problems(name, step, dialect_of(document))


def _use_problems(name: str, step: Mapping[str, Any], dialect: Dialect) -> Iterator[str]:
    script, fallback = script_of(step), dialect.fallback.replace("NAME", name)
    lines = [line.strip() for line in script.split("\n")]
    pasted = [line for line in lines if name in TOKEN.findall(line)]
    if pasted and pasted != [fallback]:
        yield f"may be pasted into {step['name']} only as: {fallback}"
    if f"{dialect.variable}{name}" in script and not pasted:
        yield f"{step['name']} has no fallback for agents that do not export SSM_{name}"
