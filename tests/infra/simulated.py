"""Simulated requests: the synthesized roles, decided by the local AWS's evaluation of policies.

An account is described, not run: what is ours, what is somebody else's.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bakery.naming import TAG_BAKE, TAG_RECIPE
from scripts.local import moto_seam
from scripts.local.ec2_state import State
from scripts.local.iam import ACCOUNT, Authorizer, Principal
from scripts.local.iam_facts import Facts
from scripts.local.iam_needs import Arns, Need, needs
from scripts.local.policies import Attached
from tests.infra.conftest import listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.infra.conftest import Synthesized

HOME, AWAY = "eu-west-1", "eu-central-1"
OURS = [{"Key": TAG_BAKE, "Value": "bake-1"}, {"Key": TAG_RECIPE, "Value": "web"}]
THEIRS = [{"Key": "Name", "Value": "payroll"}]
MACHINES = {"ours": "AmiBakery-Bake", "theirs": "Payroll"}

_PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": HOME,
    "AWS::AccountId": ACCOUNT,
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "AmiBakery",
}
_ARNS = {
    "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{{}}",
    "AWS::IAM::InstanceProfile": f"arn:aws:iam::{ACCOUNT}:instance-profile/{{}}",
    "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{HOME}:{ACCOUNT}:table/{{}}",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{HOME}:{ACCOUNT}:log-group:{{}}:*",
    "AWS::S3::Bucket": "arn:aws:s3:::{}",
    "AWS::EC2::SecurityGroup": "sg-{}",
    "AWS::Lambda::Function": f"arn:aws:lambda:{HOME}:{ACCOUNT}:function:{{}}",
    "AWS::Lambda::Version": f"arn:aws:lambda:{HOME}:{ACCOUNT}:function:{{}}",
    "AWS::StepFunctions::StateMachine": f"arn:aws:states:{HOME}:{ACCOUNT}:stateMachine:{{}}",
    "AWS::Events::Rule": f"arn:aws:events:{HOME}:{ACCOUNT}:rule/{{}}",
    "AWS::Scheduler::ScheduleGroup": f"arn:aws:scheduler:{HOME}:{ACCOUNT}:schedule-group/{{}}",
    "AWS::SQS::Queue": f"arn:aws:sqs:{HOME}:{ACCOUNT}:{{}}",
    "AWS::SNS::Topic": f"arn:aws:sns:{HOME}:{ACCOUNT}:{{}}",
}
_REFERRED_TO_BY_ARN = (
    "AWS::Lambda::Version",
    "AWS::SNS::Topic",
    "AWS::StepFunctions::StateMachine",
)


@dataclass
class Account(Facts):
    """What there is, beside the stack's own."""

    stack: Synthesized
    names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        nothing: Any = None
        super().__init__(State(nothing, nothing, nothing), self._machine_of_token)
        home = self._state.region(HOME)
        self.names = {short(id_): id_ for id_ in self.stack.template["Resources"]}
        profiles = {"ours": self.arn("BuilderHostBuilderProfile"), "theirs": "arn:payroll"}
        for whose, profile_of, tags in (
            ("ours", "ours", OURS),
            ("theirs", "theirs", THEIRS),
            ("tagged", "theirs", OURS),
            ("relaunched", "ours", []),
        ):
            profile = profiles[profile_of]
            home.instances[f"i-{whose}"] = {
                "InstanceId": f"i-{whose}",
                "IamInstanceProfile": {"Arn": profile},
                "Tags": tags,
            }
        for name, owner, tags in (
            ("ours", {"OwnerId": ACCOUNT}, OURS),
            ("theirs", {"OwnerId": ACCOUNT}, THEIRS),
            ("public", {"OwnerId": "591542846629", "ImageOwnerAlias": "amazon"}, []),
        ):
            snapshot = {"SnapshotId": f"snap-{name}", "OwnerId": owner["OwnerId"], "Tags": tags}
            ebs = {"SnapshotId": snapshot["SnapshotId"], "VolumeType": "gp3"}
            mappings = [{"DeviceName": "/dev/sda1", "Ebs": ebs}]
            image = {"ImageId": f"ami-{name}", "BlockDeviceMappings": mappings, "Tags": tags}
            for region in (HOME, AWAY):
                held = self._state.region(region)
                held.images[f"ami-{name}"] = {**image, **owner}
                held.snapshots[f"snap-{name}"] = dict(snapshot)
            home.volumes[f"vol-{name}"] = {"VolumeId": f"vol-{name}", "Tags": tags}
            home.spot_requests[f"sir-{name}"] = {"Tags": tags}

    def _machine_of_token(self, token: str) -> str:
        return f"arn:aws:states:{HOME}:{ACCOUNT}:stateMachine:{MACHINES[token]}"

    def arn(self, name: str) -> str:
        """ARN of a resource of the template, by its id without the hash."""
        id_ = self.names[name]
        return _ARNS[self.stack.template["Resources"][id_]["Type"]].format(id_)

    def role_of_profile(self, profile: str) -> str | None:
        profiles = self.stack.of_type("AWS::IAM::InstanceProfile")
        id_ = profile.rpartition("/")[2]
        if id_ not in profiles:
            return f"arn:aws:iam::{ACCOUNT}:role/Administrator" if profile else None
        return str(self.resolved(profiles[id_]["Properties"]["Roles"][0], arn=True))

    def arn_of_profile(self, profile: str) -> str | None:
        return profile

    def partition_key(self, table: str, region: str) -> str:
        return "part"

    def key_of_alias(self, alias: str, region: str) -> str | None:
        return f"key-{alias.rpartition('/')[2]}"

    def keys(self, resource: str) -> dict[str, Any]:
        return {} if re.search(":(subnet|security-group)/", resource) else super().keys(resource)

    def resolved(self, value: Any, *, arn: bool = False) -> Any:
        """A value of the template without intrinsics."""
        match value:
            case {"Ref": str(name)}:
                made = self.stack.template["Resources"].get(name, {}).get("Type")
                is_arn = arn or made in _REFERRED_TO_BY_ARN
                return _PSEUDO.get(name) or (_ARNS[made].format(name) if is_arn else name)
            case {"Fn::GetAtt": [name, _]}:
                return _ARNS[self.stack.template["Resources"][name]["Type"]].format(name)
            case {"Fn::Join": [separator, parts]}:
                return str(separator).join(str(self.resolved(part)) for part in parts)
            case {"Fn::Select": [index, {"Fn::Split": [separator, whole]}]}:
                return str(self.resolved(whole)).split(separator)[int(index)]
            case dict():
                return {key: self.resolved(item) for key, item in value.items()}
            case list():
                return [self.resolved(item) for item in value]
        return value

    def documents(self, role: str) -> list[str]:
        """All policies of a role, by its id without the hash."""
        id_ = self.names[role]
        properties = self.stack.template["Resources"][id_]["Properties"]
        found = [
            policy["Properties"]["PolicyDocument"]
            for policy in self.stack.policies.values()
            if {"Ref": id_} in policy["Properties"]["Roles"]
        ]
        found += [inline["PolicyDocument"] for inline in properties.get("Policies", [])]
        texts = [json.dumps(self.resolved(document)) for document in found]
        for managed in listed(properties.get("ManagedPolicyArns", [])):
            texts.append(moto_seam.managed_policy(self.resolved(managed).rpartition("/")[2]))
        return texts


