"""docs/faults.md: what goes wrong, what the bakery does about it, and which test proves it."""

import ast
import json
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.generate import marks

PROJECT = Path(__file__).resolve().parents[2]
TESTS = PROJECT / "tests"
FAULTS = TESTS / "functional" / "faults"
PAGE = PROJECT / "docs" / "faults.md"
MARK = "failure"


def text() -> str:
    """docs/faults.md with today's catalogue and the last run's matrix in their places."""
    catalogue = tomllib.loads((FAULTS / "catalogue.toml").read_text(encoding="utf-8"))
    matrix = json.loads((FAULTS / "matrix.json").read_text(encoding="utf-8"))
    return marks.filled(
        PAGE,
        catalogue=_catalogue(catalogue["stage"], marked_tests(TESTS)),
        matrix=_matrix(matrix),
    )


def _catalogue(stages: list[dict[str, Any]], proofs: Mapping[int, list[str]]) -> str:
    rows = [row for stage in stages for row in stage["rows"]]
    unknown = sorted(set(proofs) - {row["n"] for row in rows})
    if unknown:
        raise ValueError(f"tests are marked with rows that the catalogue does not have: {unknown}")
    proven = sum(row["n"] in proofs for row in rows)
    parts = [_stage(stage, proofs) for stage in stages]
    return "\n\n".join([f"{proven} of {len(rows)} rows have a test.", *parts])


def marked_tests(folder: Path) -> Mapping[int, list[str]]:
    """Row of the catalogue to the tests that carry its number."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name, rows in _marked(tree):
            for row in rows:
                found[row].append(f"{path.relative_to(folder).as_posix()}::{name}")
    return found


def _marked(tree: ast.AST) -> Iterator[tuple[str, list[int]]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            if (
                isinstance(decorator, ast.Call)
                and isinstance(decorator.func, ast.Attribute)
                and decorator.func.attr == MARK
            ):
                yield node.name, [ast.literal_eval(argument) for argument in decorator.args]


def _stage(stage: Mapping[str, Any], proofs: Mapping[int, list[str]]) -> str:
    lines = [
        f"### {stage['title']}",
        "",
        "| | what goes wrong | the bakery | proven by |",
        "| --- | --- | --- | --- |",
        *(_row(row, proofs.get(row["n"], [])) for row in stage["rows"]),
    ]
    return "\n".join(lines)


def _row(row: Mapping[str, Any], tests: list[str]) -> str:
    if bool(tests) == ("why" in row):
        raise ValueError(f"row {row['n']} of the catalogue needs a test, or else a reason")
    proof = "<br>".join(f"`{test}`" for test in tests) or f"no test: {row['why']}"
    return f"| {row['n']} | {row['failure']} | {row['bakery']} | {proof} |"


def _matrix(rows: list[Mapping[str, Any]]) -> str:
    if not rows:
        return "No complete run of `make faults` is on record yet."
    faults = list(dict.fromkeys(row["fault"] for row in rows))
    cells: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for row in rows:
        cells[row["function"], row["scene"]][row["fault"]] = _cell(row)
    lines = [_line("function", "bake", *faults), _line(*["---"] * (len(faults) + 2))]
    for (function, scene), by_fault in sorted(cells.items()):
        lines.append(_line(function, scene, *(by_fault.get(fault, "") for fault in faults)))
    return "\n".join(lines)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(row: Mapping[str, Any]) -> str:
    failed = (f"{error} {count}" for error, count in row["failed"].items())
    return "<br>".join([str(row["calls"]), *failed])
