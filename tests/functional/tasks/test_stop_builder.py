"""StopBuilder: one clean stop, and a wait for it; or Sysprep, which stops the builder itself."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from bakery import sysprep
from bakery.naming import fixed_document
from tests.functional.conftest import FunctionFailedError, World
from tests.functional.making import NOBODY, Making, resumed, state


def stop(making: Making, builder: str, *, token: str = NOBODY) -> None:
    assert making.world.invoke("stop_builder", making.stopping(builder, token=token)) is None


def reaches(making: Making, builder: str, wanted: str) -> None:
    making.world.aws.until(lambda: state(making.world, builder) == wanted, what=wanted)


@pytest.mark.failure(29)
def test_it_asks_for_a_clean_stop_and_waits_for_it(making: Making) -> None:
    builder = making.launched()
    before = making.world.aws.clock.now()
    stop(making, builder)
    assert making.world.calls("StopInstances") == [{"InstanceIds": [builder]}]  # never by force
    wait = making.world.waits()[f"wait#stop/{builder}"]
    assert wait["kind"] == "stop"
    assert wait["token"] == NOBODY
    assert wait["bake"] == making.bake
    budget = datetime.fromisoformat(wait["deadline"]) - before
    assert timedelta(minutes=15) <= budget < timedelta(minutes=17)
    assert resumed(making.world) == []
    reaches(making, builder, "stopped")


def test_called_twice_it_stops_once_and_the_newest_token_waits(
    making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making.world.aws.ec2.durations, "stopping", 60)
    builder = making.launched()
    stop(making, builder, token="first")
    stop(making, builder, token="second")
    assert making.world.waits()[f"wait#stop/{builder}"]["token"] == "second"
    reaches(making, builder, "stopped")
    stop(making, builder)
    assert resumed(making.world) == [{"output": f'{{"instance_id": "{builder}"}}'}]
    assert resumed(making.world, "first") == resumed(making.world, "second") == []
    assert f"wait#stop/{builder}" not in making.world.open_waits()
    assert state(making.world, builder) == "stopped"


def test_a_lost_answer_and_a_throttled_call_are_ridden_out(making: Making) -> None:
    builder = making.launched()
    making.world.aws.faults.lost_answer("ec2", "StopInstances")
    making.world.aws.faults.error("ec2", "StopInstances", code="RequestLimitExceeded", status=503)
    stop(making, builder)
    reaches(making, builder, "stopped")


def test_a_denied_stop_is_told_and_nothing_waits(making: Making) -> None:
    builder = making.launched()
    making.world.aws.faults.error("ec2", "StopInstances", code="UnauthorizedOperation", status=403)
    with pytest.raises(FunctionFailedError) as failed:
        stop(making, builder)
    assert failed.value.name == "AccessDeniedError"
    assert f"ec2:StopInstances {builder}" in failed.value.message
    assert f"wait#stop/{builder}" not in making.world.open_waits()
    assert state(making.world, builder) == "running"


@pytest.mark.failure(30)
def test_a_builder_that_stopped_by_itself_is_fine(making: Making) -> None:
    builder = making.launched()
    making.world.aws.ec2.shut_down_from_inside(builder)
    reaches(making, builder, "stopped")
    stop(making, builder)
    assert resumed(making.world) == [{"output": f'{{"instance_id": "{builder}"}}'}]


def test_a_builder_that_has_ended_is_lost(making: Making) -> None:
    builder = making.launched()
    making.world.aws.client("ec2").terminate_instances(InstanceIds=[builder])
    stop(making, builder)
    (failure,) = resumed(making.world)
    assert failure["error"] == "BuilderLostError"
    assert f"Builder {builder} is " in failure["cause"]
    assert "instead of stopped" in failure["cause"]
    assert "Client.UserInitiatedShutdown" in failure["cause"]


def test_a_builder_that_ec2_has_forgotten_is_lost(making: Making) -> None:
    stop(making, "i-0123456789abcdef0")
    (failure,) = resumed(making.world)
    assert failure["error"] == "BuilderLostError"
    assert "i-0123456789abcdef0 is gone" in failure["cause"]


def test_a_disk_that_ec2_itself_stopped_is_not_trusted(making: Making) -> None:
    builder = making.launched()
    making.world.aws.ec2.retire(builder)
    reaches(making, builder, "stopped")
    stop(making, builder)
    (failure,) = resumed(making.world)
    assert failure["error"] == "BuilderTakenError"
    assert "Server.ScheduledStop" in failure["cause"]


def test_an_interrupted_spot_builder_has_stopped_cleanly(quiet: World) -> None:
    """Verification has passed, and EC2 shuts it down as StopInstances would."""
    making = Making.begin(quiet, "thrifty")
    builder = making.launched()
    making.world.aws.ec2.interrupt(builder, notice=0)
    reaches(making, builder, "stopped")
    stop(making, builder)
    assert resumed(making.world) == [{"output": f'{{"instance_id": "{builder}"}}'}]


# --- Sysprep ------------------------------------------------------------------------------------

DOCUMENT = fixed_document("sysprep-windows")
WINDOWS = {"id": "ami-0c202200000000064", "size_gib": 30, "root_device": "/dev/sda1"}


@pytest.fixture
def windows(making: Making) -> Making:
    """A bake whose builder is a Windows host, though the recipe is for Linux."""
    making.world.aws.ec2.durations.sysprep = 300
    base = {**making.plan["base_image"], **WINDOWS}
    launch = {**making.plan["launch"], "size_gib": 30}
    return replace(making, plan={**making.plan, "base_image": base, "launch": launch})


def sysprepping(making: Making, builder: str, token: str) -> dict[str, Any]:
    """The payload with the command, pinned as Plan would pin it."""
    document = making.world.aws.client("ssm").describe_document(Name=DOCUMENT)["Document"]
    command = {
        "label": "Sysprep",
        "document": DOCUMENT,
        "version": document["DocumentVersion"],
        "hash": document["Hash"],
        "parameters": {"Bake": [making.bake], "Phase": ["shutdown"]},
        "timeout_seconds": 900,
        "sentinel": f"ami-bakery: {making.bake} done",
    }
    return {**making.stopping(builder, token=token), "sysprep": command}


def start(making: Making, builder: str, *, token: str = "", redrives: int = 0) -> None:
    """The token is the bake's own: the sweeper looks at the waits of other tests as well."""
    event = {**sysprepping(making, builder, token or making.bake), "redrives": redrives}
    assert making.world.invoke("stop_builder", event) is None