def short(id_: str) -> str:
    """A logical id without the CDK's hash."""
    return re.sub(r"[0-9A-F]{8}$", "", id_)


@dataclass(frozen=True)
class Simulation:
    """Roles with or without what an enterprise puts around them."""

    account: Account
    boundary: Mapping[str, Any] | None = None
    guards: tuple[Mapping[str, Any], ...] = ()

    def verdict(
        self,
        role: str,
        call: str,
        parameters: Mapping[str, Any],
        *,
        region: str = HOME,
        documents: tuple[Any, ...] | None = None,
    ) -> str:
        """``allowed``, or the first right that the role lacks: action, resource without its ARN's
        beginning, and AWS's reason.

        ``call`` is like ``ec2:RunInstances``; of a right that AWS asks for beside a call, the
        parameters are its ``Resource`` and ``Keys``. ``documents`` are policies in place of the
        role's.
        """
        policies = tuple(self.account.documents(role)) if documents is None else documents
        authorizer = Authorizer(lambda _role: Attached(policies, self.boundary))
        authorizer.facts = self.account.keys
        authorizer.service_control_policies = self.guards
        service, _, operation = call.partition(":")
        arns = Arns(region, ACCOUNT, self.account)
        if "Resource" in parameters:
            wanted = [Need(call, parameters["Resource"], parameters.get("Keys", {}))]
        else:
            wanted = needs(service, operation, parameters, arns)
        arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
        refused = authorizer.decide(
            Principal("role", f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/x", arn),
            wanted,
            {"aws:RequestedRegion": region},
        )
        if refused is None:
            return "allowed"
        resource = refused.resource.split(":", 5)[-1]
        return f"{refused.action} on {resource} {refused.reason}"
