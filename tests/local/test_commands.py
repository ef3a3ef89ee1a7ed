"""Systems Manager: managed instances, documents, commands, image parameters."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from scripts.local import LocalAws
from scripts.local.machines import CheckOnly, Machine
from tests.local.bench import AL2023, Bench, refused

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.local.runner import Host

DEBIAN = "ami-0deb1200000000064"
DOCUMENT = "AmiBakery-test-greet"


def statuses(bench: Bench, command: str) -> list[str]:
    events = bench.aws.events.of("EC2 Command Invocation Status-change Notification")
    return [e["detail"]["status"] for e in events if e["detail"]["command-id"] == command]


def test_an_instance_is_online_some_time_after_it_runs_and_lost_when_it_stops(bench: Bench) -> None:
    instance = bench.managed()
    ssm = bench.aws.client("ssm")
    (row,) = ssm.describe_instance_information()["InstanceInformationList"]
    assert (row["PlatformType"], row["PlatformName"], row["PlatformVersion"]) == (
        "Linux",
        "Amazon Linux",
        "2023",
    )
    assert row["AgentVersion"] == "3.3.3050.0"
    bench.aws.client("ec2").stop_instances(InstanceIds=[instance])
    bench.in_state(instance, "stopped")
    assert bench.ping(instance) == "ConnectionLost"


@pytest.mark.parametrize(
    "action",
    [
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:OpenControlChannel",
    ],
)
def test_without_a_right_of_its_agents_it_never_registers(bench: Bench, action: str) -> None:
    (role,) = bench.aws.client("iam").get_instance_profile(
        InstanceProfileName=bench.outputs["Profile"].rpartition("/")[2]
    )["InstanceProfile"]["Roles"]
    bench.aws.client("iam").put_role_policy(
        RoleName=role["RoleName"],
        PolicyName="without",
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Deny", "Action": action, "Resource": "*"}],
            }
        ),
    )
    instance = bench.launch(IamInstanceProfile={"Arn": bench.outputs["Profile"]})
    bench.in_state(instance, "running")
    bench.aws.clock.advance(minutes=10)
    assert bench.ping(instance) is None


def test_without_a_profile_or_an_agent_it_never_registers(bench: Bench) -> None:
    profile = {"Arn": bench.outputs["Profile"]}
    ids = [bench.launch(), bench.launch(DEBIAN, IamInstanceProfile=profile)]
    for instance in ids:
        bench.in_state(instance, "running")
    bench.aws.clock.advance(minutes=10)
    assert [bench.ping(i) for i in ids] == [None, None]


def test_a_command_goes_through_its_states_and_shows_the_sentinel(bench: Bench) -> None:
    instance = bench.managed()
    command = bench.send(
        instance,
        Comment="bake b-1",
        CloudWatchOutputConfig={
            "CloudWatchOutputEnabled": True,
            "CloudWatchLogGroupName": "commands",
        },
    )
    done = bench.done(command, instance)
    assert (done["Status"], done["StatusDetails"], done["ResponseCode"]) == (
        "Success",
        "Success",
        0,
    )
    first, last = done["StandardOutputContent"].splitlines()
    assert "not executed" in first and last == "ami-bakery: b-1 done"
    bench.aws.until(lambda: statuses(bench, command) == ["Pending", "InProgress", "Success"])
    (event, *_) = bench.aws.events.of("EC2 Command Invocation Status-change Notification")
    assert set(event["detail"]) == {
        "command-id",
        "document-name",
        "instance-id",
        "requested-date-time",
        "status",
    }
    (event, *_) = bench.aws.events.of("EC2 Command Status-change Notification")
    assert event["detail"]["parameters"] == {"Bake": ["b-1"]} and "expire-after" in event["detail"]
    ssm = bench.aws.client("ssm")
    (listed,) = ssm.list_commands(InstanceId=instance)["Commands"]
    assert (listed["CommandId"], listed["Comment"]) == (command, "bake b-1")
    (row,) = ssm.list_command_invocations(InstanceId=instance, Details=True)["CommandInvocations"]
    assert row["CommandPlugins"][0]["Name"] == "greet"
    logged = bench.aws.client("logs").filter_log_events(logGroupName="commands")["events"]
    assert f"{command}/{instance}/greet/stdout" in {e["logStreamName"] for e in logged}


@pytest.mark.parametrize(
    ("more", "code", "word"),
    [
        ({"Parameters": {}}, "InvalidParameters", "Bake"),
        ({"Parameters": {"Bake": ["b-1"], "Nope": ["x"]}}, "InvalidParameters", "Nope"),
        ({"Parameters": {"Bake": ["B 1"]}}, "InvalidParameters", "allowedPattern"),
        ({"Parameters": {"Bake": ["a", "b"]}}, "InvalidParameters", "one value"),
        ({"Parameters": {"Bake": ["b-1"], "Mode": ["wild"]}}, "InvalidParameters", "wild"),
        ({"Parameters": {"Bake": ["b" * 70_000]}}, "MaxDocumentSizeExceeded", "64 KB"),
        ({"DocumentName": "AmiBakery-none"}, "InvalidDocument", "AmiBakery-none"),
        ({"DocumentVersion": "9"}, "InvalidDocumentVersion", "9"),
        ({"DocumentHash": "0" * 64, "DocumentHashType": "Sha256"}, "InvalidDocument", "hash"),
        ({"TimeoutSeconds": 5}, "ValidationException", "TimeoutSeconds"),
        (
            {"DocumentName": "AWS-RunPatchBaseline", "Parameters": {"Operation": ["Destroy"]}},
            "InvalidParameters",
            "Destroy",
        ),
        (
            {"DocumentName": "AWS-ApplyChefRecipes", "Parameters": {"Recipes": ["x"]}},
            "InvalidParameters",
            "Recipes",
        ),
        ({"InstanceIds": ["i-0123456789abcdef0"]}, "InvalidInstanceId", "i-0123456789abcdef0"),
    ],
)
def test_send_command_refuses(bench: Bench, more: dict[str, Any], code: str, word: str) -> None:
    instance = bench.managed()
    given = {
        "InstanceIds": [instance],
        "DocumentName": DOCUMENT,
        "Parameters": {"Bake": ["b-1"]},
        **more,
    }
    client = bench.aws.client("ssm")
    with pytest.raises(ClientError) as error:
        client._make_api_call("SendCommand", given) if more.get(
            "TimeoutSeconds"
        ) != 5 else _unchecked(bench, given)
    assert refused(error) == code and word in str(error.value)
    assert not bench.aws.commands.all


def _unchecked(bench: Bench, given: dict[str, Any]) -> None:
    """The SDK's own validation stands in the way of a bad TimeoutSeconds."""
    client = bench.aws.client("ssm")
    client.meta.events.register("before-parameter-build.ssm.SendCommand", lambda **_: None)
    shape = client.meta.service_model.operation_model("SendCommand").input_shape.members[
        "TimeoutSeconds"
    ]
    before = shape.metadata.pop("min", None)
    try:
        client.send_command(**given)
    finally:
        if before is not None:
            shape.metadata["min"] = before


