"""Which actions on which resources an API call needs, and the condition keys that the request
itself gives: the part of AWS's service authorization reference that the bake touches. A call that
is not listed needs its own action on `*`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from scripts.local.conditions import tag_keys

if TYPE_CHECKING:
    from scripts.local.iam_facts import Facts

Parameters = Mapping[str, Any]
Keys = Mapping[str, Any]


class Need(NamedTuple):
    """A right that a call needs."""

    action: str
    resource: str
    keys: Keys = {}


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

    def __init__(self, region: str, account: str, facts: Facts) -> None:
        self.region = region
        self.account = account
        self.facts = facts

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
    keys = _KEYS.get((service, operation), _no_keys)(parameters)
    return [Need(action, resource, keys) for resource in resources or ["*"]]


def _no_keys(_parameters: Parameters) -> Keys:
    return {}


def requested_tags(tags: Iterable[Mapping[str, str]]) -> Keys:
    """The keys that tags in a request make; a request without tags has none of them."""
    pairs = {str(tag["Key"]): str(tag.get("Value", "")) for tag in tags}
    return {**tag_keys("aws:RequestTag", pairs), "aws:TagKeys": list(pairs) or None}


def _specified(parameters: Parameters, kind: str) -> Keys:
    """As `requested_tags`, for the tags that a request gives to one kind of resource."""
    return requested_tags(
        tag
        for spec in parameters.get("TagSpecifications") or []
        if spec.get("ResourceType") == kind
        for tag in spec.get("Tags") or []
    )


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
    return [Need(action, "*")]


def _ssm_resources(parameters: Parameters, arns: Arns) -> list[str]:
    named = [str(n) for n in _ids(parameters, "Name", "Names", "Path")]
    return [parameter_arn(name.split(":")[0], arns) for name in named]


def parameter_arn(name: str, arns: Arns) -> str:
    """AWS's public parameters belong to no account."""
    if name.startswith("/aws/"):
        return f"arn:aws:ssm:{arns.region}::parameter{name}"
    return arns.of("ssm", f"parameter/{name.lstrip('/')}")


def _ssm_document(action: str, parameters: Parameters, arns: Arns) -> list[Need]:
    return [Need(action, document_arn(str(parameters.get("Name")), arns))]


def document_arn(name: str, arns: Arns) -> str:
    if name.startswith("arn:"):
        return name
    if name.lower().startswith(("aws", "amazon", "amzn")):
        return f"arn:aws:ssm:{arns.region}::document/{name}"
    return arns.of("ssm", f"document/{name}")


def _send_command(action: str, parameters: Parameters, arns: Arns) -> list[Need]:
    """Targets that are no ids are any instance, of which no tags are known."""
    targets = parameters.get("Targets") or []
    ids = _ids(parameters, "InstanceIds")
    for target in targets:
        ids += target.get("Values", []) if target.get("Key") == "InstanceIds" else ["*"]
    instances = [arns.of("ec2", f"instance/{i}") for i in ids]
    document = document_arn(str(parameters.get("DocumentName")), arns)
    return [Need(action, resource) for resource in (document, *instances)]


def _put_parameter(action: str, parameters: Parameters, arns: Arns) -> list[Need]:
    """With the id of an image, Parameter Store looks the image up with its caller's right.

    Source: Systems Manager user guide, "Native parameter support for Amazon Machine Image IDs".
    """
    parameter = parameter_arn(str(parameters.get("Name")), arns)
    keys = {
        **requested_tags(parameters.get("Tags") or []),
        "ssm:Overwrite": bool(parameters.get("Overwrite")),
    }
    found = [Need(action, parameter, keys)]
    if parameters.get("Tags"):
        found.append(Need("ssm:AddTagsToResource", parameter, keys))
    if parameters.get("DataType") == "aws:ec2:image":
        found.append(Need("ec2:DescribeImages", "*"))
    return found


def _tag_needs(action: str, parameters: Parameters, arns: Arns) -> list[Need]:
    """Tags given at creation need a right of their own, whose ec2:CreateAction is the call."""
    kinds = {
        str(spec.get("ResourceType")): None
        for spec in parameters.get("TagSpecifications") or []
        if spec.get("Tags")
    }
    creating = {"ec2:CreateAction": action.partition(":")[2]}
    return [
        Need("ec2:CreateTags", arns.ec2(kind, "*"), {**creating, **_specified(parameters, kind)})
        for kind in kinds
    ]


