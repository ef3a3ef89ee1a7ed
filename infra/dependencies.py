"""Keeping the template free of dependencies that say nothing."""

from typing import cast

from aws_cdk import CfnResource, Stack
from aws_cdk import aws_iam as iam
from constructs import IConstruct


def depend_on_policy_only(construct: IConstruct, role: iam.IRole) -> None:
    """Make the resource wait for its role's policy, and not once more for the role itself.

    The CDK adds both; CloudFormation knows the role from the reference, and cfn-lint (W3005) calls
    the second mention redundant.
    """
    resource = cast("CfnResource", construct.node.default_child)
    policy = cast("CfnResource", role.node.find_child("DefaultPolicy").node.default_child)
    resource.add_override("DependsOn", [Stack.of(role).get_logical_id(policy)])
