"""What every task promises that runs a document on the builder; a file each says which task."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest

from tests.functional.conftest import FunctionFailedError, World
from tests.functional.making import NOBODY, Making, resumed

_INDICES = itertools.count()


@dataclass(frozen=True)
class Turn:
    """One command to send to the module's builder; its index sets it apart from the others."""

    making: Making
    builder: str
    index: int

    @property
    def world(self) -> World:
        return self.making.world

    def commands(self, stage: str) -> list[dict[str, Any]]:
        """The commands of this turn, as Systems Manager lists them."""
        found = self.world.aws.client("ssm").list_command_invocations(InstanceId=self.builder)
        wanted = f"{self.making.bake}/{stage}/{self.index}"
        return [c for c in found["CommandInvocations"] if c["Comment"] == wanted]


@pytest.fixture(scope="module")
def host(deployed: World) -> tuple[Making, str]:
    """A bake whose builder is managed, shared by the module's tests."""
    making = Making.begin(deployed)
    return making, making.managed()


@pytest.fixture
def turn(quiet: World, host: tuple[Making, str]) -> Iterator[Turn]:
    turn = Turn(*host, next(_INDICES))
    yield turn
    for wait in quiet.waits().values():  # so that no test finds the wait of another
        quiet.aws.client("ssm").cancel_command(CommandId=wait["target"])
    quiet.aws.until(lambda: swept(quiet), what="the end of all commands")


def swept(world: World) -> bool:
    """Whether a sweep leaves no wait."""
    world.invoke("resume_waits", {})
    return world.open_waits() == []


