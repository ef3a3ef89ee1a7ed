"""What the sweeps found, as a table: for each function and fault, what became of the bakes."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Record = Callable[[str, object], None]
"""pytest's ``record_property``."""

PROPERTY = "matrix"


@dataclass
class Row:
    """One sweep: a function, the bake that it is watched in, and a fault at each of its calls."""

    function: str
    scene: str
    fault: str
    calls: int = 0
    survived: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """Error name to how many bakes ended with it, everything removed."""

    def add(self, error: str | None) -> None:
        """One more call, and how its bake ended: None as it would have without the fault."""
        self.calls += 1
        if error is None:
            self.survived += 1
        else:
            self.failed[error] += 1

    def record(self, record: Record) -> None:
        content = {**vars(self), "failed": dict(sorted(self.failed.items()))}
        record(PROPERTY, content)


def renewed(before: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows in order, those of sweeps that have run again in place of what they found before."""
    by_sweep = {(it["scene"], it["function"], it["fault"]): it for it in (*before, *found)}
    return [by_sweep[key] for key in sorted(by_sweep)]


def lines(rows: list[dict[str, Any]]) -> list[str]:
    """The table for a terminal."""
    head = (
        f"{'function':<16} {'bake':<11} {'fault':<14} {'calls':>5} {'survived':>8}  failed, clean"
    )
    return [head, *(_line(row) for row in rows)]


def _line(row: dict[str, Any]) -> str:
    failed = ", ".join(f"{name} {count}" for name, count in row["failed"].items())
    return (
        f"{row['function']:<16} {row['scene']:<11} {row['fault']:<14} {row['calls']:>5} "
        f"{row['survived']:>8}  {failed}"
    ).rstrip()
