"""RetireImages: old images go in steps, none in use goes, and a cut or a refusal costs nothing."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from bakery.naming import (
    TAG_BAKE,
    TAG_BASE_IMAGE,
    TAG_CLONE_OF,
    TAG_DISABLED_AT,
    TAG_RECIPE,
    TAG_RETIRED,
    label_pointer,
    pointer,
)
from tests.functional.conftest import FunctionFailedError, World
from tests.functional.retiring import POLICY, Retiring

OTHER_REGION = "eu-central-1"
ROLE = "TasksRetireImagesRole"


@pytest.fixture
def retiring(quiet: World) -> Retiring:
    quiet.aws.ec2.durations.copy = 5
    return Retiring(quiet, f"made-{uuid.uuid4().hex[:8]}")


def test_an_image_is_disabled_then_deregistered_with_its_snapshots(retiring: Retiring) -> None:
    old, *newer = retiring.images(3)
    answer = retiring.run()
    assert answer["counts"] == {"keep": 2, "disable": 1}
    assert answer["left"] == []
    assert answer["done"] == [
        f"{old}: disable: is 0 days old, 2 newer ones are there, and it is not in use"
    ]
    assert retiring.states() == {old: "disabled", **dict.fromkeys(newer, "available")}
    assert retiring.tags(old)[TAG_DISABLED_AT].endswith("Z")

    retiring.later(days=6)
    assert retiring.run()["done"] == []
    retiring.later(days=1)
    assert [it.partition(": was")[0] for it in retiring.run()["done"]] == [f"{old}: deregister"]
    assert retiring.states() == dict.fromkeys(newer, "available")
    assert len(retiring.snapshots()) == 2
    assert retiring.run()["done"] == []


def test_it_is_deprecated_first_if_the_recipe_says_so(retiring: Retiring) -> None:
    policy: dict[str, Any] = {"deprecate_after_days": 10, "days": 20}
    old, *_ = retiring.images(3)
    assert retiring.run(**policy)["done"] == []
    retiring.later(days=10)
    # All that are not in use, the newest as well: they can be launched as before.
    assert retiring.run(**policy)["counts"] == {"deprecate": 3}
    assert retiring.record(old)["DeprecationTime"]
    assert set(retiring.states().values()) == {"available"}
    assert retiring.run(**policy)["counts"] == {"keep": 3}


def test_a_dry_run_tells_the_same_and_touches_nothing(retiring: Retiring) -> None:
    retiring.images(4)
    before = retiring.states()
    told = retiring.run(dry_run=True)
    assert retiring.states() == before
    changing = {"CreateTags", "DisableImage", "DeregisterImage", "CreateImageUsageReport"}
    assert not changing & {call.operation for call in retiring.world.aws.calls.of(role=ROLE)}
    assert retiring.run()["done"] == told["done"]


def test_one_run_acts_on_so_many_and_the_next_goes_on(retiring: Retiring) -> None:
    first, second, *_ = retiring.images(4)
    assert retiring.run(at_most=1)["counts"] == {"keep": 3, "disable": 1}
    assert retiring.states()[first] == "disabled"
    assert retiring.run(at_most=1)["counts"] == {"keep": 3, "disable": 1}
    assert retiring.states()[second] == "disabled"


@pytest.mark.failure(69)
def test_the_newest_stay_however_old_they_are(retiring: Retiring) -> None:
    """Nobody has baked for years; one that cannot be launched does not count among them."""
    oldest, *newer, spoilt = retiring.images(4)
    retiring.ec2.disable_image(ImageId=spoilt)
    retiring.later(days=1000)
    assert retiring.run(days=30)["left"] == []
    states = retiring.states()
    assert [states[image] for image in newer] == ["available", "available"]
    assert states[oldest] == "disabled"


def test_images_of_other_recipes_and_without_our_tags_are_not_looked_at(
    retiring: Retiring,
) -> None:
    other = Retiring(retiring.world, f"{retiring.recipe}-b")
    other.images(3)
    retiring.images(3)
    retiring.run()
    assert set(other.states().values()) == {"available"}


# --- what is in use ---------------------------------------------------------------------------


def test_the_clone_of_a_host_is_not_looked_at(retiring: Retiring) -> None:
    """It goes with its bake, which may be under way; and it is no newer image of the recipe."""
    of_host = {TAG_CLONE_OF: "i-0123456789abcdef0"}
    clones = retiring.images(1, **of_host)
    oldest, *newer = retiring.images(3)
    clones += retiring.images(2, **of_host)
    retiring.run()
    states = retiring.states()
    assert {states[image] for image in (*clones, *newer)} == {"available"}
    assert states[oldest] == "disabled"


def test_what_a_parameter_of_ours_holds_stays(retiring: Retiring) -> None:
    current, previous, labelled, theirs, *_ = retiring.images(6)
    for name, image in (
        (pointer(retiring.recipe), current),
        (f"/ami-bakery/{retiring.recipe}/previous-image", previous),
        (label_pointer(retiring.recipe, "stable"), labelled),
        (pointer(f"{retiring.recipe}-b"), theirs),
    ):
        retiring.point(name, image)
        assert retiring.why(image) == f"keep: parameter {name} holds it"
    assert retiring.run()["done"] == []


def test_the_base_of_another_recipes_current_image_stays(retiring: Retiring) -> None:
    base, *_ = retiring.images(3)
    child = Retiring(retiring.world, f"{retiring.recipe}-child")
    (image,) = child.images(1, **{TAG_BASE_IMAGE: base})
    child.point(pointer(child.recipe), image)
    assert retiring.why(base) == f"keep: is the base of image {image}, which is current"


def test_the_image_that_a_recipe_is_built_on_by_its_id_stays_before_that_has_baked(
    retiring: Retiring, tmp_path: Path
) -> None:
    pinned, *_ = retiring.images(3)
    recipes = {"shop": {"description": "x", "base": {"ami": pinned}}}
    with retiring.world.carrying(recipes, "retire_images", tmp_path):
        assert retiring.why(pinned) == "keep: recipe shop names it"
        assert retiring.run()["done"] == []


def test_a_recipe_is_a_name_and_no_pattern(retiring: Retiring) -> None:
    """A filter of EC2 would find the images of all recipes, and take them for one's."""
    retiring.images(3)
    before = retiring.states()
    with pytest.raises(FunctionFailedError) as failed:
        retiring.world.invoke("retire_images", {"recipe": "*", "retention": POLICY})
    assert failed.value.name == "ValidationError"
    assert retiring.states() == before


