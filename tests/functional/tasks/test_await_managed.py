"""AwaitManaged: looks, and changes nothing."""

from datetime import timedelta
from typing import Any

import pytest

from tests.functional.conftest import FunctionFailedError, World
from tests.functional.making import Making, online, state


def look(making: Making, builder: str, *, minutes: int = 0, windows: bool = False) -> Any:
    """After so many minutes in the state."""
    entered = making.world.aws.clock.now() - timedelta(minutes=minutes)
    event = {"instance_id": builder, "entered": entered.isoformat(), "windows": windows}
    return making.world.invoke("await_managed", event)


def refused(
    making: Making, builder: str, *, minutes: int = 0, windows: bool = False
) -> FunctionFailedError:
    with pytest.raises(FunctionFailedError) as failed:
        look(making, builder, minutes=minutes, windows=windows)
    return failed.value


def test_a_managed_builder_is_told_with_its_system(making: Making) -> None:
    assert look(making, making.managed()) == {
        "agent_version": "3.3.3050.0",
        "platform": "Amazon Linux",
        "platform_version": "2023",
    }


def test_called_twice_it_says_the_same_and_calls_nothing_that_changes(making: Making) -> None:
    builder = making.managed()
    making.world.aws.calls.clear()
    assert look(making, builder) == look(making, builder)
    operations = {call.operation for call in making.world.aws.calls.of(role="AwaitManaged")}
    assert operations == {"DescribeInstances", "DescribeInstanceInformation"}


@pytest.mark.parametrize(("windows", "minutes"), [(False, 9), (True, 39)])
def test_a_builder_whose_agent_is_silent_is_asked_again(
    making: Making, windows: bool, minutes: int
) -> None:
    making.world.aws.agent.never_online()
    error = refused(making, making.launched(), minutes=minutes, windows=windows)
    assert error.name == "NotManagedYetError"


@pytest.mark.failure(14)
@pytest.mark.parametrize(("windows", "minutes"), [(False, 10), (True, 40)])
def test_an_agent_that_stays_silent_says_what_to_check(
    making: Making, windows: bool, minutes: int
) -> None:
    making.world.aws.agent.never_online()
    builder = making.launched()
    error = refused(making, builder, minutes=minutes, windows=windows)
    assert error.name == "NotManagedError"
    within = f"within {minutes} minutes"
    for word in (builder, within, "SSM agent", "ssmmessages", "NAT gateway", "VPC endpoints"):
        assert word in error.message


def test_an_agent_that_lost_its_connection_does_not_count(making: Making) -> None:
    builder = making.managed()
    making.world.aws.agent.never_online(builder)
    making.world.aws.client("ec2").reboot_instances(InstanceIds=[builder])
    making.world.aws.until(lambda: not online(making.world, builder))
    assert refused(making, builder).name == "NotManagedYetError"


@pytest.mark.failure(5)
def test_a_builder_that_ec2_does_not_show_yet_is_asked_again(making: Making) -> None:
    making.world.aws.ec2.lag(instances=1)
    builder = making.world.invoke("launch_builder", making.launching())["instance_id"]
    making.world.aws.ec2.lag()
    assert refused(making, builder).name == "NotManagedYetError"


def test_a_builder_that_ended_at_launch_is_told_with_ec2s_reason(making: Making) -> None:
    making.world.aws.ec2.next_instance_fails("Client.InvalidKMSKey.InvalidState", "key is off")
    builder = making.world.invoke("launch_builder", making.launching())["instance_id"]
    making.world.aws.until(lambda: state(making.world, builder) == "terminated")
    error = refused(making, builder)
    assert error.name == "BuilderLostError"
    assert f"Builder {builder} is terminated before it came up" in error.message
    assert "Client.InvalidKMSKey.InvalidState" in error.message
    assert "key is off" in error.message


def test_a_builder_that_was_stopped_is_lost(making: Making) -> None:
    builder = making.stopped()
    error = refused(making, builder)
    assert error.name == "BuilderLostError"
    assert "Client.UserInitiatedShutdown" in error.message


def test_a_builder_that_aws_took_is_told_as_such(making: Making) -> None:
    builder = making.launched()
    making.world.aws.ec2.retire(builder, "Server.InternalError", "Internal error")
    error = refused(making, builder)
    assert error.name == "BuilderTakenError"
    assert "Server.InternalError" in error.message


def test_a_spot_builder_that_ends_at_launch_hints_at_its_key(quiet: World) -> None:
    """EC2 launches it with a role of the spot service, which has no right to the key."""
    making = Making.begin(quiet, "thrifty")
    making.world.aws.ec2.next_instance_fails("Client.InternalError", "Client error on launch")
    builder = making.world.invoke("launch_builder", making.launching())["instance_id"]
    making.world.aws.until(lambda: state(making.world, builder) == "terminated")
    error = refused(making, builder)
    assert error.name == "BuilderLostError"
    assert "AWSServiceRoleForEC2Spot needs a grant" in error.message
    clean_up(making)


def clean_up(making: Making) -> None:
    whole = {"plan": making.plan, "failure": {"Error": "BuilderLostError", "Cause": ""}}
    execution = making.world.execution(making.bake)
    event = {"bake": making.bake, "execution": execution, "state": whole}
    making.world.invoke("clean_up", event)


@pytest.mark.parametrize(
    ("service", "operation", "code"),
    [
        ("ec2", "DescribeInstances", "UnauthorizedOperation"),
        ("ssm", "DescribeInstanceInformation", "AccessDeniedException"),
    ],
)
def test_a_denied_look_is_told_by_its_call(
    making: Making, service: str, operation: str, code: str
) -> None:
    builder = making.launched()
    making.world.aws.faults.error(service, operation, code=code, status=403)
    error = refused(making, builder)
    assert error.name == "AccessDeniedError"
    assert f"{service}:{operation} {builder}" in error.message


def test_one_throttled_look_or_lost_answer_is_ridden_out(making: Making) -> None:
    builder = making.managed()
    faults = making.world.aws.faults
    faults.error("ec2", "DescribeInstances", code="RequestLimitExceeded", status=503)
    faults.lost_answer("ssm", "DescribeInstanceInformation")
    assert look(making, builder)["agent_version"] == "3.3.3050.0"