def _run_instances(action: str, parameters: Parameters, arns: Arns) -> list[Need]:
    """Each resource has keys of its own. Source: EC2 in the service authorization reference."""
    interfaces = parameters.get("NetworkInterfaces") or []
    subnets = _ids(parameters, "SubnetId") + [s for i in interfaces if (s := i.get("SubnetId"))]
    groups = _ids(parameters, "SecurityGroupIds") + [
        g for i in interfaces for g in i.get("Groups", [])
    ]
    place = arns.facts.keys(arns.ec2("subnet", subnets[0])) if subnets else {}
    zone = {"ec2:AvailabilityZone": place.get("ec2:AvailabilityZone")}
    template, placement = (parameters.get(name) or {} for name in ("LaunchTemplate", "Placement"))
    market = (parameters.get("InstanceMarketOptions") or {}).get("MarketType") or "on-demand"
    profile = parameters.get("IamInstanceProfile") or {}
    asked = str(profile.get("Name") or profile.get("Arn") or "")
    found: list[tuple[str, Keys]] = [
        ("instance/*", {**_instance_keys(parameters, asked, market, arns), **zone}),
        *(("volume/*", {**keys, **zone}) for keys in _volume_keys(parameters, arns)),
        ("network-interface/*", {**_interface_keys(parameters, subnets, place, arns), **zone}),
        *((f"subnet/{it}", {}) for it in subnets),
        *((f"security-group/{it}", {}) for it in groups),
        *((f"key-pair/{it}", {"ec2:KeyPairName": it}) for it in _ids(parameters, "KeyName")),
        *((f"launch-template/{it}", {}) for it in _ids(template, "LaunchTemplateId")),
        *((f"placement-group/{it}", {}) for it in _ids(placement, "GroupName")),
    ]
    if market == "spot":
        requested = _specified(parameters, "spot-instances-request")
        found.append(("spot-instances-request/*", requested))
    wanted = [Need(action, arns.of("ec2", tail), keys) for tail, keys in found]
    wanted.append(Need(action, arns.image(str(parameters.get("ImageId")))))
    wanted += [Need(action, arns.snapshot(it)) for it in _snapshots(parameters)]
    if role := arns.facts.role_of_profile(asked):
        to_ec2 = {"iam:PassedToService": "ec2.amazonaws.com"}
        wanted.append(Need("iam:PassRole", role, to_ec2))
    return wanted + _tag_needs(action, parameters, arns)


def _instance_keys(parameters: Parameters, profile: str, market: str, arns: Arns) -> Keys:
    metadata = parameters.get("MetadataOptions") or {}
    return {
        **_specified(parameters, "instance"),
        "ec2:InstanceType": parameters.get("InstanceType"),
        "ec2:InstanceProfile": arns.facts.arn_of_profile(profile) if profile else None,
        "ec2:InstanceMarketType": market,
        "ec2:MetadataHttpTokens": metadata.get("HttpTokens"),
        "ec2:MetadataHttpPutResponseHopLimit": metadata.get("HttpPutResponseHopLimit"),
        "ec2:MetadataHttpEndpoint": metadata.get("HttpEndpoint"),
        "ec2:InstanceMetadataTags": metadata.get("InstanceMetadataTags"),
        "ec2:RootDeviceType": arns.facts.image(arns.region, str(parameters.get("ImageId"))).get(
            "RootDeviceType"
        ),
    }


def _interface_keys(parameters: Parameters, subnets: list[str], place: Keys, arns: Arns) -> Keys:
    asked = [i.get("AssociatePublicIpAddress") for i in parameters.get("NetworkInterfaces") or []]
    return {
        **_specified(parameters, "network-interface"),
        "ec2:Subnet": arns.ec2("subnet", subnets[0]) if subnets else None,
        "ec2:Vpc": place.get("ec2:Vpc"),
        "ec2:AssociatePublicIpAddress": next((it for it in asked if it is not None), None),
    }


