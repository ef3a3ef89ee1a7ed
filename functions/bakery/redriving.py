"""Publishing after a redrive, but not over another bake's head.

A bake that failed goes on through FailBake, which sees to that. One that was stopped, or timed out,
goes on right where it was, and meanwhile the recipe may have been another's.
"""

from bakery import leases
from bakery.aws import ssm
from bakery.bake import Copied, State
from bakery.errors import CannotResumeError, NotYetVisibleError
from bakery.naming import pointer
from bakery.settings import WaitSettings


class Publication(State):
    """What a task that publishes is told, beside what and where."""

    bake: str
    recipe: str
    execution: str = ""
    """ARN; what the recipe's lease is held by."""
    before: str | None = None
    """What the recipe's pointer held when the bake was planned."""
    copies: tuple[Copied, ...] = ()
    """The first is that of the Region of the stack."""
    redrives: int = 0


def check(it: Publication) -> None:
    """Take the recipe's lease again if the bake was redriven.

    Raises RecipeBusyError while another execution has it, CannotResumeError when the recipe's
    pointer has moved to another image since: an older one does not take its place; and
    NotYetVisibleError when it is not shown though it was there: it has not moved.
    """
    if it.redrives == 0:
        return
    leases.take(WaitSettings.load().table, it.recipe, it.execution)
    name = pointer(it.recipe)
    now = ssm.get_parameter(name)
    if now is None and it.before:
        raise NotYetVisibleError(f"{name} is not there, though Plan has seen it")
    if now not in (it.before, it.copies[0].image_id):
        raise CannotResumeError(
            f"The recipe's pointer has moved to {now} since this bake was planned; an older image "
            "does not take its place. Start a new bake."
        )
