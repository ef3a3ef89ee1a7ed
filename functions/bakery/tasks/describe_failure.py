"""DescribeFailure: make one readable error of what a bake failed with.

Its answer becomes the execution's error and cause: the first failure, under one of the product's
own names, and below it what clean up could not remove.
Idempotent because it only computes.
"""

from typing import Any

from bakery import failures, leftovers
from bakery.bake import State
from bakery.task import lambda_handler


class Request(State):
    state: dict[str, Any]
    """The whole state of the execution."""


class Result(State):
    error: str
    cause: str


def run(request: Request) -> Result:
    """Error name and cause of the bake's first failure."""
    error, cause = failures.first_failure(request.state)
    if left := leftovers.of(request.state):
        cause += "\nClean up could not remove, and you must:\n" + "\n".join(left)
    return Result(error=error, cause=cause)


handler = lambda_handler(Request, run)
