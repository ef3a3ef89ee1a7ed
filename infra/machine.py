"""The bake, top to bottom: the one state machine.

It reads like the procedure it replaces. Waits are task tokens, so there is no loop in it but two
ways back: from AwaitTurn to Plan, when another bake has ended, and from ReplaceBuilder to
LaunchBuilder, once, when AWS has taken the builder. The two states that poll, AwaitManaged and
AwaitTest, do so by their Retry. Every other failure goes to CleanUp. How each state calls its
function, and is tried again, is in ``infra.states``.
"""

from collections.abc import Mapping

from aws_cdk import RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as sfn_tasks
from constructs import Construct

from bakery import budgets
from bakery.errors import (
    LAMBDA_RETRYABLE,
    CopyLimitError,
    EndNotToldError,
    NoCapacityYetError,
    UnexpectedError,
)
from infra.dependencies import depend_on_policy_only
from infra.permissions import MACHINE_NAME
from infra.settings import Settings
from infra.states import (
    BAKE,
    ENTERED,
    States,
    in_seconds,
    poll_for_agent,
    retry,
    retry_with_patience,
    wait_for_room,
)
from infra.store import retention
from infra.tasks import TaskFunctions

# Each a little longer than the wait's own budget, which ends it with a better message.
_SHORT, _TURN, _STEP, _STOP, _IMAGE, _WHOLE_BAKE = map(
    in_seconds,
    (
        budgets.SHORT,
        budgets.TURN,
        budgets.STEP,
        budgets.STOP,
        budgets.IMAGE,
        budgets.WHOLE_BAKE,
    ),
)

_COPIES_AT_ONCE = 40
"""Every Region of a recipe: quotas of copies under way are for each Region that gets one. Step
Functions runs no more at once. Source: its developer guide, "Using Map state in Inline mode"."""

_EXECUTION = {"execution": sfn.JsonPath.string_at("$$.Execution.Id")}
_REDRIVES = {"redrives": sfn.JsonPath.number_at("$$.Execution.RedriveCount")}
_SINCE = {"entered": sfn.JsonPath.string_at("$$.State.EnteredTime")}


