"""What each role may do and may not, request by request, as AWS would decide it.

The policies are those of the synthesized template; the evaluation is that of the local AWS. Every
attack differs in one point from a request that is allowed, or has no business with its role at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from bakery.naming import TAG_BAKE, TAG_DISABLED_AT
from scripts.local.iam import ACCOUNT
from tests.infra.simulated import AWAY, HOME, OURS, THEIRS, Account, Simulation
from tests.organization import BOUNDARY, GUARDS, TAGS

if TYPE_CHECKING:
    from tests.infra.conftest import Synthesize, Synthesized

ALLOWED = "allowed"
Parameters = Mapping[str, Any]


class Row(NamedTuple):
    """A request by a role; ``verdict`` is ``allowed`` or the right that the role lacks."""

    role: str
    what: str
    call: str
    parameters: Parameters
    verdict: str = ALLOWED
    region: str = HOME


THE_ORGANIZATIONS = [{"Key": key, "Value": value} for key, value in TAGS.items()]


ALL_TAGS = (*OURS, *THE_ORGANIZATIONS)


def tagged(*kinds: str, tags: Sequence[dict[str, str]] = ALL_TAGS) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": tags} for kind in kinds]


def interface(**changes: Any) -> dict[str, Any]:
    groups = ["<BuilderHostSecurityGroup>"]
    return {"DeviceIndex": 0, "SubnetId": "subnet-1", "Groups": groups, **changes}


def disk(**ebs: Any) -> list[dict[str, Any]]:
    """A second one."""
    return [
        {"DeviceName": "/dev/sda1", "Ebs": {"Encrypted": True}},
        {"DeviceName": "/dev/sdb", "Ebs": {"Encrypted": True, **ebs}},
    ]


def kept(part: str, name: str = "<StoreTable>") -> dict[str, Any]:
    """PutItem of something to remember."""
    return {"TableName": name, "Item": {"part": {"S": part}, "id": {"S": "x"}}}


def item(part: str) -> dict[str, Any]:
    return {"TableName": "<StoreTable>", "Key": {"part": {"S": part}, "id": {"S": "x"}}}


def query(part: str) -> dict[str, Any]:
    return {
        "TableName": "<StoreTable>",
        "KeyConditionExpression": "part = :part AND begins_with(id, :prefix)",
        "ExpressionAttributeValues": {":part": {"S": part}, ":prefix": {"S": "x"}},
    }


def launch(profile: str = "Builder", **changes: Any) -> dict[str, Any]:
    """RunInstances as LaunchBuilder asks for it; ``<...>`` is replaced by an ARN of the stack."""
    return {
        "ImageId": "ami-public",
        "InstanceType": "t3.medium",
        "MinCount": 1,
        "MaxCount": 1,
        "IamInstanceProfile": {"Arn": f"<BuilderHost{profile}Profile>"},
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
        "NetworkInterfaces": [interface(AssociatePublicIpAddress=False)],
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"Encrypted": True}}],
        "TagSpecifications": tagged("instance", "volume", "network-interface"),
        **changes,
    }


def command(document: str, instance: str = "i-ours") -> dict[str, Any]:
    return {"DocumentName": document, "InstanceIds": [instance]}


def image(**changes: Any) -> dict[str, Any]:
    both = tagged("image", "snapshot")
    return {"InstanceId": "i-ours", "Name": "web", "TagSpecifications": both, **changes}


def copy(**changes: Any) -> dict[str, Any]:
    return {
        "SourceRegion": HOME,
        "SourceImageId": "ami-ours",
        "Name": "web",
        "TagSpecifications": tagged("image", "snapshot"),
        **changes,
    }


SPOT = {"MarketType": "spot"}
SPOT_ROLE = (
    f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"
)
ALL_KINDS = ("instance", "volume", "network-interface", "spot-instances-request")
POINTER = {"Name": "/ami-bakery/web/image", "Value": "ami-ours", "DataType": "aws:ec2:image"}
PRIVATE = {"Name": "/payroll/password"}
PROFILE = {"Name": "/ami-bakery-profiles/web", "Value": "arn:payroll"}
EVERYBODY = {"Add": [{"Group": "all"}]}
EVENT = {"Source": "ami-bakery", "DetailType": "Bake Succeeded", "Detail": "{}"}

LAUNCHER, TESTER = "TasksLaunchBuilderRole", "TasksLaunchTestRole"
SHARER, COPIER = "TasksReleaseImagesRole", "TasksCopyImageRole"
CLEANER, JANITOR, RETIRER = "TasksCleanUpRole", "JobsRemoveOrphansRole", "TasksRetireImagesRole"
MOVER = "MoverMovePointerRole"
BUILDER = "BuilderHostBuilderwebRole"

HALF_OURS = [
    (role, verb, action, asked(instance), instance, what)
    for instance, what in (
        ("i-tagged", "the bake's tag, but no profile of the bakery"),
        ("i-relaunched", "a profile of the bakery, but no bake's tag"),
    )
    for role, verb, action, asked in (
        (
            "TasksStopBuilderRole",
            "stop",
            "ec2:StopInstances",
            lambda instance: {"InstanceIds": [instance]},
        ),
        (
            "TasksCreateImageRole",
            "image",
            "ec2:CreateImage",
            lambda instance: image(InstanceId=instance),
        ),
        (CLEANER, "end", "ec2:TerminateInstances", lambda instance: {"InstanceIds": [instance]}),
    )
    # An instance that a spot request has launched once more has no tag, and must end.
    if (verb, instance) != ("end", "i-relaunched")
]
"""Whoever may tag, or pass the role, has one of the two."""

REQUESTS = [
    # Launching
    Row(LAUNCHER, "launch a builder", "ec2:RunInstances", launch()),
    Row(
        LAUNCHER,
        "launch a builder of the spot market",
        "ec2:RunInstances",
        launch(InstanceMarketOptions=SPOT, TagSpecifications=tagged(*ALL_KINDS)),
    ),
    Row(
        LAUNCHER,
        "have EC2 make its role for spot instances",
        "iam:CreateServiceLinkedRole",
        {"Resource": SPOT_ROLE, "Keys": {"iam:AWSServiceName": "spot.amazonaws.com"}},
    ),
    Row(
        TESTER,
        "launch a test instance of a bake's image",
        "ec2:RunInstances",
        launch("Test", ImageId="ami-ours"),
    ),
    Row(
        TESTER,
        "launch a test instance of an image of no bake",
        "ec2:RunInstances",
        launch("Test"),
        "ec2:RunInstances on image/ami-public",
    ),
    Row(
        TESTER,
        "launch a test instance of a foreign image of the account",
        "ec2:RunInstances",
        launch("Test", ImageId="ami-theirs"),
        "ec2:RunInstances on image/ami-theirs",
    ),
    Row(
        LAUNCHER,
        "pass an administrator's role",
        "ec2:RunInstances",
        launch(IamInstanceProfile={"Arn": "arn:aws:iam::1:instance-profile/admin"}),
        "ec2:RunInstances on instance/*",
    ),
    Row(
        LAUNCHER,
        "launch with the role of a test instance",
        "ec2:RunInstances",
        launch("Test"),
        "ec2:RunInstances on instance/*",
    ),
    Row(
        TESTER,
        "launch with the role of a builder",
        "ec2:RunInstances",
        launch(ImageId="ami-ours"),
        "ec2:RunInstances on instance/*",
    ),
    Row(
        LAUNCHER,
        "pass the builder's role to a function",
        "iam:PassRole",
        {
            "Resource": "<BuilderHostBuilderRole>",
            "Keys": {"iam:PassedToService": "lambda.amazonaws.com"},
        },
        "iam:PassRole on role/BuilderHostBuilderRole",
    ),
    Row(
        LAUNCHER,
        "launch without the metadata service's version 2",
        "ec2:RunInstances",
        launch(MetadataOptions={"HttpTokens": "optional", "HttpPutResponseHopLimit": 1}),
        "ec2:RunInstances on instance/*",
    ),
    Row(
        LAUNCHER,
        "launch without a word about the metadata service",
        "ec2:RunInstances",
        launch(MetadataOptions={}),
        "ec2:RunInstances on instance/*",
    ),
    Row(
        LAUNCHER,
        "let containers reach the metadata service",
        "ec2:RunInstances",
        launch(MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 2}),
        "ec2:RunInstances on instance/*",
    ),
    Row(
        LAUNCHER,
        "launch with a disk in the clear",
        "ec2:RunInstances",
        launch(BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"Encrypted": False}}]),
        "ec2:RunInstances on volume/*",
    ),
    Row(
        LAUNCHER,
        "launch with a second disk in the clear",
        "ec2:RunInstances",
        launch(
            BlockDeviceMappings=[
                {"DeviceName": "/dev/sda1", "Ebs": {"Encrypted": True}},
                {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 8}},
            ]
        ),
        "ec2:RunInstances on volume/*",
    ),
    Row(
        LAUNCHER,
        "launch an instance that the janitor could not find",
        "ec2:RunInstances",
        launch(TagSpecifications=tagged("volume", "network-interface")),
        "ec2:RunInstances on instance/*",
    ),
    Row(
        LAUNCHER,
        "launch with tags that are not ours",
        "ec2:RunInstances",
        launch(TagSpecifications=tagged("instance", "volume", tags=THEIRS)),
        "ec2:RunInstances on instance/*",
    ),
    Row(
        LAUNCHER,
        "launch with a key pair",
        "ec2:RunInstances",
        launch(KeyName="payroll"),
        "ec2:RunInstances on key-pair/payroll",
    ),
    Row(
        LAUNCHER,
        "launch in somebody else's security group",
        "ec2:RunInstances",
        launch(
            NetworkInterfaces=[interface(Groups=["sg-payroll"], AssociatePublicIpAddress=False)]
        ),
        "ec2:RunInstances on security-group/sg-payroll",
    ),
    *(
        Row(
            role,
            what,
            "ec2:RunInstances",
            launch(profile, ImageId="ami-ours", NetworkInterfaces=[asked]),
            "ec2:RunInstances on network-interface/*",
        )
        for role, profile in ((LAUNCHER, "Builder"), (TESTER, "Test"))
        for what, asked in (
            ("launch with a public address", interface(AssociatePublicIpAddress=True)),
            ("launch with the address that the subnet gives", interface()),
        )
    ),
    Row(
        LAUNCHER,
        "launch a builder with the data disk of its base image",
        "ec2:RunInstances",
        launch(BlockDeviceMappings=disk(SnapshotId="snap-public")),
    ),
    Row(
        TESTER,
        "launch a test instance with its image's data disk",
        "ec2:RunInstances",
        launch("Test", ImageId="ami-ours", BlockDeviceMappings=disk(SnapshotId="snap-ours")),
    ),
    Row(
        TESTER,
        "launch a test instance with somebody else's disk",
        "ec2:RunInstances",
        launch("Test", ImageId="ami-ours", BlockDeviceMappings=disk(SnapshotId="snap-theirs")),
        "ec2:RunInstances on snapshot/snap-theirs",
    ),
    Row(
        TESTER,
        "launch a test instance with a disk of another account",
        "ec2:RunInstances",
        launch("Test", ImageId="ami-ours", BlockDeviceMappings=disk(SnapshotId="snap-public")),
        "ec2:RunInstances on snapshot/snap-public",
    ),
    Row(
        LAUNCHER,
        "launch as a template says that anybody may change",
        "ec2:RunInstances",
        launch(LaunchTemplate={"LaunchTemplateId": "lt-payroll"}),
        "ec2:RunInstances on launch-template/lt-payroll",
    ),
    Row(
        TESTER,
        "launch a test instance of the spot market",
        "ec2:RunInstances",
        launch(
            "Test",
            ImageId="ami-ours",
            InstanceMarketOptions=SPOT,
            TagSpecifications=tagged(*ALL_KINDS),
        ),
        "ec2:RunInstances on spot-instances-request/*",
    ),
    Row(
        LAUNCHER,
        "launch in another Region",
        "ec2:RunInstances",
        launch(),
        "ec2:RunInstances on instance/*",
        AWAY,
    ),
    Row(
        LAUNCHER,
        "make a role for another service",
        "iam:CreateServiceLinkedRole",
        {"Resource": SPOT_ROLE, "Keys": {"iam:AWSServiceName": "organizations.amazonaws.com"}},
        "iam:CreateServiceLinkedRole on role/aws-service-role/spot",
    ),
    Row(
        LAUNCHER,
        "tag a running instance of somebody else into scope",
        "ec2:CreateTags",
        {"Resources": ["i-theirs"], "Tags": OURS},
        "ec2:CreateTags on instance/i-theirs",
    ),
    # Commands
    Row(
        "TasksRunStepRole",
        "run a recipe's step on a builder",
        "ssm:SendCommand",
        command("AmiBakery.web.packages"),
    ),
    Row(
        "TasksRunStepRole",
        "run a document of AWS that a recipe names",
        "ssm:SendCommand",
        command("AWS-RunPatchBaseline"),
    ),
    Row(
        "TasksGeneralizeRole",
        "generalize a builder",
        "ssm:SendCommand",
        command("AmiBakery-generalize-linux"),
    ),
    Row(
        "TasksRunTestRole",
        "run a recipe's test",
        "ssm:SendCommand",
        command("AmiBakery.everywhere.test.answers"),
    ),
    Row(
        "TasksRunStepRole",
        "run any script",
        "ssm:SendCommand",
        command("AWS-RunShellScript"),
        "ssm:SendCommand on document/AWS-RunShellScript",
    ),
    Row(
        "TasksRunStepRole",
        "run any document from anywhere",
        "ssm:SendCommand",
        command("AWS-RunDocument"),
        "ssm:SendCommand on document/AWS-RunDocument",
    ),
    Row(
        "TasksRunStepRole",
        "run a step on somebody else's instance",
        "ssm:SendCommand",
        command("AmiBakery.web.packages", "i-theirs"),
        "ssm:SendCommand on instance/i-theirs",
    ),
    *(
        Row(
            "TasksGeneralizeRole",
            f"wipe whatever has a {key}",
            "ssm:SendCommand",
            {
                "DocumentName": "AmiBakery-generalize-linux",
                "Targets": [{"Key": key, "Values": values}],
            },
            f"ssm:SendCommand on instance/{refused}",
        )
        for key, values, refused in (
            ("tag:Name", ["payroll"], "*"),
            ("InstanceIds", ["i-ours", "i-theirs"], "i-theirs"),
        )
    ),
    Row(
        "TasksGeneralizeRole",
        "wipe somebody else's instance",
        "ssm:SendCommand",
        command("AmiBakery-generalize-linux", "i-theirs"),
        "ssm:SendCommand on instance/i-theirs",
    ),
    Row(
        "TasksGeneralizeRole",
        "run a recipe's step",
        "ssm:SendCommand",
        command("AmiBakery.web.packages"),
        "ssm:SendCommand on document/AmiBakery.web.packages",
    ),
    Row(
        "TasksRunTestRole",
        "run a recipe's step on a test instance",
        "ssm:SendCommand",
        command("AmiBakery.web.packages"),
        "ssm:SendCommand on document/AmiBakery.web.packages",
    ),
    Row(
        "TasksRunStepRole",
        "run a document of another team",
        "ssm:SendCommand",
        command("Payroll-pay"),
        "ssm:SendCommand on document/Payroll-pay",
    ),
    *(
        Row(
            "TasksRunStepRole",
            f"change what a document does: {operation}",
            f"ssm:{operation}",
            {"Name": "AmiBakery.web.packages", "Content": "{}"},
            f"ssm:{operation} on ",
        )
        for operation in ("UpdateDocument", "UpdateDocumentDefaultVersion", "DeleteDocument")
    ),
    Row(
        "TasksPlanRole",
        "read a recipe's document",
        "ssm:GetDocument",
        {"Name": "AmiBakery.web.packages"},
    ),
    Row(
        "TasksPlanRole",
        "read another team's document",
        "ssm:GetDocument",
        {"Name": "Payroll-pay"},
        "ssm:GetDocument on document/Payroll-pay",
    ),
    # Ending and deleting
    Row("TasksStopBuilderRole", "stop a builder", "ec2:StopInstances", {"InstanceIds": ["i-ours"]}),
    Row(
        "TasksStopBuilderRole",
        "stop somebody else's instance",
        "ec2:StopInstances",
        {"InstanceIds": ["i-theirs"]},
        "ec2:StopInstances on instance/i-theirs",
    ),
    *(
        Row(role, f"{verb} what has {what}", action, asked, f"{action} on instance/{instance}")
        for role, verb, action, asked, instance, what in HALF_OURS
    ),
    Row(CLEANER, "end a builder", "ec2:TerminateInstances", {"InstanceIds": ["i-ours"]}),
    Row(
        CLEANER,
        "end the untagged instance that a spot request launched again",
        "ec2:TerminateInstances",
        {"InstanceIds": ["i-relaunched"]},
    ),
    Row(
        CLEANER,
        "end somebody else's instance",
        "ec2:TerminateInstances",
        {"InstanceIds": ["i-theirs"]},
        "ec2:TerminateInstances on instance/i-theirs",
    ),
    Row(
        CLEANER,
        "end somebody else's instance along with a builder",
        "ec2:TerminateInstances",
        {"InstanceIds": ["i-ours", "i-theirs"]},
        "ec2:TerminateInstances on instance/i-theirs",
    ),
    Row(CLEANER, "delete a bake's image", "ec2:DeregisterImage", {"ImageId": "ami-ours"}),
    Row(
        CLEANER,
        "delete a copy of it",
        "ec2:DeregisterImage",
        {"ImageId": "ami-ours"},
        region=AWAY,
    ),
    Row(
        CLEANER,
        "delete somebody else's image",
        "ec2:DeregisterImage",
        {"ImageId": "ami-theirs"},
        "ec2:DeregisterImage on image/ami-theirs",
    ),
    Row(CLEANER, "delete a bake's snapshot", "ec2:DeleteSnapshot", {"SnapshotId": "snap-ours"}),
    Row(
        CLEANER,
        "delete somebody else's snapshot",
        "ec2:DeleteSnapshot",
        {"SnapshotId": "snap-theirs"},
        "ec2:DeleteSnapshot on snapshot/snap-theirs",
    ),
    Row(JANITOR, "delete a bake's volume", "ec2:DeleteVolume", {"VolumeId": "vol-ours"}),
    Row(
        JANITOR,
        "delete somebody else's volume",
        "ec2:DeleteVolume",
        {"VolumeId": "vol-theirs"},
        "ec2:DeleteVolume on volume/vol-theirs",
    ),
    Row(
        JANITOR,
        "cancel a bake's spot request",
        "ec2:CancelSpotInstanceRequests",
        {"SpotInstanceRequestIds": ["sir-ours"]},
    ),
    Row(
        JANITOR,
        "cancel somebody else's spot request",
        "ec2:CancelSpotInstanceRequests",
        {"SpotInstanceRequestIds": ["sir-theirs"]},
        "ec2:CancelSpotInstanceRequests on spot-instances-request/sir-theirs",
    ),
    Row(RETIRER, "disable a bake's image", "ec2:DisableImage", {"ImageId": "ami-ours"}),
    Row(
        RETIRER,
        "disable somebody else's image",
        "ec2:DisableImage",
        {"ImageId": "ami-theirs"},
        "ec2:DisableImage on image/ami-theirs",
    ),
    Row(
        RETIRER,
        "remember on a bake's image when it was disabled",
        "ec2:CreateTags",
        {"Resources": ["ami-ours"], "Tags": [{"Key": TAG_DISABLED_AT, "Value": "2026-01-01"}]},
    ),
    Row(
        RETIRER,
        "mark somebody else's image as disabled long ago",
        "ec2:CreateTags",
        {"Resources": ["ami-theirs"], "Tags": [{"Key": TAG_DISABLED_AT, "Value": "2020-01-01"}]},
        "ec2:CreateTags on image/ami-theirs",
    ),
    Row(
        RETIRER,
        "call a bake's image another bake's",
        "ec2:CreateTags",
        {"Resources": ["ami-ours"], "Tags": [{"Key": TAG_BAKE, "Value": "other"}]},
        "ec2:CreateTags on image/ami-ours",
    ),
    Row(
        RETIRER,
        "see all instances itself, not through EC2's check",
        "ec2:DescribeInstances",
        {},
        "ec2:DescribeInstances on *",
    ),
    # Images
    Row("TasksCreateImageRole", "image a builder", "ec2:CreateImage", image()),
    Row(
        "TasksCreateImageRole",
        "image somebody else's instance, disks and all",
        "ec2:CreateImage",
        image(InstanceId="i-theirs"),
        "ec2:CreateImage on instance/i-theirs",
    ),
    Row(
        "TasksCreateImageRole",
        "make an image that nobody could attribute",
        "ec2:CreateImage",
        image(TagSpecifications=tagged("snapshot")),
        "ec2:CreateImage on image/*",
    ),
    Row(
        "TasksCreateImageRole",
        "tag somebody else's image into scope",
        "ec2:CreateTags",
        {"Resources": ["ami-theirs"], "Tags": OURS},
        "ec2:CreateTags on image/ami-theirs",
    ),
    Row(COPIER, "copy a bake's image", "ec2:CopyImage", copy(), region=AWAY),
    Row(
        COPIER,
        "copy an image of somebody outside the account",
        "ec2:CopyImage",
        copy(SourceImageId="ami-public"),
        "ec2:CopyImage on image/ami-public",
        AWAY,
    ),
    Row(
        COPIER,
        "make a copy that nobody could attribute",
        "ec2:CopyImage",
        copy(TagSpecifications=[]),
        "ec2:CopyImage on image/*",
        AWAY,
    ),
    Row(
        COPIER,
        "copy to a Region that no recipe names",
        "ec2:CopyImage",
        copy(),
        "ec2:CopyImage on image/*",
        "ap-south-1",
    ),
    Row(
        SHARER,
        "share a bake's image with an account",
        "ec2:ModifyImageAttribute",
        {"ImageId": "ami-ours", "LaunchPermission": {"Add": [{"UserId": "444455556666"}]}},
    ),
    Row(
        SHARER,
        "share its snapshot with the account",
        "ec2:ModifySnapshotAttribute",
        {"SnapshotId": "snap-ours", "OperationType": "add", "UserIds": ["444455556666"]},
    ),
    Row(
        SHARER,
        "share somebody else's image",
        "ec2:ModifyImageAttribute",
        {"ImageId": "ami-theirs", "LaunchPermission": EVERYBODY},
        "ec2:ModifyImageAttribute on image/ami-theirs",
    ),
    Row(
        SHARER,
        "show a bake's snapshot to everybody",
        "ec2:ModifySnapshotAttribute",
        {"SnapshotId": "snap-ours", "CreateVolumePermission": EVERYBODY},
        "ec2:ModifySnapshotAttribute on snapshot/snap-ours",
    ),
    Row(
        SHARER,
        "show it to everybody in the older way of asking",
        "ec2:ModifySnapshotAttribute",
        {"SnapshotId": "snap-ours", "OperationType": "add", "GroupNames": ["all"]},
        "ec2:ModifySnapshotAttribute on snapshot/snap-ours",
    ),
    Row(
        SHARER,
        "share somebody else's snapshot",
        "ec2:ModifySnapshotAttribute",
        {"SnapshotId": "snap-theirs", "OperationType": "add", "UserIds": ["444455556666"]},
        "ec2:ModifySnapshotAttribute on snapshot/snap-theirs",
    ),
    Row(
        "TasksHardenImageRole",
        "share a bake's snapshot, where only IMDSv2 is to be asked for",
        "ec2:ModifySnapshotAttribute",
        {"SnapshotId": "snap-ours", "OperationType": "add", "UserIds": ["444455556666"]},
        "ec2:ModifySnapshotAttribute on snapshot/snap-ours",
    ),
    # No condition key holds these two back, as docs/security.md says.
    *(
        Row(
            role,
            "show a bake's image to everybody, where the account does not block that",
            "ec2:ModifyImageAttribute",
            {"ImageId": "ami-ours", "LaunchPermission": EVERYBODY},
        )
        for role in (SHARER, "TasksHardenImageRole")
    ),
    Row(
        "TasksRunStepRole",
        "run a step on an instance that somebody has tagged",
        "ssm:SendCommand",
        command("AmiBakery.web.packages", "i-tagged"),
    ),
    Row(
        SHARER,
        "switch off the account's block of public images",
        "ec2:DisableImageBlockPublicAccess",
        {},
        "ec2:DisableImageBlockPublicAccess on *",
    ),
    # Pointers and launch templates
    Row("TasksPublishPointersRole", "move a pointer", "ssm:PutParameter", POINTER),
    Row("TasksPublishPointersRole", "move it elsewhere", "ssm:PutParameter", POINTER, region=AWAY),
    Row(
        "TasksPublishPointersRole",
        "write somebody else's parameter",
        "ssm:PutParameter",
        {**PRIVATE, "Value": "x"},
        "ssm:PutParameter on parameter/payroll/password",
    ),
    *(
        Row(role, f"{verb} a recipe's builder", action, PROFILE, refused)
        for role in ("TasksPublishPointersRole", "TasksKeepPreviousRole", CLEANER, MOVER)
        for action, verb in (
            ("ssm:PutParameter", "give another's role to"),
            ("ssm:DeleteParameter", "take the role of"),
        )
        for refused in [f"{action} on parameter/ami-bakery-profiles/web"]
    ),
    Row(
        "TasksPublishPointersRole",
        "read somebody else's secret",
        "ssm:GetParameter",
        PRIVATE,
        "ssm:GetParameter on parameter/payroll/password",
    ),
    Row(
        "TasksCleanUpRole",
        "delete somebody else's parameter",
        "ssm:DeleteParameter",
        PRIVATE,
        "ssm:DeleteParameter on parameter/payroll/password",
    ),
    Row(
        "TasksRunStepRole",
        "move a pointer out of turn",
        "ssm:PutParameter",
        POINTER,
        "ssm:PutParameter on parameter/ami-bakery/web/image",
    ),
    Row(
        "TasksUpdateTemplatesRole",
        "give a recipe's launch template the image",
        "ec2:CreateLaunchTemplateVersion",
        {"LaunchTemplateId": "lt-0000000000000000a"},
    ),
    Row(
        "TasksUpdateTemplatesRole",
        "change a launch template that no recipe names",
        "ec2:CreateLaunchTemplateVersion",
        {"LaunchTemplateId": "lt-0ffffffffffffffff"},
        "ec2:CreateLaunchTemplateVersion on launch-template/lt-0ffffffffffffffff",
    ),
    # The machines, the table, events, logs
    Row(
        "JobsResumeWaitsRole",
        "resume a bake",
        "stepfunctions:SendTaskSuccess",
        {"taskToken": "ours"},
    ),
    Row(
        "JobsResumeWaitsRole",
        "resume somebody else's workflow",
        "stepfunctions:SendTaskSuccess",
        {"taskToken": "theirs"},
        "states:SendTaskSuccess on stateMachine:Payroll",
    ),
    Row(
        "JobsBakeDependentsRole",
        "start a bake",
        "stepfunctions:StartExecution",
        {"stateMachineArn": f"arn:aws:states:{HOME}:{ACCOUNT}:stateMachine:AmiBakery-Bake"},
    ),
    Row(
        "JobsBakeDependentsRole",
        "start another machine",
        "stepfunctions:StartExecution",
        {"stateMachineArn": f"arn:aws:states:{HOME}:{ACCOUNT}:stateMachine:Payroll"},
        "states:StartExecution on stateMachine:Payroll",
    ),
    *(
        Row(
            "FleetRole",
            f"{what} an execution of {whose} machine",
            f"stepfunctions:{operation}",
            {"executionArn": f"arn:aws:states:{HOME}:{ACCOUNT}:execution:{machine}:x"},
            verdict,
        )
        for what, operation in (("see", "DescribeExecution"), ("stop", "StopExecution"))
        for whose, machine, verdict in (
            ("the bake's", "AmiBakery-Bake", ALLOWED),
            ("another", "AmiBakery-Bakers-Wages", f"states:{operation} on execution:"),
        )
    ),
    Row(
        "MachineBakeRole",
        "invoke a task",
        "lambda:Invoke",
        {"FunctionName": "<TasksPlan>", "Qualifier": "7"},
    ),
    Row(
        "MachineBakeRole",
        "invoke another function",
        "lambda:Invoke",
        {"FunctionName": "payroll", "Qualifier": "7"},
        "lambda:InvokeFunction on function:payroll:7",
    ),
    Row(
        "TasksRunStepRole",
        "remember a wait",
        "dynamodb:PutItem",
        kept("wait"),
    ),
    Row("TasksPlanRole", "keep the steps of a bake", "dynamodb:PutItem", kept("text#steps#b-1")),
    Row("TasksPlanRole", "take a recipe's lease", "dynamodb:PutItem", kept("claim")),
    Row("TasksRunStepRole", "recall its step", "dynamodb:GetItem", item("text#steps#b-1")),
    Row(LAUNCHER, "remember its attempts", "dynamodb:PutItem", kept("text#attempts#b-1")),
    Row(CLEANER, "forget the steps of a bake", "dynamodb:DeleteItem", item("text#steps#b-1")),
    Row("JobsResumeWaitsRole", "look at all waits", "dynamodb:Query", query("wait")),
    *(
        Row(role, what, f"dynamodb:{operation}", asked, f"dynamodb:{operation} on table/")
        for role, what, operation, asked in (
            (COPIER, "say what a bake's next step runs", "PutItem", kept("text#steps#b-1")),
            (COPIER, "take a recipe's lease", "PutItem", kept("claim")),
            ("TasksAwaitTurnRole", "say what a step runs", "PutItem", kept("text#steps#b-1")),
            ("TasksAwaitTurnRole", "say what a test runs", "PutItem", kept("text#tests#b-1")),
            ("TasksRunStepRole", "say what the next step runs", "PutItem", kept("text#steps#b-1")),
            ("TasksRunStepRole", "recall a test", "GetItem", item("text#tests#b-1")),
            ("TasksRunTestRole", "recall a step", "GetItem", item("text#steps#b-1")),
            (LAUNCHER, "say what a step runs", "PutItem", kept("text#steps#b-1")),
            (LAUNCHER, "replace a wait", "PutItem", kept("wait")),
            (CLEANER, "say what a step runs", "PutItem", kept("text#steps#b-1")),
            (JANITOR, "take a recipe's lease", "PutItem", kept("claim")),
            ("JobsResumeWaitsRole", "look at all claims", "Query", query("claim")),
            ("JobsResumeWaitsRole", "replace a wait", "PutItem", kept("wait")),
            ("JobsAnnounceBakeRole", "forget a wait", "DeleteItem", item("wait")),
            ("JobsRetireDailyRole", "end a lease", "DeleteItem", item("claim")),
            (MOVER, "say what a step runs", "PutItem", kept("text#steps#b-1")),
        )
    ),
    Row(
        "TasksRunStepRole",
        "write to another table",
        "dynamodb:PutItem",
        kept("wait", "payroll"),
        "dynamodb:PutItem on table/payroll",
    ),
    Row("JobsAnnounceBakeRole", "announce a bake", "events:PutEvents", {"Entries": [EVENT]}),
    Row(
        "JobsAnnounceBakeRole",
        "announce something in another's name",
        "events:PutEvents",
        {"Entries": [EVENT, {**EVENT, "Source": "payroll"}]},
        "events:PutEvents on event-bus/default",
    ),
    Row(
        "JobsAnnounceBakeRole",
        "write to another bus",
        "events:PutEvents",
        {"Entries": [{**EVENT, "EventBusName": "payroll"}]},
        "events:PutEvents on event-bus/payroll",
    ),
    *(
        Row(
            "TasksPlanRole",
            f"raise its own rights: {operation}",
            f"iam:{operation}",
            {"RoleName": "<TasksPlanRole>"},
            f"iam:{operation} on *",
        )
        for operation in ("PutRolePolicy", "AttachRolePolicy", "UpdateAssumeRolePolicy")
    ),
    # On the builder, as whoever gets hold of its credentials
    *(
        Row(
            role,
            f"report about another instance: {operation}",
            f"ssm:{operation}",
            {"Resource": resource},
            f"ssm:{operation} on ",
        )
        for role in ("BuilderHostBuilderRole", "BuilderHostTestRole")
        for operation, resource in (
            ("PutInventory", "*"),
            ("PutComplianceItems", f"arn:aws:ec2:{HOME}:{ACCOUNT}:instance/i-theirs"),
            ("PutConfigurePackageResult", "*"),
        )
    ),
    Row(
        BUILDER,
        "report what a document of AWS's that its recipe names has patched",
        "ssm:PutInventory",
        {"Resource": "*"},
    ),
    Row(
        BUILDER,
        "read its recipe's artefact",
        "s3:GetObject",
        {"Bucket": "artefacts", "Key": "app.tar.gz"},
    ),
    Row(
        BUILDER,
        "look whether the artefact is a folder",
        "s3:ListObjectsV2",
        {"Bucket": "artefacts", "Prefix": "app.tar.gz/"},
    ),
    Row(
        BUILDER,
        "read what else is in the bucket",
        "s3:GetObject",
        {"Bucket": "artefacts", "Key": "db.dump"},
        "s3:GetObject on artefacts/db.dump",
    ),
    Row(
        BUILDER,
        "list the bucket",
        "s3:ListObjectsV2",
        {"Bucket": "artefacts"},
        "s3:ListBucket on artefacts",
    ),
    Row(
        "BuilderHostBuilderRole",
        "read another recipe's artefact",
        "s3:GetObject",
        {"Bucket": "artefacts", "Key": "app.tar.gz"},
        "s3:GetObject on artefacts/app.tar.gz",
    ),
    *(
        Row(BUILDER, what, call, parameters, refusal)
        for what, call, parameters, refusal in (
            (
                "start another instance",
                "ec2:RunInstances",
                launch(),
                "ec2:RunInstances on instance/*",
            ),
            (
                "send itself a command",
                "ssm:SendCommand",
                command("AmiBakery.web.packages"),
                "ssm:SendCommand on document/AmiBakery.web.packages",
            ),
            (
                "move a pointer",
                "ssm:PutParameter",
                POINTER,
                "ssm:PutParameter on parameter/ami-bakery/web/image",
            ),
            (
                "tag itself",
                "ec2:CreateTags",
                {"Resources": ["i-ours"], "Tags": OURS},
                "ec2:CreateTags on instance/i-ours",
            ),
            (
                "read the events of bakes",
                "logs:GetLogEvents",
                {"logGroupName": "x"},
                "logs:GetLogEvents on log-group:x",
            ),
        )
    ),
]

ADMIN = ({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}},)


def id_of(row: Row) -> str:
    sign = "may" if row.verdict == ALLOWED else "may not"
    return f"{row.role} {sign} {row.what}"


@pytest.fixture(scope="module")
def account(stack: Synthesized) -> Account:
    return Account(stack)


@pytest.fixture(scope="module")
def alone(account: Account) -> Simulation:
    return Simulation(account)


@pytest.fixture(scope="module")
def enterprise(account: Account) -> Simulation:
    return Simulation(account, boundary=BOUNDARY, guards=GUARDS)


def replaced(account: Account, value: Any) -> Any:
    """``<Name>`` is the ARN of a resource of the stack."""
    if isinstance(value, str) and value.startswith("<") and value.endswith(">"):
        return account.arn(value[1:-1])
    if isinstance(value, dict):
        return {key: replaced(account, item) for key, item in value.items()}
    if isinstance(value, list):
        return [replaced(account, item) for item in value]
    return value


def test_there_are_enough_of_both() -> None:
    attacks = [row for row in REQUESTS if row.verdict != ALLOWED]
    assert len(REQUESTS) >= 60 and len(attacks) >= 30
    assert len({id_of(row) for row in REQUESTS}) == len(REQUESTS)


@pytest.mark.parametrize("row", [pytest.param(row, id=id_of(row)) for row in REQUESTS])
def test_requests(alone: Simulation, row: Row) -> None:
    parameters = replaced(alone.account, row.parameters)
    verdict = alone.verdict(row.role, row.call, parameters, region=row.region)
    assert verdict.startswith(row.verdict), verdict


@pytest.mark.parametrize("row", [pytest.param(row, id=id_of(row)) for row in REQUESTS])
def test_a_boundary_and_service_control_policies_change_nothing(
    enterprise: Simulation, row: Row
) -> None:
    """Whatever the bakery asks for, it asks for as an enterprise demands it."""
    parameters = replaced(enterprise.account, row.parameters)
    verdict = enterprise.verdict(row.role, row.call, parameters, region=row.region)
    assert (verdict == ALLOWED) == (row.verdict == ALLOWED), verdict


@pytest.mark.parametrize(
    ("role", "profile"), [(LAUNCHER, "Builder"), (TESTER, "Test")], ids=["builder", "test"]
)
@pytest.mark.parametrize("wanted", [True, False])
def test_a_public_address_is_allowed_once_a_recipe_asks_for_one(
    synthesize: Synthesize, role: str, profile: str, wanted: bool
) -> None:
    text = "description: d\nbase: {ami: ami-0123456789abcdef0}\nbuilder: {public_address: true}"
    found = Simulation(Account(synthesize({"open": text})))
    asked = interface(AssociatePublicIpAddress=wanted)
    parameters = launch(profile, ImageId="ami-ours", NetworkInterfaces=[asked])
    verdict = found.verdict(role, "ec2:RunInstances", replaced(found.account, parameters))
    assert verdict == ALLOWED


@pytest.mark.parametrize(
    ("what", "call", "parameters", "refusal"),
    [
        (
            "an instance without tags",
            "ec2:RunInstances",
            launch(TagSpecifications=[]),
            "ec2:RunInstances on instance/* with an explicit deny in a service control policy",
        ),
        (
            "an instance with our tags alone",
            "ec2:RunInstances",
            launch(TagSpecifications=tagged(*ALL_KINDS, tags=OURS)),
            "ec2:RunInstances on instance/* with an explicit deny in a service control policy",
        ),
        (
            "an image with our tags alone",
            "ec2:CreateImage",
            image(TagSpecifications=tagged("image", "snapshot", tags=OURS)),
            "ec2:CreateImage on image/* with an explicit deny in a service control policy",
        ),
        (
            "a copy with our tags alone",
            "ec2:CopyImage",
            copy(TagSpecifications=tagged("image", "snapshot", tags=OURS)),
            "ec2:CopyImage on snapshot/* with an explicit deny in a service control policy",
        ),
        (
            "an instance that leaves its metadata service as it is",
            "ec2:RunInstances",
            launch(MetadataOptions={}),
            "ec2:RunInstances on instance/* with an explicit deny in a service control policy",
        ),
        (
            "an instance with a long way to its metadata",
            "ec2:RunInstances",
            launch(MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 2}),
            "ec2:RunInstances on instance/* with an explicit deny in a service control policy",
        ),
        (
            "a disk in the clear",
            "ec2:RunInstances",
            launch(BlockDeviceMappings=[]),
            "ec2:RunInstances on volume/* with an explicit deny in a service control policy",
        ),
        (
            "an administrator's role",
            "ec2:RunInstances",
            launch(IamInstanceProfile={"Arn": "arn:aws:iam::1:instance-profile/admin"}),
            "iam:PassRole on role/Administrator with an explicit deny in a permissions boundary",
        ),
        (
            "what the boundary leaves out",
            "sns:CreateTopic",
            {"Name": "x"},
            "sns:CreateTopic on * because no permissions boundary allows the sns:CreateTopic "
            "action",
        ),
    ],
)
def test_not_even_an_administrator_gets_past_them(
    enterprise: Simulation, what: str, call: str, parameters: Parameters, refusal: str
) -> None:
    """Else the test before this one would prove nothing."""
    parameters = replaced(enterprise.account, parameters)
    verdict = enterprise.verdict("TasksPlanRole", call, parameters, documents=ADMIN)
    assert verdict == refusal, what
