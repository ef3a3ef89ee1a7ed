"""From the project's files to a cloud assembly."""

import sys
from pathlib import Path

from aws_cdk import App

from infra.asset import DependenciesMissingError
from infra.loading import FilesError
from infra.settings import ContextError
from infra.stack import AmiBakery

PROJECT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Synthesize into the folder that the CDK names, ``cdk.out`` by default.

    Prints what is wrong with recipes, documents or context, and returns 1, instead of a trace.
    """
    app = App()
    try:
        AmiBakery(app, "AmiBakery", project=PROJECT)
    except (FilesError, ContextError, DependenciesMissingError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    app.synth()
    return 0
