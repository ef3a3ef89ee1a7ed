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

NOBODY_NEEDS = (
    *("ec2:AuthorizeSecurityGroup*", "ec2:CreateKeyPair", "ec2:ImportKeyPair"),
    *("ec2:ModifyInstanceAttribute", "ec2:StartInstances", "s3:DeleteBucket", "s3:PutBucket*"),
    *("ssm:ModifyDocumentPermission", "ssm:StartSession", "ssm:UpdateDocument"),
)
BOUNDARY = _document(
    {
        "Effect": "Allow",
        "Action": [
            *("autoscaling:Describe*", "dynamodb:*", "ec2:*", "ec2messages:*", "imagebuilder:Get*"),
            *("imagebuilder:List*", "kms:*", "lambda:InvokeFunction", "logs:*", "s3:*"),
            *("secretsmanager:GetSecretValue", "sns:Publish", "sqs:Get*", "sqs:SendMessage"),
            *("ssm:*", "ssmmessages:*", "states:*", "xray:Get*", "xray:Put*"),
            # Step Functions starts a nested execution by a rule of its own.
            *("events:DescribeRule", "events:PutEvents", "events:PutRule", "events:PutTargets"),
            *("iam:CreateServiceLinkedRole", "iam:PassRole"),
        ],
        "Resource": "*",
    },
    _deny(list(NOBODY_NEEDS), "*"),
    _deny("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/Administrator"),
)
