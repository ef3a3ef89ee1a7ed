"""A bad day of AWS: a third of all reads throttled, and now and then a server error."""

import random

import pytest

from scripts.local.faults import Fault, Faults
from tests.functional.faults.invariants import Watched
from tests.functional.faults.matrix import Record, Row

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

BAKES = 50
THROTTLED, BROKEN = 0.30, 0.05
PUBLISHED = 0.95


def bad_reads(faults: Faults, dice: random.Random) -> list[Fault]:
    """Of all reads of all functions, the shares above fail."""
    rest = BROKEN / (1 - THROTTLED)  # the second rule sees only what the first lets pass
    return [
        fault
        for part in ("Tasks", "Jobs")
        for operation in ("Describe*", "Get*", "List*", "Query")
        for fault in (
            faults.error(
                "*",
                operation,
                code="ThrottlingException",
                times=float("inf"),
                when=lambda _: dice.random() < THROTTLED,
                role=part,
            ),
            faults.error(
                "*",
                operation,
                code="InternalError",
                status=500,
                times=float("inf"),
                when=lambda _: dice.random() < rest,
                role=part,
            ),
        )
    ]


@pytest.mark.parametrize("seed", range(4))
def test_nearly_all_bakes_publish_and_none_leaves_anything(
    watched: Watched, seed: int, record_property: Record
) -> None:
    dice = random.Random(seed)
    row = Row("all", "good", f"bad day {seed}")
    for number in range(BAKES):
        faults = bad_reads(watched.world.aws.faults, dice)
        row.add(watched.bake(f"seed {seed}, bake {number}", *faults))
        assert sum(fault.matched for fault in faults) > 10
    row.record(record_property)
    assert watched.violations == []
    assert row.survived >= PUBLISHED * BAKES
