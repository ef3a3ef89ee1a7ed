"""One Lambda function for each task module, with exactly the permissions of its calls.

An execution keeps the version of each function that it was started with; its role it does not keep.
So a right that a task no longer needs stays for one more release, until no bake of the last one
runs any more.
"""

from collections.abc import Mapping, Sequence

from aws_cdk import Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from bakery import settings as env
from bakery.naming import fixed_document
from bakery.planning import GENERALIZE, PREPARE, REMOVE_IDENTITY, VERIFY_IDENTITY
from bakery.recipe import Recipe
from bakery.sysprep import STEP as SYSPREP
from bakery.waits import Kind
from infra.builder_host import BuilderHost
from infra.documents import Documents
from infra.functions import FunctionFactory
from infra.permissions import Permissions
from infra.settings import Settings
from infra.store import Store

_DESCRIBE_OWN = ("ec2:DescribeInstances",)
_DESCRIBE_SPOT = "ec2:DescribeSpotInstanceRequests"

_ALL_REGIONS = Duration.minutes(4)
"""A few calls for each of a hundred things in forty Regions."""
_MANY_CLIENTS = 1024
"""Each Region has its own clients of the SDK: memory, and the CPU that comes with it."""


class TaskFunctions(Construct):
    """The functions of the machine, by module name: ``functions["launch_builder"]``."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        factory: FunctionFactory,
        store: Store,
        host: BuilderHost,
        documents: Documents,
        may: Permissions,
        recipes: Mapping[str, Recipe],
        settings: Settings,
    ) -> None:
        super().__init__(scope, id_)
        self._factory = factory
        self._functions: dict[str, lambda_.Function] = {}
        waits = env.WaitSettings(table=store.table.table_name)
        commands = env.CommandSettings(
            table=store.table.table_name, command_log_group=store.command_log.log_group_name
        )

        self._add(
            "plan",
            [
                may.read(
                    "ec2:DescribeImages",
                    "ec2:DescribeInstanceTypes",
                    "ec2:DescribeLaunchTemplates",
                    "ec2:DescribeRegions",
                    "ec2:DescribeSubnets",
                ),
                *([may.look_at_hosts()] if may.hosts else []),
                may.look_at_keys(),
                may.base_parameters(recipes),
                may.look_at_documents(),
                may.texts("inputs", "GetItem", "PutItem"),
                may.texts("steps", "PutItem"),
                may.texts("tests", "PutItem"),
                may.claims("PutItem"),
                may.executions("DescribeExecution"),
            ],
            env.PlanSettings(
                table=store.table.table_name,
                machine=may.machine_arn,
                default_instance_types=settings.instance_types,
                subnet_ids=settings.subnet_ids,
                default_instance_profile=host.default_profile,
                test_instance_profile=host.test_profile,
                account=Stack.of(self).account,
                base_owners=settings.base_owners,
                isolated=bool(settings.clone_egress),
                tags=settings.tags,
            ),
            # Up to two hundred documents are looked at, each with two calls.
            timeout=Duration.minutes(3),
            memory_mib=512,
        )
        self._add(
            "await_turn",
            may.wait_for(Kind.TURN),
            waits,
        )
        self._add(
            "clone_host",
            [
                may.read("ec2:DescribeInstances"),
                *may.clone_hosts(),
                *may.wait_for(Kind.IMAGE),
            ],
            waits,
        )
        launching = env.LaunchSettings(
            table=store.table.table_name,
            security_group=host.security_group_id,
            isolated_group=host.isolated_group_id,
            kms_key=settings.kms_key,
        )
        self._add(
            "launch_builder",
            [
                may.read(*_DESCRIBE_OWN, *(["ec2:DescribeImages"] if may.hosts else [])),
                *may.launch(),
                may.texts("attempts", "GetItem", "PutItem"),
            ],
            launching,
            timeout=Duration.minutes(3),
        )
        self._add("await_managed", [may.read(*_DESCRIBE_OWN, "ssm:DescribeInstanceInformation")])
        for module, stems in (
            ("prepare", (PREPARE, "prepare-windows")),
            ("remove_identity", (REMOVE_IDENTITY,)),
            ("generalize", (GENERALIZE, SYSPREP, "generalize-windows-without-sysprep")),
            ("verify_identity", (VERIFY_IDENTITY, "verify-windows")),
        ):
            arns = [documents.arn(fixed_document(stem)) for stem in stems]
            self._add(module, may.send(arns), commands)
        steps = [*may.send(documents.step_arns), may.texts("steps", "GetItem")]
        self._add("run_step", steps, commands)
        self._add(
            "stop_builder",
            [
                may.on_own_instances("StopInstances"),
                *may.send([documents.arn(fixed_document(SYSPREP))]),
                may.read_command_log(),
            ],
            commands,
        )
        create = [
            *may.create_image(),
            may.remove_images(),
            # Whether one is gone whose removal is refused.
            may.read(*_DESCRIBE_OWN, "ec2:DescribeSnapshots"),
            *may.wait_for(Kind.IMAGE),
        ]
        self._add("create_image", create, waits)
        self._add(
            "harden_image",
            [may.read("ec2:DescribeImages"), may.on_own_images("ModifyImageAttribute")],
        )
        self._add(
            "launch_test",
            [
                may.read(*_DESCRIBE_OWN, "ec2:DescribeImages"),
                *may.launch(test=True),
                may.texts("attempts", "GetItem", "PutItem"),
            ],
            launching,
            timeout=Duration.minutes(3),
        )
        self._add("await_test", [may.read(*_DESCRIBE_OWN, "ssm:DescribeInstanceInformation")])
        tests = [*may.send(documents.test_arns), may.texts("tests", "GetItem")]
        self._add("run_test", tests, commands)
        self._add(
            "compare_identity",
            [may.read(*_DESCRIBE_OWN, "ssm:GetCommandInvocation", "ssm:ListCommandInvocations")],
        )
        self._add(
            "end_tests",
            [may.read(*_DESCRIBE_OWN), may.on_own_instances("TerminateInstances")],
        )
        self._add("copy_image", [*may.copy_image(), *may.wait_for(Kind.IMAGE)], waits)
        self._add(
            "release_images",
            [
                may.read("ec2:DescribeImages"),
                may.on_own_images("EnableImageDeprecation", "ModifyImageAttribute"),
                may.share_snapshots(),
            ],
            timeout=_ALL_REGIONS,
            memory_mib=_MANY_CLIENTS,
        )
        # After a redrive they take the lease, perhaps of a bake that has ended.
        again = [may.claims("PutItem"), may.executions("DescribeExecution")]
        # Parameter Store checks an image parameter with the DescribeImages of who puts it.
        self._add(
            "publish_pointers",
            [
                may.read("ec2:DescribeImages"),
                may.pointers("GetParameter", "PutParameter"),
                *again,
            ],
            waits,
            timeout=_ALL_REGIONS,
            memory_mib=_MANY_CLIENTS,
        )
        self._add(
            "update_templates",
            [
                may.read("ec2:DescribeLaunchTemplates", "ec2:DescribeLaunchTemplateVersions"),
                *may.templates("CreateLaunchTemplateVersion", "ModifyLaunchTemplate"),
                may.pointers("GetParameter"),
                *again,
            ],
            waits,
            timeout=_ALL_REGIONS,
            memory_mib=_MANY_CLIENTS,
        )
        self._add(
            "keep_previous",
            [
                may.read("ec2:DescribeImages"),
                may.pointers("GetParameter", "GetParameterHistory", "PutParameter"),
                *again,
            ],
            waits,
            timeout=_ALL_REGIONS,
            memory_mib=_MANY_CLIENTS,
        )
        self._add(
            "replace_builder",
            [
                may.read(
                    *_DESCRIBE_OWN, _DESCRIBE_SPOT, "ec2:DescribeImages", "ec2:DescribeSnapshots"
                ),
                *may.remove(),
                may.waits("Query", "DeleteItem"),
            ],
            env.ReplaceSettings(table=store.table.table_name),
            timeout=Duration.minutes(3),
        )
        self._add(
            "clean_up",
            [
                may.read(
                    *_DESCRIBE_OWN,
                    _DESCRIBE_SPOT,
                    "ec2:DescribeImageAttribute",
                    "ec2:DescribeImages",
                    "ec2:DescribeLaunchTemplateVersions",
                    "ec2:DescribeSnapshots",
                    "ec2:DescribeVolumes",
                ),
                *may.remove(),
                may.remove_volumes(),
                may.on_own_images("ResetImageAttribute", "ResetSnapshotAttribute"),
                *may.templates("DeleteLaunchTemplateVersions", "ModifyLaunchTemplate"),
                may.pointers(
                    "GetParameter", "GetParameterHistory", "PutParameter", "DeleteParameter"
                ),
                may.list_pointers("GetParametersByPath"),
                # Whether another execution has the recipe, after a redrive.
                may.executions("DescribeExecution"),
                may.waits("Query", "DeleteItem"),
                may.claims("GetItem", "PutItem", "DeleteItem"),
                may.texts("steps", "DeleteItem"),
                may.texts("tests", "DeleteItem"),
            ],
            env.CleanUpSettings(table=store.table.table_name),
            # A Region that does not answer takes two minutes of it for each service.
            timeout=Duration.seconds(285),
        )
        self._add(
            "retire_images",
            may.retire_images(),
            timeout=Duration.minutes(4),
        )
        self._add(
            "record_inventory",
            [
                may.read(*_DESCRIBE_OWN, "ssm:ListCommandInvocations"),
                may.read_command_log(),
                *may.inventories(),
            ],
            env.InventorySettings(
                command_log_group=store.command_log.log_group_name,
                inventory_bucket=store.inventories.bucket_name,
            ),
        )
        self._add("report", [])
        self._add(
            "fail_bake",
            [
                may.read(*_DESCRIBE_OWN, "ec2:DescribeImages"),
                may.on_own_instances("TerminateInstances"),
                may.end_tasks(),
                may.pointers("GetParameter"),
                may.executions("DescribeExecution"),
                may.claims("GetItem", "PutItem", "DeleteItem"),
            ],
            env.FailSettings(table=store.table.table_name),
        )

    def __getitem__(self, module: str) -> lambda_.Function:
        return self._functions[module]

    def released(self, module: str) -> lambda_.IVersion:
        """The function as this deployment publishes it: what executions that start now name."""
        return self._functions[module].current_version

    @property
    def version_arns(self) -> list[str]:
        """Every version of every function, those of earlier deployments included."""
        return [f"{function.function_arn}:*" for function in self._functions.values()]

    def _add(
        self,
        module: str,
        statements: Sequence[iam.PolicyStatement],
        environment: env.Settings | None = None,
        *,
        timeout: Duration | None = None,
        memory_mib: int = 256,
    ) -> None:
        self._functions[module] = self._factory.make(
            self,
            f"tasks.{module}",
            statements=statements,
            environment=environment,
            timeout=timeout,
            memory_mib=memory_mib,
        )
