"""`bakery --local --sandbox`: every instance of the local AWS is a booted root file system."""

import contextlib
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from scripts.local import opsworks_past, roots
from scripts.local.opsworks_past import PASTS, Past
from scripts.local.sandbox import Sandbox

if TYPE_CHECKING:
    from scripts.local.machines import Machine

_ENV_VAR_AGENT: Final = (3, 3, 2746, 0)
"""The first agent that exports parameters instead of pasting them into scripts."""

_SYSV: Final = ("Amazon Linux AMI", "Ubuntu 14", "Ubuntu 12")
_RPM: Final = ("Amazon Linux", "CentOS", "Red Hat")


@dataclass(frozen=True)
class _Held:
    """A host that is there, and what is below its own disk."""

    host: Sandbox
    ending: contextlib.ExitStack
    layers: tuple[Path, ...]


class SandboxMachines:
    """Boots an instance's host when its first command arrives, and throws it away with it.

    What was on the disk of an instance that was stopped stays, for the hosts of its image.

    Debian stands in for every distribution (see roots.py); what /etc/os-release says is the
    image's own. `system: {opsworks: chef-11 | chef-12}` of an image gives its hosts that past.
    """

    def __init__(self, *, network: bool = True) -> None:
        roots.require()
        self._network = network
        self._hosts: dict[str, _Held] = {}
        self._stopped: set[str] = set()
        self._disks: dict[str, tuple[Path, ...]] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="ami-bakery-disks-")
        self._lock = threading.RLock()

    def host(self, machine: "Machine") -> Sandbox:
        """The instance's host."""
        id_ = machine.instance_id
        with self._lock:
            if id_ not in self._hosts:
                self._hosts[id_] = self._boot(machine)
            elif id_ in self._stopped:
                # Started again by somebody: what was kept of its disk is of no use any more.
                self._stopped.discard(id_)
                self._disks.pop(id_, None)
                self._hosts[id_].host.stop()
                self._hosts[id_].host.start()
            return self._hosts[id_].host

    def stopped(self, instance_id: str) -> None:
        """Its disk may become an image's."""
        with self._lock:
            self._stopped.add(instance_id)

    def gone(self, instance_id: str) -> None:
        """Throw the host away; one that never was is no error."""
        with self._lock:
            if instance_id in self._stopped:
                self._disk_of(instance_id)
            if held := self._hosts.pop(instance_id, None):
                held.ending.close()

    def close(self) -> None:
        """Throw every host away, and all disks."""
        self._stopped.clear()
        for instance_id in list(self._hosts):
            self.gone(instance_id)
        self._folder.cleanup()

    def _disk_of(self, instance_id: str) -> tuple[Path, ...]:
        """The layers of an instance that was imaged, oldest first; none if it never had a host."""
        if instance_id in self._hosts and instance_id not in self._stopped:
            # It runs, and goes on: its image has what is on the disk just now.
            held = self._hosts[instance_id]
            copied = Path(tempfile.mkdtemp(dir=self._folder.name)) / instance_id
            return (*held.layers, held.host.image(copied))
        if instance_id not in self._disks and instance_id in self._hosts:
            held = self._hosts[instance_id]
            held.host.stop()
            own = held.host.image(Path(self._folder.name) / instance_id)
            self._disks[instance_id] = (*held.layers, own)
        return self._disks.get(instance_id, ())

    def __enter__(self) -> "SandboxMachines":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _boot(self, machine: "Machine") -> _Held:
        layers = self._disk_of(machine.made_from)
        # What was baked is on the disk: a past that it had is over.
        past = None if layers else past_of(machine.system)
        with contextlib.ExitStack() as stack:
            host = stack.enter_context(
                Sandbox.boot(
                    family_of(machine.system),
                    layers=layers,
                    instance_id=machine.instance_id,
                    network=self._network,
                    new_agent=knows_env_var(machine.system),
                    start=False,
                )
            )
            if not layers:
                _name_system(host, machine.system)
            if past:
                opsworks_past.apply(past, host.root)
            host.start()
            return _Held(host, stack.pop_all(), layers)


def family_of(system: Mapping[str, Any]) -> str:
    """The root that comes closest to what the image's agent reports."""
    return "sysvinit" if _title(system).startswith(_SYSV) else "debian"


def past_of(system: Mapping[str, Any]) -> Past | None:
    """The OpsWorks past that the image is said to have."""
    chef = {"chef-11": 11, "chef-12": 12}.get(str(system.get("opsworks", "")))
    if chef is None:
        return None
    packages = "rpm" if _title(system).startswith(_RPM) else "deb"
    wanted = (family_of(system), packages, chef)
    fitting = (it for it in PASTS.values() if (it.family, it.packages, it.chef) == wanted)
    return next(fitting, None)


def knows_env_var(system: Mapping[str, Any]) -> bool:
    """Whether the image's agent exports parameters; one without a version is the newest."""
    version = str(system.get("agent", "4.0.0.0"))
    return tuple(int(part) for part in version.split(".")) >= _ENV_VAR_AGENT


def _title(system: Mapping[str, Any]) -> str:
    return f"{system.get('name', '')} {system.get('version', '')}".strip()


def _name_system(host: Sandbox, system: Mapping[str, Any]) -> None:
    """Scripts that ask which distribution they are on get the image's answer."""
    name, version = str(system.get("name", "Debian")), str(system.get("version", ""))
    ids = {"Amazon Linux": "amzn", "Amazon Linux AMI": "amzn", "Red Hat": "rhel"}
    identity = ids.get(name, name.lower())
    text = (
        f'NAME="{name}"\nID="{identity}"\nVERSION_ID="{version}"\nPRETTY_NAME="{_title(system)}"\n'
    )
    opsworks_past.place(host.root, "etc/os-release", text)
    if name == "Amazon Linux AMI":
        opsworks_past.place(host.root, "etc/yum.conf", "[main]\nreleasever=latest\n")