class CommandTask:
    """The promises. A subclass names its task and gets them as its tests."""

    module: ClassVar[str]
    stage: ClassVar[str]
    """How the command's comment names the task."""
    document: ClassVar[str]
    error: ClassVar[str]
    sentinel: ClassVar[bool] = True
    on_test: ClassVar[bool] = False

    def command(self, making: Making) -> Mapping[str, Any]:
        """The command that the plan has for the task."""
        found: Mapping[str, Any] = making.plan[self.module]
        return found

    def send(self, turn: Turn, *, token: str = NOBODY, **changes: str) -> None:
        command = {**self.command(turn.making), **changes}
        assert turn.world.invoke(self.module, self.payload(turn, command, token)) is None

    def payload(self, turn: Turn, command: Mapping[str, Any], token: str) -> dict[str, Any]:
        """What the machine gives the task."""
        return turn.making.commanding(turn.builder, command, index=turn.index, token=token)

    def refused(self, turn: Turn, **changes: str) -> FunctionFailedError:
        with pytest.raises(FunctionFailedError) as failed:
            self.send(turn, **changes)
        return failed.value

    def ended(self, turn: Turn) -> None:
        """Wait for the end of the turn's command."""
        turn.world.aws.until(
            lambda: self.status(turn) not in ("Pending", "InProgress"), what="the command's end"
        )

    def status(self, turn: Turn) -> str:
        (command,) = turn.commands(self.stage)
        return str(command["Status"])

    def test_it_sends_the_planned_document_and_waits_for_its_end(self, turn: Turn) -> None:
        before = turn.world.aws.clock.now()
        self.send(turn)
        planned = self.command(turn.making)
        (sent,) = turn.world.calls("SendCommand")
        assert planned["document"] == sent["DocumentName"] == self.document
        assert sent["DocumentVersion"] == planned["version"]
        assert sent["DocumentHash"] == planned["hash"]
        assert sent.get("Parameters", {}) == planned["parameters"]
        assert sent["InstanceIds"] == [turn.builder]
        (command,) = turn.commands(self.stage)
        wait = turn.world.waits()[f"wait#command/{command['CommandId']}"]
        assert before <= datetime.fromisoformat(wait.pop("begun"))
        deadline = datetime.fromisoformat(wait.pop("deadline")) - before
        budget = timedelta(seconds=600 + planned["timeout_seconds"] + 120)
        assert budget <= deadline < budget + timedelta(minutes=2)
        expected = datetime.fromisoformat(wait.pop("expected")) - before
        half = timedelta(seconds=planned["timeout_seconds"] / 2)
        assert half <= expected < half + timedelta(minutes=2)
        assert wait == {
            "kind": "command",
            "target": command["CommandId"],
            "token": NOBODY,
            "bake": turn.making.bake,
            "instance_id": turn.builder,
            "label": planned["label"],
            "error": self.error,
            "sentinel": f"ami-bakery: {turn.making.bake} done" if self.sentinel else "",
            "region": "",
            "optional": False,
            "on_test": self.on_test,
            "recipe": turn.making.plan["recipe"],
            "execution": "",
            "sysprep": "",
            "log_group": "",
            "verified": None,
            "redriven": False,
        }

    def test_called_twice_it_sends_once_and_the_newest_token_waits(self, turn: Turn) -> None:
        turn.world.aws.agent.script(status="InProgress")
        self.send(turn, token="first")
        self.send(turn, token="second")
        (command,) = turn.commands(self.stage)
        (wait,) = turn.world.waits().values()
        assert wait["token"] == "second"
        assert wait["target"] == command["CommandId"]
        assert resumed(turn.world, "first") == []

    def test_after_a_lost_answer_the_second_try_adopts_the_command(self, turn: Turn) -> None:
        turn.world.aws.faults.lost_answer("ssm", "SendCommand")
        assert self.refused(turn).name == "ServiceUnavailableError"
        (command,) = turn.commands(self.stage)
        assert turn.world.open_waits() == []
        self.send(turn)
        assert turn.commands(self.stage)[0]["CommandId"] == command["CommandId"]
        assert len(turn.world.calls("SendCommand")) == 1

    @pytest.mark.parametrize(
        ("code", "status", "name"),
        [
            ("ThrottlingException", 400, "ThrottledError"),
            ("InternalServerError", 500, "ServiceUnavailableError"),
            ("AccessDeniedException", 400, "AccessDeniedError"),
            ("InvalidParameters", 400, "AwsCallFailedError"),
        ],
    )
    def test_a_refused_command_is_told_by_its_class_and_may_be_tried_again(
        self, turn: Turn, code: str, status: int, name: str
    ) -> None:
        turn.world.aws.faults.error("ssm", "SendCommand", code=code, message="why", status=status)
        error = self.refused(turn)
        assert error.name == name
        assert f"{code}: why" in error.message
        assert self.document in error.message
        assert turn.builder in error.message
        assert turn.world.open_waits() == []
        self.send(turn)
        assert len(turn.commands(self.stage)) == 1

    @pytest.mark.failure(46)
    def test_a_command_that_has_ended_before_the_second_try_is_told_at_once(
        self, turn: Turn
    ) -> None:
        self.send(turn)
        self.ended(turn)
        self.send(turn)
        (command,) = turn.commands(self.stage)
        assert resumed(turn.world) == [{"output": f'{{"command_id": "{command["CommandId"]}"}}'}]
        assert turn.world.open_waits() == []

    def test_its_failure_is_told_with_its_error_exit_code_and_last_lines(self, turn: Turn) -> None:
        lines = [f"line {number}" for number in range(30)]
        turn.world.aws.agent.script(self.document, exit_code=7, stderr="\n".join(lines))
        self.send(turn)
        self.ended(turn)
        self.send(turn)
        (failure,) = resumed(turn.world)
        assert failure["error"] == self.error
        assert str(self.command(turn.making)["label"]) in failure["cause"]
        assert f"exit code 7 on {turn.builder}" in failure["cause"]
        assert "| line 28\n| line 29" in failure["cause"]
        assert len(failure["cause"].splitlines()) == 21
        assert len(turn.commands(self.stage)) == 1  # its script is not run again
        assert turn.world.open_waits() == []

    def test_success_without_its_last_line_is_not_believed(self, turn: Turn) -> None:
        turn.world.aws.agent.script(self.document, status="Success", stdout="step was skipped")
        self.send(turn)
        self.ended(turn)
        self.send(turn)
        (answer,) = resumed(turn.world)
        if self.sentinel:
            assert answer["error"] == self.error
            assert "without having run to its end" in answer["cause"]
        else:
            assert "output" in answer  # a recipe's own script prints what it likes

    @pytest.mark.failure(16)
    def test_a_builder_that_systems_manager_does_not_see_is_asked_again(self, turn: Turn) -> None:
        turn.world.aws.faults.error(
            "ssm", "SendCommand", code="InvalidInstanceId", message="not in a valid state"
        )
        error = self.refused(turn)
        assert error.name == "NotYetVisibleError"
        assert turn.builder in error.message

    def test_a_document_that_changed_since_the_plan_is_not_run(self, turn: Turn) -> None:
        error = self.refused(turn, hash="0" * 64)
        assert error.name == "DocumentGoneError"
        assert "hash" in error.message
        assert turn.commands(self.stage) == []

    def test_its_role_lets_it_send_no_other_document(self, turn: Turn) -> None:
        for other in ("AWS-RunShellScript", "AmiBakery-other"):
            error = self.refused(turn, document=other)
            assert error.name == "AccessDeniedError"
            assert other in error.message
        assert turn.commands(self.stage) == []
