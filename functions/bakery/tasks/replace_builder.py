"""ReplaceBuilder: AWS has taken the builder; remove what it leaves, and begin anew with another.

Reached from every stage that needs the builder. It hands back the state as Plan left it, so the
next builder goes through all stages again. LaunchBuilder and CreateImage adopt nothing of the first
attempt, by the attempt's tag and by the image's source, even while EC2 still shows it.
Idempotent because it removes what is there and computes the rest.
"""

from datetime import datetime
from typing import Any

from pydantic import RootModel

from bakery import budgets, replacing, waiting
from bakery.aws import ec2
from bakery.bake import State
from bakery.errors import BuilderTakenError
from bakery.settings import ReplaceSettings
from bakery.task import lambda_handler


class Request(State):
    bake: str
    entered: datetime
    """When the machine entered the state."""
    state: dict[str, Any]
    """The whole state of the execution, with the failure that led here."""


class Result(RootModel[dict[str, Any]]):
    """The state for the next attempt."""


def run(request: Request) -> Result:
    """Clear the lost attempt away and return the state that LaunchBuilder begins the next with.

    Raises BuilderTakenError when the bake has had all its builders; what is left of the last is
    CleanUp's business then.
    """
    attempt = replacing.attempt_of(request.state)
    if attempt >= budgets.ATTEMPTS:
        raise BuilderTakenError(
            f"It was builder {attempt} of {budgets.ATTEMPTS} that a bake may have. "
            "Start the bake again."
        )
    _remove(request.bake)
    waiting.forget_all(ReplaceSettings.load().table, request.bake)
    return Result(replacing.begun_anew(request.state, request.entered))


def _remove(bake: str) -> None:
    """Requests before instances: a request that stands would launch the next one by itself."""
    for spot_request in ec2.spot_requests_of_bake(bake):
        if spot_request.stands:
            ec2.cancel_spot_request(spot_request.id)
    for instance_id in ec2.live_instances_of_bake(bake):
        ec2.terminate(instance_id)
    for image in ec2.images_of_bake(bake):
        ec2.delete_image(image.id, image.snapshots)
    for snapshot in ec2.snapshots_of_bake(bake):
        ec2.delete_snapshot(snapshot)


handler = lambda_handler(Request, run)
