"""StopBuilder: one clean stop, and a wait for it."""

from datetime import datetime, timedelta

import pytest

from tests.functional.conftest import FunctionFailedError, World
from tests.functional.making import NOBODY, Making, resumed, state


def stop(making: Making, builder: str, *, token: str = NOBODY) -> None:
    assert making.world.invoke("stop_builder", making.stopping(builder, token=token)) is None


def reaches(making: Making, builder: str, wanted: str) -> None:
    making.world.aws.until(lambda: state(making.world, builder) == wanted, what=wanted)


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
