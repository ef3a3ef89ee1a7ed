"""The rest of the template: functions, roles, documents, schedules, network, determinism."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cfnlint import api as cfnlint

from bakery.naming import TAG_BAKE
from infra.settings import ContextError
from tests.infra.conftest import RECIPES, Synthesize, Synthesized, flat

# Calls that take no resource. Source: service authorization reference.
_LOOK_ONLY = ("Describe", "List", "Get")
_NO_RESOURCE = {
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "logs:CreateLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:PutResourcePolicy",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
}


def statements(stack: Synthesized) -> Iterator[tuple[str, dict[str, Any]]]:
    for id_, policy in stack.of_type("AWS::IAM::Policy").items():
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            yield id_, statement


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_cfn_lint_finds_nothing(stack: Synthesized) -> None:
    assert cfnlint.lint(json.dumps(stack.template)) == []


def test_two_syntheses_give_the_same_template(synthesize: Synthesize, stack: Synthesized) -> None:
    assert synthesize().template == stack.template


def test_every_function_has_its_own_role_log_time_out_and_memory(stack: Synthesized) -> None:
    functions = [f["Properties"] for f in stack.of_type("AWS::Lambda::Function").values()]
    assert len({flat(f["Role"]) for f in functions}) == len(functions)
    assert len({flat(f["LoggingConfig"]["LogGroup"]) for f in functions}) == len(functions)
    for function in functions:
        assert function["Timeout"] <= 180
        assert function["MemorySize"] >= 256
        assert function["TracingConfig"] == {"Mode": "Active"}
        assert function["Architectures"] == ["arm64"]


def test_all_functions_share_one_asset(stack: Synthesized) -> None:
    functions = stack.of_type("AWS::Lambda::Function").values()
    assert len({json.dumps(f["Properties"]["Code"]) for f in functions}) == 1


def test_every_log_group_has_a_retention(stack: Synthesized) -> None:
    for id_, group in stack.of_type("AWS::Logs::LogGroup").items():
        assert group["Properties"]["RetentionInDays"] == 90, id_


def test_no_statement_writes_to_everything(stack: Synthesized) -> None:
    for id_, statement in statements(stack):
        if "*" not in listed(statement["Resource"]):
            continue
        for action in listed(statement["Action"]):
            name = action.partition(":")[2]
            assert action in _NO_RESOURCE or name.startswith(_LOOK_ONLY), f"{id_}: {action}"


def test_no_action_is_a_wildcard(stack: Synthesized) -> None:
    for id_, statement in statements(stack):
        assert not [a for a in listed(statement["Action"]) if "*" in a], id_


@pytest.mark.parametrize(
    "action",
    [
        "ec2:TerminateInstances",
        "ec2:StopInstances",
        "ec2:DeregisterImage",
        "ec2:DeleteSnapshot",
        "ec2:DeleteVolume",
    ],
)
def test_destructive_calls_reach_only_what_carries_a_bakes_tag(
    stack: Synthesized, action: str
) -> None:
    granting = [s for _, s in statements(stack) if action in listed(s["Action"])]
    assert granting
    for statement in granting:
        assert statement["Condition"] == {"StringLike": {f"aws:ResourceTag/{TAG_BAKE}": "*"}}


def test_commands_are_sent_by_known_documents_only(stack: Synthesized) -> None:
    resources = [
        flat(resource)
        for _, statement in statements(stack)
        if listed(statement["Action"]) == ["ssm:SendCommand"]
        for resource in listed(statement["Resource"])
    ]
    names = {r.rpartition("document/")[2] for r in resources if ":document/" in r}
    assert names == {
        "AmiBakery-prepare-linux",
        "AmiBakery-remove-opsworks-identity",
        "AmiBakery-generalize-linux",
        "AmiBakery-verify-identity",
        "AmiBakery-reboot-linux",
        "AmiBakery-install-application",
        "AmiBakery.*",
        "AWS-RunPatchBaseline",
    }


def test_only_builder_roles_are_passed_and_only_to_ec2(stack: Synthesized) -> None:
    (statement,) = [s for _, s in statements(stack) if "iam:PassRole" in listed(s["Action"])]
    assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    assert all(flat(r).startswith("<BuilderHostBuilder") for r in listed(statement["Resource"]))


def test_a_builder_can_be_managed_and_write_its_log_and_nothing_else(stack: Synthesized) -> None:
    for id_, statement in statements(stack):
        if id_.startswith("BuilderHostBuilderRole"):
            assert set(listed(statement["Action"])) <= {
                "logs:CreateLogStream",
                "logs:PutLogEvents",
                "logs:DescribeLogStreams",
                "logs:DescribeLogGroups",
            }


def test_a_recipes_artefacts_can_be_read_by_its_own_builder_only(stack: Synthesized) -> None:
    readers = {
        id_: listed(statement["Resource"])
        for id_, statement in statements(stack)
        if "s3:GetObject" in listed(statement["Action"])
    }
    ((id_, resources),) = readers.items()
    assert id_.startswith("BuilderHostBuilderwebRole")
    assert [flat(r) for r in resources] == ["arn:<AWS::Partition>:s3:::artefacts/app.tar.gz"]


def test_the_agent_may_ask_whether_an_artefact_is_a_folder_and_list_no_more(
    stack: Synthesized,
) -> None:
    (statement,) = [s for _, s in statements(stack) if "s3:ListBucket" in listed(s["Action"])]
    assert flat(statement["Resource"]) == "arn:<AWS::Partition>:s3:::artefacts"
    assert statement["Condition"] == {"StringEquals": {"s3:prefix": "app.tar.gz/"}}


def test_nothing_may_connect_to_a_builder(stack: Synthesized) -> None:
    group = stack.only("AWS::EC2::SecurityGroup")
    assert "SecurityGroupIngress" not in group
    assert not stack.of_type("AWS::EC2::SecurityGroupIngress")


def test_a_recipes_script_becomes_a_document_without_parameters(stack: Synthesized) -> None:
    documents = {
        d["Properties"]["Name"]: d["Properties"]
        for d in stack.of_type("AWS::SSM::Document").values()
    }
    script = documents["AmiBakery.web.packages"]
    assert script["UpdateMethod"] == "NewVersion"
    assert "parameters" not in script["Content"]
    assert script["Content"]["mainSteps"][0]["inputs"]["runCommand"] == ["dnf -y install nginx"]


def test_a_schedule_passes_its_slot_and_forces_only_when_asked(stack: Synthesized) -> None:
    schedules = {
        flat(s["Properties"]["ScheduleExpression"]): s["Properties"]
        for s in stack.of_type("AWS::Scheduler::Schedule").values()
    }
    nightly = schedules["cron(0 3 * * ? *)"]
    assert nightly["ScheduleExpressionTimezone"] == "Europe/London"
    assert nightly["FlexibleTimeWindow"] == {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15}
    assert json.loads(nightly["Target"]["Input"]) == {
        "recipe": "web",
        "slot": "<aws.scheduler.scheduled-time>",
    }
    always = schedules["cron(30 4 ? * MON-FRI *)"]
    assert always["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert json.loads(always["Target"]["Input"])["force"] is True
    for schedule in schedules.values():
        assert "DeadLetterConfig" in schedule["Target"]
        assert schedule["Target"]["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 3600


def test_the_sweeper_runs_every_minute(stack: Synthesized) -> None:
    expressions = [
        s["Properties"]["ScheduleExpression"]
        for s in stack.of_type("AWS::Scheduler::Schedule").values()
    ]
    assert "rate(1 minute)" in expressions
    inputs = [
        s["Properties"]["Target"].get("Input")
        for s in stack.of_type("AWS::Scheduler::Schedule").values()
        if s["Properties"]["ScheduleExpression"] == "rate(1 minute)"
    ]
    # Without an input of its own, Scheduler sends what looks like an event to resume one wait.
    assert inputs == ['{"sweep":true}']


def test_every_rule_has_a_dead_letter_queue(stack: Synthesized) -> None:
    for id_, rule in stack.of_type("AWS::Events::Rule").items():
        for target in rule["Properties"]["Targets"]:
            assert "DeadLetterConfig" in target, id_


def test_the_context_chooses_network_types_logs_and_recipient(synthesize: Synthesize) -> None:
    stack = synthesize(
        context={
            "vpc_id": "vpc-0123456789abcdef0",
            "subnet_ids": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
            "instance_types": ["m6i.large"],
            "log_retention_days": "30",
            "notification_email": "platform@example.com",
        }
    )
    assert stack.only("AWS::EC2::SecurityGroup")["VpcId"] == "vpc-0123456789abcdef0"
    (plan,) = [
        f["Properties"]["Environment"]["Variables"]
        for f in stack.of_type("AWS::Lambda::Function").values()
        if f["Properties"]["Handler"] == "bakery.tasks.plan.handler"
    ]
    assert json.loads(flat(plan["SUBNET_IDS"])) == [
        "subnet-0123456789abcdef0",
        "subnet-0123456789abcdef1",
    ]
    assert json.loads(plan["DEFAULT_INSTANCE_TYPES"]) == ["m6i.large"]
    groups = stack.of_type("AWS::Logs::LogGroup").values()
    assert {g["Properties"]["RetentionInDays"] for g in groups} == {30}
    assert stack.only("AWS::SNS::Subscription")["Endpoint"] == "platform@example.com"


@pytest.mark.parametrize(
    ("context", "named"),
    [
        ({"vpc_id": "my-vpc"}, "vpc_id"),
        ({"log_retention_days": 10}, "log_retention_days"),
        ({"instance_types": "big one"}, "instance_types"),
        ({"notification_email": "nobody"}, "notification_email"),
    ],
)
def test_a_bad_context_value_is_named(
    synthesize: Synthesize, context: dict[str, Any], named: str
) -> None:
    with pytest.raises(ContextError, match=named):
        synthesize(RECIPES, context)
