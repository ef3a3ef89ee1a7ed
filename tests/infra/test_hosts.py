"""What a deployment with a recipe of a running host has more, and what none without has."""

from typing import Any

import pytest

from bakery.naming import TAG_BAKE, TAG_CLONE_OF
from infra.settings import ContextError
from tests.infra.conftest import Synthesize, Synthesized, listed, statements
from tests.infra.simulated import OURS, Account, Simulation
from tests.infra.test_simulated_requests import (
    ALL_TAGS,
    ALLOWED,
    interface,
    launch,
    replaced,
    tagged,
)
from tests.organization import BOUNDARY, GUARDS

HOST = "i-0123456789abcdef0"
NETWORK = {"vpc_id": "vpc-0123456789abcdef0", "subnet_ids": "subnet-0123456789abcdef0"}
ENDPOINTS = "sg-0123456789abcdef0"
CONTEXT = {**NETWORK, "clone_egress": ENDPOINTS}
RECIPES = {
    "host": f"""
description: a clean image of a host
base: {{instance: {HOST}}}
"""
}
CLONED = [*ALL_TAGS, {"Key": TAG_CLONE_OF, "Value": HOST}]

CLONER, LAUNCHER, TESTER = "TasksCloneHostRole", "TasksLaunchBuilderRole", "TasksLaunchTestRole"


@pytest.fixture(scope="module")
def hosts(synthesize: Synthesize) -> Synthesized:
    return synthesize(RECIPES, CONTEXT)


@pytest.fixture(scope="module", params=["alone", "enterprise"])
def simulation(hosts: Synthesized, request: pytest.FixtureRequest) -> Simulation:
    if request.param == "enterprise":
        return Simulation(Account(hosts), boundary=BOUNDARY, guards=GUARDS)
    return Simulation(Account(hosts))


def image(instance: str = HOST, tags: list[dict[str, str]] = CLONED) -> dict[str, Any]:
    both = tagged("image", "snapshot", tags=tags)
    return {"InstanceId": instance, "Name": "x", "NoReboot": True, "TagSpecifications": both}


def in_group(group: str) -> list[dict[str, Any]]:
    return [interface(Groups=[group], AssociatePublicIpAddress=False)]


ISOLATED = in_group("<BuilderHostIsolatedGroupvpc0123456789abcdef0>")


@pytest.mark.parametrize(
    ("role", "what", "call", "parameters", "verdict"),
    [
        (CLONER, "image the host", "ec2:CreateImage", image(), ALLOWED),
        (
            CLONER,
            "image, and so perhaps restart, another instance",
            "ec2:CreateImage",
            image("i-theirs"),
            "ec2:CreateImage on instance/i-theirs",
        ),
        (
            CLONER,
            "make an image that the janitor could not find",
            "ec2:CreateImage",
            image(tags=[]),
            "ec2:CreateImage on image/*",
        ),
        (
            CLONER,
            "make one that could be taken for a result",
            "ec2:CreateImage",
            image(tags=OURS),
            "ec2:CreateImage on image/*",
        ),
        *(
            (
                CLONER,
                f"{action} the host",
                f"ec2:{action}",
                {"InstanceIds": [HOST], "Resources": [HOST], "Tags": OURS},
                f"ec2:{action} on instance/{HOST}",
            )
            for action in ("StopInstances", "TerminateInstances", "RebootInstances", "CreateTags")
        ),
        (
            CLONER,
            "run something on the host",
            "ssm:SendCommand",
            {"DocumentName": "AmiBakery-prepare-linux", "InstanceIds": [HOST]},
            "ssm:SendCommand on document/AmiBakery-prepare-linux",
        ),
        (
            "TasksPrepareRole",
            "run a document of ours on the host",
            "ssm:SendCommand",
            {"DocumentName": "AmiBakery-prepare-linux", "InstanceIds": [HOST]},
            f"ssm:SendCommand on instance/{HOST}",
        ),
        (
            "TasksCreateImageRole",
            "image the host as a result",
            "ec2:CreateImage",
            image(),
            f"ec2:CreateImage on instance/{HOST}",
        ),
        (
            LAUNCHER,
            "launch a clone in its network",
            "ec2:RunInstances",
            launch(NetworkInterfaces=ISOLATED),
            ALLOWED,
        ),
        (
            TESTER,
            "test its image in the same",
            "ec2:RunInstances",
            launch("Test", ImageId="ami-ours", NetworkInterfaces=ISOLATED),
            ALLOWED,
        ),
        (
            LAUNCHER,
            "launch a clone among the originals",
            "ec2:RunInstances",
            launch(NetworkInterfaces=in_group("sg-payroll")),
            "ec2:RunInstances on security-group/sg-payroll",
        ),
    ],
)
def test_requests(
    simulation: Simulation, role: str, what: str, call: str, parameters: Any, verdict: str
) -> None:
    asked = replaced(simulation.account, parameters)
    found = simulation.verdict(role, call, asked)
    # Under a boundary another right may be the first that is missing.
    wanted = verdict if simulation.boundary is None or verdict == ALLOWED else ""
    assert (found == ALLOWED) == (verdict == ALLOWED), (what, found)
    assert found.startswith(wanted), what


