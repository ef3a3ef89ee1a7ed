"""What the account had before the bakery: two instances that OpsWorks ran, and a plain one, and a
network for their clones.

All ids are fixed, so that documentation, examples and the stack's context can name them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from scripts.local.moto_seam import Patches

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scripts.local.aws import LocalAws

HOSTS: Final = {
    "i-0c0de201803000011": ("ami-0c0de201803000011", "php-app1"),
    "i-0c0de180400000012": ("ami-0c0de180400000012", "web1"),
    "i-0a120230000000064": ("ami-0a120230000000064", "api1"),
}
"""Image and name of each: Amazon Linux with Chef 11, Ubuntu with Chef 12, Amazon Linux 2023."""

VPC: Final = "vpc-0123456789abcdef0"
SUBNET: Final = "subnet-0123456789abcdef0"
ENDPOINTS: Final = "sg-0123456789abcdef0"
CONTEXT: Final = {"vpc_id": VPC, "subnet_ids": SUBNET, "clone_egress": ENDPOINTS}
"""With it a stack runs in that network, and clones hosts."""

_ROLE: Final = "estate"
_TRUST: Final = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}
_RIGHTS: Final = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["ssm:UpdateInstanceInformation", "ssmmessages:*", "ec2messages:*"],
            "Resource": "*",
        }
    ],
}


def network(aws: LocalAws) -> None:
    """A VPC, a private subnet, and the group of endpoints for Systems Manager."""
    from moto.ec2.models import security_groups, subnets, vpcs

    ec2, patches = aws.client("ec2"), Patches()
    patches.set(vpcs, "random_vpc_id", lambda: VPC)
    patches.set(subnets, "random_subnet_id", lambda: SUBNET)
    patches.set(security_groups, "random_security_group_id", lambda: ENDPOINTS)
    try:
        ec2.create_vpc(CidrBlock="10.7.0.0/16")
        ec2.create_subnet(VpcId=VPC, CidrBlock="10.7.1.0/24", AvailabilityZone=f"{aws.region}a")
        ec2.create_security_group(GroupName="endpoints", Description="of endpoints", VpcId=VPC)
    finally:
        patches.undo()


def launch(aws: LocalAws, hosts: Iterable[str] = HOSTS) -> list[str]:
    """Have them running and managed; their ids."""
    wanted = list(hosts)
    profile = _profile(aws)
    ec2 = aws.client("ec2")
    for id_ in wanted:
        image, name = HOSTS[id_]
        aws.ec2.next_instance_is(id_)
        ec2.run_instances(
            ImageId=image,
            InstanceType="t3.medium",
            MinCount=1,
            MaxCount=1,
            IamInstanceProfile={"Name": profile},
            # Where the stack's data was; EC2 attaches it, the layer mounted it.
            BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 20}}],
            TagSpecifications=[
                {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]}
            ],
        )
    aws.until(lambda: set(wanted) <= _online(aws), what="the agents of the instances")
    return wanted


def _online(aws: LocalAws) -> set[str]:
    known = aws.client("ssm").describe_instance_information()["InstanceInformationList"]
    return {row["InstanceId"] for row in known if row["PingStatus"] == "Online"}


def _profile(aws: LocalAws) -> str:
    iam = aws.client("iam")
    if _ROLE not in [it["RoleName"] for it in iam.list_roles(MaxItems=1000)["Roles"]]:
        iam.create_role(RoleName=_ROLE, AssumeRolePolicyDocument=json.dumps(_TRUST))
        iam.put_role_policy(RoleName=_ROLE, PolicyName="agent", PolicyDocument=json.dumps(_RIGHTS))
        iam.create_instance_profile(InstanceProfileName=_ROLE)
        iam.add_role_to_instance_profile(InstanceProfileName=_ROLE, RoleName=_ROLE)
    return _ROLE
