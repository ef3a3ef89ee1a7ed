"""AwaitTest: an image that does not boot fails the bake, in words."""

from datetime import timedelta

import pytest

from tests.functional.conftest import FunctionFailedError
from tests.functional.making import Making


def waiting(
    making: Making, instance: str, *, minutes_ago: int = 0, windows: bool = False
) -> dict[str, object]:
    entered = making.world.aws.clock.now() - timedelta(minutes=minutes_ago)
    seen = {"bake": making.bake, "instance_id": instance, "windows": windows}
    return {**seen, "entered": entered.isoformat()}


def test_it_returns_once_the_agent_is_online(making: Making) -> None:
    instance = making.test_booted()
    assert making.world.invoke("await_test", waiting(making, instance))["agent_version"]


def after(making: Making, minutes: int, *, windows: bool) -> tuple[str, FunctionFailedError]:
    """What is said of an instance whose agent does not come."""
    making.world.aws.agent.never_online()
    instance = making.world.invoke("launch_test", making.test_launching())["instance_id"]
    event = waiting(making, instance, minutes_ago=minutes, windows=windows)
    with pytest.raises(FunctionFailedError) as failed:
        making.world.invoke("await_test", event)
    return instance, failed.value


@pytest.mark.parametrize(("windows", "minutes"), [(False, 9), (True, 39)])
def test_until_then_it_is_tried_again(making: Making, windows: bool, minutes: int) -> None:
    _, error = after(making, minutes, windows=windows)
    assert error.name == "NotManagedYetError"


@pytest.mark.parametrize(("windows", "minutes"), [(False, 10), (True, 40)])
def test_an_agent_that_never_comes_fails_the_test_that_it_boots(
    making: Making, windows: bool, minutes: int
) -> None:
    instance, error = after(making, minutes, windows=windows)
    assert error.name == "TestFailedError"
    for word in ("'it boots'", instance, f"within {minutes} minutes"):
        assert word in error.message


def test_an_instance_that_ends_at_once_tells_ec2s_reason(making: Making) -> None:
    making.world.aws.ec2.next_instance_fails("Client.InternalError", "Client error on launch")
    instance = making.world.invoke("launch_test", making.test_launching())["instance_id"]
    making.world.aws.until(
        lambda: making.world.tagged("instance", making.bake)[0]["State"]["Name"] == "terminated"
    )
    with pytest.raises(FunctionFailedError) as failed:
        making.world.invoke("await_test", waiting(making, instance))
    assert failed.value.name == "TestFailedError"
    assert "Client.InternalError: Client error on launch" in failed.value.message


def ended(making: Making, instance: str) -> FunctionFailedError:
    with pytest.raises(FunctionFailedError) as failed:
        making.world.invoke("await_test", waiting(making, instance, minutes_ago=30))
    return failed.value


def test_one_that_somebody_has_ended_says_nothing_about_the_image(making: Making) -> None:
    """A bake that was stopped, and is redriven, finds that the janitor has."""
    instance = making.test_booted()
    making.world.aws.client("ec2").terminate_instances(InstanceIds=[instance])
    error = ended(making, instance)
    assert error.name == "TestInstanceLostError"
    assert "Client.UserInitiatedShutdown" in error.message


def test_one_that_shuts_itself_down_has_failed(making: Making) -> None:
    instance = making.test_booted()
    making.world.aws.ec2.shut_down_from_inside(instance)
    error = ended(making, instance)
    assert error.name == "TestFailedError"
    assert "Client.InstanceInitiatedShutdown" in error.message


def test_one_that_ec2_shows_no_more_says_nothing_about_the_image(making: Making) -> None:
    error = ended(making, "i-0123456789abcdef0")
    assert error.name == "TestInstanceLostError"
    assert "not there any more" in error.message
