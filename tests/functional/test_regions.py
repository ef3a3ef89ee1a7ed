"""Publishing to three Regions: everything everywhere, or nothing anywhere."""

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest

from bakery.naming import TAG_BAKE, label_pointer, pointer, previous_pointer
from scripts.local.clock import parse_time
from tests.functional.conftest import Ended, World
from tests.functional.cutting import ROLE as MOVER
from tests.functional.cutting import cut_short, redriven

pytestmark = pytest.mark.long

HOME, OTHERS = "eu-west-1", ("eu-central-1", "us-east-1")
REGIONS = (HOME, *OTHERS)
TEMPLATES = {"lt-0123456789abcdef0": HOME, "lt-0123456789abcdef1": "eu-central-1"}
OWN_DEFAULT = "lt-0123456789abcdef2"
"""Of recipe anywhere, in the home Region: what its default is, is its owner's affair."""


def published(world: World, recipe: str) -> str:
    """Everything that points to an image of the recipe, byte for byte."""
    names = (pointer(recipe), previous_pointer(recipe), label_pointer(recipe, "canary"))
    parameters = {
        region: {name: world.parameter(name, region) for name in names} for region in REGIONS
    }
    templates = {id_: versions(world, id_) for id_ in TEMPLATES}
    return json.dumps([parameters, templates], sort_keys=True, default=str)


def versions(world: World, template: str) -> list[tuple[int, bool, str]]:
    ec2 = world.aws.client("ec2", TEMPLATES.get(template, HOME))
    found = ec2.describe_launch_template_versions(LaunchTemplateId=template)
    return [
        (it["VersionNumber"], it["DefaultVersion"], it["LaunchTemplateData"]["ImageId"])
        for it in found["LaunchTemplateVersions"]
    ]


def images(world: World, bake: str) -> dict[str, list[dict[str, Any]]]:
    return {region: world.tagged("image", bake, region) for region in REGIONS}


def attribute(world: World, region: str, image: str) -> list[dict[str, str]]:
    ec2 = world.aws.client("ec2", region)
    found = ec2.describe_image_attribute(ImageId=image, Attribute="launchPermission")
    return list(found["LaunchPermissions"])


def test_a_bake_that_passes_moves_every_pointer_in_every_region(world: World) -> None:
    before = world.pointer("wide")
    ended = world.bake("wide", seconds=120)
    assert ended.status == "SUCCEEDED", (ended.error, ended.cause)
    made = {region: found[0] for region, found in images(world, ended.name).items()}
    assert ended.output["image"]["id"] == made[HOME]["ImageId"]
    assert ended.output["copies"] == {it: made[it]["ImageId"] for it in OTHERS}
    assert ended.output["left_out"] == {}
    for region in REGIONS:
        image = made[region]["ImageId"]
        assert world.pointer("wide", region) == image
        assert world.parameter(label_pointer("wide", "canary"), region) == image
        assert made[region]["ImdsSupport"] == "v2.0"
        assert made[region]["DeregistrationProtection"] == "enabled-without-cooldown"
        age = parse_time(made[region]["DeprecationTime"]) - parse_time(made[region]["CreationDate"])
        assert timedelta(days=29) < age < timedelta(days=31)
        tags = {tag["Key"]: tag["Value"] for tag in made[region]["Tags"]}
        assert tags[TAG_BAKE] == ended.name
        (snapshot,) = world.tagged("snapshot", ended.name, region)
        assert snapshot["Encrypted"]
        assert {tag["Key"]: tag["Value"] for tag in snapshot["Tags"]} == tags
    assert ended.output["previous"] == before
    for template, region in TEMPLATES.items():
        newest, *_ = versions(world, template)
        assert newest[1:] == (True, made[region]["ImageId"])
        data = world.aws.client("ec2", region).describe_launch_template_versions(
            LaunchTemplateId=template, Versions=[str(newest[0])]
        )["LaunchTemplateVersions"][0]["LaunchTemplateData"]
        assert data["InstanceType"] == "t3.small", "all else is as the latest version has it"


