"""Which host runs the commands of an instance: by default one that checks scripts without
running them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from scripts.local.hosts import CheckedHost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from scripts.local.runner import Host, Ran


@dataclass(frozen=True)
class Machine:
    """What is known of an instance when its host is asked for."""

    instance_id: str
    image_id: str
    system: Mapping[str, Any]
    made_from: str = ""
    """The instance that its image was made from, if that was one of this account."""


class Machines(Protocol):
    """`LocalAws.start(machines=...)`: gives each instance its host, and takes leave of it."""

    def host(self, machine: Machine) -> Host: ...

    def stopped(self, instance_id: str) -> None:
        """The instance was stopped: an image may be made of it."""

    def gone(self, instance_id: str) -> None:
        """The instance was terminated."""


class CheckOnly:
    """Scripts are checked, not run."""

    def __init__(self) -> None:
        self._hosts: dict[str, CheckedHost] = {}

    def host(self, machine: Machine) -> Host:
        id_ = machine.instance_id
        if id_ not in self._hosts:
            packages = invented_packages(machine.system)
            invented = {
                "report-packages": packages,
                "report-packages-windows": packages,
                "inspect-host": invented_host(machine.system),
            }
            platform = str(machine.system.get("type", "Linux"))
            self._hosts[id_] = CheckedHost(id_, invented, platform=platform)
        return self._hosts[id_]

    def stopped(self, instance_id: str) -> None:
        pass

    def gone(self, instance_id: str) -> None:
        self._hosts.pop(instance_id, None)


class WindowsCheckedOnly:
    """Hosts of Windows instances check scripts, for nothing here runs them; others are real."""

    def __init__(self, others: Machines) -> None:
        self._others = others
        self._windows = CheckOnly()

    def host(self, machine: Machine) -> Host:
        is_windows = machine.system.get("type") == "Windows"
        return (self._windows if is_windows else self._others).host(machine)

    def stopped(self, instance_id: str) -> None:
        self._others.stopped(instance_id)

    def gone(self, instance_id: str) -> None:
        self._windows.gone(instance_id)
        self._others.gone(instance_id)


def invented_packages(system: Mapping[str, Any]) -> str:
    """In place of the list of packages of a host that is none: the same for the same system.

    Everything of it that a person gets to see says what it is.
    """
    name, version = str(system.get("name", "Linux")), str(system.get("version", "0"))
    kind = "deb" if name in ("Ubuntu", "Debian GNU/Linux") else "rpm"
    kind = "program" if system.get("type") == "Windows" else kind
    packages = {f"{name.lower().replace(' ', '-')}-release": version}
    if agent := system.get("agent"):
        packages["amazon-ssm-agent"] = str(agent)
    lines = [f"os-version\t{version}"]
    lines.append(f"os-name\t{name} {version}, invented: the local AWS executes no scripts")
    lines += [
        f"package\t{kind}\t{package}\t{number}-invented\tnoarch\t{package}\tlocal AWS"
        for package, number in sorted(packages.items())
    ]
    return "\n".join([*lines, f"packages\t{len(packages)}", ""])


_PAST: Final = """\
opsworks\t/etc/aws/opsworks
chef\t{chef}
agent\truns
agent-version\t4045
stack\tInvented
layer\tweb\tInvented layer
cookbooks\ts3\thttps://s3.amazonaws.com/invented/cookbooks.tar.gz\t
run-list\tsetup\tinvented::setup
run-list\tdeploy\tinvented::deploy
application\tinvented\tother\tgit\thttps://git.example.com/invented.git\tmain\t/srv/www/invented\tyes
remove\t-\tpackage\topsworks-agent-ruby
remove\tchef\tpackage\tchef
remove\tusers\tuser\taws
remove\t-\tfolder\t/etc/aws/opsworks
remove\t-\tfolder\t/opt/aws/opsworks
remove\tapp-secrets\tfile\t/srv/www/invented/shared/config/database.yml
remove\thosts\tlines\t/etc/hosts\tmembers of the stack
user\taws\t1998\t/home/aws\topsworks\t0
secret\t/srv/www/invented/.env
"""


def invented_host(system: Mapping[str, Any]) -> str:
    """In place of the report of a host that is none; with the past that the image is said to have.

    Everything of it that a person gets to see says what it is.
    """
    name, version = str(system.get("name", "Linux")), str(system.get("version", "0"))
    chef = str(system.get("opsworks", ""))
    said = f"os-name\t{name} {version}, invented: the local AWS executes no scripts\n"
    said += "init\tsystemd\nhostname\tinvented\nmount\t/dev/xvda1\t/\text4\t16777216\t8388608\n"
    said += "user\tec2-user\t1000\t/home/ec2-user\tother\t1\nservice\tinvented\tenabled,runs\n"
    return said + (_PAST.format(chef=chef) if chef else "chef\tnone\n")


class Intercepted:
    """A host whose scripts and reboots pass through the local AWS first."""

    def __init__(
        self,
        host: Host,
        intercept: Callable[[str], Ran | None],
        reboot: Callable[[], None],
        busy: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._host = host
        self._intercept = intercept
        self._reboot = reboot
        self._busy = busy

    @property
    def instance_id(self) -> str:
        return self._host.instance_id

    @property
    def platform(self) -> str:
        return self._host.platform

    @property
    def powers_off(self) -> bool:
        return self._host.powers_off

    @property
    def executes(self) -> bool:
        return self._host.executes

    @property
    def passes_parameters_by_environment(self) -> bool:
        return self._host.passes_parameters_by_environment

    def write(self, path: str, content: bytes, mode: int) -> None:
        self._host.write(path, content, mode)

    def is_directory(self, path: str) -> bool:
        return self._host.is_directory(path)

    def execute(
        self, argv: Sequence[str], *, directory: str, environment: Mapping[str, str], timeout: float
    ) -> Ran:
        step = argv[-1].rstrip("/").split("/")[-2]
        scripted = self._intercept(step)
        if scripted is not None:
            return scripted
        with self._busy():
            return self._host.execute(
                argv, directory=directory, environment=environment, timeout=timeout
            )

    def reboot(self) -> None:
        with self._busy():
            self._host.reboot()
        self._reboot()
