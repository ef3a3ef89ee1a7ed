"""Which actions on which resources an API call needs: the part of AWS's service authorization
reference that the bake touches. A call that is not listed needs its own action on `*`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Need = tuple[str, str]
Parameters = Mapping[str, Any]

PREFIX = {"stepfunctions": "states", "cloudwatch": "cloudwatch", "eventbridge": "events"}
ACTION = {
    ("lambda", "Invoke"): "InvokeFunction",
    ("lambda", "InvokeAsync"): "InvokeFunction",
    ("s3", "HeadObject"): "GetObject",
    ("s3", "ListObjects"): "ListBucket",
    ("s3", "ListObjectsV2"): "ListBucket",
}


class Arns:
    """Builds ARNs of one account and Region."""

    def __init__(
        self,
        region: str,
        account: str,
        profile_role: Callable[[str], str | None],
        machine_of_token: Callable[[str], str | None],
        key_of_alias: Callable[[str, str], str | None] = lambda _alias, _region: None,
    ) -> None:
        self.region = region
        self.account = account
        self.profile_role = profile_role
        self.machine_of_token = machine_of_token
        self.key_of_alias = key_of_alias

    def of(self, service: str, tail: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{tail}"

    def named(self, service: str, kind: str, name: str) -> str:
        """`name` may be an ARN already."""
        return name if name.startswith("arn:") else self.of(service, f"{kind}{name}")

    def image(self, image_id: str) -> str:
        return f"arn:aws:ec2:{self.region}::image/{image_id}"

    def snapshot(self, snapshot_id: str) -> str:
        return f"arn:aws:ec2:{self.region}::snapshot/{snapshot_id}"

    def ec2(self, kind: str, id_: str) -> str:
        if kind in ("image", "snapshot"):
            return f"arn:aws:ec2:{self.region}::{kind}/{id_}"
        return self.of("ec2", f"{kind}/{id_}")


def needs(service: str, operation: str, parameters: Parameters, arns: Arns) -> list[Need]:
    action = f"{PREFIX.get(service, service)}:{ACTION.get((service, operation), operation)}"
    special = _SPECIAL.get((service, operation))
    if special:
        return special(action, parameters, arns)
    resources = _RESOURCES.get(service, _anything)(parameters, arns)
    return [(action, resource) for resource in resources] or [(action, "*")]


def _ids(parameters: Parameters, *names: str) -> list[str]:
    found: list[str] = []
    for name in names:
        value = parameters.get(name)
        found.extend(value if isinstance(value, list) else [value] if value else [])
    return found


_EC2_KINDS = {
    "i": "instance",
    "ami": "image",
    "snap": "snapshot",
    "vol": "volume",
    "subnet": "subnet",
    "sg": "security-group",
    "eni": "network-interface",
    "lt": "launch-template",
    "sir": "spot-instances-request",
}


def _ec2_resources(parameters: Parameters, arns: Arns) -> list[str]:
    return [
        arns.ec2(_EC2_KINDS[prefix], id_)
        for id_ in _ids(
            parameters,
            "InstanceId",
            "InstanceIds",
            "ImageId",
            "SnapshotId",
            "VolumeId",
            "Resources",
            "LaunchTemplateId",
            "SpotInstanceRequestIds",
        )
        if (prefix := str(id_).split("-")[0]) in _EC2_KINDS
    ]


def _anything(_parameters: Parameters, _arns: Arns) -> list[str]:
    return []


def _describe(action: str, _parameters: Parameters, _arns: Arns) -> list[Need]:
    return [(action, "*")]


def _ssm_resources(parameters: Parameters, arns: Arns) -> list[str]:
    named = [str(n) for n in _ids(parameters, "Name", "Names", "Path")]
    return [parameter_arn(name.split(":")[0], arns) for name in named]


def parameter_arn(name: str, arns: Arns) -> str:
    """AWS's public parameters belong to no account."""
    if name.startswith("/aws/"):
        return f"arn:aws:ssm:{arns.region}::parameter{name}"
    return arns.of("ssm", f"parameter/{name.lstrip('/')}")


