"""Is it finished? Pure decisions about open waits, given what AWS says now.

``None`` means: keep waiting.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bakery.bake import MAX_SAID_BYTES, Copied
from bakery.errors import (
    BakeryError,
    BuilderLostError,
    BuilderTakenError,
    CopyFailedError,
    ImageFailedError,
    RecipeBusyError,
    StageTimedOutError,
    TestInstanceLostError,
)
from bakery.orphans import Execution
from bakery.problems import shortened
from bakery.resources import Image, Instance, Invocation
from bakery.waits import Kind, Wait

_IMAGE_FAILED = {"failed", "error", "invalid", "deregistered", "disabled"}
_GONE = {"shutting-down", "terminated"}
_STOPPED_BY_SPOT = "Server.SpotInstanceShutdown"
_STDERR_LINES = 20
_WIDEST_FAILURE = 200
"""Of a copy that the bake goes on without: state carries one for each Region."""
_SHOWN_WITHIN = timedelta(minutes=10)
"""EC2 asks to allow a few minutes until everybody sees what was just created."""


@dataclass(frozen=True)
class Done:
    """The wait is over and its task goes on with ``output``.

    The machine of an earlier release may read it: keys are added, never taken away.
    """

    output: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """The wait is over and its task fails."""

    error: str
    cause: str


Verdict = Done | Failed | None


def overdue(wait: Wait, now: datetime) -> Failed | None:
    """A failure when the wait's time budget is used up."""
    if now < wait.deadline:
        return None
    if wait.kind is Kind.TURN:
        hours = round((now - wait.begun) / timedelta(hours=1))
        waited = f"This bake has waited {hours} hours for its turn. "
        busy = RecipeBusyError(wait.recipe, wait.execution, waited=waited)
        return Failed(RecipeBusyError.__name__, str(busy))
    return Failed(
        StageTimedOutError.__name__,
        f"{wait.label} did not end within its time budget ({wait.kind} {wait.target}).",
    )


def loss(builder: Instance | None) -> type[BakeryError]:
    """Which error a builder is that ended without us: AWS itself took it, or another hand did.

    Source: EC2 API reference, StateReason.
    """
    by_aws = builder is not None and builder.reason_code.startswith("Server.")
    return BuilderTakenError if by_aws else BuilderLostError


def ended_during(
    what: str, instance: Instance | None, *, on_test: bool = False
) -> BakeryError | None:
    """The failure of what needs a running builder, or test instance, when that one stops, or has
    ended."""
    if instance is None or instance.state not in _GONE | {"stopping", "stopped"}:
        return None
    error = TestInstanceLostError if on_test else loss(instance)
    return error(
        f"{'Test instance' if on_test else 'Builder'} {instance.id} is {instance.state} during "
        f"{what}: {instance.reason or 'EC2 gives no reason'}. Start the bake again."
    )


def started_again(
    builder: Instance | None, *, verified: datetime | None, redriven: bool
) -> BakeryError | None:
    """The failure of a builder that was started after it was verified: that boot has made it an
    identity of its own, which every instance of the image would share.

    EC2 starts a spot builder again after an interruption. Somebody may start one that is kept, and
    that is no reason to throw it away and bake anew.
    """
    if not (builder and builder.launched and verified and builder.launched > verified):
        return None
    error = BuilderTakenError if builder.spot and not redriven else BuilderLostError
    return error(
        f"Builder {builder.id} was started again after it was verified, and has made an identity "
        "for itself; it is not imaged. Start a new bake."
    )


def known_to_release(wait: Wait, verdict: Verdict) -> Verdict:
    """The verdict in words that the release knows that stored the wait: the one before this has no
    soft limits, and no error for a builder that AWS took."""
    if wait.expected is None and isinstance(verdict, Failed):
        renamed = {BuilderTakenError.__name__: BuilderLostError.__name__}
        return Failed(renamed.get(verdict.error, verdict.error), verdict.cause)
    return verdict


def tolerated(wait: Wait, verdict: Verdict) -> Verdict:
    """A failure that the bake goes on without: of a copy, if the recipe publishes to any Region."""
    if isinstance(verdict, Failed) and wait.optional:
        return copied(wait.region, None, failed=verdict.cause)
    return verdict


def copied(region: str, image_id: str | None, *, failed: str | None = None) -> Done:
    """What CopyImage comes to for a Region."""
    shown = shortened(failed, _WIDEST_FAILURE) if failed else None
    return Done(Copied(region=region, image_id=image_id, failed=shown).model_dump())


