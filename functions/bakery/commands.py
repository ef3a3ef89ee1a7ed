"""Running one document on the builder: what Prepare, RunStep and the identity tasks share."""

from collections.abc import Sequence
from enum import StrEnum

from pydantic import TypeAdapter

from bakery import clock, verdicts, waiting, waits
from bakery.aws import ec2, ssm, table
from bakery.bake import Command, State
from bakery.budgets import DELIVERY_SECONDS, expected_of_command, of_command
from bakery.errors import BakeryError, DocumentGoneError, NotYetVisibleError
from bakery.settings import CommandSettings
from bakery.waits import Wait

_DAYS = 45
"""How long the commands of a bake's steps stay in the table: longer than any bake."""

TEST_STAGE = "test"
"""The stage in the comment of a test's command: RunTest sends it, CompareIdentity reads it."""

_COMMANDS = TypeAdapter(tuple[Command, ...])


class Kind(StrEnum):
    """What the commands of a recipe's scripts are for."""

    STEPS = "steps"
    TESTS = "tests"


def keep(table_name: str, bake: str, kind: Kind, commands: Sequence[Command]) -> None:
    """Keep the commands of all steps, or tests, for the bake; safe to repeat.

    Two hundred are more than an execution's state may have; an item of the table takes 400 KB.
    """
    text = _COMMANDS.dump_json(tuple(commands)).decode()
    table.remember(table_name, _key(bake, kind), text, clock.now(), days=_DAYS)


def forget(table_name: str, bake: str) -> None:
    """Drop the commands of a bake that runs none any more: many would slow every look at the table
    down."""
    for kind in Kind:
        table.forget(table_name, _key(bake, kind))


def of(table_name: str, bake: str, kind: Kind, index: int) -> Command:
    """The command of a step or test, by its position.

    Raises DocumentGoneError when the table has none any more.
    """
    text = table.recall(table_name, _key(bake, kind))
    if text is None:
        raise DocumentGoneError(
            f"The table has no commands of bake {bake} any more. Start a new bake."
        )
    return _COMMANDS.validate_json(text)[index]


def _key(bake: str, kind: Kind) -> str:
    return f"{kind}#{bake}"


class CommandRequest(State):
    """What a task that runs a document gets."""

    token: str
    bake: str
    instance_id: str
    command: Command
    index: int = 0
    """Position of the step in the recipe; two steps may run the same document."""
    recipe: str = ""


def send(
    request: CommandRequest, *, stage: str, error: type[BakeryError], on_test: bool = False
) -> None:
    """Send the command and begin to wait for its end; a failure is reported as ``error``.

    ``on_test``: it runs on a test instance, not on the builder.

    Idempotent because the command's comment names bake, stage and index: a second try adopts the
    command that the first one sent, running or ended, instead of running its script again.
    """
    settings = CommandSettings.load()
    command = request.command
    command_id = start(request, settings, stage=stage, on_test=on_test)
    budget = of_command(command.timeout_seconds)
    now = clock.now()
    waiting.begin(
        settings.table,
        Wait(
            kind=waits.Kind.COMMAND,
            target=command_id,
            token=request.token,
            bake=request.bake,
            begun=now,
            expected=now + expected_of_command(command.timeout_seconds),
            deadline=now + budget,
            instance_id=request.instance_id,
            label=command.label,
            error=error.__name__,
            sentinel=command.sentinel,
            recipe=request.recipe,
            on_test=on_test,
        ),
    )


def start(
    request: CommandRequest, settings: CommandSettings, *, stage: str, on_test: bool = False
) -> str:
    """Send the command, or find the one that an earlier try has sent; its id."""
    comment = comment_of(request.bake, stage, request.index)
    return ssm.find_command(request.instance_id, comment) or _send(
        request, settings, comment, on_test=on_test
    )


def comment_of(bake: str, stage: str, index: int) -> str:
    """What the command of a stage is known by on its instance."""
    return f"{bake}/{stage}/{index}"


def _send(
    request: CommandRequest, settings: CommandSettings, comment: str, *, on_test: bool
) -> str:
    command = request.command
    try:
        return ssm.send_command(
            instance_id=request.instance_id,
            document=command.document,
            version=command.version,
            content_hash=command.hash,
            parameters=command.parameters,
            comment=comment,
            log_group=settings.command_log_group,
            delivery_seconds=DELIVERY_SECONDS,
        )
    except NotYetVisibleError:
        # Systems Manager knows no instance that is not running: it may be gone for good.
        instance = ec2.find_instance(request.instance_id)
        if lost := verdicts.ended_during(command.label, instance, on_test=on_test):
            raise lost from None
        raise
