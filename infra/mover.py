"""Rollback and promotion: a machine of two states, so that no half is left when nobody watches."""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as sfn_tasks
from constructs import Construct

from bakery import settings as env
from bakery.errors import LAMBDA_RETRYABLE, RETRYABLE
from bakery.naming import MOVER
from infra.dependencies import depend_on_policy_only
from infra.functions import FunctionFactory
from infra.permissions import Permissions
from infra.settings import Settings
from infra.store import Store, retention

_ONE_TRY = Duration.minutes(5)
"""What the function has."""
_TRIES = 19
"""Of each state: long enough for Parameter Store to have all values in force, which takes seconds,
or to be given up once (``move_pointer.IN_FORCE``); and few enough for the machine's time-out."""


class MoveMachine(Construct):
    """State machine ``AmiBakery-MovePointer``; its input is ``{"recipe": NAME}`` for a rollback."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        factory: FunctionFactory,
        store: Store,
        may: Permissions,
        settings: Settings,
    ) -> None:
        super().__init__(scope, id_)
        self._function = factory.make(
            self,
            "jobs.move_pointer",
            statements=[
                may.read(
                    "ec2:DescribeImages",
                    "ec2:DescribeLaunchTemplates",
                    "ec2:DescribeLaunchTemplateVersions",
                ),
                *may.templates(
                    "CreateLaunchTemplateVersion",
                    "DeleteLaunchTemplateVersions",
                    "ModifyLaunchTemplate",
                ),
                may.pointers("GetParameter", "PutParameter", "DeleteParameter"),
                may.list_pointers("GetParametersByPath", "GetParameterHistory"),
                may.executions("DescribeExecution"),
                may.texts("move", "GetItem", "PutItem"),
                may.claims("PutItem", "DeleteItem"),
                may.announce(),
            ],
            environment=env.MoveSettings(table=store.table.table_name),
            # A service that takes calls and does not answer costs two minutes with the SDK's own
            # tries. Of a silent Region two are asked, and then the others must have their turn.
            timeout=_ONE_TRY,
        )
        log_group = logs.LogGroup(
            self, "Log", retention=retention(settings), removal_policy=RemovalPolicy.DESTROY
        )
        self.machine = sfn.StateMachine(
            self,
            "Machine",
            state_machine_name=MOVER,
            definition_body=sfn.DefinitionBody.from_chainable(self._definition()),
            state_machine_type=sfn.StateMachineType.STANDARD,
            timeout=Duration.hours(4),
            tracing_enabled=True,
            comment='Moves a pointer to an image of before: {"recipe": NAME, "to": AMI or nothing}',
            logs=sfn.LogOptions(
                destination=log_group, level=sfn.LogLevel.ALL, include_execution_data=False
            ),
        )
        depend_on_policy_only(self.machine, self.machine.role)

    @property
    def arn(self) -> str:
        return self.machine.state_machine_arn

    def _definition(self) -> sfn.IChainable:
        move = self._task("Move", {"action": "move"}, "Everywhere, or nowhere")
        restore = self._task(
            "Restore",
            {
                "action": "restore",
                "failure": sfn.JsonPath.object_at("$.failure"),
                "redrives": sfn.JsonPath.number_at("$$.Execution.RedriveCount"),
            },
            "What was put comes back",
            result_path="$.restored",
        )
        restore.next(
            sfn.Fail(
                self,
                "NotMoved",
                error_path="$.restored.error",
                cause_path="$.restored.cause",
            )
        )
        restore.add_catch(
            sfn.Fail(
                self,
                "NotRestored",
                comment="What was put may be there still: Restore could not even say it",
                error_path="$.failure.Error",
                cause_path=sfn.JsonPath.format(
                    "{} -- What was put was perhaps not put back, look at the parameters of the "
                    "recipe: Restore has failed with {}",
                    sfn.JsonPath.string_at("$.failure.Cause"),
                    sfn.JsonPath.string_at("$.unrestored.Error"),
                ),
            ),
            errors=["States.ALL"],
            result_path="$.unrestored",
        )
        # An input may be any JSON, with no place for a key: the error replaces it.
        caught = sfn.Pass(self, "Caught", parameters={"failure.$": "$"})
        caught.next(restore)
        return move.add_catch(caught, errors=["States.ALL"])

    def _task(
        self,
        name: str,
        payload: dict[str, object],
        comment: str,
        *,
        result_path: str | None = None,
    ) -> sfn_tasks.LambdaInvoke:
        task = sfn_tasks.LambdaInvoke(
            self,
            name,
            comment=comment,
            lambda_function=self._function,
            payload_response_only=True,
            payload=sfn.TaskInput.from_object(
                {
                    **payload,
                    "execution": sfn.JsonPath.string_at("$$.Execution.Id"),
                    "input": sfn.JsonPath.object_at("$$.Execution.Input"),
                }
            ),
            result_path=result_path,
            # More than the function has: Restore must not begin while Move is still at it.
            task_timeout=sfn.Timeout.duration(Duration.minutes(6)),
            retry_on_service_exceptions=False,
        )
        # Parameter Store tells by an event when a value is in force, and usually within seconds:
        # not worth a wait of its own.
        task.add_retry(
            errors=[*RETRYABLE, *LAMBDA_RETRYABLE],
            interval=Duration.seconds(3),
            max_attempts=_TRIES - 1,
            backoff_rate=1.5,
            max_delay=Duration.seconds(30),
        )
        return task
