"""bake_dependents: what follows a new image is started, once."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functional.conftest import FunctionFailedError, World

TWO = {"middle": "ground", "side": "ground"}


@pytest.fixture(scope="module")
def recipes() -> dict[str, Any]:
    base = {"ami": "ami-0a120230000000064"}
    return {
        "ground": {"description": "x", "base": base},
        "alone": {"description": "x", "base": base},
        "other": {"description": "x", "base": {"recipe": "ground", "follow": False}},
        "top": {"description": "x", "base": {"recipe": "middle"}},
        **{name: {"description": "x", "base": {"recipe": base}} for name, base in TWO.items()},
    }


@pytest.fixture
def quiet(quiet: World, recipes: dict[str, Any], tmp_path: Path) -> Iterator[World]:
    """A deployment with these recipes, as far as the job sees it."""
    with quiet.carrying(recipes, "bake_dependents", tmp_path):
        yield quiet


def published(recipe: str, image: str) -> dict[str, Any]:
    return {
        "source": "ami-bakery",
        "detail-type": "Bake Succeeded",
        "detail": {"recipe": recipe, "bake": "made", "image": {"id": image, "name": "x"}},
    }


def new_image() -> str:
    return f"ami-{uuid.uuid4().hex[:17]}"


def started(world: World, image: str) -> dict[str, dict[str, Any]]:
    """Input of each execution that was started for the image, by its name."""
    states = world.aws.client("stepfunctions")
    pages = states.get_paginator("list_executions").paginate(
        stateMachineArn=world.outputs["BakeStateMachineArn"]
    )
    found = [it for page in pages for it in page["executions"] if it["name"].endswith(image)]
    for execution in found:
        # None of these recipes is deployed for Plan: each ends there.
        assert world.ended(execution["executionArn"]).error == "UnknownRecipeError"
    return {
        it["name"]: json.loads(states.describe_execution(executionArn=it["executionArn"])["input"])
        for it in found
    }


def test_each_recipe_that_follows_is_started_and_no_other(quiet: World) -> None:
    image = new_image()
    quiet.invoke("bake_dependents", published("ground", image))
    assert started(quiet, image) == {
        f"{recipe}-on-{image}": {"recipe": recipe, "when_busy": "queue"} for recipe in TWO
    }


@pytest.mark.parametrize("recipe", ["alone", "top", "gone"])
def test_where_nothing_follows_nothing_is_started(quiet: World, recipe: str) -> None:
    """The recipe of an event may be of an earlier deployment."""
    image = new_image()
    quiet.invoke("bake_dependents", published(recipe, image))
    assert quiet.calls("StartExecution") == []


def test_called_twice_it_starts_once_whether_or_not_the_bakes_have_ended(quiet: World) -> None:
    image = new_image()
    quiet.invoke("bake_dependents", published("ground", image))
    quiet.invoke("bake_dependents", published("ground", image))
    assert len(started(quiet, image)) == 2
    quiet.invoke("bake_dependents", published("ground", image))
    assert len(started(quiet, image)) == 2


def test_after_a_lost_answer_nothing_is_started_again(quiet: World) -> None:
    image = new_image()
    quiet.aws.faults.lost_answer("stepfunctions", "StartExecution")
    quiet.invoke("bake_dependents", published("ground", image))
    assert len(started(quiet, image)) == 2


def test_one_that_cannot_be_started_keeps_no_other_from_it_and_is_tried_again(
    quiet: World,
) -> None:
    image = new_image()
    quiet.aws.faults.error(
        "stepfunctions",
        "StartExecution",
        code="AccessDeniedException",
        status=403,
        when=lambda call: call["name"].startswith("middle-on-"),
    )
    with pytest.raises(FunctionFailedError) as failed:
        quiet.invoke("bake_dependents", published("ground", image))
    assert failed.value.name == "AccessDeniedError"
    assert f"states:StartExecution middle-on-{image}" in failed.value.message
    assert set(started(quiet, image)) == {f"side-on-{image}"}
    quiet.invoke("bake_dependents", published("ground", image))
    assert set(started(quiet, image)) == {f"side-on-{image}", f"middle-on-{image}"}


def test_a_call_that_stays_throttled_is_told_as_such(quiet: World) -> None:
    quiet.aws.faults.error("stepfunctions", "StartExecution", code="ThrottlingException", times=99)
    with pytest.raises(FunctionFailedError) as failed:
        quiet.invoke("bake_dependents", published("ground", new_image()))
    assert failed.value.name == "ThrottledError"


def test_an_event_on_which_it_keeps_failing_is_not_lost(quiet: World) -> None:
    """EventBridge has delivered it, and will not do so again: it becomes a dead letter."""
    image, aws = new_image(), quiet.aws
    aws.faults.error(
        "stepfunctions", "StartExecution", code="AccessDeniedException", status=403, times=99
    )
    (function,) = [it for it in aws.lambdas.functions.values() if ".bake_dependents." in it.handler]
    aws.lambdas.invoke_async(function.arn, json.dumps(published("ground", image)))
    sqs = aws.client("sqs")
    (queue,) = sqs.list_queues()["QueueUrls"]
    (letter,) = aws.until(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
    assert json.loads(letter["Body"])["requestPayload"]["detail"]["image"]["id"] == image
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=letter["ReceiptHandle"])
