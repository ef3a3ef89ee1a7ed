"""What an organization puts around the bakery in tests: tags, a boundary, service control policies.

The boundary is the whole list of what the roles of the stack need: copy it for your own.
"""

from collections.abc import Mapping
from typing import Any

from scripts.local.iam import ACCOUNT

Document = Mapping[str, Any]

TAGS = {"CostCenter": "1234", "Owner": "Platform team"}
"""As the context ``tags`` has them; no tag of ours."""


def tags_demanded(key: str) -> Document:
    """Nothing is made in EC2 without a tag of that key.

    Of a copy just the snapshots are asked: its source is an image of the request as well, and
    whether that has the tags of the request, the reference leaves open.
    """
    made = {
        "ec2:RunInstances": ("instance", "network-interface", "spot-instances-request", "volume"),
        "ec2:CreateImage": ("image", "snapshot"),
        "ec2:CopyImage": ("snapshot",),
    }
    return _document(
        *(
            _deny(
                action,
                [f"arn:aws:ec2:*:*:{kind}/*" for kind in kinds],
                {"Null": {f"aws:RequestTag/{key}": "true"}},
            )
            for action, kinds in made.items()
        )
    )


def _deny(
    action: str | list[str], resource: str | list[str], condition: Mapping[str, Any] | None = None
) -> Document:
    found = {"Effect": "Deny", "Action": action, "Resource": resource}
    return {**found, "Condition": condition} if condition else found


def _document(*statements: Document) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


_INSTANCES, _VOLUMES = "arn:aws:ec2:*:*:instance/*", "arn:aws:ec2:*:*:volume/*"
IMDSV2_DEMANDED = _document(
    _deny(
        "ec2:RunInstances",
        _INSTANCES,
        {"StringNotEquals": {"ec2:MetadataHttpTokens": "required"}},
    ),
    _deny(
        "ec2:RunInstances",
        _INSTANCES,
        {"NumericGreaterThan": {"ec2:MetadataHttpPutResponseHopLimit": "1"}},
    ),
    _deny("ec2:ModifyInstanceMetadataOptions", "*"),
)
ENCRYPTION_DEMANDED = _document(
    _deny(["ec2:RunInstances", "ec2:CreateVolume"], _VOLUMES, {"Bool": {"ec2:Encrypted": "false"}}),
)
GUARDS = (tags_demanded("CostCenter"), IMDSV2_DEMANDED, ENCRYPTION_DEMANDED)
"""The organization's service control policies."""

NEEDED = {
    "autoscaling": "DescribeAutoScalingGroups DescribeLaunchConfigurations",
    "dynamodb": "DeleteItem GetItem PutItem Query",
    "ec2": (
        "CancelSpotInstanceRequests CopyImage CreateImage CreateImageUsageReport "
        "CreateLaunchTemplateVersion CreateTags DeleteLaunchTemplateVersions DeleteSnapshot "
        "DeleteVolume DeregisterImage DescribeFastLaunchImages DescribeFleets "
        "DescribeImageAttribute DescribeImageReferences DescribeImageUsageReportEntries "
        "DescribeImageUsageReports DescribeImages DescribeInstanceTypes DescribeInstances "
        "DescribeLaunchTemplateVersions DescribeLaunchTemplates DescribeRegions "
        "DescribeSnapshots DescribeSpotFleetRequests DescribeSpotInstanceRequests "
        "DescribeSubnets DescribeVolumes DisableFastLaunch DisableImage "
        "DisableImageDeregistrationProtection EnableFastLaunch EnableImageDeprecation "
        "EnableImageDeregistrationProtection ModifyImageAttribute ModifyLaunchTemplate "
        "ModifySnapshotAttribute ResetImageAttribute ResetSnapshotAttribute RunInstances "
        "StopInstances TerminateInstances"
    ),
    "ec2messages": (
        "AcknowledgeMessage DeleteMessage FailMessage GetEndpoint GetMessages SendReply"
    ),
    "events": "DescribeRule PutEvents PutRule PutTargets",
    "iam": "CreateServiceLinkedRole PassRole",
    "imagebuilder": "GetContainerRecipe ListContainerRecipes ListImageRecipes",
    "kms": (
        "CreateGrant Decrypt DescribeKey GenerateDataKeyWithoutPlaintext ReEncryptFrom ReEncryptTo"
    ),
    "lambda": "InvokeFunction",
    "logs": (
        "CreateLogDelivery CreateLogStream DeleteLogDelivery DescribeLogGroups "
        "DescribeLogStreams DescribeResourcePolicies GetLogDelivery GetLogEvents "
        "ListLogDeliveries PutLogEvents PutResourcePolicy UpdateLogDelivery"
    ),
    "s3": "GetObject ListBucket PutObject",
    "secretsmanager": "GetSecretValue",
    "sns": "Publish",
    "sqs": "GetQueueAttributes GetQueueUrl SendMessage",
    "ssm": (
        "DeleteParameter DescribeDocument DescribeInstanceInformation DescribeParameters "
        "GetCommandInvocation GetDeployablePatchSnapshotForInstance GetDocument GetManifest "
        "GetParameter GetParameterHistory GetParameters GetParametersByPath "
        "ListCommandInvocations PutComplianceItems PutConfigurePackageResult PutInventory "
        "PutParameter SendCommand UpdateInstanceInformation"
    ),
    "ssmmessages": ("CreateControlChannel CreateDataChannel OpenControlChannel OpenDataChannel"),
    "states": ("DescribeExecution SendTaskFailure SendTaskSuccess StartExecution StopExecution"),
    "xray": "GetSamplingRules GetSamplingTargets PutTelemetryRecords PutTraceSegments",
}
"""Action by action. The rules of ``events`` are Step Functions' own, for nested executions."""
NEEDED_WITH_A_DATA_KEY = {"kms": "Encrypt GenerateDataKey"}
"""For what lies under the key of the context ``data_key``: its own policy lets them."""

BOUNDARY = _document(
    {
        "Effect": "Allow",
        "Action": [
            f"{service}:{action}"
            for needed in (NEEDED, NEEDED_WITH_A_DATA_KEY)
            for service, actions in needed.items()
            for action in actions.split()
        ],
        "Resource": "*",
    },
    _deny("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/Administrator"),
)
