"""A whole bake where an organization asks for a boundary and a path of every role, a key and tags.

Its boundary is the narrow one of `tests/organization.py`, and its service control policies demand
tags, IMDSv2 and encryption in the request.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bakery.naming import TAG_BAKE
from scripts.bakery_cli.synthesis import synthesize
from scripts.local import LocalAws
from tests.functional.conftest import RECIPES, Ended, World, prepare
from tests.organization import BOUNDARY, GUARDS, TAGS, tags_demanded

PATH = "/team/bakery/"
REGIONS = ("eu-west-1", "eu-central-1", "us-east-1")


@pytest.fixture(scope="module")
def deployed() -> Iterator[World]:
    key = "arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"
    choices = {
        "permissions_boundary": "team/boundary",
        "role_path": PATH,
        "data_key": key,
        "tags": TAGS,
    }
    folder = synthesize(RECIPES, lambda _: None, choices=choices)
    with LocalAws.start(folder, region="eu-west-1", scale=120.0) as aws:
        prepare(aws)
        aws.client("iam").create_policy(
            PolicyName="boundary", Path="/team/", PolicyDocument=json.dumps(BOUNDARY)
        )
        yield World(aws, aws.deploy())


@pytest.fixture(autouse=True)
def guarded(deployed: World) -> Iterator[None]:
    deployed.aws.service_control_policies = GUARDS
    yield
    deployed.aws.service_control_policies = ()


def asked(world: World) -> list[tuple[str, dict[str, str]]]:
    """Operation and kind, and the tags, of everything that was asked for in EC2."""
    return [
        (
            f"{call.operation} {specification['ResourceType']}",
            {tag["Key"]: tag["Value"] for tag in specification["Tags"]},
        )
        for call in world.aws.calls.of("ec2")
        for specification in call.parameters.get("TagSpecifications", [])
    ]


def tags_of(record: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in record["Tags"]}


def test_a_bake_passes_its_instances_roles_of_the_path_and_publishes(world: World) -> None:
    iam = world.aws.client("iam")
    names = [role["RoleName"] for role in iam.list_roles()["Roles"]]
    for role in (iam.get_role(RoleName=name)["Role"] for name in names):
        assert role["Path"] == PATH
        assert role["PermissionsBoundary"]["PermissionsBoundaryArn"].endswith(
            ":policy/team/boundary"
        )
    ended = world.bake("archive")  # its builder has a profile of its own
    assert ended.status == "SUCCEEDED", ended.cause
    assert world.pointer("archive") == ended.output["image"]["id"]
    for launch in world.calls("RunInstances"):
        assert f":instance-profile{PATH}" in launch["IamInstanceProfile"]["Arn"]


def test_the_stack_itself_has_them(world: World) -> None:
    (stack,) = world.aws.client("cloudformation").describe_stacks(StackName="AmiBakery")["Stacks"]
    assert tags_of(stack) == TAGS


@pytest.mark.long
def test_all_that_a_bake_makes_in_any_region_has_the_organizations_tags(world: World) -> None:
    ended = world.bake("wide", seconds=120)
    assert ended.status == "SUCCEEDED", ended.cause
    made = dict(asked(world))
    kinds = ("instance", "volume", "network-interface")
    assert made.keys() == {
        *(f"RunInstances {kind}" for kind in kinds),
        *(
            f"{call} {kind}"
            for call in ("CreateImage", "CopyImage")
            for kind in ("image", "snapshot")
        ),
    }
    for what, tags in asked(world):
        assert tags.items() >= TAGS.items(), what
        assert tags[TAG_BAKE] == ended.name, what
    for region in REGIONS:
        for kind in ("images", "snapshots"):
            (record,) = [
                it
                for it in world.aws.ec2.all(kind, region)
                if {"Key": TAG_BAKE, "Value": ended.name} in it.get("Tags", [])
            ]
            assert tags_of(record).items() >= TAGS.items(), (region, kind)


def test_a_builder_of_the_spot_market_is_asked_for_with_them(world: World) -> None:
    ended = world.bake("thrifty")
    assert ended.status == "SUCCEEDED", ended.cause
    (tags,) = [it for what, it in asked(world) if what == "RunInstances spot-instances-request"]
    assert tags.items() >= TAGS.items()


def nothing_of(world: World, ended: Ended, held: dict[str, str | None]) -> None:
    """No pointer has moved, and one period of the janitor later nothing is left: a test instance
    whose launch was under way when a copy was refused comes after CleanUp has looked."""
    world.aws.until(lambda: world.aws.lambdas.idle, what="the end of all functions")
    world.aws.clock.advance(minutes=16)
    world.invoke("remove_orphans", {})
    assert {region: world.pointer("wide", region) for region in REGIONS} == held
    assert world.left_behind(ended.name) == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ("RunInstances", "AccessDeniedError"),
        ("CreateImage", "AccessDeniedError"),
        ("CopyImage", "CopyFailedError"),  # says in which Region
    ],
)
def test_without_a_tag_that_is_demanded_it_fails_by_name_and_is_cleaned_up(
    world: World, operation: str, error: str
) -> None:
    held = {region: world.pointer("wide", region) for region in REGIONS}
    whole = tags_demanded("DataClass")
    of_one = [it for it in whole["Statement"] if it["Action"] == f"ec2:{operation}"]
    world.aws.service_control_policies = (*GUARDS, {**whole, "Statement": of_one})
    ended = world.bake("wide", seconds=120, force=True)
    assert (ended.status, ended.error) == ("FAILED", error), ended.cause
    assert f"not authorized to perform: ec2:{operation}" in ended.cause
    assert "explicit deny in a service control policy" in ended.cause
    nothing_of(world, ended, held)


def test_what_the_boundary_leaves_out_fails_the_bake_by_name_and_is_cleaned_up(
    world: World,
) -> None:
    iam = world.aws.client("iam")
    (boundary,) = [
        policy["Arn"]
        for policy in iam.list_policies(Scope="Local")["Policies"]
        if policy["PolicyName"] == "boundary"
    ]
    less = {"Effect": "Deny", "Action": "ec2:CreateImage", "Resource": "*"}
    iam.create_policy_version(
        PolicyArn=boundary,
        PolicyDocument=json.dumps({**BOUNDARY, "Statement": [*BOUNDARY["Statement"], less]}),
        SetAsDefault=True,
    )
    ended = world.bake("small", force=True)
    assert ended.status == "FAILED"
    assert "ec2:CreateImage" in ended.cause
