"""Run Command: managed instances, commands through their states, and what the agent on them does.

Supplies what moto lacks: the agent's registration over time, validation, delivery and execution
time-outs,
output limits, cancellation, events, output in CloudWatch Logs. What a step does is the runner's
business.
"""

from __future__ import annotations

import fnmatch
import json
import threading
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from scripts.local import runner
from scripts.local.clock import Clock, Timers, iso_millis
from scripts.local.documents import SIZE_LIMIT, Documents, Version, check_parameters
from scripts.local.ec2_state import NEVER, Emit
from scripts.local.errors import AwsError
from scripts.local.iam import ACCOUNT
from scripts.local.machines import Intercepted, Machine, Machines
from scripts.local.records import Record, page
from scripts.local.runner import Ran, StepOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scripts.local.calls import Call, Handler
    from scripts.local.ec2 import Ec2
    from scripts.local.logs import Logs

LATEST_AGENT = "3.3.3050.0"
TERMINAL = [
    "Success",
    "DeliveryTimedOut",
    "ExecutionTimedOut",
    "Failed",
    "Cancelled",
    "Undeliverable",
    "Terminated",
    "InvalidPlatform",
    "AccessDenied",
]
#: StatusDetails -> Status of an invocation.
STATUS = {
    "DeliveryTimedOut": "TimedOut",
    "ExecutionTimedOut": "TimedOut",
    "Undeliverable": "Failed",
    "Terminated": "Failed",
    "InvalidPlatform": "Failed",
    "AccessDenied": "Failed",
}
#: Outcomes that are the service's, not a script's.
UNDELIVERED = (
    "Undeliverable",
    "DeliveryTimedOut",
    "Terminated",
    "InvalidPlatform",
    "AccessDenied",
    "Cancelled",
)


@dataclass
class Script:
    """A scripted outcome: of a step's script, or of the whole command."""

    document: str
    step: str | None
    status: str
    ran: Ran
    times: float
    seconds: float | None
    when: Callable[[Command], bool] | None
    matched: int = 0

    @property
    def whole(self) -> bool:
        return self.status in (*UNDELIVERED, "InProgress", "Pending")

    def hits(self, command: Command, step: str | None) -> bool:
        if self.times <= 0 or not fnmatch.fnmatchcase(command.document, self.document):
            return False
        if self.whole != (step is None) or (step is not None and self.step not in (None, step)):
            return False
        return self.when is None or self.when(command)


@dataclass
class Agent:
    """`aws.agent`: what the SSM agents of the instances do."""

    scripts: list[Script] = field(default_factory=list)
    invocation_lag: int = 0
    step_seconds: float = 5.0
    silent: set[str] = field(default_factory=set)
    all_silent: bool = False

    def script(
        self,
        document: str = "*",
        *,
        step: str | None = None,
        status: str | None = None,
        exit_code: int | None = None,
        stdout: str = "",
        stderr: str = "",
        times: float = 1,
        seconds: float | None = None,
        when: Callable[[Command], bool] | None = None,
    ) -> Script:
        """What the next commands of a document (a pattern) come to.

        An exit code, or status `Failed`, `TimedOut` (ExecutionTimedOut) or `Success`, is that of
        one script,
        the first that runs or that of `step`; 194 reboots and runs the step again. `InProgress` and
        `Pending` never end by
        themselves. The others are the service's: `Undeliverable`, `DeliveryTimedOut`, `Cancelled`,
        ...
        `seconds` is how long it takes.
        """
        if status is None:
            status = "Success" if exit_code in (None, 0) else "Failed"
        timed_out = status in ("TimedOut", "ExecutionTimedOut")
        code = exit_code if exit_code is not None else 0 if status == "Success" else 1
        rule = Script(
            document, step, status, Ran(code, stdout, stderr, timed_out), times, seconds, when
        )
        self.scripts.append(rule)
        return rule

    def never_online(self, instance_id: str | None = None) -> None:
        """The agent of this instance (or of any) does not register."""
        if instance_id:
            self.silent.add(instance_id)
        else:
            self.all_silent = True

    def take(self, command: Command, step: str | None) -> Script | None:
        for rule in self.scripts:
            if rule.hits(command, step):
                rule.times -= 1
                rule.matched += 1
                return rule
        return None


