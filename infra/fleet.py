"""All recipes, bases first: the second, small state machine, which starts bakes and waits for them.

A wave is a Map with bounded concurrency; NextWave says what comes after it. A bake that fails stops
only what builds on it, so the Map itself never fails.
"""

from functools import partial

from aws_cdk import ArnFormat, Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as sfn_tasks
from constructs import Construct

from bakery import budgets
from bakery.errors import LAMBDA_RETRYABLE
from infra.dependencies import depend_on_policy_only
from infra.functions import FunctionFactory
from infra.machine import BakeMachine
from infra.permissions import MACHINE_NAME
from infra.settings import Settings
from infra.store import retention

FLEET_NAME = "AmiBakery-Fleet"

_BAKE = Duration.days(budgets.WHOLE_BAKE.days + 1)
_WHOLE = Duration.days(180)

_NOT_STARTED = [
    "StepFunctions.AWSStepFunctionsException",
    "StepFunctions.SdkClientException",
    "StepFunctions.ThrottlingException",
]
"""What StartExecution answers when it should be asked again; a second start of the same name and
input while the first one runs is the same."""


class _StartBake(sfn_tasks.StepFunctionsStartExecution):
    """As the CDK has it, which would also let the machine stop every execution of a machine whose
    name begins like the bake's."""

    @property
    def _task_policies(self) -> list[iam.PolicyStatement]:
        arn = partial(Stack.of(self).format_arn, arn_format=ArnFormat.COLON_RESOURCE_NAME)
        rule = "StepFunctionsGetEventsForStepFunctionsExecutionRule"
        return [
            iam.PolicyStatement(
                actions=["states:StartExecution"],
                resources=[
                    arn(service="states", resource="stateMachine", resource_name=MACHINE_NAME)
                ],
            ),
            iam.PolicyStatement(
                actions=["states:DescribeExecution", "states:StopExecution"],
                resources=[
                    arn(service="states", resource="execution", resource_name=f"{MACHINE_NAME}:*")
                ],
            ),
            iam.PolicyStatement(
                actions=["events:PutTargets", "events:PutRule", "events:DescribeRule"],
                resources=[
                    Stack.of(self).format_arn(service="events", resource="rule", resource_name=rule)
                ],
            ),
        ]


class FleetMachine(Construct):
    """State machine ``AmiBakery-Fleet``; its input is ``{}`` or ``{"force": true}``."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        factory: FunctionFactory,
        machine: BakeMachine,
        settings: Settings,
    ) -> None:
        super().__init__(scope, id_)
        # In a place of its own: the state has the same name.
        functions = Construct(self, "Tasks")
        self._next_wave = factory.make(functions, "tasks.next_wave", statements=[])
        self._bakes = machine.machine
        self._at_once = settings.fleet_concurrency
        log_group = logs.LogGroup(
            self, "Log", retention=retention(settings), removal_policy=RemovalPolicy.DESTROY
        )
        self.machine = sfn.StateMachine(
            self,
            "Fleet",
            state_machine_name=FLEET_NAME,
            definition_body=sfn.DefinitionBody.from_chainable(self._waves()),
            state_machine_type=sfn.StateMachineType.STANDARD,
            timeout=_WHOLE,
            tracing_enabled=True,
            comment="Bakes every recipe that needs it, bases first; start it with {}",
            logs=sfn.LogOptions(
                destination=log_group, level=sfn.LogLevel.ALL, include_execution_data=False
            ),
        )
        # As for the bake's machine: runs of earlier deployments name earlier versions.
        self.machine.add_to_role_policy(
            iam.PolicyStatement(
                actions=["lambda:InvokeFunction"], resources=[f"{self._next_wave.function_arn}:*"]
            )
        )
        depend_on_policy_only(self.machine, self.machine.role)

    @property
    def arn(self) -> str:
        return self.machine.state_machine_arn

    def _waves(self) -> sfn.IChainable:
        next_wave = sfn_tasks.LambdaInvoke(
            self,
            "NextWave",
            comment="What can bake now; fails at the end if not everything is up to date",
            lambda_function=self._next_wave.current_version,
            payload_response_only=True,
            payload=sfn.TaskInput.from_object(
                {
                    "execution": sfn.JsonPath.string_at("$$.Execution.Id"),
                    "input": sfn.JsonPath.object_at("$$.Execution.Input"),
                    "state": sfn.JsonPath.entire_payload,
                }
            ),
            task_timeout=sfn.Timeout.duration(Duration.minutes(5)),
            retry_on_service_exceptions=False,
        )
        next_wave.add_retry(
            errors=[*LAMBDA_RETRYABLE],
            interval=Duration.seconds(2),
            max_attempts=8,
            backoff_rate=2,
            max_delay=Duration.minutes(1),
            jitter_strategy=sfn.JitterType.FULL,
        )
        wave = sfn.Map(
            self,
            "Wave",
            comment="Every recipe whose base is up to date",
            items_path="$.wave",
            max_concurrency=self._at_once,
            result_path="$.results",
        )
        wave.item_processor(self._bake())
        is_over = sfn.Choice(self, "IsOver")
        is_over.when(sfn.Condition.is_present("$.wave[0]"), wave.next(next_wave))
        is_over.otherwise(sfn.Succeed(self, "UpToDate", output_path="$.done"))
        return next_wave.next(is_over)

    def _bake(self) -> sfn.IChainable:
        bake = _StartBake(
            self,
            "BakeRecipe",
            state_machine=self._bakes,
            integration_pattern=sfn.IntegrationPattern.RUN_JOB,
            name=sfn.JsonPath.string_at("$.bake"),
            input=sfn.TaskInput.from_json_path_at("$.input"),
            result_selector={"outcome.$": "$.Output.outcome", "image.$": "$.Output.image"},
            result_path="$.ended",
            task_timeout=sfn.Timeout.duration(_BAKE),
        )
        bake.add_retry(
            errors=_NOT_STARTED,
            interval=Duration.seconds(2),
            max_attempts=5,
            backoff_rate=2,
            jitter_strategy=sfn.JitterType.FULL,
        )
        # The cause has all of the execution; a wave of such would be more than a state may have.
        failed = sfn.Pass(
            self,
            "NotBaked",
            parameters={
                "recipe.$": "$.recipe",
                "bake.$": "$.bake",
                "error.$": "$.failure.Error",
            },
        )
        return bake.add_catch(failed, errors=["States.ALL"], result_path="$.failure")
