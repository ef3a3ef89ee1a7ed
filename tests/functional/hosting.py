"""A running host that recipes clone, in a network that only its clones have."""

import copy
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts.bakery_cli.synthesis import synthesize
from scripts.local import LocalAws
from scripts.local.estate import CONTEXT, SUBNET, network
from tests.functional.conftest import World, prepare
from tests.functional.making import online

RECIPES = Path(__file__).parent / "hosts"
HOST = "i-0123456789abcdef0"
"""What the recipes beside this file name."""
OTHER = "i-0123456789abcdef1"
BASE = "ami-0a201803000000064"
"""What OpsWorks launched it from: Amazon Linux 2018.03."""
LOOKS = {"ec2:DescribeInstances", "ec2:DescribeVolumes", "ssm:DescribeInstanceInformation"}
"""By these a bake looks at a host: all it may do to one, besides imaging it."""


@contextmanager
def deployed_with_a_host(
    *, scale: float = 120.0, choices: Mapping[str, Any] = CONTEXT
) -> Iterator[World]:
    """The stack with these recipes and their network; ``host`` begins the host itself."""
    folder = synthesize(RECIPES, lambda _: None, choices=choices)
    with LocalAws.start(folder, region="eu-west-1", scale=scale) as aws:
        prepare(aws)
        network(aws)
        yield World(aws, aws.deploy())


def host(
    world: World,
    id_: str = HOST,
    *,
    instance_type: str = "t3.medium",
    image: str = BASE,
    managed: bool = True,
    **volume: Any,
) -> None:
    """Launch the host, as its owner did: with a data volume, a key pair, tags and a fixed role."""
    aws = world.aws
    aws.ec2.next_instance_is(id_)
    tags = [{"Key": "Name", "Value": "web-1"}, {"Key": "opsworks:layer:web", "Value": "Web"}]
    aws.client("ec2").run_instances(
        ImageId=image,
        InstanceType=instance_type,
        MinCount=1,
        MaxCount=1,
        SubnetId=SUBNET,
        **({"IamInstanceProfile": {"Name": _profile(world)}} if managed else {}),
        BlockDeviceMappings=[
            {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 20, "VolumeType": "gp2", **volume}}
        ],
        TagSpecifications=[{"ResourceType": it, "Tags": tags} for it in ("instance", "volume")],
    )
    aws.until(lambda: record(world, id_)["State"]["Name"] == "running", what=id_)
    if managed:
        aws.until(lambda: online(world, id_), what=f"the agent of {id_}")


def _profile(world: World) -> str:
    """The instance profile of the layer, by which Systems Manager manages the host."""
    iam, name = world.aws.client("iam"), "legacy-host"
    if name in [
        it["InstanceProfileName"] for it in iam.list_instance_profiles()["InstanceProfiles"]
    ]:
        return name
    rights = {"Effect": "Allow", "Action": ["ssm:*", "ssmmessages:*"], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": rights})
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy)
    iam.put_role_policy(RoleName=name, PolicyName="agent", PolicyDocument=policy)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    return name


def record(world: World, id_: str = HOST) -> dict[str, Any]:
    """The host as EC2 has it."""
    (found,) = [it for it in world.aws.ec2.all("instances") if it["InstanceId"] == id_]
    return found


def change(world: World, id_: str = HOST, **fields: Any) -> None:
    """Let EC2 describe the host so."""
    state = world.aws.ec2.state
    with state.lock:
        state.region("eu-west-1").instances[id_].update(fields)


def everything(world: World, id_: str = HOST) -> dict[str, Any]:
    """All that EC2 and Systems Manager know of the host: attributes, tags, volumes, agent."""
    ec2, ssm = world.aws.client("ec2"), world.aws.client("ssm")
    attached = [{"Name": "attachment.instance-id", "Values": [id_]}]
    named = [{"Name": "resource-id", "Values": [id_]}]
    filters = [{"Key": "InstanceIds", "Values": [id_]}]
    with world.aws.ec2.state.lock:
        hidden = world.aws.ec2.state.region("eu-west-1").hidden(id_)
        unseen = {key: hidden.get(key) for key in ("boot", "moves", "protected", "shutdown")}
    managed = ssm.describe_instance_information(Filters=filters)["InstanceInformationList"]
    return copy.deepcopy(
        {
            "instance": ec2.describe_instances(InstanceIds=[id_])["Reservations"][0]["Instances"],
            "volumes": ec2.describe_volumes(Filters=attached)["Volumes"],
            "interfaces": ec2.describe_network_interfaces(
                Filters=[{"Name": "attachment.instance-id", "Values": [id_]}]
            )["NetworkInterfaces"],
            "tags": ec2.describe_tags(Filters=named)["Tags"],
            "unseen": unseen,
            "agent": [{k: v for k, v in it.items() if k != "LastPingDateTime"} for it in managed],
        }
    )


def named_by(world: World, *ids: str) -> set[str]:
    """The operations of all calls that act on, or look at, one of these: all but what writes down
    texts, and the tags and texts that a call gives to what it makes."""
    texts = ("TagSpecifications", "Description")
    tellers = ("dynamodb", "events", "lambda", "stepfunctions")
    found = set()
    for call in world.aws.calls.of():
        if not call.principal.role or call.service in tellers:
            continue  # the test itself; a plan, an announcement, a payload, the end of a wait
        asked = {key: value for key, value in call.parameters.items() if key not in texts}
        if any(id_ in json.dumps(asked, default=str) for id_ in ids):
            found.add(f"{call.service}:{call.operation}")
    return found


def clones(world: World) -> list[str]:
    """Ids of all images and snapshots of hosts that there are."""
    return [
        record.get("ImageId") or record["SnapshotId"]
        for kind in ("images", "snapshots")
        for record in world.aws.ec2.tagged(kind, "ami-bakery:clone-of")
    ]
