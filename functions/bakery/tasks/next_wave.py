"""NextWave: of a run over all recipes, the bakes that can start now; at its end, how all fared.

The only task of the machine ``AmiBakery-Fleet``. It comes back after each wave, at most once for
each recipe of the longest chain.
Idempotent because it only computes; the names of the bakes come from the run's own name.
"""

from typing import Any

from pydantic import ValidationError

from bakery import catalogue, fleet
from bakery.bake import State
from bakery.errors import InvalidInputError
from bakery.fleet import Done, FleetInput, Item
from bakery.problems import brief_listing
from bakery.recipe import input_problems
from bakery.task import lambda_handler


class Request(State):
    execution: str
    """ARN of the run."""
    input: Any
    """The run's input as it was given."""
    state: Any = None
    """After a wave: ``done`` before it, and ``results`` of it."""


class Result(State):
    wave: tuple[Item, ...]
    """Empty: the run is over."""
    done: tuple[Done, ...]


def run(request: Request) -> Result:
    """The next wave, or the end.

    Raises InvalidInputError, and FleetFailedError at the end if not every recipe is up to date.
    """
    wanted = _input(request.input)
    done = _done(request.state)
    recipes = catalogue.all_recipes()
    wave, stopped = fleet.next_wave(recipes, done, run=request.execution, force=wanted.force)
    done = [*done, *stopped]
    if not wave and (error := fleet.failure(done)):
        raise error
    return Result(wave=tuple(wave), done=tuple(done))


def _input(content: Any) -> FleetInput:
    try:
        return FleetInput.model_validate(content)
    except ValidationError as error:
        raise InvalidInputError(
            f"The execution input is not valid:\n{brief_listing(input_problems(content, error))}\n"
            'Write {}, or {"force": true}.'
        ) from None


def _done(state: Any) -> list[Done]:
    """No execution's input has these keys: it is refused."""
    if not isinstance(state, dict) or "results" not in state:
        return []
    before = [Done.model_validate(it) for it in state["done"]]
    return [*before, *map(fleet.result_of, state["results"])]


handler = lambda_handler(Request, run)
