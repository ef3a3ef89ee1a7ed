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
from bakery.errors import (
    BakeryError,
    NotYetVisibleError,
    PointerRejectedError,
    ServiceUnavailableError,
)

BUDGET = timedelta(minutes=10)
"""How long values are put; they are in force within seconds."""
LAST_LOOKS = timedelta(minutes=2)
"""How long one that was put may be under way. So long after BUDGET they are only looked at, and
what is not in force then was refused; and so long one that cannot be looked at is not given up."""


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

    Raises NotYetVisibleError, for another try, while a value is, or may be, under way; when none
    is, the first error of those that could not be put. ``entered`` is when the state was entered,
    the same for all tries: after BUDGET nothing is put any more, and a value that is not in force
    at the end of LAST_LOOKS was refused, PointerRejectedError.
    """
    age = clock.now() - entered
    errors: list[BakeryError] = []
    under_way: list[Move] = []
    for move in moves:
        pending, error = _attempt(move, age)
        if pending:
            under_way.append(move)
        if error:
            errors.append(error)
    if under_way and age < BUDGET + LAST_LOOKS:
        raise NotYetVisibleError(
            "; ".join([f"not in force yet: {_listing(under_way)}", *map(str, errors)])
        )
    if errors:
        raise errors[0]
    if under_way:
        raise PointerRejectedError(
            f"Parameter Store has not accepted {_listing(under_way)} within {BUDGET}; is the image "
            "available there, and may the task's role describe it?"
        )


def _attempt(move: Move, age: timedelta) -> tuple[bool, BakeryError | None]:
    """Whether the value is, or may be, under way, and what went wrong with it."""
    try:
        if ssm.get_parameter(move.name, region=move.region) == move.image_id:
            return False, None
    except BakeryError as error:
        return age < LAST_LOOKS, error  # the try before may have put it
    try:
        if age < BUDGET:
            _put(move)
    except BakeryError as error:
        return isinstance(error, ServiceUnavailableError), error  # without an answer: who knows
    return True, None


def _put(move: Move) -> None:
    """Raises PointerRejectedError for an image that Parameter Store never takes."""
    found = ec2.find_images([move.image_id], region=move.region)
    if found and found[0].state != "available":
        raise PointerRejectedError(f"Parameter Store takes no {found[0].state} image: {move}")
    ssm.put_image_parameter(move.name, move.image_id, move.description, region=move.region)


def _listing(moves: Sequence[Move]) -> str:
    return ", ".join(map(str, moves))
