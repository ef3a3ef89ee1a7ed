"""AwaitTurn: a wait for the end of another bake, and nothing else."""

import json
import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.functional.conftest import FunctionFailedError, World
from tests.functional.making import NOBODY, Making, resumed

BAKE = "made-waiting"


@pytest.fixture
def holder(quiet: World) -> str:
    """An execution that goes on until it is stopped: it finds no room."""
    quiet.aws.ec2.no_capacity()
    return quiet.start({"recipe": "small", "force": True}, name=f"made-{uuid.uuid4().hex[:8]}")


@pytest.fixture(autouse=True)
def nothing_waits(quiet: World) -> None:
    for key in quiet.open_waits():
        quiet.remove_item(key)


def await_turn(
    world: World, holder: str, *, bake: str = BAKE, token: str = NOBODY, hours: int = 0
) -> str:
    """Call the task; returns since when the bake waits, that many hours by now."""
    since = (world.aws.clock.now() - timedelta(hours=hours)).isoformat()
    busy = {"holder": holder, "bake": name(holder), "since": since}
    event = {"token": token, "bake": bake, "recipe": "small", "busy": busy}
    assert world.invoke("await_turn", event) is None
    return since


def name(arn: str) -> str:
    return arn.rpartition(":")[2]


def stop(world: World, arn: str) -> None:
    world.aws.client("stepfunctions").stop_execution(executionArn=arn)
    world.ended(arn)


def ended(arn: str) -> dict[str, Any]:
    return {
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "detail": {"executionArn": arn, "name": name(arn), "status": "ABORTED"},
    }


def test_it_stores_a_wait_for_the_end_of_the_other_bake_and_makes_nothing(
    quiet: World, holder: str
) -> None:
    quiet.aws.calls.clear()
    since = await_turn(quiet, holder)
    wait = quiet.waits()[f"wait#turn/{name(holder)}/{BAKE}"]
    assert (wait["kind"], wait["execution"], wait["bake"]) == ("turn", holder, BAKE)
    assert (wait["recipe"], wait["label"]) == ("small", f"Waiting for bake {name(holder)}")
    begun = datetime.fromisoformat(wait["begun"])
    assert begun == datetime.fromisoformat(since)
    assert datetime.fromisoformat(wait["deadline"]) - begun == timedelta(hours=12)
    assert datetime.fromisoformat(wait["expected"]) - begun == timedelta(hours=2)
    operations = [call.operation for call in quiet.aws.calls.of(role="AwaitTurn")]
    assert operations == ["PutItem", "DescribeExecution"]
    assert resumed(quiet) == []
    stop(quiet, holder)


def test_called_twice_the_newest_token_waits(quiet: World, holder: str) -> None:
    await_turn(quiet, holder, token="first")
    await_turn(quiet, holder, token="second")
    (wait,) = quiet.waits().values()
    assert wait["token"] == "second"
    stop(quiet, holder)
    quiet.invoke("resume_waits", ended(holder))
    assert resumed(quiet, "first") == []
    assert len(resumed(quiet, "second")) == 1


def test_all_that_wait_for_a_bake_are_resumed_by_its_end_and_no_others(
    quiet: World, holder: str
) -> None:
    other = quiet.start({"recipe": "web", "force": True}, name=f"{name(holder)}-2")
    since = await_turn(quiet, holder, bake="made-a", token="a")
    await_turn(quiet, holder, bake="made-b", token="b")
    await_turn(quiet, other, bake="made-c", token="c")
    stop(quiet, holder)
    quiet.invoke("resume_waits", ended(holder))
    (answer,) = resumed(quiet, "a")
    assert json.loads(answer["output"]) == {"holder": holder, "since": since}
    assert len(resumed(quiet, "b")) == 1
    assert resumed(quiet, "c") == []
    assert quiet.open_waits() == [f"wait#turn/{name(other)}/made-c"]
    stop(quiet, other)


def test_a_bake_that_ended_before_the_wait_was_stored_is_seen_at_once(
    quiet: World, holder: str
) -> None:
    stop(quiet, holder)
    await_turn(quiet, holder)
    assert len(resumed(quiet)) == 1
    assert quiet.open_waits() == []


def test_a_bake_that_step_functions_has_forgotten_is_over(quiet: World) -> None:
    await_turn(quiet, quiet.execution("made-long-ago"))
    assert len(resumed(quiet)) == 1


def test_a_bake_that_has_waited_too_long_for_those_before_waits_for_no_other(
    quiet: World, holder: str
) -> None:
    await_turn(quiet, holder, hours=13)
    (answer,) = resumed(quiet)
    assert answer["error"] == "RecipeBusyError"
    assert "This bake has waited 13 hours for its turn" in answer["cause"]
    assert quiet.open_waits() == []
    stop(quiet, holder)


def test_a_look_that_fails_leaves_the_wait_to_the_sweeper(quiet: World, holder: str) -> None:
    quiet.aws.faults.error("stepfunctions", "DescribeExecution", code="AccessDeniedException")
    with pytest.raises(FunctionFailedError) as failed:
        await_turn(quiet, holder)
    assert failed.value.name == "AccessDeniedError"
    assert len(quiet.open_waits()) == 1
    stop(quiet, holder)
    quiet.invoke("resume_waits", {})
    assert len(resumed(quiet)) == 1


def test_an_end_of_others_resumes_nobody_here(making: Making, holder: str) -> None:
    await_turn(making.world, holder)
    making.world.invoke("resume_waits", ended(making.world.execution("made-other")))
    assert resumed(making.world) == []
    stop(making.world, holder)