def test_it_is_shared_where_the_recipe_says_with_whom_it_says(world: World) -> None:
    ended = world.bake("wide", force=True, seconds=120)
    made = {region: found[0]["ImageId"] for region, found in images(world, ended.name).items()}
    account = {"UserId": "444455556666"}
    assert attribute(world, HOME, made[HOME]) == [account]
    assert attribute(world, "us-east-1", made["us-east-1"]) == []
    shared = attribute(world, "eu-central-1", made["eu-central-1"])
    assert account in shared and len(shared) == 3
    assert {key for it in shared for key in it} == {
        "UserId",
        "OrganizationArn",
        "OrganizationalUnitArn",
    }
    (snapshot,) = world.tagged("snapshot", ended.name, "eu-central-1")
    readers = world.aws.client("ec2", "eu-central-1").describe_snapshot_attribute(
        SnapshotId=snapshot["SnapshotId"], Attribute="createVolumePermission"
    )
    assert readers["CreateVolumePermissions"] == [account]
    key = world.aws.client("kms", "eu-central-1").describe_key(KeyId="alias/images")
    assert snapshot["KmsKeyId"] in ("alias/images", key["KeyMetadata"]["Arn"])


def test_copies_are_private_until_the_tests_have_passed(world: World) -> None:
    ended = world.bake("wide", force=True, seconds=120)
    calls = [call.operation for call in world.aws.calls.of()]
    last_test = max(i for i, it in enumerate(calls) if it == "SendCommand")
    shares = [i for i, it in enumerate(calls) if it in ("ModifySnapshotAttribute",)]
    assert ended.status == "SUCCEEDED" and shares and min(shares) > last_test
    copies = [i for i, it in enumerate(calls) if it == "CopyImage"]
    assert len(copies) == 2 and max(copies) < last_test, "they are made meanwhile"


def nothing_has_changed(world: World, before: str, bake: str) -> None:
    assert published(world, "wide") == before
    assert images(world, bake) == {region: [] for region in REGIONS}
    assert world.left_behind(bake) == []


@pytest.mark.failure(66)
def test_a_failed_test_leaves_everything_as_it_was(world: World) -> None:
    assert world.bake("wide", force=True, seconds=120).status == "SUCCEEDED"
    before = published(world, "wide")
    world.aws.agent.script("AmiBakery.wide.test.*", exit_code=22, stderr="curl: (22) 502")
    ended = world.bake("wide", force=True, seconds=120)
    assert (ended.status, ended.error) == ("FAILED", "TestFailedError")
    assert "Test 'nginx answers'" in ended.cause and "curl: (22) 502" in ended.cause
    nothing_has_changed(world, before, ended.name)


@pytest.mark.failure(37)
def test_a_failed_copy_leaves_everything_as_it_was(world: World) -> None:
    assert world.bake("wide", force=True, seconds=120).status == "SUCCEEDED"
    before = published(world, "wide")
    world.aws.ec2.next_copy_fails("us-east-1")
    ended = world.bake("wide", force=True, seconds=120)
    assert (ended.status, ended.error) == ("FAILED", "CopyFailedError")
    assert "us-east-1" in ended.cause and "the snapshot was not copied" in ended.cause
    nothing_has_changed(world, before, ended.name)


@pytest.mark.parametrize(
    ("task", "service", "operation", "skip"),
    [
        ("PublishPointers", "ssm", "PutParameter", 0),
        ("PublishPointers", "ssm", "PutParameter", 1),
        ("PublishPointers", "ssm", "PutParameter", 5),
        ("KeepPrevious", "ssm", "PutParameter", 1),
        ("UpdateTemplates", "ec2", "CreateLaunchTemplateVersion", 1),
        ("ReleaseImages", "ec2", "ModifySnapshotAttribute", 1),
    ],
    ids=lambda value: str(value),
)
def test_a_publish_call_that_fails_half_way_moves_everything_back(
    world: World, task: str, service: str, operation: str, skip: int
) -> None:
    assert world.bake("wide", force=True, seconds=120).status == "SUCCEEDED"
    before = published(world, "wide")
    world.aws.faults.error(
        service, operation, code="AccessDeniedException", skip=skip, times=99, role=task
    )
    ended = world.bake("wide", force=True, seconds=120)
    assert (ended.status, ended.error) == ("FAILED", "AccessDeniedError"), ended.cause
    nothing_has_changed(world, before, ended.name)


@pytest.fixture
def baked_twice(world: World) -> list[dict[str, str | None]]:
    """The images of two bakes, by Region."""
    found = []
    for _ in range(2):
        assert world.bake("wide", force=True, seconds=120).status == "SUCCEEDED"
        found.append({region: world.pointer("wide", region) for region in REGIONS})
    return found


def begin_rollback(world: World, recipe: str = "wide") -> str:
    answer = world.aws.client("stepfunctions").start_execution(
        stateMachineArn=world.outputs["MoveStateMachineArn"],
        name=f"move-{uuid.uuid4().hex[:8]}",
        input=json.dumps({"recipe": recipe}),
    )
    return str(answer["executionArn"])


