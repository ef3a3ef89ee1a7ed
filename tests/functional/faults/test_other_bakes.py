"""Every call that only some bakes make goes wrong, in every way: on spot, with a kept builder, and
when they are redriven.

No request of the spot market is left, for one that stands would launch the next instance by itself;
and when its time is over, nothing of what a failed bake has kept.
"""

import pytest

from tests.functional.faults import kinds
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
    "retried": ("CreateImage", "LaunchTest"),
    "republished": ("ReleaseImages", "PublishPointers", "KeepPrevious", "CleanUp"),
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
    assert scene not in ("spot", "interrupted") or asked >= _SPOT_ONLY
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


@pytest.mark.parametrize("kind", kinds.CRASHES)
def test_a_retry_that_is_cut_off_where_it_begins_goes_on(
    watched: Watched, kind: str, record_property: Record
) -> None:
    calls = {"FailBake": points(watched, "FailBake", "republished", kind)}
    assert len(calls["FailBake"]) > 5
    survive(watched, "republished", kind, calls, record_property)


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_a_retry_that_cannot_begin_fails_again_and_leaves_nothing(
    watched: Watched, kind: str, record_property: Record
) -> None:
    """Somebody may retry it once more while its builder is kept."""
    row = Row("FailBake", "republished", kind)
    for point in points(watched, "FailBake", "republished", kind):
        row.add(bake_under(watched, "republished", kind, point, may_fail=True).error)
    row.record(record_property)
    assert watched.violations == []
