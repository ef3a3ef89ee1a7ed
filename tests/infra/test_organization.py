"""Boundary, path and tags on every role, a key for all data, where an organization asks for it."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.synthesize import stack as stack_of
from tests.infra.conftest import (
    RECIPES,
    Synthesize,
    Synthesized,
    flat,
    listed,
    parsed,
    statements,
)
from tests.infra.simulated import Account, short
from tests.infra.test_fast_launch import SWIFT
from tests.infra.test_hosts import CONTEXT
from tests.infra.test_hosts import RECIPES as HOSTS
from tests.infra.test_secrets import RECIPES as VAULTS
from tests.organization import BOUNDARY as BOUNDARY_OF_TESTS
from tests.organization import NEEDED_WITH_A_DATA_KEY, TAGS

BOUNDARY = "arn:aws:iam::111122223333:policy/team/boundary"
PATH = "/team/bakery/"
KEY = "arn:aws:kms:eu-west-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef"
TAGGED_KINDS = (
    *("DynamoDB::Table", "EC2::SecurityGroup", "IAM::Role", "Lambda::Function", "Logs::LogGroup"),
    *("S3::Bucket", "SNS::Topic", "SQS::Queue", "SSM::Document", "StepFunctions::StateMachine"),
)


@pytest.fixture(scope="module")
def bounded(synthesize: Synthesize) -> Synthesized:
    return synthesize(context={"permissions_boundary": BOUNDARY, "role_path": PATH})


def roles(stack: Synthesized) -> dict[str, dict[str, Any]]:
    return {id_: it["Properties"] for id_, it in stack.of_type("AWS::IAM::Role").items()}


def test_every_role_has_both_when_both_are_asked_for(bounded: Synthesized) -> None:
    assert len(roles(bounded)) > 40
    for id_, role in roles(bounded).items():
        assert (role["PermissionsBoundary"], role["Path"]) == (BOUNDARY, PATH), id_


def test_instance_profiles_have_the_path(bounded: Synthesized) -> None:
    profiles = bounded.of_type("AWS::IAM::InstanceProfile").values()
    assert {it["Properties"]["Path"] for it in profiles} == {PATH}


def test_no_role_has_either_when_neither_is(stack: Synthesized) -> None:
    for id_, role in roles(stack).items():
        assert not {"PermissionsBoundary", "Path"} & set(role), id_
    for profile in stack.of_type("AWS::IAM::InstanceProfile").values():
        assert "Path" not in profile["Properties"]


@pytest.mark.parametrize(
    ("context", "has"),
    [
        ({"permissions_boundary": BOUNDARY}, {"PermissionsBoundary"}),
        ({"role_path": PATH}, {"Path"}),
    ],
)
def test_each_can_be_had_without_the_other(
    synthesize: Synthesize, context: Mapping[str, str], has: set[str]
) -> None:
    for id_, role in roles(synthesize(context=context)).items():
        assert {"PermissionsBoundary", "Path"} & set(role) == has, id_


def test_a_boundary_by_name_is_of_the_stacks_own_account(synthesize: Synthesize) -> None:
    for role in roles(synthesize(context={"permissions_boundary": "team/boundary"})).values():
        assert flat(role["PermissionsBoundary"]) == (
            "arn:<AWS::Partition>:iam::<AWS::AccountId>:policy/team/boundary"
        )


def test_nothing_else_of_the_template_changes(bounded: Synthesized, stack: Synthesized) -> None:
    """So every statement and every function names the roles that it named."""
    stripped = json.loads(json.dumps(bounded.template))
    for resource in stripped["Resources"].values():
        if resource["Type"] in ("AWS::IAM::Role", "AWS::IAM::InstanceProfile"):
            resource["Properties"].pop("PermissionsBoundary", None)
            resource["Properties"].pop("Path", None)
    assert stripped == stack.template


def test_roles_and_profiles_are_named_by_reference_so_that_a_path_is_in_their_arn(
    stack: Synthesized,
) -> None:
    """A role's ARN that is put together from its name lacks the path."""
    passed = [
        resource
        for _, statement in statements(stack)
        if "iam:PassRole" in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]
    assert passed
    for resource in passed:
        assert resource["Fn::GetAtt"][1] == "Arn"
    written = [line for line in json.dumps(stack.template).split('"') if ":role/" in line]
    assert {line.rpartition(":role/")[2] for line in written} == {
        "aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"
    }
    assert ":instance-profile/" not in json.dumps(stack.template)


