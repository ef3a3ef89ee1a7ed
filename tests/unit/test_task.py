"""How a task becomes a Lambda function."""

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from pydantic import BaseModel, ValidationError

from bakery.bake import State
from bakery.errors import NoCapacityError
from bakery.observability import logger
from bakery.task import lambda_handler

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class Request(State):
    count: int


class Result(State):
    ids: tuple[str, ...]


CONTEXT = cast(
    "LambdaContext",
    SimpleNamespace(
        function_name="task",
        function_version="1",
        memory_limit_in_mb=128,
        invoked_function_arn="arn:aws:lambda:eu-west-1:111122223333:function:task",
        aws_request_id="request-1",
    ),
)


def call(run: Any, event: dict[str, Any]) -> dict[str, Any] | None:
    return lambda_handler(Request, run)(event, CONTEXT)


def made(request: Request) -> Result:
    return Result(ids=("a",) * request.count)


def test_a_result_leaves_as_plain_data() -> None:
    result = call(made, {"count": 2})
    assert json.loads(json.dumps(result)) == {"ids": ["a", "a"]}
    assert result == {"ids": ["a", "a"]}


def test_a_task_that_waits_for_its_token_has_no_result() -> None:
    def run(request: Request) -> None:
        return None

    assert call(run, {"count": 1}) is None


def test_keys_that_the_task_does_not_know_are_ignored() -> None:
    assert call(made, {"count": 1, "from_another_release": True}) == {"ids": ["a"]}


def test_what_the_task_raises_leaves_under_its_own_name() -> None:
    def run(request: Request) -> BaseModel:
        raise NoCapacityError("full")

    with pytest.raises(NoCapacityError, match="full"):
        call(run, {"count": 1})


def test_an_event_that_does_not_fit_never_reaches_the_task() -> None:
    ran: list[Request] = []
    with pytest.raises(ValidationError):
        call(ran.append, {"count": "many"})
    assert ran == []


@pytest.mark.parametrize(
    ("event", "bake"), [({"bake": "b-1"}, "b-1"), ({}, None), ({"bake": 7}, None)]
)
def test_every_line_of_the_log_names_the_bake_and_never_the_one_before(
    event: dict[str, Any], bake: str | None
) -> None:
    keys: list[dict[str, Any]] = []

    def run(request: Request) -> None:
        keys.append(dict(logger.get_current_keys()))

    call(run, {"count": 1, "bake": "before"})
    call(run, {"count": 1, **event})
    assert keys[-1]["bake"] == bake


def test_what_a_task_adds_to_its_log_is_gone_in_the_next_invocation() -> None:
    keys: list[dict[str, Any]] = []

    def run(request: Request) -> None:
        keys.append(dict(logger.get_current_keys()))
        logger.append_keys(instance="i-1")

    call(run, {"count": 1})
    call(run, {"count": 1})
    assert "instance" not in keys[-1]
