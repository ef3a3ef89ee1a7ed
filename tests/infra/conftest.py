"""The stack, synthesized once for all infra tests, with recipes that use every kind of step."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from yaml import safe_load

from bakery.recipe import Recipe, parse_recipe
from infra.synthesize import template

RECIPES = {
    "web": """
description: every kind of step
base: {parameter: /aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64}
customize:
  - {name: packages, shell: "dnf -y install nginx"}
  - {name: kernel, reboot: true}
  - {name: patch, document: AWS-RunPatchBaseline, parameters: {Operation: Scan}}
  - name: app
    application:
      source: s3://artefacts/app.tar.gz
      sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
      directory: /srv/app
schedule: {cron: "0 3 * * ? *", timezone: Europe/London}
""",
    "always": """
description: nightly whatever has changed
base: {ami: ami-0123456789abcdef0}
schedule: {cron: "30 4 ? * MON-FRI *", only_if_changed: false, flexible_minutes: 0}
""",
    "everywhere": """
description: tested, copied and published in three Regions
base: {ami: ami-0123456789abcdef0}
test:
  steps: [{name: answers, shell: curl -fsS localhost}]
  instance_types: [t3.medium, m6i.large]
distribute:
  - {region: us-east-1, kms_key: alias/images, accounts: ["444455556666"]}
  - {region: eu-central-1, launch_templates: [lt-0000000000000000b]}
publish: {labels: [canary], launch_templates: [lt-0000000000000000a]}
""",
}


@dataclass(frozen=True)
class Synthesized:
    """The template as CloudFormation gets it."""

    template: dict[str, Any]

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        return {
            id_: resource
            for id_, resource in self.template["Resources"].items()
            if resource["Type"] == kind
        }

    @property
    def policies(self) -> dict[str, dict[str, Any]]:
        """The policies of roles: the CDK puts what is too much for one into managed ones."""
        kinds = ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")
        return {id_: it for kind in kinds for id_, it in self.of_type(kind).items()}

    def only(self, kind: str) -> dict[str, Any]:
        (resource,) = self.of_type(kind).values()
        return resource["Properties"]  # type: ignore[no-any-return]

    @property
    def definition(self) -> str:
        """The bake's definition, with every reference as ``<LogicalId>``."""
        return flat(self.machine_named("AmiBakery-Bake")["DefinitionString"])

    def machine_named(self, name: str) -> dict[str, Any]:
        """Properties of the state machine of that name."""
        (found,) = (
            machine["Properties"]
            for machine in self.of_type("AWS::StepFunctions::StateMachine").values()
            if machine["Properties"]["StateMachineName"] == name
        )
        return found  # type: ignore[no-any-return]

    @property
    def fleet(self) -> dict[str, Any]:
        """The definition of the machine that bakes all recipes."""
        return json.loads(flat(self.machine_named("AmiBakery-Fleet")["DefinitionString"]))  # type: ignore[no-any-return]

    @property
    def machine(self) -> dict[str, Any]:
        return json.loads(self.definition)  # type: ignore[no-any-return]


def parsed(recipes: Mapping[str, str] = RECIPES) -> dict[str, Recipe]:
    return {name: parse_recipe(name, safe_load(text)) for name, text in recipes.items()}


def statements(stack: Synthesized, module: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement with the id of its policy; of the function of one module, if one is named."""
    for id_, policy in stack.policies.items():
        name = re.sub(r"(Service|Default|Overflow|Role|Policy)+[0-9A-F]*$", "", id_).lower()
        if module and not name.endswith(module.replace("_", "")):
            continue
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            yield id_, statement


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def flat(value: Any) -> str:
    """A value with intrinsics as one text: references become ``<LogicalId>``."""
    if isinstance(value, str):
        return value
    match value:
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(flat(part) for part in parts)
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, _]}:
            return f"<{name}>"
        case {"Fn::Select": [_, {"Fn::Split": [_, whole]}]}:
            return flat(whole)
    raise AssertionError(f"no text: {value}")


Synthesize = Callable[..., Synthesized]


@pytest.fixture(scope="session")
def synthesize() -> Synthesize:
    """Synthesize the stack with these recipes and context, without the functions' code."""

    def make(
        recipes: Mapping[str, str] = RECIPES, context: Mapping[str, Any] | None = None
    ) -> Synthesized:
        return Synthesized(template(parsed(recipes), context))

    return make


@pytest.fixture(scope="session")
def stack(synthesize: Synthesize) -> Synthesized:
    return synthesize()
