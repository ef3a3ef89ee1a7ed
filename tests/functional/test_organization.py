"""A whole bake where an organization asks for a boundary and a path of every role, and a key."""

import json
from collections.abc import Iterator

import pytest

from scripts.bakery_cli.synthesis import synthesize
from scripts.local import LocalAws
from tests.functional.conftest import RECIPES, World, prepare

PATH = "/team/bakery/"
ALL = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}


@pytest.fixture(scope="module")
def deployed() -> Iterator[World]:
    key = "arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"
    choices = {"permissions_boundary": "team/boundary", "role_path": PATH, "data_key": key}
    folder = synthesize(RECIPES, lambda _: None, choices=choices)
    with LocalAws.start(folder, region="eu-west-1", scale=120.0) as aws:
        prepare(aws)
        aws.client("iam").create_policy(
            PolicyName="boundary", Path="/team/", PolicyDocument=json.dumps(ALL)
        )
        yield World(aws, aws.deploy())


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
        PolicyDocument=json.dumps({**ALL, "Statement": [ALL["Statement"], less]}),
        SetAsDefault=True,
    )
    ended = world.bake("small", force=True)
    assert ended.status == "FAILED"
    assert "ec2:CreateImage" in ended.cause
