"""Events that come three times, late and in any order."""

import pytest

from tests.functional.faults.invariants import Watched

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


@pytest.mark.failure(44, 47)
@pytest.mark.parametrize("seed", range(3))
def test_events_that_come_three_times_in_any_order_change_nothing(
    watched: Watched, seed: int
) -> None:
    events = watched.world.aws.events
    events.shuffle(seconds=200, seed=seed)
    events.duplicate(times=float("inf"), copies=3)
    assert watched.bake(f"seed {seed}") is None
    assert watched.violations == []
