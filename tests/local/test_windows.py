"""Windows instances of the local AWS: slower to report, and their scripts never run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.local import NEVER
from scripts.local.hosts import CheckedHost, HereHost
from scripts.local.machines import Machine, WindowsCheckedOnly

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.local.runner import Host
    from tests.local.bench import Bench

WINDOWS_2022 = "ami-0c202200000000064"
WINDOWS = {"type": "Windows", "name": "Microsoft Windows Server 2022 Datacenter"}


def test_a_windows_instance_has_its_own_time_to_report(bench: Bench) -> None:
    durations, profile = bench.aws.ec2.durations, {"Arn": bench.outputs["Profile"]}
    assert durations.agent_online_windows > durations.agent_online
    durations.agent_online_windows = NEVER
    slow = bench.launch(WINDOWS_2022, "t3.large", IamInstanceProfile=profile)
    bench.in_state(slow, "running")
    linux = bench.managed()
    assert bench.ping(slow) is None
    durations.agent_online_windows, durations.agent_online = durations.agent_online, NEVER
    assert bench.ping(bench.managed(image=WINDOWS_2022)) == "Online"
    assert bench.ping(linux) == "Online"


class _Real:
    """In place of a sandbox."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.left: list[str] = []

    def host(self, machine: Machine) -> Host:
        return HereHost(self._folder, instance_id=machine.instance_id)

    def stopped(self, instance_id: str) -> None:
        self.left.append(f"stopped {instance_id}")

    def gone(self, instance_id: str) -> None:
        self.left.append(f"gone {instance_id}")


def test_a_windows_host_is_checked_even_where_others_run(tmp_path: Path) -> None:
    real = _Real(tmp_path)
    machines = WindowsCheckedOnly(real)
    windows = machines.host(Machine("i-1", "ami-1", WINDOWS))
    linux = machines.host(Machine("i-2", "ami-2", {"name": "Ubuntu"}))
    assert isinstance(windows, CheckedHost)
    assert (windows.executes, windows.platform) == (False, "Windows")
    assert (linux.executes, linux.platform) == (True, "Linux")
    assert machines.host(Machine("i-1", "ami-1", WINDOWS)) is windows
    machines.stopped("i-2")
    machines.gone("i-2")
    assert real.left == ["stopped i-2", "gone i-2"]
    machines.gone("i-1")
    assert machines.host(Machine("i-1", "ami-1", WINDOWS)) is not windows
