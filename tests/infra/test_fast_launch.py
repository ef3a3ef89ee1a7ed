"""Windows fast launch: RetireImages may do it with the images of bakes and by the launch templates
that recipes name, and nobody may do more."""

import json
from typing import Any

import pytest

from scripts.local.iam import ACCOUNT
from tests.infra.conftest import RECIPES, Synthesize, Synthesized, listed, statements
from tests.infra.simulated import AWAY, Account, Simulation

OURS, OTHERS = "lt-0123456789abcdef1", "lt-0123456789abcdef2"
SWIFT = {
    "swift": f"""
description: Windows with fast launch away from home
base: {{ami: ami-0123456789abcdef0}}
windows: {{}}
distribute:
  - region: {AWAY}
    fast_launch: {{launch_template: {OURS}, version: 1}}
retention: {{keep: 5}}
""",
}
PLAIN = {
    "plain": """
description: Windows without it
base: {ami: ami-0123456789abcdef0}
windows: {}
"""
}
ROLE, RUN = "TasksRetireImagesRole", "ec2:RunInstances"
SERVICE = "ec2fastlaunch.amazonaws.com"
ITS_ROLE = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{SERVICE}/AWSServiceRoleForEC2FastLaunch"


@pytest.fixture(scope="module")
def stack(synthesize: Synthesize) -> Synthesized:
    return synthesize({**RECIPES, **SWIFT})


@pytest.fixture(scope="module")
def simulation(stack: Synthesized) -> Simulation:
    return Simulation(Account(stack))


def asked(image: str, template: str) -> dict[str, Any]:
    return {"ImageId": image, "LaunchTemplate": {"LaunchTemplateId": template, "Version": "1"}}


def by_template(kind: str, template: str, region: str = AWAY) -> dict[str, Any]:
    """A resource of a launch, as EC2 asks for it when fast launch is enabled."""
    owner = "" if kind.startswith(("image", "snapshot")) else ACCOUNT
    return {
        "Resource": f"arn:aws:ec2:{region}:{owner}:{kind}",
        "Keys": {
            "ec2:LaunchTemplate": f"arn:aws:ec2:{region}:{ACCOUNT}:launch-template/{template}"
        },
    }


KINDS = ("instance/*", "volume/*", "network-interface/*", "subnet/subnet-1", "security-group/sg-1")


@pytest.mark.parametrize(
    ("call", "parameters"),
    [
        ("ec2:DescribeFastLaunchImages", {}),
        ("ec2:EnableFastLaunch", asked("ami-ours", OURS)),
        ("ec2:DisableFastLaunch", {"ImageId": "ami-ours"}),
        *((RUN, by_template(kind, OURS)) for kind in (*KINDS, "image/ami-ours", "snapshot/snap-1")),
        (RUN, by_template(f"launch-template/{OURS}", OURS)),
        (
            "iam:CreateServiceLinkedRole",
            {"Resource": ITS_ROLE, "Keys": {"iam:AWSServiceName": SERVICE}},
        ),
    ],
)
def test_retirement_may_do_it(
    simulation: Simulation, call: str, parameters: dict[str, Any]
) -> None:
    assert simulation.verdict(ROLE, call, parameters, region=AWAY) == "allowed"


@pytest.mark.parametrize(
    ("call", "parameters"),
    [
        ("ec2:EnableFastLaunch", asked("ami-theirs", OURS)),
        ("ec2:EnableFastLaunch", asked("ami-public", OURS)),
        ("ec2:EnableFastLaunch", asked("ami-ours", OTHERS)),
        ("ec2:DisableFastLaunch", {"ImageId": "ami-theirs"}),
        *((RUN, by_template(kind, OTHERS)) for kind in KINDS),
        *((RUN, {**by_template(kind, OURS), "Keys": {}}) for kind in (*KINDS, "image/ami-ours")),
        (RUN, by_template("image/ami-theirs", OURS)),
        (RUN, by_template(f"launch-template/{OTHERS}", OTHERS)),
        ("ec2:CreateLaunchTemplateVersion", {"LaunchTemplateId": OURS}),
        ("ec2:CreateVpc", {}),
        ("cloudformation:CreateStack", {}),
        (
            "iam:PassRole",
            {
                "Resource": f"arn:aws:iam::{ACCOUNT}:role/Administrator",
                "Keys": {"iam:PassedToService": "ec2.amazonaws.com"},
            },
        ),
        (
            "iam:CreateServiceLinkedRole",
            {"Resource": ITS_ROLE, "Keys": {"iam:AWSServiceName": "spot.amazonaws.com"}},
        ),
    ],
)
def test_retirement_may_do_no_more(
    simulation: Simulation, call: str, parameters: dict[str, Any]
) -> None:
    assert simulation.verdict(ROLE, call, parameters, region=AWAY) != "allowed"


def fast_launchers(stack: Synthesized) -> dict[str, set[str]]:
    return {
        action: {
            id_.partition("Role")[0]
            for id_, s in statements(stack)
            if action in listed(s["Action"])
        }
        for action in ("ec2:EnableFastLaunch", "ec2:DisableFastLaunch")
    }


def test_no_other_function_may(stack: Synthesized) -> None:
    assert set().union(*fast_launchers(stack).values()) == {"TasksRetireImages"}


def test_where_no_recipe_asks_for_it_it_may_only_be_ended(synthesize: Synthesize) -> None:
    """A recipe may have asked before."""
    stack = synthesize({**RECIPES, **PLAIN})
    assert fast_launchers(stack) == {
        "ec2:EnableFastLaunch": set(),
        "ec2:DisableFastLaunch": {"TasksRetireImages"},
    }
    launchers = {id_ for id_, s in statements(stack) if RUN in listed(s["Action"])}
    assert not [id_ for id_ in launchers if "Retire" in id_]


def test_without_windows_there_is_nothing_of_it(synthesize: Synthesize) -> None:
    text = json.dumps(synthesize(RECIPES).template)
    assert "FastLaunch" not in text and "ec2fastlaunch" not in text


def test_nobody_may_read_the_password_of_an_instance(stack: Synthesized) -> None:
    """A test instance has no key pair either, so EC2 has none to show."""
    actions = {action for _, s in statements(stack) for action in listed(s["Action"])}
    assert "ec2:GetPasswordData" not in actions
    assert not {it for it in actions if it in ("*", "ec2:*", "ec2:Get*")}
