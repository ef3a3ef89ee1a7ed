"""Moving image parameters, several at once, and waiting until Parameter Store has them in force.

Parameter Store validates such a value after it has answered, and keeps the old one when it refuses
the new one. What was put and is not in force yet could come into force after CleanUp has looked, so
nothing here ends, well or badly, while a value is under way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bakery import clock
from bakery.aws import ec2, ssm
from bakery.errors import BakeryError, NotYetVisibleError, PointerRejectedError

BUDGET = timedelta(minutes=10)
"""Values are in force within seconds; later they were refused."""


@dataclass(frozen=True)
class Move:
    """A parameter and the image that it shall hold."""

    region: str
    name: str
    image_id: str
    description: str

    def __str__(self) -> str:
        return f"{self.image_id} for {self.name} in {self.region}"


def settle(moves: Sequence[Move], entered: datetime) -> None:
    """Have every parameter hold its image; safe to repeat, what is in force is left alone.

    Raises NotYetVisibleError, for another try, while a value is under way; when none is, the first
    error of those that could not be put. ``entered`` is when the state was entered, the same for
    all tries: after BUDGET a value that is not in force was refused, PointerRejectedError.
    """
    errors: list[BakeryError] = []
    under_way: list[Move] = []
    for move in moves:
        try:
            if not _in_force(move):
                under_way.append(move)
        except BakeryError as error:
            errors.append(error)
    late = clock.now() >= entered + BUDGET
    if under_way and not late:
        raise NotYetVisibleError(f"not in force yet: {_listing(under_way)}")
    if errors:
        raise errors[0]
    if under_way:
        raise PointerRejectedError(
            f"Parameter Store has not accepted {_listing(under_way)} within {BUDGET}; is the image "
            "available there, and may the task's role describe it?"
        )


def _in_force(move: Move) -> bool:
    """Put the value unless it is there; raises PointerRejectedError for an image that cannot be."""
    if ssm.get_parameter(move.name, region=move.region) == move.image_id:
        return True
    found = ec2.find_images([move.image_id], region=move.region)
    if found and found[0].state != "available":
        raise PointerRejectedError(f"Parameter Store takes no {found[0].state} image: {move}")
    ssm.put_image_parameter(move.name, move.image_id, move.description, region=move.region)
    return ssm.get_parameter(move.name, region=move.region) == move.image_id


def _listing(moves: Sequence[Move]) -> str:
    return ", ".join(map(str, moves))