def _ssm_document(action: str, parameters: Parameters, arns: Arns) -> list[Need]:
    return [(action, document_arn(str(parameters.get("Name")), arns))]


def document_arn(name: str, arns: Arns) -> str:
    if name.startswith("arn:"):
        return name
    if name.lower().startswith(("aws", "amazon", "amzn")):
        return f"arn:aws:ssm:{arns.region}::document/{name}"
    return arns.of("ssm", f"document/{name}")


def _send_command(action: str, parameters: Parameters, arns: Arns) -> list[Need]:
    instances = [arns.of("ec2", f"instance/{i}") for i in _ids(parameters, "InstanceIds")]
    document = document_arn(str(parameters.get("DocumentName")), arns)
    return [(action, document), *((action, instance) for instance in instances)]


def _tag_needs(parameters: Parameters, arns: Arns) -> list[Need]:
    return [
        ("ec2:CreateTags", arns.ec2(str(spec.get("ResourceType")), "*"))
        for spec in parameters.get("TagSpecifications") or []
        if spec.get("Tags")
    ]


def _run_instances(action: str, parameters: Parameters, arns: Arns) -> list[Need]:
    interfaces = parameters.get("NetworkInterfaces") or []
    subnets = _ids(parameters, "SubnetId") + [s for i in interfaces if (s := i.get("SubnetId"))]
    groups = _ids(parameters, "SecurityGroupIds") + [
        g for i in interfaces for g in i.get("Groups", [])
    ]
    resources = [arns.of("ec2", "instance/*"), arns.of("ec2", "volume/*")]
    resources += [arns.of("ec2", "network-interface/*"), arns.image(str(parameters.get("ImageId")))]
    resources += [arns.ec2("subnet", s) for s in subnets]
    resources += [arns.ec2("security-group", g) for g in groups]
    if (parameters.get("InstanceMarketOptions") or {}).get("MarketType") == "spot":
        resources.append(arns.of("ec2", "spot-instances-request/*"))
    needs_ = [(action, resource) for resource in resources]
    profile = parameters.get("IamInstanceProfile") or {}
    role = arns.profile_role(str(profile.get("Name") or profile.get("Arn") or ""))
    if role:
        needs_.append(("iam:PassRole", role))
    return needs_ + _tag_needs(parameters, arns)


def _create_image(action: str, parameters: Parameters, arns: Arns) -> list[Need]:
    instance = arns.of("ec2", f"instance/{parameters.get('InstanceId')}")
    resources = [instance, arns.image("*"), arns.snapshot("*")]
    return [(action, resource) for resource in resources] + _tag_needs(parameters, arns)


def _copy_image(action: str, parameters: Parameters, arns: Arns) -> list[Need]:
    source = (
        f"arn:aws:ec2:{parameters.get('SourceRegion')}::image/{parameters.get('SourceImageId')}"
    )
    resources = [source, arns.image("*"), arns.snapshot("*")]
    return [*((action, it) for it in resources), *_tag_needs(parameters, arns)]


def _send_task(action: str, parameters: Parameters, arns: Arns) -> list[Need]:
    """The right is one on the state machine that gave the token."""
    machine = arns.machine_of_token(str(parameters.get("taskToken")))
    return [(action, machine)] if machine else []


def _states_resources(parameters: Parameters, _arns: Arns) -> list[str]:
    return _ids(parameters, "stateMachineArn", "executionArn")


def _dynamodb_resources(parameters: Parameters, arns: Arns) -> list[str]:
    name = parameters.get("TableName")
    return [arns.named("dynamodb", "table/", str(name))] if name else []


def _lambda_resources(parameters: Parameters, arns: Arns) -> list[str]:
    name, qualifier = parameters.get("FunctionName"), parameters.get("Qualifier")
    if not name:
        return []
    arn = arns.named("lambda", "function:", str(name))
    return [f"{arn}:{qualifier}" if qualifier else arn]