def _volume_keys(parameters: Parameters, arns: Arns) -> list[Keys]:
    """Of each volume: as the request has it, else as the image has it."""
    image = arns.facts.image(arns.region, str(parameters.get("ImageId")))
    volumes = {
        m["DeviceName"]: m["Ebs"] for m in image.get("BlockDeviceMappings", []) if "Ebs" in m
    }
    for mapping in parameters.get("BlockDeviceMappings") or []:
        if mapping.get("NoDevice") is not None:
            volumes.pop(mapping["DeviceName"], None)
        elif "Ebs" in mapping:
            before = volumes.get(mapping["DeviceName"], {})
            volumes[mapping["DeviceName"]] = {**before, **mapping["Ebs"]}
    tags = _specified(parameters, "volume")
    return [
        {
            **tags,
            "ec2:Encrypted": bool(
                ebs.get("Encrypted")
                or arns.facts.snapshot(arns.region, str(ebs.get("SnapshotId"))).get("Encrypted")
            ),
            "ec2:VolumeSize": ebs.get("VolumeSize"),
            "ec2:VolumeType": ebs.get("VolumeType"),
            "ec2:VolumeIops": ebs.get("Iops"),
            "ec2:VolumeThroughput": ebs.get("Throughput"),
            "ec2:ParentSnapshot": arns.snapshot(s) if (s := ebs.get("SnapshotId")) else None,
        }
        for ebs in volumes.values()
    ]


def _snapshots(parameters: Parameters) -> list[str]:
    """Those that the request itself names."""
    return [
        str(snapshot)
        for mapping in parameters.get("BlockDeviceMappings") or []
        if (snapshot := (mapping.get("Ebs") or {}).get("SnapshotId"))
    ]


def _create_image(action: str, parameters: Parameters, arns: Arns) -> list[Need]:
    return [
        Need(action, arns.of("ec2", f"instance/{parameters.get('InstanceId')}")),
        Need(action, arns.image("*"), _specified(parameters, "image")),
        Need(action, arns.snapshot("*"), _specified(parameters, "snapshot")),
        *_tag_needs(action, parameters, arns),
    ]


def _copy_image(action: str, parameters: Parameters, arns: Arns) -> list[Need]:
    """The source counts too. Source: EC2 user guide, "Grant permissions to copy Amazon EC2 AMIs".

    That the tags of the copy are keys of the source as well, the reference leaves open: not here.
    """
    source, id_ = parameters.get("SourceRegion"), parameters.get("SourceImageId")
    return [
        Need(action, f"arn:aws:ec2:{source}::image/{id_}"),
        Need(action, arns.image("*"), _specified(parameters, "image")),
        Need(action, arns.snapshot("*"), _specified(parameters, "snapshot")),
        *_tag_needs(action, parameters, arns),
    ]


def _report_usage(action: str, parameters: Parameters, arns: Arns) -> list[Need]:
    return [
        Need(action, arns.image(str(parameters.get("ImageId")))),
        Need(
            action,
            arns.ec2("image-usage-report", "*"),
            _specified(parameters, "image-usage-report"),
        ),
        *_tag_needs(action, parameters, arns),
    ]


def _fast_launch(action: str, parameters: Parameters, arns: Arns) -> list[Need]:
    templates = _ids(parameters.get("LaunchTemplate") or {}, "LaunchTemplateId")
    return [
        Need(action, arns.image(str(parameters.get("ImageId")))),
        *(Need(action, arns.ec2("launch-template", it)) for it in templates),
    ]


def _send_task(action: str, parameters: Parameters, arns: Arns) -> list[Need]:
    """The right is one on the state machine that gave the token."""
    machine = arns.facts.machine_of_token(str(parameters.get("taskToken")))
    return [Need(action, machine)] if machine else []


def _states_resources(parameters: Parameters, _arns: Arns) -> list[str]:
    return _ids(parameters, "stateMachineArn", "executionArn")


