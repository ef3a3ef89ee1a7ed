"""Runs SSM Command documents (schema 2.2) the way the SSM agent does.

The rules are the agent's own (`agent/framework/runpluginutil`, `docparser`, `plugins/runscript` of
aws/amazon-ssm-agent), oddities included, because recipe authors come to rely on them:

- a failed step does not stop the next one unless its *inputs* say `onFailure: exit`, and a step
  that timed out is not a failed one: the next step runs whatever onFailure says;
- exit code 168 ends the document as a success, 169 as a failure, 194 (3010 on Windows) reboots the
  host and then runs the same step again, 137 is a time-out whoever sent it;
- a skipped step counts as a success, so a document of nothing but skipped steps succeeds;
- a script whose daemon keeps stdout open lasts until the time-out.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from scripts.local import download, interpolation, preconditions

SUCCESS, FAILED, TIMED_OUT, SKIPPED = "Success", "Failed", "TimedOut", "Skipped"
REBOOT: Final = "SuccessAndReboot"
EXIT_SUCCESS, EXIT_FAILURE, EXIT_KILLED = 168, 169, 137
EXIT_REBOOT: Final = {"Linux": 194, "Windows": 3010}

MAX_STDOUT: Final = 24_000
MAX_STDERR: Final = 8_000
TRUNCATED: Final = "--output truncated--"
MAX_REBOOTS: Final = 10
"""Not the agent's: it would reboot for ever. Nobody wants to watch that."""

_SHELLS: Final = {"aws:runShellScript": "_script.sh", "aws:runPowerShellScript": "_script.ps1"}
_NOT_HERE: Final = {
    "aws:configureDocker",
    "aws:configurePackage",
    "aws:domainJoin",
    "aws:refreshAssociation",
    "aws:runDocker",
    "aws:runDocument",
    "aws:softwareInventory",
    "aws:updateAgent",
    "aws:updateSsmAgent",
}
_WINDOWS_ONLY: Final = {"aws:applications", "aws:cloudWatch", "aws:psModule"}
_ELSEWHERE: Final = {"Linux": _WINDOWS_ONLY, "Windows": {"aws:runShellScript"}}
"""Plugins that the agent of a platform knows, but does not have."""


@dataclass(frozen=True)
class StepOutcome:
    """What a step came to, as GetCommandInvocation with its PluginName would tell it."""

    name: str
    status: str
    exit_code: int
    stdout: str = ""
    stderr: str = ""
    printed: tuple[str, str] = field(default=("", ""), compare=False, repr=False)
    """Standard output and error before the cut, which CloudWatch Logs gets."""


@dataclass(frozen=True)
class Ran:
    """A process that ended, or that was killed because its time was up."""

    exit_code: int
    stdout: str
    stderr: str
    timed_out: bool = False


class Host(Protocol):
    """Where steps run: a booted root file system, or nothing at all."""

    @property
    def instance_id(self) -> str: ...

    @property
    def platform(self) -> str:
        """Linux or Windows."""

    @property
    def powers_off(self) -> bool:
        """Whether a script has set the host to shut itself down in a while, as Sysprep does."""

    @property
    def executes(self) -> bool:
        """False: scripts are looked at, not run; downloads are not made."""

    @property
    def passes_parameters_by_environment(self) -> bool:
        """Whether its agent knows `interpolationType: ENV_VAR` (3.3.2746.0 and newer)."""

    def write(self, path: str, content: bytes, mode: int) -> None:
        """Create or replace a file, and the directories above it."""

    def is_directory(self, path: str) -> bool: ...

    def execute(
        self, argv: Sequence[str], *, directory: str, environment: Mapping[str, str], timeout: float
    ) -> Ran:
        """Run a process group to its end, or kill all of it when the time is up."""

    def reboot(self) -> None:
        """Return when the host is up again."""


@dataclass(frozen=True)
class _Run:
    """One command on one host."""

    host: Host
    values: Mapping[str, Any]
    environment: Mapping[str, str]
    fetch: download.Fetch
    command_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def folder(self) -> str:
        return (
            f"/var/lib/amazon/ssm/{self.host.instance_id}/document/orchestration/{self.command_id}"
        )

    @property
    def downloads(self) -> str:
        return f"{self.folder}/downloads"