def test_a_document_of_another_account_is_named_by_its_whole_arn_only(bench: Bench) -> None:
    arn = "arn:aws:ssm:eu-west-1:444455556666:document/Shared"
    script = {"action": "aws:runShellScript", "name": "run", "inputs": {"runCommand": ["true"]}}
    bench.aws.documents.add(arn, {"schemaVersion": "2.2", "mainSteps": [script]}, owner="4444")
    instance = bench.managed()
    for name in ("Shared", arn.replace("4444", "1111"), arn.replace("444455556666", "")):
        with pytest.raises(ClientError) as error:
            bench.send(instance, name, Parameters={})
        assert refused(error) == "InvalidDocument"
    command = bench.send(instance, arn, Parameters={})
    assert bench.done(command, instance)["Status"] == "Success"
    assert {
        event["detail"]["document-name"]
        for event in bench.aws.events.recorded
        if event["detail"].get("command-id") == command
    } == {arn}


def test_a_stopped_instance_takes_no_commands(bench: Bench) -> None:
    instance = bench.managed()
    bench.aws.client("ec2").stop_instances(InstanceIds=[instance])
    with pytest.raises(ClientError) as error:
        bench.send(instance)
    assert refused(error) == "InvalidInstanceId"


def test_scripted_failures_carry_code_and_output(bench: Bench) -> None:
    instance = bench.managed()
    bench.aws.agent.script("AmiBakery-test-*", exit_code=7, stdout="one\n", stderr="two\n")
    done = bench.done(bench.send(instance), instance)
    assert (done["Status"], done["ResponseCode"]) == ("Failed", 7)
    assert (done["StandardOutputContent"], done["StandardErrorContent"]) == ("one\n", "two\n")
    assert bench.done(bench.send(instance), instance)["Status"] == "Success"


def test_output_is_cut_where_the_api_cuts_it(bench: Bench) -> None:
    instance = bench.managed()
    bench.aws.agent.script(exit_code=1, stdout="o" * 30_000, stderr="e" * 30_000)
    done = bench.done(bench.send(instance), instance)
    assert (
        len(done["StandardOutputContent"]) == 24_000 and len(done["StandardErrorContent"]) == 8_000
    )