def command_of(making: Making, builder: str) -> Mapping[str, Any]:
    ssm = making.world.aws.client("ssm")
    rows: list[Mapping[str, Any]] = ssm.list_command_invocations(InstanceId=builder)[
        "CommandInvocations"
    ]
    (row,) = rows
    return row


def sweep(making: Making) -> list[dict[str, Any]]:
    """What has been sent back once the sweeper has looked."""
    making.world.invoke("resume_waits", {"sweep": True})
    return resumed(making.world, making.bake)


def print_late(making: Making, builder: str, text: str) -> None:
    """What the agent had sent to the log before it went down."""
    logs = making.world.aws.client("logs")
    group = making.world.outputs["CommandLogGroup"]
    stream = f"{command_of(making, builder)['CommandId']}/{builder}/{sysprep.STEP}/stdout"
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    moment = int(making.world.aws.clock.now().timestamp() * 1000)
    events = [{"timestamp": moment, "message": text}]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def use_up_time(making: Making, builder: str) -> None:
    """The wait is over its deadline."""
    key = f"wait#stop/{builder}"
    late = making.world.aws.clock.now() - timedelta(seconds=1)
    wait = {**making.world.waits()[key], "deadline": late.isoformat()}
    making.world.put_item(key, token=making.bake, wait=json.dumps(wait))


