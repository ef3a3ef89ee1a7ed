"""Which types and subnets were tried for a builder, and what EC2 said. Pure."""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from bakery.bake import LaunchPlan
from bakery.resources import Subnet

Cell = tuple[str, Subnet]
"""An instance type in a subnet."""


class Attempt(BaseModel):
    """The tries of one cell; ``answer`` is EC2's last."""

    model_config = ConfigDict(frozen=True)

    instance_type: str
    subnet: str
    zone: str
    answer: str
    times: int = 1

    @property
    def hopeless(self) -> bool:
        """Whether the zone does not offer the type at all, so that waiting is in vain."""
        return self.answer.startswith("Unsupported")


class Attempts(BaseModel):
    """All tries of a bake, in the order of the first of each."""

    model_config = ConfigDict(frozen=True)

    cells: tuple[Attempt, ...] = ()

    def worth_trying(self, plan: LaunchPlan) -> Iterator[Cell]:
        """The plan's types and subnets in its order, without those that are hopeless."""
        hopeless = {(it.instance_type, it.subnet) for it in self.cells if it.hopeless}
        for instance_type in plan.instance_types:
            for subnet in plan.subnets:
                if (instance_type, subnet.id) not in hopeless:
                    yield instance_type, subnet

    def plus(self, cell: Cell, answer: str) -> "Attempts":
        """These and one more."""
        instance_type, subnet = cell
        others, times = [], 1
        for it in self.cells:
            if (it.instance_type, it.subnet) == (instance_type, subnet.id):
                times = it.times + 1
                continue
            others.append(it)
        added = Attempt(
            instance_type=instance_type,
            subnet=subnet.id,
            zone=subnet.zone,
            answer=answer,
            times=times,
        )
        return Attempts(cells=(*others, added))

    def listing(self) -> str:
        """A line for each cell."""
        return "\n".join(
            f"- {it.instance_type} in {it.subnet} ({it.zone}){_times(it.times)}: {it.answer}"
            for it in self.cells
        )


def _times(times: int) -> str:
    return f", {times} times" if times > 1 else ""