@pytest.mark.parametrize(
    ("status", "given", "details"),
    [
        ("ExecutionTimedOut", "TimedOut", "ExecutionTimedOut"),
        ("Undeliverable", "Failed", "Undeliverable"),
        ("InProgress", "TimedOut", "DeliveryTimedOut"),
        ("Pending", "TimedOut", "DeliveryTimedOut"),
    ],
)
def test_other_endings(bench: Bench, status: str, given: str, details: str) -> None:
    instance = bench.managed()
    bench.aws.agent.script(DOCUMENT, status=status)
    command = bench.send(instance, TimeoutSeconds=60)
    done = bench.done(command, instance)
    assert (done["Status"], done["StatusDetails"]) == (given, details)


def test_a_command_can_be_cancelled(bench: Bench) -> None:
    instance = bench.managed()
    bench.aws.agent.script(DOCUMENT, status="InProgress")
    command = bench.send(instance)
    bench.aws.until(lambda: bench.invocation(command, instance)["Status"] == "InProgress")
    bench.aws.client("ssm").cancel_command(CommandId=command)
    assert bench.done(command, instance)["Status"] == "Cancelled"


def test_an_instance_that_goes_takes_its_command_along(bench: Bench) -> None:
    instance = bench.managed()
    bench.aws.agent.script(DOCUMENT, status="Success", stdout="never seen", seconds=300)
    command = bench.send(instance, TimeoutSeconds=60)
    bench.aws.until(lambda: bench.invocation(command, instance)["Status"] == "InProgress")
    bench.aws.client("ec2").terminate_instances(InstanceIds=[instance])
    done = bench.done(command, instance)
    assert (
        done["StatusDetails"] == "DeliveryTimedOut"
        and "never seen" not in done["StandardOutputContent"]
    )


def test_exit_194_reboots_and_runs_the_step_again(bench: Bench) -> None:
    instance = bench.managed()
    bench.aws.agent.script(DOCUMENT, exit_code=194, stdout="rebooting\n")
    command = bench.send(instance)
    bench.aws.until(lambda: bench.ping(instance) == "ConnectionLost")
    done = bench.done(command, instance)
    assert done["Status"] == "Success"
    assert (
        done["StandardOutputContent"].startswith("rebooting\n")
        and "b-1 done" in done["StandardOutputContent"]
    )
    assert bench.ping(instance) == "Online"


def test_an_invocation_may_not_be_there_at_first(bench: Bench) -> None:
    instance = bench.managed()
    bench.aws.agent.invocation_lag = 2
    command = bench.send(instance)
    for _ in range(2):
        with pytest.raises(ClientError) as error:
            bench.invocation(command, instance)
        assert refused(error) == "InvocationDoesNotExist"
    bench.done(command, instance)


def test_several_steps_show_their_output_only_by_name(bench: Bench) -> None:
    step = {"action": "aws:runShellScript", "inputs": {"runCommand": ["true"]}}
    content = {
        "schemaVersion": "2.2",
        "mainSteps": [{**step, "name": "first"}, {**step, "name": "second"}],
    }
    bench.aws.client("ssm").create_document(
        Name="two-steps", Content=json.dumps(content), DocumentType="Command"
    )
    instance = bench.managed()
    bench.aws.agent.script("two-steps", step="second", exit_code=3, stderr="no")
    command = bench.send(instance, "two-steps", Parameters={})
    done = bench.done(command, instance)
    assert (done["Status"], done["StandardErrorContent"]) == ("Failed", "")
    assert bench.invocation(command, instance, PluginName="first")["Status"] == "Success"
    second = bench.invocation(command, instance, PluginName="second")
    assert (second["Status"], second["ResponseCode"], second["StandardErrorContent"]) == (
        "Failed",
        3,
        "no",
    )
    with pytest.raises(ClientError) as error:
        bench.invocation(command, instance, PluginName="third")
    assert refused(error) == "InvalidPluginName"


def test_documents_have_versions_and_hashes(bench: Bench) -> None:
    ssm = bench.aws.client("ssm")
    first = ssm.describe_document(Name=DOCUMENT)["Document"]
    assert (first["DocumentVersion"], first["HashType"], len(first["Hash"])) == ("1", "Sha256", 64)
    assert {p["Name"]: p.get("DefaultValue") for p in first["Parameters"]} == {
        "Bake": None,
        "Mode": "soft",
    }
    content = json.loads(ssm.get_document(Name=DOCUMENT)["Content"])
    with pytest.raises(ClientError) as error:
        ssm.update_document(
            Name=DOCUMENT,
            Content=ssm.get_document(Name=DOCUMENT)["Content"],
            DocumentVersion="$LATEST",
        )
    assert refused(error) == "DuplicateDocumentContent"
    content["description"] = "changed"
    ssm.update_document(Name=DOCUMENT, Content=json.dumps(content), DocumentVersion="$LATEST")
    assert ssm.describe_document(Name=DOCUMENT)["Document"]["Hash"] == first["Hash"]
    latest = ssm.describe_document(Name=DOCUMENT, DocumentVersion="$LATEST")["Document"]
    assert latest["DocumentVersion"] == "2" and latest["Hash"] != first["Hash"]
    instance = bench.managed()
    bench.done(
        bench.send(
            instance, DocumentVersion="2", DocumentHash=latest["Hash"], DocumentHashType="Sha256"
        ),
        instance,
    )