@dataclass
class Managed:
    """An instance as Systems Manager knows it."""

    region: str
    instance_id: str
    image_id: str
    role: str
    system: Mapping[str, Any]
    registered: datetime
    last_ping: datetime
    online: bool = True


@dataclass
class Command:
    """One command to one instance."""

    id: str
    region: str
    instance_id: str
    document: str
    version: Version
    parameters: dict[str, list[str]]
    comment: str
    requested: datetime
    delivery: float
    logs: dict[str, Any]
    details: str = "Pending"
    outcomes: list[StepOutcome] = field(default_factory=list)
    started: datetime | None = None
    ended: datetime | None = None
    cancelled: bool = False
    reads: int = 0

    @property
    def status(self) -> str:
        return STATUS.get(self.details, self.details)

    @property
    def execution_seconds(self) -> float:
        return sum(
            runner.seconds_of(s.get("inputs", {}).get("timeoutSeconds")) for s in self.version.steps
        )

    @property
    def expires(self) -> datetime:
        return self.requested + timedelta(seconds=self.delivery + self.execution_seconds)


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
        may: Callable[[str, str, str], bool],
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
        self._lock = threading.RLock()
        self._closed = False
        self._threads: set[threading.Thread] = set()
        self.managed: dict[str, Managed] = {}
        self.all: dict[str, Command] = {}
        ec2.state.instance_listeners.append(self._instance_moved)

    def handlers(self) -> dict[str, Handler]:
        return {
            "DescribeInstanceInformation": self._information,
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

    # Managed instances

    def _instance_moved(self, region: str, instance: Record, state: str) -> None:
        id_ = instance["InstanceId"]
        durations = self._ec2.durations
        if state == "running":
            self._later(
                durations.agent_online, lambda: self._register(region, id_), f"agent of {id_}"
            )
        elif state == "rebooting":
            self._lose(id_)
            self._later(
                durations.agent_online, lambda: self._register(region, id_), f"agent of {id_}"
            )
        elif state in ("stopping", "shutting-down"):
            self._later(durations.agent_lost, lambda: self._lose(id_), f"agent of {id_} is lost")
        elif state in ("stopped", "terminated"):
            self._lose(id_)
            if state == "terminated":
                self._machines.gone(id_)

    def _later(self, seconds: float, what: Callable[[], None], label: str) -> None:
        if seconds != NEVER:
            self._timers.after(seconds, what, label)

    def _register(self, region: str, id_: str) -> None:
        with self._ec2.state.lock:
            held = self._ec2.state.region(region)
            instance = held.instances.get(id_)
            if instance is None or instance["State"]["Name"] != "running":
                return
            profile = (instance.get("IamInstanceProfile") or {}).get("Arn", "")
            image_id = instance["ImageId"]
            system = held.hidden(id_).get("system") or {}
        role = self._role_of(profile)
        if self._agent.all_silent or id_ in self._agent.silent or not system.get("agent"):
            return
        if not role or not self._may(role, "ssm:UpdateInstanceInformation", "*"):
            return
        now = self._clock.now()
        with self._lock:
            known = self.managed.get(id_)
            if known:
                known.online, known.last_ping = True, now
            else:
                self.managed[id_] = Managed(region, id_, image_id, role, system, now, now)

    @staticmethod
    def _role_of(profile: str) -> str:
        from scripts.local import moto_seam

        return moto_seam.profile_role(profile) or "" if profile else ""

    def _lose(self, id_: str) -> None:
        with self._lock:
            if id_ in self.managed:
                self.managed[id_].online = False

    def _information(self, call: Call) -> dict[str, Any]:
        with self._lock:
            rows = [self._row(m) for m in self.managed.values() if m.region == call.region]
        for filter_ in call.get("Filters") or []:
            rows = [r for r in rows if _fits(r, filter_["Key"], filter_["Values"])]
        for filter_ in call.get("InstanceInformationFilterList") or []:
            rows = [r for r in rows if _fits(r, filter_["key"], filter_["valueSet"])]
        chosen, token = page(rows, call.parameters, 50)
        return {"InstanceInformationList": chosen, "NextToken": token}

    def _row(self, managed: Managed) -> dict[str, Any]:
        system = managed.system
        if managed.online:
            managed.last_ping = self._clock.now()
        return {
            "InstanceId": managed.instance_id,
            "PingStatus": "Online" if managed.online else "ConnectionLost",
            "LastPingDateTime": managed.last_ping,
            "AgentVersion": system.get("agent", LATEST_AGENT),
            "IsLatestVersion": system.get("agent") == LATEST_AGENT,
            "PlatformType": system.get("type", "Linux"),
            "PlatformName": system.get("name", "Amazon Linux"),
            "PlatformVersion": str(system.get("version", "2023")),
            "ResourceType": "EC2Instance",
            "IPAddress": "10.0.0.10",
            "ComputerName": f"{managed.instance_id}.local",
        }

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
            document=document.name,
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
        return {"Command": self._command(command)}

    def _check_instance(self, call: Call, id_: str, platforms: Sequence[str]) -> None:
        with self._ec2.state.lock:
            instance = self._ec2.state.region(call.region).instances.get(id_)
            running = instance is not None and instance["State"]["Name"] == "running"
        managed = self.managed.get(id_)
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
        managed = self.managed.get(command.instance_id)
        return running and managed is not None and managed.online

    def _run(self, command: Command) -> list[StepOutcome]:
        managed = self.managed[command.instance_id]
        machine = Machine(command.instance_id, managed.image_id, managed.system)
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

        return runner.run_document(document, command.parameters, intercepted, on_step=on_step)

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
        role = self.managed[command.instance_id].role
        resource = f"arn:aws:logs:{command.region}:{ACCOUNT}:log-group:{group}:log-stream:x"
        if not self._may(role, "logs:PutLogEvents", resource):
            return
        base = f"{command.id}/{command.instance_id}/{outcome.name}"
        for name, text in (("stdout", outcome.stdout), ("stderr", outcome.stderr)):
            if text:
                self._logs.put(group, f"{base}/{name}", text.splitlines())

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
        if command is None or command.instance_id != call.parameters["InstanceId"]:
            raise AwsError(
                "InvocationDoesNotExist", "An error occurred: the invocation does not exist."
            )
        if command.reads > 0:
            command.reads -= 1
            raise AwsError(
                "InvocationDoesNotExist", "An error occurred: the invocation does not exist."
            )
        plugin = call.get("PluginName")
        answer = {
            "CommandId": command.id,
            "InstanceId": command.instance_id,
            "Comment": command.comment,
            "DocumentName": command.document,
            "DocumentVersion": command.version.number,
            "PluginName": plugin or "",
            "ResponseCode": -1,
            "Status": command.status,
            "StatusDetails": command.details,
            "StandardOutputContent": "",
            "StandardErrorContent": "",
            "StandardOutputUrl": "",
            "StandardErrorUrl": "",
            "ExecutionStartDateTime": iso_millis(command.started) if command.started else "",
            "ExecutionEndDateTime": iso_millis(command.ended) if command.ended else "",
            "ExecutionElapsedTime": _elapsed(command),
            "CloudWatchOutputConfig": {
                "CloudWatchLogGroupName": command.logs.get("CloudWatchLogGroupName") or "",
                "CloudWatchOutputEnabled": bool(command.logs.get("CloudWatchOutputEnabled")),
            },
        }
        self._add_output(command, plugin, answer)
        return answer

    def _add_output(self, command: Command, plugin: str | None, answer: dict[str, Any]) -> None:
        """Output belongs to a step: without a name only a document of one step shows any."""
        names = [str(step["name"]) for step in command.version.steps]
        if plugin and plugin not in names:
            raise AwsError("InvalidPluginName", f"The plugin name {plugin} is not valid.")
        if plugin is None and len(names) > 1:
            if command.details in TERMINAL and command.outcomes:
                answer["ResponseCode"] = runner.aggregate(command.outcomes)[1]
            return
        wanted = plugin or names[0]
        outcome = next((o for o in command.outcomes if o.name == wanted), None)
        if outcome is None:
            if plugin:
                answer.update(Status="Pending", StatusDetails="Pending")
            return
        details = {
            "TimedOut": "ExecutionTimedOut",
            "Skipped": "Success",
            "SuccessAndReboot": "InProgress",
        }
        answer["ResponseCode"] = outcome.exit_code
        answer["StandardOutputContent"] = outcome.stdout[: runner.MAX_STDOUT]
        answer["StandardErrorContent"] = outcome.stderr[: runner.MAX_STDERR]
        if plugin:
            own = details.get(outcome.status, outcome.status)
            answer.update(StatusDetails=own, Status=STATUS.get(own, own))

    def _command(self, command: Command) -> dict[str, Any]:
        done = command.details in TERMINAL
        return {
            "CommandId": command.id,
            "DocumentName": command.document,
            "DocumentVersion": command.version.number,
            "Comment": command.comment,
            "ExpiresAfter": command.expires,
            "Parameters": command.parameters,
            "InstanceIds": [command.instance_id],
            "Targets": [],
            "RequestedDateTime": command.requested,
            "Status": command.status,
            "StatusDetails": command.details,
            "MaxConcurrency": "50",
            "MaxErrors": "0",
            "TargetCount": 1,
            "CompletedCount": int(done),
            "ErrorCount": int(done and command.details != "Success"),
            "DeliveryTimedOutCount": int(command.details == "DeliveryTimedOut"),
            "TimeoutSeconds": int(command.delivery),
        }

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
        return {"Commands": [self._command(c) for c in chosen], "NextToken": token}

    def _list_invocations(self, call: Call) -> dict[str, Any]:
        chosen, token = page(self._chosen(call), call.parameters, 50)
        rows = [self._invocation_row(c, details=bool(call.get("Details"))) for c in chosen]
        return {"CommandInvocations": rows, "NextToken": token}

    def _invocation_row(self, command: Command, *, details: bool) -> dict[str, Any]:
        plugins = [
            {
                "Name": o.name,
                "Status": STATUS.get(o.status, "Success" if o.status == "Skipped" else o.status),
                "ResponseCode": o.exit_code,
                "Output": (
                    o.stdout + ("\n----------ERROR-------\n" + o.stderr if o.stderr else "")
                )[:2500],
            }
            for o in command.outcomes
        ]
        return {
            "CommandId": command.id,
            "InstanceId": command.instance_id,
            "Comment": command.comment,
            "DocumentName": command.document,
            "DocumentVersion": command.version.number,
            "RequestedDateTime": command.requested,
            "Status": command.status,
            "StatusDetails": command.details,
            "CommandPlugins": plugins if details else [],
        }

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


def _elapsed(command: Command) -> str:
    if command.started is None:
        return ""
    return f"PT{((command.ended or command.started) - command.started).total_seconds():.3f}S"


def _fits(row: Mapping[str, Any], key: str, values: Sequence[str]) -> bool:
    columns = {
        "InstanceIds": "InstanceId",
        "PlatformTypes": "PlatformType",
        "AgentVersion": "AgentVersion",
    }
    return str(row.get(columns.get(key, key))) in values