def _sns_resources(parameters: Parameters, _arns: Arns) -> list[str]:
    return _ids(parameters, "TopicArn", "TargetArn")


def _sqs_resources(parameters: Parameters, arns: Arns) -> list[str]:
    url = parameters.get("QueueUrl")
    return [arns.of("sqs", str(url).rsplit("/", 1)[-1])] if url else []


def _put_events(action: str, parameters: Parameters, arns: Arns) -> list[Need]:
    buses = {str(e.get("EventBusName") or "default") for e in parameters.get("Entries") or []}
    return [(action, arns.named("events", "event-bus/", bus)) for bus in sorted(buses)]


def _kms_resources(parameters: Parameters, arns: Arns) -> list[str]:
    key = str(parameters.get("KeyId") or "")
    if not key:
        return []
    if ":alias/" in key or key.startswith("alias/"):
        # The right is one on the key, whatever it is called.
        found = arns.key_of_alias(f"alias/{key.partition('alias/')[2]}", arns.region)
        return [arns.of("kms", f"key/{found or 'unknown'}")]
    return [key if key.startswith("arn:") else arns.of("kms", f"key/{key}")]


def _logs_resources(parameters: Parameters, arns: Arns) -> list[str]:
    name = parameters.get("logGroupName")
    return [arns.of("logs", f"log-group:{name}:log-stream:*")] if name else []


def _s3_resources(parameters: Parameters, _arns: Arns) -> list[str]:
    name = "/".join(_ids(parameters, "Bucket", "Key"))
    return [f"arn:aws:s3:::{name}"] if name else []


_RESOURCES: dict[str, Callable[[Parameters, Arns], list[str]]] = {
    "ec2": _ec2_resources,
    "ssm": _ssm_resources,
    "stepfunctions": _states_resources,
    "dynamodb": _dynamodb_resources,
    "lambda": _lambda_resources,
    "sns": _sns_resources,
    "sqs": _sqs_resources,
    "kms": _kms_resources,
    "logs": _logs_resources,
    "s3": _s3_resources,
}

_EC2_UNSCOPED = [
    "DescribeInstances",
    "DescribeImages",
    "DescribeImageReferences",
    "DescribeImageUsageReports",
    "DescribeImageUsageReportEntries",
    "DescribeSnapshots",
    "DescribeVolumes",
    "DescribeSubnets",
    "DescribeVpcs",
    "DescribeInstanceTypes",
    "DescribeInstanceTypeOfferings",
    "DescribeSecurityGroups",
    "DescribeSpotInstanceRequests",
    "DescribeInstanceStatus",
    "DescribeTags",
    "DescribeLaunchTemplates",
    "DescribeLaunchTemplateVersions",
    "DescribeRegions",
]
_SSM_UNSCOPED = [
    "DescribeInstanceInformation",
    "ListCommands",
    "ListCommandInvocations",
    "GetCommandInvocation",
    "CancelCommand",
    "DescribeParameters",
]

_SPECIAL: dict[tuple[str, str], Callable[[str, Parameters, Arns], list[Need]]] = {
    ("ec2", "RunInstances"): _run_instances,
    ("ec2", "CreateImage"): _create_image,
    ("ec2", "CopyImage"): _copy_image,
    ("ssm", "SendCommand"): _send_command,
    ("ssm", "GetDocument"): _ssm_document,
    ("ssm", "DescribeDocument"): _ssm_document,
    ("stepfunctions", "SendTaskSuccess"): _send_task,
    ("stepfunctions", "SendTaskFailure"): _send_task,
    ("stepfunctions", "SendTaskHeartbeat"): _send_task,
    ("events", "PutEvents"): _put_events,
    ("sts", "GetCallerIdentity"): lambda _action, _parameters, _arns: [],
    **{("ec2", operation): _describe for operation in _EC2_UNSCOPED},
    **{("ssm", operation): _describe for operation in _SSM_UNSCOPED},
}