def test_an_image_and_its_copy_with_the_same_tags_stay(retiring: Retiring) -> None:
    """A team's own copy, encrypted with its own key: EC2 copies the tags, if it is told to."""
    old, *_ = retiring.images(3)
    copy = retiring.ec2.copy_image(
        SourceImageId=old, SourceRegion=retiring.region, Name=retiring.recipe, CopyImageTags=True
    )["ImageId"]
    retiring.world.aws.until(lambda: retiring.record(copy)["State"] == "available")
    assert TAG_BAKE in retiring.tags(copy)
    retiring.later(days=1)
    retiring.images(2)
    assert "another image has the tag of bake" in retiring.why(copy)
    assert not {old, copy} & {it.partition(":")[0] for it in retiring.run()["done"]}
    tags = [{"Key": key} for key in (TAG_BAKE, TAG_RECIPE)]
    retiring.ec2.delete_tags(Resources=[copy], Tags=tags)
    assert retiring.why(old).startswith("disable: ")


@pytest.mark.failure(68)
def test_an_image_that_something_refers_to_stays(retiring: Retiring) -> None:
    images = retiring.images(8)
    launched, templated, configured, parameter, built, fleet, *_ = images
    ec2, aws = retiring.ec2, retiring.world.aws
    builder = ec2.run_instances(ImageId=launched, InstanceType="t3.small", MinCount=1, MaxCount=1)[
        "Instances"
    ][0]["InstanceId"]
    template = ec2.create_launch_template(
        LaunchTemplateName=retiring.recipe, LaunchTemplateData={"ImageId": templated}
    )["LaunchTemplate"]["LaunchTemplateId"]
    # Twelve newer versions name a parameter: EC2 itself would look at ten.
    for _ in range(12):
        ec2.create_launch_template_version(
            LaunchTemplateId=template,
            LaunchTemplateData={"ImageId": f"resolve:ssm:{pointer(retiring.recipe)}"},
        )
    ec2.modify_launch_template(LaunchTemplateId=template, DefaultVersion="13")
    aws.client("autoscaling", retiring.region).create_launch_configuration(
        LaunchConfigurationName=retiring.recipe, ImageId=configured, InstanceType="t3.small"
    )
    retiring.ssm.put_parameter(Name=f"/apps/{retiring.recipe}", Value=parameter, Type="String")
    recipe = f"arn:aws:imagebuilder:eu-west-1:123456789012:image-recipe/{retiring.recipe}/1.0.0"
    aws.ec2.usage.image_builder.append((built, "imagebuilder:ImageRecipe", recipe))
    ec2.request_spot_fleet(
        SpotFleetRequestConfig={
            "TargetCapacity": 0,
            "AllocationStrategy": "lowestPrice",
            "IamFleetRole": "arn:aws:iam::123456789012:role/fleet",
            "LaunchSpecifications": [{"ImageId": fleet, "InstanceType": "t3.small"}],
        }
    )
    assert retiring.why(launched) == f"keep: Instance {builder} was launched from it"
    assert retiring.why(templated) == f"keep: LaunchTemplate {template} names it"
    ec2.modify_launch_template(LaunchTemplateId=template, DefaultVersion="1")
    assert retiring.why(templated) == f"keep: version 1 of launch template {template} names it"
    assert retiring.why(configured) == f"keep: launch configuration {retiring.recipe} names it"
    assert retiring.why(parameter) == f"keep: Parameter /apps/{retiring.recipe} names it"
    assert retiring.why(built) == "keep: ImageRecipe 1.0.0 names it"
    assert retiring.why(fleet).startswith("keep: Spot Fleet sfr-")
    assert retiring.run()["done"] == []

    ec2.terminate_instances(InstanceIds=[builder])
    aws.until(lambda: retiring.why(launched).startswith("disable: "))


