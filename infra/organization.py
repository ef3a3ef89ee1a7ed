"""What an organization asks of every resource of a kind: boundary and path of roles, key of data,
tags.

Set when the stack is complete, so that what the CDK makes has it as well, and what is added later.
"""

from aws_cdk import Stack, Tags
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import IConstruct

from infra.settings import Settings


def as_the_organization_asks(stack: Stack, settings: Settings) -> None:
    """Give what the stack has the boundary, path, key and tags of the settings.

    Call it when everything else is made. Instance profiles get the path too: who is bound to a path
    is so for both.
    """
    for name, value in settings.tags.items():
        Tags.of(stack).add(name, value)
        # The stack has its own besides: whether it may be made, its own tags decide.
        stack.tags.set_tag(name, value)
    boundary, path, key = settings.permissions_boundary, settings.role_path, settings.data_key
    if not (boundary or path or key):
        return
    if boundary and not boundary.startswith("arn:"):
        boundary = stack.format_arn(
            service="iam", region="", resource="policy", resource_name=boundary
        )
    for made in stack.node.find_all():
        if boundary and isinstance(made, iam.CfnRole):
            made.permissions_boundary = boundary
        if path and isinstance(made, iam.CfnRole | iam.CfnInstanceProfile):
            made.path = path
        if key:
            _encrypt(made, key)


def _encrypt(made: IConstruct, key: str) -> None:
    """Without rights for the roles: the key's own policy lets them use it through these services,
    as the policies of AWS's own keys do."""
    match made:
        case logs.CfnLogGroup():
            made.kms_key_id = key
        case dynamodb.CfnTable():
            made.sse_specification = dynamodb.CfnTable.SSESpecificationProperty(
                sse_enabled=True, sse_type="KMS", kms_master_key_id=key
            )
        case sns.CfnTopic():
            made.kms_master_key_id = key
        case sqs.CfnQueue():
            made.sqs_managed_sse_enabled = None
            made.kms_master_key_id = key
        case s3.CfnBucket():
            by_default = s3.CfnBucket.ServerSideEncryptionByDefaultProperty(
                sse_algorithm="aws:kms", kms_master_key_id=key
            )
            made.bucket_encryption = s3.CfnBucket.BucketEncryptionProperty(
                server_side_encryption_configuration=[
                    s3.CfnBucket.ServerSideEncryptionRuleProperty(
                        bucket_key_enabled=True,
                        server_side_encryption_by_default=by_default,
                    )
                ]
            )
