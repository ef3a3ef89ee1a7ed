"""A bake that uses secrets as documented leaves them nowhere: thirty canaries, and a look at all
that AWS and the bakery keep of a bake.

The recipe's own scripts run here for real, in the documents and with the parameters that the
commands were sent with, and get the secrets with the rights of the builder's role. Everything that
they print goes where it goes.
"""

import gzip
import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from botocore.exceptions import ClientError

from bakery.naming import instance_profile_parameter
from scripts.bakery_cli.main import main
from scripts.bakery_cli.synthesis import synthesize
from scripts.local import LocalAws, moto_seam
from scripts.local.hosts import CheckedHost, HereHost
from scripts.local.iam import Authorizer
from scripts.local.iam_needs import Need
from scripts.local.machines import CheckOnly, Machine
from scripts.local.runner import Ran
from tests.canaries import SAY_ALL, SECRETS, leaks
from tests.functional.conftest import World, prepare
from tests.instance_services import InstanceServices, RefusedError, serve

BASE = {"parameter": "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"}
IN_PARAMETERS = [kind for n, kind in enumerate(SECRETS) if n % 3 == 0]
WINDOWS = "ami-0c202200000000064"
PASSWORD = "Adm1n!-3f9d7c5b2a41"
NAMES = {kind: f"IT_{n}" for n, kind in enumerate(SECRETS)}
IDS = {kind: re.sub("[^a-z]+", "-", kind) for kind in SECRETS}
PLANTED = "/planted/"
UNWISE = {"sent": "sent-5f1c0e7a9b3d", "encoded": "encoded-8e2b4d6f0a1c"}
"""What the counter-tests use, for nobody else to find."""

SAY_IT = {
    "schemaVersion": "2.2",
    "parameters": {"Text": {"type": "String"}},
    "mainSteps": [
        {
            "action": "aws:runShellScript",
            "name": "say",
            "inputs": {"runCommand": ["echo '{{ Text }}'"]},
        }
    ],
}

CARELESS = f"{SAY_ALL}env\n"


def source(kind: str) -> dict[str, str]:
    if kind in IN_PARAMETERS:
        return {"parameter": f"{PLANTED}{IDS[kind]}"}
    return {"secret": f"planted/{IDS[kind]}"}


def steps(script: str) -> list[dict[str, Any]]:
    """Steps that have all secrets among them."""
    kinds = list(SECRETS)
    parts = (kinds[:15], kinds[15:])
    return [
        {"name": f"step {n}", "shell": script, "secrets": {NAMES[it]: source(it) for it in part}}
        for n, part in enumerate(parts)
    ]


RECIPES: Mapping[str, Any] = {
    "vault": {"customize": steps(CARELESS)},
    # All that a failing script said last is in the cause, the history, the event and the mail.
    "failing": {"customize": steps(f"{CARELESS}\nexit 3")},
    "office": {
        "base": {"ami": WINDOWS},
        "windows": {"administrator_password": {"secret": "planted/office", "key": "password"}},
        "test": {"identity": False},
    },
    "refused": {
        "customize": [{"name": "x", "shell": "true", "secrets": {"IT": {"secret": "not-there"}}}]
    },
    # What the documentation warns of.
    "unwise": {
        "customize": [
            {"name": "says it", "document": "AWS-SayIt", "parameters": {"Text": UNWISE["sent"]}}
        ]
    },
    "unwise-script": {
        "customize": [
            {
                "name": "encodes it",
                "shell": 'printf %s "$IT" | base64 -w 0',
                "secrets": {"IT": {"parameter": f"{PLANTED}unwise"}},
            }
        ]
    },
}


class Builder(CheckedHost):
    """Runs the scripts of recipes, here; of the bakery's own documents it only checks them."""

    def __init__(self, instance_id: str, folder: Path, environment: Mapping[str, str]) -> None:
        super().__init__(instance_id)
        self.here = HereHost(folder, instance_id=instance_id)
        self._environment = environment

    def write(self, path: str, content: bytes, mode: int) -> None:
        super().write(path, content, mode)
        self.here.write(path, content, mode)

    def execute(
        self, argv: Sequence[str], *, directory: str, environment: Mapping[str, str], timeout: float
    ) -> Ran:
        if argv[-1].rsplit("/", 2)[-2] != "run":
            return super().execute(
                argv, directory=directory, environment=environment, timeout=timeout
            )
        whole = {**environment, **self._environment}
        return self.here.execute(argv, directory=directory, environment=whole, timeout=timeout)