@pytest.mark.failure(68)
def test_an_image_that_a_group_has_for_one_of_its_types_stays(retiring: Retiring) -> None:
    """Its launch template names another: EC2's own check of references sees only that."""
    overriding, newer, *_ = retiring.images(4)
    template = retiring.ec2.create_launch_template(
        LaunchTemplateName=retiring.recipe, LaunchTemplateData={"ImageId": newer}
    )["LaunchTemplate"]["LaunchTemplateId"]
    retiring.group(
        MixedInstancesPolicy={
            "LaunchTemplate": {
                "LaunchTemplateSpecification": {"LaunchTemplateId": template},
                "Overrides": [
                    {"InstanceType": "t3.small"},
                    {"InstanceType": "t4g.small", "ImageId": overriding},
                ],
            }
        }
    )
    assert retiring.why(overriding) == f"keep: Auto Scaling group {retiring.recipe} names it"
    assert retiring.run()["done"] == []


@pytest.mark.failure(68)
def test_an_image_that_a_template_names_by_an_earlier_value_of_a_parameter_stays(
    retiring: Retiring,
) -> None:
    """By the parameter's version, or by a label of it; in the versions that something launches."""
    pinned, labelled, grouped, free, *newer = retiring.images(6)
    name = pointer(retiring.recipe)
    for image in (pinned, labelled, grouped, free, newer[-1]):
        retiring.point(name, image)
    retiring.ssm.label_parameter_version(Name=name, ParameterVersion=2, Labels=["blue"])
    arn = f"arn:aws:ssm:{retiring.region}:123456789012:parameter{name}"
    template = retiring.template(f"{name}:3", f"{arn}:blue", f"{name}:1")
    retiring.ec2.modify_launch_template(LaunchTemplateId=template, DefaultVersion="2")
    # It says what does not exist, too, which launches nothing.
    other = retiring.template(f"{name}:99")
    policy = {"LaunchTemplateId": template, "Version": "1"}
    retiring.group(LaunchTemplate=policy)
    retiring.group(LaunchTemplate={"LaunchTemplateId": other, "Version": "7"})
    retiring.group(LaunchTemplate={"LaunchTemplateId": "lt-0123456789abcdef0", "Version": "1"})
    of = f"of launch template {template}, by parameter {name}"
    assert retiring.why(pinned) == f"keep: version 3 {of}:1, names it"
    assert retiring.why(labelled) == f"keep: version 2 {of}:blue, names it"
    assert retiring.why(grouped) == f"keep: version 1 {of}:3, names it"
    assert [it.partition(":")[0] for it in retiring.run()["done"]] == [free]


