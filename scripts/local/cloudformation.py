"""Deploys the synthesized templates of a cloud assembly.

In place of moto's CloudFormation, which keeps state machines from the interpreter, lacks a third of
the types that the bakery uses and passes over what it does not know: here every resource is made by
API calls against the local AWS itself, and an unknown type stops the deployment by name.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scripts.local.errors import AwsError, LocalAwsError
from scripts.local.iam import ACCOUNT
from scripts.local.intrinsics import NO_VALUE, Intrinsics, references
from scripts.local.resources import INERT, MAKERS, REMOVERS, Made, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from scripts.local.calls import Call, Handler

BOOTSTRAP_VERSION = "30"


@dataclass(frozen=True)
class StackFile:
    """One stack of a cloud assembly."""

    name: str
    template: dict[str, Any]
    assets: dict[str, Path]
    tags: dict[str, str] = field(default_factory=dict)
    """The stack's own, with which the CDK's command line deploys it."""


class Assembly:
    """A `cdk.out` folder, read as files: nothing of the CDK is imported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifest = folder / "manifest.json"
        if not manifest.is_file():
            raise LocalAwsError(
                f"{folder} is no cloud assembly: it has no manifest.json. Synthesize the stack "
                "first."
            )
        self._artifacts: dict[str, Any] = json.loads(manifest.read_text())["artifacts"]

    def stacks(self) -> list[StackFile]:
        """The stacks, those that others depend on first."""
        ordered: list[str] = []

        def visit(name: str) -> None:
            artifact = self._artifacts.get(name, {})
            if artifact.get("type") != "aws:cloudformation:stack" or name in ordered:
                return
            for other in artifact.get("dependencies", []):
                visit(other)
            ordered.append(name)

        for name in self._artifacts:
            visit(name)
        return [self._stack(name) for name in ordered]

    def _stack(self, name: str) -> StackFile:
        properties = self._artifacts[name]["properties"]
        template = json.loads((self.folder / properties["templateFile"]).read_text())
        assets: dict[str, Path] = {}
        for artifact in self._artifacts.values():
            if artifact.get("type") == "cdk:asset-manifest":
                assets.update(self._assets(self.folder / artifact["properties"]["file"]))
        return StackFile(
            properties.get("stackName", name), template, assets, properties.get("tags", {})
        )

    def _assets(self, file: Path) -> dict[str, Path]:
        found = {}
        for asset in json.loads(file.read_text()).get("files", {}).values():
            path = self.folder / asset["source"]["path"]
            for destination in asset.get("destinations", {}).values():
                found[destination["objectKey"]] = path
        return found


@dataclass
class Stack:
    """A deployed stack."""

    name: str
    id: str
    template: dict[str, Any]
    created: datetime
    status: str = "CREATE_IN_PROGRESS"
    tags: dict[str, str] = field(default_factory=dict)
    made: dict[str, Made] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    retained: set[str] = field(default_factory=set)
    """Logical ids whose DeletionPolicy keeps the resource when it leaves the template."""
    outputs: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)


