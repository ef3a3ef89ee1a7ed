"""AwaitTest: an image that does not boot fails the bake, in words."""

from datetime import timedelta

import pytest

from tests.functional.conftest import FunctionFailedError
from tests.functional.making import Making


def waiting(making: Making, instance: str, *, minutes_ago: int = 0) -> dict[str, str]:
    entered = making.world.aws.clock.now() - timedelta(minutes=minutes_ago)
    return {"bake": making.bake, "instance_id": instance, "entered": entered.isoformat()}


def test_it_returns_once_the_agent_is_online(making: Making) -> None:
    instance = making.test_booted()
    assert making.world.invoke("await_test", waiting(making, instance))["agent_version"]


def test_until_then_it_is_tried_again(making: Making) -> None:
    making.world.aws.agent.never_online()
    instance = making.world.invoke("launch_test", making.test_launching())["instance_id"]
    with pytest.raises(FunctionFailedError) as failed:
        making.world.invoke("await_test", waiting(making, instance, minutes_ago=9))
    assert failed.value.name == "NotManagedError"


def test_an_agent_that_never_comes_fails_the_test_that_it_boots(making: Making) -> None:
    making.world.aws.agent.never_online()
    instance = making.world.invoke("launch_test", making.test_launching())["instance_id"]
    with pytest.raises(FunctionFailedError) as failed:
        making.world.invoke("await_test", waiting(making, instance, minutes_ago=10))
    assert failed.value.name == "TestFailedError"
    assert "'it boots'" in failed.value.message and instance in failed.value.message


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
