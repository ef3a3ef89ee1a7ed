"""The deployed stack: start bakes, watch them, ask for plans."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, cast

import boto3  # noqa: TID251 - see scripts.bakery_cli.aws
from botocore import exceptions  # noqa: TID251
from botocore.config import Config  # noqa: TID251

from bakery.bake import WholePlan
from bakery.naming import pointer
from scripts.bakery_cli.aws.failures import explained
from scripts.bakery_cli.errors import FAILED, CommandError
from scripts.bakery_cli.history import Event, message_of

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import StackTypeDef
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_stepfunctions import SFNClient

STACK = "AmiBakery"
PREVIEW = "plan-preview"
"""Name of the bake that a plan is made for."""

_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=60
)
# A function that is asked may take minutes; asked again, it would do its work twice at a time.
_LONG = Config(
    retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=5, read_timeout=300
)
_PAGE = 100
_PARAMETERS_PER_CALL = 10


class _Lambda(Protocol):
    """What is used of the Lambda client."""

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]: ...  # noqa: N803


@dataclass(frozen=True)
class Execution:
    """What Step Functions says about an execution."""

    arn: str
    name: str
    status: str
    started: datetime
    recipe: str
    output: dict[str, Any]
    error: str
    cause: str


class RefusedError(CommandError):
    """A function of the stack has ended with an error of the product's."""

    def __init__(self, error: str, cause: str) -> None:
        self.error = error
        self.cause = cause
        super().__init__(f"{error}: {cause}", code=FAILED)


class PlanRefusedError(RefusedError):
    """Plan says that there is nothing that could be baked."""


