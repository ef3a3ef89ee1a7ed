"""A wait: a task of the state machine that sleeps until something happens in AWS.

A task stores its wait, acts, and ends; Step Functions keeps the task open until somebody sends its
token back. ``jobs.resume_waits`` does that when an event arrives, and looks at every open wait
once a minute in case an event was lost.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

EVERY = "*"
"""At the end of a subject: all that begin so. No name of an execution can contain it."""


class Kind(StrEnum):
    """What a wait looks at."""

    COMMAND = "command"
    STOP = "stop"
    IMAGE = "image"
    TURN = "turn"


class Wait(BaseModel):
    """One open wait; ``subject`` is its key: two waits never look at the same thing.

    Bakes go on with the code that they began with, ``resume_waits`` is always today's: a field that
    is added needs a default, one that is taken away is ignored where the release before stores it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Kind
    target: str
    """Command id, instance id, image id; TURN: see ``turn``."""
    token: str
    bake: str
    begun: datetime
    deadline: datetime
    instance_id: str = ""
    """COMMAND, and STOP by Sysprep: where it runs."""
    label: str = ""
    """How the failure names it, e.g. ``step 'packages'``."""
    error: str = ""
    """COMMAND: name of the error that its failure is."""
    sentinel: str = ""
    """COMMAND: a line without which Success is not believed; empty when none is due. STOP by
    Sysprep: the line that says that it has begun."""
    recipe: str = ""
    """For what is told about the wait; empty where the release before stored it."""
    expected: datetime | None = None
    """When it is over as a rule; later, people are told once that it is slow."""
    verified: datetime | None = None
    """STOP: when the builder was verified; it must not have been started since."""
    redriven: bool = False
    """STOP: whether this is a retry of a bake that had failed."""
    region: str = ""
    """IMAGE: where it is, if not in the Region of the stack."""
    optional: bool = False
    """IMAGE: whether the bake goes on without it."""
    on_test: bool = False
    """COMMAND: whether it runs on a test instance, not on the builder."""
    sysprep: str = ""
    """STOP: id of the command that starts Sysprep, which is to stop the builder; empty: we do."""
    log_group: str = ""
    """STOP by Sysprep: where the output of commands goes."""
    execution: str = ""
    """TURN: ARN of the bake that has the recipe."""

    @property
    def subject(self) -> str:
        return subject(self.kind, self.target)


def read(stored: str) -> Wait | None:
    """The wait as the table has it; None for one of a release that says other things."""
    try:
        return Wait.model_validate_json(stored)
    except ValueError:
        return None


def subject(kind: Kind, target: str) -> str:
    """The key of the wait of this kind for this target."""
    return f"{kind}/{target}"


def turn(holder: str, bake: str) -> str:
    """The target of a bake's wait for the end of another, both by name: many wait for one."""
    return f"{holder}/{bake}"


def subject_of_event(event: Mapping[str, Any]) -> str | None:
    """The subject that an EventBridge event is about, or None when no wait looks at such events.

    One that ends in EVERY is the beginning of those that it is about. Shapes: aws-facts D6. Keys of
    SSM's events are kebab-case, those of AMI events PascalCase.
    """
    detail = event.get("detail", {})
    match event.get("detail-type"):
        case "EC2 Command Invocation Status-change Notification":
            return subject(Kind.COMMAND, detail["command-id"])
        case "EC2 Instance State-change Notification":
            return subject(Kind.STOP, detail["instance-id"])
        case "EC2 AMI State Change":
            return subject(Kind.IMAGE, detail["ImageId"])
        case "Step Functions Execution Status Change":
            return subject(Kind.TURN, turn(detail["name"], EVERY))
        case _:
            return None
