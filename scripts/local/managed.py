"""Managed instances: agents register over time when their role allows it, and are lost again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scripts.local import moto_seam
from scripts.local.agent import LATEST_AGENT, Agent, Managed
from scripts.local.ec2_state import NEVER
from scripts.local.iam import ACCOUNT
from scripts.local.records import Record, page

if TYPE_CHECKING:
    from scripts.local.calls import Call
    from scripts.local.clock import Clock, Timers
    from scripts.local.ec2 import Ec2
    from scripts.local.machines import Machines

May = Callable[[str, str, str], bool]


class ManagedInstances:
    """Follows EC2's instances. `known` is what Systems Manager knows of them."""

    def __init__(
        self,
        clock: Clock,
        timers: Timers,
        ec2: Ec2,
        agent: Agent,
        machines: Machines,
        may: May,
    ) -> None:
        self._clock = clock
        self._timers = timers
        self._ec2 = ec2
        self._agent = agent
        self._machines = machines
        self._may = may
        self._lock = threading.RLock()
        self.known: dict[str, Managed] = {}
        ec2.state.instance_listeners.append(self._instance_moved)

    def _instance_moved(self, region: str, instance: Record, state: str) -> None:
        id_ = instance["InstanceId"]
        durations = self._ec2.durations
        if state in ("running", "rebooting"):
            if state == "rebooting":
                self._lose(id_)
            windows = instance.get("Platform") == "windows"
            wait = durations.agent_online_windows if windows else durations.agent_online
            self._later(wait, lambda: self._register(region, id_), f"agent of {id_}")
        elif state in ("stopping", "shutting-down"):
            self._later(durations.agent_lost, lambda: self._lose(id_), f"agent of {id_} is lost")
        elif state in ("stopped", "terminated"):
            self._lose(id_)
            if state == "stopped":
                self._machines.stopped(id_)
            else:
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
        if not role or not self._may_register(role, region, id_):
            return
        now = self._clock.now()
        with self._lock:
            known = self.known.get(id_)
            if known:
                known.online, known.last_ping = True, now
            else:
                self.known[id_] = Managed(region, id_, image_id, role, system, now, now)

    def _may_register(self, role: str, region: str, id_: str) -> bool:
        """An agent tells of its instance, and opens the channel that commands come by."""
        instance = f"arn:aws:ec2:{region}:{ACCOUNT}:instance/{id_}"
        return self._may(role, "ssm:UpdateInstanceInformation", instance) and all(
            self._may(role, f"ssmmessages:{action}", "*")
            for action in ("CreateControlChannel", "OpenControlChannel")
        )

    @staticmethod
    def _role_of(profile: str) -> str:
        return moto_seam.profile_role(profile) or "" if profile else ""

    def _lose(self, id_: str) -> None:
        with self._lock:
            if id_ in self.known:
                self.known[id_].online = False

    def information(self, call: Call) -> dict[str, Any]:
        with self._lock:
            rows = [self._row(m) for m in self.known.values() if m.region == call.region]
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


def _fits(row: Mapping[str, Any], key: str, values: Sequence[str]) -> bool:
    columns = {
        "InstanceIds": "InstanceId",
        "PlatformTypes": "PlatformType",
        "AgentVersion": "AgentVersion",
    }
    return str(row.get(columns.get(key, key))) in values
