"""Bakes that fail: the first error is told, the pointer stays, nothing is left.

That nothing is left is asserted after every test by the ``world`` fixture.
"""

import re
from collections.abc import Iterator

import pytest

from scripts.local.ec2_state import NEVER
from tests.functional.conftest import Ended, World


@pytest.fixture(autouse=True)
def pointer_unchanged(world: World) -> Iterator[None]:
    """Recipe small has been baked once; a failing bake must leave its pointers byte for byte."""
    if world.pointer("small") is None:
        assert world.bake("small").status == "SUCCEEDED"
        world.aws.calls.clear()
    before = world.pointer("small"), world.previous("small")
    yield
    assert (world.pointer("small"), world.previous("small")) == before


def fail(world: World) -> Ended:
    ended = world.bake("small", force=True)
    assert ended.status == "FAILED"
    return ended


def test_a_step_that_exits_7_is_told_with_its_name_code_and_last_lines(world: World) -> None:
    noise = "\n".join(f"line {n}" for n in range(100))
    world.aws.agent.script(
        "AmiBakery.small.packages", exit_code=7, stderr=f"{noise}\nno such package\n"
    )
    ended = fail(world)
    assert ended.error == "CustomizationFailedError"
    assert "'packages'" in ended.cause
    assert "exit code 7" in ended.cause
    assert ended.cause.rstrip().endswith("no such package")
    assert "line 99" in ended.cause
    assert "line 10\n" not in ended.cause


def test_the_failure_is_announced_without_output_of_the_script(world: World) -> None:
    world.aws.agent.script("AmiBakery.small.packages", exit_code=1, stderr="password=hunter2\n")
    ended = fail(world)
    (event,) = world.aws.until(lambda: world.told("Bake Failed", ended.name), what="the event")
    assert event["detail"]["recipe"] == "small"
    assert event["detail"]["error"] == "CustomizationFailedError"
    assert "'packages'" in event["detail"]["summary"]
    assert "hunter2" not in str(event)


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ("AmiBakery-prepare-linux", "PreparationFailedError"),
        ("AmiBakery-remove-opsworks-identity", "IdentityRemovalFailedError"),
        ("AmiBakery-generalize-linux", "GeneralizationFailedError"),
        ("AmiBakery-verify-identity", "IdentityLeftError"),
    ],
)
def test_each_document_of_ours_fails_with_its_own_error(
    world: World, document: str, error: str
) -> None:
    world.aws.agent.script(document, exit_code=1, stderr="identity left: machine-id\n")
    ended = fail(world)
    assert ended.error == error
    assert "identity left: machine-id" in ended.cause
    assert world.calls("CreateImage") == []


def test_success_without_the_sentinel_is_not_believed(world: World) -> None:
    """Systems Manager reports Success for a document whose every step was skipped."""
    world.aws.agent.script("AmiBakery-verify-identity", status="Success", stdout="nothing\n")
    ended = fail(world)
    assert ended.error == "IdentityLeftError"
    assert "without having run to its end" in ended.cause


@pytest.mark.failure(19, 21)
@pytest.mark.parametrize(
    "status", ["Undeliverable", "DeliveryTimedOut", "Cancelled", "TimedOut", "AccessDenied"]
)
def test_a_command_that_ends_otherwise_fails_the_bake(world: World, status: str) -> None:
    world.aws.agent.script("AmiBakery.small.packages", status=status)
    ended = fail(world)
    assert ended.error == "CustomizationFailedError"
    assert "'packages'" in ended.cause


@pytest.mark.failure(22)
def test_a_command_whose_agent_never_reports_is_ended_by_systems_manager(world: World) -> None:
    """Its total time-out comes before the wait's own deadline, and says more."""
    world.aws.agent.script("AmiBakery.small.packages", status="InProgress")
    arn = world.start({"recipe": "small", "force": True})
    world.aws.until(lambda: len(world.sent_to_builders()) == 2)
    (command,) = [
        it
        for it in world.aws.commands.all.values()
        if it.document == "AmiBakery.small.packages" and it.ended is None
    ]
    left = command.expires - world.aws.clock.now()
    world.aws.clock.advance(seconds=left.total_seconds() + 10)
    ended = world.ended(arn)
    assert ended.error == "CustomizationFailedError"
    assert "ended as DeliveryTimedOut" in ended.cause
    assert "'packages'" in ended.cause


@pytest.mark.failure(34)
def test_an_image_that_fails_is_removed_with_its_snapshots(world: World) -> None:
    world.aws.ec2.next_image_fails("Server.InternalError: snapshot limit")
    ended = fail(world)
    assert ended.error == "ImageFailedError"
    assert "Server.InternalError" in ended.cause


@pytest.mark.failure(6)
def test_a_builder_that_dies_at_launch_is_told_with_ec2s_reason(world: World) -> None:
    world.aws.ec2.next_instance_fails(
        "Client.InvalidKMSKey.InvalidState", "The KMS key is disabled"
    )
    ended = fail(world)
    assert ended.error == "BuilderLostError"
    assert "KMS key is disabled" in ended.cause
    assert world.sent_to_builders() == []


@pytest.mark.failure(13)
def test_a_builder_terminated_in_the_middle_of_a_step_ends_the_bake(world: World) -> None:
    world.aws.agent.script("AmiBakery.small.packages", status="InProgress")
    arn = world.start({"recipe": "small", "force": True})
    world.aws.until(lambda: len(world.sent_to_builders()) == 2)
    name = arn.rpartition(":")[2]
    (builder,) = world.tagged("builder", name)
    world.aws.client("ec2").terminate_instances(InstanceIds=[builder["InstanceId"]])
    ended = world.ended(arn)
    assert ended.error == "BuilderLostError"
    assert builder["InstanceId"] in ended.cause


