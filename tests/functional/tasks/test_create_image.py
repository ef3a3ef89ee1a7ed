"""CreateImage: one image of the stopped builder, though the call has no client token."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from bakery.naming import TAG_BAKE
from tests.functional.conftest import FunctionFailedError, World
from tests.functional.making import NOBODY, NOT_YET, Making, forget_tag, resumed, state


def image(making: Making, builder: str, *, token: str = NOBODY) -> None:
    assert making.world.invoke("create_image", making.imaging(builder, token=token)) is None


def refused(making: Making, builder: str) -> FunctionFailedError:
    with pytest.raises(FunctionFailedError) as failed:
        image(making, builder)
    return failed.value


def image_state(making: Making) -> str:
    (made,) = making.world.tagged("image", making.bake)
    return str(made["State"])


def wait_of(making: Making) -> dict[str, Any]:
    (image_id,) = making.images()
    return making.world.waits()[f"wait#image/{image_id}"]


def made_by_somebody(making: Making, builder: str, tags: dict[str, str]) -> str:
    """An image with the planned name, made past the task."""
    pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
    specifications = [{"ResourceType": kind, "Tags": pairs} for kind in ("image", "snapshot")]
    answer = making.world.aws.client("ec2").create_image(
        InstanceId=builder,
        Name=making.plan["image_name"],
        TagSpecifications=specifications if tags else [],
    )
    return str(answer["ImageId"])


@pytest.mark.failure(35)
def test_it_images_the_stopped_builder_and_waits_for_a_day(making: Making) -> None:
    making.world.aws.ec2.durations.image = NOT_YET
    builder = making.stopped()
    before = making.world.aws.clock.now()
    image(making, builder)
    (made,) = making.world.tagged("image", making.bake)
    assert made["Name"] == making.plan["image_name"]
    assert made["Description"] == "one step, for tests that look at one stage"
    assert {tag["Key"]: tag["Value"] for tag in made["Tags"]} == making.plan["image_tags"]
    (snapshot,) = making.world.tagged("snapshot", making.bake)
    assert snapshot["Encrypted"] is True
    wait = wait_of(making)
    assert wait["kind"] == "image"
    assert wait["token"] == NOBODY
    budget = datetime.fromisoformat(wait["deadline"]) - before
    assert timedelta(hours=24) <= budget < timedelta(hours=24, minutes=2)


def test_called_twice_it_makes_one_image_and_the_newest_token_waits(making: Making) -> None:
    making.world.aws.ec2.durations.image = NOT_YET
    builder = making.stopped()
    image(making, builder, token="first")
    image(making, builder, token="second")
    assert len(making.images()) == len(making.world.aws.calls.of("ec2", "CreateImage")) == 1
    assert wait_of(making)["token"] == "second"


@pytest.mark.failure(46)
def test_an_image_that_is_available_at_the_second_try_is_told_at_once(making: Making) -> None:
    image_id = making.imaged()
    image(making, making.instances()[0])
    (told,) = resumed(making.world)
    assert json.loads(told["output"])["image_id"] == image_id
    assert f"wait#image/{image_id}" not in making.world.open_waits()


def test_an_image_that_has_failed_at_the_second_try_is_told_at_once(making: Making) -> None:
    making.world.aws.ec2.next_image_fails("Server.InternalError: snapshot limit")
    builder = making.stopped()
    image(making, builder, token="first")
    (made,) = making.images()
    making.world.aws.until(lambda: image_state(making) == "failed")
    image(making, builder)
    (told,) = resumed(making.world)
    assert told["error"] == "ImageFailedError"
    assert "snapshot limit" in told["cause"]
    assert f"wait#image/{made}" not in making.world.open_waits()


def test_after_a_lost_answer_the_second_try_adopts_by_the_tag(making: Making) -> None:
    making.world.aws.ec2.durations.image = NOT_YET
    builder = making.stopped()
    making.world.aws.faults.lost_answer("ec2", "CreateImage")
    error = refused(making, builder)
    assert error.name == "ServiceUnavailableError"
    (made,) = making.images()
    assert f"wait#image/{made}" not in making.world.open_waits()
    image(making, builder)
    assert making.images() == [made]
    assert wait_of(making)["target"] == made


def test_an_image_that_ec2_lists_late_is_adopted_by_its_name_and_tag(making: Making) -> None:
    """The look by tag finds nothing yet, then the name is taken, by this very bake."""
    making.world.aws.ec2.durations.image = NOT_YET
    builder = making.stopped()
    tags = dict(making.plan["image_tags"])

    def made_meanwhile() -> None:
        made_by_somebody(making, builder, tags)

    making.world.aws.faults.after("ec2", "DescribeImages", made_meanwhile)
    image(making, builder)
    (made,) = making.images()
    assert wait_of(making)["target"] == made
    assert [c.error for c in making.world.aws.calls.of("ec2", "CreateImage", "CreateImage")] == [
        "InvalidAMIName.Duplicate"
    ]


def test_a_taken_name_whose_image_ec2_does_not_show_yet_is_asked_again(making: Making) -> None:
    """The answer of the first try is lost, and neither look finds the image."""
    builder = making.stopped()
    making.world.aws.faults.error("ec2", "CreateImage", code="InvalidAMIName.Duplicate")
    error = refused(making, builder)
    assert error.name == "NotYetVisibleError"
    assert making.plan["image_name"] in error.message
    image(making, builder)
    assert len(making.images()) == 1


@pytest.mark.failure(32, 74)
@pytest.mark.parametrize("tags", [{}, {TAG_BAKE: "another-bake"}])
def test_an_image_of_that_name_that_this_bake_did_not_make_is_never_adopted(
    making: Making, tags: dict[str, str]
) -> None:
    builder = making.stopped()
    made_by_somebody(making, builder, tags)
    error = refused(making, builder)
    assert error.name == "ImageFailedError"
    assert f"'{making.plan['image_name']}' was taken" in error.message
    assert "{time} or {bake}" in error.message
    assert making.images() == []


@pytest.mark.failure(31)
def test_a_running_builder_is_not_imaged(making: Making) -> None:
    builder = making.launched()
    error = refused(making, builder)
    assert error.name == "BuilderLostError"
    assert f"Builder {builder} is running, not stopped" in error.message
    assert making.world.aws.calls.of("ec2", "CreateImage") == []


def test_a_spot_builder_that_ec2_has_started_again_is_taken(quiet: World) -> None:
    """Interrupted before it was asked to stop, it has booted, and made a new identity."""
    making = Making.begin(quiet, "thrifty")
    builder = making.launched()
    error = refused(making, builder)
    assert error.name == "BuilderTakenError"
    assert making.world.aws.calls.of("ec2", "CreateImage") == []


def test_a_spot_builder_that_starts_while_it_is_imaged_makes_no_image(quiet: World) -> None:
    making = Making.begin(quiet, "thrifty")
    builder = making.launched()
    ec2 = making.world.aws.ec2
    ec2.interrupt(builder, notice=0)
    making.world.aws.until(lambda: state(making.world, builder) == "stopped")
    making.world.aws.faults.after("ec2", "CreateImage", lambda: ec2.capacity_returns(builder))
    error = refused(making, builder)
    assert error.name == "BuilderTakenError"
    assert "not imaged" in error.message
    assert not {f"wait#image/{it}" for it in making.images()} & set(making.world.open_waits())


@pytest.mark.parametrize(("image_is", "error"), [("older", ""), ("newer", "BuilderTakenError")])
def test_an_image_is_adopted_if_it_was_made_before_its_builder_was_started_again(
    quiet: World, image_is: str, error: str
) -> None:
    """A try that ends between its image and its second look has not seen that."""
    making = Making.begin(quiet, "thrifty")
    builder = making.launched()
    quiet.aws.ec2.interrupt(builder, notice=0)
    quiet.aws.until(lambda: state(quiet, builder) == "stopped")
    image(making, builder)
    verified = quiet.aws.clock.now()
    quiet.aws.clock.advance(minutes=1)
    quiet.aws.ec2.capacity_returns(builder)
    quiet.aws.until(lambda: state(quiet, builder) == "running")
    if image_is == "newer":
        (made,) = making.images()
        now = quiet.aws.clock.now().strftime("%Y-%m-%dT%H:%M:%S.000Z")
        with quiet.aws.ec2.state.lock:
            quiet.aws.ec2.state.region("eu-west-1").images[made]["CreationDate"] = now
    payload = {**making.imaging(builder), "verified": verified.isoformat()}
    if not error:
        assert quiet.invoke("create_image", payload) is None
        return
    with pytest.raises(FunctionFailedError) as failed:
        quiet.invoke("create_image", payload)
    assert failed.value.name == error
    assert "made an identity for itself" in failed.value.message


def test_an_image_of_another_builder_of_the_bake_is_not_adopted(making: Making) -> None:
    """Of one that AWS took: EC2 may still show its image."""
    builder = making.stopped()
    image(making, builder)
    (first,) = making.images()
    of_another(making, first, Name="of-another-builder")
    image(making, builder)
    assert len(making.images()) == 2


def of_another(making: Making, image_id: str, **more: str) -> None:
    """Let it be the image of a builder that AWS took."""
    ec2 = making.world.aws.ec2
    with ec2.state.lock:
        record = ec2.state.region("eu-west-1").images[image_id]
        record.update(SourceInstanceId="i-0123456789abcdef0", **more)


@pytest.mark.parametrize("lost", [None, "DeregisterImage", "DeleteSnapshot"])
def test_an_image_of_another_builder_that_has_the_name_goes_first(
    making: Making, lost: str | None
) -> None:
    """EC2 did not show it when the builder was replaced."""
    builder = making.stopped()
    image(making, builder)
    (first,) = making.images()
    of_another(making, first)
    if lost:
        making.world.aws.faults.lost_answer("ec2", lost)
    assert refused(making, builder).name == "NotYetVisibleError"  # the machine asks again
    assert making.images() == []
    image(making, builder)
    (made,) = making.world.tagged("image", making.bake)
    assert made["SourceInstanceId"] == builder


@pytest.mark.parametrize(
    ("recipe", "redrives", "error"),
    [
        ("thrifty", 0, "BuilderTakenError"),
        ("thrifty", 1, "BuilderLostError"),
        ("small", 0, "BuilderLostError"),
    ],
)
@pytest.mark.parametrize("task", ["stop_builder", "create_image"])
def test_a_builder_that_was_started_after_it_was_verified_is_not_imaged(
    quiet: World, recipe: str, redrives: int, error: str, task: str
) -> None:
    making = Making.begin(quiet, recipe)
    builder = making.stopped()
    before = (quiet.aws.clock.now() - timedelta(hours=1)).isoformat()
    with pytest.raises(FunctionFailedError) as failed:
        payload = {**making.imaging(builder), "verified": before, "redrives": redrives}
        quiet.invoke(task, payload)
    assert failed.value.name == error
    assert "made an identity for itself" in failed.value.message
    assert making.images() == []
    quiet.invoke(task, {**payload, "verified": quiet.aws.clock.now().isoformat()})


@pytest.mark.failure(31)
def test_a_builder_that_is_gone_is_told(making: Making) -> None:
    error = refused(making, "i-0123456789abcdef0")
    assert error.name == "BuilderLostError"
    assert "i-0123456789abcdef0 is gone" in error.message


@pytest.mark.failure(42)
@pytest.mark.parametrize(
    ("code", "status", "name"),
    [
        ("SnapshotCreationPerVolumeRateExceeded", 400, "ThrottledError"),
        ("RequestLimitExceeded", 503, "ThrottledError"),
        ("InternalError", 500, "ServiceUnavailableError"),
        ("UnauthorizedOperation", 403, "AccessDeniedError"),
        ("ResourceLimitExceeded", 400, "QuotaExceededError"),
        ("InvalidParameterValue", 400, "AwsCallFailedError"),
    ],
)
def test_a_refused_call_is_told_by_its_class_and_may_be_tried_again(
    making: Making, code: str, status: int, name: str
) -> None:
    builder = making.stopped()
    making.world.aws.faults.error("ec2", "CreateImage", code=code, message="why", status=status)
    error = refused(making, builder)
    assert error.name == name
    assert f"ec2:CreateImage {builder} failed: {code}: why" in error.message
    image(making, builder)
    assert len(making.images()) == 1


def test_an_image_that_failed_is_told_with_ec2s_reason(making: Making) -> None:
    builder = making.stopped()
    making.world.aws.ec2.next_image_fails("Server.InternalError: disk on fire")
    image(making, builder, token="first")
    making.world.aws.until(
        lambda: making.world.tagged("image", making.bake)[0]["State"] == "failed"
    )
    image(making, builder)
    (failure,) = resumed(making.world)
    (made,) = making.images()
    assert failure["error"] == "ImageFailedError"
    assert f"Image {made}" in failure["cause"]
    assert "disk on fire" in failure["cause"]
    assert "quota" in failure["cause"]


def test_an_image_whose_tag_is_lost_is_not_made_twice(making: Making) -> None:
    builder = making.stopped()
    image(making, builder)
    (made,) = making.images()
    forget_tag(making.world, made)
    assert refused(making, builder).name == "ImageFailedError"
    assert len(making.world.calls("CreateImage")) == 1
    making.tag(made)
