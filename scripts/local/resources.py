"""How each type of CloudFormation resource is made: by the API calls that CloudFormation would
make.

Every maker also updates: it is called again with what it made before when the resource's properties
change. A type that is not here fails the deployment by name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scripts.local import moto_seam
from scripts.local.errors import LocalAwsError
from scripts.local.iam import ACCOUNT
from scripts.local.lambdas import Function, Lambdas, Permission, function_arn
from scripts.local.schedules import Schedule, Schedules

if TYPE_CHECKING:
    from pathlib import Path

Properties = Mapping[str, Any]


@dataclass
class Made:
    """A resource as others refer to it: `id` answers Ref, `attributes` GetAtt."""

    id: str
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Site:
    """Where resources are made."""

    stack: str
    region: str
    client: Callable[[str], Any]
    lambdas: Lambdas
    schedules: Schedules
    asset: Callable[[str], Path]
    scratch: Path

    def name(self, logical: str, limit: int = 64) -> str:
        """A physical name as CloudFormation invents it."""
        # The same in every account: definitions that name it are then parsed once per process.
        suffix = hashlib.sha256(f"{self.stack}/{logical}".encode()).hexdigest()[:12].upper()
        return f"{self.stack}-{logical}"[: limit - 13] + f"-{suffix}"

    def arn(self, service: str, tail: str) -> str:
        return f"arn:aws:{service}:{self.region}:{ACCOUNT}:{tail}"


Maker = Callable[[Site, str, Properties, Made | None], Made]

#: Types without behaviour at run time here, each with the reason why leaving them out is right.
INERT: dict[str, str] = {
    "AWS::CDK::Metadata": "tells AWS which constructs were used",
    "AWS::CloudWatch::Alarm": "alarms watch metrics, and the local AWS keeps none",
    "AWS::CloudWatch::CompositeAlarm": "alarms watch metrics, and the local AWS keeps none",
    "AWS::CloudWatch::Dashboard": "a picture in the console",
    "AWS::Logs::MetricFilter": "makes metrics, and the local AWS keeps none",
    "AWS::Logs::QueryDefinition": "a saved query in the console",
    "AWS::Logs::ResourcePolicy": "lets AWS services write logs, which they may here",
    "AWS::XRay::Group": "a view of traces, and the local AWS keeps none",
    "AWS::ApplicationInsights::Application": "a view in the console",
}


def _tags(p: Properties) -> list[dict[str, str]]:
    return [dict(t) for t in p.get("Tags") or []]


def role(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    iam = site.client("iam")
    name = before.id if before else str(p.get("RoleName") or site.name(logical))
    trust = json.dumps(p["AssumeRolePolicyDocument"])
    limit = {"PermissionsBoundary": b} if (b := p.get("PermissionsBoundary")) else {}
    if before is None:
        made = iam.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=trust,
            Path=p.get("Path", "/"),
            Tags=_tags(p),
            **limit,
        )["Role"]
        before = Made(name, {"Arn": made["Arn"], "RoleId": made["RoleId"]})
    else:
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust)
        if limit:
            iam.put_role_permissions_boundary(RoleName=name, **limit)
        elif "PermissionsBoundary" in iam.get_role(RoleName=name)["Role"]:
            iam.delete_role_permissions_boundary(RoleName=name)
        for old in iam.list_role_policies(RoleName=name)["PolicyNames"]:
            if old in before.attributes.get("_inline", []):
                iam.delete_role_policy(RoleName=name, PolicyName=old)
    for arn in p.get("ManagedPolicyArns") or []:
        if arn.startswith("arn:aws:iam::aws:policy/"):
            moto_seam.ensure_managed_policy(arn)
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    inline = p.get("Policies") or []
    for policy in inline:
        document = json.dumps(policy["PolicyDocument"])
        iam.put_role_policy(RoleName=name, PolicyName=policy["PolicyName"], PolicyDocument=document)
    before.attributes["_inline"] = [i["PolicyName"] for i in inline]
    return before


def policy(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    name = str(p["PolicyName"])
    for role_name in p.get("Roles") or []:
        site.client("iam").put_role_policy(
            RoleName=role_name, PolicyName=name, PolicyDocument=json.dumps(p["PolicyDocument"])
        )
    return Made(name)


def managed_policy(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    iam = site.client("iam")
    document = json.dumps(p["PolicyDocument"])
    if before is None:
        name = str(p.get("ManagedPolicyName") or site.name(logical))
        before = Made(iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"])
    else:
        iam.create_policy_version(PolicyArn=before.id, PolicyDocument=document, SetAsDefault=True)
    for role_name in p.get("Roles") or []:
        iam.attach_role_policy(RoleName=role_name, PolicyArn=before.id)
    before.attributes["PolicyArn"] = before.id
    return before


def instance_profile(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    iam = site.client("iam")
    if before is not None:
        return before
    name = str(p.get("InstanceProfileName") or site.name(logical, 128))
    made = iam.create_instance_profile(InstanceProfileName=name, Path=p.get("Path", "/"))[
        "InstanceProfile"
    ]
    for role_name in p.get("Roles") or []:
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role_name)
    return Made(name, {"Arn": made["Arn"]})


def function(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    name = before.id if before else str(p.get("FunctionName") or site.name(logical))
    if p.get("PackageType") == "Image":
        raise LocalAwsError(f"{logical}: the local AWS runs no container images")
    group = (p.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{name}"
    variables = (p.get("Environment") or {}).get("Variables") or {}
    made = Function(
        name=name,
        arn=function_arn(site.region, name),
        role=str(p["Role"]),
        handler=str(p["Handler"]),
        root=_code(site, logical, p["Code"]),
        environment={k: str(v) for k, v in variables.items()},
        timeout=float(p.get("Timeout", 3)),
        memory=int(p.get("MemorySize", 128)),
        log_group=str(group),
        properties=dict(p),
    )
    dead = (p.get("DeadLetterConfig") or {}).get("TargetArn")
    site.lambdas.define(made)
    if dead:
        made.on_failure = dead
    return Made(name, {"Arn": made.arn})


def function_version(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    """Immutable: what changes it is another logical id, by which CloudFormation makes another."""
    if before is not None:
        raise LocalAwsError(f"{logical}: a published version cannot be updated, only replaced")
    name = str(p["FunctionName"])
    known = {version.version for version in site.lambdas.versions(name)}
    made = site.lambdas.publish(name)
    if made.version in known:
        raise LocalAwsError(
            f"{logical}: A version for this Lambda function exists ( {made.version} ). Modify the "
            "function to create a new version."
        )
    return Made(made.arn, {"FunctionArn": made.arn, "Version": made.version})


def _code(site: Site, logical: str, code: Properties) -> Path:
    if "ZipFile" in code:
        folder = site.scratch / logical
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.py").write_text(str(code["ZipFile"]))
        return folder
    return site.asset(str(code["S3Key"]))


def permission(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    target = site.lambdas.find(str(p["FunctionName"]))
    id_ = before.id if before else site.name(logical)
    kept = [x for x in target.permissions if x.statement_id != id_]
    target.permissions = [*kept, Permission(id_, str(p["Principal"]), p.get("SourceArn"))]
    return Made(id_)


def invoke_config(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    target = site.lambdas.find(str(p["FunctionName"]))
    target.retries = int(p.get("MaximumRetryAttempts", 2))
    failure = (p.get("DestinationConfig") or {}).get("OnFailure") or {}
    target.on_failure = failure.get("Destination") or target.on_failure
    return Made(f"{target.name}|{p.get('Qualifier', '$LATEST')}")


def log_group(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    logs = site.client("logs")
    name = before.id if before else str(p.get("LogGroupName") or site.name(logical, 512))
    if before is None:
        logs.create_log_group(logGroupName=name)
    if p.get("RetentionInDays"):
        logs.put_retention_policy(logGroupName=name, retentionInDays=int(p["RetentionInDays"]))
    return Made(name, {"Arn": site.arn("logs", f"log-group:{name}:*")})


def table(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    dynamodb = site.client("dynamodb")
    name = before.id if before else str(p.get("TableName") or site.name(logical, 255))
    if before is None:
        keys = (
            "KeySchema",
            "AttributeDefinitions",
            "BillingMode",
            "GlobalSecondaryIndexes",
            "LocalSecondaryIndexes",
            "StreamSpecification",
            "ProvisionedThroughput",
        )
        request = {k: p[k] for k in keys if p.get(k)}
        dynamodb.create_table(TableName=name, **request)
    ttl = p.get("TimeToLiveSpecification")
    if ttl:
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=ttl)
    return Made(name, {"Arn": site.arn("dynamodb", f"table/{name}")})


def topic(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    if before is not None:
        return before
    name = str(p.get("TopicName") or site.name(logical, 256))
    arn = site.client("sns").create_topic(Name=name)["TopicArn"]
    for subscription_ in p.get("Subscription") or []:
        site.client("sns").subscribe(TopicArn=arn, **subscription_)
    return Made(arn, {"TopicArn": arn, "TopicName": name})


def subscription(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    request = {
        "TopicArn": p["TopicArn"],
        "Protocol": p["Protocol"],
        "Endpoint": p.get("Endpoint", ""),
    }
    attributes = {
        key: p[key] if isinstance(p[key], str) else json.dumps(p[key])
        for key in ("RawMessageDelivery", "FilterPolicy", "RedrivePolicy", "FilterPolicyScope")
        if key in p
    }
    arn = site.client("sns").subscribe(
        **request, Attributes=attributes, ReturnSubscriptionArn=True
    )["SubscriptionArn"]
    return Made(arn)


def topic_policy(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    for arn in p["Topics"]:
        site.client("sns").set_topic_attributes(
            TopicArn=arn, AttributeName="Policy", AttributeValue=json.dumps(p["PolicyDocument"])
        )
    return before or Made(site.name(logical))


_QUEUE_ATTRIBUTES = [
    "DelaySeconds",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "ReceiveMessageWaitTimeSeconds",
    "VisibilityTimeout",
    "RedrivePolicy",
    "KmsMasterKeyId",
    "SqsManagedSseEnabled",
    "FifoQueue",
]


def queue(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    sqs = site.client("sqs")
    attributes = {}
    for key in _QUEUE_ATTRIBUTES:
        if key in p:
            value = p[key]
            is_text = isinstance(value, str)
            attributes[key] = value if is_text else json.dumps(value)
    if before is not None:
        sqs.set_queue_attributes(QueueUrl=before.id, Attributes=attributes)
        return before
    name = str(p.get("QueueName") or site.name(logical, 80))
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return Made(url, {"Arn": site.arn("sqs", name), "QueueName": name, "QueueUrl": url})


def queue_policy(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    for url in p["Queues"]:
        attributes = {"Policy": json.dumps(p["PolicyDocument"])}
        site.client("sqs").set_queue_attributes(QueueUrl=url, Attributes=attributes)
    return before or Made(site.name(logical))


def rule(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    events = site.client("events")
    name = before.id if before else str(p.get("Name") or site.name(logical))
    request: dict[str, Any] = {"Name": name, "State": p.get("State", "ENABLED")}
    if p.get("ScheduleExpression"):
        raise LocalAwsError(
            f"{logical}: scheduled rules do not run here; use AWS::Scheduler::Schedule"
        )
    request["EventPattern"] = json.dumps(p["EventPattern"])
    if p.get("EventBusName"):
        request["EventBusName"] = p["EventBusName"]
    arn = events.put_rule(**request)["RuleArn"]
    old = events.list_targets_by_rule(Rule=name)["Targets"] if before else []
    wanted = [dict(t) for t in p.get("Targets") or []]
    if gone := [t["Id"] for t in old if t["Id"] not in {w["Id"] for w in wanted}]:
        events.remove_targets(Rule=name, Ids=gone)
    if wanted:
        events.put_targets(Rule=name, Targets=wanted)
    return Made(name, {"Arn": arn})


def schedule_group(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    name = before.id if before else str(p.get("Name") or site.name(logical))
    return Made(name, {"Arn": site.arn("scheduler", f"schedule-group/{name}"), "State": "ACTIVE"})


def schedule(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    name = before.id if before else str(p.get("Name") or site.name(logical))
    made = Schedule(
        name=name,
        group=str(p.get("GroupName") or "default"),
        region=site.region,
        expression=str(p["ScheduleExpression"]),
        timezone=str(p.get("ScheduleExpressionTimezone") or "UTC"),
        target=dict(p["Target"]),
        state=str(p.get("State") or "ENABLED"),
        properties=dict(p),
    )
    site.schedules.define(made)
    return Made(name, {"Arn": made.arn})


def document(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    ssm = site.client("ssm")
    content = p["Content"] if isinstance(p["Content"], str) else json.dumps(p["Content"])
    format_ = str(p.get("DocumentFormat") or "JSON")
    if before is not None and p.get("UpdateMethod") == "NewVersion":
        answer = ssm.update_document(
            Name=before.id, Content=content, DocumentVersion="$LATEST", DocumentFormat=format_
        )
        version = answer["DocumentDescription"]["DocumentVersion"]
        ssm.update_document_default_version(Name=before.id, DocumentVersion=version)
        return before
    if before is not None:
        raise LocalAwsError(
            f"{logical}: a named document can only be updated with UpdateMethod NewVersion"
        )
    name = str(p.get("Name") or site.name(logical, 128))
    ssm.create_document(
        Name=name,
        Content=content,
        DocumentType=p.get("DocumentType", "Command"),
        DocumentFormat=format_,
    )
    return Made(name)


def ssm_parameter(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    name = before.id if before else str(p.get("Name") or f"CFN-{site.name(logical)}")
    request = {"Name": name, "Type": p["Type"], "Value": p["Value"]}
    if p.get("DataType"):
        request["DataType"] = p["DataType"]
    site.client("ssm").put_parameter(**request, Overwrite=before is not None)
    return Made(name, {"Type": p["Type"], "Value": p["Value"]})


def state_machine(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    states = site.client("stepfunctions")
    definition = _definition(p)
    if before is not None:
        states.update_state_machine(
            stateMachineArn=before.id, definition=definition, roleArn=p["RoleArn"]
        )
        return before
    name = str(p.get("StateMachineName") or site.name(logical, 80))
    request = {"name": name, "definition": definition, "roleArn": p["RoleArn"]}
    arn = states.create_state_machine(**request, type=p.get("StateMachineType", "STANDARD"))[
        "stateMachineArn"
    ]
    return Made(arn, {"Arn": arn, "Name": name})


def _definition(p: Properties) -> str:
    text = p["DefinitionString"] if "DefinitionString" in p else json.dumps(p["Definition"])
    for key, value in (p.get("DefinitionSubstitutions") or {}).items():
        text = text.replace("${" + key + "}", str(value))
    return str(text)


def security_group(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    if before is not None:
        return before
    ec2 = site.client("ec2")
    vpc = (
        p.get("VpcId")
        or ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0][
            "VpcId"
        ]
    )
    name = str(p.get("GroupName") or site.name(logical, 255))
    id_ = ec2.create_security_group(GroupName=name, Description=p["GroupDescription"], VpcId=vpc)[
        "GroupId"
    ]
    egress = [_permission(e) for e in p.get("SecurityGroupEgress") or []]
    ingress = [_permission(e) for e in p.get("SecurityGroupIngress") or []]
    if ingress:
        ec2.authorize_security_group_ingress(GroupId=id_, IpPermissions=ingress)
    if egress:
        every = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        ec2.revoke_security_group_egress(GroupId=id_, IpPermissions=[every])
        ec2.authorize_security_group_egress(GroupId=id_, IpPermissions=egress)
    return Made(id_, {"GroupId": id_, "VpcId": vpc})


def _permission(entry: Properties) -> dict[str, Any]:
    found: dict[str, Any] = {"IpProtocol": str(entry["IpProtocol"])}
    found.update({k: int(entry[k]) for k in ("FromPort", "ToPort") if k in entry})
    if "CidrIp" in entry:
        found["IpRanges"] = [{"CidrIp": entry["CidrIp"]}]
    if "CidrIpv6" in entry:
        found["Ipv6Ranges"] = [{"CidrIpv6": entry["CidrIpv6"]}]
    if "DestinationSecurityGroupId" in entry:
        found["UserIdGroupPairs"] = [{"GroupId": entry["DestinationSecurityGroupId"]}]
    if "DestinationPrefixListId" in entry:
        found["PrefixListIds"] = [{"PrefixListId": entry["DestinationPrefixListId"]}]
    return found


def kms_key(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    if before is not None:
        return before
    kms = site.client("kms")
    made = kms.create_key(Policy=json.dumps(p["KeyPolicy"]), Description=p.get("Description", ""))[
        "KeyMetadata"
    ]
    return Made(made["KeyId"], {"Arn": made["Arn"], "KeyId": made["KeyId"]})


def kms_alias(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    if before is None:
        site.client("kms").create_alias(AliasName=p["AliasName"], TargetKeyId=p["TargetKeyId"])
    return Made(str(p["AliasName"]))


def bucket(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    if before is not None:
        return before
    name = str(p.get("BucketName") or site.name(logical, 63).lower())
    where = (
        {}
        if site.region == "us-east-1"
        else {"CreateBucketConfiguration": {"LocationConstraint": site.region}}
    )
    site.client("s3").create_bucket(Bucket=name, **where)
    domain = f"{name}.s3.{site.region}.amazonaws.com"
    return Made(
        name, {"Arn": f"arn:aws:s3:::{name}", "RegionalDomainName": domain, "DomainName": domain}
    )


def bucket_policy(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    site.client("s3").put_bucket_policy(Bucket=p["Bucket"], Policy=json.dumps(p["PolicyDocument"]))
    return Made(str(p["Bucket"]))


def launch_template(site: Site, logical: str, p: Properties, before: Made | None) -> Made:
    if before is not None:
        return before
    name = str(p.get("LaunchTemplateName") or site.name(logical, 128))
    made = site.client("ec2").create_launch_template(
        LaunchTemplateName=name, LaunchTemplateData=p["LaunchTemplateData"]
    )["LaunchTemplate"]
    attributes = {
        "LatestVersionNumber": "1",
        "DefaultVersionNumber": "1",
        "LaunchTemplateId": made["LaunchTemplateId"],
    }
    return Made(made["LaunchTemplateId"], attributes)


MAKERS: dict[str, Maker] = {
    "AWS::DynamoDB::Table": table,
    "AWS::EC2::LaunchTemplate": launch_template,
    "AWS::EC2::SecurityGroup": security_group,
    "AWS::Events::Rule": rule,
    "AWS::IAM::InstanceProfile": instance_profile,
    "AWS::IAM::ManagedPolicy": managed_policy,
    "AWS::IAM::Policy": policy,
    "AWS::IAM::Role": role,
    "AWS::KMS::Alias": kms_alias,
    "AWS::KMS::Key": kms_key,
    "AWS::Lambda::EventInvokeConfig": invoke_config,
    "AWS::Lambda::Function": function,
    "AWS::Lambda::Permission": permission,
    "AWS::Lambda::Version": function_version,
    "AWS::Logs::LogGroup": log_group,
    "AWS::S3::Bucket": bucket,
    "AWS::S3::BucketPolicy": bucket_policy,
    "AWS::SNS::Subscription": subscription,
    "AWS::SNS::Topic": topic,
    "AWS::SNS::TopicPolicy": topic_policy,
    "AWS::SQS::Queue": queue,
    "AWS::SQS::QueuePolicy": queue_policy,
    "AWS::SSM::Document": document,
    "AWS::SSM::Parameter": ssm_parameter,
    "AWS::Scheduler::Schedule": schedule,
    "AWS::Scheduler::ScheduleGroup": schedule_group,
    "AWS::StepFunctions::StateMachine": state_machine,
}


def _delete_schedule(site: Site, made: Made) -> None:
    site.schedules.remove(made.id)


def _delete_rule(site: Site, made: Made) -> None:
    events = site.client("events")
    targets = [t["Id"] for t in events.list_targets_by_rule(Rule=made.id)["Targets"]]
    if targets:
        events.remove_targets(Rule=made.id, Ids=targets)
    events.delete_rule(Name=made.id)


#: What an update of the stack deletes when it leaves the template; the rest is harmless when it
#: stays.
REMOVERS: dict[str, Callable[[Site, Made], None]] = {
    "AWS::Events::Rule": _delete_rule,
    "AWS::Lambda::Function": lambda site, made: site.lambdas.remove(made.id),
    "AWS::Lambda::Version": lambda site, made: site.lambdas.unpublish(made.id),
    "AWS::SSM::Document": lambda site, made: site.client("ssm").delete_document(Name=made.id),
    "AWS::SSM::Parameter": lambda site, made: site.client("ssm").delete_parameter(Name=made.id),
    "AWS::Scheduler::Schedule": _delete_schedule,
}