@pytest.mark.parametrize(
    "content",
    [
        "{",
        '{"schemaVersion": "0.3", "mainSteps": []}',
        '{"schemaVersion": "2.2"}',
        '{"schemaVersion": "2.2", "mainSteps": [{"name": "a"}]}',
    ],
)
def test_bad_documents_are_refused(bench: Bench, content: str) -> None:
    with pytest.raises(ClientError) as error:
        bench.aws.client("ssm").create_document(
            Name="bad-one", Content=content, DocumentType="Command"
        )
    assert refused(error) == "InvalidDocumentContent"


def test_an_image_parameter_is_validated_later(ec2: Bench) -> None:
    ssm, aws = ec2.aws.client("ssm"), ec2.aws
    aws.clock.scale = 20
    name = "/ami-bakery/web/image"
    put: dict[str, Any] = {
        "Name": name,
        "Type": "String",
        "DataType": "aws:ec2:image",
        "Overwrite": True,
    }
    assert ssm.put_parameter(**put, Value=AL2023)["Version"] == 1
    with pytest.raises(ClientError) as error:
        ssm.get_parameter(Name=put["Name"])
    assert refused(error) == "ParameterNotFound"
    aws.until(lambda: aws.parameters.value(name, aws.region) == AL2023)
    assert ssm.put_parameter(**put, Value="ami-0123456789abcdef0")["Version"] == 2
    events = aws.until(
        lambda: found if len(found := aws.events.of("Parameter Store Change")) == 2 else None
    )
    assert events[0]["detail"] == {
        "operation": "Create",
        "name": put["Name"],
        "type": "String",
        "dataType": "aws:ec2:image",
    }
    assert events[1]["detail"]["exception"]
    assert ssm.get_parameter(Name=put["Name"])["Parameter"]["Value"] == AL2023
    with pytest.raises(ClientError) as error:
        ssm.put_parameter(**{**put, "Overwrite": False}, Value=AL2023)
    assert refused(error) == "ParameterAlreadyExists"


class _SlowToBoot(CheckOnly):
    """As a sandbox is, which builds and boots a root file system for the first command."""

    def host(self, machine: Machine) -> Host:
        time.sleep(1)
        return super().host(machine)


def test_the_boot_of_a_host_takes_no_more_aws_time_than_real_time(assembly: Path) -> None:
    with LocalAws.start(assembly, scale=600, machines=_SlowToBoot()) as aws:
        aws.schedules.paused = True
        aws.deploy()
        bench = Bench(aws)
        instance = bench.managed()
        sent = bench.send(instance)
        bench.done(sent, instance)
        command = aws.commands.all[sent]
        assert command.started and command.ended
        assert (command.ended - command.started).total_seconds() < 300


class _Seen(CheckOnly):
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.machines: dict[str, Machine] = {}
        self.stops: list[str] = []

    def host(self, machine: Machine) -> Host:
        self.machines[machine.instance_id] = machine
        return super().host(machine)

    def stopped(self, instance_id: str) -> None:
        self.stops.append(instance_id)


def test_the_host_of_an_image_is_told_whose_disk_it_has(assembly: Path) -> None:
    seen = _Seen()
    with LocalAws.start(assembly, scale=600, machines=seen) as aws:
        aws.schedules.paused = True
        aws.deploy()
        bench, ec2 = Bench(aws), aws.client("ec2")
        builder = bench.managed()
        bench.done(bench.send(builder), builder)
        assert seen.machines[builder].made_from == ""
        ec2.stop_instances(InstanceIds=[builder])
        bench.in_state(builder, "stopped")
        assert seen.stops == [builder]
        image = ec2.create_image(InstanceId=builder, Name="made")["ImageId"]
        aws.until(
            lambda: ec2.describe_images(ImageIds=[image])["Images"][0]["State"] == "available"
        )
        test = bench.managed(image=image)
        bench.done(bench.send(test), test)
        assert seen.machines[test].made_from == builder