def test_what_only_past_versions_of_a_template_name_that_bakes_have_made_goes(
    retiring: Retiring,
) -> None:
    """Every image is named by one, where the recipe publishes to a template."""
    default, past, grouped, by_hand, *newer = retiring.images(6)
    template = retiring.ec2.create_launch_template(
        LaunchTemplateName=retiring.recipe, LaunchTemplateData={"ImageId": default}
    )["LaunchTemplate"]["LaunchTemplateId"]
    for number, image in enumerate((past, grouped, by_hand, newer[0]), start=2):
        retiring.ec2.create_launch_template_version(
            LaunchTemplateId=template,
            VersionDescription=f"ami-bakery bake-{number}, default before: 1",
            LaunchTemplateData={"ImageId": image},
        )
    retiring.ec2.create_launch_template_version(
        LaunchTemplateId=template, LaunchTemplateData={"ImageId": by_hand}
    )
    retiring.ec2.create_launch_template_version(
        LaunchTemplateId=template, LaunchTemplateData={"ImageId": newer[1]}
    )
    retiring.group(LaunchTemplate={"LaunchTemplateName": retiring.recipe, "Version": "3"})
    retiring.group(LaunchTemplate={"LaunchTemplateName": "gone", "Version": "3"})
    assert retiring.why(default) == f"keep: version 1 of launch template {template} names it"
    assert retiring.why(grouped) == f"keep: version 3 of launch template {template} names it"
    assert retiring.why(by_hand) == f"keep: LaunchTemplate {template} names it"
    assert [it.partition(":")[0] for it in retiring.run()["done"]] == [past]
    retiring.later(days=7)
    assert retiring.run()["left"] == []
    assert past not in retiring.states()


def test_a_disabled_image_that_is_found_in_use_is_not_deregistered(retiring: Retiring) -> None:
    old, *_ = retiring.images(3)
    retiring.run()
    retiring.ec2.create_launch_template(
        LaunchTemplateName=retiring.recipe, LaunchTemplateData={"ImageId": old}
    )
    retiring.later(days=8)
    assert retiring.run()["done"] == []
    assert retiring.states()[old] == "disabled"


def test_an_image_that_was_launched_lately_stays(retiring: Retiring) -> None:
    old, *_ = retiring.images(3)
    builder = retiring.ec2.run_instances(
        ImageId=old, InstanceType="t3.small", MinCount=1, MaxCount=1
    )["Instances"][0]["InstanceId"]
    retiring.ec2.terminate_instances(InstanceIds=[builder])
    retiring.later(days=2)
    assert retiring.why(old, unused_days=30).startswith("keep: was launched on ")
    retiring.later(days=30)
    assert retiring.why(old, unused_days=30).startswith("disable: ")


def test_a_shared_image_stays_until_ec2_has_told_that_nobody_uses_it(retiring: Retiring) -> None:
    used, built, unused, *_ = retiring.images(5)
    for image in (used, built, unused):
        retiring.ec2.modify_image_attribute(
            ImageId=image, LaunchPermission={"Add": [{"UserId": "111122223333"}]}
        )
    usage = retiring.world.aws.ec2.usage
    usage.elsewhere[used] = [("111122223333", "ec2:LaunchTemplate", 1)]
    usage.elsewhere[built] = [("111122223333", "imagebuilder:ImageRecipe", 1)]
    unknown = "keep: whether it is in use is not known: it is shared, and "
    # A dry run asks for nothing.
    assert retiring.why(used) == f"{unknown}there is no report of EC2's on its use"
    assert retiring.run()["done"] == []
    assert retiring.why(used) == f"{unknown}EC2's report on its use is being made"
    retiring.later(hours=1)
    retiring.world.aws.until(
        lambda: retiring.why(used) == "keep: account 111122223333 uses it", what="the report"
    )
    assert retiring.why(built) == "keep: account 111122223333 uses it"
    assert retiring.why(unused).startswith("disable: ")
    # A week later the reports tell nothing any more.
    retiring.later(days=7)
    assert retiring.why(unused) == f"{unknown}there is no report of EC2's on its use"


def test_a_protected_image_stays_unless_the_recipe_protects_its_images(retiring: Retiring) -> None:
    old, *_ = retiring.images(3)
    retiring.ec2.enable_image_deregistration_protection(ImageId=old)
    assert retiring.why(old).startswith("keep: is protected against deregistration, and not by")
    assert retiring.run(protect=True)["counts"]["disable"] == 1
    retiring.later(days=7)
    assert retiring.run(protect=True)["left"] == []
    assert old not in retiring.states()


def test_where_the_recipe_protects_its_images_those_that_stay_are_protected(
    retiring: Retiring,
) -> None:
    old, *kept = retiring.images(3)
    for image in kept:
        retiring.point(pointer(retiring.recipe), image)
    for _ in range(2):
        assert retiring.run(protect=True)["left"] == []
    assert [retiring.record(it).get("DeregistrationProtection") for it in kept] == [
        "enabled-without-cooldown"
    ] * 2
    with pytest.raises(retiring.ec2.exceptions.ClientError, match="OperationNotPermitted"):
        retiring.ec2.deregister_image(ImageId=kept[0])


