"""Root file systems for the sandbox: built once from the machine's own apt sources, then cached.

Ubuntu, Amazon Linux and Red Hat roots cannot be had everywhere. Debian with the right init system
and package managers stands in for them: what documents do with units, init scripts, packages and
files is the same, the names of packages in the repositories are not.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_EVERYWHERE: Final = (
    *("ca-certificates", "cloud-init", "cron", "curl", "dash", "e2fsprogs", "ifupdown"),
    *("iproute2", "isc-dhcp-client", "logrotate", "monit", "openssh-server", "procps"),
    *("python3", "rpm", "rsync", "rsyslog", "sudo", "unzip"),
)
_RECIPE: Final = "3"
"""Raise it when `_build` changes, so that cached roots are built anew."""


BOOTED: Final = "/run/ami-bakery-booted"
"""Says on roots without systemd that the boot is over; a new boot begins with an empty /run."""

_CLOUD_CONFIG: Final = """\
# A container has no metadata service; the seed folder plays its part.
datasource_list: [NoCloud, None]
network: {config: disabled}
locale: C.UTF-8
# The other types take long to make, and nothing here depends on the type.
ssh_genkeytypes: [ecdsa, ed25519]
"""


@dataclass(frozen=True)
class Family:
    """A kind of root: its packages, and how its init system is spoken to."""

    name: str
    packages: tuple[str, ...]
    systemd: bool


FAMILIES: Final[Mapping[str, Family]] = {
    "debian": Family("debian", (*_EVERYWHERE, "dbus", "init", "systemd", "systemd-sysv"), True),
    "sysvinit": Family("sysvinit", (*_EVERYWHERE, "sysvinit-core"), False),
}

_TOOLS: Final = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "nsenter": "util-linux",
    "mount": "mount",
}


class SandboxUnavailableError(Exception):
    """This machine cannot run documents for real; the text says what is missing and the remedy."""


def missing() -> list[str]:
    """What this machine lacks for a sandbox, each with its remedy; empty when it has all."""
    if not sys.platform.startswith("linux"):
        return ["a sandbox needs Linux; use a Linux machine or leave --sandbox out"]
    lacks = []
    if os.geteuid() != 0:
        lacks.append("root rights are needed to boot a root file system; run as root")
    absent = [package for tool, package in _TOOLS.items() if shutil.which(tool) is None]
    if absent:
        install = "apt-get install --no-install-recommends " + " ".join(sorted(set(absent)))
        lacks.append(f"tools are missing; on Debian and Ubuntu: {install}")
    if "overlay" not in Path("/proc/filesystems").read_text():
        lacks.append("the kernel has no overlay file system; load it: modprobe overlay")
    return lacks


def require() -> None:
    """Raise SandboxUnavailableError unless a sandbox can be booted."""
    if lacks := missing():
        raise SandboxUnavailableError("; ".join(lacks))


def cache_folder() -> Path:
    """Where roots are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ami-bakery" / "roots"


def root_of(family: str) -> Path:
    """The cached root of a family; building it takes about half a minute, once.

    A lock lets parallel callers build it once; the rename makes a half-built root invisible.
    """
    require()
    wanted = FAMILIES[family]
    suite = _suite()
    key = hashlib.sha256(
        " ".join((_RECIPE, suite, *wanted.packages, _CLOUD_CONFIG)).encode()
    ).hexdigest()
    root = cache_folder() / f"{family}-{suite}-{key[:12]}"
    root.parent.mkdir(parents=True, exist_ok=True)
    with (root.parent / f"{root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            _build(wanted, suite, root)
    return root


def _build(family: Family, suite: str, root: Path) -> None:
    half = root.with_name(f"{root.name}.building")
    shutil.rmtree(half, ignore_errors=True)
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={','.join(family.packages)}",
        suite,
        str(half),
    ]
    built = subprocess.run(command, capture_output=True, text=True)
    if built.returncode:
        shutil.rmtree(half, ignore_errors=True)
        raise SandboxUnavailableError(
            f"building the {family.name} root failed; are the machine's apt sources reachable? "
            f"mmdebstrap said: {built.stderr.strip()[-1000:]}"
        )
    (half / "etc/cloud/cloud.cfg.d/99-sandbox.cfg").write_text(_CLOUD_CONFIG)
    # Debian keeps a database per user, the distributions that rpm is at home on keep one.
    (half / "etc/rpm").mkdir(exist_ok=True)
    (half / "etc/rpm/macros").write_text("%_dbpath /var/lib/rpm\n")
    if not family.systemd:
        # init goes on to this line when the scripts of the runlevel are through.
        with (half / "etc/inittab").open("a") as inittab:
            inittab.write(f"up:2345:once:/bin/touch {BOOTED}\n")
    # Installing openssh-server made keys: an image of a cloud would not have them.
    for key in (half / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    half.rename(root)


def _suite() -> str:
    """The release that the machine's own apt sources serve."""
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise SandboxUnavailableError(
        "/etc/os-release names no VERSION_CODENAME: sandbox roots need a Debian or Ubuntu machine"
    )
