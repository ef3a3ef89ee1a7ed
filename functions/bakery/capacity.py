"""Which types, subnets and markets were tried for a builder, and what EC2 said. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from bakery.bake import LaunchPlan
from bakery.problems import shortened
from bakery.resources import Subnet, market

_SHOWN = 40
_WIDEST_ANSWER = 200
"""With ``_SHOWN``: a cause has at most 32,768 characters, and state carries it."""


class Cell(NamedTuple):
    """An instance type in a subnet, as spot or on-demand."""

    instance_type: str
    subnet: Subnet
    spot: bool = False

    @property
    def market(self) -> str:
        return market(spot=self.spot)


class Attempt(BaseModel):
    """The tries of one cell; ``answer`` is EC2's last."""

    model_config = ConfigDict(frozen=True)

    instance_type: str
    subnet: str
    zone: str
    spot: bool = False
    answer: str
    times: int = 1

    @property
    def cell(self) -> tuple[str, str, bool]:
        return self.instance_type, self.subnet, self.spot

    @property
    def hopeless(self) -> bool:
        """Whether the zone does not offer the type at all, so that waiting is in vain."""
        return self.answer.startswith("Unsupported")

    def __str__(self) -> str:
        times = f", {self.times} times" if self.times > 1 else ""
        return (
            f"{self.instance_type} {market(spot=self.spot)} in {self.subnet} ({self.zone}){times}: "
            f"{shortened(self.answer, _WIDEST_ANSWER)}"
        )


class Attempts(BaseModel):
    """All tries of a bake, in the order of the first of each."""

    model_config = ConfigDict(frozen=True)

    cells: tuple[Attempt, ...] = ()

    def worth_trying(self, plan: LaunchPlan) -> Iterator[Cell]:
        """The plan's types and subnets in its order, without those that are hopeless; if the plan
        wants spot, all of them as spot before any of them on-demand."""
        hopeless = {it.cell for it in self.cells if it.hopeless}
        for spot in (True, False) if plan.spot else (False,):
            for instance_type in plan.instance_types:
                for subnet in plan.subnets:
                    if (instance_type, subnet.id, spot) not in hopeless:
                        yield Cell(instance_type, subnet, spot)

    def rest_of_round(self, plan: LaunchPlan) -> list[Cell]:
        """What the plan has not tried as often as the rest: a try may end in the middle of a round,
        and the next one goes on from there."""
        tried = {it.cell: it.times for it in self.cells}
        worth = [
            (tried.get((cell.instance_type, cell.subnet.id, cell.spot), 0), cell)
            for cell in self.worth_trying(plan)
        ]
        fewest = min((times for times, _ in worth), default=0)
        return [cell for times, cell in worth if times == fewest]

    def plus(self, cell: Cell, answer: str) -> "Attempts":
        """These and one more."""
        added = Attempt(
            instance_type=cell.instance_type,
            subnet=cell.subnet.id,
            zone=cell.subnet.zone,
            spot=cell.spot,
            answer=answer,
        )
        before = [it for it in self.cells if it.cell == added.cell]
        others = [it for it in self.cells if it.cell != added.cell]
        times = before[0].times + 1 if before else 1
        return Attempts(cells=(*others, added.model_copy(update={"times": times})))

    def listing(self) -> str:
        """A line for each cell; of very many, the first and the last: both markets are seen."""
        lines = [f"- {it}" for it in self.cells]
        if len(lines) > _SHOWN:
            half = _SHOWN // 2
            left_out = len(lines) - 2 * half
            lines = [*lines[:half], f"- and {left_out} more like these", *lines[-half:]]
        return "\n".join(lines)
