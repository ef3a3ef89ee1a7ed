"""A host that really runs documents: a root file system booted with systemd-nspawn.

Each boot gets an overlay over a cached root, so that nothing of it outlives the sandbox and any
number can run at once. The container is entered as the SSM agent runs on an instance: as root,
beside the services of a booted system, and a restart is a restart.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TextIO

from scripts.local import roots
from scripts.local.processes import PATH, run_group
from scripts.local.runner import Ran

_BOOT_SECONDS: Final = 180
_STOP_SECONDS: Final = 180
_REBOOTED: Final = 133


class Sandbox:
    """One booted root file system. Make it with `Sandbox.boot`."""

    executes = True
    platform = "Linux"
    powers_off = False

    def __init__(
        self,
        family: roots.Family,
        folder: Path,
        instance_id: str,
        *,
        network: bool,
        new_agent: bool,
        cloud_init: bool,
    ) -> None:
        self.family = family
        self.instance_id = instance_id
        self.passes_parameters_by_environment = new_agent
        self.folder = folder
        self.root = folder / "root"
        self._network = network
        self._cloud_init = cloud_init
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    @classmethod
    @contextlib.contextmanager
    def boot(
        cls,
        family: str = "debian",
        *,
        layers: Sequence[Path] = (),
        instance_id: str = "",
        network: bool = False,
        new_agent: bool = True,
        cloud_init: bool = True,
        start: bool = True,
    ) -> Iterator["Sandbox"]:
        """Mount a root with `layers` (oldest first) over it, boot it, and undo it all at the end.

        `network` shares the machine's network, for recipes that install packages; without it the
        host has only a loopback. Without `cloud_init` it boots in a quarter of the time, for tests
        that are about something else. `start=False` leaves the boot to `start`, after changes to
        `root`.
        """
        base = roots.root_of(family)
        folder, lock = _new_folder(roots.cache_folder().parent / "runs")
        host = cls(
            roots.FAMILIES[family],
            folder,
            instance_id or f"i-{uuid.uuid4().hex[:17]}",
            network=network,
            new_agent=new_agent,
            cloud_init=cloud_init,
        )
        try:
            host._mount([*reversed(layers), base])
            if start:
                host.start()
            yield host
        finally:
            host._clean_up()
            lock.close()

    # --- what the runner asks of a host ---------------------------------------------------------

    def write(self, path: str, content: bytes, mode: int) -> None:
        """Write through the container, so that its links and mounts count."""
        folder, script = (
            path.rpartition("/")[0] or "/",
            'mkdir -p "$1" && cat >"$2" && chmod "$3" "$2"',
        )
        argv = [*self._enter(), "sh", "-c", script, "sh", folder, path, f"{mode:o}"]
        subprocess.run(argv, input=content, check=True, env={"PATH": PATH})

    def is_directory(self, path: str) -> bool:
        """Whether the container has such a directory."""
        return self.sh(f'test -d "{path}"').exit_code == 0

    def execute(
        self, argv: Sequence[str], *, directory: str, environment: Mapping[str, str], timeout: float
    ) -> Ran:
        """Run a process group inside."""
        facts = {
            "AWS_SSM_INSTANCE_ID": self.instance_id,
            "AWS_SSM_REGION_NAME": "local",
            "AWS_SSM_PLATFORM_NAME": "Debian GNU/Linux",
        }
        return run_group(
            [*self._enter(directory), *argv], timeout=timeout, environment={**facts, **environment}
        )

    def reboot(self) -> None:
        """Restart the system inside; systemd-nspawn ends with 133 and wants to be run again."""
        if self._nspawn is None:
            raise roots.SandboxUnavailableError("a host that is stopped cannot restart")
        self.sh("systemctl reboot" if self.family.systemd else "reboot")
        code = self._nspawn.wait(_STOP_SECONDS)
        if code != _REBOOTED:
            raise roots.SandboxUnavailableError(f"no restart but exit {code}: {self.console()}")
        self._spawn()

    # --- for tests and the local AWS ------------------------------------------------------------

    def sh(self, script: str, *, timeout: float = 120) -> Ran:
        """Run a line of shell inside."""
        return run_group([*self._enter(), "sh", "-c", script], timeout=timeout, environment={})

    def start(self, *, wait: bool = True) -> None:
        """Boot; the instance id reaches cloud-init through its NoCloud seed.

        Without `wait` the system is still starting, as it is when the SSM agent comes up.
        """
        seed = self.root / "var/lib/cloud/seed/nocloud"
        seed.mkdir(parents=True, exist_ok=True)
        name = f"ip-10-{int(self.instance_id[-4:-2], 16)}-{int(self.instance_id[-2:], 16)}-7"
        meta = f"instance-id: {self.instance_id}\nlocal-hostname: {name}\n"
        (seed / "meta-data").write_text(meta)
        (seed / "user-data").write_text("#cloud-config\n{}\n")
        self._spawn(wait=wait)

    def stop(self) -> None:
        """Shut down, as EC2 does; `root` stays mounted and can be inspected."""
        if self._nspawn is None:
            return
        if self._nspawn.poll() is None:
            self.sh("systemctl poweroff" if self.family.systemd else "poweroff")
        try:
            self._nspawn.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
        self._nspawn = None

    def image(self, folder: Path) -> Path:
        """Keep what differs from the layers below, as a layer for other sandboxes."""
        subprocess.run(["cp", "-a", str(self.folder / "upper"), str(folder)], check=True)
        return folder

    def console(self) -> str:
        """What the boot wrote to the console."""
        return (self.folder / "console").read_text(errors="replace")

    # --- inside ---------------------------------------------------------------------------------

    def _mount(self, layers: Sequence[Path]) -> None:
        for name in ("upper", "work", "root"):
            (self.folder / name).mkdir()
        lower = ":".join(str(layer) for layer in layers)
        options = f"lowerdir={lower},upperdir={self.folder}/upper,workdir={self.folder}/work"
        argv = ["mount", "-t", "overlay", "ami-bakery", "-o", options, str(self.root)]
        mounted = subprocess.run(argv, capture_output=True, text=True)
        if mounted.returncode:
            raise roots.SandboxUnavailableError(f"mounting an overlay failed: {mounted.stderr}")

    def _spawn(self, *, wait: bool = True) -> None:
        argv = [
            "systemd-nspawn",
            "--quiet",
            "--register=no",
            "--keep-unit",
            f"--machine={self.instance_id}",
            f"--directory={self.root}",
            "--console=read-only",
            *([] if self._network else ["--private-network"]),
            *self._without_cloud_init(),
            "--boot",
            "--",
            # The port of the machine's own sshd is taken, or must not be.
            *(["systemd.mask=ssh.service"] if self._network else []),
            # Where the kernel's command line is not the container's own, its init's is asked.
            *([] if self._cloud_init else ["cloud-init=disabled"]),
        ]
        with (self.folder / "console").open("ab") as console:
            self._nspawn = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                # Else nspawn mounts a /tmp of its own over the one that the root configures.
                env={"PATH": PATH, "SYSTEMD_NSPAWN_TMPFS_TMP": "0"},
                start_new_session=True,
            )
        self._await_boot(done=wait)

    def _without_cloud_init(self) -> Iterator[str]:
        """Mount scripts that do nothing over those that start cloud-init without systemd."""
        if self._cloud_init or self.family.systemd:
            return
        for script in sorted((self.root / "etc/init.d").glob("cloud-*")):
            # The header stays: from it the order of all scripts is worked out.
            header = script.read_text().partition("### END INIT INFO")[0]
            nothing = self.folder / script.name
            nothing.write_text(f"{header}### END INIT INFO\n")
            nothing.chmod(0o755)
            yield f"--bind-ro={nothing}:/etc/init.d/{script.name}"

    def _enter(self, directory: str = "/") -> list[str]:
        # The container's own cgroup view exists only where its init made one.
        kinds = ["-m", "-u", "-i", "-n", "-p", *(["-C"] if self.family.systemd else [])]
        inside = f"/proc/{self._leader}/root"
        return [
            "nsenter",
            f"--target={self._leader}",
            *kinds,
            f"--root={inside}",
            f"--wd={inside}{directory}",
            "--",
        ]

    def _await_boot(self, *, done: bool) -> None:
        deadline = time.monotonic() + _BOOT_SECONDS
        while time.monotonic() < deadline:
            if self._nspawn is None or self._nspawn.poll() is not None:
                raise roots.SandboxUnavailableError(
                    f"the root file system did not boot: {self.console()[-1500:]}"
                )
            self._leader = _only_child(self._nspawn.pid)
            if self._leader and self._is_up(done):
                return
            time.sleep(0.05)
        raise roots.SandboxUnavailableError(
            f"no boot within {_BOOT_SECONDS} s: {self.console()[-1500:]}"
        )

    def _is_up(self, done: bool) -> bool:
        if not self.family.systemd:
            return self.sh(f"test -e {roots.BOOTED}").exit_code == 0
        state = self.sh("systemctl is-system-running").stdout.strip()
        return state in ("running", "degraded", *(() if done else ("starting",)))

    def _kill(self) -> None:
        if self._nspawn is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if leader := _only_child(self._nspawn.pid):
                os.kill(leader, signal.SIGKILL)
        try:
            self._nspawn.wait(10)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()

    def _clean_up(self) -> None:
        self._kill()
        _remove(self.folder)


def _new_folder(runs: Path) -> tuple[Path, TextIO]:
    """A folder for a host, with the lock that marks it as in use until this process ends.

    One process at a time: a folder whose lock is not taken yet would look left behind to another.
    """
    runs.mkdir(parents=True, exist_ok=True)
    with (runs / "lock").open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        _sweep(runs)
        folder = Path(tempfile.mkdtemp(prefix="host-", dir=runs))
        lock = (folder / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    return folder, lock


def _sweep(runs: Path) -> None:
    """Remove the hosts of processes that were killed before they could."""
    for lock_file in runs.glob("host-*/lock"):
        with contextlib.suppress(OSError), lock_file.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for pid in list(_nspawns(lock_file.parent)):
                if leader := _only_child(pid):
                    os.kill(leader, signal.SIGKILL)
                _await_end(pid)
            _remove(lock_file.parent)


def _await_end(pid: int) -> None:
    """Wait until a process that is not our child is gone, or a zombie; not for ever."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.05)


def _nspawns(folder: Path) -> Iterator[int]:
    """Processes that run the host of that folder, and no other."""
    wanted = f"--directory={folder}/root".encode()
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if wanted in command.read_bytes().split(b"\0"):
                yield int(command.parent.name)


def _remove(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder / "root")], capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)


def _only_child(pid: int) -> int:
    """The first child process; 0 while there is none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    return int(children[0]) if children else 0
