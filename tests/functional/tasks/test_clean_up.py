"""CleanUp: nothing of a bake is left, whatever it had made and whatever gets in the way."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from bakery.naming import TAG_ATTEMPT, TAG_BAKE, label_pointer, pointer, previous_pointer
from tests.functional.conftest import FunctionFailedError, World
from tests.functional.making import Making, state
from tests.hostile import TAGGED

# An image of this account that is there from the start, and one that came after it.
OLDER, OLD = "ami-0c0de201803000011", "ami-0c0de180400000012"

FAILURE = {
    "Error": "CustomizationFailedError",
    "Cause": json.dumps({"errorType": "CustomizationFailedError", "errorMessage": "step failed"}),
}


def clean(
    making: Making, *, failed: bool = True, redrives: int = 0, **state: object
) -> dict[str, Any]:
    """Run the task for a bake that got as far as ``state`` says."""
    whole = {"plan": making.plan, **({"failure": FAILURE} if failed else {}), **state}
    execution = making.world.execution(making.bake)
    event = {"bake": making.bake, "execution": execution, "redrives": redrives, "state": whole}
    result: dict[str, Any] = making.world.invoke("clean_up", event)
    return result


def result(image: str) -> dict[str, Any]:
    """The state of a bake whose image has passed its tests."""
    copies = [{"region": "eu-west-1", "image_id": image}]
    return {"create_image": {"image_id": image}, "test_and_copy": {"copies": copies}}


def point(world: World, name: str, *images: str) -> None:
    for image in images:
        world.aws.client("ssm").put_parameter(
            Name=name, Value=image, Type="String", DataType="aws:ec2:image", Overwrite=True
        )
        world.aws.until(partial(holds, world, name, image))


def holds(world: World, name: str, image: str) -> bool:
    return world.parameter(name) == image


@pytest.fixture
def published(making: Making) -> tuple[Making, str]:
    """A bake of a recipe of its own, whose image is published."""
    recipe = f"made-{uuid.uuid4().hex[:8]}"
    moved = {"region": "eu-west-1", "name": pointer(recipe)}
    own = replace(making, plan={**making.plan, "recipe": recipe, "pointers": [moved]})
    image = own.imaged()
    point(own.world, pointer(recipe), OLDER, OLD, image)
    point(own.world, previous_pointer(recipe), OLDER, OLD)
    return own, image


def gone(making: Making) -> bool:
    """Whether nothing of the bake is left."""
    making.world.aws.until(
        lambda: all(state(making.world, id_) == "terminated" for id_ in making.instances())
    )
    return making.world.left_behind(making.bake) == [] and making.images() == []


def test_an_image_that_was_published_goes_though_ec2_does_not_show_its_tag(
    published: tuple[Making, str],
) -> None:
    """The janitor would leave it: a pointer has held it."""
    making, image = published
    world = making.world
    hidden = world.aws.faults.error(
        "ec2", "DescribeImages", code="InvalidAMIID.NotFound", times=99, role="TasksCleanUp"
    )
    with pytest.raises(FunctionFailedError, match="NotYetVisibleError"):
        clean(making, **result(image))
    world.aws.until(lambda: world.pointer(making.plan["recipe"]) == OLD)
    told = clean(making, **result(image))
    assert hidden.matched
    hidden.times = 0
    assert f"image {image}" in told["removed"] and told["left"] == []
    assert gone(making)
    assert clean(making, **result(image))["removed"] == []


NOTHING: dict[str, Any] = {"removed": [], "left": [], "kept": [], "kept_until": None}


def test_a_bake_that_failed_before_it_made_anything_leaves_nothing_to_do(making: Making) -> None:
    assert clean(making) == NOTHING


def test_a_bake_whose_plan_was_refused_removes_nothing_that_carries_its_name(
    making: Making,
) -> None:
    """Plan creates nothing: what is there belongs to an earlier execution of that name."""
    builder = making.launched()
    execution = making.world.execution(making.bake)
    event = {"bake": making.bake, "execution": execution, "state": {"failure": FAILURE}}
    assert making.world.invoke("clean_up", event) == NOTHING
    assert state(making.world, builder) == "running"
    clean(making)


def test_the_recipe_is_free_afterwards(making: Making) -> None:
    assert making.world.leases()["small"] == making.world.execution(making.bake)
    clean(making)
    assert "small" not in making.world.leases()


def test_the_lease_of_a_later_bake_is_not_given_back(making: Making) -> None:
    later = Making.begin(making.world)  # no execution of the first runs: its lease is taken over
    clean(making)
    assert making.world.leases()["small"] == making.world.execution(later.bake)


def test_a_failed_bake_loses_builder_image_and_snapshots_that_its_state_does_not_know(
    making: Making,
) -> None:
    """They are found by their tag: a task that failed may have made something without telling."""
    image = making.imaged()
    (builder,) = making.instances()
    assert clean(making)["removed"] == [f"instance {builder}", f"image {image}"]
    assert gone(making)


def test_what_others_write_into_tags_is_never_in_the_way(making: Making) -> None:
    """Whoever may tag instances may give theirs the tags of a bake, with any values."""
    image = making.imaged()
    (builder,) = making.instances()
    ec2 = making.world.aws.client("ec2")

    def launched(attempt: str) -> str:
        tags = {TAG_BAKE: making.bake, TAG_ATTEMPT: attempt}
        instance: str = ec2.run_instances(
            ImageId=OLDER,
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[
                {
                    "ResourceType": "instance",
                    "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
                }
            ],
        )["Instances"][0]["InstanceId"]
        return instance

    foreign = [launched(attempt) for attempt in [*TAGGED[::9], "x", "-1", "1.5", "\u0661"]]
    done = clean(making)
    assert done["removed"] == [f"instance {builder}", f"image {image}"]
    assert {it.partition(":")[0].removeprefix("instance ") for it in done["left"]} == {*foreign}
    assert {state(making.world, it) for it in foreign} <= {"pending", "running"}
    ec2.terminate_instances(InstanceIds=foreign)


def test_called_twice_it_finds_nothing_more(making: Making) -> None:
    making.imaged()
    clean(making)
    assert gone(making)
    assert clean(making) == NOTHING


def test_a_loose_volume_and_a_loose_snapshot_are_deleted(making: Making) -> None:
    ec2 = making.world.aws.client("ec2")
    tags = [{"Key": TAG_BAKE, "Value": making.bake}]
    volume = ec2.create_volume(
        AvailabilityZone="eu-west-1a",
        Size=1,
        TagSpecifications=[{"ResourceType": "volume", "Tags": tags}],
    )["VolumeId"]
    snapshot = ec2.create_snapshot(
        VolumeId=volume, TagSpecifications=[{"ResourceType": "snapshot", "Tags": tags}]
    )["SnapshotId"]
    assert clean(making)["removed"] == [f"volume {volume}", f"snapshot {snapshot}"]
    assert gone(making)


def test_a_bake_that_went_well_keeps_its_image(published: tuple[Making, str]) -> None:
    making, image = published
    (builder,) = making.instances()
    done = clean(making, failed=False)
    assert done == {**NOTHING, "removed": [f"instance {builder}"]}
    assert making.images() == [image]
    assert making.world.pointer(making.plan["recipe"]) == image
    assert len(making.world.tagged("snapshot", making.bake)) == 1


def test_what_other_bakes_made_stays(making: Making) -> None:
    other = Making.begin(making.world)
    builder = other.launched()
    making.launched()
    clean(making)
    assert gone(making)
    assert state(making.world, builder) == "running"


def test_a_pointer_that_had_moved_goes_back_before_its_image_goes(
    published: tuple[Making, str],
) -> None:
    making, image = published
    recipe, state = making.plan["recipe"], {**result(image), "templates": {}}
    with pytest.raises(FunctionFailedError) as failed:
        clean(making, **state)
    assert failed.value.name == "NotYetVisibleError"  # the machine asks again
    assert making.images() == [image]
    making.world.aws.until(lambda: making.world.pointer(recipe) == OLD)
    assert clean(making, **state)["removed"] == [f"image {image}"]
    assert gone(making)
    assert making.world.pointer(recipe) == OLD
    making.world.aws.until(lambda: making.world.previous(recipe) == OLDER)


def test_the_pointer_to_the_first_image_of_a_recipe_is_deleted(making: Making) -> None:
    recipe = f"made-{uuid.uuid4().hex[:8]}"
    moved = {"region": "eu-west-1", "name": pointer(recipe)}
    own = replace(making, plan={**making.plan, "recipe": recipe, "pointers": [moved]})
    image = own.imaged()
    point(own.world, pointer(recipe), image)
    done = clean(own, **result(image))
    assert f"move of {pointer(recipe)} in eu-west-1 to image {image}" in done["removed"]
    assert own.world.pointer(recipe) is None
    assert gone(own)


@pytest.mark.parametrize("code", ["TooManyUpdates", "AccessDeniedException"])
def test_an_image_stays_as_long_as_its_pointer_cannot_go_back(
    published: tuple[Making, str], code: str
) -> None:
    making, image = published
    making.world.aws.faults.error("ssm", "PutParameter", code=code, message="why", times=9)
    if code == "TooManyUpdates":
        with pytest.raises(FunctionFailedError) as failed:
            clean(making, **result(image))
        assert failed.value.name == "ThrottledError"
    else:
        done = clean(making, **result(image))
        assert image in done["left"][0]
    assert making.images() == [image]
    assert making.world.pointer(making.plan["recipe"]) == image
    (builder,) = making.instances()
    assert state(making.world, builder) in ("shutting-down", "terminated")


def test_the_pointer_goes_back_even_if_ec2_cannot_be_asked(published: tuple[Making, str]) -> None:
    making, image = published
    making.world.aws.faults.error("ec2", "Describe*", code="UnauthorizedOperation", times=99)
    with pytest.raises(FunctionFailedError):
        clean(making, **result(image))
    making.world.aws.until(lambda: making.world.pointer(making.plan["recipe"]) == OLD)


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("ec2", "TerminateInstances"),
        ("ec2", "DeregisterImage"),
        ("ec2", "DeleteSnapshot"),
        ("ec2", "DescribeInstances"),
        ("ec2", "DescribeSnapshots"),
    ],
)
def test_a_lost_answer_is_ridden_out(making: Making, service: str, operation: str) -> None:
    making.imaged()
    making.world.aws.faults.lost_answer(service, operation)
    assert clean(making)["left"] == []
    assert gone(making)


@pytest.mark.failure(75)
@pytest.mark.parametrize(
    ("operation", "kept"),
    [
        ("TerminateInstances", "instance"),
        ("DeregisterImage", "image"),
        ("DescribeInstances", "instance"),
        ("DescribeImages", "image"),
    ],
)
def test_what_is_denied_is_left_told_and_not_in_the_way_of_the_rest(
    making: Making, operation: str, kept: str
) -> None:
    making.imaged()
    fault = making.world.aws.faults.error(
        "ec2", operation, code="UnauthorizedOperation", status=403, times=9
    )
    done = clean(making)
    fault.times = 0
    (builder,), images = making.instances(), making.images()
    assert (state(making.world, builder) == "stopped") == (kept == "instance")
    assert bool(images) == (kept == "image")
    assert kept in done["left"][0]
    assert f"ec2:{operation}" in done["left"][0]
    assert clean(making)["left"] == []
    assert gone(making)


@pytest.mark.failure(72)
def test_a_snapshot_whose_deletion_failed_is_found_again_without_its_image(
    making: Making,
) -> None:
    making.imaged()
    fault = making.world.aws.faults.error(
        "ec2", "DeleteSnapshot", code="UnauthorizedOperation", status=403, times=9
    )
    assert clean(making)["left"] != []
    fault.times = 0
    (snapshot,) = making.world.tagged("snapshot", making.bake)
    assert clean(making)["removed"] == [f"snapshot {snapshot['SnapshotId']}"]
    assert gone(making)


def test_a_denied_removal_does_not_fail_a_bake_that_went_well(making: Making) -> None:
    builder = making.launched()
    making.world.aws.faults.error(
        "ec2", "TerminateInstances", code="OperationNotPermitted", message="protected"
    )
    done = clean(making, failed=False)
    assert builder in done["left"][0]


@pytest.mark.failure(73)
def test_a_snapshot_that_still_counts_as_in_use_is_tried_again(making: Making) -> None:
    making.imaged()
    fault = making.world.aws.faults.error("ec2", "DeleteSnapshot", code="InvalidSnapshot.InUse")
    with pytest.raises(FunctionFailedError) as failed:
        clean(making)
    assert failed.value.name == "NotYetVisibleError"  # the machine asks again
    assert fault.matched == 1
    assert clean(making)["left"] == []
    assert gone(making)


def keeping(making: Making) -> Making:
    """The same bake, whose recipe keeps the builder of a failed bake for two hours."""
    return replace(making, plan={**making.plan, "keep_hours": 2})


def let_go(making: Making) -> None:
    making.world.aws.clock.advance(hours=3)
    clean(replace(making, plan={**making.plan, "keep_hours": 0}))
    assert gone(making)


def test_a_builder_that_is_to_be_kept_stays_with_its_available_image(making: Making) -> None:
    image = making.imaged()
    (builder,) = making.instances()
    done = clean(keeping(making))
    assert done["removed"] == []
    assert done["kept"] == [f"instance {builder}", f"image {image}"]
    until = datetime.fromisoformat(done["kept_until"]) - making.world.aws.clock.now()
    assert timedelta(hours=1, minutes=55) < until <= timedelta(hours=2)
    assert making.images() == [image]
    assert "small" not in making.world.leases()
    let_go(making)


def test_called_twice_it_does_not_keep_longer(making: Making) -> None:
    making.launched()
    first = clean(keeping(making))
    making.world.aws.clock.advance(minutes=30)
    assert clean(keeping(making))["kept_until"] == first["kept_until"]
    let_go(making)


@pytest.mark.parametrize(
    ("service", "operation"), [("ec2", "DescribeInstances"), ("dynamodb", "PutItem")]
)
def test_what_was_published_goes_back_whether_or_not_a_builder_can_be_kept(
    published: tuple[Making, str], service: str, operation: str
) -> None:
    making, image = published
    own, world = keeping(making), making.world
    refused = world.aws.faults.error(
        service, operation, code="AccessDeniedException", times=99, role="TasksCleanUp"
    )
    with pytest.raises(FunctionFailedError):  # the pointer is not back yet
        clean(own, **result(image))
    world.aws.until(lambda: world.pointer(own.plan["recipe"]) == OLD)
    if operation == "PutItem":
        with pytest.raises(FunctionFailedError, match="AccessDeniedError"):
            clean(own, **result(image))
    else:
        done = clean(own, **result(image))
        assert done["left"][0].startswith(f"instances of bake {own.bake}: ")
        assert done["kept"] == [f"image {image}"]
        assert done["kept_until"] is not None
    assert refused.matched
    refused.times = 0
    assert own.images() == [image]
    let_go(own)


def test_a_parameter_that_was_moved_back_says_from_which_image(
    published: tuple[Making, str],
) -> None:
    """By that the janitor knows that nobody uses the image."""
    making, image = published
    recipe, world = making.plan["recipe"], making.world
    with pytest.raises(FunctionFailedError, match="NotYetVisibleError"):
        clean(making, **result(image))
    world.aws.until(lambda: world.pointer(recipe) == OLD)
    history = world.aws.client("ssm").get_parameter_history(Name=pointer(recipe))["Parameters"]
    assert history[-1]["Description"] == (
        f"Current image of recipe {recipe}, in place of that of a failed bake: {image}"
    )
    clean(making, **result(image))
    assert gone(making)


def test_an_image_that_failed_is_not_kept(making: Making) -> None:
    making.world.aws.ec2.next_image_fails("Server.InternalError")
    making.world.invoke("create_image", making.imaging(making.stopped()))
    (image,) = making.images()
    making.world.aws.until(
        lambda: making.world.tagged("image", making.bake)[0]["State"] == "failed"
    )
    assert clean(keeping(making))["removed"] == [f"image {image}"]
    let_go(making)


def test_a_good_bake_keeps_no_builder(making: Making) -> None:
    making.launched()
    assert clean(keeping(making), failed=False)["kept"] == []
    assert gone(making)


# --- spot -----------------------------------------------------------------------------------------


@pytest.fixture
def thrifty(quiet: World) -> Making:
    return Making.begin(quiet, "thrifty")


def request_of(making: Making) -> dict[str, Any]:
    (request,) = making.world.tagged("spot request", making.bake)
    return request


@pytest.mark.parametrize("failed", [True, False])
def test_a_request_is_cancelled_before_its_builder_is_ended(thrifty: Making, failed: bool) -> None:
    builder, request = thrifty.launched(), request_of(thrifty)["SpotInstanceRequestId"]
    assert clean(thrifty, failed=failed)["removed"] == [
        f"spot request {request}",
        f"instance {builder}",
    ]
    assert gone(thrifty)
    thrifty.world.aws.clock.advance(minutes=10)
    assert len(thrifty.instances()) == 1
    assert request_of(thrifty)["State"] == "cancelled"


def test_the_request_of_a_stopped_builder_goes_and_the_builder_with_it(thrifty: Making) -> None:
    thrifty.stopped()
    assert request_of(thrifty)["State"] == "disabled"
    clean(thrifty)
    assert gone(thrifty)


def test_what_a_request_launched_by_itself_is_ended_though_it_has_no_tags(
    thrifty: Making,
) -> None:
    builder = thrifty.launched()
    thrifty.world.aws.client("ec2").terminate_instances(InstanceIds=[builder])

    def again() -> str | None:
        found = request_of(thrifty).get("InstanceId")
        return found if found != builder else None

    untagged = str(thrifty.world.aws.until(again, what="another instance"))
    assert f"instance {untagged}" in clean(thrifty)["removed"]
    assert state(thrifty.world, untagged) in ("shutting-down", "terminated")


def test_a_request_whose_instance_is_gone_is_cancelled(thrifty: Making) -> None:
    """EC2 is about to launch the next one."""
    builder = thrifty.launched()
    pending = thrifty.world.aws.ec2.durations.pending
    thrifty.world.aws.ec2.durations.pending = 3600
    thrifty.world.aws.client("ec2").terminate_instances(InstanceIds=[builder])
    thrifty.world.aws.until(lambda: request_of(thrifty)["State"] == "open", what="open")
    clean(thrifty)
    thrifty.world.aws.ec2.durations.pending = pending
    assert request_of(thrifty)["State"] == "cancelled"
    thrifty.world.aws.clock.advance(hours=2)
    assert thrifty.instances() == [builder]


def test_a_request_that_cannot_be_cancelled_is_told_and_the_rest_goes(thrifty: Making) -> None:
    builder, request = thrifty.launched(), request_of(thrifty)["SpotInstanceRequestId"]
    fault = thrifty.world.aws.faults.error(
        "ec2", "CancelSpotInstanceRequests", code="UnauthorizedOperation", status=403, times=99
    )
    result = clean(thrifty)
    (left,) = result["left"]
    assert left.startswith(f"spot request {request}: ec2:CancelSpotInstanceRequests {request}")
    assert f"instance {builder}" in result["removed"]
    fault.times = 0
    clean(thrifty)


def test_called_twice_it_finds_no_request_any_more(thrifty: Making) -> None:
    thrifty.launched()
    clean(thrifty)
    assert gone(thrifty)
    assert clean(thrifty) == NOTHING


def test_the_request_of_a_builder_that_is_kept_stays(thrifty: Making) -> None:
    """A builder whose request is cancelled cannot be stopped, and one that is stopped ends."""
    thrifty.launched()
    kept = replace(thrifty, plan={**thrifty.plan, "keep_hours": 8})
    assert clean(kept)["kept"] != []
    assert request_of(thrifty)["State"] == "active"
    clean(thrifty)


def test_a_good_bake_keeps_its_result_and_not_the_image_of_a_builder_that_aws_took(
    making: Making,
) -> None:
    kept = making.imaged()
    ec2 = making.world.aws.client("ec2")
    tags = [{"Key": TAG_BAKE, "Value": making.bake}]
    (builder,) = making.instances()
    other = ec2.create_image(
        InstanceId=builder,
        Name="of-the-first-builder",
        TagSpecifications=[{"ResourceType": kind, "Tags": tags} for kind in ("image", "snapshot")],
    )["ImageId"]
    state = {**result(kept), "lost_builder": {"why": "spot"}}
    done = clean(making, failed=False, **state)
    assert f"image {other}" in done["removed"]
    assert making.images() == [kept]
    assert len(making.world.tagged("snapshot", making.bake)) == 1


def test_the_commands_of_the_steps_go_with_the_bake(making: Making) -> None:
    assert f"text#steps#{making.bake}" in making.world.items()
    clean(making)
    assert f"text#steps#{making.bake}" not in making.world.items()


# --- more than one thing points to the image ------------------------------------------------------

AWAY = "us-east-1"


def labelled(making: Making, *labels: str, region: str = "eu-west-1") -> Making:
    """The same bake, of a recipe of its own with these labels, in one Region."""
    recipe = f"made-{uuid.uuid4().hex[:8]}"
    names = [pointer(recipe), *(label_pointer(recipe, it) for it in labels)]
    pointers = [{"region": region, "name": it} for it in names]
    places = [{"region": it} for it in dict.fromkeys(["eu-west-1", region])]
    plan = {**making.plan, "recipe": recipe, "pointers": pointers, "places": places}
    return replace(making, plan=plan)


def moved(making: Making, image: str, *images: str) -> list[str]:
    """Have all pointers moved to the image, from the others; returns their names."""
    names = [it["name"] for it in making.plan["pointers"]]
    for name in names:
        point(making.world, name, *images, image)
    making.world.aws.calls.clear()
    return names


@pytest.mark.parametrize("keep", [True, False])
def test_one_try_moves_all_pointers_back(making: Making, keep: bool) -> None:
    """Each is in force later: as many tries as pointers would be too many."""
    own = labelled(making, *(f"label-{number}" for number in range(10)))
    own = keeping(own) if keep else own
    image = own.imaged()
    names = moved(own, image, OLD)
    with pytest.raises(FunctionFailedError) as failed:
        clean(own, **result(image))
    assert failed.value.name == "NotYetVisibleError"
    put = own.world.calls("PutParameter")
    assert {it["Name"]: it["Value"] for it in put} == dict.fromkeys(names, OLD)
    for name in names:
        own.world.aws.until(partial(holds, own.world, name, OLD))
    assert clean(own, **result(image))["left"] == []
    let_go(own)


def test_of_a_kept_bake_too_what_cannot_go_back_is_told_and_not_in_the_way(
    making: Making,
) -> None:
    own = keeping(labelled(making, "canary", "edge"))
    image = own.imaged()
    first, *others = moved(own, image, OLD)
    fault = own.world.aws.faults.error(
        "ssm",
        "PutParameter",
        code="AccessDeniedException",
        times=99,
        when=lambda call: call["Name"] == first,
    )
    with pytest.raises(FunctionFailedError):
        clean(own, **result(image))
    for name in others:
        own.world.aws.until(partial(holds, own.world, name, OLD))
    done = clean(own, **result(image))
    assert done["left"][0].startswith(f"move of {first} in eu-west-1 to image {image}: ")
    assert done["kept_until"] is not None
    fault.times = 0
    own.world.aws.client("ssm").delete_parameter(Name=first)
    let_go(own)


@pytest.mark.parametrize("stuck", ["label", "template"])
def test_an_image_stays_where_anything_may_still_point_to_it(making: Making, stuck: str) -> None:
    """What is launched from there would fail."""
    own = labelled(making, "canary")
    image = own.imaged()
    current, canary = moved(own, image, OLD)
    template = {"region": "eu-west-1", "id": "lt-0123456789abcdef0"}
    own = replace(own, plan={**own.plan, "templates": [template]})
    denied = partial(own.world.aws.faults.error, code="UnauthorizedOperation", times=99)
    if stuck == "label":
        fault = denied("ssm", "PutParameter", when=lambda call: call["Name"] == canary)
    else:
        fault = denied("ec2", "DescribeLaunchTemplateVersions")
    with pytest.raises(FunctionFailedError):  # the pointer is not back yet
        clean(own, **result(image))
    for name in [current] if stuck == "label" else [current, canary]:
        own.world.aws.until(partial(holds, own.world, name, OLD))
    done = clean(own, **result(image))
    assert own.images() == [image]
    what = f"{canary} in eu-west-1" if stuck == "label" else "lt-0123456789abcdef0"
    assert what in done["left"][0]
    assert done["left"][1].startswith(f"images in eu-west-1 of bake {own.bake}: not removed")
    assert what in done["left"][1]
    fault.times = 0
    if stuck == "label":
        point(own.world, canary, OLD)
    clean(own, **result(image))
    assert gone(own)


def test_what_was_previous_before_the_pointers_moved_stays_so(making: Making) -> None:
    """A person had put the pointer back to it; KeepPrevious has not begun."""
    own = labelled(making)
    image = own.imaged()
    moved(own, image, OLD)
    point(own.world, previous_pointer(own.plan["recipe"]), OLDER, OLD)
    with pytest.raises(FunctionFailedError):
        clean(own, **result(image))
    own.world.aws.until(lambda: own.world.pointer(own.plan["recipe"]) == OLD)
    clean(own, **result(image))
    assert gone(own)
    assert own.world.previous(own.plan["recipe"]) == OLD


def test_an_image_that_is_kept_is_shared_with_nobody_until_it_is_published(
    making: Making,
) -> None:
    own = keeping(labelled(making))
    image = own.imaged()
    ec2 = own.world.aws.client("ec2")
    (snapshot,) = own.world.tagged("snapshot", own.bake)
    ec2.modify_image_attribute(
        ImageId=image, LaunchPermission={"Add": [{"UserId": "444455556666"}]}
    )
    ec2.modify_snapshot_attribute(
        SnapshotId=snapshot["SnapshotId"],
        Attribute="createVolumePermission",
        OperationType="add",
        UserIds=["444455556666"],
    )
    own.world.aws.faults.lost_answer("ec2", "ResetSnapshotAttribute", times=5)
    with pytest.raises(FunctionFailedError, match="ServiceUnavailableError"):
        clean(own, **result(image))
    done = clean(own, **result(image))
    assert done["removed"] == [f"launch permissions of image {image}"]
    seen = ec2.describe_image_attribute(ImageId=image, Attribute="launchPermission")
    assert seen["LaunchPermissions"] == []
    readers = ec2.describe_snapshot_attribute(
        SnapshotId=snapshot["SnapshotId"], Attribute="createVolumePermission"
    )
    assert readers["CreateVolumePermissions"] == []
    let_go(own)


def test_a_region_that_does_not_answer_is_asked_once_and_is_not_in_the_way(
    making: Making,
) -> None:
    """The SDK alone spends two minutes on it: all of them together would be too many."""
    labels = [f"label-{number}" for number in range(4)]
    own = labelled(making, *labels, region=AWAY)
    image = own.imaged()
    copies = [{"region": it, "image_id": image} for it in ("eu-west-1", AWAY)]
    state = {**result(image), "test_and_copy": {"copies": copies}}
    silent = [
        own.world.aws.faults.error(
            it, "*", code="InternalError", status=503, times=999, role="CleanUp", region=AWAY
        )
        for it in ("ssm", "ec2")
    ]
    with pytest.raises(FunctionFailedError) as failed:
        clean(own, **state)
    assert failed.value.name == "ServiceUnavailableError"
    assert own.images() == [], "that of the stack's Region is gone"
    # Five tries of the SDK.
    assert [it.matched for it in silent] == [5, 5]
    own.world.aws.faults.clear()
    clean(own, **state)
    assert gone(own)


@pytest.mark.parametrize("name", [previous_pointer, partial(label_pointer, label="stable")])
def test_an_image_that_a_later_bake_or_a_person_has_given_a_name_stays(
    making: Making, name: Any
) -> None:
    """The bake was stopped when it had published, and redriven after the next one."""
    own = labelled(making)
    image, recipe = own.imaged(), own.plan["recipe"]
    moved(own, OLD)
    point(own.world, name(recipe), image)
    clean(own, **result(image))
    assert own.images() == [image]
    own.world.aws.client("ssm").delete_parameter(Name=name(recipe))
    clean(own, **result(image))
    assert gone(own)


# --- redriven while the recipe is another bake's --------------------------------------------------


@contextmanager
def taken(making: Making) -> Iterator[None]:
    """Meanwhile another execution, which runs, has the recipe."""
    item, world = f"claim#lease#{making.plan['recipe']}", making.world
    with world.baking("small"):
        world.put_item(item, holder=world.leases()["small"])
        yield
    world.remove_item(item)


@pytest.mark.parametrize("keep", [True, False])
def test_what_a_redriven_bake_had_published_stays_while_another_bakes_the_recipe(
    making: Making, keep: bool
) -> None:
    """It was stopped when it had published: for days everybody has launched that image."""
    own = labelled(making)
    own = keeping(own) if keep else own
    image, recipe = own.imaged(), own.plan["recipe"]
    moved(own, image, OLD)
    shared = {"LaunchPermission": {"Add": [{"UserId": "444455556666"}]}}
    ec2 = own.world.aws.client("ec2")
    ec2.modify_image_attribute(ImageId=image, **shared)
    with taken(own):
        done = clean(own, **result(image), redrives=1)
        assert own.world.pointer(recipe) == image
        assert [it for it in done["removed"] if "instance" not in it] == []
        # The other one publishes: what others have launched from is gone no sooner for that.
        point(own.world, pointer(recipe), OLDER)
        assert clean(own, **result(image), redrives=1)["left"] == []
    assert own.images() == [image]
    seen = ec2.describe_image_attribute(ImageId=image, Attribute="launchPermission")
    assert seen["LaunchPermissions"] == [{"UserId": "444455556666"}]
    assert len(own.world.tagged("snapshot", own.bake)) == 1
    let_go(own)


def test_it_stays_when_the_other_has_ended_after_it_was_in_the_way(making: Making) -> None:
    own = labelled(making)
    image, recipe = own.imaged(), own.plan["recipe"]
    moved(own, image, OLD)
    busy = {"Error": "RecipeBusyError", "Cause": "another bakes it"}
    clean(own, **result(image), failure=busy, redrives=1)
    assert own.world.pointer(recipe) == image
    assert own.images() == [image]
    point(own.world, pointer(recipe), OLD)
    clean(own, **result(image))
    assert gone(own)


def test_it_stays_when_others_have_published_since_and_the_recipe_is_free(making: Making) -> None:
    """It has the lease again, and is told by it that the pointer has moved on: twice, so that no
    parameter holds its image any more."""
    own = labelled(making)
    world, image, recipe = own.world, own.imaged(), own.plan["recipe"]
    item = f"claim#lease#{recipe}"
    point(world, pointer(recipe), OLDER, image, OLD)
    world.put_item(item, holder=world.execution(own.bake))
    late = {"Error": "CannotResumeError", "Cause": f"The recipe's pointer has moved to {OLD}"}
    done = clean(own, **result(image), failure=late, redrives=1)
    assert [it for it in done["removed"] if "instance" not in it] == []
    assert own.images() == [image]
    assert item not in world.items()
    let_go(own)


def test_what_it_had_not_published_goes_though_another_bakes_the_recipe(making: Making) -> None:
    own = labelled(making)
    own.imaged()
    with taken(own):
        clean(own, redrives=1)
    assert gone(own)


def test_a_redriven_bake_that_fails_while_it_has_the_recipe_takes_back_what_it_published(
    published: tuple[Making, str],
) -> None:
    making, image = published
    recipe, world = making.plan["recipe"], making.world
    item = f"claim#lease#{recipe}"
    world.put_item(item, holder=world.execution(making.bake))
    with pytest.raises(FunctionFailedError):
        clean(making, **result(image), redrives=1)
    world.aws.until(lambda: world.pointer(recipe) == OLD)
    clean(making, **result(image), redrives=1)
    assert gone(making)
    assert item not in world.items()
