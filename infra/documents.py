"""Systems Manager documents: ours from ``documents/``, and one for each script of a recipe."""

from collections.abc import Mapping
from pathlib import Path

from aws_cdk import Stack
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from bakery.naming import DOCUMENT_PREFIX, fixed_document, step_document, test_document
from bakery.planning import REPORT_IDENTITY, REPORT_PACKAGES, TEST_IMAGE
from bakery.recipe import DocumentStep, Recipe, ScriptStep
from bakery.steps import REBOOT_DOCUMENT, REBOOT_WINDOWS, script_document
from infra.loading import load_document, load_program

# Only AWS gives names that begin so (AWS-, AWSEC2-, AWSSupport-, AmazonCloudWatch-, ...), and it
# compares without case. Source: SSM API reference, CreateDocument, Name.
_OF_AWS = ("aws", "amazon", "amzn")


class Documents(Construct):
    """Deploys the documents and knows which documents of others the recipes name."""

    def __init__(
        self, scope: Construct, id_: str, *, folder: Path, recipes: Mapping[str, Recipe]
    ) -> None:
        super().__init__(scope, id_)
        for path in sorted(folder.glob("*.yaml")):
            self._document(fixed_document(path.stem), load_document(path))
        program = load_program()
        for name, recipe in recipes.items():
            for step in recipe.customize:
                if isinstance(step, ScriptStep):
                    self._document(step_document(name, step.name), script_document(step, program))
            for test in recipe.test.steps:
                self._document(test_document(name, test.name), script_document(test))
        self.foreign_names = sorted(
            {
                step.document
                for recipe in recipes.values()
                for step in recipe.customize
                if isinstance(step, DocumentStep)
            }
        )

    def _document(self, name: str, content: Mapping[str, object]) -> None:
        ssm.CfnDocument(
            self,
            name,
            name=name,
            content=content,
            document_type="Command",
            # A bake under way has pinned the version it was planned with; Replace would delete it.
            # A document that leaves the template is deleted, not retained: its name is fixed, so a
            # retained one would refuse the deployment that brings its step back.
            update_method="NewVersion",
        )

    def arn(self, name: str) -> str:
        """ARN of a document; AWS's own have no account in theirs."""
        stack = Stack.of(self)
        if name.startswith("arn:"):
            return name
        if name.lower().startswith(_OF_AWS):
            return stack.format_arn(
                service="ssm", account="", resource="document", resource_name=name
            )
        return stack.format_arn(service="ssm", resource="document", resource_name=name)

    @property
    def names_in_events(self) -> list[str]:
        """What events may call the documents that recipes name.

        Run Command echoes the name that a command was sent with, so a shared document's is its
        ARN. AWS documents no event of one; the plain name stands beside it, and a command whose
        event comes under another name is left to the sweeper.
        """
        plain = {name.rpartition("/")[2] for name in self.foreign_names}
        return sorted(plain.union(self.foreign_names))

    @property
    def step_arns(self) -> list[str]:
        """Documents that a step may run: the recipes' own scripts and those they name."""
        own = [
            self.arn(f"{DOCUMENT_PREFIX}.*"),
            self.arn(fixed_document(REBOOT_DOCUMENT)),
            self.arn(fixed_document(REBOOT_WINDOWS)),
            self.arn(fixed_document("install-application")),
        ]
        return own + [self.arn(name) for name in self.foreign_names]

    @property
    def test_arns(self) -> list[str]:
        """Documents that run on a test instance: the recipes' own tests and ours."""
        own = [
            self.arn(fixed_document(f"{stem}{suffix}"))
            for stem in (TEST_IMAGE, REPORT_IDENTITY, REPORT_PACKAGES)
            for suffix in ("", "-windows")
        ]
        return [self.arn(f"{DOCUMENT_PREFIX}.*.test.*"), *own]