class BakeMachine(Construct):
    """State machine ``AmiBakery-Bake``; its input is ``{"recipe": NAME}``."""

    def __init__(
        self, scope: Construct, id_: str, *, functions: TaskFunctions, settings: Settings
    ) -> None:
        super().__init__(scope, id_)
        self._functions = functions
        self._states = States(self, functions)
        self._clean_up = self._states.task(
            "CleanUp",
            "clean_up",
            {**BAKE, **_EXECUTION, **_REDRIVES, "state": sfn.JsonPath.entire_payload},
            key="clean_up",
            result={"result.$": "$", "redrives.$": "$$.Execution.RedriveCount"},
            ends=True,
        )
        self._replace = self._replace_builder()
        self._states.failures_lead_to(self._clean_up, lost_builder=self._replace)
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
        # FailBake must know a redrive from a failure after one.
        counted = sfn.Pass(
            self, "CleanUpFailed", input_path="$$.Execution.RedriveCount", result_path="$.redrives"
        )
        self._clean_up.add_catch(counted, errors=["States.ALL"], result_path="$.clean_up_failure")
        counted.next(ending)
        self._clean_up.next(ending)

        plan = self._plan()
        needed = sfn.Choice(self, "BakeNeeded")
        needed.when(sfn.Condition.is_not_null("$.plan.busy"), self._await_turn().next(plan))
        wanted = sfn.Condition.boolean_equals("$.plan.bake_needed", True)
        of_host = sfn.Condition.is_not_null("$.plan.host")
        needed.when(sfn.Condition.and_(wanted, of_host), self._clone_host().next(self._launch))
        needed.when(wanted, image)
        needed.otherwise(report)
        return plan.next(needed)

    def _image(self) -> sfn.IChainable:
        instance = {
            "instance_id": sfn.JsonPath.string_at("$.launch.instance_id"),
            # What is imaged is what was verified, and not started since.
            "verified": sfn.JsonPath.string_at("$.verify_identity.entered"),
            **_REDRIVES,
        }
        stop = self._states.wait(
            "StopBuilder",
            "stop_builder",
            {**instance, "sysprep": sfn.JsonPath.object_at("$.plan.sysprep")},
            key="stop",
            timeout=_STOP,
            on_builder=True,
        )
        create_image, harden = self._create_image(instance), self._harden_image()
        proof, release = self._test_and_copy(), self._release_images()
        publish = self._publish_pointers()
        self._resumable = (stop, create_image, harden, proof, release, publish)
        self._launch = self._launch_builder()
        self._replace.next(self._launch)
        return (
            self._launch.next(self._await_managed())
            .next(self._states.command("Prepare", "prepare"))
            .next(self._customize())
            .next(self._states.command("RemoveIdentity", "remove_identity"))
            .next(self._states.command("Generalize", "generalize"))
            .next(self._states.command("VerifyIdentity", "verify_identity"))
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
        plan = self._states.task(
            "Plan",
            "plan",
            {
                **BAKE,
                **_EXECUTION,
                # Not the state: after AwaitTurn that has more than what the bake was started with.
                "input": sfn.JsonPath.object_at("$$.Execution.Input"),
                "state": sfn.JsonPath.entire_payload,
                **_SINCE,
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
        return self._states.wait(
            "AwaitTurn",
            "await_turn",
            {"busy": sfn.JsonPath.object_at("$.plan.busy")},
            key="await_turn",
            # A bake may wait for several others, one after the other: since the first of them.
            result={"entered.$": "$.since", "holder.$": "$.holder"},
            timeout=_TURN,
            comment="The end of the bake that has the recipe is an event; then plan anew",
        )

    def _clone_host(self) -> sfn.TaskStateBase:
        return self._states.wait(
            "CloneHost",
            "clone_host",
            {"host": sfn.JsonPath.object_at("$.plan.host")},
            key="clone_host",
            result={"image_id.$": "$.image_id"},
            timeout=_IMAGE,
            comment="Image the running host that is the base; the builder is its clone",
        )

    def _launch_builder(self) -> sfn.TaskStateBase:
        task = self._states.task(
            "LaunchBuilder",
            "launch_builder",
            {
                **BAKE,
                **_SINCE,
                "planned": sfn.JsonPath.string_at("$.plan.entered"),
                "recipe": sfn.JsonPath.string_at("$.plan.recipe"),
                "base_image": sfn.JsonPath.object_at("$.plan.base_image"),
                "host": sfn.JsonPath.object_at("$.plan.host"),
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
        retry_with_patience(task, NoCapacityYetError)
        return self._states.guarded(task)

    def _await_managed(self) -> sfn.TaskStateBase:
        task = self._states.task(
            "AwaitManaged",
            "await_managed",
            {
                **_SINCE,
                "instance_id": sfn.JsonPath.string_at("$.launch.instance_id"),
                "windows": sfn.JsonPath.object_at("$.plan.launch.windows"),
                "isolated": sfn.JsonPath.object_at("$.plan.launch.isolated"),
            },
            key="await_managed",
            result={
                "agent_version.$": "$.agent_version",
                "platform.$": "$.platform",
                "platform_version.$": "$.platform_version",
            },
            comment="The SSM agent announces itself by no event: ask every 10 seconds",
        )
        poll_for_agent(task)
        return self._states.guarded(task, on_builder=True)

    def _replace_builder(self) -> sfn.TaskStateBase:
        task = self._states.task(
            "ReplaceBuilder",
            "replace_builder",
            {
                **BAKE,
                **_SINCE,
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
        run_step = self._states.wait(
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
            result_selector=ENTERED,
            result_path="$.customize",
        )
        steps.item_processor(run_step)
        return self._states.guarded(steps, on_builder=True)

    def _create_image(self, instance: Mapping[str, object]) -> sfn.TaskStateBase:
        return self._states.wait(
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
        task = self._states.task(
            "HardenImage",
            "harden_image",
            {
                "image_id": sfn.JsonPath.string_at("$.create_image.image_id"),
                "size_gib": sfn.JsonPath.number_at("$.plan.launch.size_gib"),
            },
            key="harden_image",
            result={},
        )
        return self._states.guarded(task)

    def _test_and_copy(self) -> sfn.Parallel:
        """Copies are made while the image is tested; they are private until it has passed."""
        proof = sfn.Parallel(
            self,
            "TestAndCopy",
            result_selector={
                **ENTERED,
                "tested.$": "$[0].end_tests.entered",
                "inventory.$": "$[0].inventory",
                "shared.$": "$[0].identity.shared",
                "copies.$": "$[1]",
            },
            result_path="$.test_and_copy",
        )
        proof.branch(self._test(), self._copy())
        return self._states.guarded(proof)

    def _test(self) -> sfn.IChainable:
        machines = sfn.Map(
            self,
            "Test",
            comment="Boot the image on each instance that the recipe asks for",
            items_path="$.plan.test.machines",
            item_selector={
                **BAKE,
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
        compare = self._states.task(
            "CompareIdentity",
            "compare_identity",
            {
                **BAKE,
                "recipe": sfn.JsonPath.string_at("$.plan.recipe"),
                "compare": sfn.JsonPath.object_at("$.plan.test.compare"),
            },
            key="identity",
            result={"shared.$": "$.shared"},
        )
        end = self._states.task("EndTests", "end_tests", {**BAKE}, key="end_tests", result={})
        return machines.next(compare).next(self._record_inventory(end)).next(end)

    def _record_inventory(self, end: sfn.TaskStateBase) -> sfn.TaskStateBase:
        task = self._states.task(
            "RecordInventory",
            "record_inventory",
            {
                **BAKE,
                **{
                    name: sfn.JsonPath.string_at(f"$.plan.{name}")
                    for name in ("recipe", "region", "image_name")
                },
                "packages": sfn.JsonPath.number_at("$.plan.test.packages"),
                "image_id": sfn.JsonPath.string_at("$.create_image.image_id"),
                "image_tags": sfn.JsonPath.object_at("$.plan.image_tags"),
                "created": sfn.JsonPath.string_at("$.create_image.entered"),
                "size_gib": sfn.JsonPath.number_at("$.plan.launch.size_gib"),
                "base_image": sfn.JsonPath.object_at("$.plan.base_image"),
                "previous": sfn.JsonPath.string_at("$.plan.current.image"),
            },
            key="inventory",
            result={"summary.$": "$.summary", "key.$": "$.key"},
            comment="What is in it, for people: a bake does not fail for want of a list",
        )
        return task.add_catch(end, errors=["States.ALL"], result_path="$.inventory")

    def _launch_test(self) -> sfn.TaskStateBase:
        task = self._states.task(
            "LaunchTest",
            "launch_test",
            {
                **BAKE,
                **_SINCE,
                **_REDRIVES,
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
        retry_with_patience(task, NoCapacityYetError)
        return task

    def _await_test(self) -> sfn.TaskStateBase:
        task = self._states.task(
            "AwaitTest",
            "await_test",
            {
                **BAKE,
                **_SINCE,
                "instance_id": sfn.JsonPath.string_at("$.launched.instance_id"),
                "windows": sfn.JsonPath.object_at("$.launch.windows"),
            },
            key=None,
            result=None,
            discard=True,
            comment="Does the image boot? Ask every 10 seconds, as for the builder",
        )
        poll_for_agent(task)
        return task

    def _run_tests(self) -> sfn.Map:
        run_test = self._states.wait(
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
        copy = self._states.wait(
            "CopyImage",
            "copy_image",
            {
                name: sfn.JsonPath.string_at(f"$.{name}")
                for name in ("recipe", "region", "image_id", "image_name", "description")
            }
            | {
                **_SINCE,
                "image_tags": sfn.JsonPath.object_at("$.image_tags"),
                **_REDRIVES,
            },
            key=None,
            result={name: f"$.{name[:-2]}" for name in ("region.$", "image_id.$", "failed.$")},
            timeout=_IMAGE,
            guarded=False,
        )
        retry_with_patience(copy, CopyLimitError)
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
            max_concurrency=_COPIES_AT_ONCE,
        )
        return copies.item_processor(copy)

    def _release_images(self) -> sfn.TaskStateBase:
        return self._published(
            "ReleaseImages",
            "release_images",
            {},
            key="release",
            comment="It has passed: others may use it",
        )

    def _publish_pointers(self) -> sfn.TaskStateBase:
        return self._published(
            "PublishPointers",
            "publish_pointers",
            {**_SINCE, "pointers": sfn.JsonPath.object_at("$.plan.pointers")},
            key="publish",
            comment="All or none: CleanUp moves back what has moved if one fails",
        )

    def _update_templates(self) -> sfn.TaskStateBase:
        return self._published(
            "UpdateTemplates",
            "update_templates",
            {"templates": sfn.JsonPath.object_at("$.plan.templates")},
            key="templates",
        )

    def _keep_previous(self) -> sfn.TaskStateBase:
        return self._published(
            "KeepPrevious",
            "keep_previous",
            _SINCE,
            key="keep_previous",
            result={"image.$": "$.image"},
        )

    def _published(
        self,
        name: str,
        module: str,
        payload: Mapping[str, object],
        *,
        key: str,
        result: Mapping[str, str] | None = None,
        comment: str | None = None,
    ) -> sfn.TaskStateBase:
        """One task for all Regions, so that none is under way when another has failed."""
        task = self._states.task(
            name,
            module,
            {
                **BAKE,
                **_EXECUTION,
                **payload,
                "recipe": sfn.JsonPath.string_at("$.plan.recipe"),
                "before": sfn.JsonPath.object_at("$.plan.current.image"),
                "copies": sfn.JsonPath.object_at("$.test_and_copy.copies"),
                **_REDRIVES,
            },
            key=key,
            result=result or {},
            settles=True,
            comment=comment,
        )
        return self._states.guarded(task)

    def _retire(self) -> sfn.Map:
        """The image is published: what fails here is told, and undoes nothing."""
        retire_images = self._states.task(
            "RetireImages",
            "retire_images",
            {
                **BAKE,
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
            result_selector={**ENTERED, "regions.$": "$"},
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
                    **BAKE,
                    **_EXECUTION,
                    **_REDRIVES,
                    "state": sfn.JsonPath.entire_payload,
                }
            ),
            task_timeout=sfn.Timeout.duration(_SHORT),
            retry_on_service_exceptions=False,
        )
        wait_for_room(fail)
        # Not our own names: the bake's error, with which the task ends, may be one of them.
        retry(fail, errors=[*LAMBDA_RETRYABLE, EndNotToldError.__name__])
        resume = sfn.Choice(self, "ResumeAt", comment="Only after a redrive")
        for state in self._resumable:
            resume.when(sfn.Condition.string_equals("$.resume_at", state.id), state)
        return fail.next(resume)

    def _report(self) -> sfn.TaskStateBase:
        report = self._states.task(
            "Report",
            "report",
            {"state": sfn.JsonPath.entire_payload},
            key=None,
            result=None,
            ends=True,
        )
        return report.add_catch(
            sfn.Fail(
                self,
                "ReportFailed",
                error=UnexpectedError.__name__,
                # A time-out has no cause of its own.
                cause_path="States.Format('The bake did its work, and what it made stays."
                " But its report failed: {} {}', $.Error, $.Cause)",
            ),
            errors=["States.ALL"],
        )
