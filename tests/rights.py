"""Which rights of the functions the tests use: all that are granted, or one is too many.

    make test test-long rights
    make mutate-rights

A run notes what its calls needed of the policies, under ``build/rights``; this compares all notes
with the policies of the stack, for every folder of recipes that tests deploy. What is used and not
granted cannot be: the local AWS refuses it.
Exit code 1 when an action is granted that no call of any test has needed.

``--mutate`` takes each right away and runs tests that have used it: it is *told* when one of them
fails and the bake, or the log of the function, says who was refused what, else *noticed* when one
fails. Exit code 1 when none does. What `tests/functional/faults/test_every_right.py` has missed,
is missed already.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from infra.loading import load_recipes
from infra.permissions import hosts_of
from infra.synthesize import template
from scripts.local import LocalAws
from scripts.local.estate import CONTEXT
from scripts.local.iam import Authorizer, Principal
from scripts.local.iam_needs import Need
from scripts.local.policies import Decision

NOTES = Path("build/rights")
MISSED = NOTES / "missed"
WORLDS = Path(__file__).parent / "functional"
"""Each folder in it that has recipes is deployed by some test: see `granted_in_all`."""

Right = tuple[str, str]
"""The part of a role's name that names its function, and an action."""
Used = dict[Right, list[str]]
"""Ids of tests whose calls needed a right; a few, the function's own first."""

TOLD = "the refusal names function and action"
"""What a run without a right prints when that is so."""

_FEW = 4
JOBS = 3
_FAILED = 1
"""pytest's exit code of a failed test; another may mean that a test of the notes is gone."""

_OF_LAMBDA = ("xray:", "logs:CreateLogStream", "logs:PutLogEvents", "sqs:")
"""What Lambda itself calls in a function's name; the queue is the one of events that a function
failed on, for which the CDK grants more than the call."""


def add(used: Used, right: Right, tests: Sequence[str]) -> None:
    """Remember that the tests have used the right of a function."""
    role, action = right
    if function := function_of(role):
        known = used.setdefault((function, action), [])
        known += [test for test in tests if test not in known]
        known.sort(key=lambda test: _module(function) not in test)
        del known[_FEW:]


def note(name: str, used: Used) -> None:
    """Keep what a run has used, in place of what its last one did."""
    lines = [[*right, tests] for right, tests in sorted(used.items())]
    NOTES.mkdir(parents=True, exist_ok=True)
    (NOTES / f"{name}.json").write_text(json.dumps(lines, indent=0), encoding="utf-8")


def noted() -> Used:
    used: Used = {}
    for path in sorted(NOTES.glob("*.json")):
        for function, action, tests in json.loads(path.read_text(encoding="utf-8")):
            add(used, (f"{function}Role", action), tests)
    return used


def miss(name: str, rights: Sequence[Right]) -> None:
    """Keep rights without which a bake said who was refused what."""
    MISSED.mkdir(parents=True, exist_ok=True)
    (MISSED / f"{name}.json").write_text(json.dumps(sorted(rights), indent=0), encoding="utf-8")


def missed() -> set[Right]:
    return {
        (function_of(role), action)
        for path in MISSED.glob("*.json")
        for role, action in json.loads(path.read_text(encoding="utf-8"))
    }


def granted(stack: Mapping[str, Any]) -> set[Right]:
    """Every action of every function's policies."""
    policies = [
        it["Properties"]
        for it in stack["Resources"].values()
        if it["Type"] in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")
    ]
    return {
        (function_of(role["Ref"]), action)
        for policy in policies
        for role in policy["Roles"]
        for statement in policy["PolicyDocument"]["Statement"]
        for action in _listed(statement["Action"])
        if function_of(role["Ref"]) and not action.startswith(_OF_LAMBDA)
    }


def folders() -> list[Path]:
    """Every folder of recipes that tests deploy."""
    return sorted({recipe.parent for recipe in WORLDS.glob("*/*.yaml")})


def granted_in(folder: Path) -> set[Right]:
    """What the functions may with the recipes of a folder; hosts are cloned in a network."""
    recipes = load_recipes(folder)
    return granted(template(recipes, CONTEXT if hosts_of(recipes) else None))