def done(builder: str) -> list[dict[str, Any]]:
    return [{"output": f'{{"instance_id": "{builder}"}}'}]


def test_sysprep_stops_the_builder_and_nobody_else_does(windows: Making) -> None:
    builder = windows.managed()
    start(windows, builder)
    wait = windows.world.waits()[f"wait#stop/{builder}"]
    assert wait["sentinel"] == f"ami-bakery: {windows.bake} sysprep"
    budget = datetime.fromisoformat(wait["deadline"]) - datetime.fromisoformat(wait["begun"])
    assert budget == timedelta(hours=1)
    assert sweep(windows) == []
    reaches(windows, builder, "stopped")
    assert sweep(windows) == done(builder)
    assert windows.world.calls("StopInstances") == []
    assert windows.world.calls("StartInstances") == []
    assert f"wait#stop/{builder}" not in windows.world.open_waits()


def test_sysprep_is_started_once_however_often_the_task_is_tried(windows: Making) -> None:
    builder = windows.managed()
    start(windows, builder, token="first")
    start(windows, builder, token="second")
    reaches(windows, builder, "stopped")
    # A try after the stop, which no command could reach any more.
    start(windows, builder)
    assert resumed(windows.world, windows.bake) == done(builder)
    assert len(windows.world.calls("SendCommand")) == 1


@pytest.mark.parametrize("status", ["InProgress", "DeliveryTimedOut"])
def test_a_command_that_never_reports_is_no_failure_if_it_has_said_its_mark(
    windows: Making, status: str
) -> None:
    """The stop comes before the command's end, or that is a time-out of the delivery."""
    seconds = 1 if status == "DeliveryTimedOut" else None
    windows.world.aws.agent.script(DOCUMENT, status=status, seconds=seconds)
    builder = windows.managed()
    start(windows, builder)
    windows.world.aws.until(
        lambda: command_of(windows, builder)["StatusDetails"] == status, what=status
    )
    windows.world.aws.ec2.shut_down_from_inside(builder)
    reaches(windows, builder, "stopped")
    assert sweep(windows) == [], "its mark has not been seen"
    print_late(windows, builder, f"set password\nami-bakery: {windows.bake} sysprep\n")
    assert sweep(windows) == done(builder)


def test_a_stop_before_sysprep_has_begun_is_told_in_the_end(windows: Making) -> None:
    windows.world.aws.agent.script(DOCUMENT, status="Pending")
    builder = windows.managed()
    start(windows, builder)
    windows.world.aws.ec2.shut_down_from_inside(builder)
    reaches(windows, builder, "stopped")
    assert sweep(windows) == []
    use_up_time(windows, builder)
    (failure,) = sweep(windows)
    assert failure["error"] == "BuilderLostError"
    assert "before Sysprep began" in failure["cause"]


def test_a_builder_that_has_stopped_before_the_command_is_told_at_once(windows: Making) -> None:
    builder = windows.managed()
    windows.world.aws.ec2.shut_down_from_inside(builder)
    reaches(windows, builder, "stopped")
    with pytest.raises(FunctionFailedError) as failed:
        start(windows, builder)
    assert failed.value.name == "BuilderLostError"
    assert "is stopped during Sysprep" in failed.value.message


def test_a_stop_that_never_comes_says_where_sysprep_has_its_logs(windows: Making) -> None:
    windows.world.aws.ec2.durations.sysprep = 1_000_000
    builder = windows.managed()
    start(windows, builder)
    windows.world.aws.until(
        lambda: command_of(windows, builder)["Status"] == "Success", what="the command"
    )
    assert sweep(windows) == []
    use_up_time(windows, builder)
    (failure,) = sweep(windows)
    assert failure["error"] == "GeneralizationFailedError"
    assert "Sysprep did not stop builder" in failure["cause"]
    assert "Panther" in failure["cause"]
    assert state(windows.world, builder) == "running"