def test_the_cdks_own_qualifier_names_the_bootstrap(synthesize: Synthesize) -> None:
    context = {"@aws-cdk/core:bootstrapQualifier": "images"}
    parameters = synthesize(context=context).template["Parameters"]
    assert parameters["BootstrapVersion"]["Default"] == "/cdk-bootstrap/images/version"


KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "AWS::DynamoDB::Table": lambda p: p["SSESpecification"]["KMSMasterKeyId"],
    "AWS::Logs::LogGroup": lambda p: p["KmsKeyId"],
    "AWS::S3::Bucket": lambda p: p["BucketEncryption"]["ServerSideEncryptionConfiguration"][0][
        "ServerSideEncryptionByDefault"
    ]["KMSMasterKeyID"],
    "AWS::SNS::Topic": lambda p: p["KmsMasterKeyId"],
    "AWS::SQS::Queue": lambda p: p["KmsMasterKeyId"],
}


@pytest.fixture(scope="module")
def encrypted(synthesize: Synthesize) -> Synthesized:
    return synthesize(context={"data_key": KEY})


@pytest.mark.parametrize("kind", KINDS)
def test_all_data_is_under_the_key_that_is_asked_for(encrypted: Synthesized, kind: str) -> None:
    found = encrypted.of_type(kind)
    assert found
    for id_, resource in found.items():
        assert KINDS[kind](resource["Properties"]) == KEY, id_


def test_a_queue_has_one_kind_of_key(encrypted: Synthesized, stack: Synthesized) -> None:
    """SQS refuses a queue that asks for both."""
    assert "SqsManagedSseEnabled" not in encrypted.only("AWS::SQS::Queue")
    assert stack.only("AWS::SQS::Queue")["SqsManagedSseEnabled"] is True