class Stack:
    """The bakery's stack in one account and Region."""

    def __init__(
        self, *, region: str | None = None, profile: str | None = None, endpoint: str | None = None
    ) -> None:
        # boto3 reads AWS_DEFAULT_REGION only; the CDK and the AWS command line take this first.
        wanted = region or os.environ.get("AWS_REGION")
        with explained(wanted or ""):
            session = boto3.Session(profile_name=profile, region_name=wanted)
            self.region = session.region_name or ""
            self._session, self._endpoint = session, endpoint
            cloudformation: CloudFormationClient = self.client("cloudformation")
            self._states: SFNClient = self.client("stepfunctions")
            self._ssm: SSMClient = self.client("ssm")
            self._lambda = cast("_Lambda", self.client("lambda", _LONG))
            found = _deployed(cloudformation, self.region)
        outputs = _outputs(found, self.region)
        self.tags = {
            tag["Key"]: tag["Value"]
            for tag in found.get("Tags", [])
            if not tag["Key"].startswith("aws:")  # which only AWS may give
        }
        self.machine = outputs["BakeStateMachineArn"]
        self._fleet = outputs.get("FleetStateMachineArn", "")
        self.command_log = outputs.get("CommandLogGroup", "")
        self.inventory_bucket = outputs.get("InventoryBucket", "")
        self._plan_function = outputs["PlanFunctionName"]
        self._retire_function = outputs.get("RetireFunctionName", "")
        self._mover = outputs.get("MoveStateMachineArn", "")

    def client(self, service: Any, config: Config = _CONFIG) -> Any:
        """An SDK client for the stack's account and Region."""
        return self._session.client(service, endpoint_url=self._endpoint, config=config)

    def start(self, recipe: str, *, name: str, options: Mapping[str, object]) -> str:
        """Start a bake, ``options`` beside the recipe in its input; its execution's ARN."""
        wanted = {"recipe": recipe, **options}
        try:
            with explained(self.region):
                return self._states.start_execution(
                    stateMachineArn=self.machine, name=name, input=json.dumps(wanted)
                )["executionArn"]
        except CommandError as error:
            if "ExecutionAlreadyExists" in error.message:
                raise CommandError(
                    f"There is an execution named '{name}' already.",
                    f"See it with `bakery follow {name}`, or choose another --execution-name.",
                ) from error
            if "InvalidName" in error.message:
                raise CommandError(
                    f"'{name}' cannot name an execution.",
                    "Use at most 80 letters, digits, '-' and '_'.",
                ) from error
            raise

    def start_all(self, *, name: str, force: bool) -> str:
        """Start a run over all recipes; its execution's ARN."""
        if not self._fleet:
            raise CommandError(
                f"The stack {STACK} in {self.region} has no machine for all recipes yet.",
                "Deploy it (`make deploy`).",
            )
        with explained(self.region):
            return self._states.start_execution(
                stateMachineArn=self._fleet,
                name=name,
                input=json.dumps({"force": True} if force else {}),
            )["executionArn"]

    def redrive(self, arn: str) -> None:
        """Go on with an execution that ended badly."""
        try:
            with explained(self.region):
                self._states.redrive_execution(executionArn=arn)
        except CommandError as error:
            if "ExecutionNotRedrivable" in error.message:
                raise CommandError(
                    f"Execution {arn.rpartition(':')[2]} cannot go on: {error.message}",
                    "Only one that failed, was stopped or timed out can, for 14 days. "
                    "Start a new bake instead.",
                ) from error
            raise

    def last_event(self, arn: str) -> int:
        """Number of the execution's newest event."""
        with explained(self.region):
            events = self._states.get_execution_history(
                executionArn=arn, reverseOrder=True, maxResults=1
            )["events"]
        return events[0]["id"] if events else 0

    def execution_arn(self, text: str) -> str:
        """The ARN of an execution that a person calls by name or ARN."""
        if text.startswith("arn:"):
            return text
        return f"{self.machine.replace(':stateMachine:', ':execution:')}:{text}"

    def execution(self, arn: str) -> Execution:
        """What became of an execution so far."""
        try:
            with explained(self.region):
                found = self._states.describe_execution(executionArn=arn)
        except CommandError as error:
            if "ExecutionDoesNotExist" in error.message or "InvalidArn" in error.message:
                raise CommandError(
                    f"There is no execution {arn} in this account and Region.",
                    "Names are case-sensitive; Step Functions forgets executions after 90 days.",
                ) from error
            raise
        return Execution(
            arn=arn,
            name=found["name"],
            status=found["status"],
            started=found["startDate"],
            recipe=str(_mapping(found.get("input")).get("recipe", "")),
            output=_mapping(found.get("output")),
            error=found.get("error", ""),
            cause=message_of(found.get("cause", "")),
        )

    def events_after(self, arn: str, last: int) -> list[Event]:
        """The events of an execution after event ``last``, oldest first.

        Reads backwards from the newest event, so a look costs as much as there is news.
        """
        pages = self._states.get_paginator("get_execution_history").paginate(
            executionArn=arn, reverseOrder=True, PaginationConfig={"PageSize": _PAGE}
        )
        found: list[Event] = []
        with explained(self.region):
            for page in pages:
                fresh = [event for event in page["events"] if event["id"] > last]
                found += cast("list[Event]", fresh)
                if len(fresh) < len(page["events"]):
                    break
        return found[::-1]

    def plan(self, recipe: str, *, force: bool) -> WholePlan:
        """What a bake would do; raises PlanRefusedError with the reasons when it would fail."""
        wanted = {"recipe": recipe, **({"force": True} if force else {})}
        request = {"bake": PREVIEW, "input": wanted, "preview": True}
        try:
            return WholePlan.model_validate(self._invoke(self._plan_function, request))
        except RefusedError as error:
            raise PlanRefusedError(error.error, error.cause) from error

    def retire(self, recipe: str, *, dry_run: bool, region: str = "") -> dict[str, Any]:
        """Let old images of a recipe go, in one Region, by default the stack's; what was decided.

        Raises RefusedError with the reason when nothing could be decided.
        """
        if not self._retire_function:
            raise CommandError(
                f"The stack {STACK} is of a release without `bakery retire`.",
                "Deploy this one (`make deploy`).",
            )
        request = {"recipe": recipe, "region": region, "dry_run": dry_run, "brief": False}
        return self._invoke(self._retire_function, request)

    def who(self) -> str:
        """ARN of whoever these credentials are."""
        with explained(self.region):
            return str(self.client("sts").get_caller_identity()["Arn"])

    def move_pointer(self, wanted: Mapping[str, object], *, name: str) -> str:
        """Start a rollback or a promotion; its execution's ARN."""
        if not self._mover:
            raise CommandError(
                f"The stack {STACK} is of a release that neither rolls back nor promotes.",
                "Deploy this one (`make deploy`).",
            )
        with explained(self.region):
            return self._states.start_execution(
                stateMachineArn=self._mover, name=name, input=json.dumps(dict(wanted))
            )["executionArn"]

    def _invoke(self, function: str, request: Mapping[str, object]) -> dict[str, Any]:
        with explained(self.region):
            answer = self._lambda.invoke(
                FunctionName=function, Payload=json.dumps(request).encode()
            )
            payload: dict[str, Any] = json.loads(answer["Payload"].read())
        if answer.get("FunctionError"):
            raise RefusedError(payload.get("errorType", ""), payload.get("errorMessage", ""))
        return payload

    def current_images(self, recipes: Sequence[str]) -> dict[str, str]:
        """The current image of each recipe that has one."""
        names = {pointer(recipe): recipe for recipe in recipes}
        found: dict[str, str] = {}
        listed = list(names)
        with explained(self.region):
            for start in range(0, len(listed), _PARAMETERS_PER_CALL):
                part = listed[start : start + _PARAMETERS_PER_CALL]
                for parameter in self._ssm.get_parameters(Names=part)["Parameters"]:
                    found[names[parameter["Name"]]] = parameter["Value"]
        return found


def _deployed(cloudformation: "CloudFormationClient", region: str) -> "StackTypeDef":
    missing = CommandError(
        f"There is no stack {STACK} in {region} of this account.",
        "Deploy it (`make deploy`), or say another --region or --profile.",
    )
    try:
        return cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
    except exceptions.ClientError as error:
        if "does not exist" in error.response["Error"]["Message"]:
            raise missing from error
        raise


def _outputs(stack: "StackTypeDef", region: str) -> dict[str, str]:
    outputs = {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", [])}
    if not {"BakeStateMachineArn", "PlanFunctionName"} <= outputs.keys():
        raise CommandError(
            f"The stack {STACK} in {region} is {stack['StackStatus']} and not usable.",
            "Finish its deployment (`make deploy`).",
        )
    return outputs


def _mapping(text: str | None) -> dict[str, Any]:
    try:
        content = json.loads(text or "{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
