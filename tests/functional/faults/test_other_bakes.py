"""Every call that only some bakes make goes wrong, in every way: on spot, and with a kept builder.

No request of the spot market is left, for one that stands would launch the next instance by itself;
and when its time is over, nothing of what a failed bake has kept.
"""

import pytest

from tests.functional.faults.invariants import Watched
from tests.functional.faults.matrix import Record, Row
from tests.functional.faults.points import Point
from tests.functional.faults.test_every_call import (
    REFUSED,
    SURVIVED,
    bake_under,
    points,
    survive,
)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SCENES = {
    "spot": ("LaunchBuilder", "CleanUp"),
    "interrupted": ("ReplaceBuilder",),
    "kept": ("CleanUp",),
}
"""What works differently in the bake."""

_SPOT_ONLY = {"CancelSpotInstanceRequests", "DescribeSpotInstanceRequests"}


def calls_of(watched: Watched, task: str, scene: str, kind: str) -> list[Point]:
    """On spot, of CleanUp only what it does about that: the rest is watched in another bake."""
    found = points(watched, task, scene, kind)
    if (task, scene) == ("CleanUp", "spot"):
        return [it for it in found if it.operation in _SPOT_ONLY]
    return found


@pytest.mark.failure(3, 9, 32, 62)
@pytest.mark.parametrize("kind", SURVIVED)
@pytest.mark.parametrize("scene", SCENES)
def test_what_such_a_bake_survives(
    watched: Watched, scene: str, kind: str, record_property: Record
) -> None:
    calls = {task: calls_of(watched, task, scene, kind) for task in SCENES[scene]}
    asked = {point.operation for made in calls.values() for point in made}
    assert scene == "kept" or asked >= _SPOT_ONLY
    survive(watched, scene, kind, calls, record_property)


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("scene", SCENES)
def test_what_such_a_bake_is_refused(
    watched: Watched, scene: str, kind: str, record_property: Record
) -> None:
    for task in SCENES[scene]:
        row = Row(task, scene, kind)
        for point in calls_of(watched, task, scene, kind):
            row.add(bake_under(watched, scene, kind, point).error)
        row.record(record_property)
    assert watched.violations == []
