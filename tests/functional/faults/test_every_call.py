"""Every call of a bake goes wrong, in every way, one at a time: nothing breaks.

A killed function, a throttled or failing service and a lost answer are survived. A denied call, and
one whose subject AWS does not show, may fail the bake: with an error of ours, and all cleaned up.
"""

import contextlib

import pytest

from tests.functional.conftest import FunctionFailedError
from tests.functional.faults import kinds
from tests.functional.faults.invariants import SCENES, Watched
from tests.functional.faults.matrix import Record, Row
from tests.functional.faults.points import Point, functions, points_of, role
from tests.functional.faults.test_cut_short import begun

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SURVIVED = {*kinds.CRASHES, "throttled", "server error", "lost answer"}

_OTHERWISE = {
    "CleanUp": "failing",
    "FailBake": "failing",
    "ReplaceBuilder": "taken",
    "CompareIdentity": "whole",
    "CopyImage": "whole",
    "PublishPointers": "whole",
    "ReleaseImages": "whole",
    "RetireImages": "whole",
    "UpdateTemplates": "whole",
}
"""What works differently, or only, in another bake than a good one."""

_NOT_IN_A_GOOD_BAKE = {
    "CompareIdentity": "its recipe does not ask",
    "RetireImages": "its recipe lets no image go",
    "UpdateTemplates": "its recipe names none",
    "AwaitTurn": "there is no other bake; see tests/functional/test_busy.py",
    "FailBake": "it does not fail",
    "NextWave": "it makes no call, and is no task of a bake",
    "ReplaceBuilder": "nothing is replaced",
    "Report": "it makes no call",
}


def sweeps() -> list[tuple[str, str]]:
    """Each task with the bake that it is watched in."""
    good = [(task, "good") for task in functions("tasks") if task not in _NOT_IN_A_GOOD_BAKE]
    return [*good, *_OTHERWISE.items()]


def worth_it(point: Point, scene: str) -> bool:
    """Without what a task repeats: AwaitManaged polls, and clean up of a failed bake is tried again
    until the pointer is back."""
    if point.role == role("tasks", "AwaitManaged"):
        return point.occurrence == 0
    return scene == "good" or point.occurrence <= 1


@pytest.mark.failure(3, 9, 32, 49, 62)
@pytest.mark.parametrize("kind", [*kinds.CRASHES, *kinds.KINDS])
@pytest.mark.parametrize(("task", "scene"), sweeps())
def test_a_task(
    watched: Watched, task: str, scene: str, kind: str, record_property: Record
) -> None:
    row = Row(task, scene, kind)
    points = [it for it in watched.points(role("tasks", task), scene) if worth_it(it, scene)]
    for point in points:
        if (point.role, point.operation, kind) in kinds.UNREAL:
            continue
        fault = kinds.inject(watched.world.aws.faults, kind, point)
        error = watched.bake(str(point), fault, scene=scene)
        row.add(error)
        # How often clean up of a failed bake is tried again, varies.
        if fault.matched < 1 and scene != "failing":
            watched.violations.append(f"{point}: was not reached")
        if error and kind in SURVIVED:
            watched.violations.append(f"{point}: {error}")
    row.record(record_property)
    assert watched.violations == []


@pytest.mark.failure(49)
@pytest.mark.parametrize("kind", [*kinds.CRASHES, *kinds.KINDS])
@pytest.mark.parametrize("job", ["AnnounceBake", "ResumeWaits"])
def test_a_job(watched: Watched, job: str, kind: str, record_property: Record) -> None:
    """How often a job runs in a bake is a matter of time, so not every point is reached."""
    row = Row(job, "good", kind)
    for point in watched.points(role("jobs", job)):
        if point.occurrence > 2:
            continue
        fault = kinds.inject(watched.world.aws.faults, kind, point)
        if job == "AnnounceBake" and kind == "denied":
            fault.times = 1  # else it could tell nothing: that is a dead letter, and an alarm
        # PutEvents has no token: what is not answered is told again, better twice than never, by
        # each try of the SDK and by the next of Lambda.
        error = watched.bake(str(point), fault, told=6 if job == "AnnounceBake" else 1)
        if fault.matched:
            row.add(error)
        if error and kind in SURVIVED:
            watched.violations.append(f"{point}: {error}")
    row.record(record_property)
    assert watched.violations == []
    assert row.calls > 0


def orphaned(watched: Watched) -> str:
    """A bake that was stopped when its builder and its image were there."""
    world = watched.world
    arn = begun(world, "PublishPointers")
    world.aws.client("stepfunctions").stop_execution(executionArn=arn)
    name = world.ended(arn).name
    world.aws.until(lambda: world.aws.lambdas.idle, what="the end of all functions")
    world.aws.clock.advance(minutes=16)
    return name


@pytest.mark.parametrize("kind", [*kinds.CRASHES, *kinds.KINDS])
def test_the_janitor(watched: Watched, kind: str, record_property: Record) -> None:
    """What it could not do in one run, it does in the next."""
    world, janitor = watched.world, role("jobs", "RemoveOrphans")
    world.aws.schedules.paused = True
    world.aws.events.drop("Step Functions Execution Status Change", times=float("inf"))
    row = Row("RemoveOrphans", "stopped", kind)
    orphaned(watched)
    world.aws.calls.clear()
    world.invoke("remove_orphans", {})
    for point in points_of(world.aws.calls.of(role=janitor), janitor):
        name = orphaned(watched)
        fault = kinds.inject(world.aws.faults, kind, point)
        with contextlib.suppress(FunctionFailedError):
            world.invoke("remove_orphans", {})
        fault.times = 0
        world.invoke("remove_orphans", {})
        row.add(None)
        if fault.matched < 1:
            watched.violations.append(f"{point}: was not reached")
        if left := [*world.left_behind(name), *world.leases(), *world.open_waits()]:
            watched.violations.append(f"{point}: left behind: {left}")
    world.aws.schedules.paused = False
    row.record(record_property)
    assert watched.violations == []
    assert row.calls > 10


def test_the_scenes_end_as_they_should(watched: Watched) -> None:
    for scene in SCENES:
        assert watched.bake(scene, scene=scene) is None
    assert watched.violations == []
