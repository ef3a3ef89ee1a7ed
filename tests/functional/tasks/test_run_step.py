"""RunStep: the promises of every task that runs a document, for every kind of step."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.functional.conftest import FunctionFailedError, World
from tests.functional.making import Making, resumed, state
from tests.functional.tasks.commanding import CommandTask, Turn


class TestRunStep(CommandTask):
    module = "run_step"
    stage = "step"
    document = "AmiBakery.small.packages"
    error = "CustomizationFailedError"
    sentinel = False

    def command(self, making: Making) -> Mapping[str, Any]:
        return making.steps[0]

    def payload(self, turn: Turn, command: Mapping[str, Any], token: str) -> dict[str, Any]:
        turn.making.plan_steps([command] * (turn.index + 1))
        return turn.making.stepping(turn.builder, turn.index, token=token)

    def test_two_steps_that_run_the_same_document_are_two_commands(self, turn: Turn) -> None:
        again = Turn(turn.making, turn.builder, turn.index + 1000)
        self.send(turn)
        self.send(again)
        (first,), (second,) = turn.commands(self.stage), again.commands(self.stage)
        assert first["CommandId"] != second["CommandId"]
        assert len(turn.world.open_waits()) == 2

    @pytest.mark.parametrize("status", ["Undeliverable", "DeliveryTimedOut", "Cancelled"])
    def test_a_command_that_systems_manager_ends_is_told_with_its_status(
        self, turn: Turn, status: str
    ) -> None:
        turn.world.aws.agent.script(self.document, status=status, seconds=1)
        self.send(turn)
        self.ended(turn)
        self.send(turn)
        (failure,) = resumed(turn.world)
        assert failure["error"] == self.error
        assert f"ended as {status}" in failure["cause"]

    @pytest.mark.failure(20)
    def test_a_step_that_overruns_its_time_is_told(self, turn: Turn) -> None:
        turn.world.aws.agent.script(self.document, status="TimedOut")
        self.send(turn)
        self.ended(turn)
        self.send(turn)
        (failure,) = resumed(turn.world)
        assert "ended as ExecutionTimedOut" in failure["cause"]


def run(making: Making, builder: str, index: int) -> None:
    making.world.invoke("run_step", making.stepping(builder, index))


def end_of(world: World, document: str) -> None:
    """Wait for the end of the newest command of a document."""
    *_, command = [c for c in world.aws.commands.all.values() if c.document == document]
    world.aws.until(lambda: command.ended, what=f"the end of {document}")


def test_every_kind_of_step_is_sent_by_its_index_and_ends(quiet: World) -> None:
    making = Making.begin(quiet, "web")
    builder = making.managed()
    for index in range(len(making.steps)):
        run(making, builder, index)
        end_of(quiet, making.steps[index]["document"])
        run(making, builder, index)
    assert [call["DocumentName"] for call in quiet.calls("SendCommand")] == [
        "AmiBakery.web.packages",
        "AmiBakery-reboot-linux",
        "AWS-RunPatchBaseline",
    ]
    answers = resumed(quiet)
    assert len(answers) == 3
    assert all("output" in answer for answer in answers)


@pytest.fixture
def archive(quiet: World) -> tuple[Making, str]:
    """A bake whose only step runs a document of two steps."""
    making = Making.begin(quiet, "archive")
    return making, making.managed()


def test_the_last_line_of_a_document_of_several_steps_is_found(
    archive: tuple[Making, str],
) -> None:
    making, builder = archive
    run(making, builder, 0)
    end_of(making.world, "AmiBakery-install-application")
    run(making, builder, 0)
    (answer,) = resumed(making.world)
    assert "output" in answer


def test_a_failure_of_a_later_step_is_told_with_its_stderr(archive: tuple[Making, str]) -> None:
    making, builder = archive
    making.world.aws.agent.script(
        "AmiBakery-install-application", step="install-application", exit_code=3, stderr="no tar"
    )
    run(making, builder, 0)
    end_of(making.world, "AmiBakery-install-application")
    run(making, builder, 0)
    (failure,) = resumed(making.world)
    assert "Step 'app' ended as Failed with exit code 3" in failure["cause"]
    assert "no tar" in failure["cause"]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("Server.ScheduledStop", "BuilderTakenError"),
        ("Client.InstanceInitiatedShutdown", "BuilderLostError"),
    ],
)
def test_a_builder_that_went_away_before_its_command_is_told_at_once(
    making: Making, code: str, error: str
) -> None:
    """Systems Manager only says that it does not see the instance, which may pass."""
    builder = making.managed()
    making.world.aws.ec2.retire(builder, code, "it is gone")
    making.world.aws.until(lambda: state(making.world, builder) == "stopped")
    with pytest.raises(FunctionFailedError) as failed:
        run(making, builder, 0)
    assert failed.value.name == error
    assert f"Builder {builder} is stopped during Step 'packages'" in failed.value.message
    assert code in failed.value.message


@pytest.mark.parametrize("way", ["stop_instances", "terminate_instances"])
def test_a_builder_that_goes_away_under_its_command_ends_the_wait(making: Making, way: str) -> None:
    builder = making.managed()
    making.world.aws.agent.script("AmiBakery.small.packages", status="InProgress")
    run(making, builder, 0)
    ec2 = making.world.aws.client("ec2")
    getattr(ec2, way)(InstanceIds=[builder])
    making.world.aws.until(lambda: state(making.world, builder) in ("stopped", "terminated"))
    run(making, builder, 0)
    (failure,) = resumed(making.world)
    assert failure["error"] == "BuilderLostError"
    assert f"Builder {builder} is {state(making.world, builder)}" in failure["cause"]
    assert "Client.UserInitiatedShutdown" in failure["cause"]
    assert builder not in str(making.world.waits())


def test_without_its_command_a_step_is_not_run(making: Making) -> None:
    steps = f"text#steps#{making.bake}"
    assert steps in making.world.items()
    making.world.remove_item(steps)
    with pytest.raises(FunctionFailedError) as failed:
        run(making, "i-0123456789abcdef0", 0)
    assert failed.value.name == "DocumentGoneError"
    assert making.bake in failed.value.message
    assert making.world.calls("SendCommand") == []