def _on_table(action: str, parameters: Parameters, arns: Arns) -> list[Need]:
    """An operation on items names them by their partition key, which is a key of the request too.

    Source: DynamoDB developer guide, "Using IAM policy conditions for fine-grained access control".
    """
    name = str(parameters.get("TableName"))
    key = arns.facts.partition_key(name, arns.region)
    named = (parameters.get("Item") or parameters.get("Key") or _equal(parameters)).get(key) or {}
    leading = [str(value) for value in named.values()]
    arn = arns.named("dynamodb", "table/", name)
    return [Need(action, arn, {"dynamodb:LeadingKeys": leading or None})]


def _equal(parameters: Parameters) -> dict[str, Mapping[str, str]]:
    """The attributes that a query wants to be equal to a value, with it."""
    names = parameters.get("ExpressionAttributeNames") or {}
    values = parameters.get("ExpressionAttributeValues") or {}
    pairs = re.findall(r"([#\w]+)\s*=\s*(:\w+)", parameters.get("KeyConditionExpression") or "")
    return {names.get(name, name): values[value] for name, value in pairs if value in values}


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
    return [
        Need(
            action,
            arns.named("events", "event-bus/", str(entry.get("EventBusName") or "default")),
            {"events:source": entry.get("Source"), "events:detail-type": entry.get("DetailType")},
        )
        for entry in parameters.get("Entries") or []
    ]


def _kms_resources(parameters: Parameters, arns: Arns) -> list[str]:
    key = str(parameters.get("KeyId") or "")
    if not key:
        return []
    if ":alias/" in key or key.startswith("alias/"):
        # The right is one on the key, whatever it is called.
        found = arns.facts.key_of_alias(f"alias/{key.partition('alias/')[2]}", arns.region)
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


def _retagged(parameters: Parameters) -> Keys:
    return requested_tags(parameters.get("Tags") or [])


def _shared_snapshot(parameters: Parameters) -> Keys:
    """Who is let in or shut out, in either of the two ways to ask for it."""
    change = parameters.get("CreateVolumePermission") or {}
    way = str(parameters.get("OperationType") or "").capitalize()
    keys: dict[str, list[str]] = {}
    for what, entries in change.items():
        for entry in entries:
            for name, member in (("group", "Group"), ("userId", "UserId")):
                if member in entry:
                    keys.setdefault(f"ec2:{what}/{name}", []).append(str(entry[member]))
    for name, member in (("group", "GroupNames"), ("userId", "UserIds")):
        if way and parameters.get(member):
            keys.setdefault(f"ec2:{way}/{name}", []).extend(parameters[member])
    return keys


def _listed_objects(parameters: Parameters) -> Keys:
    return {
        "s3:prefix": parameters.get("Prefix"),
        "s3:delimiter": parameters.get("Delimiter"),
        "s3:max-keys": parameters.get("MaxKeys"),
    }


_KEYS: dict[tuple[str, str], Callable[[Parameters], Keys]] = {
    ("ec2", "CreateTags"): _retagged,
    ("ec2", "DeleteTags"): _retagged,
    ("ec2", "ModifySnapshotAttribute"): _shared_snapshot,
    ("s3", "ListObjects"): _listed_objects,
    ("s3", "ListObjectsV2"): _listed_objects,
}

_EC2_UNSCOPED = [
    "DescribeInstances",
    "DescribeFastLaunchImages",
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
    ("ec2", "CreateImageUsageReport"): _report_usage,
    ("ec2", "EnableFastLaunch"): _fast_launch,
    ("ssm", "PutParameter"): _put_parameter,
    ("ssm", "SendCommand"): _send_command,
    ("ssm", "GetDocument"): _ssm_document,
    ("ssm", "DescribeDocument"): _ssm_document,
    ("stepfunctions", "SendTaskSuccess"): _send_task,
    ("stepfunctions", "SendTaskFailure"): _send_task,
    ("stepfunctions", "SendTaskHeartbeat"): _send_task,
    ("events", "PutEvents"): _put_events,
    **{("dynamodb", it): _on_table for it in ("GetItem", "PutItem", "DeleteItem", "Query")},
    ("sts", "GetCallerIdentity"): lambda _action, _parameters, _arns: [],
    **{("ec2", operation): _describe for operation in _EC2_UNSCOPED},
    **{("ssm", operation): _describe for operation in _SSM_UNSCOPED},
}