class WindowsBuilder(CheckedHost):
    """PowerShell does not run here; but what it would ask Secrets Manager for, this one asks for,
    with the rights of the builder's role."""

    got: ClassVar[list[str]] = []

    def execute(
        self, argv: Sequence[str], *, directory: str, environment: Mapping[str, str], timeout: float
    ) -> Ran:
        asked = environment.get("SSM_Secret", "none")
        if asked != "none" and environment.get("SSM_Phase", "configure") == "configure":
            name, _, key = asked.partition("#")
            answer = ask(self.instance_id, "GetSecretValue", {"SecretId": name})
            self.got.append(json.loads(answer["SecretString"])[key])
        return super().execute(argv, directory=directory, environment=environment, timeout=timeout)


class Machines(CheckOnly):
    """Builders that run scripts; test instances are as ever."""

    def __init__(self, folder: Path, services: InstanceServices) -> None:
        super().__init__()
        self._folder = folder
        self._services = services
        self._builders: dict[str, Any] = {}

    def host(self, machine: Machine) -> Any:
        id_ = machine.instance_id
        if machine.made_from:
            return super().host(machine)
        if machine.system.get("type") == "Windows":
            return self._builders.setdefault(id_, WindowsBuilder(id_, platform="Windows"))
        if id_ not in self._builders:
            environment = self._services.environment(id_)
            self._builders[id_] = Builder(id_, self._folder / id_, environment)
        return self._builders[id_]


