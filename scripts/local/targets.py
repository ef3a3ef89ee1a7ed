"""Where events and schedules go: functions, topics, queues, state machines, log groups, any API
call."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scripts.local.conditions import matches
from scripts.local.errors import AwsError, LocalAwsError
from scripts.local.iam_needs import Need

if TYPE_CHECKING:
    from scripts.local.iam import Authorizer, Principals
    from scripts.local.lambdas import Lambdas

Client = Callable[[str, str, str], Any]


class Targets:
    """Delivers one input to one target, with the right of the rule's or schedule's role."""

    def __init__(
        self, lambdas: Lambdas, client: Client, authorizer: Authorizer, principals: Principals
    ) -> None:
        self._lambdas = lambdas
        self._client = client
        self._authorizer = authorizer
        self._principals = principals

    def deliver(self, arn: str, payload: str, role: str | None, source: str) -> None:
        """EventBridge's targets. Raises when the target refuses."""
        service, region = arn.split(":")[2:4]
        if service == "lambda":
            self._permit_function(arn, "events.amazonaws.com", source)
            self._lambdas.invoke_async(arn, payload)
        elif service == "sns":
            if role:
                self._permit_role(role, "sns:Publish", arn)
            self._client("sns", region, "").publish(TopicArn=arn, Message=payload)
        elif service == "sqs":
            client = self._client("sqs", region, "")
            client.send_message(QueueUrl=self._queue_url(client, arn), MessageBody=payload)
        elif service == "states":
            self._start_machine(arn, payload, role, region)
        elif service == "logs":
            self._write_log(arn, payload, region)
        else:
            raise LocalAwsError(
                f"the local AWS delivers no events to {arn}: add the target in targets.py"
            )

    def schedule(self, target: dict[str, Any], payload: str, source: str) -> None:
        """Scheduler's targets: templated ones and universal ones
        (`arn:aws:scheduler:::aws-sdk:...`)."""
        arn, role = str(target["Arn"]), str(target["RoleArn"])
        universal = re.fullmatch(r"arn:aws:scheduler:::aws-sdk:([a-z0-9]+):(\w+)", arn)
        if universal:
            self._call(universal[1], universal[2], json.loads(payload or "{}"), role, source)
        elif ":lambda:" in arn:
            self._permit_role(role, "lambda:InvokeFunction", arn)
            self._lambdas.invoke_async(arn, payload)
        elif ":states:" in arn:
            self._start_machine(arn, payload, role, arn.split(":")[3])
        else:
            self.deliver(arn, payload, role, source)

    def _call(
        self, service: str, operation: str, parameters: dict[str, Any], role: str, source: str
    ) -> None:
        name = {"sfn": "stepfunctions", "eventbridge": "events"}.get(service, service)
        client = self._client(name, source.split(":")[3], role)
        method = re.sub(r"(?<!^)(?=[A-Z])", "_", operation[0].upper() + operation[1:]).lower()
        getattr(client, method)(**_member_names(client, method, parameters))

    def _start_machine(self, arn: str, payload: str, role: str | None, region: str) -> None:
        if not role:
            raise AwsError("AccessDeniedException", f"a role is needed to start {arn}")
        client = self._client("stepfunctions", region, role)
        client.start_execution(stateMachineArn=arn, name=str(uuid.uuid4()), input=payload)

    def _permit_function(self, arn: str, service: str, source: str) -> None:
        """The function's own policy must let the service in, from this source."""
        function = self._lambdas.find(arn)
        for permission in function.permissions:
            if permission.principal == service and (
                permission.source_arn is None or matches(permission.source_arn, source)
            ):
                return
        raise AwsError(
            "AccessDeniedException",
            f"{function.name} has no permission for {service} from {source}",
        )

    def _permit_role(self, role: str, action: str, resource: str) -> None:
        principal = self._principals.session(role, "scheduler")
        decision = self._authorizer.decide(principal, [Need(action, resource)])
        if decision is not None:
            raise AwsError("AccessDeniedException", f"{role} may not {action} on {resource}")

    @staticmethod
    def _queue_url(client: Any, arn: str) -> str:
        return str(client.get_queue_url(QueueName=arn.split(":")[-1])["QueueUrl"])

    def _write_log(self, arn: str, payload: str, region: str) -> None:
        client = self._client("logs", region, "")
        group, stream = arn.split(":log-group:")[1].removesuffix(":*"), str(uuid.uuid4())
        client.create_log_stream(logGroupName=group, logStreamName=stream)
        event = {"timestamp": int(time.time() * 1000), "message": payload}
        client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[event])


def _member_names(client: Any, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Universal targets spell every member in PascalCase; the SDK spells some services' in
    camelCase."""
    operation = client.meta.method_to_api_mapping[method]
    shape = client.meta.service_model.operation_model(operation).input_shape
    spelled = {name.lower(): name for name in shape.members} if shape else {}
    return {spelled.get(name.lower(), name): value for name, value in parameters.items()}