def test_an_image_that_was_never_published_is_not_protected(retiring: Retiring) -> None:
    """That of a failed bake, kept for a while, is to go with it: only retirement lifts this."""
    published, failed = retiring.images(2)
    retiring.point(pointer(retiring.recipe), published)
    assert retiring.run(protect=True)["left"] == []
    retiring.ec2.deregister_image(ImageId=failed)
    with pytest.raises(retiring.ec2.exceptions.ClientError, match="OperationNotPermitted"):
        retiring.ec2.deregister_image(ImageId=published)


@pytest.mark.failure(71)
def test_protection_with_a_cooldown_costs_a_day(retiring: Retiring) -> None:
    old, *_ = retiring.images(3)
    retiring.ec2.enable_image_deregistration_protection(ImageId=old, WithCooldown=True)
    retiring.run(protect=True)
    retiring.later(days=7)
    answer = retiring.run(protect=True)
    assert answer["done"] == []
    (left,) = answer["left"]
    assert left.startswith(f"{old}: could not deregister: ec2:DeregisterImage {old} in eu-west-1")
    assert "OperationNotPermitted" in left
    retiring.later(days=1)
    retiring.run(protect=True)
    assert old not in retiring.states()


def test_an_image_that_somebody_has_enabled_again_stays(retiring: Retiring) -> None:
    old, *_ = retiring.images(3)
    retiring.run()
    retiring.ec2.enable_image(ImageId=old)
    assert "somebody has enabled it again" in retiring.why(old)
    retiring.ec2.delete_tags(Resources=[old], Tags=[{"Key": TAG_DISABLED_AT}])
    assert retiring.why(old).startswith("disable: ")


def test_a_note_that_somebody_has_spoilt_costs_a_grace_period_and_stops_nothing(
    retiring: Retiring,
) -> None:
    old, *_ = retiring.images(3)
    retiring.run()
    spoilt = {"Key": TAG_DISABLED_AT, "Value": "2020-01-01, by Ann"}
    retiring.ec2.create_tags(Resources=[old], Tags=[spoilt])
    retiring.later(days=7)
    assert retiring.why(old).endswith("since when is not known; its grace period begins now")
    assert retiring.run()["left"] == []
    assert retiring.tags(old)[TAG_DISABLED_AT].endswith("Z")
    retiring.ec2.enable_image(ImageId=old)
    retiring.ec2.create_tags(Resources=[old], Tags=[spoilt])
    assert "somebody has enabled it again" in retiring.why(old)


# --- what goes wrong --------------------------------------------------------------------------

NEEDED = (
    ("ec2", "DescribeImages"),
    ("ssm", "GetParametersByPath"),
    ("autoscaling", "DescribeLaunchConfigurations"),
    ("autoscaling", "DescribeAutoScalingGroups"),
    ("ec2", "DescribeLaunchTemplateVersions"),
    ("ec2", "DescribeSpotFleetRequests"),
    ("ec2", "DescribeFleets"),
    ("ec2", "DescribeImageReferences"),
    ("ec2", "DescribeImageAttribute"),
)


@pytest.mark.failure(70)
@pytest.mark.parametrize(("service", "operation"), NEEDED)
def test_what_cannot_be_read_keeps_all(retiring: Retiring, service: str, operation: str) -> None:
    retiring.images(4)
    before = retiring.states()
    denied = retiring.world.aws.faults.error(
        service, operation, code="AccessDenied", times=99, role=ROLE
    )
    answer = retiring.run()
    assert denied.matched
    assert answer["done"] == []
    assert retiring.states() == before
    assert any("AccessDenied" in it for it in answer["left"])


@pytest.mark.parametrize(("service", "operation"), NEEDED)
def test_what_aws_has_no_time_for_is_tried_again(
    retiring: Retiring, service: str, operation: str
) -> None:
    retiring.images(3)
    before = retiring.states()
    retiring.world.aws.faults.error(service, operation, code="Throttling", times=5, role=ROLE)
    with pytest.raises(FunctionFailedError) as failed:
        retiring.run()
    assert failed.value.name == "ThrottledError"
    assert retiring.states() == before
    assert len(retiring.run()["done"]) == 1


