"""Which rights of the functions the tests use: all that are granted, or one is too many.

    make test test-long rights

A run notes what its calls needed of the policies, under ``build/rights``; this compares all notes
with the policies of the stack. What is used and not granted cannot be: the local AWS refuses it.
Exit code 1 when an action is granted that no call of any test has needed.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from infra.loading import load_recipes
from infra.synthesize import template

NOTES = Path("build/rights")
RECIPES = Path(__file__).parent / "functional" / "recipes"

Right = tuple[str, str]
"""The logical id of a role without its hash, and an action."""

_OF_LAMBDA = ("xray:", "logs:CreateLogStream", "logs:PutLogEvents")
"""What Lambda itself calls in a function's name."""


def note(name: str, used: Iterable[Right]) -> None:
    """Keep what a run has used, in place of what its last one did."""
    rights = sorted({(_function(role), action) for role, action in used if _function(role)})
    NOTES.mkdir(parents=True, exist_ok=True)
    (NOTES / f"{name}.json").write_text(json.dumps(rights, indent=0), encoding="utf-8")


def used() -> set[Right]:
    notes = (json.loads(path.read_text(encoding="utf-8")) for path in NOTES.glob("*.json"))
    return {(role, action) for rights in notes for role, action in rights}


def granted(stack: Mapping[str, Any]) -> set[Right]:
    """Every action of every function's policies."""
    policies = [
        it["Properties"] for it in stack["Resources"].values() if it["Type"] == "AWS::IAM::Policy"
    ]
    return {
        (_function(role["Ref"]), action)
        for policy in policies
        for role in policy["Roles"]
        for statement in policy["PolicyDocument"]["Statement"]
        for action in _listed(statement["Action"])
        if _function(role["Ref"]) and not action.startswith(_OF_LAMBDA)
    }


def _function(role: str) -> str:
    """The part of a role's name, or logical id, that names the function; empty for others."""
    found = re.search(r"(Tasks|Jobs|Mover|FleetTasks)[A-Z][A-Za-z]*?(?=Role)", role)
    return found[0] if found else ""


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def main() -> int:
    if not any(NOTES.glob("*.json")):
        print("No run has noted anything: run make test test-long first.", file=sys.stderr)
        return 1
    rights = granted(template(load_recipes(RECIPES)))
    unused = sorted(rights - used())
    for role, action in unused:
        print(f"granted, and used by no test: {role} {action}")
    print(f"{len(rights)} rights granted, {len(unused)} of them used by no test")
    return 1 if unused else 0


if __name__ == "__main__":
    sys.exit(main())