def ask(instance: str, action: str, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    """What AWS answers the instance, with the rights of its role."""
    aws = LocalAws.current()
    assert aws is not None
    role = aws.commands.instances.known[instance].role
    try:
        if action == "GetParameter":
            found = aws.client_as(role, "ssm").get_parameter(**wanted)["Parameter"]
            return {"Parameter": {key: found[key] for key in ("Type", "Value")}}
        secret = aws.client("secretsmanager").get_secret_value(**wanted)
        need = Need("secretsmanager:GetSecretValue", secret["ARN"])
        caller = aws.principals.session(role, instance)
        if refused := Authorizer(moto_seam.attached).decide(caller, [need]):
            raise RefusedError("AccessDeniedException", f"not authorized: {refused.action}")
        return {"SecretString": secret["SecretString"]}
    except ClientError as error:
        answer = error.response["Error"]
        raise RefusedError(answer["Code"], answer["Message"]) from None


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        for recipe, content in RECIPES.items():
            whole = {"description": recipe, "base": BASE, **content}
            (Path(name) / f"{recipe}.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
        yield Path(name)


@pytest.fixture(scope="module")
def deployed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    assembly = synthesize(folder, lambda _: None)
    hosts = tmp_path_factory.mktemp("hosts")
    with (
        serve(ask) as services,
        LocalAws.start(
            assembly, region="eu-west-1", scale=120.0, machines=Machines(hosts, services)
        ) as aws,
    ):
        prepare(aws)
        for kind, value in SECRETS.items():
            if kind in IN_PARAMETERS:
                aws.client("ssm").put_parameter(
                    Name=source(kind)["parameter"], Type="SecureString", Value=value
                )
            else:
                aws.client("secretsmanager").create_secret(
                    Name=source(kind)["secret"], SecretString=value
                )
        aws.client("secretsmanager").create_secret(
            Name="planted/office", SecretString=json.dumps({"password": PASSWORD})
        )
        aws.client("ssm").put_parameter(
            Name=f"{PLANTED}unwise", Type="SecureString", Value=UNWISE["encoded"]
        )
        aws.documents.add("AWS-SayIt", SAY_IT)
        yield World(aws, aws.deploy())


# --- everywhere --------------------------------------------------------------------------------


def places(world: World) -> Iterator[tuple[str, object]]:
    """All that is kept of bakes, by what it is."""
    aws = world.aws
    yield from _executions(world)
    logs = aws.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        name = group["logGroupName"]
        events = logs.get_paginator("filter_log_events").paginate(logGroupName=name)
        yield f"log group {name}", [event for page in events for event in page["events"]]
    yield "output of functions", "\n".join(line.text for line in aws.function_logs)
    yield "events", list(aws.events.recorded)
    yield "mails", world.calls("Publish")
    for call in list(aws.calls.entries):
        yield f"call of {call.operation}", call.parameters
    for command in list(aws.commands.all.values()):
        yield "parameters of a command", (command.parameters, command.comment)
        for outcome in command.outcomes:
            yield "output of a command", (outcome.stdout, outcome.stderr, outcome.printed)
    for document in aws.documents.all.values():
        yield f"document {document.name}", [version.text for version in document.versions]
    yield "items of the table", list(world.items().items())
    yield from _resources(world)
    yield from _objects(world)


def _executions(world: World) -> Iterator[tuple[str, object]]:
    states = world.aws.client("stepfunctions")
    for machine in states.list_state_machines()["stateMachines"]:
        arn = machine["stateMachineArn"]
        yield "definition", states.describe_state_machine(stateMachineArn=arn)
        for execution in states.list_executions(stateMachineArn=arn)["executions"]:
            arn = execution["executionArn"]
            yield "execution", states.describe_execution(executionArn=arn)
            pages = states.get_paginator("get_execution_history")
            yield (
                "history of an execution",
                [page["events"] for page in pages.paginate(executionArn=arn)],
            )


def _resources(world: World) -> Iterator[tuple[str, object]]:
    for region in world.regions:
        ec2, ssm = world.aws.client("ec2", region), world.aws.client("ssm", region)
        yield "images", ec2.describe_images(Owners=["self"], IncludeDisabled=True)["Images"]
        yield "snapshots", ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        yield "instances", ec2.describe_instances()["Reservations"]
        yield "volumes", ec2.describe_volumes()["Volumes"]
        yield "launch templates", ec2.describe_launch_templates()["LaunchTemplates"]
        pages = ssm.get_paginator("describe_parameters").paginate()
        for parameter in (it for page in pages for it in page["Parameters"]):
            yield "description of a parameter", parameter
            if not parameter["Name"].startswith(PLANTED):
                yield "parameter", ssm.get_parameter_history(Name=parameter["Name"])["Parameters"]
    for queue in world.aws.client("sqs").list_queues().get("QueueUrls", []):
        messages = world.aws.client("sqs").receive_message(QueueUrl=queue, VisibilityTimeout=0)
        yield "dead letters", messages.get("Messages", [])
    for name, function in world.aws.lambdas.functions.items():
        yield "environment of a function", (name, function.environment)


def _objects(world: World) -> Iterator[tuple[str, object]]:
    s3 = world.aws.client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        for found in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
            body = s3.get_object(Bucket=bucket["Name"], Key=found["Key"])["Body"].read()
            with suppress(gzip.BadGzipFile):
                body = gzip.decompress(body)
            yield f"object in {bucket['Name']}", body


def found_in(world: World, secrets: Mapping[str, str]) -> dict[str, set[str]]:
    """Those secrets that are somewhere, with the places."""
    everything = [
        (place, content if isinstance(content, bytes | str) else repr(content))
        for place, content in places(world)
    ]
    assert len({place for place, _ in everything}) > 25, {place for place, _ in everything}
    return told_by(everything, secrets)


def told_by(
    everything: Sequence[tuple[str, object]], secrets: Mapping[str, str] = SECRETS
) -> dict[str, set[str]]:
    found = {kind: leaks(value, everything) for kind, value in secrets.items()}
    return {kind: where for kind, where in found.items() if where}


def said(
    world: World, capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str
) -> tuple[str, str]:
    """What the command line prints."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in world.aws.environment.items():
            patch.setenv(name, value)
        patch.setenv("TERM", "dumb")
        main([*arguments, "--recipes", str(folder)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return f"bakery {arguments[0]}", captured.out + captured.err


def log_of(world: World) -> str:
    logs = world.aws.client("logs")
    pages = logs.get_paginator("filter_log_events")
    group = world.outputs["CommandLogGroup"]
    return "\n".join(
        event["message"] for page in pages.paginate(logGroupName=group) for event in page["events"]
    )


# --- the bakes ---------------------------------------------------------------------------------


def test_a_bake_that_uses_secrets_as_documented_leaves_none_anywhere(
    world: World, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    ended = world.bake("vault", seconds=120)
    assert ended.status == "SUCCEEDED", ended.cause
    log = log_of(world)
    for kind, value in SECRETS.items():
        digest = hashlib.sha256(value.encode()).hexdigest()
        assert f"{NAMES[kind]}={digest}" in log, f"{kind} has not arrived as it is"
    assert log.count("***") > 2 * len(SECRETS)
    assert found_in(world, SECRETS) == {}
    printed = [
        said(world, capsys, folder, "follow", ended.arn),
        said(world, capsys, folder, "plan", "vault"),
        said(world, capsys, folder, "sbom", "vault"),
    ]
    assert told_by(printed) == {}


def test_a_windows_builder_gets_its_password_and_the_bake_leaves_it_nowhere(
    world: World, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    ended = world.bake("office", seconds=120)
    assert ended.status == "SUCCEEDED", ended.cause
    assert WindowsBuilder.got == [PASSWORD]
    assert found_in(world, {"password": PASSWORD}) == {}
    printed = [said(world, capsys, folder, it, "office") for it in ("plan", "check")]
    assert told_by(printed, {"password": PASSWORD}) == {}
    assert all("stays readable in the image" in " ".join(text.split()) for _, text in printed)


def test_the_documents_and_parameters_of_its_commands_are_those_that_are_deployed(
    world: World,
) -> None:
    """What the tests of the document prove holds for this bake: nothing was sent beside it."""
    world.bake("vault", force=True, seconds=120)
    sent = [it for it in world.calls("SendCommand") if it["DocumentName"].startswith("AmiBakery.")]
    assert [it["DocumentName"] for it in sent] == [
        "AmiBakery.vault.step-0",
        "AmiBakery.vault.step-1",
    ]
    for command in sent:
        assert not command.get("Parameters")
        text = world.aws.documents.find(command["DocumentName"]).latest.text
        assert hashlib.sha256(text.encode()).hexdigest() == command["DocumentHash"]
        assert " IT_0=parameter:/planted/plain-word" in text or " IT_29=secret:" in text


def test_a_step_that_fails_in_the_middle_of_its_secrets_tells_none(
    world: World, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    ended = world.bake("failing", seconds=120)
    assert (ended.status, ended.error) == ("FAILED", "CustomizationFailedError")
    assert "***" in ended.cause
    world.aws.until(lambda: world.calls("Publish"), what="the mail")
    assert found_in(world, SECRETS) == {}
    printed = [said(world, capsys, folder, "follow", ended.arn), ("cause", ended.cause)]
    assert told_by(printed) == {}


def test_a_secret_that_is_not_there_fails_the_bake_by_its_name(world: World) -> None:
    ended = world.bake("refused", seconds=120)
    assert (ended.status, ended.error) == ("FAILED", "CustomizationFailedError")
    assert "cannot resolve a secret of this step: IT (secret not-there): Resource" in ended.cause


def test_a_builder_cannot_read_what_another_recipe_names(world: World) -> None:
    profile = world.parameter(instance_profile_parameter("unwise-script"))
    role = moto_seam.profile_role(str(profile))
    client = world.aws.client_as(str(role), "ssm")
    own = client.get_parameter(Name=f"{PLANTED}unwise", WithDecryption=True)
    assert own["Parameter"]["Value"] == UNWISE["encoded"]
    with pytest.raises(ClientError, match="AccessDenied"):
        client.get_parameter(Name=source(IN_PARAMETERS[0])["parameter"], WithDecryption=True)


# --- the counter-tests -------------------------------------------------------------------------


def test_a_value_in_a_documents_parameters_is_seen_everywhere(world: World) -> None:
    """The recipe reference says "Never secrets", and this is why."""
    ended = world.bake("unwise", seconds=120)
    assert ended.status == "SUCCEEDED", ended.cause
    assert found_in(world, UNWISE)["sent"] >= {
        "call of SendCommand",
        "parameters of a command",
        "events",
    }


def test_a_script_that_encodes_a_secret_prints_it(world: World) -> None:
    """Only what is printed as it is can be masked."""
    ended = world.bake("unwise-script", seconds=120)
    assert ended.status == "SUCCEEDED", ended.cause
    log = f"log group {world.outputs['CommandLogGroup']}"
    assert found_in(world, UNWISE)["encoded"] >= {"output of a command", log}
