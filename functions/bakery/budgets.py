"""How long each part of a bake may take, and that the whole may take longer than all of them.

Each wait has two limits: a hard one, which ends it, and before that a soft one, at which people are
told that it takes longer than it usually does.

Step Functions ends an execution at its time-out without any Catch: no clean up, a builder left. So
that time-out must never be what ends a bake: each part ends by its own budget before.
"""

from collections.abc import Iterable
from datetime import timedelta

SHORT = timedelta(minutes=5)
"""A task that only calls AWS."""
TURN = timedelta(hours=12, minutes=15)
"""All waits for the recipe to be free."""
AGENT = timedelta(minutes=10)
"""From the launch until the agent reports: as a rule one to two minutes. Source: aws-facts E12."""
AGENT_WINDOWS = timedelta(minutes=40)
"""The same of a Windows instance: its first boot takes 15 minutes and more, with the restarts of
Sysprep, and longer on small types. Source: EC2 user guide, "Configure your Amazon EC2 Windows AMI
for Fast Launch"."""
COMMAND = timedelta(hours=1)
"""A document of ours, with its delivery."""
STEP = timedelta(hours=13)
"""One step of a recipe, with its delivery."""
STOP = timedelta(minutes=75)
"""Sysprep may take an hour of it; a stop by us ends by its own budget long before."""
IMAGE = timedelta(hours=25)
"""Making the image, or a copy of it."""

ATTEMPTS = 2
"""Builders that a bake may have: when AWS takes the first one, another begins anew."""

STEPS = timedelta(days=5)
"""All steps of a recipe together: a hundred with the default time-out."""
TESTS = timedelta(hours=12)
"""All tests of a recipe together, on one test instance."""
WHOLE_BAKE = timedelta(days=30)

MAX_STEP_SECONDS = 12 * 3600
"""The longest time-out that a recipe may give a step."""
DOCUMENT_SECONDS = 2400
"""For each of our own documents as a whole; the steps inside have shorter limits of their own."""
DELIVERY_SECONDS = 600
"""How long Systems Manager tries to hand a command to the agent (its default is an hour)."""
COMMAND_SLACK = timedelta(minutes=2)
"""For the command's status to come to us."""
SYSPREP = timedelta(hours=1)
"""For Sysprep to stop the builder: as a rule ten to twenty minutes, on small types more."""
LONGEST_TURN = timedelta(hours=12)
"""How long a bake waits for its turn, however many bakes it waits for."""

LONGEST_IMAGE = timedelta(hours=24)
"""For the image, or a copy of it, to be available: AWS documents up to that for large volumes.
Source: EC2 user guide, "Create an AMI"."""

COPY_PATIENCE = timedelta(hours=12)
"""How long to try again while a Region takes no more copies."""
ANSWER_PATIENCE = timedelta(minutes=5)
"""How long to try again while a Region does not answer that the bake can go on without."""

# The soft limits. Source of the figures: what such tools publish, see docs/architecture.md.
TURN_EXPECTED = timedelta(hours=2)
STOP_EXPECTED = timedelta(minutes=10)
SYSPREP_EXPECTED = timedelta(minutes=30)
IMAGE_EXPECTED = timedelta(minutes=60)


def of_agent(*, windows: bool) -> timedelta:
    """How long an instance may take to report to Systems Manager, since its state was entered."""
    return AGENT_WINDOWS if windows else AGENT


def expected_of_command(timeout_seconds: int) -> timedelta:
    """When a command is slow: at half of what its document may take on the builder."""
    return timedelta(seconds=timeout_seconds / 2)


def of_command(timeout_seconds: int) -> timedelta:
    """The wait for a command whose document has this time-out on the builder."""
    return timedelta(seconds=DELIVERY_SECONDS + timeout_seconds) + COMMAND_SLACK


def of_steps(timeouts_seconds: Iterable[int]) -> timedelta:
    """The waits for the steps of a recipe, one after the other."""
    return sum(map(of_command, timeouts_seconds), timedelta())
