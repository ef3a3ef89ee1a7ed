"""What an organization asks of every role of a stack: a permissions boundary, a path."""

from aws_cdk import Stack
from aws_cdk import aws_iam as iam

from infra.settings import Settings


def as_the_organization_asks(stack: Stack, settings: Settings) -> None:
    """Give all roles, also those that the CDK has made, the boundary and path of the settings.

    Call it when everything else is made. Instance profiles get the path too: who is bound to a path
    is so for both.
    """
    boundary, path = settings.permissions_boundary, settings.role_path
    if not boundary and not path:
        return
    if boundary and not boundary.startswith("arn:"):
        boundary = stack.format_arn(
            service="iam", region="", resource="policy", resource_name=boundary
        )
    for made in stack.node.find_all():
        if isinstance(made, iam.CfnRole) and boundary:
            made.permissions_boundary = boundary
        if isinstance(made, iam.CfnRole | iam.CfnInstanceProfile) and path:
            made.path = path
