"""How a state of the machine is made: what it calls, when it is tried again, where its failure
leads."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from aws_cdk import Duration
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as sfn_tasks
from constructs import Construct

from bakery import budgets
from bakery.errors import (
    LAMBDA_RETRYABLE,
    RETRYABLE,
    BakeryError,
    BuilderTakenError,
    NotManagedYetError,
    NotYetVisibleError,
)
from infra.tasks import TaskFunctions

BAKE = {"bake": sfn.JsonPath.string_at("$$.Execution.Name")}
ENTERED = {"entered.$": "$$.State.EnteredTime"}
_RECIPE = {"recipe": sfn.JsonPath.string_at("$.plan.recipe")}

_VISIBLE_AFTER = Duration.seconds(10)

_AGENT_POLL = Duration.seconds(10)
_AGENT_TRIES = 250
"""More than the longest budget, that of a Windows instance; the task itself ends it."""

_CAPACITY_PAUSE = Duration.minutes(10)
_CAPACITY_TRIES = 80
"""More than the longest patience, half a day; the task itself ends it."""

_SETTLE_TRIES = 60
"""At 5 to 15 seconds more than ten minutes; the task itself ends it."""

_Guarded = TypeVar("_Guarded", sfn.TaskStateBase, sfn.Map, sfn.Parallel)


class States:
    """Makes states in ``scope``; whoever uses it must say where failures lead before it guards."""

    _clean_up: sfn.TaskStateBase
    _replace: sfn.TaskStateBase

    def __init__(self, scope: Construct, functions: TaskFunctions) -> None:
        self._scope = scope
        self._functions = functions

    def failures_lead_to(
        self, clean_up: sfn.TaskStateBase, *, lost_builder: sfn.TaskStateBase
    ) -> None:
        self._clean_up, self._replace = clean_up, lost_builder

    def command(self, name: str, module: str) -> sfn.TaskStateBase:
        """One of our own documents on the builder."""
        return self.wait(
            name,
            module,
            {
                "instance_id": sfn.JsonPath.string_at("$.launch.instance_id"),
                "command": sfn.JsonPath.object_at(f"$.plan.{module}"),
            },
            key=module,
            result={"command_id.$": "$.command_id"},
            timeout=in_seconds(budgets.COMMAND),
            on_builder=True,
        )

    def wait(
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
            self._scope,
            name,
            comment=comment,
            lambda_function=self._functions.released(module),
            integration_pattern=sfn.IntegrationPattern.WAIT_FOR_TASK_TOKEN,
            payload=sfn.TaskInput.from_object(
                {"token": sfn.JsonPath.task_token, **_RECIPE, **BAKE, **payload}
            ),
            result_selector={**ENTERED, **(result or {})},
            result_path=_result_path(key, discard=discard),
            task_timeout=sfn.Timeout.duration(timeout),
            retry_on_service_exceptions=False,
        )
        # What a first try began must be visible before the second looks for it to adopt it:
        # neither SendCommand nor CreateImage has a client token.
        retry(task, first=_VISIBLE_AFTER, jitter=sfn.JitterType.NONE)
        return self.guarded(task, on_builder=on_builder) if guarded else task

    def task(
        self,
        name: str,
        module: str,
        payload: Mapping[str, Any],
        *,
        key: str | None,
        result: Mapping[str, Any] | None,
        discard: bool = False,
        settles: bool = False,
        ends: bool = False,
        comment: str | None = None,
    ) -> sfn.TaskStateBase:
        """A task that is over when its function returns.

        ``settles``: it is tried again, for minutes, until AWS shows what it has done. ``ends``: a
        bake ends with it.
        """
        task = sfn_tasks.LambdaInvoke(
            self._scope,
            name,
            comment=comment,
            lambda_function=self._functions.released(module),
            payload_response_only=True,
            payload=sfn.TaskInput.from_object(payload),
            result_selector={**ENTERED, **result} if key and result is not None else result,
            result_path=_result_path(key, discard=discard),
            task_timeout=sfn.Timeout.duration(in_seconds(budgets.SHORT)),
            retry_on_service_exceptions=False,
        )
        if settles:
            # Before the others: the first that fits an error counts.
            _retry_until_settled(task)
        if ends:
            wait_for_room(task)
        retry(task)
        return task

    def guarded(self, state: _Guarded, *, on_builder: bool = False) -> _Guarded:
        """Every failure goes to CleanUp; the loss of a builder that is needed can be made good."""
        if on_builder:
            state.add_catch(
                self._replace, errors=[BuilderTakenError.__name__], result_path="$.failure"
            )
        state.add_catch(self._clean_up, errors=["States.ALL"], result_path="$.failure")
        return state


def in_seconds(budget: timedelta) -> Duration:
    return Duration.seconds(int(budget.total_seconds()))


def retry(
    task: sfn.TaskStateBase,
    *,
    errors: Sequence[str] = (*RETRYABLE, *LAMBDA_RETRYABLE),
    first: Duration | None = None,
    jitter: sfn.JitterType = sfn.JitterType.FULL,
) -> None:
    """Try again what may succeed in a moment."""
    task.add_retry(
        errors=[*errors],
        interval=first or Duration.seconds(2),
        max_attempts=8,
        backoff_rate=2,
        max_delay=Duration.minutes(1),
        jitter_strategy=jitter,
    )


def retry_with_patience(task: sfn.TaskStateBase, error: type[BakeryError]) -> None:
    """AWS tells of room by no event: try again, ever more seldom."""
    task.add_retry(
        errors=[error.__name__],
        interval=Duration.minutes(1),
        max_attempts=_CAPACITY_TRIES,
        backoff_rate=1.5,
        max_delay=_CAPACITY_PAUSE,
    )


def poll_for_agent(task: sfn.TaskStateBase) -> None:
    """The SSM agent announces itself by no event either."""
    task.add_retry(
        errors=[NotManagedYetError.__name__],
        interval=_AGENT_POLL,
        max_attempts=_AGENT_TRIES,
        backoff_rate=1,
    )


def wait_for_room(task: sfn.TaskStateBase) -> None:
    """What a bake ends with is tried for half an hour while other functions use up the account's
    concurrency: what was published and made would be left, and the first error be lost."""
    task.add_retry(
        errors=["Lambda.TooManyRequestsException"],
        interval=Duration.seconds(30),
        max_attempts=60,
        backoff_rate=1,
    )


def _retry_until_settled(task: sfn.TaskStateBase) -> None:
    task.add_retry(
        errors=[NotYetVisibleError.__name__],
        interval=Duration.seconds(5),
        max_attempts=_SETTLE_TRIES,
        backoff_rate=1.2,
        max_delay=Duration.seconds(15),
    )


def _result_path(key: str | None, *, discard: bool) -> str | None:
    if discard:
        return str(sfn.JsonPath.DISCARD)
    return f"$.{key}" if key else None
