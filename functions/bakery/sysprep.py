"""Has Sysprep done its work? Pure.

Sysprep shuts the builder down, and with it the agent that would report: the command that starts it
may end as Success, or never. So the stop is the evidence, if the builder shut itself down *and* the
command had said its mark before, in its output or its log. What looks alike is told apart: a stop
that came before Sysprep, one by another hand, an end instead of a stop, and no stop at all.
"""

from datetime import datetime

from bakery.errors import BuilderLostError, GeneralizationFailedError
from bakery.resources import Instance, Invocation
from bakery.verdicts import Done, Failed, Verdict, command_cause, loss, stop_verdict
from bakery.waits import Wait

STEP = "sysprep-windows"
"""The document, and the name of its one step."""

_BY_ITSELF = "Client.InstanceInitiatedShutdown"
"""Source: EC2 API reference, StateReason."""
_UNREPORTED = {"DeliveryTimedOut", "Undeliverable"}
"""How a command ends whose agent was gone before it could tell. Source: Systems Manager user guide,
"Understanding command statuses"."""


def mark(bake: str) -> str:
    """The line that the command prints when it has started Sysprep."""
    return f"ami-bakery: {bake} sysprep"


def marked(wait: Wait, output: str) -> bool:
    """Whether the mark is in what the command has printed."""
    return wait.sentinel in output.splitlines()


def verdict(
    wait: Wait, builder: Instance | None, seen: Invocation | None, logged: str, now: datetime
) -> Verdict:
    """The builder has been stopped by Sysprep, or something else has come of it.

    ``seen``: the command that starts Sysprep; ``logged``: what the command log has of its output.
    """
    if builder is None or builder.state in ("shutting-down", "terminated"):
        return stop_verdict(wait, builder)
    began = marked(wait, seen.stdout if seen else "") or marked(wait, logged)
    if failed := _failed_command(wait, seen, began=began):
        return failed
    if builder.state == "stopped":
        return _stopped(wait, builder, began=began, now=now)
    if now >= wait.deadline:
        return Failed(
            GeneralizationFailedError.__name__,
            f"Sysprep did not stop builder {builder.id} in time; it is {builder.state}. Its logs "
            r"are in %windir%\System32\Sysprep\Panther: bake with on_failure: keep to look at "
            "them. Often an app of one user only, a pending update or a second profile is why.",
        )
    return None


def _failed_command(wait: Wait, seen: Invocation | None, *, began: bool) -> Failed | None:
    """The command ended without having started Sysprep."""
    if seen is None or seen.under_way or began or seen.status in _UNREPORTED:
        return None
    if seen.status != "Success":
        return Failed(GeneralizationFailedError.__name__, command_cause(wait, seen, wait.sysprep))
    return Failed(
        GeneralizationFailedError.__name__,
        f"{wait.label} reported Success without having started Sysprep: the line "
        f"'{wait.sentinel}' is missing from its output. Look at command {wait.sysprep} on "
        f"{wait.target}.",
    )


def _stopped(wait: Wait, builder: Instance, *, began: bool, now: datetime) -> Verdict:
    done = stop_verdict(wait, builder)
    if not isinstance(done, Done):
        return done
    if builder.reason_code != _BY_ITSELF:
        return Failed(
            loss(builder).__name__,
            f"Builder {builder.id} was stopped by another hand than Sysprep's: "
            f"{builder.reason or 'EC2 gives no reason'}. It is not imaged; start the bake again.",
        )
    if began:
        return done
    # The log is not there at once; but a stop without a mark, in the end, came before Sysprep.
    if now < wait.deadline:
        return None
    return Failed(
        BuilderLostError.__name__,
        f"Builder {builder.id} shut itself down before Sysprep began: the line '{wait.sentinel}' "
        f"is neither in the output of command {wait.sysprep} nor in its log. It is not imaged; "
        "look for a step that shuts it down.",
    )
