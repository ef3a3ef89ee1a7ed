"""The calls of a bake, one by one."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from scripts.local.calls import READING, Call

_BAKERY = Path(__file__).parents[3] / "functions" / "bakery"


@dataclass(frozen=True)
class Point:
    """One call of one function: the ``occurrence``-th of its operation in a Region in a bake."""

    role: str
    service: str
    operation: str
    occurrence: int
    region: str = ""
    """Empty: wherever it is made."""

    def __str__(self) -> str:
        where = f" in {self.region}" if self.region else ""
        return f"{self.role} {self.service}:{self.operation} #{self.occurrence}{where}"

    @property
    def reads(self) -> bool:
        """Whether it changes nothing, as the operation's name says."""
        return self.operation.startswith(READING)


def points_of(calls: Iterable[Call], role: str) -> list[Point]:
    seen: Counter[tuple[str, str, str]] = Counter()
    found = []
    for call in calls:
        key = (call.service, call.operation, call.region)
        found.append(Point(role, call.service, call.operation, seen[key], call.region))
        seen[key] += 1
    return found


def functions(kind: str) -> list[str]:
    """Names of all functions of a kind (``tasks`` or ``jobs``), from their modules."""
    modules = sorted(path.stem for path in (_BAKERY / kind).glob("*.py"))
    return ["".join(part.title() for part in m.split("_")) for m in modules if m != "__init__"]


def role(kind: str, function: str) -> str:
    """A part of the name of its role."""
    return f"{kind.title()}{function}Role"
