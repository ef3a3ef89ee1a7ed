"""The CDK code that `bakery use` prints makes a template."""

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk.assertions import Match, Template

from bakery.recipe import parse_recipe
from scripts.bakery_cli import use

RECIPE = parse_recipe("web-app", {"description": "x", "base": {"ami": "ami-0123456789abcdef0"}})


def test_it_synthesizes_to_a_template_that_follows_the_pointer() -> None:
    names: dict[str, Any] = {}
    exec(compile(use.cdk("web-app", RECIPE), "web_app.py", "exec"), names)
    app = cdk.App()
    vpc = ec2.Vpc(cdk.Stack(app, "Network"), "Vpc")
    stack = names["WebAppStack"](app, "WebApp", vpc=vpc)
    template = Template.from_stack(stack)
    template.has_resource_properties(
        "AWS::EC2::LaunchTemplate",
        {
            "LaunchTemplateData": Match.object_like(
                {
                    "ImageId": "resolve:ssm:/ami-bakery/web-app/image",
                    "InstanceType": "t3.medium",
                    "MetadataOptions": {"HttpTokens": "required"},
                }
            )
        },
    )
    template.has_resource_properties(
        "AWS::AutoScaling::AutoScalingGroup",
        {"MinSize": "1", "MaxSize": "3", "LaunchTemplate": Match.any_value()},
    )