class CloudFormation:
    """Creates and updates stacks; answers what the command line asks about them."""

    def __init__(
        self, region: str, site: Callable[[StackFile], Site], now: Callable[[], datetime]
    ) -> None:
        self._region = region
        self._site = site
        self._now = now
        self.stacks: dict[str, Stack] = {}
        self.exports: dict[str, str] = {}

    def deploy(
        self, file: StackFile, parameters: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        check_types(file)
        stack = self.stacks.get(file.name) or self._new(file)
        stack.template, stack.tags = file.template, file.tags
        site = self._site(file)
        stack.parameters = self._parameters(site, file.template, parameters or {})
        deployment = _Deployment(stack, site, self._pseudo(stack), self.exports)
        try:
            deployment.run()
        except Exception:
            stack.status = "UPDATE_FAILED" if stack.outputs else "CREATE_FAILED"
            raise
        stack.status = "UPDATE_COMPLETE" if stack.status == "CREATE_COMPLETE" else "CREATE_COMPLETE"
        self.exports.update(deployment.exports())
        return dict(stack.outputs)

    def _new(self, file: StackFile) -> Stack:
        arn = f"arn:aws:cloudformation:{self._region}:{ACCOUNT}:stack/{file.name}/{uuid.uuid4()}"
        stack = Stack(file.name, arn, file.template, self._now())
        self.stacks[file.name] = stack
        return stack

    def _pseudo(self, stack: Stack) -> dict[str, Any]:
        return {
            "AWS::AccountId": ACCOUNT,
            "AWS::Region": self._region,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": stack.name,
            "AWS::StackId": stack.id,
            "AWS::NotificationARNs": [],
        }

    def _parameters(
        self, site: Site, template: Mapping[str, Any], given: Mapping[str, str]
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, declared in template.get("Parameters", {}).items():
            value = given.get(name, declared.get("Default"))
            if value is None:
                raise LocalAwsError(f"the template's parameter {name} needs a value")
            kind = declared.get("Type", "String")
            if kind.startswith("AWS::SSM::Parameter::Value"):
                value = self._stored(site, name, str(value))
            if kind.endswith("List") or "List<" in kind or kind == "CommaDelimitedList":
                value = [v.strip() for v in str(value).split(",")]
            found[name] = value
        return found

    def _stored(self, site: Site, name: str, path: str) -> str:
        if re.fullmatch(r"/cdk-bootstrap/\w+/version", path):
            return BOOTSTRAP_VERSION
        try:
            return str(site.client("ssm").get_parameter(Name=path)["Parameter"]["Value"])
        except Exception as error:
            raise LocalAwsError(f"the template's parameter {name} reads {path}: {error}") from error

    # The API

    def handlers(self) -> dict[str, Handler]:
        return {
            "DescribeStacks": self._describe,
            "ListStackResources": self._list_resources,
            "DescribeStackResources": lambda call: {
                "StackResources": self._list_resources(call)["StackResourceSummaries"]
            },
            "GetTemplate": lambda call: {"TemplateBody": json.dumps(self._find(call).template)},
        }

    def _find(self, call: Call) -> Stack:
        name = str(call.parameters["StackName"])
        for stack in self.stacks.values():
            if name in (stack.name, stack.id):
                return stack
        raise AwsError("ValidationError", f"Stack with id {name} does not exist")

    def _describe(self, call: Call) -> dict[str, Any]:
        stacks = [self._find(call)] if call.get("StackName") else list(self.stacks.values())
        return {
            "Stacks": [
                {
                    "StackName": stack.name,
                    "StackId": stack.id,
                    "CreationTime": stack.created,
                    "StackStatus": stack.status,
                    "Outputs": [
                        {"OutputKey": k, "OutputValue": v} for k, v in stack.outputs.items()
                    ],
                    "Tags": [{"Key": k, "Value": v} for k, v in stack.tags.items()],
                }
                for stack in stacks
            ]
        }

    def _list_resources(self, call: Call) -> dict[str, Any]:
        stack = self._find(call)
        resources = stack.template["Resources"]
        return {
            "StackResourceSummaries": [
                {
                    "LogicalResourceId": logical,
                    "PhysicalResourceId": made.id,
                    "ResourceType": resources[logical]["Type"],
                    "LastUpdatedTimestamp": stack.created,
                    "Timestamp": stack.created,
                    "ResourceStatus": "CREATE_COMPLETE",
                }
                for logical, made in stack.made.items()
            ]
        }


def check_types(file: StackFile) -> None:
    """Refuse a template with resources that nothing here would make."""
    unknown = sorted(
        f"{logical} ({resource['Type']})"
        for logical, resource in file.template.get("Resources", {}).items()
        if resource["Type"] not in MAKERS and resource["Type"] not in INERT
    )
    if unknown:
        raise LocalAwsError(
            "the local AWS cannot deploy these resources, and does not pretend to: "
            + ", ".join(unknown)
            + ". Add a maker in scripts/local/resources.py, or name the type in INERT, with why."
        )


class _Deployment:
    """One pass over a template: makes what is new, updates what changed, removes what is gone."""

    def __init__(
        self, stack: Stack, site: Site, pseudo: dict[str, Any], exports: dict[str, str]
    ) -> None:
        self._stack = stack
        self._site = site
        self._resources: dict[str, Any] = stack.template.get("Resources", {})
        self._values = Intrinsics(
            stack.template, stack.parameters, pseudo, self._attribute, exports
        )
        self._busy: list[str] = []
        self._done: set[str] = set()

    def run(self) -> None:
        self._check_rules()
        for logical in self._resources:
            if self._wanted(logical):
                self._make(logical)
        for logical in [m for m in self._stack.made if m not in self._done]:
            self._remove(logical)
        self._stack.outputs = {
            name: str(self._values.resolve(output["Value"]))
            for name, output in self._stack.template.get("Outputs", {}).items()
            if "Condition" not in output or self._values.condition(output["Condition"])
        }

    def exports(self) -> dict[str, str]:
        outputs = self._stack.template.get("Outputs", {})
        return {
            str(self._values.resolve(outputs[name]["Export"]["Name"])): value
            for name, value in self._stack.outputs.items()
            if "Export" in outputs[name]
        }

    def _check_rules(self) -> None:
        for name, rule in self._stack.template.get("Rules", {}).items():
            for assertion in rule.get("Assertions", []):
                if not self._values.resolve(assertion["Assert"]):
                    raise LocalAwsError(
                        f"rule {name} of the template: {assertion.get('AssertDescription')}"
                    )

    def _wanted(self, logical: str) -> bool:
        condition = self._resources[logical].get("Condition")
        return condition is None or self._values.condition(condition)

    def _attribute(self, logical: str, name: str | None) -> Any:
        if logical not in self._resources:
            raise LocalAwsError(f"the template refers to {logical}, which it does not have")
        made = self._make(logical)
        if name is None:
            return made.id
        if name not in made.attributes:
            type_ = self._resources[logical]["Type"]
            raise LocalAwsError(
                f"the local AWS knows no attribute {name} of {type_}: add it in resources.py"
            )
        return made.attributes[name]

    def _make(self, logical: str) -> Made:
        if logical in self._done:
            return self._stack.made[logical]
        if logical in self._busy:
            raise LocalAwsError("circular dependency: " + " -> ".join([*self._busy, logical]))
        self._busy.append(logical)
        resource = self._resources[logical]
        names = frozenset(self._resources)
        depends = resource.get("DependsOn", [])
        for other in [depends] if isinstance(depends, str) else depends:
            if self._wanted(other):
                self._make(other)
        for other in sorted(references(resource.get("Properties", {}), names)):
            if self._wanted(other):
                self._make(other)
        made = self._apply(logical, resource)
        self._note_retention(logical)
        self._busy.pop()
        self._done.add(logical)
        self._stack.made[logical] = made
        return made

    def _apply(self, logical: str, resource: Mapping[str, Any]) -> Made:
        properties = self._values.resolve(resource.get("Properties", {}))
        properties = {} if properties is NO_VALUE else properties
        before = self._stack.made.get(logical)
        if before is not None and self._stack.properties.get(logical) == properties:
            return before
        type_ = resource["Type"]
        if type_ in INERT:
            made = Made(f"{self._stack.name}-{logical}", _InertAttributes(self._site, logical))
        else:
            try:
                made = MAKERS[type_](self._site, logical, properties, before)
            except LocalAwsError:
                raise
            except Exception as error:
                raise LocalAwsError(f"{logical} ({type_}) could not be made: {error}") from error
        self._stack.properties[logical] = properties
        self._stack.types[logical] = type_
        return made

    def _note_retention(self, logical: str) -> None:
        policy = self._resources[logical].get("DeletionPolicy")
        if policy in ("Retain", "RetainExceptOnCreate"):
            self._stack.retained.add(logical)
        else:
            self._stack.retained.discard(logical)

    def _remove(self, logical: str) -> None:
        made = self._stack.made.pop(logical)
        self._stack.properties.pop(logical, None)
        remove = REMOVERS.get(self._stack.types.pop(logical, ""))
        if remove and logical not in self._stack.retained:
            remove(self._site, made)
        self._stack.retained.discard(logical)


class _InertAttributes(dict[str, Any]):
    """Attributes of a resource that is left out: its ARN is enough for those who name it."""

    def __init__(self, site: Site, logical: str) -> None:
        super().__init__(Arn=site.arn("cloudwatch", f"alarm:{logical}"))
