"""The stack, synthesized once for all infra tests, with recipes that use every kind of step."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from yaml import safe_load

from bakery.recipe import parse_recipe
from infra.permissions import MACHINE_NAME
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

    def only(self, kind: str) -> dict[str, Any]:
        (resource,) = self.of_type(kind).values()
        return resource["Properties"]  # type: ignore[no-any-return]

    def state_machine(self, name: str = MACHINE_NAME) -> dict[str, Any]:
        """Properties of the machine of that name."""
        (found,) = [
            it["Properties"]
            for it in self.of_type("AWS::StepFunctions::StateMachine").values()
            if it["Properties"]["StateMachineName"] == name
        ]
        return found  # type: ignore[no-any-return]

    @property
    def definition(self) -> str:
        """The bake's definition, with every reference as ``<LogicalId>``."""
        return flat(self.state_machine()["DefinitionString"])

    @property
    def machine(self) -> dict[str, Any]:
        return json.loads(self.definition)  # type: ignore[no-any-return]


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
    raise AssertionError(f"no text: {value}")


Synthesize = Callable[..., Synthesized]


@pytest.fixture(scope="session")
def synthesize() -> Synthesize:
    """Synthesize the stack with these recipes and context, without the functions' code."""

    def make(
        recipes: Mapping[str, str] = RECIPES, context: Mapping[str, Any] | None = None
    ) -> Synthesized:
        parsed = {name: parse_recipe(name, safe_load(text)) for name, text in recipes.items()}
        return Synthesized(template(parsed, context))

    return make


@pytest.fixture(scope="session")
def stack(synthesize: Synthesize) -> Synthesized:
    return synthesize()