def run_document(
    document: Mapping[str, Any],
    parameters: Mapping[str, Sequence[str]],
    host: Host,
    *,
    fetch: download.Fetch = download.fetch_http,
    on_step: Callable[[StepOutcome], None] = lambda _: None,
) -> list[StepOutcome]:
    """Run every step; the caller has asked `parameter_problems` before, as SendCommand does."""
    values = interpolation.values_of(document, parameters)
    by_environment = (
        interpolation.by_environment(document) if host.passes_parameters_by_environment else set()
    )
    pasted = {name: value for name, value in values.items() if name not in by_environment}
    exported = {f"SSM_{name}": str(values[name]) for name in sorted(by_environment)}
    run = _Run(host, pasted, exported, fetch)
    steps = [
        {**step, "inputs": interpolation.replace(step.get("inputs", {}), pasted)}
        for step in document["mainSteps"]
    ]
    outcomes: list[StepOutcome] = []
    for index, step in enumerate(steps):
        outcome = _run_step(run, step, _is_skipped(steps, index, outcomes))
        outcomes.append(outcome)
        on_step(outcome)
    return outcomes


def aggregate(outcomes: Sequence[StepOutcome]) -> tuple[str, int]:
    """The document's status by the agent's precedence, and the code of the step that decided it."""
    for status in (REBOOT, FAILED, TIMED_OUT):
        for outcome in outcomes:
            if outcome.status == status:
                return status, outcome.exit_code
    return SUCCESS, 0


def _is_skipped(
    steps: Sequence[Mapping[str, Any]], index: int, outcomes: Sequence[StepOutcome]
) -> bool:
    """Whether an earlier step ended the document; the last step may be a finallyStep."""
    last = index == len(steps) - 1
    if last and _flag(steps[index], "finallyStep") == "true":
        return False
    return any(
        outcome.exit_code in (EXIT_SUCCESS, EXIT_FAILURE)
        or (outcome.status == FAILED and _flag(step, "onFailure") == "exit")
        or (outcome.status == SUCCESS and _flag(step, "onSuccess") == "exit")
        for step, outcome in zip(steps, outcomes, strict=False)
    )


def _flag(step: Mapping[str, Any], name: str) -> str:
    """A flow modifier; the agent reads strings and booleans alike."""
    value = step["inputs"].get(name, "")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _run_step(run: _Run, step: Mapping[str, Any], skipped: bool) -> StepOutcome:
    name, action = str(step["name"]), str(step["action"])
    if skipped:
        message = f"Step {name} skipped: an earlier step ended the document"
        return StepOutcome(name, SKIPPED, 0, stdout=message)
    platform = run.host.platform
    verdict = preconditions.judge(step.get("precondition", {}), run.values, platform)
    known = action in _SHELLS or action in _NOT_HERE or action in _WINDOWS_ONLY
    known = known or action == "aws:downloadContent"
    if verdict.holds and not known:
        message = f"Plugin {action} is not supported by this version of the SSM agent"
        return StepOutcome(name, FAILED, 1, stderr=message)
    if action in _ELSEWHERE[platform] or not known:
        message = f"Step skipped: no plugin {action} on {platform}"
        return StepOutcome(name, SKIPPED, 0, stdout=message)
    if not verdict.holds:
        message = f"Step skipped due to unsatisfied preconditions: {verdict.reason}"
        return StepOutcome(name, SKIPPED, 0, stdout=message)
    if verdict.reason:
        return StepOutcome(name, FAILED, 1, stderr=f"Unrecognized precondition: {verdict.reason}")
    return _finish(step, _run_to_the_end(run, step))


def _run_to_the_end(run: _Run, step: Mapping[str, Any]) -> StepOutcome:
    """Run a step over as many reboots as it asks for; the output of all of them is kept."""
    stdout = stderr = ""
    for _ in range(MAX_REBOOTS + 1):
        outcome = _attempt(run, step)
        stdout, stderr = stdout + outcome.stdout, stderr + outcome.stderr
        outcome = replace(outcome, stdout=stdout, stderr=stderr)
        if outcome.status != REBOOT:
            return outcome
        run.host.reboot()
    message = f"\nThe step asked for more than {MAX_REBOOTS} reboots"
    return replace(outcome, status=FAILED, stderr=stderr + message)


