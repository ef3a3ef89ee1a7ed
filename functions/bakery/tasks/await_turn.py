"""AwaitTurn: sleep until the bake that has the recipe is over.

Entered only from Plan, which plans anew afterwards: another bake may have been faster again.
Nothing is created while a bake waits here.
Idempotent because it only begins a wait, and a second one takes the place of the first.
"""

from bakery import budgets, clock, waiting
from bakery.bake import Busy, State
from bakery.settings import WaitSettings
from bakery.task import lambda_handler
from bakery.waits import Kind, Wait, turn


class Request(State):
    token: str
    bake: str
    recipe: str
    busy: Busy


def run(request: Request) -> None:
    """Begin to wait; the task ends with the other bake, or with RecipeBusyError.

    The limit counts from the first bake that this one has waited for.
    """
    busy, since = request.busy, clock.parse(request.busy.since)
    waiting.begin(
        WaitSettings.load().table,
        Wait(
            kind=Kind.TURN,
            target=turn(busy.bake, request.bake),
            token=request.token,
            bake=request.bake,
            begun=since,
            expected=since + budgets.TURN_EXPECTED,
            deadline=since + budgets.LONGEST_TURN,
            label=f"Waiting for bake {busy.bake}",
            recipe=request.recipe,
            execution=busy.holder,
        ),
    )


handler = lambda_handler(Request, run)