@pytest.mark.parametrize("stem", ["convert-instance-store", "bundle-instance-store"])
def test_no_role_may_send_what_copies_a_host(hosts: Synthesized, stem: str) -> None:
    account, document = Account(hosts), f"AmiBakery-{stem}"
    assert document in {
        it["Properties"]["Name"] for it in hosts.of_type("AWS::SSM::Document").values()
    }
    asked = {"DocumentName": document, "InstanceIds": [HOST]}
    roles = [
        name
        for name, id_ in account.names.items()
        if hosts.template["Resources"][id_]["Type"] == "AWS::IAM::Role"
    ]
    assert {CLONER, "TasksPrepareRole", "BuilderHostBuilderRole"} <= {*roles}
    simulation = Simulation(account)
    refused = f"ssm:SendCommand on document/{document}"
    verdicts = {it: simulation.verdict(it, "ssm:SendCommand", asked) for it in roles}
    assert {it for it, found in verdicts.items() if not found.startswith(refused)} == set()


def test_the_rights_on_hosts_name_each_by_its_id(hosts: Synthesized) -> None:
    unmarked = [
        statement
        for _, statement in statements(hosts, "clone_host")
        if statement["Action"] == "ec2:CreateImage" and "Condition" not in statement
    ]
    (statement,) = unmarked
    (resource,) = listed(statement["Resource"])
    assert str(resource).count(f"instance/{HOST}") == 1


def test_a_deployment_without_such_a_recipe_may_image_no_host(stack: Synthesized) -> None:
    allowed = [it["Action"] for _, it in statements(stack, "clone_host")]
    assert "ec2:CreateImage" not in str(allowed)
    looks = [action for _, it in statements(stack, "plan") for action in listed(it["Action"])]
    assert not {"ec2:DescribeInstances", "ec2:DescribeVolumes"} & set(looks)


def test_clones_reach_only_what_the_context_says(hosts: Synthesized) -> None:
    groups = hosts.of_type("AWS::EC2::SecurityGroup").values()
    (clones,) = [
        it["Properties"] for it in groups if "clones" in it["Properties"]["GroupDescription"]
    ]
    assert clones["SecurityGroupEgress"] == [
        {
            "IpProtocol": "tcp",
            "FromPort": 443,
            "ToPort": 443,
            "DestinationSecurityGroupId": ENDPOINTS,
        }
    ]
    assert "SecurityGroupIngress" not in clones
    assert clones["VpcId"] == NETWORK["vpc_id"]


def test_without_the_context_there_is_no_network_for_clones(synthesize: Synthesize) -> None:
    stack = synthesize(RECIPES, NETWORK)
    assert len(stack.of_type("AWS::EC2::SecurityGroup")) == 1
    plan = next(
        it["Properties"]["Environment"]["Variables"]
        for it in stack.of_type("AWS::Lambda::Function").values()
        if it["Properties"]["Handler"] == "bakery.tasks.plan.handler"
    )
    assert plan["ISOLATED"] == "false"  # and Plan refuses the recipe


@pytest.mark.parametrize(
    ("context", "named"),
    [
        ({"clone_egress": ENDPOINTS}, "clone_egress needs endpoints .* name it in vpc_id"),
        ({**NETWORK, "clone_egress": "0.0.0.0/0"}, r"clone_egress\[0\]: .* 0.0.0.0/0 is not priv"),
        (
            {**NETWORK, "clone_egress": "10.0.0.0/24,52.0.0.0/8"},
            r"clone_egress\[1\]: .* not private",
        ),
        ({**NETWORK, "clone_egress": "::/0"}, r"clone_egress\[0\]: .* ::/0 is not private"),
        ({**NETWORK, "clone_egress": "10.0.0.0/8"}, r"clone_egress\[0\]: .* more than a subnet"),
        ({**NETWORK, "clone_egress": "fd00::/8"}, r"clone_egress\[0\]: .* \(/64 at most\)"),
        ({**NETWORK, "clone_egress": "pl-6da54004"}, r"clone_egress\[0\]: .* as that of S3 does"),
    ],
)
def test_a_network_that_is_none_for_clones_is_refused(
    synthesize: Synthesize, context: dict[str, Any], named: str
) -> None:
    with pytest.raises(ContextError, match=named):
        synthesize(RECIPES, context)


def test_the_mark_of_a_clone_is_beside_that_of_its_bake(hosts: Synthesized) -> None:
    """Else the janitor would not find it, or what removes clones would not be allowed to."""
    (condition,) = [
        statement["Condition"]["StringLike"]
        for _, statement in statements(hosts, "clone_host")
        if statement["Action"] == "ec2:CreateImage" and "Condition" in statement
    ]
    assert set(condition) == {f"aws:RequestTag/{it}" for it in (TAG_BAKE, TAG_CLONE_OF)}
