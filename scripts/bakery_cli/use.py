"""``bakery use``: how a recipe's current image is launched, as commands and as code. Pure.

Everything names the pointer, never an image, so that it stays right when the recipe is baked again.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bakery.naming import label_pointer, pointer
from bakery.recipe import Recipe

SUBNETS: Final = "$SUBNETS"
"""Stands for subnets, which nobody but the reader knows."""
_DEFAULT_TYPE: Final = "t3.medium"
_IMDSV2: Final = {"HttpTokens": "required"}
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:=@,+-]+")


@dataclass(frozen=True)
class Command:
    """One call, as the AWS command line makes it."""

    why: str
    service: str
    operation: str
    parameters: Mapping[str, Any]

    def __str__(self) -> str:
        words = [f"aws {self.service} {_kebab(self.operation)}"]
        for name, value in self.parameters.items():
            if name == "MinCount":
                continue
            option = "count" if name == "MaxCount" else _kebab(name)
            words.append(f"--{option} {_argument(value)}")
        return " \\\n    ".join(words)


def parameter(recipe: str, label: str = "") -> str:
    """The SSM parameter that holds the image."""
    return label_pointer(recipe, label) if label else pointer(recipe)


def commands(name: str, recipe: Recipe, *, label: str = "") -> list[Command]:
    """An instance, a launch template, an Auto Scaling group, and how the group gets a new image."""
    image = f"resolve:ssm:{parameter(name, label)}"
    kind = _instance_type(recipe)
    tags = [{"Key": "Name", "Value": name}]
    return [
        Command(
            "One instance, of the image that is current now",
            "ec2",
            "RunInstances",
            {
                "ImageId": image,
                "InstanceType": kind,
                "MinCount": 1,
                "MaxCount": 1,
                "MetadataOptions": _IMDSV2,
                "TagSpecifications": [{"ResourceType": "instance", "Tags": tags}],
            },
        ),
        Command(
            "A launch template; EC2 looks at the pointer at each launch",
            "ec2",
            "CreateLaunchTemplate",
            {
                "LaunchTemplateName": template_name(name),
                "LaunchTemplateData": {
                    "ImageId": image,
                    "InstanceType": kind,
                    "MetadataOptions": _IMDSV2,
                    "TagSpecifications": [{"ResourceType": "instance", "Tags": tags}],
                },
            },
        ),
        Command(
            "An Auto Scaling group; it replaces what fails a health check, as AutoHealing did",
            "autoscaling",
            "CreateAutoScalingGroup",
            {
                "AutoScalingGroupName": name,
                "LaunchTemplate": {"LaunchTemplateName": template_name(name), "Version": "$Latest"},
                "MinSize": 1,
                "MaxSize": 3,
                "VPCZoneIdentifier": SUBNETS,
            },
        ),
        Command(
            "After each bake, or on the event Bake Succeeded: the group's instances one by one",
            "autoscaling",
            "StartInstanceRefresh",
            {
                "AutoScalingGroupName": name,
                "Preferences": {"MinHealthyPercentage": 90, "AutoRollback": False},
            },
        ),
    ]


def template_name(name: str) -> str:
    """EC2 wants three characters or more. Source: EC2 API reference, CreateLaunchTemplate."""
    return name if len(name) > 2 else f"{name}-image"


def cdk(name: str, recipe: Recipe, *, label: str = "") -> str:
    """A stack in Python with a launch template and an Auto Scaling group."""
    class_ = "".join(part.title() for part in re.split(r"[^a-z0-9]+", name))
    return f"""\
from aws_cdk import Stack
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from constructs import Construct


class {class_}Stack(Stack):
    def __init__(self, scope: Construct, id_: str, *, vpc: ec2.IVpc, **options) -> None:
        super().__init__(scope, id_, **options)
        # Not from_ssm_parameter, which the deployment would resolve once.
        pointer = "{parameter(name, label)}"
        template = ec2.LaunchTemplate(
            self,
            "Template",
            machine_image=ec2.MachineImage.resolve_ssm_parameter_at_launch(pointer),
            instance_type=ec2.InstanceType("{_instance_type(recipe)}"),
            security_group=ec2.SecurityGroup(self, "Group", vpc=vpc),
            require_imdsv2=True,
        )
        autoscaling.AutoScalingGroup(
            self, "Fleet", vpc=vpc, launch_template=template, min_capacity=1, max_capacity=3
        )
"""


def terraform(name: str, recipe: Recipe, *, label: str = "") -> str:
    """The same for Terraform."""
    id_ = name.replace("-", "_")
    return f"""\
resource "aws_launch_template" "{id_}" {{
  name          = "{template_name(name)}"
  image_id      = "resolve:ssm:{parameter(name, label)}"
  instance_type = "{_instance_type(recipe)}"
  metadata_options {{
    http_tokens = "required"
  }}
}}

resource "aws_autoscaling_group" "{id_}" {{
  name                = "{name}"
  min_size            = 1
  max_size            = 3
  vpc_zone_identifier = var.subnet_ids
  launch_template {{
    id      = aws_launch_template.{id_}.id
    version = "$Latest"
  }}
}}
"""


def text(name: str, recipe: Recipe, *, label: str = "") -> Iterator[str]:
    """All of it, as comments and lines to copy."""
    regions = ", ".join(["the stack's", *(it.region for it in recipe.distribute)])
    yield f"# Image of recipe {name}: parameter {parameter(name, label)}"
    yield f"# In each Region: {regions}."
    yield "# Other accounts that the image is shared with have no such parameter: name it there."
    yield ""
    for command in commands(name, recipe, label=label):
        yield f"# {command.why}"
        yield str(command)
        yield ""
    yield f"# {SUBNETS}: subnets of the group, with commas between them."
    for title, code in (
        ("AWS CDK (Python)", cdk(name, recipe, label=label)),
        ("Terraform", terraform(name, recipe, label=label)),
    ):
        yield ""
        yield f"# --- {title}"
        yield code.rstrip("\n")


def _instance_type(recipe: Recipe) -> str:
    kinds = recipe.test.instance_types or recipe.builder.instance_types
    return kinds[0] if kinds else _DEFAULT_TYPE


def _kebab(name: str) -> str:
    """``VPCZoneIdentifier`` as ``vpc-zone-identifier``, which is the command line's rule."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


def _argument(value: Any) -> str:
    """For a shell: structures as JSON; what it would take apart in quotes."""
    if value == SUBNETS:
        return f'"{SUBNETS}"'
    said = value if isinstance(value, str) else json.dumps(value)
    return said if _PLAIN.fullmatch(said) else f"'{said}'"
