"""How a task module becomes a Lambda function.

A task module holds, in this order: its contract, ``Request`` and ``Result``, ``run``, ``handler``.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel

from bakery.observability import logger

_Request = TypeVar("_Request", bound=BaseModel)

Handler = Callable[[dict[str, Any], LambdaContext], dict[str, Any] | None]


def lambda_handler(
    request_model: type[_Request], run: Callable[[_Request], BaseModel | None]
) -> Handler:
    """The Lambda handler of a task: event in, ``run``, plain data out.

    What ``run`` raises leaves unchanged: its class name is the error that Step Functions sees.
    """

    @logger.inject_lambda_context(clear_state=True)
    def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any] | None:
        request = request_model.model_validate(event)
        logger.append_keys(bake=_bake_of(event))
        result = run(request)
        return None if result is None else result.model_dump(mode="json")

    return handler


def _bake_of(event: Mapping[str, Any]) -> str | None:
    bake = event.get("bake")
    return bake if isinstance(bake, str) else None