@pytest.mark.failure(14)
def test_an_agent_that_never_reports_is_told_with_what_to_check(world: World) -> None:
    world.aws.agent.never_online()
    ended = fail(world)
    assert ended.error == "NotManagedError"
    assert "ssmmessages" in ended.cause


def test_no_capacity_anywhere_lists_every_attempt(world: World) -> None:
    world.aws.ec2.no_capacity()
    ended = fail(world)
    assert ended.error == "NoCapacityError"
    for instance_type in ("t3.small", "t3a.small"):
        assert ended.cause.count(f"- {instance_type} on-demand in subnet-") >= 2
    # Twenty minutes of patience, with growing pauses.
    assert re.search(r", \d+ times: InsufficientInstanceCapacity", ended.cause)


@pytest.mark.failure(8)
def test_a_denied_call_is_told_by_name(world: World) -> None:
    world.aws.faults.error(
        "ec2", "RunInstances", code="UnauthorizedOperation", message="Denied by an SCP", status=403
    )
    ended = fail(world)
    assert ended.error == "AccessDeniedError"
    assert "ec2:RunInstances" in ended.cause
    assert "Denied by an SCP" in ended.cause


@pytest.mark.failure(4)
def test_a_quota_is_told_as_such(world: World) -> None:
    world.aws.faults.error(
        "ec2", "RunInstances", code="VcpuLimitExceeded", message="You have requested more vCPU"
    )
    ended = fail(world)
    assert ended.error == "QuotaExceededError"


@pytest.mark.failure(63)
def test_a_pointer_that_parameter_store_refuses_stays(world: World) -> None:
    """The image is deregistered by somebody while its pointer is being validated."""

    put: list[str] = []

    def remember(parameters: dict[str, object]) -> bool:
        put.append(str(parameters["Value"]))
        return True

    def deregister() -> None:
        world.aws.client("ec2").deregister_image(ImageId=put[-1])

    world.aws.faults.after("ssm", "PutParameter", deregister, when=remember)
    ended = fail(world)
    assert ended.error == "PointerRejectedError"
    assert "Parameter Store has not accepted" in ended.cause


def test_a_pointer_that_had_moved_is_moved_back(world: World) -> None:
    """KeepPrevious is denied after PublishPointers has moved the pointer."""

    def second_put(parameters: dict[str, object]) -> bool:
        return str(parameters["Name"]).endswith("previous-image")

    world.aws.faults.error(
        "ssm", "PutParameter", code="AccessDeniedException", status=400, when=second_put
    )
    ended = fail(world)
    assert ended.error == "AccessDeniedError"
    assert "previous-image" in ended.cause


def test_clean_up_tells_what_it_could_not_remove_and_keeps_the_first_error(world: World) -> None:
    world.aws.agent.script("AmiBakery.small.packages", exit_code=7)
    fault = world.aws.faults.error(
        "ec2", "TerminateInstances", code="OperationNotPermitted", message="protected", times=99
    )
    ended = fail(world)
    assert ended.error == "CustomizationFailedError"
    (builder,) = world.tagged("builder", ended.name)
    assert "Clean up could not remove" in ended.cause
    assert builder["InstanceId"] in ended.cause
    fault.times = 0
    world.aws.client("ec2").terminate_instances(InstanceIds=[builder["InstanceId"]])


def test_clean_up_that_itself_fails_does_not_hide_the_first_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The janitor would give the lease back.
    monkeypatch.setattr(world.aws.schedules, "paused", True)
    world.aws.agent.script("AmiBakery.small.packages", exit_code=7)
    fault = world.aws.faults.error(
        "ec2",
        "DescribeInstances",
        code="InternalError",
        status=500,
        times=10_000,
        role="TasksCleanUp",
    )
    ended = fail(world)
    assert ended.error == "CustomizationFailedError"
    assert "exit code 7" in ended.cause
    assert "anything that carries this execution's name as tag ami-bakery:bake" in ended.cause
    fault.times = 0
    for builder in world.tagged("builder", ended.name):
        world.aws.client("ec2").terminate_instances(InstanceIds=[builder["InstanceId"]])
    assert world.leases()["small"] == ended.arn
    world.aws.agent.script("AmiBakery.small.packages", exit_code=8)
    assert "exit code 8" in fail(world).cause  # the lease was no obstacle, and is given back
    assert world.leases() == {}


@pytest.mark.failure(29)
def test_a_builder_that_never_stops_ends_the_bake(world: World) -> None:
    usual, world.aws.ec2.durations.stopping = world.aws.ec2.durations.stopping, NEVER
    world.aws.faults.after("ec2", "StopInstances", lambda: world.aws.clock.advance(minutes=18))
    ended = fail(world)
    world.aws.ec2.durations.stopping = usual
    assert ended.error == "StageTimedOutError"
    assert "Stopping the builder" in ended.cause
    assert not any(asked.get("Force") for asked in world.calls("StopInstances"))


@pytest.mark.failure(36)
def test_a_create_image_that_is_out_of_order_ends_the_bake(world: World) -> None:
    world.aws.faults.error("ec2", "CreateImage", code="Unavailable", status=503, times=999)
    ended = fail(world)
    assert ended.error == "ServiceUnavailableError"
    assert len(world.aws.calls.of("ec2", "CreateImage")) > 5