def _attempt(run: _Run, step: Mapping[str, Any]) -> StepOutcome:
    name, action = str(step["name"]), str(step["action"])
    if action == "aws:downloadContent":
        return _download(run, name, step["inputs"])
    if action in _SHELLS:
        return _script(run, name, action, step["inputs"])
    if not run.host.executes:
        return StepOutcome(name, SUCCESS, 0, stdout=f"{action}: checked, not executed\n")
    message = f"{action} needs Systems Manager itself; the local runner does not run it"
    return StepOutcome(name, FAILED, 1, stderr=message)


def _script(run: _Run, name: str, action: str, inputs: Mapping[str, Any]) -> StepOutcome:
    lines = inputs.get("runCommand")
    if not (isinstance(lines, list) and all(isinstance(line, str) for line in lines)):
        return StepOutcome(name, FAILED, 1, stderr="Invalid format in plugin properties runCommand")
    path = f"{run.folder}/{name}/{_SHELLS[action]}"
    run.host.write(path, ("\n".join(lines) + "\n").encode(), 0o700)
    shell = ["sh", "-c", path] if action == "aws:runShellScript" else ["pwsh", "-f", path]
    ran = run.host.execute(
        shell,
        directory=_directory(run, str(inputs.get("workingDirectory") or "")),
        environment={**run.environment, "SSM_COMMAND_ID": run.command_id},
        timeout=seconds_of(inputs.get("timeoutSeconds")),
    )
    code = EXIT_KILLED if ran.timed_out else ran.exit_code
    reboot = EXIT_REBOOT[run.host.platform]
    status = {0: SUCCESS, reboot: REBOOT, EXIT_KILLED: TIMED_OUT}.get(code, FAILED)
    return StepOutcome(name, status, code, ran.stdout, ran.stderr)


def _directory(run: _Run, wanted: str) -> str:
    """An absolute path as it is; else below the command's downloads when that exists."""
    if wanted.startswith("/"):
        return wanted
    below = f"{run.downloads}/{wanted}".rstrip("/")
    return below if run.host.is_directory(below) else "/usr/bin"


def _download(run: _Run, name: str, inputs: Mapping[str, Any]) -> StepOutcome:
    target = str(inputs.get("destinationPath") or "")
    target = target if target.startswith("/") else f"{run.downloads}/{target}"
    if not run.host.executes:
        return StepOutcome(name, SUCCESS, 0, stdout=f"not executed: a download to {target}\n")
    try:
        content = download.Content.of(inputs, run.fetch)
    except download.DownloadError as error:
        return StepOutcome(name, FAILED, 1, stderr=str(error))
    if target.endswith("/") or run.host.is_directory(target):
        target = f"{target.rstrip('/')}/{content.name}"
    run.host.write(target, content.data, 0o700)
    return StepOutcome(name, SUCCESS, 0, stdout=f"Content downloaded to {target}\n")


def seconds_of(value: object) -> float:
    """The agent's reading of timeoutSeconds: out of range or unreadable means an hour."""
    try:
        seconds = int(float(str(value)))
    except ValueError:
        return 3600
    return seconds if 5 <= seconds <= 172800 else 3600


def _finish(step: Mapping[str, Any], outcome: StepOutcome) -> StepOutcome:
    """Apply the reserved exit codes and onFailure, and cut the output as AWS does."""
    note = ""
    if outcome.exit_code == EXIT_SUCCESS:
        note = "\nStep exited with code 168: marked as succeeded, further steps are skipped."
        outcome = replace(outcome, status=SUCCESS, stderr="")
    elif outcome.exit_code == EXIT_FAILURE:
        note = "\nStep exited with code 169: marked as failed, further steps are skipped."
    elif outcome.status == FAILED and _flag(step, "onFailure") in ("exit", "successAndExit"):
        note = "\nStep has an onFailure property: further steps are skipped."
        if _flag(step, "onFailure") == "successAndExit":
            outcome = replace(outcome, status=SUCCESS, exit_code=EXIT_SUCCESS)
    stderr = outcome.stderr + (note if outcome.status == FAILED else "")
    return replace(
        outcome,
        stdout=cut(outcome.stdout + note, MAX_STDOUT),
        stderr=cut(stderr, MAX_STDERR),
        printed=(outcome.stdout + note, stderr),
    )


def cut(text: str, limit: int) -> str:
    """The agent's truncation: the beginning survives, the end is replaced by a marker."""
    return text if len(text) < limit else text[: limit - len(TRUNCATED)] + TRUNCATED
