"""What `bakery use` prints is what AWS, the CDK and a shell take."""

import json
import subprocess
from typing import Any

import botocore.session
import pytest
from botocore import xform_name
from botocore.validate import ParamValidator

from bakery.recipe import Recipe, parse_recipe
from scripts.bakery_cli import use

NAME = "web-app"
WORDS = "aws "


def recipe(**more: Any) -> Recipe:
    return parse_recipe(
        NAME, {"description": "web", "base": {"ami": "ami-0123456789abcdef0"}, **more}
    )


def called(command: str, **variables: str) -> tuple[str, str, dict[str, Any]]:
    """Service, operation and parameters of a command, as shell and AWS command line read it."""
    program = 'aws() { for word in "$@"; do printf \'%s\\0\' "$word"; done; }'
    shown = subprocess.run(
        ["sh", "-c", f"{program}\n{command}"],
        env=variables,
        capture_output=True,
        check=True,
        text=True,
    )
    service, operation, *words = shown.stdout.split("\0")[:-1]
    client = botocore.session.get_session().create_client(service, region_name="eu-west-1")
    (name,) = (
        it for it in client.meta.service_model.operation_names if xform_name(it, "-") == operation
    )
    shape = client.meta.service_model.operation_model(name).input_shape
    assert shape
    members = shape.members
    by_option = {f"--{xform_name(it, '-')}": it for it in members}
    found: dict[str, Any] = {}
    for option, value in zip(words[::2], words[1::2], strict=True):
        if option == "--count":
            found.update(MinCount=int(value), MaxCount=int(value))
            continue
        member = by_option[option]
        plain = members[member].type_name == "string"
        found[member] = value if plain else json.loads(value)
    return service, name, found


@pytest.mark.parametrize("name", [NAME, "ab"])
@pytest.mark.parametrize("label", ["", "stable"])
@pytest.mark.parametrize("index", range(4))
def test_a_shell_and_the_command_line_read_what_was_meant_and_aws_knows_it(
    index: int, label: str, name: str
) -> None:
    command = use.commands(name, recipe(), label=label)[index]
    service, operation, parameters = called(str(command), SUBNETS="subnet-1,subnet-2")
    wanted = json.loads(json.dumps(command.parameters).replace("$SUBNETS", "subnet-1,subnet-2"))
    assert (service, operation, parameters) == (command.service, command.operation, wanted)
    model = botocore.session.get_session().get_service_model(service)
    shape = model.operation_model(operation).input_shape
    assert shape
    report = ParamValidator().validate(parameters, shape)
    assert not report.has_errors(), report.generate_report()


def test_it_names_the_pointer_and_no_image() -> None:
    said = "\n".join(use.text(NAME, recipe()))
    assert said.count("/ami-bakery/web-app/image") == 5 and "ami-0" not in said
    labelled = "\n".join(use.text(NAME, recipe(), label="stable"))
    assert labelled.count("/ami-bakery/web-app/labels/stable") == 5


def test_the_instance_type_is_one_that_the_image_was_tested_on() -> None:
    kinds = {"builder": {"instance_types": ["m7g.large"]}}
    assert "m7g.large" in use.terraform(NAME, recipe(**kinds))
    tested = {**kinds, "test": {"instance_types": ["c7g.large"]}}
    assert "c7g.large" in use.cdk(NAME, recipe(**tested))
    assert use.commands(NAME, recipe())[0].parameters["InstanceType"] == "t3.medium"


def test_regions_of_copies_are_named() -> None:
    said = [*use.text(NAME, recipe(distribute=[{"region": "eu-central-1"}]))]
    assert "# In each Region: the stack's, eu-central-1." in said


def test_terraform_is_whole() -> None:
    """There is no Terraform to ask: its blocks are closed, and nothing is left to fill in."""
    code = use.terraform(NAME, recipe())
    assert code.count("{") == code.count("}") == 4
    assert 'image_id      = "resolve:ssm:/ami-bakery/web-app/image"' in code
    assert "aws_launch_template.web_app.id" in code
