"""What a role may do on the local AWS, by conditions on what the account holds at the time of the
call; boundaries and service control policies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from scripts.local.iam import ACCOUNT
from scripts.local.policies import Attached, Request, decide
from tests.local.bench import AL2023, Bench

if TYPE_CHECKING:
    from scripts.local import LocalAws

OURS: list[Any] = [{"Key": "bake", "Value": "b-1"}]
TAGGED: dict[str, Any] = {"StringLike": {"aws:ResourceTag/bake": "*"}}
ASKED: dict[str, Any] = {"StringLike": {"aws:RequestTag/bake": "*"}}
KINDS = ("instance", "volume", "network-interface")


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: str | list[str], resource: str = "*", **condition: Any) -> dict[str, Any]:
    found = {"Effect": "Allow", "Action": action, "Resource": resource}
    return {**found, "Condition": condition} if condition else found


class Role:
    """A role, and the right of it that AWS says is missing."""

    def __init__(self, aws: LocalAws, **options: Any) -> None:
        self.aws = aws
        made = aws.client("iam").create_role(
            RoleName="role", AssumeRolePolicyDocument=document(), **options
        )
        self.arn = made["Role"]["Arn"]

    def may(self, *statements: dict[str, Any]) -> Role:
        """It may do this and nothing else from now on."""
        self.aws.client("iam").put_role_policy(
            RoleName="role", PolicyName="inline", PolicyDocument=document(*statements)
        )
        return self

    def asks(self, service: str, operation: str, region: str | None = None, **given: Any) -> str:
        client = self.aws.client_as(self.arn, service, region)
        try:
            getattr(client, operation)(**given)
        except ClientError as error:
            return str(error)
        return "allowed"


@pytest.fixture
def role(bare: LocalAws) -> Role:
    return Role(bare)


def launch(*kinds: str, **more: Any) -> dict[str, Any]:
    return {
        "ImageId": AL2023,
        "InstanceType": "t3.micro",
        "MinCount": 1,
        "MaxCount": 1,
        "TagSpecifications": [{"ResourceType": kind, "Tags": OURS} for kind in kinds],
        **more,
    }


def imaged(ec2: Bench) -> dict[str, Any]:
    """An image of an instance of ours."""
    instance = ec2.in_state(ec2.launch(), "running")
    made = ec2.aws.client("ec2").create_image(InstanceId=instance, Name="image")
    (image,) = [i for i in ec2.aws.ec2.all("images") if i["ImageId"] == made["ImageId"]]
    return image


def state_of(ec2: Bench, image: str) -> str:
    (found,) = [i["State"] for i in ec2.aws.ec2.all("images") if i["ImageId"] == image]
    return str(found)


def imaged_under(ec2: Bench, key: str) -> dict[str, Any]:
    """An image, available, whose snapshot has that key."""
    image = imaged(ec2)
    ec2.aws.until(lambda: state_of(ec2, image["ImageId"]) == "available")
    (id_,) = [it["Ebs"]["SnapshotId"] for it in image["BlockDeviceMappings"]]
    ec2.aws.ec2.state.region("us-east-1").snapshots[id_]["KmsKeyId"] = key
    return image


# Resources as they are at the time of the call


def test_an_instances_tags_count_as_they_are_at_the_time(role: Role, ec2: Bench) -> None:
    instance = ec2.launch()
    role.may(allow("ec2:TerminateInstances", **TAGGED))
    refusal = role.asks("ec2", "terminate_instances", InstanceIds=[instance])
    assert f"ec2:TerminateInstances on resource: arn:aws:ec2:us-east-1:{ACCOUNT}:" in refusal
    role.aws.client("ec2").create_tags(Resources=[instance], Tags=OURS)
    assert role.asks("ec2", "terminate_instances", InstanceIds=[instance]) == "allowed"


def test_a_policy_that_changes_counts_at_once(role: Role, ec2: Bench) -> None:
    instance = ec2.launch()
    role.may(allow("ec2:StopInstances", **TAGGED))
    assert "UnauthorizedOperation" in role.asks("ec2", "stop_instances", InstanceIds=[instance])
    role.may(allow("ec2:StopInstances"))
    assert role.asks("ec2", "stop_instances", InstanceIds=[instance]) == "allowed"


@pytest.mark.parametrize(
    ("operation", "action", "parameter"),
    [
        ("deregister_image", "ec2:DeregisterImage", "ImageId"),
        ("delete_snapshot", "ec2:DeleteSnapshot", "SnapshotId"),
    ],
)
def test_images_and_snapshots_have_their_tags(
    role: Role, ec2: Bench, operation: str, action: str, parameter: str
) -> None:
    image = imaged(ec2)
    snapshot = image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    id_ = image["ImageId"] if parameter == "ImageId" else snapshot
    role.may(allow(action, **TAGGED))
    assert action in role.asks("ec2", operation, **{parameter: id_})
    ec2.aws.client("ec2").create_tags(Resources=[id_], Tags=OURS)
    assert action not in role.asks("ec2", operation, **{parameter: id_})


def test_ssm_has_a_key_of_its_own_for_an_instances_tags(bench: Bench) -> None:
    role = Role(bench.aws)
    key: dict[str, Any] = {"StringLike": {"ssm:resourceTag/bake": "*"}}
    document_ = f"arn:aws:ssm:us-east-1:{ACCOUNT}:document/AmiBakery-test-greet"
    instance = f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/*"
    role.may(allow("ssm:SendCommand", document_), allow("ssm:SendCommand", instance, **key))
    given: dict[str, Any] = {"DocumentName": "AmiBakery-test-greet", "Parameters": {"Bake": ["b"]}}
    builder = bench.managed()
    assert "instance/" in role.asks("ssm", "send_command", InstanceIds=[builder], **given)
    bench.aws.client("ec2").create_tags(Resources=[builder], Tags=OURS)
    assert role.asks("ssm", "send_command", InstanceIds=[builder], **given) == "allowed"


# Each resource of a call has keys of its own


def test_a_condition_on_a_key_that_a_resource_lacks_denies(role: Role) -> None:
    tags = allow("ec2:CreateTags", StringEquals={"ec2:CreateAction": "RunInstances"})
    imds: dict[str, Any] = {"StringEquals": {"ec2:MetadataHttpTokens": "required"}}
    asked = launch(*KINDS, MetadataOptions={"HttpTokens": "required"})
    role.may(allow("ec2:RunInstances", **ASKED, **imds), tags)
    assert "volume/*" in role.asks("ec2", "run_instances", **asked)

    def of(*kinds: str, **condition: Any) -> list[dict[str, Any]]:
        return [allow("ec2:RunInstances", f"arn:aws:ec2:*:*:{it}/*", **condition) for it in kinds]

    split = [*of("instance", **ASKED, **imds), *of("volume", "network-interface", **ASKED)]
    role.may(*split, *of("image"), tags)
    assert role.asks("ec2", "run_instances", **asked) == "allowed"
    assert "instance/*" in role.asks("ec2", "run_instances", **launch(*KINDS))
    untagged = launch("instance", MetadataOptions={"HttpTokens": "required"})
    assert "volume/*" in role.asks("ec2", "run_instances", **untagged)


def test_a_volume_is_as_encrypted_as_the_request_says(role: Role) -> None:
    encrypted: dict[str, Any] = {"Bool": {"ec2:Encrypted": "true"}}
    volume = "arn:aws:ec2:*:*:volume/*"
    role.may(
        {"Effect": "Allow", "Action": "ec2:RunInstances", "NotResource": volume},
        allow("ec2:RunInstances", volume, **encrypted),
    )
    assert "volume/*" in role.asks("ec2", "run_instances", **launch())
    mappings = [{"DeviceName": "/dev/xvda", "Ebs": {"Encrypted": True}}]
    assert role.asks("ec2", "run_instances", **launch(BlockDeviceMappings=mappings)) == "allowed"


def test_tags_may_be_given_at_creation_only(role: Role, ec2: Bench) -> None:
    creating: dict[str, Any] = {"StringEquals": {"ec2:CreateAction": "RunInstances"}}
    role.may(allow("ec2:RunInstances"), allow("ec2:CreateTags", **creating))
    assert role.asks("ec2", "run_instances", **launch(*KINDS)) == "allowed"
    refusal = role.asks("ec2", "create_tags", Resources=[ec2.launch()], Tags=OURS)
    assert "ec2:CreateTags" in refusal


def test_only_some_tags_may_be_changed(role: Role, ec2: Bench) -> None:
    instance = ec2.launch()
    only: dict[str, Any] = {"ForAllValues:StringEquals": {"aws:TagKeys": ["note"]}}
    role.may(allow("ec2:CreateTags", **only))
    note = {"Key": "note", "Value": "x"}
    assert role.asks("ec2", "create_tags", Resources=[instance], Tags=[note]) == "allowed"
    both = role.asks("ec2", "create_tags", Resources=[instance], Tags=[note, *OURS])
    assert "ec2:CreateTags" in both


def test_the_source_of_a_copy_counts_and_has_no_tags_of_the_request(role: Role, ec2: Bench) -> None:
    made = imaged(ec2)
    asked: dict[str, Any] = {
        "Name": "copy",
        "SourceImageId": made["ImageId"],
        "SourceRegion": "us-east-1",
        "TagSpecifications": [{"ResourceType": k, "Tags": OURS} for k in ("image", "snapshot")],
    }
    role.may(allow("ec2:CopyImage", **ASKED), allow("ec2:CreateTags"))
    assert f"image/{made['ImageId']}" in role.asks("ec2", "copy_image", "eu-west-1", **asked)
    source = allow("ec2:CopyImage", StringEquals={"ec2:Owner": ACCOUNT})
    role.may(allow("ec2:CopyImage", **ASKED), source, allow("ec2:CreateTags"))
    assert role.asks("ec2", "copy_image", "eu-west-1", **asked) == "allowed"


def test_a_role_is_passed_to_ec2(bench: Bench) -> None:
    role = Role(bench.aws)
    asked = launch(IamInstanceProfile={"Arn": bench.outputs["Profile"]})
    to = {"iam:PassedToService": "lambda.amazonaws.com"}
    role.may(allow("ec2:*"), allow("iam:PassRole", StringEquals=to))
    assert "iam:PassRole" in role.asks("ec2", "run_instances", **asked)
    to = {"iam:PassedToService": "ec2.amazonaws.com"}
    role.may(allow("ec2:*"), allow("iam:PassRole", StringEquals=to))
    assert role.asks("ec2", "run_instances", **asked) == "allowed"


def test_the_first_spot_instance_of_an_account_needs_ec2s_role(role: Role) -> None:
    asked = launch(InstanceMarketOptions={"MarketType": "spot"})
    role.may(allow("ec2:RunInstances"))
    refusal = role.asks("ec2", "run_instances", **asked)
    assert "AuthFailure.ServiceLinkedRoleCreationNotPermitted" in refusal
    name = {"iam:AWSServiceName": "spot.amazonaws.com"}
    role.may(allow("ec2:RunInstances"), allow("iam:CreateServiceLinkedRole", StringEquals=name))
    assert role.asks("ec2", "run_instances", **asked) == "allowed"
    role.may(allow("ec2:RunInstances"))
    assert role.asks("ec2", "run_instances", **asked) == "allowed"


def test_an_image_parameter_needs_the_right_to_look_at_images(role: Role) -> None:
    asked = {"Name": "/a/image", "Value": AL2023, "Type": "String", "DataType": "aws:ec2:image"}
    role.may(allow("ssm:PutParameter"))
    assert "ec2:DescribeImages" in role.asks("ssm", "put_parameter", **asked)
    role.may(allow(["ssm:PutParameter", "ec2:DescribeImages"]))
    assert role.asks("ssm", "put_parameter", **asked) == "allowed"


def test_only_events_of_ones_own_may_be_put(role: Role) -> None:
    event = {"Source": "mine", "DetailType": "x", "Detail": "{}"}
    role.may(allow("events:PutEvents", StringEquals={"events:source": "mine"}))
    assert role.asks("events", "put_events", Entries=[event]) == "allowed"
    both = [event, {**event, "Source": "theirs"}]
    assert "events:PutEvents" in role.asks("events", "put_events", Entries=both)


# Keys


@pytest.fixture
def key(bare: LocalAws) -> str:
    return str(bare.client("kms").create_key()["KeyMetadata"]["KeyId"])


VIA: dict[str, Any] = {"StringEquals": {"kms:ViaService": "ec2.us-east-1.amazonaws.com"}}
USED = ["Decrypt", "DescribeKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptTo"]
KEYS = [
    allow([f"kms:{action}" for action in USED], **VIA),
    allow("kms:CreateGrant", Bool={"kms:GrantIsForAWSResource": "true"}, **VIA),
]


@pytest.mark.parametrize(("rights", "ends"), [([], "terminated"), (KEYS, "running")])
def test_an_instance_whose_key_its_launcher_may_not_use_ends(
    role: Role, ec2: Bench, key: str, rights: list[dict[str, Any]], ends: str
) -> None:
    ebs = {"Encrypted": True, "KmsKeyId": key}
    asked = launch(BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": ebs}])
    role.may(allow("ec2:RunInstances"), *rights)
    assert role.asks("ec2", "run_instances", **asked) == "allowed"
    (instance,) = ec2.aws.ec2.all("instances")
    ec2.in_state(instance["InstanceId"], ends)


@pytest.mark.parametrize(("rights", "ends"), [([], "failed"), (KEYS, "available")])
def test_a_copy_whose_key_its_maker_may_not_use_fails(
    role: Role, ec2: Bench, key: str, rights: list[dict[str, Any]], ends: str
) -> None:
    source = imaged(ec2)
    asked = {"Name": "copy", "SourceImageId": source["ImageId"], "SourceRegion": "us-east-1"}
    role.may(allow("ec2:CopyImage"), *rights)
    done = role.asks("ec2", "copy_image", Encrypted=True, KmsKeyId=key, **asked)
    assert done == "allowed"

    def states() -> list[str]:
        return [i["State"] for i in ec2.aws.ec2.all("images") if i["Name"] == "copy"]

    ec2.aws.until(lambda: states() == [ends], what=f"a copy that is {ends}")


@pytest.mark.parametrize(("more", "ends"), [([], "failed"), (["ReEncryptFrom"], "available")])
def test_a_copy_under_another_key_needs_a_right_on_the_first_one_too(
    role: Role, ec2: Bench, key: str, more: list[str], ends: str
) -> None:
    source = imaged_under(ec2, ec2.aws.client("kms").create_key()["KeyMetadata"]["Arn"])
    asked = {"Name": "copy", "SourceImageId": source["ImageId"], "SourceRegion": "us-east-1"}
    role.may(allow("ec2:CopyImage"), *KEYS, allow([f"kms:{it}" for it in (*more, "List")], **VIA))
    assert role.asks("ec2", "copy_image", Encrypted=True, KmsKeyId=key, **asked) == "allowed"

    def states() -> list[str]:
        return [i["State"] for i in ec2.aws.ec2.all("images") if i["Name"] == "copy"]

    ec2.aws.until(lambda: states() == [ends], what=f"a copy that is {ends}")


@pytest.mark.parametrize(("rights", "ends"), [([], "terminated"), (KEYS, "running")])
def test_an_instance_that_is_given_no_key_has_its_images(
    role: Role, ec2: Bench, key: str, rights: list[dict[str, Any]], ends: str
) -> None:
    image = imaged_under(ec2, key)
    before = {it["InstanceId"] for it in ec2.aws.ec2.all("instances")}
    role.may(allow("ec2:RunInstances"), *rights)
    assert role.asks("ec2", "run_instances", **launch(ImageId=image["ImageId"])) == "allowed"
    (made,) = {it["InstanceId"] for it in ec2.aws.ec2.all("instances")} - before
    ec2.in_state(made, ends)


# What an enterprise puts around roles


def test_a_boundary_allows_nothing_and_limits_everything(bare: LocalAws) -> None:
    iam = bare.client("iam")
    limit = iam.create_policy(PolicyName="limit", PolicyDocument=document(allow("ec2:Describe*")))[
        "Policy"
    ]["Arn"]
    role = Role(bare, PermissionsBoundary=limit)
    assert "identity-based" in role.asks("ec2", "describe_instances")
    role.may(allow("*"))
    assert role.asks("ec2", "describe_instances") == "allowed"
    refusal = role.asks("ec2", "run_instances", **launch())
    assert "because no permissions boundary allows the ec2:RunInstances action" in refusal
    iam.delete_role_permissions_boundary(RoleName="role")
    assert role.asks("ec2", "run_instances", **launch()) == "allowed"


def test_a_service_control_policy_denies_whatever_a_role_may(role: Role) -> None:
    role.may(allow("*"))
    demanded = {
        "Effect": "Deny",
        "Action": "ec2:RunInstances",
        "Resource": "arn:aws:ec2:*:*:instance/*",
        "Condition": {"Null": {"aws:RequestTag/bake": "true"}},
    }
    role.aws.service_control_policies = (document(demanded),)
    refusal = role.asks("ec2", "run_instances", **launch())
    assert "with an explicit deny in a service control policy" in refusal
    assert role.asks("ec2", "run_instances", **launch("instance")) == "allowed"
    assert role.asks("ec2", "describe_instances") == "allowed"


def test_a_deny_anywhere_wins_and_every_kind_must_allow() -> None:
    everything = {"Statement": [allow("*")]}
    nothing: dict[str, Any] = {"Statement": []}
    deny = {"Statement": {"Effect": "Deny", "Action": "ec2:*", "Resource": "*"}}

    def reason(attached: Attached) -> str:
        return decide(attached, Request("ec2:RunInstances", "arn:x", dict)).reason

    assert reason(Attached((everything,))) == ""
    assert reason(Attached((everything,), boundary=everything, guards=(nothing,))) == ""
    assert "explicit deny in an identity-based" in reason(Attached((everything, deny)))
    assert "explicit deny in a permissions" in reason(Attached((everything,), boundary=deny))
    assert "explicit deny in a service" in reason(Attached((everything,), guards=(deny,)))
    assert "no permissions boundary" in reason(Attached((everything,), boundary=nothing))
    assert "no identity-based" in reason(Attached((), boundary=everything))
