"""FailBake: end the execution with one readable error, or go on when it is redriven.

The error is the first failure, under one of the product's own names, and below it what clean up
could not remove or has kept. This is the state that failed, so a redrive (``bakery retry``, or the
console) runs it again: then it takes the recipe's lease and hands back the state that the failed
stage began with, if what that stage needs is still there.
Idempotent because it computes, and a lease may be taken twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bakery import ending, failures, holds, leases, leftovers, replacing, resuming
from bakery.aws import ec2, ssm, stepfunctions
from bakery.bake import State
from bakery.errors import BakeryError, CannotResumeError, EndNotToldError
from bakery.naming import pointer
from bakery.resources import Image, Instance
from bakery.settings import FailSettings
from bakery.task import lambda_handler


class Request(State):
    token: str
    bake: str
    execution: str
    """ARN; what the recipe's lease is held by."""
    redrives: int
    """How often the execution was redriven."""
    state: dict[str, Any]
    """The whole state of the execution."""


def run(request: Request) -> None:
    """Fail the execution; once it is redriven, resume it.

    A redriven one fails again, with CannotResumeError and the reason, when it cannot go on, and
    with RecipeBusyError while another execution bakes the recipe. Raises EndNotToldError when
    Step Functions refuses to hear it, or does not answer, whether it has heard or not.
    """
    if request.redrives == _redrives_at_failure(request.state):
        # Not redriven since this failure: it may be that of a stage that a redrive went on with.
        _fail(request.token, *describe(request.state))
        return
    try:
        resumed = _resume(request)
    except BakeryError as error:
        _fail(request.token, type(error).__name__, str(error))
        return
    with _told(f"that the bake goes on at {resumed.get('resume_at')}"):
        stepfunctions.succeed(request.token, resumed)


def _fail(token: str, error_name: str, cause: str) -> None:
    with _told(f"{error_name}: {cause}"):
        stepfunctions.fail(token, error_name, cause)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """A name of its own for an answer that is lost, or a refusal: by the error that is told itself,
    which may be one of those that pass, nobody could tell whether to try again. And its text has
    the bake's error, which would not be told at all."""
    try:
        yield
    except BakeryError as error:
        raise EndNotToldError(f"{error}. It is: {what}") from error


def _redrives_at_failure(state: dict[str, Any]) -> int:
    """As CleanUp noted it: a bake that was stopped is redriven without a failure before."""
    noted = state.get("clean_up", {}).get("redrives", state.get("redrives", 0))
    return int(noted)


def describe(state: dict[str, Any]) -> tuple[str, str]:
    """Error name and cause of the bake's first failure."""
    error, cause = failures.first_failure(state)
    if not_replaced := state.get("replace_failure"):
        cause += f"\nIt was not replaced: {failures.readable(not_replaced)}"
    if replaced := replacing.told(state):
        cause += f"\nBefore, {replaced}"
    if left := leftovers.of(state):
        cause += "\nClean up could not remove, and you must:\n" + "\n".join(left)
    if kept := leftovers.kept(state):
        cause += f"\n{kept}"
    return error, cause


def _resume(request: Request) -> dict[str, Any]:
    if "plan" not in request.state:
        raise CannotResumeError("Nothing was begun that could go on. Start a new bake.")
    recipe, table = str(request.state["plan"]["recipe"]), FailSettings.load().table
    leases.take(table, recipe, request.execution)
    try:
        image = _image(request)
        resumed = resuming.resume(
            request.state,
            builder=_builder(request.bake),
            image=image,
            current=ssm.get_parameter(pointer(recipe)),
        )
        _end_tests(request, resumed["resume_at"], image)
    except BakeryError:
        leases.give_back(table, recipe, request.execution)
        raise
    holds.end(table, request.bake)
    return {**resumed, "redrives": request.redrives}


def _end_tests(request: Request, resume_at: str, image: Image | None) -> None:
    """What was kept of a failed test is for looking at: the next try boots the image anew.

    Raises CannotResumeError when one stays that LaunchTest would take for its own: somebody may
    have repaired it, and the image would pass for what it is not.
    """
    left = ending.end_tests(request.bake)
    if resume_at != resuming.STATES["test_and_copy"] or image is None:
        return
    ours = (request.state["plan"]["test"]["instance_profile"], image.id)
    if mistakable := [it.id for it in left if (it.profile, it.image_id) == ours]:
        raise CannotResumeError(
            f"The image is to be booted anew, but test instance {', '.join(mistakable)} of the "
            "last try cannot be ended. Is it protected from termination? End it by hand, and try "
            "again."
        )


def _builder(bake: str) -> Instance | None:
    return next(iter(ec2.builders_of_bake(bake)), None)


def _image(request: Request) -> Image | None:
    """The one that the bake has made, while it is available: whoever may tag can tag another."""
    made = request.state.get("create_image", {}).get("image_id")
    for image in ec2.images_of_bake(request.bake):
        if (image.id, image.state) == (made, "available"):
            return image
    return None


handler = lambda_handler(Request, run)