@pytest.mark.failure(72)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("operation", ["DisableImage", "CreateTags", "DeregisterImage"])
def test_it_may_be_killed_anywhere(retiring: Retiring, operation: str, after: bool) -> None:
    """Cut at each call, at each step of an image's end; the next runs end it, grace and all."""
    old, *newer = retiring.images(3)
    if operation == "DeregisterImage":
        retiring.run()
        retiring.later(days=7)
    retiring.world.aws.faults.crash(ROLE, operation, after=after)
    with pytest.raises(FunctionFailedError):
        retiring.run()
    if operation != "DeregisterImage":
        assert retiring.run()["left"] == []
        assert retiring.states()[old] == "disabled"
        assert TAG_DISABLED_AT in retiring.tags(old)
        retiring.later(days=7)
    assert retiring.run()["left"] == []
    assert retiring.states() == dict.fromkeys(newer, "available")
    assert len(retiring.snapshots()) == 2


@pytest.mark.failure(72)
def test_snapshots_that_stayed_go_with_the_next_run(retiring: Retiring) -> None:
    old, *_ = retiring.images(3)
    snapshot = retiring.record(old)["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    retiring.run()
    retiring.later(days=7)
    # Somebody else deregisters it in the moment between, and leaves its snapshots.
    retiring.world.aws.faults.after(
        "ec2", "CreateTags", lambda: retiring.ec2.deregister_image(ImageId=old)
    )
    retiring.run()
    assert snapshot in retiring.snapshots()
    assert retiring.run()["left"] == []
    assert snapshot not in retiring.snapshots()


def test_a_snapshot_that_another_image_has_stays_and_is_no_failure(retiring: Retiring) -> None:
    old, *_ = retiring.images(3)
    snapshot = retiring.record(old)["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    retiring.ec2.create_tags(Resources=[snapshot], Tags=[{"Key": TAG_RETIRED, "Value": "ami-gone"}])
    assert retiring.run()["left"] == []
    assert snapshot in retiring.snapshots()


@pytest.mark.parametrize(
    ("days", "operation"),
    [(0, "DisableImage"), (0, "CreateTags"), (7, "CreateTags"), (7, "DeregisterImage")],
)
def test_a_step_that_is_refused_is_told_and_does_not_stop_the_others(
    retiring: Retiring, days: int, operation: str
) -> None:
    first, second, *_ = retiring.images(4)
    if days:
        retiring.run()
        retiring.later(days=days)
    retiring.world.aws.faults.error(
        "ec2", operation, code="UnauthorizedOperation", message="why", role=ROLE
    )
    answer = retiring.run()
    assert [it.partition(":")[0] for it in answer["done"]] == [second]
    (left,) = answer["left"]
    assert left.startswith(f"{first}: could not ") and f"ec2:{operation}" in left and "why" in left
    assert retiring.run()["left"] == []


def test_a_lost_answer_is_ridden_out(retiring: Retiring) -> None:
    old, *newer = retiring.images(3)
    for operation in ("DisableImage", "CreateTags", "DeregisterImage"):
        retiring.world.aws.faults.lost_answer("ec2", operation, role=ROLE)
    assert retiring.run()["left"] == []
    retiring.later(days=7)
    assert retiring.run()["left"] == []
    assert retiring.states() == dict.fromkeys(newer, "available")


# --- around it --------------------------------------------------------------------------------


def test_it_acts_in_the_region_that_it_is_told(retiring: Retiring) -> None:
    here, there = retiring, Retiring(retiring.world, retiring.recipe, OTHER_REGION)
    here.images(3)
    old, *_ = there.images(3)
    answer = there.run()
    assert answer["region"] == OTHER_REGION
    assert there.states()[old] == "disabled"
    assert set(here.states().values()) == {"available"}


def test_the_output_stays_small_however_much_there_is_to_tell(retiring: Retiring) -> None:
    retiring.images(6)
    event = {"recipe": retiring.recipe, "region": "eu-west-1", "retention": POLICY}
    answer = retiring.world.invoke("retire_images", event)
    assert answer["kept"] == []
    assert answer["done"][-1] == "and 2 more, see the log of RetireImages"
    assert len(json.dumps(answer)) < 1_000


def test_without_a_policy_it_goes_by_what_is_deployed(world: World) -> None:
    answer = world.invoke("retire_images", {"recipe": "tidy", "dry_run": True})
    assert answer["regions"] == ["eu-west-1", "eu-central-1"]
    with pytest.raises(FunctionFailedError) as failed:
        world.invoke("retire_images", {"recipe": "small", "dry_run": True})
    assert failed.value.name == "InvalidInputError"
    assert "says nothing of retention" in failed.value.message
