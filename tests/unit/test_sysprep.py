"""Every order in which Sysprep's stop and its command can come."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bakery import errors, sysprep, waiting
from bakery.resources import Instance, Invocation
from bakery.verdicts import Done, Failed, Verdict
from bakery.waits import Kind, Wait
from tests.unit.samples import NOW

MARK = "ami-bakery: bake-1 sysprep"
WAIT = Wait(
    kind=Kind.STOP,
    target="i-1",
    instance_id="i-1",
    token="t",
    bake="bake-1",
    begun=NOW - timedelta(minutes=20),
    deadline=NOW + timedelta(minutes=40),
    expected=NOW,
    label="Sysprep",
    sentinel=MARK,
    sysprep="command-1",
    log_group="commands",
)
LATE = NOW + timedelta(minutes=40)
RUNNING = Instance(id="i-1", state="running", instance_type="t3.large")
STOPPED = replace(
    RUNNING,
    state="stopped",
    reason_code="Client.InstanceInitiatedShutdown",
    reason="Client.InstanceInitiatedShutdown: Instance initiated shutdown",
)
SAID = f"set password\r\n{MARK}\r\nami-bakery: bake-1 done\r\n"
UNDER_WAY = [None, *(Invocation(it, -1, "", "") for it in ("Pending", "InProgress", "Delayed"))]
UNREPORTED = [
    *UNDER_WAY,
    *(Invocation(it, -1, "", "") for it in ("DeliveryTimedOut", "Undeliverable")),
]
DONE = Done({"instance_id": "i-1"})


def seen(status: str = "Success", stdout: str = SAID, code: int = 0) -> Invocation:
    return Invocation(status=status, exit_code=code, stdout=stdout, stderr="no apps\n")


def failed(verdict: Verdict) -> Failed:
    assert isinstance(verdict, Failed), verdict
    assert hasattr(errors, verdict.error)
    return verdict


@pytest.mark.parametrize("state", ["running", "stopping"])
@pytest.mark.parametrize("invocation", [*UNREPORTED, seen()])
@pytest.mark.parametrize("logged", ["", SAID])
def test_as_long_as_it_runs_it_is_waited_for(
    state: str, invocation: Invocation | None, logged: str
) -> None:
    builder = replace(RUNNING, state=state)
    assert sysprep.verdict(WAIT, builder, invocation, logged, NOW) is None


def test_the_stop_after_the_mark_is_the_evidence() -> None:
    assert sysprep.verdict(WAIT, STOPPED, seen(), "", NOW) == DONE


@pytest.mark.parametrize("invocation", UNREPORTED)
def test_an_agent_that_could_not_report_has_said_the_mark_in_the_log(
    invocation: Invocation | None,
) -> None:
    """The stop's event comes before the command's, or that never does."""
    assert sysprep.verdict(WAIT, STOPPED, invocation, SAID, NOW) == DONE
    assert sysprep.verdict(WAIT, STOPPED, invocation, SAID, LATE) == DONE


@pytest.mark.parametrize("invocation", UNREPORTED)
@pytest.mark.parametrize("logged", ["", "set password\n", f"x{MARK}\n", f"{MARK} not\n"])
def test_a_stop_without_the_mark_came_too_early(invocation: Invocation | None, logged: str) -> None:
    assert sysprep.verdict(WAIT, STOPPED, invocation, logged, NOW) is None, "the log may be late"
    verdict = failed(sysprep.verdict(WAIT, STOPPED, invocation, logged, LATE))
    assert verdict.error == "BuilderLostError"
    assert "before Sysprep began" in verdict.cause
    assert "not imaged" in verdict.cause


@pytest.mark.parametrize("builder", [RUNNING, STOPPED])
def test_success_without_the_mark_started_nothing(builder: Instance) -> None:
    """Systems Manager reports Success for steps that it skips."""
    verdict = failed(sysprep.verdict(WAIT, builder, seen(stdout="skipped\n"), "", NOW))
    assert verdict.error == "GeneralizationFailedError"
    assert f"the line '{MARK}' is missing" in verdict.cause


@pytest.mark.parametrize("status", ["Failed", "ExecutionTimedOut", "Cancelled", "AccessDenied"])
def test_a_command_that_fails_is_told_at_once(status: str) -> None:
    verdict = failed(sysprep.verdict(WAIT, RUNNING, seen(status, "", 1), "", NOW))
    assert verdict.error == "GeneralizationFailedError"
    assert f"Sysprep ended as {status} with exit code 1 on i-1 (command command-1)" in verdict.cause
    assert "no apps" in verdict.cause


def test_a_command_that_fails_after_its_mark_has_started_sysprep_all_the_same() -> None:
    """It may be killed while the host goes down."""
    assert sysprep.verdict(WAIT, RUNNING, seen("Failed", code=1), "", NOW) is None
    assert sysprep.verdict(WAIT, STOPPED, seen("Failed", code=1), "", NOW) == DONE


@pytest.mark.parametrize("state", ["running", "stopping"])
@pytest.mark.parametrize("invocation", [*UNREPORTED, seen()])
def test_a_stop_that_never_comes_is_sysprep_that_failed(
    state: str, invocation: Invocation | None
) -> None:
    builder = replace(RUNNING, state=state)
    verdict = failed(sysprep.verdict(WAIT, builder, invocation, "", LATE))
    assert verdict.error == "GeneralizationFailedError"
    assert f"it is {state}" in verdict.cause
    assert "Sysprep\\Panther" in verdict.cause


@pytest.mark.parametrize("invocation", [*UNREPORTED, seen()])
@pytest.mark.parametrize("logged", ["", SAID])
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("Client.UserInitiatedShutdown", "BuilderLostError"),
        ("", "BuilderLostError"),
        ("Server.ScheduledStop", "BuilderTakenError"),
        ("Server.InternalError", "BuilderTakenError"),
        # As clean as StopInstances, but Sysprep was in the middle of its work.
        ("Server.SpotInstanceShutdown", "BuilderTakenError"),
    ],
)
def test_a_stop_by_another_hand_is_never_imaged(
    invocation: Invocation | None, logged: str, code: str, error: str
) -> None:
    builder = replace(STOPPED, reason_code=code, reason=f"{code}: why")
    verdict = failed(sysprep.verdict(WAIT, builder, invocation, logged, NOW))
    assert verdict.error == error
    assert f"{code}: why" in verdict.cause


@pytest.mark.parametrize("invocation", [*UNREPORTED, seen()])
@pytest.mark.parametrize("state", ["shutting-down", "terminated", None])
def test_an_end_instead_of_a_stop_is_a_lost_builder(
    state: str | None, invocation: Invocation | None
) -> None:
    """Whatever the command said: with shutdown behaviour `terminate` the work is lost."""
    builder = replace(STOPPED, state=state) if state else None
    verdict = failed(sysprep.verdict(WAIT, builder, invocation, SAID, NOW))
    assert verdict.error == "BuilderLostError"
    assert f"{state or 'gone'} instead of stopped" in verdict.cause


def test_a_builder_that_was_started_again_is_never_imaged() -> None:
    wait = WAIT.model_copy(update={"verified": NOW - timedelta(minutes=30)})
    builder = replace(STOPPED, launched=NOW)
    verdict = failed(sysprep.verdict(wait, builder, seen(), "", NOW))
    assert verdict.error == "BuilderLostError"
    assert "started again" in verdict.cause


def test_the_log_is_read_only_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def output_of(group: str, **where: str) -> str:
        asked.append((group, where))
        return SAID

    def look(builder: Instance | None, invocation: Invocation | None) -> Verdict:
        monkeypatch.setattr("bakery.aws.logs.output_of", output_of)
        monkeypatch.setattr("bakery.aws.ec2.find_instance", lambda _: builder)
        monkeypatch.setattr("bakery.aws.ssm.invocation", lambda *_: invocation)
        return waiting._observe(WAIT, NOW)

    assert look(RUNNING, None) is None
    assert look(None, None) is not None
    assert look(STOPPED, seen()) == DONE
    assert asked == []
    assert look(STOPPED, None) == DONE
    where = {"command_id": "command-1", "instance_id": "i-1", "step": "sysprep-windows"}
    assert asked == [("commands", where)]
