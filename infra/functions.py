"""How every Lambda function of the stack is made: one asset, own role, own log group."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from bakery.recipe import Recipe
from bakery.settings import Settings as Environment
from infra.asset import PYTHON_VERSION, stage_asset
from infra.dependencies import depend_on_policy_only
from infra.settings import Settings
from infra.store import retention

ASSEMBLY_FOLDER = Path("build") / "asset"


class FunctionFactory:
    """Makes functions that differ only in handler, permissions, environment and limits."""

    def __init__(self, *, settings: Settings, code: lambda_.Code) -> None:
        self._settings = settings
        self._code = code

    def make(
        self,
        scope: Construct,
        module: str,
        *,
        statements: Sequence[iam.PolicyStatement],
        environment: Environment | None = None,
        timeout: Duration | None = None,
        memory_mib: int = 256,
        dead_letters: sqs.IQueue | None = None,
    ) -> lambda_.Function:
        """The function whose handler is ``bakery.<module>.handler``, e.g. ``tasks.plan``.

        ``dead_letters`` gets the events on which it has failed as often as Lambda tries. A rule's
        own queue does not: to EventBridge an event is delivered when Lambda has taken it.
        Source: Lambda developer guide, "Invoking a Lambda function asynchronously".
        """
        id_ = "".join(part.title() for part in re.split(r"[._]", module)[1:])
        log_group = logs.LogGroup(
            scope,
            f"{id_}Log",
            retention=retention(self._settings),
            removal_policy=RemovalPolicy.DESTROY,
        )
        role = iam.Role(
            scope,
            f"{id_}Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"AMI Bakery: bakery.{module}",
        )
        log_group.grant_write(role)
        for statement in statements:
            role.add_to_policy(statement)
        function = lambda_.Function(
            scope,
            id_,
            runtime=lambda_.Runtime(f"python{PYTHON_VERSION}", lambda_.RuntimeFamily.PYTHON),
            architecture=lambda_.Architecture.ARM_64,
            code=self._code,
            handler=f"bakery.{module}.handler",
            role=role,
            log_group=log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            tracing=lambda_.Tracing.ACTIVE,
            timeout=timeout or Duration.seconds(60),
            memory_size=memory_mib,
            environment=environment.to_environment() if environment else None,
            description=f"AMI Bakery: bakery.{module}",
            # An update must not delete the version that an execution under way names. But one
            # that a rolled back deployment has made must go: Lambda publishes the same code not
            # twice, and the next try of that deployment would fail.
            # Source: Lambda API reference, PublishVersion; CloudFormation, RetainExceptOnCreate.
            current_version_options=lambda_.VersionOptions(
                removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
            ),
        )
        if dead_letters is not None:
            function.configure_async_invoke(on_failure=destinations.SqsDestination(dead_letters))
        depend_on_policy_only(function, role)
        return function


def staged_code(*, recipes: Mapping[str, Recipe], project: Path) -> lambda_.Code:
    """The asset with these recipes; raises DependenciesMissingError before `make dependencies`."""
    folder = stage_asset(recipes_json=recipes_json(recipes), destination=project / ASSEMBLY_FOLDER)
    return lambda_.Code.from_asset(str(folder))


def recipes_json(recipes: Mapping[str, Recipe]) -> str:
    """The recipes as the asset carries them: stable text, so that the asset's hash is stable."""
    content = {
        name: recipe.model_dump(mode="json", exclude_unset=True) for name, recipe in recipes.items()
    }
    return json.dumps(content, sort_keys=True, indent=1)