def command_verdict(wait: Wait, seen: Invocation | None, builder: Instance | None) -> Verdict:
    """A command ends with its own status, or with the builder under it."""
    if seen is None or seen.under_way:
        return _lost_builder(wait, builder)
    if seen.status != "Success":
        # A builder that AWS takes back kills what runs on it, and the agent may still report that.
        lost = _lost_builder(wait, builder)
        if lost and lost.error == BuilderTakenError.__name__:
            return lost
        return Failed(wait.error, command_cause(wait, seen, wait.target))
    if wait.sentinel and wait.sentinel not in seen.stdout.splitlines():
        return Failed(
            wait.error,
            f"{wait.label} reported Success without having run to its end: the line "
            f"'{wait.sentinel}' is missing from its output. Systems Manager reports Success for "
            f"steps that it skips; look at command {wait.target} on {wait.instance_id}.",
        )
    return Done({"command_id": wait.target})


def _lost_builder(wait: Wait, builder: Instance | None) -> Failed | None:
    if lost := ended_during(wait.label, builder, on_test=wait.on_test):
        return Failed(type(lost).__name__, str(lost))
    if builder is None:
        return None
    if builder.spot and builder.launched and builder.launched > wait.begun:
        # Seen too late to see it stopped: EC2 starts it again as soon as it has room.
        return Failed(
            BuilderTakenError.__name__,
            f"EC2 interrupted spot builder {builder.id} during {wait.label}, and has started it "
            "again since. Start the bake again.",
        )
    return None


def command_cause(wait: Wait, seen: Invocation, command_id: str) -> str:
    """How a command ended, with its last words: marked, for a script could say what we say."""
    errors = seen.stderr.strip().splitlines()[-_STDERR_LINES:]
    kept = _end_of("\n".join(errors)).split("\n")
    said = "\n".join(f"| {line}" for line in kept) if errors else "(nothing on stderr)"
    return (
        f"{wait.label} ended as {seen.status} with exit code {seen.exit_code} on "
        f"{wait.instance_id} (command {command_id}). Its last lines on stderr:\n{said}"
    )


def _end_of(text: str) -> str:
    """The end of a text, so long as a state may carry it: a line can have any length."""
    content = text.encode()
    if len(content) <= MAX_SAID_BYTES:
        return text
    return "[...]" + content[-MAX_SAID_BYTES:].decode(errors="ignore")


def stop_verdict(wait: Wait, builder: Instance | None) -> Verdict:
    """The builder is stopped by us, or something else ended it."""
    if builder is None or builder.state in _GONE:
        state = builder.state if builder else "gone"
        reason = builder.reason if builder and builder.reason else "EC2 gives no reason"
        return Failed(
            loss(builder).__name__,
            f"Builder {wait.target} is {state} instead of stopped: {reason}. Start the bake again.",
        )
    if again := started_again(builder, verified=wait.verified, redriven=wait.redriven):
        return Failed(type(again).__name__, str(again))
    if builder.state != "stopped":
        return None
    # A spot interruption shuts the guest down like StopInstances does, and this wait begins after
    # verification: nothing was left to do but the stop.
    if builder.reason_code != _STOPPED_BY_SPOT and loss(builder) is BuilderTakenError:
        # A retired or failed host: its disk may not be in order.
        return Failed(
            BuilderTakenError.__name__,
            f"EC2 itself stopped builder {builder.id}: {builder.reason_code}: {builder.reason}. "
            "Its disk is not imaged; start the bake again.",
        )
    return Done({"instance_id": builder.id})


def image_verdict(wait: Wait, image: Image | None, now: datetime) -> Verdict:
    """The image is available, or will never be."""
    if image is None:
        return _missing_image(wait, now)
    if image.state == "available":
        return copied(wait.region, image.id)
    if image.state in _IMAGE_FAILED:
        return Failed(
            _image_error(wait),
            f"Image {image.id} ({image.name}){_there(wait)} is {image.state}: "
            f"{image.state_reason or 'EC2 gives no reason'}. Start the bake again; if it repeats, "
            "look at the snapshot quota and the volume's KMS key.",
        )
    return None


def _missing_image(wait: Wait, now: datetime) -> Failed | None:
    """One that EC2 does not show yet, or, after a while, one that somebody deregistered."""
    if now - wait.begun < _SHOWN_WITHIN:
        return None
    return Failed(
        _image_error(wait),
        f"Image {wait.target}{_there(wait)} is not there (any more): somebody deregistered it "
        "while it was made. Start the bake again.",
    )


def _image_error(wait: Wait) -> str:
    return (CopyFailedError if wait.region else ImageFailedError).__name__


def _there(wait: Wait) -> str:
    return f" in {wait.region}" if wait.region else ""


def turn_verdict(wait: Wait, holder: Execution | None) -> Verdict:
    """The bake that has the recipe is over, however it ended, or AWS knows it no more."""
    if holder is not None and holder.ended is None:
        return None
    return Done({"holder": wait.execution, "since": wait.begun.isoformat()})
