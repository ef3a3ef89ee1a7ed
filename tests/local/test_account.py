"""Deployment, rights, faults, the call log, and a clean end."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from scripts.local import LocalAws, LocalAwsError
from scripts.local.policies import evaluate
from tests.local import assembly as small
from tests.local.bench import AL2023, Bench, refused


def forbidden(bench: Bench, service: str, operation: str, **parameters: Any) -> str:
    event = {"service": service, "operation": operation, "parameters": parameters}
    outcome = bench.aws.invoke("Forbidden", json.dumps(event))
    answer = json.loads(outcome.payload)
    return str(answer if outcome.error is None else answer["errorMessage"])


# Deployment


def test_outputs_and_stack_are_readable(bench: Bench, aws: LocalAws) -> None:
    (stack,) = aws.client("cloudformation").describe_stacks(StackName="Test")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert {o["OutputKey"]: o["OutputValue"] for o in stack["Outputs"]} == bench.outputs
    rows = aws.client("cloudformation").list_stack_resources(StackName="Test")[
        "StackResourceSummaries"
    ]
    logical = {r["LogicalResourceId"] for r in rows}
    assert "Echo" in logical and "Metadata" not in logical


def test_an_unknown_type_stops_the_deployment_by_name(tmp_path: Path) -> None:
    template = small.template()
    template["Resources"]["Odd"] = {"Type": "AWS::Fantasy::Thing"}
    with LocalAws.start(small.write(tmp_path, template)) as aws:
        with pytest.raises(LocalAwsError, match=r"Odd \(AWS::Fantasy::Thing\)"):
            aws.deploy()
        assert aws.calls.of("iam") == []


def test_a_reference_that_cannot_be_answered_stops_the_deployment(tmp_path: Path) -> None:
    template = small.template()
    template["Outputs"]["Odd"] = {"Value": {"Fn::GetAtt": ["Table", "Colour"]}}
    with (
        LocalAws.start(small.write(tmp_path, template)) as aws,
        pytest.raises(LocalAwsError, match="Colour"),
    ):
        aws.deploy()


def test_a_second_deployment_updates_in_place(bench: Bench, aws: LocalAws, tmp_path: Path) -> None:
    template = small.template()
    resources = template["Resources"]
    resources["Document"]["Properties"]["Content"]["description"] = "changed"
    resources["Echo"]["Properties"]["Environment"]["Variables"]["MODULE"] = "changed"
    machine = json.loads(resources["Machine"]["Properties"]["DefinitionString"])
    machine["States"]["Done"] = {"Type": "Pass", "Result": "new", "End": True}
    resources["Machine"]["Properties"]["DefinitionString"] = json.dumps(machine)
    del resources["Nightly"]
    old = bench.start(path="Pause")
    before, table = bench.outputs, aws.physical("Table")
    aws.invoke("Echo")
    aws.deploy(small.write(tmp_path, template))
    assert bench.outputs == before and aws.physical("Table") == table
    assert json.loads(aws.invoke("Echo").payload)["environment"]["MODULE"] == "changed"
    described = aws.client("ssm").describe_document(Name="AmiBakery-test-greet")["Document"]
    assert (described["DocumentVersion"], described["DefaultVersion"]) == ("2", "2")
    assert "nightly-web" not in aws.schedules.all
    assert json.loads(bench.run(path="none")["output"]) == "new"
    assert json.loads(aws.finished(old)["output"])["path"] == "Pause", (
        "a running execution keeps its definition"
    )


# Versions


def publishing(number: int, **variables: str) -> dict[str, Any]:
    """The small template with a published version of Echo, whose machine invokes it."""
    template = small.template()
    resources = template["Resources"]
    resources["Echo"]["Properties"]["Environment"]["Variables"].update(variables)
    resources[f"EchoVersion{number}"] = {
        "Type": "AWS::Lambda::Version",
        "DeletionPolicy": "RetainExceptOnCreate",
        "Properties": {"FunctionName": {"Ref": "Echo"}},
    }
    resources["Machine"]["Properties"]["DefinitionSubstitutions"]["Echo"] = {
        "Ref": f"EchoVersion{number}"
    }
    template["Outputs"]["Version"] = {"Value": {"Ref": f"EchoVersion{number}"}}
    return template


def deployed(aws: LocalAws, folder: Path, template: dict[str, Any]) -> str:
    """ARN of the version that the deployment published."""
    folder.mkdir(exist_ok=True)
    return aws.deploy(small.write(folder, template))["Version"]


def echoed(aws: LocalAws, function: str) -> Any:
    return json.loads(aws.invoke(function).payload)["environment"]


def test_a_published_version_keeps_code_and_environment(bare: LocalAws, tmp_path: Path) -> None:
    first = deployed(bare, tmp_path / "1", publishing(1, MODULE="first"))
    file = tmp_path / "2" / f"asset.{small.ASSET}" / "bakery" / "tasks" / "echo.py"
    second = deployed(bare, tmp_path / "2", publishing(2, MODULE="second"))
    file.write_text("def handler(event, context):\n    return {'environment': 'new code'}\n")
    function = bare.client("lambda").get_function(FunctionName=bare.physical("Echo"))
    arn = function["Configuration"]["FunctionArn"]
    assert [first, second] == [f"{arn}:1", f"{arn}:2"]
    assert echoed(bare, first)["MODULE"] == "first"
    assert echoed(bare, first)["AWS_LAMBDA_FUNCTION_VERSION"] == "1"
    assert echoed(bare, second) == echoed(bare, "Echo") == "new code"
    answer = bare.client("lambda").invoke(FunctionName=bare.physical("Echo"), Qualifier="1")
    assert answer["ExecutedVersion"] == "1"
    found = bare.client("lambda").list_versions_by_function(FunctionName=bare.physical("Echo"))
    assert [version["Version"] for version in found["Versions"]] == ["$LATEST", "1", "2"]


def test_a_version_that_is_not_retained_goes_with_its_resource(
    bare: LocalAws, tmp_path: Path
) -> None:
    template = publishing(1, MODULE="first")
    del template["Resources"]["EchoVersion1"]["DeletionPolicy"]
    first = deployed(bare, tmp_path / "1", template)
    deployed(bare, tmp_path / "2", publishing(2, MODULE="second"))
    with pytest.raises(ClientError) as error:
        bare.client("lambda").invoke(FunctionName=first)
    assert refused(error) == "ResourceNotFoundException"


def test_a_version_of_what_has_not_changed_stops_the_deployment(
    bare: LocalAws, tmp_path: Path
) -> None:
    deployed(bare, tmp_path / "1", publishing(1))
    with pytest.raises(LocalAwsError, match=r"A version for this Lambda function exists \( 1 \)"):
        deployed(bare, tmp_path / "2", publishing(2))


def test_the_right_to_one_version_is_not_the_right_to_another(
    bare: LocalAws, tmp_path: Path
) -> None:
    arn = ""
    for number in (1, 2):
        template = publishing(number, MODULE=str(number))
        invoke = {"Effect": "Allow", "Action": "lambda:InvokeFunction"}
        rights = [{**invoke, "Resource": {"Ref": f"EchoVersion{number}"}}]
        template["Resources"]["Rights"] = {
            "Type": "AWS::IAM::Policy",
            "Properties": {
                "PolicyName": "versions",
                "PolicyDocument": {"Version": "2012-10-17", "Statement": rights},
                "Roles": [{"Ref": "ScheduleRole"}],
            },
        }
        # Its own policy allows every function.
        del template["Resources"]["ScheduleRole"]["Properties"]["Policies"]
        arn = deployed(bare, tmp_path / str(number), template)
    caller = bare.client("iam").get_role(RoleName=bare.physical("ScheduleRole"))["Role"]["Arn"]
    client = bare.client_as(caller, "lambda")
    assert client.invoke(FunctionName=arn)["StatusCode"] == 200
    with pytest.raises(ClientError) as error:
        client.invoke(FunctionName=arn.removesuffix("2") + "1")
    assert refused(error) == "AccessDeniedException"


def test_no_assembly_is_a_clear_error(tmp_path: Path) -> None:
    with LocalAws.start(tmp_path) as aws, pytest.raises(LocalAwsError, match=r"manifest\.json"):
        aws.deploy()


# Rights


def test_a_call_that_the_role_does_not_allow_is_refused_in_the_services_words(bench: Bench) -> None:
    refusals = {
        ("ec2", "describe_instances"): "UnauthorizedOperation",
        ("ssm", "describe_parameters"): "AccessDeniedException",
        ("sns", "list_topics"): "AuthorizationError",
        ("iam", "list_roles"): "AccessDenied",
    }
    for (service, operation), code in refusals.items():
        message = forbidden(bench, service, operation)
        assert (
            code in message
            and "is not authorized to perform" in message
            and bench.aws.physical("WorkRole") in message
        )
    denied = [c for c in bench.aws.calls.of(role=bench.aws.physical("WorkRole")) if c.error]
    assert [(c.service, c.error) for c in denied] == [
        (s, code) for (s, _o), code in refusals.items()
    ]


def test_resources_are_compared_and_deny_wins(bench: Bench) -> None:
    for name in ("/mine/x", "/other/x"):
        bench.aws.client("ssm").put_parameter(Name=name, Type="String", Value="v")
    assert forbidden(bench, "ssm", "get_parameter", Name="/mine/x") == "allowed"
    assert "parameter/other/x" in forbidden(bench, "ssm", "get_parameter", Name="/other/x")
    instance = bench.launch()
    assert "explicit deny" in forbidden(bench, "ec2", "terminate_instances", InstanceIds=[instance])
    assert bench.state(instance) != "terminated"


def test_launching_needs_rights_on_everything_it_touches(bench: Bench) -> None:
    aws, role = bench.aws, bench.aws.physical("WorkRole")
    launch = {"ImageId": AL2023, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    launch["IamInstanceProfile"] = {"Arn": bench.outputs["Profile"]}
    launch["TagSpecifications"] = [
        {"ResourceType": "instance", "Tags": [{"Key": "k", "Value": "v"}]}
    ]
    allowed: list[str] = []
    for action in ("ec2:RunInstances", "iam:PassRole", "ec2:CreateTags"):
        assert action in forbidden(bench, "ec2", "run_instances", **launch)
        allowed.append(action)
        document = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": allowed, "Resource": "*"}],
        }
        aws.client("iam").put_role_policy(
            RoleName=role, PolicyName="more", PolicyDocument=json.dumps(document)
        )
    assert forbidden(bench, "ec2", "run_instances", **launch) == "allowed"


def test_the_state_machines_role_needs_the_right_to_invoke(bench: Bench) -> None:
    bench.aws.client("iam").delete_role_policy(
        RoleName=bench.aws.physical("MachineRole"), PolicyName="inline"
    )
    ended = bench.run(path="none")
    assert ended["status"] == "FAILED" and "lambda:InvokeFunction" in ended["cause"]


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ({"Effect": "Allow", "Action": "EC2:Run*", "Resource": "*"}, True),
        ({"Effect": "Allow", "NotAction": "ec2:*", "Resource": "*"}, False),
        ({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:ec2:*:*:instance/*"}, False),
        (
            {
                "Effect": "Allow",
                "Action": "ec2:RunInstance?",
                "Resource": "arn:aws:ec2:*:123456789012:instance/*",
            },
            True,
        ),
        (
            {
                "Effect": "Allow",
                "Action": "ec2:RunInstances",
                "Resource": "arn:aws:ec2:*:999999999999:instance/*",
            },
            False,
        ),
    ],
)
def test_statements(statement: dict[str, Any], allowed: bool) -> None:
    resource = "arn:aws:ec2:us-east-1:123456789012:instance/i-1"
    assert evaluate([statement], "ec2:RunInstances", resource).allowed is allowed


def test_callers_are_known_by_their_credentials(bench: Bench, aws: LocalAws) -> None:
    assert aws.client("sts").get_caller_identity()["Arn"].endswith(":user/operator")
    role = aws.client("iam").get_role(RoleName=aws.physical("WorkRole"))["Role"]["Arn"]
    assert ":assumed-role/" in aws.client_as(role, "sts").get_caller_identity()["Arn"]


# Faults and the log


def test_errors_and_lost_answers_on_demand(ec2: Bench) -> None:
    aws = ec2.aws
    aws.faults.error(
        "ec2", "RunInstances", code="RequestLimitExceeded", message="slow down", status=503, times=2
    )
    for _ in range(2):
        with pytest.raises(ClientError) as error:
            ec2.launch()
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        assert refused(error) == "RequestLimitExceeded"
    assert not aws.ec2.all("instances")
    aws.faults.lost_answer("ec2", "RunInstances")
    with pytest.raises(ConnectionClosedError):
        ec2.launch(ClientToken="t")
    assert len(aws.ec2.all("instances")) == 1
    ec2.launch(ClientToken="t")
    assert len(aws.ec2.all("instances")) == 1
    assert [c.error for c in aws.calls.of("ec2", "RunInstances")] == [
        "RequestLimitExceeded"
    ] * 2 + ["LostAnswer", None]


def test_a_side_effect_right_after_a_call(ec2: Bench) -> None:
    ec2.aws.faults.after(
        "ec2", "RunInstances", lambda: ec2.aws.ec2.durations.__setattr__("stopping", 1.0)
    )
    ec2.launch()
    assert ec2.aws.ec2.durations.stopping == 1.0


def test_faults_can_be_aimed(ec2: Bench) -> None:

    def small_only(parameters: dict[str, Any]) -> bool:
        return bool(parameters["InstanceType"] == "t3.small")

    ec2.aws.faults.error("ec2", "RunInstances", code="Unsupported", when=small_only, times=9)
    ec2.launch()
    with pytest.raises(ClientError):
        ec2.launch(type_="t3.small")
    ec2.aws.faults.clear()
    ec2.launch(type_="t3.small")


def test_the_environment_is_all_that_another_process_needs(bare: LocalAws) -> None:
    script = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"
    environment = {**os.environ, **bare.environment}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith(":user/operator")


# A clean end


def test_worlds_follow_each_other_quickly_and_share_nothing(assembly: Path) -> None:
    with LocalAws.start(assembly, scale=600) as first:
        first.deploy()
        first.invoke("Echo")
        workers = [w.pid for f in first.lambdas.functions.values() for w in f.idle]
        first.client("ec2").run_instances(
            ImageId=AL2023, InstanceType="t3.micro", MinCount=1, MaxCount=1
        )
    began = time.process_time()
    with LocalAws.start(assembly, scale=600) as second:
        second.deploy()
        # Processor time: the machine may be busy with other things.
        assert time.process_time() - began < 2
        assert not second.ec2.all("instances")
        assert len(second.client("iam").list_roles()["Roles"]) == 4
    names = [t.name for t in threading.enumerate() if t.name.startswith("local-aws")]
    assert names == []
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_closing_in_the_middle_of_an_execution_leaves_no_thread(assembly: Path) -> None:
    aws = LocalAws.start(assembly, scale=10)
    aws.deploy()
    bench = Bench(aws)
    bench.start(path="Wait", subject="nobody")
    bench.start(path="Pause")
    bench.launch()
    time.sleep(0.5)
    aws.close()
    aws.close()
    deadline = time.monotonic() + 5
    left: list[str] = ["?"]
    while left and time.monotonic() < deadline:
        left = [t.name for t in threading.enumerate() if t.name.startswith("local-aws")]
        time.sleep(0.02)
    assert left == []


def test_one_at_a_time(bare: LocalAws) -> None:
    with pytest.raises(LocalAwsError, match="already"):
        LocalAws.start()


def test_nothing_of_moto_stays_changed(assembly: Path) -> None:
    from moto.core.config import default_user_config
    from moto.stepfunctions.parser.asl.component.program.program import Program

    before, config = Program.eval, copy.deepcopy(default_user_config)
    with LocalAws.start(assembly):
        assert Program.eval is not before
    assert Program.eval is before and default_user_config == config


def test_time_can_be_stopped_at_any_rate(bare: LocalAws) -> None:
    before = bare.clock.now()
    bare.clock.advance(days=365)
    assert (bare.clock.now() - before).days >= 365
    with pytest.raises(ValueError, match="backwards"):
        bare.clock.advance(-1)
