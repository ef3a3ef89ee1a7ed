"""Hosts that need no privileges: one that runs nothing, and one that runs scripts right here."""

import hashlib
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.local import powershell
from scripts.local.processes import run_group
from scripts.local.runner import Ran
from scripts.local.ssm_rules import POWERSHELL_SENTINEL, SENTINEL

_NOTHING: Mapping[str, str] = {}
_STEP_WITHIN = re.compile(
    r"^cat >\S+/step\S* <<'(?P<mark>[\w-]+)'\n(?P<step>.*?)\n(?P=mark)$", re.M | re.S
)
"""The script of a step that has secrets, in the one that gets them."""


class CheckedHost:
    """Checks a script's syntax and says that it was not run: what `--local` uses by default.

    The sentinel line is answered as if the script had reached it, because the product fails a
    step without it; the line before says what is true.
    """

    executes = False
    passes_parameters_by_environment = True

    def __init__(
        self,
        instance_id: str,
        invented: Mapping[str, str] = _NOTHING,
        *,
        platform: str = "Linux",
    ) -> None:
        """``invented``: by step, what stands in for output that the product reads."""
        self.instance_id = instance_id
        self.platform = platform
        self.powers_off = False
        self._invented = invented
        self._files: dict[str, bytes] = {}

    def write(self, path: str, content: bytes, mode: int) -> None:
        """Remember a file."""
        self._files[path] = content

    def is_directory(self, path: str) -> bool:
        """Whether a remembered file lies below the path."""
        return any(name.startswith(f"{path}/") for name in self._files)

    def execute(
        self, argv: Sequence[str], *, directory: str, environment: Mapping[str, str], timeout: float
    ) -> Ran:
        """Answer like a shell that only reads: `sh -n`, where there is one, or a grammar of
        PowerShell."""
        script, for_windows = self._files[argv[-1]].decode(), argv[-1].endswith(".ps1")
        if problem := powershell.syntax_error(script) if for_windows else _shell_error(script):
            return Ran(2, "", problem)
        lines = script.rstrip("\n").split("\n")
        step = argv[-1].rsplit("/", 2)[-2]
        who = "PowerShell never runs here" if for_windows else "bakery --local --sandbox runs them"
        said = f"not executed: {len(lines)} lines checked ({who})\n"
        said += "".join(f"identity\t{fact}\n" for fact in _made_up(step, self.instance_id))
        said += self._invented.get(step, "")
        if step == "sysprep-windows" and environment.get("SSM_Phase") == "shutdown":
            self.powers_off = True
            said += f"ami-bakery: {environment.get('SSM_Bake', '')} sysprep\n"
        if lines[-1] in (SENTINEL, POWERSHELL_SENTINEL):
            said += f"ami-bakery: {environment.get('SSM_Bake', '')} done\n"
        return Ran(0, said, "")

    def reboot(self) -> None:
        """Nothing runs, so nothing restarts."""


class HereHost:
    """Runs scripts as the present user on this machine, files below `root`. For trusted scripts."""

    executes = True
    platform = "Linux"
    powers_off = False

    def __init__(
        self, root: Path, *, instance_id: str = "i-00000000000000000", new_agent: bool = True
    ) -> None:
        self.root = root
        self.instance_id = instance_id
        self.passes_parameters_by_environment = new_agent
        self.reboots = 0

    def write(self, path: str, content: bytes, mode: int) -> None:
        """Write a file below the root."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(mode)

    def is_directory(self, path: str) -> bool:
        """Whether there is such a directory below the root."""
        return (self.root / path.lstrip("/")).is_dir()

    def execute(
        self, argv: Sequence[str], *, directory: str, environment: Mapping[str, str], timeout: float
    ) -> Ran:
        """Run a process; paths of the agent's own folder are below the root."""
        here = str(self.root)
        argv = [here + word if word.startswith("/var/lib/amazon/ssm/") else word for word in argv]
        if directory.startswith("/var/lib/amazon/ssm/"):
            directory = here + directory
        return run_group(argv, timeout=timeout, environment=environment, directory=directory)

    def reboot(self) -> None:
        """Count; a machine that runs tests is not rebooted."""
        self.reboots += 1


def _made_up(step: str, instance_id: str) -> list[str]:
    """What report-identity would find on a machine that booted: facts that are the instance's."""
    digest = hashlib.sha256(instance_id.encode()).hexdigest()
    if step == "report-identity-windows":
        numbers = "-".join(str(int(digest[i : i + 8], 16)) for i in (0, 8, 16))
        return [
            f"machine-sid\tS-1-5-21-{numbers}",
            f"machine-guid\t{digest[:8]}-{digest[8:12]}-4000-8000-{digest[20:32]}",
            f"computer-name\tEC2AMAZ-{digest[:7].upper()}",
            f"rdp-certificate\t{digest[:40].upper()}",
            f"ssm-registration\t{instance_id}",
        ]
    if step != "report-identity":
        return []
    return [
        f"machine-id\t{digest[:32]}",
        f"ssh-host-key-ed25519\tSHA256:{digest[32:]}",
        f"cloud-init-instance-id\t{instance_id}",
        f"ssm-registration\t{instance_id}",
        f"hostname\tip-{digest[:8]}",
    ]


def _shell_error(script: str) -> str:
    within = _STEP_WITHIN.search(script)
    return _syntax_error(script) or (_syntax_error(within["step"] + "\n") if within else "")


def _syntax_error(script: str) -> str:
    first = script.split("\n", 1)[0]
    shell = shutil.which("bash" if "bash" in first else "sh")
    if shell is None or (first.startswith("#!") and not first.rstrip().endswith("sh")):
        return ""
    checked = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True)
    return checked.stderr if checked.returncode else ""
