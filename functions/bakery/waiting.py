"""Beginning a wait, and settling it when AWS says that it is over."""

from datetime import datetime, timedelta

from bakery import budgets, clock, sysprep, verdicts, waits
from bakery.aws import ec2, logs, ssm, stepfunctions, table
from bakery.errors import BakeryError
from bakery.observability import logger
from bakery.verdicts import Done, Verdict
from bakery.waits import Kind, Wait

_UNSEEN = timedelta(minutes=2)
"""How long after its deadline a wait is still looked at in vain."""


def begin(table_name: str, wait: Wait) -> None:
    """Remember the wait, then look once: what it waits for may have happened before it was stored.

    Idempotent because a second call for the same subject replaces the token of the first.
    """
    table.store_wait(table_name, wait)
    settle(table_name, wait)


def begin_image(
    table_name: str,
    image_id: str,
    *,
    token: str,
    bake: str,
    recipe: str,
    label: str,
    region: str = "",
    optional: bool = False,
) -> None:
    """`begin` to wait until an image is available, however it is made.

    ``region`` is empty for the stack's own; ``optional``: its failure leaves the Region out.
    """
    now = clock.now()
    begin(
        table_name,
        Wait(
            kind=Kind.IMAGE,
            target=image_id,
            token=token,
            bake=bake,
            begun=now,
            expected=now + budgets.IMAGE_EXPECTED,
            deadline=now + budgets.LONGEST_IMAGE,
            label=label,
            recipe=recipe,
            region=region,
            optional=optional,
        ),
    )


def forget_all(table_name: str, bake: str) -> None:
    """Drop what the bake waits for: else the sweeper would look at it until its deadline.

    Nobody may be waiting any more: a builder was lost, or the bake is over.
    """
    for _, stored in table.open_waits(table_name):
        wait = waits.read(stored)
        if wait is not None and wait.bake == bake:
            table.forget_wait(table_name, wait)


def settle(table_name: str, wait: Wait) -> bool:
    """Resume the task if its wait is over; whether it was.

    Safe to run twice and at the same time as another: the second finds that nobody waits for the
    token any more.
    """
    now = clock.now()
    try:
        verdict = _observe(wait, now) or verdicts.overdue(wait, now)
    except BakeryError:
        # What nobody can look at any more ends too; but it may have been over in time.
        verdict = verdicts.overdue(wait, now - _UNSEEN)
        if verdict is None:
            raise
    verdict = verdicts.tolerated(wait, verdicts.known_to_release(wait, verdict))
    if verdict is None:
        return False
    if isinstance(verdict, Done):
        resumed = stepfunctions.succeed(wait.token, verdict.output)
    else:
        resumed = stepfunctions.fail(wait.token, verdict.error, verdict.cause)
    logger.info(
        "wait settled", subject=wait.subject, verdict=type(verdict).__name__, resumed=resumed
    )
    table.forget_wait(table_name, wait)
    return True


def _observe(wait: Wait, now: datetime) -> Verdict:
    match wait.kind:
        case Kind.COMMAND:
            seen = ssm.invocation(wait.target, wait.instance_id)
            return verdicts.command_verdict(wait, seen, ec2.find_instance(wait.instance_id))
        case Kind.STOP if wait.sysprep:
            return _observe_sysprep(wait, now)
        case Kind.STOP:
            return verdicts.stop_verdict(wait, ec2.find_instance(wait.target))
        case Kind.IMAGE:
            found = ec2.find_images([wait.target], region=wait.region or None)
            return verdicts.image_verdict(wait, found[0] if found else None, now)
        case Kind.TURN:
            return verdicts.turn_verdict(wait, stepfunctions.find_execution(wait.execution))


def _observe_sysprep(wait: Wait, now: datetime) -> Verdict:
    builder = ec2.find_instance(wait.target)
    seen = ssm.invocation(wait.sysprep, wait.target)
    logged = None
    # What an agent has not told any more is in the log, if it came so far.
    told = seen is not None and sysprep.marked(wait, seen.stdout)
    if builder is not None and builder.state == "stopped" and not told:
        logged = logs.output_of(
            wait.log_group,
            command_id=wait.sysprep,
            instance_id=wait.target,
            step=sysprep.STEP,
        )
    return sysprep.verdict(wait, builder, seen, logged or "", now)