def granted_in_all() -> set[Right]:
    """The rights of all worlds together: some are granted only where a recipe has a use for them,
    as for hosts that are cloned, or for Windows."""
    return set().union(*map(granted_in, folders()))


def function_of(role: str) -> str:
    """The part of a role's name, or logical id, that names the function; empty for others."""
    found = re.search(r"(Tasks|Jobs|Mover)(?!Machine)[A-Z][A-Za-z]*?(?=Role)", role)
    return found[0] if found else ""


def _module(function: str) -> str:
    """The test file of ``TasksLaunchBuilder`` is ``tasks/test_launch_builder.py``."""
    kind, *words = re.findall("[A-Z][a-z]*", function)
    return f"{kind.lower()}/test_{'_'.join(words).lower()}.py"


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def needed(right: Right, tests: Sequence[str]) -> bool:
    """Whether one of the tests fails without the right; says so."""
    verdict = "NOT MISSED"
    for test in tests:
        verdict = _without(right, test) or verdict
        if verdict == "told":
            break
    print(f"{verdict:<10}  {' '.join(right)}", flush=True)
    return verdict != "NOT MISSED"


def _without(right: Right, test: str) -> str:
    """What is seen of it when the test runs without the right; empty if the test does not fail."""
    options = ("-q", "-x", "-m", "long or not long", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *options, "--without", " ".join(right), test]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != _FAILED:
        return ""
    return "told" if TOLD in done.stdout or f"perform: {right[1]}" in done.stdout else "noticed"


@contextmanager
def without(right: Right) -> Iterator[None]:
    """The function's role has not that right meanwhile, whichever of its policies grants it."""
    function, action = right
    decide = Authorizer.decide

    def stricter(
        authorizer: Authorizer, principal: Principal, needs: Iterable[Need], *request: Any
    ) -> Decision | None:
        asked = list(needs)
        for need in asked:
            if need.action == action and function_of(principal.role) == function:
                reason = f"because no identity-based policy allows the {action} action"
                return Decision(False, action, need.resource, reason)
        return decide(authorizer, principal, asked, *request)

    with patch.object(Authorizer, "decide", stricter):
        yield


def is_told(aws: LocalAws, right: Right) -> bool:
    """Whether an operator can read who was refused what: in a log of a function, or in how an
    execution has ended, or was to end by what a function has told."""
    function, action = right
    states = aws.client("stepfunctions")
    ends = [
        str(states.describe_execution(executionArn=execution["executionArn"]))
        for machine in states.list_state_machines()["stateMachines"]
        for execution in states.list_executions(stateMachineArn=machine["stateMachineArn"])[
            "executions"
        ]
    ]
    ends += [str(call.get("cause")) for call in aws.calls.of(operation="SendTaskFailure")]
    written = [line.text for line in aws.function_logs if function in line.function]
    return any(f"perform: {action}" in it for it in written) or any(
        f"perform: {action}" in it and function in it for it in ends
    )


def mutate(rights: set[Right], used: Used) -> int:
    known = missed()
    with ThreadPoolExecutor(JOBS) as pool:
        told = list(pool.map(lambda it: needed(it, used.get(it, ())), sorted(rights - known)))
    print(f"{len(told)} rights taken away, {told.count(True)} missed by a test")
    print(f"{len(rights & known)} others missed by a bake before")
    return 0 if all(told) else 1


def compare(rights: set[Right], used: Used) -> int:
    unused = sorted(rights - used.keys())
    for function, action in unused:
        print(f"granted, and used by no test: {function} {action}")
    print(f"{len(rights)} rights granted, {len(unused)} of them used by no test")
    return 1 if unused else 0


def main(arguments: Sequence[str]) -> int:
    used = noted()
    if not used:
        print("No run has noted anything: run make test test-long first.", file=sys.stderr)
        return 1
    rights = granted_in_all()
    if "--mutate" not in arguments:
        return compare(rights, used)
    wanted = [it for it in arguments if it != "--mutate"]
    chosen = {it for it in rights if not wanted or any(part in " ".join(it) for part in wanted)}
    return mutate(chosen, used)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
