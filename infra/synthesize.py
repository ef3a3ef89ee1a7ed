"""From the project's files to a cloud assembly."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from aws_cdk import App
from aws_cdk import aws_lambda as lambda_
from aws_cdk.assertions import Template

from bakery.recipe import Recipe
from infra.asset import PROJECT, DependenciesMissingError
from infra.loading import FilesError, load_recipes
from infra.settings import ContextError, Settings
from infra.stack import AmiBakery


def main() -> int:
    """Synthesize into the folder that the CDK names, ``cdk.out`` by default.

    Prints what is wrong with recipes, documents or context, and returns 1, instead of a trace.
    """
    app = App(context=project_context())
    try:
        settings = Settings.from_context(app.node)
        recipes = load_recipes(PROJECT / settings.recipes)
        AmiBakery(app, "AmiBakery", settings=settings, recipes=recipes, project=PROJECT)
    except (FilesError, ContextError, DependenciesMissingError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    app.synth()
    return 0


def project_context() -> dict[str, Any]:
    """The context of ``cdk.json``, which only the CDK's command line would read otherwise.

    What is given with ``-c`` still wins.
    """
    content = json.loads((PROJECT / "cdk.json").read_text(encoding="utf-8"))
    return dict(content["context"])


def stack(recipes: Mapping[str, Recipe], context: Mapping[str, Any] | None = None) -> AmiBakery:
    """The stack in an app of its own, with a stand-in for the functions' code."""
    app = App(context={**project_context(), **(context or {})})
    return AmiBakery(
        app,
        "AmiBakery",
        settings=Settings.from_context(app.node),
        recipes=recipes,
        project=PROJECT,
        code=lambda_.Code.from_cfn_parameters(),
    )


def template(
    recipes: Mapping[str, Recipe], context: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The template alone, for tests and pictures."""
    return dict(Template.from_stack(stack(recipes, context)).to_json())
