"""The bake, top to bottom: the one state machine.

It reads like the procedure it replaces. Waits are task tokens, so there is no loop in it but two
ways back: from AwaitTurn to Plan, when another bake has ended, and from ReplaceBuilder to
LaunchBuilder, once, when AWS has taken the builder. The one state that polls, AwaitManaged, does so
by its Retry. Every other failure goes to CleanUp.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as sfn_tasks
from constructs import Construct

from bakery import budgets
from bakery.errors import (
    LAMBDA_RETRYABLE,
    RETRYABLE,
    BakeryError,
    BuilderTakenError,
    CopyLimitError,
    NoCapacityYetError,
    NotManagedError,
)
from infra.dependencies import depend_on_policy_only
from infra.permissions import MACHINE_NAME
from infra.settings import Settings
from infra.store import retention
from infra.tasks import TaskFunctions

# Each a little longer than the wait's own budget, which ends it with a better message.
_SHORT, _TURN, _COMMAND, _STEP, _STOP, _IMAGE, _POINTER, _WHOLE_BAKE = (
    Duration.seconds(int(budget.total_seconds()))
    for budget in (
        budgets.SHORT,
        budgets.TURN,
        budgets.COMMAND,
        budgets.STEP,
        budgets.STOP,
        budgets.IMAGE,
        budgets.POINTER,
        budgets.WHOLE_BAKE,
    )
)

_AGAIN_AFTER = Duration.seconds(2)
_VISIBLE_AFTER = Duration.seconds(10)

_AGENT_POLL = Duration.seconds(10)
_AGENT_TRIES = 60
"""Ten minutes: launch to managed takes one to two; aws-facts E12."""

_CAPACITY_PAUSE = Duration.minutes(10)
_CAPACITY_TRIES = 80
"""More than the longest patience, half a day; the task itself ends it."""

_REGIONS_AT_ONCE = 10

_Guarded = TypeVar("_Guarded", sfn.TaskStateBase, sfn.Map, sfn.Parallel)

_ENTERED = {"entered.$": "$$.State.EnteredTime"}
_BAKE = {"bake": sfn.JsonPath.string_at("$$.Execution.Name")}
_EXECUTION = {"execution": sfn.JsonPath.string_at("$$.Execution.Id")}
_OF_COPY = {"region.$": "$$.Map.Item.Value.region", "image_id.$": "$$.Map.Item.Value.image_id"}
_RECIPE = {"recipe": sfn.JsonPath.string_at("$.plan.recipe")}


class BakeMachine(Construct):
    """State machine ``AmiBakery-Bake``; its input is ``{"recipe": NAME}``."""

    def __init__(
        self, scope: Construct, id_: str, *, functions: TaskFunctions, settings: Settings
    ) -> None:
        super().__init__(scope, id_)
        self._functions = functions
        self._clean_up = self._task(
            "CleanUp",
            "clean_up",
            {**_BAKE, **_EXECUTION, "state": sfn.JsonPath.entire_payload},
            key="clean_up",
            result={"result.$": "$"},
        )
        self._replace = self._replace_builder()
        log_group = logs.LogGroup(
            self, "Log", retention=retention(settings), removal_policy=RemovalPolicy.DESTROY
        )
        self.machine = sfn.StateMachine(
            self,
            "Bake",
            state_machine_name=MACHINE_NAME,
            definition_body=sfn.DefinitionBody.from_chainable(self._bake()),
            state_machine_type=sfn.StateMachineType.STANDARD,
            timeout=_WHOLE_BAKE,
            tracing_enabled=True,
            comment='Bakes one golden image; start it with {"recipe": NAME}',
            # Causes can quote a script's stderr, which belongs in the commands' log only.
            logs=sfn.LogOptions(
                destination=log_group, level=sfn.LogLevel.ALL, include_execution_data=False
            ),
        )
        # The CDK allows today's versions only; executions of earlier deployments name theirs, and
        # act with this role as it is now.
        self.machine.add_to_role_policy(
            iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=functions.version_arns)
        )
        depend_on_policy_only(self.machine, self.machine.role)

    @property
    def arn(self) -> str:
        return self.machine.state_machine_arn

    def grant_start(self, grantee: iam.IGrantable) -> None:
        self.machine.grant_start_execution(grantee)

    def _bake(self) -> sfn.IChainable:
        report = self._report()
        image = self._image()
        ending = self._how_did_it_end(report)
        self._clean_up.add_catch(ending, errors=["States.ALL"], result_path="$.clean_up_failure")
        self._clean_up.next(ending)

        plan = self._plan()
        needed = sfn.Choice(self, "BakeNeeded")
        needed.when(sfn.Condition.is_not_null("$.plan.busy"), self._await_turn().next(plan))
        needed.when(sfn.Condition.boolean_equals("$.plan.bake_needed", True), image)
        needed.otherwise(report)
        return plan.next(needed)

    def _image(self) -> sfn.IChainable:
        instance = {
            "instance_id": sfn.JsonPath.string_at("$.launch.instance_id"),
            # What is imaged is what was verified, and not started since.
            "verified": sfn.JsonPath.string_at("$.verify_identity.entered"),
            "redrives": sfn.JsonPath.number_at("$$.Execution.RedriveCount"),
        }
        stop = self._wait(
            "StopBuilder", "stop_builder", instance, key="stop", timeout=_STOP, on_builder=True
        )
        create_image, harden = self._create_image(instance), self._harden_image()
        proof, release = self._test_and_copy(), self._release_images()
        publish = self._publish_pointers()
        self._resumable = (stop, create_image, harden, proof, release, publish)
        launch = self._launch()
        self._replace.next(launch)
        return (
            launch.next(self._await_managed())
            .next(self._command("Prepare", "prepare"))
            .next(self._customize())
            .next(self._command("RemoveIdentity", "remove_identity"))
            .next(self._command("Generalize", "generalize"))
            .next(self._command("VerifyIdentity", "verify_identity"))
            .next(stop)
            .next(create_image)
            .next(harden)
            .next(proof)
            .next(release)
            .next(publish)
            .next(self._update_templates())
            .next(self._keep_previous())
            .next(self._retire())
            .next(self._clean_up)
        )

    def _plan(self) -> sfn.TaskStateBase:
        plan = self._task(
            "Plan",
            "plan",
            {
                **_BAKE,
                **_EXECUTION,
                # Not the state: after AwaitTurn that has more than what the bake was started with.
                "input": sfn.JsonPath.object_at("$$.Execution.Input"),
                "state": sfn.JsonPath.entire_payload,
                "entered": sfn.JsonPath.string_at("$$.State.EnteredTime"),
            },
            key="plan",
            result=None,
            comment="Check everything that can be checked before money is spent",
        )
        # An execution's input may be any JSON, with no place for a key: the error replaces it.
        refused = sfn.Pass(self, "PlanRefused", parameters={"failure.$": "$"})
        refused.next(self._clean_up)
        return plan.add_catch(refused, errors=["States.ALL"])

    def _await_turn(self) -> sfn.TaskStateBase:
        return self._wait(
            "AwaitTurn",
            "await_turn",
            {"busy": sfn.JsonPath.object_at("$.plan.busy")},
            key="await_turn",
            # A bake may wait for several others, one after the other: since the first of them.
            result={"entered.$": "$.since", "holder.$": "$.holder"},
            timeout=_TURN,
            comment="The end of the bake that has the recipe is an event; then plan anew",
        )

    def _launch(self) -> sfn.TaskStateBase:
        task = self._task(
            "LaunchBuilder",
            "launch_builder",
            {
                **_BAKE,
                "entered": sfn.JsonPath.string_at("$$.State.EnteredTime"),
                "recipe": sfn.JsonPath.string_at("$.plan.recipe"),
                "base_image": sfn.JsonPath.object_at("$.plan.base_image"),
                "launch": sfn.JsonPath.object_at("$.plan.launch"),
            },
            key="launch",
            result={
                "instance_id.$": "$.instance_id",
                "instance_type.$": "$.instance_type",
                "market.$": "$.market",
            },
            comment="EC2 announces room by no event: try again until the recipe's patience ends",
        )
        _retry_with_patience(task, NoCapacityYetError)
        return self._guarded(task)

    def _await_managed(self) -> sfn.TaskStateBase:
        task = self._task(
            "AwaitManaged",
            "await_managed",
            {"instance_id": sfn.JsonPath.string_at("$.launch.instance_id")},
            key="await_managed",
            result={
                "agent_version.$": "$.agent_version",
                "platform.$": "$.platform",
                "platform_version.$": "$.platform_version",
            },
            comment="The SSM agent announces itself by no event: ask every 10 seconds",
        )
        _poll_for_agent(task)
        return self._guarded(task, on_builder=True)

    def _replace_builder(self) -> sfn.TaskStateBase:
        task = self._task(
            "ReplaceBuilder",
            "replace_builder",
            {
                **_BAKE,
                "entered": sfn.JsonPath.string_at("$$.State.EnteredTime"),
                "state": sfn.JsonPath.entire_payload,
            },
            key=None,
            result=None,
            comment="AWS has taken the builder: clear it away and begin anew, once",
        )
        # Beside the failure that led here, which stays the bake's first one.
        return task.add_catch(
            self._clean_up, errors=["States.ALL"], result_path="$.replace_failure"
        )

    def _customize(self) -> sfn.Map:
        run_step = self._wait(
            "RunStep",
            "run_step",
            {
                "instance_id": sfn.JsonPath.string_at("$.instance_id"),
                "index": sfn.JsonPath.number_at("$.index"),
                "recipe": sfn.JsonPath.string_at("$.recipe"),
            },
            key=None,
            result={"command_id.$": "$.command_id"},
            timeout=_STEP,
            guarded=False,
        )
        steps = sfn.Map(
            self,
            "Customize",
            comment="The recipe's steps, one after the other",
            items_path="$.plan.customize",
            item_selector={
                # For whoever reads the console: the task takes the step's command from the table.
                "step.$": "$$.Map.Item.Value.label",
                "index.$": "$$.Map.Item.Index",
                "instance_id.$": "$.launch.instance_id",
                "recipe.$": "$.plan.recipe",
            },
            max_concurrency=1,
            # Nobody reads what the steps return; two hundred of them would be a third of the state.
            result_selector=_ENTERED,
            result_path="$.customize",
        )
        steps.item_processor(run_step)
        return self._guarded(steps, on_builder=True)

    def _create_image(self, instance: Mapping[str, object]) -> sfn.TaskStateBase:
        return self._wait(
            "CreateImage",
            "create_image",
            {
                **instance,
                "image_name": sfn.JsonPath.string_at("$.plan.image_name"),
                "description": sfn.JsonPath.string_at("$.plan.description"),
                "image_tags": sfn.JsonPath.object_at("$.plan.image_tags"),
            },
            key="create_image",
            result={"image_id.$": "$.image_id"},
            timeout=_IMAGE,
            on_builder=True,
        )

    def _harden_image(self) -> sfn.TaskStateBase:
        task = self._task(
            "HardenImage",
            "harden_image",
            {
                "image_id": sfn.JsonPath.string_at("$.create_image.image_id"),
                "size_gib": sfn.JsonPath.number_at("$.plan.launch.size_gib"),
            },
            key="harden_image",
            result={},
        )
        return self._guarded(task)

    def _test_and_copy(self) -> sfn.Parallel:
        """Copies are made while the image is tested; they are private until it has passed."""
        proof = sfn.Parallel(
            self,
            "TestAndCopy",
            result_selector={
                **_ENTERED,
                "tested.$": "$[0].end_tests.entered",
                "copies.$": "$[1]",
            },
            result_path="$.test_and_copy",
        )
        proof.branch(self._test(), self._copy())
        return self._guarded(proof)

    def _test(self) -> sfn.IChainable:
        machines = sfn.Map(
            self,
            "Test",
            comment="Boot the image on each instance that the recipe asks for",
            items_path="$.plan.test.machines",
            item_selector={
                **_BAKE,
                "recipe.$": "$.plan.recipe",
                "image_id.$": "$.create_image.image_id",
                "number.$": "$$.Map.Item.Index",
                "machine.$": "$$.Map.Item.Value",
                "launch.$": "$.plan.launch",
                "checks.$": "$.plan.test.checks",
                "instance_profile.$": "$.plan.test.instance_profile",
            },
            result_path=sfn.JsonPath.DISCARD,
        )
        machines.item_processor(
            self._launch_test().next(self._await_test()).next(self._run_tests())
        )
        compare = self._task(
            "CompareIdentity",
            "compare_identity",
            {
                **_BAKE,
                "recipe": sfn.JsonPath.string_at("$.plan.recipe"),
                "compare": sfn.JsonPath.object_at("$.plan.test.compare"),
            },
            key=None,
            result=None,
            discard=True,
        )
        end = self._task("EndTests", "end_tests", {**_BAKE}, key="end_tests", result={})
        return machines.next(compare).next(end)

    def _launch_test(self) -> sfn.TaskStateBase:
        task = self._task(
            "LaunchTest",
            "launch_test",
            {
                **_BAKE,
                "entered": sfn.JsonPath.string_at("$$.State.EnteredTime"),
                "redrives": sfn.JsonPath.number_at("$$.Execution.RedriveCount"),
                "recipe": sfn.JsonPath.string_at("$.recipe"),
                "image_id": sfn.JsonPath.string_at("$.image_id"),
                "number": sfn.JsonPath.number_at("$.number"),
                "machine": sfn.JsonPath.object_at("$.machine"),
                "launch": sfn.JsonPath.object_at("$.launch"),
                "instance_profile": sfn.JsonPath.string_at("$.instance_profile"),
            },
            key="launched",
            result={"instance_id.$": "$.instance_id"},
        )
        _retry_with_patience(task, NoCapacityYetError)
        return task

    def _await_test(self) -> sfn.TaskStateBase:
        task = self._task(
            "AwaitTest",
            "await_test",
            {
                **_BAKE,
                "entered": sfn.JsonPath.string_at("$$.State.EnteredTime"),
                "instance_id": sfn.JsonPath.string_at("$.launched.instance_id"),
            },
            key=None,
            result=None,
            discard=True,
            comment="Does the image boot? Ask every 10 seconds, as for the builder",
        )
        _poll_for_agent(task)
        return task

    def _run_tests(self) -> sfn.Map:
        run_test = self._wait(
            "RunTest",
            "run_test",
            {
                "instance_id": sfn.JsonPath.string_at("$.instance_id"),
                "index": sfn.JsonPath.number_at("$.index"),
                "recipe": sfn.JsonPath.string_at("$.recipe"),
            },
            key=None,
            discard=True,
            timeout=_STEP,
            guarded=False,
        )
        tests = sfn.Map(
            self,
            "RunTests",
            comment="Ours and the recipe's, one after the other",
            items_path="$.checks",
            item_selector={
                # For whoever reads the console: the task takes the command from the table.
                "test.$": "$$.Map.Item.Value.label",
                "index.$": "$$.Map.Item.Index",
                "instance_id.$": "$.launched.instance_id",
                "recipe.$": "$.recipe",
            },
            max_concurrency=1,
            result_path=sfn.JsonPath.DISCARD,
        )
        return tests.item_processor(run_test)

    def _copy(self) -> sfn.Map:
        copy = self._wait(
            "CopyImage",
            "copy_image",
            {
                name: sfn.JsonPath.string_at(f"$.{name}")
                for name in ("recipe", "region", "image_id", "image_name", "description")
            }
            | {
                "image_tags": sfn.JsonPath.object_at("$.image_tags"),
                "redrives": sfn.JsonPath.number_at("$$.Execution.RedriveCount"),
            },
            key=None,
            result={name: f"$.{name[:-2]}" for name in ("region.$", "image_id.$", "failed.$")},
            timeout=_IMAGE,
            guarded=False,
        )
        _retry_with_patience(copy, CopyLimitError)
        copies = sfn.Map(
            self,
            "Copy",
            comment="To each Region of the recipe; nothing to do for that of the stack",
            items_path="$.plan.places",
            item_selector={
                "region.$": "$$.Map.Item.Value.region",
                "recipe.$": "$.plan.recipe",
                "image_id.$": "$.create_image.image_id",
                "image_name.$": "$.plan.image_name",
                "description.$": "$.plan.description",
                "image_tags.$": "$.plan.image_tags",
            },
            max_concurrency=_REGIONS_AT_ONCE,
        )
        return copies.item_processor(copy)

    def _each(
        self,
        name: str,
        task: sfn.TaskStateBase,
        *,
        items: str,
        selector: Mapping[str, str],
        key: str,
        result: Mapping[str, str] | None = None,
        comment: str | None = None,
    ) -> sfn.Map:
        """A task for each Region, or for each thing in one of them."""
        each = sfn.Map(
            self,
            name,
            comment=comment,
            items_path=items,
            item_selector={"recipe.$": "$.plan.recipe", **selector},
            max_concurrency=_REGIONS_AT_ONCE,
            result_selector={**_ENTERED, **(result or {})},
            result_path=f"$.{key}",
        )
        each.item_processor(task)
        return self._guarded(each)

    def _release_images(self) -> sfn.Map:
        release = self._task(
            "ReleaseImage",
            "release_image",
            {
                **_BAKE,
                "recipe": sfn.JsonPath.string_at("$.recipe"),
                "region": sfn.JsonPath.string_at("$.region"),
                "image_id": sfn.JsonPath.object_at("$.image_id"),
            },
            key=None,
            result=None,
        )
        return self._each(
            "ReleaseImages",
            release,
            items="$.test_and_copy.copies",
            selector=_OF_COPY,
            key="release",
            comment="It has passed: others may use it",
        )

    def _publish_pointers(self) -> sfn.Map:
        publish = self._wait(
            "PublishPointer",
            "publish_pointer",
            {
                "recipe": sfn.JsonPath.string_at("$.recipe"),
                "pointer": sfn.JsonPath.object_at("$.pointer"),
                "copies": sfn.JsonPath.object_at("$.copies"),
            },
            key=None,
            result=None,
            timeout=_POINTER,
            guarded=False,
        )
        return self._each(
            "PublishPointers",
            publish,
            items="$.plan.pointers",
            selector={"pointer.$": "$$.Map.Item.Value", "copies.$": "$.test_and_copy.copies"},
            key="publish",
            comment="All or none: CleanUp moves back what has moved if one fails",
        )

    def _update_templates(self) -> sfn.Map:
        update = self._task(
            "UpdateTemplate",
            "update_template",
            {
                **_BAKE,
                "recipe": sfn.JsonPath.string_at("$.recipe"),
                "region": sfn.JsonPath.string_at("$.template.region"),
                "id": sfn.JsonPath.string_at("$.template.id"),
                "redrives": sfn.JsonPath.number_at("$$.Execution.RedriveCount"),
                "copies": sfn.JsonPath.object_at("$.copies"),
            },
            key=None,
            result=None,
        )
        return self._each(
            "UpdateTemplates",
            update,
            items="$.plan.templates",
            selector={"template.$": "$$.Map.Item.Value", "copies.$": "$.test_and_copy.copies"},
            key="templates",
        )

    def _keep_previous(self) -> sfn.Map:
        keep = self._wait(
            "KeepPreviousImage",
            "keep_previous",
            {
                "recipe": sfn.JsonPath.string_at("$.recipe"),
                "region": sfn.JsonPath.string_at("$.region"),
                "image_id": sfn.JsonPath.object_at("$.image_id"),
            },
            key=None,
            result={"image.$": "$.image"},
            timeout=_POINTER,
            guarded=False,
        )
        return self._each(
            "KeepPrevious",
            keep,
            items="$.test_and_copy.copies",
            selector=_OF_COPY,
            key="keep_previous",
            # The Region of the stack comes first.
            result={"image.$": "$[0].image"},
        )

    def _retire(self) -> sfn.Map:
        """The image is published: what fails here is told, and undoes nothing."""
        retire_images = self._task(
            "RetireImages",
            "retire_images",
            {
                **_BAKE,
                "recipe": sfn.JsonPath.string_at("$.recipe"),
                "region": sfn.JsonPath.string_at("$.region"),
                "retention": sfn.JsonPath.object_at("$.retention"),
            },
            key=None,
            result=None,
            comment="Which old images go, and why the others stay: bakery/retention.py",
        )
        regions = sfn.Map(
            self,
            "Retire",
            comment="In each Region of the recipe, if it says which images to keep",
            items_path="$.plan.retire_in",
            item_selector={
                "region.$": "$$.Map.Item.Value",
                "recipe.$": "$.plan.recipe",
                "retention.$": "$.plan.retention",
            },
            max_concurrency=5,
            result_selector={**_ENTERED, "regions.$": "$"},
            result_path="$.retire",
        )
        regions.item_processor(retire_images)
        return regions.add_catch(
            self._clean_up, errors=["States.ALL"], result_path="$.retire_failure"
        )

    def _how_did_it_end(self, report: sfn.IChainable) -> sfn.Choice:
        ending = sfn.Choice(self, "HowDidItEnd")
        ending.when(sfn.Condition.is_present("$.failure"), self._fail_bake())
        ending.otherwise(report)
        return ending

    def _fail_bake(self) -> sfn.IChainable:
        """The state that fails, so that a redrive runs it again, and it sends the bake on."""
        fail = sfn_tasks.LambdaInvoke(
            self,
            "FailBake",
            comment="The first error, readable; once redriven, back to the failed stage",
            lambda_function=self._functions.released("fail_bake"),
            integration_pattern=sfn.IntegrationPattern.WAIT_FOR_TASK_TOKEN,
            payload=sfn.TaskInput.from_object(
                {
                    "token": sfn.JsonPath.task_token,
                    **_BAKE,
                    **_EXECUTION,
                    "redrives": sfn.JsonPath.number_at("$$.Execution.RedriveCount"),
                    "state": sfn.JsonPath.entire_payload,
                }
            ),
            task_timeout=sfn.Timeout.duration(_SHORT),
            retry_on_service_exceptions=False,
        )
        # Not our own names: the bake's error, with which the task ends, may be one of them.
        fail.add_retry(
            errors=[*LAMBDA_RETRYABLE],
            interval=_AGAIN_AFTER,
            max_attempts=8,
            backoff_rate=2,
            max_delay=Duration.minutes(1),
            jitter_strategy=sfn.JitterType.FULL,
        )
        resume = sfn.Choice(self, "ResumeAt", comment="Only after a redrive")
        for state in self._resumable:
            resume.when(sfn.Condition.string_equals("$.resume_at", state.id), state)
        return fail.next(resume)

    def _report(self) -> sfn.TaskStateBase:
        report = self._task(
            "Report", "report", {"state": sfn.JsonPath.entire_payload}, key=None, result=None
        )
        return report.add_catch(
            sfn.Fail(self, "ReportFailed", error_path="$.Error", cause_path="$.Cause"),
            errors=["States.ALL"],
        )

    def _command(self, name: str, module: str) -> sfn.TaskStateBase:
        return self._wait(
            name,
            module,
            {
                "instance_id": sfn.JsonPath.string_at("$.launch.instance_id"),
                "command": sfn.JsonPath.object_at(f"$.plan.{module}"),
            },
            key=module,
            result={"command_id.$": "$.command_id"},
            timeout=_COMMAND,
            on_builder=True,
        )

    def _wait(
        self,
        name: str,
        module: str,
        payload: Mapping[str, Any],
        *,
        key: str | None,
        timeout: Duration,
        result: Mapping[str, str] | None = None,
        guarded: bool = True,
        discard: bool = False,
        comment: str | None = None,
        on_builder: bool = False,
    ) -> sfn.TaskStateBase:
        """A task that acts, perhaps on the builder, then sleeps until its token comes back."""
        task = sfn_tasks.LambdaInvoke(
            self,
            name,
            comment=comment,
            lambda_function=self._functions.released(module),
            integration_pattern=sfn.IntegrationPattern.WAIT_FOR_TASK_TOKEN,
            payload=sfn.TaskInput.from_object(
                {"token": sfn.JsonPath.task_token, **_RECIPE, **_BAKE, **payload}
            ),
            result_selector={**_ENTERED, **(result or {})},
            result_path=_result_path(key, discard=discard),
            task_timeout=sfn.Timeout.duration(timeout),
            retry_on_service_exceptions=False,
        )
        # What a first try began must be visible before the second looks for it to adopt it:
        # neither SendCommand nor CreateImage has a client token.
        self._retry(task, first=_VISIBLE_AFTER, jitter=sfn.JitterType.NONE)
        return self._guarded(task, on_builder=on_builder) if guarded else task

    def _task(
        self,
        name: str,
        module: str,
        payload: Mapping[str, Any],
        *,
        key: str | None,
        result: Mapping[str, Any] | None,
        discard: bool = False,
        comment: str | None = None,
    ) -> sfn.TaskStateBase:
        """A task that is over when its function returns."""
        task = sfn_tasks.LambdaInvoke(
            self,
            name,
            comment=comment,
            lambda_function=self._functions.released(module),
            payload_response_only=True,
            payload=sfn.TaskInput.from_object(payload),
            result_selector={**_ENTERED, **result} if key and result is not None else result,
            result_path=_result_path(key, discard=discard),
            task_timeout=sfn.Timeout.duration(_SHORT),
            retry_on_service_exceptions=False,
        )
        self._retry(task)
        return task

    def _retry(
        self,
        task: sfn.TaskStateBase,
        *,
        first: Duration = _AGAIN_AFTER,
        jitter: sfn.JitterType = sfn.JitterType.FULL,
    ) -> None:
        task.add_retry(
            errors=[*RETRYABLE, *LAMBDA_RETRYABLE],
            interval=first,
            max_attempts=8,
            backoff_rate=2,
            max_delay=Duration.minutes(1),
            jitter_strategy=jitter,
        )

    def _guarded(self, state: _Guarded, *, on_builder: bool = False) -> _Guarded:
        """Every failure goes to CleanUp; the loss of a builder that is needed can be made good."""
        if on_builder:
            state.add_catch(
                self._replace, errors=[BuilderTakenError.__name__], result_path="$.failure"
            )
        state.add_catch(self._clean_up, errors=["States.ALL"], result_path="$.failure")
        return state


def _result_path(key: str | None, *, discard: bool) -> str | None:
    if discard:
        return str(sfn.JsonPath.DISCARD)
    return f"$.{key}" if key else None


def _retry_with_patience(task: sfn.TaskStateBase, error: type[BakeryError]) -> None:
    """AWS tells of room by no event: try again, ever more seldom."""
    task.add_retry(
        errors=[error.__name__],
        interval=Duration.minutes(1),
        max_attempts=_CAPACITY_TRIES,
        backoff_rate=1.5,
        max_delay=_CAPACITY_PAUSE,
    )


def _poll_for_agent(task: sfn.TaskStateBase) -> None:
    task.add_retry(
        errors=[NotManagedError.__name__],
        interval=_AGENT_POLL,
        max_attempts=_AGENT_TRIES,
        backoff_rate=1,
    )
