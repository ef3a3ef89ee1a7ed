"""Builders of failed bakes are kept on request, and bakes go on from the stage that failed."""

import os
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from scripts.bakery_cli.main import main
from scripts.local.faults import Fault
from tests.functional.conftest import RECIPES, Ended, World

DENIED = {"code": "AccessDeniedException", "status": 400}
UNAUTHORIZED = {"code": "UnauthorizedOperation", "status": 403}


@pytest.fixture(autouse=True)
def nothing_kept(world: World) -> Iterator[None]:
    """Recipe small has an image; what a test keeps, the janitor ends."""
    if world.pointer("small") is None:
        assert world.bake("small").status == "SUCCEEDED"
    world.aws.calls.clear()
    yield
    world.aws.faults.clear()
    world.aws.clock.advance(hours=80)
    world.invoke("remove_orphans", {})


def failed(world: World, *faults: Fault, **options: object) -> Ended:
    """A bake that failed and kept its builder; the faults are over."""
    wanted = {"recipe": "small", "force": True, "on_failure": "keep", **options}
    ended = world.ended(world.start(wanted))
    assert ended.status == "FAILED", ended.output
    for fault in faults:
        fault.times = 0
    return ended


def retried(world: World, ended: Ended) -> Ended:
    """What the operator's command makes of it."""
    with patch.dict(os.environ, {**world.aws.environment, "TERM": "dumb"}):
        code = main(["retry", ended.name, "--recipes", str(RECIPES)])
    again = world.ended(ended.arn)
    assert code == (0 if again.status == "SUCCEEDED" else 1)
    return again


def builders(world: World, ended: Ended) -> list[tuple[str, str]]:
    return [(it["InstanceId"], it["State"]["Name"]) for it in world.tagged("builder", ended.name)]


def fail_stop(world: World) -> Fault:
    return world.aws.faults.error("ec2", "StopInstances", times=99, **UNAUTHORIZED)  # type: ignore[arg-type]


def fail_create(world: World) -> Fault:
    return world.aws.faults.error("ec2", "CreateImage", times=99, **UNAUTHORIZED)  # type: ignore[arg-type]


def fail_publish(world: World) -> Fault:
    return world.aws.faults.error(
        "ssm",
        "PutParameter",
        times=99,
        role="PublishPointers",
        **DENIED,  # type: ignore[arg-type]
    )


def fail_previous(world: World) -> Fault:
    return world.aws.faults.error(
        "ssm",
        "PutParameter",
        times=99,
        role="KeepPrevious",
        **DENIED,  # type: ignore[arg-type]
    )


def fail_harden(world: World) -> Fault:
    return world.aws.faults.error("ec2", "ModifyImageAttribute", times=99, **UNAUTHORIZED)  # type: ignore[arg-type]


@pytest.mark.parametrize("fail", [fail_stop, fail_create, fail_harden, fail_publish, fail_previous])
def test_a_bake_goes_on_from_the_failed_stage_without_a_second_launch(
    world: World, fail: object
) -> None:
    before = world.pointer("small"), world.previous("small")
    fault: Fault = fail(world)  # type: ignore[operator]
    first = failed(world, fault)
    assert first.error == "AccessDeniedError"
    assert "Kept until" in first.cause
    assert (world.pointer("small"), world.previous("small")) == before
    assert world.leases() == {}

    second = retried(world, first)
    assert second.status == "SUCCEEDED", second.cause
    assert world.pointer("small") == second.output["image"]["id"]
    assert world.previous("small") == before[0] == second.output["previous"]
    nothing_was_done_twice_on_the_builder(world, first)
    assert world.left_behind(first.name) == []
    assert world.leases() == {}


def nothing_was_done_twice_on_the_builder(world: World, ended: Ended) -> None:
    ((builder, _),) = builders(world, ended)
    sent = world.sent_to_builders()
    comments = [call["Comment"] for call in sent if call["InstanceIds"] == [builder]]
    assert len(comments) == len(set(comments)) == 5


def test_after_a_failed_test_the_image_is_booted_anew_and_no_other_builder(world: World) -> None:
    before = world.pointer("small")
    world.aws.agent.script("AmiBakery-test-image", exit_code=1, stderr="cloud-init: fail")
    first = failed(world)
    assert first.error == "TestFailedError" and "cloud-init: fail" in first.cause
    tests = [it for it in world.tagged("instance", first.name) if "running" in str(it["State"])]
    assert tests, "kept for a look"
    second = retried(world, first)
    assert second.status == "SUCCEEDED", second.cause
    nothing_was_done_twice_on_the_builder(world, first)
    assert world.pointer("small") == second.output["image"]["id"] != before
    assert len(world.tagged("image", first.name)) == 1
    assert world.left_behind(first.name) == []


@pytest.mark.parametrize("what", ["copy", "share", "template"])
def test_after_a_failed_copy_or_publication_it_goes_on_with_what_is_there(
    world: World, what: str
) -> None:
    if what == "copy":
        world.aws.ec2.next_copy_fails("us-east-1")
    elif what == "share":
        world.aws.faults.error("ec2", "ModifySnapshotAttribute", **UNAUTHORIZED)  # type: ignore[arg-type]
    else:
        world.aws.faults.error("ec2", "CreateLaunchTemplateVersion", **UNAUTHORIZED)  # type: ignore[arg-type]
    wanted = {"recipe": "wide", "force": True, "on_failure": "keep"}
    first = world.ended(world.start(wanted), seconds=120)
    assert first.status == "FAILED"
    assert world.pointer("wide", "us-east-1") is None
    assert shared(world, first) == 0, "nobody may use what is not published"
    second = retried(world, first)
    assert second.status == "SUCCEEDED", second.cause
    assert shared(world, first) == 4
    assert len(builders(world, first)) == 1
    for region in ("eu-west-1", "eu-central-1", "us-east-1"):
        (image,) = world.tagged("image", first.name, region)
        assert world.pointer("wide", region) == image["ImageId"]
    copied = len(world.calls("CopyImage"))
    assert copied == (3 if what == "copy" else 2), "what was there is adopted"
    assert world.left_behind(first.name) == []
    world.aws.client("ssm", "us-east-1").delete_parameter(Name="/ami-bakery/wide/image")


