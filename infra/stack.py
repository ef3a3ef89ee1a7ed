"""The stack composes; each construct it names defines one thing."""

from collections.abc import Mapping
from pathlib import Path

from aws_cdk import CfnOutput, Stack, Tags
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from bakery.recipe import Recipe
from infra.builder_host import BuilderHost
from infra.documents import Documents
from infra.fleet import FleetMachine
from infra.functions import FunctionFactory, staged_code
from infra.jobs import Jobs
from infra.machine import BakeMachine
from infra.mover import MoveMachine
from infra.notifications import Notifications
from infra.permissions import Permissions
from infra.schedules import Schedules
from infra.settings import Settings
from infra.store import Store
from infra.tasks import TaskFunctions


class AmiBakery(Stack):
    """Golden images that bake themselves.

    ``code`` stands in for the staged asset where only the template matters.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        settings: Settings,
        recipes: Mapping[str, Recipe],
        project: Path,
        code: lambda_.Code | None = None,
    ) -> None:
        super().__init__(scope, id_, description="AMI Bakery: golden images that bake themselves")

        store = Store(self, "Store", settings=settings)
        host = BuilderHost(
            self, "BuilderHost", settings=settings, recipes=recipes, log_group=store.command_log
        )
        documents = Documents(self, "Documents", folder=project / "documents", recipes=recipes)
        factory = FunctionFactory(
            settings=settings, code=code or staged_code(recipes=recipes, project=project)
        )
        may = Permissions(self, store=store, host=host, documents=documents, recipes=recipes)
        functions = TaskFunctions(
            self,
            "Tasks",
            factory=factory,
            store=store,
            host=host,
            documents=documents,
            may=may,
            recipes=recipes,
            settings=settings,
        )
        machine = BakeMachine(self, "Machine", functions=functions, settings=settings)
        mover = MoveMachine(self, "Mover", factory=factory, store=store, may=may, settings=settings)
        fleet = FleetMachine(self, "Fleet", factory=factory, machine=machine, settings=settings)
        jobs = Jobs(
            self,
            "Jobs",
            factory=factory,
            store=store,
            machine=machine,
            mover=mover,
            retire_images=functions["retire_images"],
            documents=documents,
            may=may,
            settings=settings,
        )
        Schedules(self, "Schedules", recipes=recipes, machine=machine, store=store)
        Notifications(self, "Notifications", settings=settings, store=store, jobs=jobs)

        Tags.of(self).add("ami-bakery:stack", self.stack_name)
        CfnOutput(self, "BakeStateMachineArn", value=machine.arn, description="Start bakes here")
        CfnOutput(self, "MoveStateMachineArn", value=mover.arn, description="Rolls back, promotes")
        CfnOutput(self, "FleetStateMachineArn", value=fleet.arn, description="Bakes all recipes")
        CfnOutput(self, "PlanFunctionName", value=functions["plan"].function_name)
        CfnOutput(self, "RetireFunctionName", value=functions["retire_images"].function_name)
        CfnOutput(self, "CommandLogGroup", value=store.command_log.log_group_name)
        CfnOutput(self, "InventoryBucket", value=store.inventories.bucket_name)