def rollback(world: World, recipe: str = "wide") -> Ended:
    return world.ended(begin_rollback(world, recipe))


@pytest.mark.parametrize("killed", ["", "before", "after"])
def test_a_rollback_takes_the_launch_templates_along(
    world: World, baked_twice: list[dict[str, str | None]], killed: str
) -> None:
    older, _ = baked_twice
    counts = {id_: len(versions(world, id_)) for id_ in TEMPLATES}
    if killed:
        world.aws.faults.crash(MOVER, "CreateLaunchTemplateVersion", after=killed == "after")
    ended = rollback(world)
    assert ended.status == "SUCCEEDED", ended.cause
    for template, region in TEMPLATES.items():
        newest, *others = versions(world, template)
        assert newest[1:] == (True, older[region])
        assert len(others) == counts[template]
        assert ended.output["launch_templates"][template] == newest[0]
        assert world.pointer("wide", region) == older[region]


@pytest.mark.parametrize(
    ("operation", "skip"),
    [
        ("CreateLaunchTemplateVersion", 0),
        ("CreateLaunchTemplateVersion", 1),
        ("ModifyLaunchTemplate", 1),
    ],
)
@pytest.mark.usefixtures("baked_twice")
def test_a_rollback_that_fails_at_a_launch_template_changes_nothing(
    world: World, operation: str, skip: int
) -> None:
    before = published(world, "wide")
    world.aws.faults.error("ec2", operation, code="UnauthorizedOperation", status=403, skip=skip)
    ended = rollback(world)
    assert (ended.status, ended.error) == ("FAILED", "AccessDeniedError")
    assert ended.cause.endswith("Everything is as before.")
    assert published(world, "wide") == before


@pytest.mark.usefixtures("baked_twice")
def test_a_launch_template_version_that_cannot_be_removed_is_named(world: World) -> None:
    world.aws.faults.error(
        "ec2", "ModifyLaunchTemplate", code="UnauthorizedOperation", status=403, role=MOVER
    )
    world.aws.faults.error(
        "ec2", "DeleteLaunchTemplateVersions", code="AuthFailure", status=403, role=MOVER, times=99
    )
    ended = rollback(world)
    assert ended.error == "AccessDeniedError"
    template = next(iter(TEMPLATES))
    assert f"the new version of launch template {template} in {HOME}" in ended.cause


def test_ec2_that_falls_silent_in_one_region_keeps_nothing_else_from_going_back(
    world: World, baked_twice: list[dict[str, str | None]]
) -> None:
    """Parameter Store of the same Region answers still."""
    home, away = TEMPLATES
    before = versions(world, home)
    refused = world.aws.faults.error(
        "ssm",
        "PutParameter",
        code="AccessDeniedException",
        when=lambda asked: asked["Name"] == previous_pointer("wide"),
        role=MOVER,
    )
    world.aws.faults.error(
        "ec2",
        "*",
        code="InternalError",
        status=503,
        times=float("inf"),
        when=lambda _: refused.matched > 0,
        role=MOVER,
        region=TEMPLATES[away],
    )
    ended = rollback(world)
    assert {it: world.pointer("wide", it) for it in REGIONS} == baked_twice[1]
    assert versions(world, home) == before
    assert ended.error == "AccessDeniedError"
    left = ended.cause.partition("NOT as before, put it back by hand: ")[2]
    assert left.startswith(f"the new version of launch template {away} in {TEMPLATES[away]} (")
    assert ";" not in left


def test_a_launch_template_that_another_has_changed_since_is_left_alone(
    world: World, baked_twice: list[dict[str, str | None]]
) -> None:
    """The rollback was stopped when it had put everything, and is redriven later."""
    changed, other = TEMPLATES
    ec2, before = world.aws.client("ec2", TEMPLATES[changed]), versions(world, other)
    arn = cut_short(world, lambda: begin_rollback(world), "PutItem", skip=5)
    made = ec2.create_launch_template_version(
        LaunchTemplateId=changed,
        SourceVersion="$Latest",
        LaunchTemplateData={"InstanceType": "t3.small"},
    )["LaunchTemplateVersion"]["VersionNumber"]
    ec2.modify_launch_template(LaunchTemplateId=changed, DefaultVersion=str(made))
    since = versions(world, changed)
    redriven(world, arn)
    ended = world.ended(arn)
    assert versions(world, changed) == since
    assert versions(world, other) == before
    assert {it: world.pointer("wide", it) for it in REGIONS} == baked_twice[1]
    assert ended.error == "CannotMovePointerError"
    alone = ended.cause.partition("Left alone, another has moved it since: ")[2]
    assert alone == f"the default of launch template {changed} in {HOME} is version {made}"