def test_a_redriven_bake_starts_sysprep_once_more(windows: Making) -> None:
    """What kept it is mended on the builder that was kept."""
    windows.world.aws.agent.script(DOCUMENT, exit_code=1, stderr="a restart is due (servicing)\n")
    builder = windows.managed()
    start(windows, builder)
    windows.world.aws.until(
        lambda: command_of(windows, builder)["Status"] == "Failed", what="the command"
    )
    (failure,) = sweep(windows)
    assert failure["error"] == "GeneralizationFailedError"

    start(windows, builder, token="redriven", redrives=1)
    start(windows, builder, redrives=1)
    reaches(windows, builder, "stopped")
    assert sweep(windows)[1:] == done(builder)
    assert len(windows.world.calls("SendCommand")) == 2


def test_a_redriven_bake_takes_a_stop_that_came_too_late(windows: Making) -> None:
    builder = windows.managed()
    start(windows, builder)
    use_up_time(windows, builder)
    (failure,) = sweep(windows)
    assert "Sysprep did not stop builder" in failure["cause"]
    reaches(windows, builder, "stopped")
    start(windows, builder, redrives=2)
    assert resumed(windows.world, windows.bake)[1:] == done(builder)
    assert len(windows.world.calls("SendCommand")) == 1


def test_a_redriven_bake_finds_the_mark_of_a_command_that_never_reported(windows: Making) -> None:
    windows.world.aws.agent.script(DOCUMENT, status="InProgress")
    builder = windows.managed()
    start(windows, builder)
    windows.world.aws.until(
        lambda: command_of(windows, builder)["Status"] == "InProgress", what="the command"
    )
    use_up_time(windows, builder)
    (failure,) = sweep(windows)
    assert "Sysprep did not stop builder" in failure["cause"]
    windows.world.aws.ec2.shut_down_from_inside(builder)
    reaches(windows, builder, "stopped")
    print_late(windows, builder, f"ami-bakery: {windows.bake} sysprep\n")
    start(windows, builder, redrives=1)
    assert resumed(windows.world, windows.bake)[1:] == done(builder)


def test_a_command_that_fails_is_told_with_its_last_words(windows: Making) -> None:
    windows.world.aws.agent.script(DOCUMENT, exit_code=1, stderr="a restart is due (servicing)\n")
    builder = windows.managed()
    start(windows, builder)
    windows.world.aws.until(
        lambda: command_of(windows, builder)["Status"] == "Failed", what="the command"
    )
    (failure,) = sweep(windows)
    assert failure["error"] == "GeneralizationFailedError"
    assert "a restart is due (servicing)" in failure["cause"]


@pytest.mark.parametrize("how", ["terminate", "stop", "retire"])
def test_an_end_by_another_hand_is_told_apart(windows: Making, how: str) -> None:
    windows.world.aws.ec2.durations.sysprep = 1_000_000
    builder, ec2 = windows.managed(), windows.world.aws.client("ec2")
    start(windows, builder)
    windows.world.aws.until(
        lambda: command_of(windows, builder)["Status"] == "Success", what="the command"
    )
    if how == "terminate":
        ec2.terminate_instances(InstanceIds=[builder])
        reaches(windows, builder, "terminated")
    elif how == "stop":
        ec2.stop_instances(InstanceIds=[builder])
        reaches(windows, builder, "stopped")
    else:
        windows.world.aws.ec2.retire(builder)
        reaches(windows, builder, "stopped")
    (failure,) = sweep(windows)
    errors = {"terminate": "BuilderLostError", "stop": "BuilderLostError"}
    assert failure["error"] == errors.get(how, "BuilderTakenError")
    words = {"terminate": "instead of stopped", "stop": "another hand", "retire": "not imaged"}
    assert words[how] in failure["cause"]