def shared(world: World, ended: Ended) -> int:
    """How many accounts, organizations and units may launch the bake's images."""
    permissions = [
        permission
        for region in ("eu-west-1", "eu-central-1", "us-east-1")
        for image in world.tagged("image", ended.name, region)
        for permission in world.aws.client("ec2", region).describe_image_attribute(
            ImageId=image["ImageId"], Attribute="launchPermission"
        )["LaunchPermissions"]
    ]
    return len(permissions)


def test_an_image_that_failed_is_made_again(world: World) -> None:
    world.aws.ec2.next_image_fails("Server.InternalError: snapshot limit")
    first = failed(world)
    assert first.error == "ImageFailedError"
    assert world.tagged("image", first.name) == []
    second = retried(world, first)
    assert second.status == "SUCCEEDED", second.cause
    assert len(world.tagged("image", first.name)) == 1


def test_a_kept_builder_stays_until_its_time_is_over_and_no_longer(world: World) -> None:
    world.aws.agent.script("AmiBakery.small.packages", exit_code=7)
    ended = failed(world)
    ((builder, state),) = builders(world, ended)
    assert state == "running"
    assert f"aws ssm start-session --target {builder}" in ended.cause
    world.aws.clock.advance(hours=3)
    world.invoke("remove_orphans", {})
    assert builders(world, ended) == [(builder, "running")]
    world.aws.clock.advance(hours=2)
    world.invoke("remove_orphans", {})
    assert builders(world, ended)[0][1] in ("shutting-down", "terminated")


def test_a_kept_builder_that_somebody_has_started_again_goes_when_its_time_is_over(
    world: World,
) -> None:
    ended = failed(world, fail_create(world))
    ((builder, state),) = builders(world, ended)
    assert state == "stopped"
    world.aws.clock.advance(hours=3)
    world.aws.client("ec2").start_instances(InstanceIds=[builder])
    world.invoke("remove_orphans", {})
    assert builders(world, ended)[0][1] in ("pending", "running")
    world.aws.clock.advance(hours=2)
    world.invoke("remove_orphans", {})
    # Not what this run removed: the hours that passed may have started the janitor of itself.
    assert builders(world, ended)[0][1] in ("shutting-down", "terminated")


def test_a_bake_that_failed_before_verification_says_why_it_cannot_go_on(world: World) -> None:
    world.aws.agent.script("AmiBakery.small.packages", exit_code=7)
    again = retried(world, failed(world))
    assert again.status == "FAILED"
    assert again.error == "CannotResumeError"
    assert "Stage customize cannot be tried again" in again.cause


def test_without_the_wish_nothing_is_kept_and_a_retry_says_so(world: World) -> None:
    first = failed(world, fail_create(world), on_failure="clean")
    assert "Kept until" not in first.cause
    assert world.left_behind(first.name) == []
    again = retried(world, first)
    assert again.error == "CannotResumeError"
    assert "on_failure: keep" in again.cause


def test_a_later_bake_is_not_undone_by_a_retry(world: World) -> None:
    first = failed(world, fail_create(world))
    later = world.bake("small", force=True)
    assert later.status == "SUCCEEDED"
    again = retried(world, first)
    assert again.error == "CannotResumeError"
    assert world.pointer("small") == later.output["image"]["id"]


def test_a_retry_that_fails_again_can_be_tried_again(world: World) -> None:
    fault = fail_create(world)
    first = failed(world)
    second = retried(world, first)
    assert (second.status, second.error) == ("FAILED", "AccessDeniedError"), second
    fault.times = 0
    third = retried(world, first)
    assert third.status == "SUCCEEDED", third.cause
    assert len(world.launches()) == 1


def test_a_kept_builder_that_aws_takes_is_replaced_when_the_bake_goes_on(world: World) -> None:
    """The redrive is counted in the state, which begins anew: the next end is no redrive."""
    first = failed(world, fail_stop(world))
    ((kept, _),) = builders(world, first)
    world.aws.ec2.retire(kept)
    world.aws.until(lambda: builders(world, first) == [(kept, "stopped")], what="the retirement")
    second = retried(world, first)
    assert second.status == "SUCCEEDED", second.cause
    assert f"builder {kept} was replaced: " in second.output["reason"]
    assert "Server.ScheduledStop" in second.output["reason"]
    assert len(builders(world, first)) == 2
    assert world.left_behind(first.name) == []


def test_a_bake_that_fails_again_after_that_fails_once(world: World) -> None:
    first = failed(world, fail_stop(world))
    ((kept, _),) = builders(world, first)
    world.aws.ec2.retire(kept)
    world.aws.until(lambda: builders(world, first) == [(kept, "stopped")], what="the retirement")
    world.aws.agent.script("AmiBakery.small.packages", exit_code=7)
    second = retried(world, first)
    assert second.error == "CustomizationFailedError"
    assert f"Before, builder {kept} was replaced: " in second.cause