def test_a_version_that_is_no_default_goes_whatever_its_owner_makes_the_default(
    world: World,
) -> None:
    """Groups on $Latest would launch it, though every pointer is back."""
    for _ in range(2):
        assert world.bake("anywhere", force=True, seconds=120).status == "SUCCEEDED"
    before = versions(world, OWN_DEFAULT)
    ec2 = world.aws.client("ec2")
    world.aws.faults.after(
        "ec2",
        "CreateLaunchTemplateVersion",
        lambda: ec2.modify_launch_template(
            LaunchTemplateId=OWN_DEFAULT, DefaultVersion=str(before[0][0])
        ),
    )
    world.aws.faults.error(
        "ssm",
        "PutParameter",
        code="AccessDeniedException",
        when=lambda asked: asked["Name"] == previous_pointer("anywhere"),
        role=MOVER,
    )
    ended = rollback(world, "anywhere")
    assert ended.error == "AccessDeniedError"
    assert ended.cause.endswith("Everything is as before.")
    newest, *older = before
    assert versions(world, OWN_DEFAULT) == [
        (newest[0], True, newest[2]),
        *((number, False, image) for number, _, image in older),
    ]


@pytest.mark.failure(37)
def test_where_any_region_will_do_one_that_fails_is_left_out_and_said(world: World) -> None:
    assert world.bake("anywhere", force=True, seconds=120).status == "SUCCEEDED"
    old = {region: world.pointer("anywhere", region) for region in REGIONS}
    world.aws.ec2.next_copy_fails("us-east-1")
    ended = world.bake("anywhere", force=True, seconds=120)
    assert ended.status == "SUCCEEDED", ended.cause
    assert set(ended.output["copies"]) == {"eu-central-1"}
    assert "the snapshot was not copied" in ended.output["left_out"]["us-east-1"]
    assert world.pointer("anywhere", "us-east-1") == old["us-east-1"]
    for region in (HOME, "eu-central-1"):
        assert world.pointer("anywhere", region) not in (None, old[region])
        assert world.previous("anywhere", region) == old[region]
    assert world.left_behind(ended.name) == []


def test_where_any_region_will_do_one_that_does_not_answer_is_left_out(world: World) -> None:
    assert world.bake("anywhere", force=True, seconds=120).status == "SUCCEEDED"
    old = world.pointer("anywhere", "us-east-1")
    world.aws.faults.error(
        "ec2",
        "*",
        code="InternalError",
        status=503,
        times=float("inf"),
        role="CopyImage",
        region="us-east-1",
    )
    ended = world.bake("anywhere", force=True, seconds=120)
    assert ended.status == "SUCCEEDED", ended.cause
    assert set(ended.output["copies"]) == {"eu-central-1"}
    assert "InternalError" in ended.output["left_out"]["us-east-1"]
    assert world.pointer("anywhere", "us-east-1") == old
    assert world.left_behind(ended.name) == []


def test_a_copy_in_a_region_that_falls_silent_goes_by_the_janitor(world: World) -> None:
    """The answer is lost, nobody sees the copy again, and the bake succeeds without it."""
    world.aws.faults.lost_answer("ec2", "CopyImage", times=99, role="CopyImage")
    for role, seen in (("CopyImage", 1), ("CleanUp", 0)):
        world.aws.faults.error(
            "ec2",
            "Describe*",
            code="InternalError",
            status=503,
            times=float("inf"),
            skip=seen,
            role=role,
            region="us-east-1",
        )
    ended = world.bake("anywhere", force=True, seconds=120)
    assert ended.status == "SUCCEEDED", ended.cause
    results = {ended.output["image"]["id"], *ended.output["copies"].values()}
    assert set(ended.output["copies"]) == {"eu-central-1"}
    (copy,) = world.tagged("image", ended.name, "us-east-1")
    world.aws.faults.clear()
    world.invoke("remove_orphans", {})
    assert copy["ImageId"] in world.left_behind(ended.name)

    world.aws.clock.advance(minutes=16)
    world.invoke("remove_orphans", {})
    # Its own schedule may have come first, and be at it still.
    world.aws.until(lambda: world.left_behind(ended.name) == [], what="the end of the copy")
    left = [it for region in REGIONS for it in world.tagged("image", ended.name, region)]
    assert {it["ImageId"] for it in left} == results
