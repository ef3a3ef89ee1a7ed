"""Run Command: managed instances, commands through their states, and what the agent on them
does.

Supplies what moto lacks: the agent's registration over time, validation, delivery and execution
time-outs, output limits, cancellation, events, output in CloudWatch Logs. What a step does is the
runner's business.
"""

from __future__ import annotations

import json
import threading
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from scripts.local import command_views, runner
from scripts.local.agent import TERMINAL, UNDELIVERED, Agent, Command, Script
from scripts.local.clock import Clock, Timers, iso_millis
from scripts.local.documents import SIZE_LIMIT, Documents, check_parameters
from scripts.local.errors import AwsError
from scripts.local.iam import ACCOUNT
from scripts.local.logs import agent_events
from scripts.local.machines import Intercepted, Machine, Machines
from scripts.local.records import page

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scripts.local.calls import Call, Handler
    from scripts.local.download import Fetch
    from scripts.local.ec2 import Ec2
    from scripts.local.ec2_state import Emit
    from scripts.local.logs import Logs
    from scripts.local.managed import ManagedInstances, May
    from scripts.local.runner import Ran, StepOutcome


class Commands:
    """`aws.commands`: `all` has every command that was sent."""

    def __init__(
        self,
        clock: Clock,
        timers: Timers,
        ec2: Ec2,
        documents: Documents,
        logs: Logs,
        emit: Emit,
        agent: Agent,
        machines: Machines,
        instances: ManagedInstances,
        may: May,
        fetch_as: Callable[[str], Fetch],
    ) -> None:
        self._clock = clock
        self._timers = timers
        self._ec2 = ec2
        self._documents = documents
        self._logs = logs
        self._emit = emit
        self._agent = agent
        self._machines = machines
        self._may = may
        self._fetch_as = fetch_as
        self._lock = threading.RLock()
        self._closed = False
        self._threads: set[threading.Thread] = set()
        self.instances = instances
        self.all: dict[str, Command] = {}

    def handlers(self) -> dict[str, Handler]:
        return {
            "DescribeInstanceInformation": self.instances.information,
            "SendCommand": self._send,
            "GetCommandInvocation": self._invocation,
            "ListCommands": self._list,
            "ListCommandInvocations": self._list_invocations,
            "CancelCommand": self._cancel,
        }

    def close(self) -> None:
        self._closed = True
        for thread in list(self._threads):
            thread.join(timeout=2)

    # Sending

    def _send(self, call: Call) -> dict[str, Any]:
        p = call.parameters
        ids = list(p.get("InstanceIds") or [])
        if len(ids) != 1:
            raise AwsError(
                "ValidationException", "The local AWS sends a command to exactly one instance id."
            )
        document = self._documents.find(str(p["DocumentName"]))
        version = document.version(p.get("DocumentVersion"))
        if p.get("DocumentHash") and p["DocumentHash"] != version.hash:
            message = (
                f"The document hash {p['DocumentHash']} does not match the hash of version "
                f"{version.number}."
            )
            raise AwsError("InvalidDocument", message)
        given = {k: list(v) for k, v in (p.get("Parameters") or {}).items()}
        check_parameters(version, given)
        if len(version.text.encode()) + len(json.dumps(given).encode()) > SIZE_LIMIT:
            raise AwsError(
                "MaxDocumentSizeExceeded", "Document and parameters together are larger than 64 KB."
            )
        delivery = float(p.get("TimeoutSeconds") or 3600)
        if not 30 <= delivery <= 2_592_000:
            raise AwsError("ValidationException", "TimeoutSeconds must be between 30 and 2592000.")
        if len(str(p.get("Comment") or "")) > 100:
            raise AwsError(
                "ValidationException", "Comment must have length less than or equal to 100."
            )
        self._check_instance(call, ids[0], document.platforms)
        command = Command(
            id=str(uuid.uuid4()),
            region=call.region,
            instance_id=ids[0],
            document=str(p["DocumentName"]),  # AWS tells it as it was given, as an ARN too
            version=version,
            parameters=given,
            comment=str(p.get("Comment") or ""),
            requested=self._clock.now(),
            delivery=delivery,
            logs=dict(p.get("CloudWatchOutputConfig") or {}),
            reads=self._agent.invocation_lag,
        )
        with self._lock:
            self.all[command.id] = command
        self._spawn(command)
        return {"Command": command_views.command_row(command)}

    def _check_instance(self, call: Call, id_: str, platforms: Sequence[str]) -> None:
        with self._ec2.state.lock:
            instance = self._ec2.state.region(call.region).instances.get(id_)
            running = instance is not None and instance["State"]["Name"] == "running"
        managed = self.instances.known.get(id_)
        if managed is None or not running:
            raise AwsError(
                "InvalidInstanceId",
                f"Instances [[{id_}]] not in a valid state for account {ACCOUNT}",
            )
        if managed.system.get("type", "Linux") not in platforms:
            raise AwsError(
                "UnsupportedPlatformType", f"The document is for {', '.join(platforms)} only."
            )

    def _spawn(self, command: Command) -> None:
        def body() -> None:
            try:
                self._live(command)
            finally:
                self._threads.discard(threading.current_thread())

        thread = threading.Thread(
            target=body, daemon=True, name=f"local-aws-command-{command.id[:8]}"
        )
        self._threads.add(thread)
        thread.start()

    # Life of a command

    def _over(self, command: Command) -> bool:
        return self._closed or command.cancelled

    def _live(self, command: Command) -> None:
        self._announce(command)
        whole = self._agent.take(command, None)
        self._sleep(command, 1.0)
        if not self._await_delivery(command, whole):
            return
        command.started = self._clock.now()
        self._set(command, "InProgress")
        if whole and whole.status == "InProgress":
            self._sleep(command, (command.expires - self._clock.now()).total_seconds())
            self._end(command, "DeliveryTimedOut")
            return
        try:
            outcomes = self._run(command)
        except _GoneError:
            self._sleep(command, (command.expires - self._clock.now()).total_seconds())
            self._end(command, "DeliveryTimedOut")
            return
        status, _code = runner.aggregate(outcomes)
        if self._still_there(command):
            self._end(
                command,
                {"TimedOut": "ExecutionTimedOut", "SuccessAndReboot": "Success"}.get(
                    status, status
                ),
            )
        else:
            self._sleep(command, (command.expires - self._clock.now()).total_seconds())
            self._end(command, "DeliveryTimedOut")

    def _sleep(self, command: Command, seconds: float) -> None:
        self._clock.sleep(max(0.0, seconds), lambda: self._over(command))

    def _await_delivery(self, command: Command, whole: Script | None) -> bool:
        """Wait until the agent takes the command; false when the command ended before."""
        deadline = command.requested + timedelta(seconds=command.delivery)
        if whole is not None and whole.status in UNDELIVERED:
            waits = command.delivery if whole.status == "DeliveryTimedOut" else 2.0
            self._sleep(command, whole.seconds if whole.seconds is not None else waits)
            self._end(command, whole.status)
            return False
        while not self._still_there(command) or (whole and whole.status == "Pending"):
            if self._over(command) or self._clock.now() >= deadline:
                self._end(command, "DeliveryTimedOut")
                return False
            self._sleep(command, min(5.0, (deadline - self._clock.now()).total_seconds()))
        return not self._over(command) or self._end(command, "Cancelled")

    def _still_there(self, command: Command) -> bool:
        with self._ec2.state.lock:
            instance = self._ec2.state.region(command.region).instances.get(command.instance_id)
            running = instance is not None and instance["State"]["Name"] == "running"
        managed = self.instances.known.get(command.instance_id)
        return running and managed is not None and managed.online

    def _run(self, command: Command) -> list[StepOutcome]:
        managed = self.instances.known[command.instance_id]
        machine = Machine(
            command.instance_id,
            managed.image_id,
            managed.system,
            self._source_of(command.region, managed.image_id),
        )
        with self._clock.busy():  # a first boot in the sandbox builds its root file system
            host = self._machines.host(machine)

        def intercept(step: str) -> Ran | None:
            script = self._agent.take(command, step)
            seconds = self._agent.step_seconds
            if script is not None and script.seconds is not None:
                seconds = script.seconds
            elif host.executes and script is None:
                seconds = 0.0
            self._sleep(command, seconds)
            if command.cancelled or not self._instance_runs(command):
                raise _GoneError
            if script is None or (
                script.status == "Success" and not script.ran.stdout and not script.ran.exit_code
            ):
                return None
            return script.ran

        document = {**command.version.content, "mainSteps": command.version.steps}
        intercepted = Intercepted(host, intercept, lambda: self._reboot(command), self._clock.busy)

        def on_step(outcome: StepOutcome) -> None:
            command.outcomes.append(outcome)
            self._write_logs(command, outcome)

        outcomes = runner.run_document(
            document,
            command.parameters,
            intercepted,
            fetch=self._fetch_as(managed.role),
            on_step=on_step,
        )
        if host.powers_off:
            wait = self._ec2.durations.sysprep
            self._timers.after(wait, lambda: self._power_off(command), f"sysprep {command.id}")
        return outcomes

    def _power_off(self, command: Command) -> None:
        if self._instance_runs(command):
            self._ec2.shut_down_from_inside(command.instance_id, command.region)

    def _source_of(self, region: str, image_id: str) -> str:
        """The instance that an image was made from."""
        with self._ec2.state.lock:
            image = self._ec2.state.region(region).images.get(image_id)
            return str(image.get("SourceInstanceId") or "") if image else ""

    def _instance_runs(self, command: Command) -> bool:
        with self._ec2.state.lock:
            instance = self._ec2.state.region(command.region).instances.get(command.instance_id)
            return instance is not None and instance["State"]["Name"] == "running"

    def _reboot(self, command: Command) -> None:
        """The agent is away while the instance boots, then takes the step up again."""
        with self._ec2.state.lock:
            region = self._ec2.state.region(command.region)
            self._ec2.instances.reboot(region, command.instance_id)
        for _ in range(1000):
            if self._still_there(command) or self._over(command):
                return
            self._sleep(command, 5.0)

    def _write_logs(self, command: Command, outcome: StepOutcome) -> None:
        if not command.logs.get("CloudWatchOutputEnabled"):
            return
        group = command.logs.get("CloudWatchLogGroupName") or f"/aws/ssm/{command.document}"
        role = self.instances.known[command.instance_id].role
        resource = f"arn:aws:logs:{command.region}:{ACCOUNT}:log-group:{group}:log-stream:x"
        if not self._may(role, "logs:PutLogEvents", resource):
            return
        base = f"{command.id}/{command.instance_id}/{outcome.name}"
        for name, text in zip(("stdout", "stderr"), outcome.printed, strict=True):
            if text:
                self._logs.put(group, f"{base}/{name}", agent_events(text))

    def _set(self, command: Command, details: str) -> None:
        with self._lock:
            if command.details in TERMINAL:
                return
            command.details = details
        self._announce(command)

    def _end(self, command: Command, details: str) -> bool:
        if self._closed:
            return False
        command.ended = self._clock.now()
        self._set(command, "Cancelled" if command.cancelled else details)
        return False

    def _announce(self, command: Command) -> None:
        """Both events of a status: the invocation's, then the command's."""
        if self._closed:
            return
        common: dict[str, Any] = {
            "command-id": command.id,
            "document-name": command.document,
            "requested-date-time": iso_millis(command.requested),
            "status": command.status,
        }
        arn = f"arn:aws:ec2:{command.region}:{ACCOUNT}:instance/{command.instance_id}"
        detail = {**common, "instance-id": command.instance_id}
        kind = "EC2 Command Invocation Status-change Notification"
        self._emit(command.region, "aws.ssm", kind, [arn], detail)
        whole = {
            **common,
            "expire-after": iso_millis(command.expires),
            "parameters": command.parameters,
        }
        self._emit(
            command.region, "aws.ssm", "EC2 Command Status-change Notification", [arn], whole
        )

    # Reading

    def _found(self, command_id: str) -> Command:
        command = self.all.get(command_id)
        if command is None:
            raise AwsError("InvalidCommandId", f"Command {command_id} does not exist.")
        return command

    def _invocation(self, call: Call) -> dict[str, Any]:
        command = self.all.get(str(call.parameters["CommandId"]))
        there = command and command.instance_id == call.parameters["InstanceId"]
        if command is None or not there or command.reads > 0:
            if command is not None:
                command.reads -= 1
            raise AwsError("InvocationDoesNotExist", "The invocation does not exist.")
        return command_views.invocation(command, call.get("PluginName"))

    def _chosen(self, call: Call) -> list[Command]:
        with self._lock:
            found = [c for c in self.all.values() if c.region == call.region]
        if call.get("CommandId"):
            found = [c for c in found if c.id == call.parameters["CommandId"]]
        if call.get("InstanceId"):
            found = [c for c in found if c.instance_id == call.parameters["InstanceId"]]
        for filter_ in call.get("Filters") or []:
            key, value = filter_["key"], filter_["value"]
            if key == "Status":
                found = [c for c in found if c.status == value]
            elif key == "DocumentName":
                found = [c for c in found if c.document == value]
        return sorted(found, key=lambda c: c.requested, reverse=True)

    def _list(self, call: Call) -> dict[str, Any]:
        chosen, token = page(self._chosen(call), call.parameters, 50)
        return {"Commands": [command_views.command_row(c) for c in chosen], "NextToken": token}

    def _list_invocations(self, call: Call) -> dict[str, Any]:
        chosen, token = page(self._chosen(call), call.parameters, 50)
        rows = [command_views.invocation_row(c, details=bool(call.get("Details"))) for c in chosen]
        return {"CommandInvocations": rows, "NextToken": token}

    def _cancel(self, call: Call) -> dict[str, Any]:
        command = self._found(str(call.parameters["CommandId"]))
        wanted = call.get("InstanceIds")
        if wanted and command.instance_id not in wanted:
            raise AwsError("InvalidInstanceId", f"{wanted} did not get this command.")
        if command.details not in TERMINAL:
            command.cancelled = True
            command.ended = self._clock.now()
            self._timers.after(2.0, lambda: self._set(command, "Cancelled"), f"cancel {command.id}")
        return {}


class _GoneError(Exception):
    """The instance went away, or the command was cancelled, in the middle of a step."""
