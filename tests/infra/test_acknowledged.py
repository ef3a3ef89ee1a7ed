"""No finding of cdk-nag without a reason, and no reason without a finding."""

import re
from collections.abc import Iterable
from typing import NamedTuple

import pytest
from aws_cdk import App, CfnParameter, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from aws_cdk.assertions import Template
from cdk_nag import AwsSolutionsChecks, ServerlessChecks

from infra.acknowledged import ACKNOWLEDGED, Acknowledged
from infra.asset import PROJECT
from infra.loading import load_recipes
from infra.synthesize import stack
from tests.infra.conftest import RECIPES, parsed
from tests.infra.test_fast_launch import SWIFT
from tests.infra.test_hosts import CONTEXT
from tests.infra.test_hosts import RECIPES as HOSTS
from tests.infra.test_secrets import RECIPES as VAULTS

EVERY_CHOICE = {
    "vpc_id": "vpc-0123456789abcdef0",
    "subnet_ids": "subnet-0123456789abcdef0",
    "kms_key": "alias/images",
    "notification_email": "images@example.com",
    "permissions_boundary": "team/boundary",
    "role_path": "/team/",
    "data_key": "arn:aws:kms:eu-west-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef",
}


class Finding(NamedTuple):
    rule: str
    path: str
    text: str


def findings(of: Stack) -> list[Finding]:
    """What both packs find in a stack after its synthesis; fails where a rule cannot decide."""
    Template.from_stack(of)
    found = [
        Finding(
            violation.rule_name,
            str(resource.construct_path).partition("/")[2],
            violation.description,
        )
        for pack in (AwsSolutionsChecks(verbose=True), ServerlessChecks(verbose=True))
        for violation in pack.validate_scope(of).violations
        for resource in violation.violating_resources
    ]
    threw = [finding for finding in found if finding.text.startswith("Rule threw an error")]
    if threw:
        raise AssertionError(f"cannot decide: {threw}")
    return found


def is_of(finding: Finding, one: Acknowledged) -> bool:
    return bool(re.fullmatch(one.rule, finding.rule) and re.fullmatch(one.where, finding.path))


def open_findings(
    found: Iterable[Finding], acknowledged: Iterable[Acknowledged] = ACKNOWLEDGED
) -> list[tuple[str, str]]:
    acknowledged = list(acknowledged)
    return [(it.rule, it.path) for it in found if not any(is_of(it, one) for one in acknowledged)]


@pytest.fixture(scope="module")
def found() -> list[Finding]:
    return findings(stack(parsed()))


def test_every_finding_is_acknowledged(found: list[Finding]) -> None:
    assert open_findings(found) == []


def test_no_choice_of_the_context_and_no_recipe_that_we_ship_adds_a_finding() -> None:
    shipped = load_recipes(PROJECT / "recipes")
    assert open_findings(findings(stack(shipped, EVERY_CHOICE))) == []


def test_no_recipe_with_secrets_fast_launch_or_a_host_adds_a_finding() -> None:
    """Rights that only such recipes need are in no other stack."""
    recipes = parsed({**RECIPES, **VAULTS, **SWIFT, **HOSTS})
    assert open_findings(findings(stack(recipes, CONTEXT))) == []


@pytest.mark.parametrize("one", ACKNOWLEDGED, ids=lambda one: one.reason[:30])
def test_every_acknowledgement_is_needed(found: list[Finding], one: Acknowledged) -> None:
    others = [it for it in ACKNOWLEDGED if it is not one]
    assert open_findings(found, others), f"nothing needs it any more: {one.rule}"


def test_acknowledgements_are_few_and_say_why() -> None:
    assert len(ACKNOWLEDGED) <= 12
    assert len({one.reason for one in ACKNOWLEDGED}) == len(ACKNOWLEDGED)
    for one in ACKNOWLEDGED:
        assert one.reason.endswith("."), one.rule
        assert len(one.reason.split()) >= 8, one.rule


def test_an_open_topic_with_a_queue_of_nobodys_is_found_by_both_packs() -> None:
    other = Stack(App(), "Other")
    sns.CfnTopic(other, "Topic")
    sqs.CfnQueue(other, "Queue")
    rules = {rule for rule, _ in open_findings(findings(other))}
    assert {"AwsSolutions-SNS3", "AwsSolutions-SQS3", "Serverless-SQSRedrivePolicy"} <= rules


def test_a_rule_that_cannot_decide_is_a_failure() -> None:
    other = Stack(App(), "Other")
    range_ = CfnParameter(other, "Range").value_as_string
    ec2.CfnSecurityGroup(
        other,
        "Group",
        group_description="open to a range that is given later",
        security_group_ingress=[
            ec2.CfnSecurityGroup.IngressProperty(ip_protocol="-1", cidr_ip=range_)
        ],
    )
    with pytest.raises(AssertionError, match="cannot decide"):
        findings(other)