def test_without_a_key_of_ones_own_table_and_bucket_have_one_of_aws(stack: Synthesized) -> None:
    assert stack.only("AWS::DynamoDB::Table")["SSESpecification"] == {"SSEEnabled": True}
    (rule,) = stack.only("AWS::S3::Bucket")["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}


def test_without_a_key_of_ones_own_the_topic_has_none(stack: Synthesized) -> None:
    """SNS's own key lets no alarm publish."""
    assert "KmsMasterKeyId" not in stack.only("AWS::SNS::Topic")


def test_the_readmes_policy_for_the_key_lets_in_all_that_is_under_it() -> None:
    readme = Path("README.md").read_text(encoding="utf-8")
    blocks = readme.split("```json\n")[1:]
    (policy,) = (json.loads(it.partition("```")[0]) for it in blocks if "kms:ViaService" in it)
    through, logs, services = policy
    via = through["Condition"]["StringEquals"]["kms:ViaService"]
    stores = {kind.split("::")[1].lower() for kind in KINDS} - {"logs"}
    assert {it.partition(".")[0] for it in via} == stores
    assert through["Condition"]["StringEquals"]["kms:CallerAccount"] == "ACCOUNT"
    assert logs["Principal"] == {"Service": "logs.REGION.amazonaws.com"}
    # Alarms publish; rules' dead letters go to the queue; a failed mail's, too.
    assert {it.partition(".")[0] for it in services["Principal"]["Service"]} == {
        "cloudwatch",
        "events",
        "sns",
    }
    for statement in policy:
        assert {"kms:Decrypt", "kms:GenerateDataKey*"} <= {
            it.replace("Decrypt*", "Decrypt") for it in statement["Action"]
        }


@pytest.mark.parametrize("kind", ["S3::Bucket", "SNS::Topic", "SQS::Queue"])
def test_what_does_not_come_by_tls_is_refused(stack: Synthesized, kind: str) -> None:
    for id_ in stack.of_type(f"AWS::{kind}"):
        policies = [
            policy["Properties"]["PolicyDocument"]["Statement"]
            for policy in stack.of_type(f"AWS::{kind}Policy").values()
            if id_ in json.dumps(policy["Properties"])
        ]
        refused = [
            one
            for statements_ in policies
            for one in statements_
            if one["Effect"] == "Deny"
            and one["Principal"] in ("*", {"AWS": "*"})
            and one["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        ]
        assert refused, id_


def test_the_table_can_be_taken_back_to_any_second_and_goes_with_the_stack(
    stack: Synthesized,
) -> None:
    (table,) = stack.of_type("AWS::DynamoDB::Table").values()
    recovery = table["Properties"]["PointInTimeRecoverySpecification"]
    assert recovery["PointInTimeRecoveryEnabled"] is True
    assert table["DeletionPolicy"] == "Delete"
    assert "DeletionProtectionEnabled" not in table["Properties"]


def of_roles(stack: Synthesized) -> Iterator[tuple[str, str]]:
    """Each role with each action that it may do."""
    account = Account(stack)
    for id_ in stack.of_type("AWS::IAM::Role"):
        for text in account.documents(short(id_)):
            for statement in listed(json.loads(text)["Statement"]):
                if statement["Effect"] == "Allow":
                    yield from ((id_, action) for action in listed(statement["Action"]))


def test_the_boundary_of_the_tests_allows_what_some_role_may_and_nothing_else(
    synthesize: Synthesize,
) -> None:
    stack = synthesize({**RECIPES, **VAULTS, **SWIFT, **HOSTS}, CONTEXT)
    allows, passing = (listed(it["Action"]) for it in BOUNDARY_OF_TESTS["Statement"])
    found = set(of_roles(stack))
    assert {id_ for id_, _ in found} == set(roles(stack))
    of_a_data_key = {f"kms:{it}" for it in NEEDED_WITH_A_DATA_KEY["kms"].split()}
    assert set(allows) - of_a_data_key == {action for _, action in found}
    assert passing == ["iam:PassRole"]


def test_the_boundary_of_the_tests_fits_into_one_policy() -> None:
    """6,144 characters: what a managed policy may have."""
    assert len(json.dumps(BOUNDARY_OF_TESTS, separators=(",", ":"))) < 6144


@pytest.fixture(scope="module")
def tagged(synthesize: Synthesize) -> Synthesized:
    return synthesize(context={"tags": json.dumps(TAGS)})


def tags_of(resource: Mapping[str, Any]) -> dict[str, str] | None:
    """None of what has none, whatever one asks for."""
    given: Any = resource.get("Properties", {}).get("Tags")
    if isinstance(given, list):
        return {it["Key"]: it["Value"] for it in given}
    # A mapping, as Parameter Store's.
    return dict(given) if given else None


def test_all_of_the_stack_has_the_tags_that_are_asked_for(
    tagged: Synthesized, stack: Synthesized
) -> None:
    """Each resource by itself; that can have tags what has that of the stack."""
    seen = set()
    for id_, resource in tagged.template["Resources"].items():
        if resource["Type"] == "AWS::Lambda::Version":
            continue  # has none, and Plan's has another id: it gets the tags
        before, after = tags_of(stack.template["Resources"][id_]), tags_of(resource)
        assert after == (None if before is None else {**before, **TAGS}), id_
        seen |= {resource["Type"]} if after else set()
    assert {f"AWS::{it}" for it in TAGGED_KINDS} <= seen


def test_the_stack_itself_has_them_for_whoever_lets_it_be_made() -> None:
    made = stack_of(parsed(), {"tags": TAGS})
    assert made.tags.tag_values() == TAGS
    assert stack_of(parsed()).tags.tag_values() == {}


def test_plan_gets_them(tagged: Synthesized, stack: Synthesized) -> None:
    def given(synthesized: Synthesized) -> list[str]:
        functions = synthesized.of_type("AWS::Lambda::Function").values()
        variables = (
            it["Properties"].get("Environment", {})["Variables"]
            for it in functions
            if "Environment" in it["Properties"]
        )
        return [it["TAGS"] for it in variables if "TAGS" in it]

    (for_plan,) = given(tagged)
    assert json.loads(for_plan) == TAGS
    assert given(stack) == ["{}"]
