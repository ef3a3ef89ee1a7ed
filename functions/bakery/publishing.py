"""Moving an image parameter, and waiting until Parameter Store has the value in force."""

import os
from datetime import timedelta

from bakery import budgets, clock, waiting
from bakery.aws import ssm
from bakery.settings import WaitSettings
from bakery.waits import Kind, Wait

BUDGET = timedelta(minutes=10)


def put(
    name: str,
    image_id: str,
    *,
    region: str,
    description: str,
    token: str,
    bake: str,
    recipe: str,
) -> None:
    """Put the parameter unless it holds the image already, and begin to wait for the value.

    Idempotent because of that look. The waiting task ends with PointerRejectedError when
    Parameter Store refuses the value, which it validates after it has answered.
    """
    elsewhere = region if region != os.environ["AWS_REGION"] else ""
    if ssm.get_parameter(name, region=region) != image_id:
        ssm.put_image_parameter(name, image_id, description, region=region)
    now = clock.now()
    waiting.begin(
        WaitSettings.load().table,
        Wait(
            kind=Kind.POINTER,
            target=name,
            token=token,
            bake=bake,
            begun=now,
            expected=now + budgets.POINTER_EXPECTED,
            deadline=now + BUDGET,
            label=f"Setting parameter {name}{f' in {elsewhere}' if elsewhere else ''}",
            image_id=image_id,
            recipe=recipe,
            region=elsewhere,
        ),
    )
