"""Every call of a bake goes wrong, in every way: nothing breaks.

A killed function, a throttled or failing service and a lost answer are survived. A denied call, and
one whose subject AWS does not show, may fail the bake: with an error of ours, and all cleaned up.
"""

import contextlib
from collections.abc import Mapping
from itertools import chain, zip_longest
from threading import Event
from typing import NamedTuple

import pytest

from tests.functional.conftest import FunctionFailedError
from tests.functional.faults import kinds
from tests.functional.faults.invariants import SCENES, Watched
from tests.functional.faults.matrix import Record, Row
from tests.functional.faults.points import Point, functions, points_of, role

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

SURVIVED = (*kinds.CRASHES, "throttled", "server error", "lost answer")
REFUSED = tuple(kind for kind in kinds.KINDS if kind not in SURVIVED)

JOBS = ("AnnounceBake", "ResumeWaits")
"""What runs beside every bake."""

TOLD = 6
"""How often an end is told at most while that goes wrong. PutEvents has no token: what is not
answered is told again, better twice than never, by each try of the SDK and the next of Lambda."""

TOGETHER = 3
"""How many calls of a function go wrong in a bake at most: fewer than it is tried."""


class Outcome(NamedTuple):
    """What faults made of a bake."""

    error: str | None
    reached: list[Point]
    """The calls that were made, and went wrong."""


_OTHERWISE = {
    "CleanUp": "failing",
    "FailBake": "failing",
    "ReplaceBuilder": "taken",
    "CompareIdentity": "whole",
    "CopyImage": "whole",
    "KeepPrevious": "whole",
    "PublishPointers": "whole",
    "ReleaseImages": "whole",
    "RetireImages": "whole",
    "UpdateTemplates": "whole",
}
"""What works differently, or only, in another bake than a good one."""

_ASKS_UNTIL_IT_IS_SO = {role("tasks", task) for task in ("AwaitManaged", "AwaitTest")}
_SETTLES = {role("tasks", task) for task in ("PublishPointers", "KeepPrevious")}

_NOT_IN_A_GOOD_BAKE = {
    "CompareIdentity": "its recipe does not ask",
    "RetireImages": "its recipe lets no image go",
    "UpdateTemplates": "its recipe names none",
    "CloneHost": "its base is no running host; see test_hosts.py",
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
    """Without what a task repeats, more often in one bake than in another: some poll, and clean up
    of a failed bake is tried again until the pointer is back."""
    if point.role in _ASKS_UNTIL_IT_IS_SO:
        return point.occurrence == 0
    return (scene == "good" and point.role not in _SETTLES) or point.occurrence <= 1


def points(watched: Watched, task: str, scene: str, kind: str) -> list[Point]:
    return [
        it
        for it in watched.points(role("tasks", task), scene)
        if worth_it(it, scene) and (it.role, it.operation, kind) not in kinds.UNREAL
    ]


def points_of_job(watched: Watched, job: str) -> list[Point]:
    return [it for it in watched.points(role("jobs", job)) if it.occurrence <= 2]


def bake_under(watched: Watched, scene: str, kind: str, *some: Point) -> Outcome:
    """Bake while each of these calls goes wrong."""
    faults = [kinds.inject(watched.world.aws.faults, kind, point) for point in some]
    label = ", ".join(map(str, some))
    told = TOLD if any(it.role == role("jobs", "AnnounceBake") for it in some) else 1
    error = watched.bake(label, *faults, told=told, scene=scene)
    if error and kind in SURVIVED:
        watched.violations.append(f"{label}: {error}")
    reached = [point for point, fault in zip(some, faults, strict=True) if fault.matched]
    return Outcome(error, reached)


def bake_under_one(watched: Watched, scene: str, kind: str, point: Point) -> Outcome:
    """The same with one call, which must be made."""
    outcome = bake_under(watched, scene, kind, point)
    if not outcome.reached and not varies(point, scene):
        watched.violations.append(f"{point}: was not reached ({outcome.error})")
    return outcome


def varies(point: Point, scene: str) -> bool:
    """How often clean up of a failed bake is tried again varies; what retirement asks, too, for it
    depends on the images that are there; and how often a job runs is a matter of time."""
    moved = {role("tasks", "RetireImages"), *(role("jobs", job) for job in JOBS)}
    return scene == "failing" or point.role in moved


def turns(made: list[Point]) -> list[list[Point]]:
    """The calls of a function, so that all of a turn can go wrong in the same bake.

    Each is still the call that it is without the others: the operation of a later one is not called
    before an earlier one has gone wrong, however often the function is tried again for that.
    """
    first: dict[str, int] = {}
    for at, point in enumerate(made):
        first.setdefault(point.operation, at)
    found: list[list[int]] = []
    for at in reversed(range(len(made))):
        fitting = (
            turn for turn in found if len(turn) < TOGETHER and at < first[made[turn[-1]].operation]
        )
        turn = next(fitting, None)
        if turn is None:
            found.append(turn := [])
        turn.append(at)
    return [[made[at] for at in turn] for turn in found]


def survive(
    watched: Watched, scene: str, kind: str, calls: Mapping[str, list[Point]], record: Record
) -> None:
    """Calls of every function go wrong in the same bake, for each has its own tries. What is not
    reached in such a bake goes wrong alone."""
    reached: list[Point] = []
    for together in zip_longest(*map(turns, calls.values()), fillvalue=[]):
        some = list(chain.from_iterable(together))
        reached += bake_under(watched, scene, kind, *some).reached
        for point in [it for it in some if it not in reached]:
            reached += bake_under_one(watched, scene, kind, point).reached
        assert watched.violations == []
    for name, made in calls.items():
        count = len([it for it in made if it in reached])
        assert count > 0
        Row(name, scene, kind, calls=count, survived=count).record(record)


@pytest.mark.failure(3, 9, 32, 49, 62)
@pytest.mark.parametrize("kind", SURVIVED)
@pytest.mark.parametrize("scene", SCENES)
def test_what_every_task_survives(
    watched: Watched, scene: str, kind: str, record_property: Record
) -> None:
    tasks = [task for task, watched_in in sweeps() if watched_in == scene]
    calls = {task: points(watched, task, scene, kind) for task in tasks}
    if scene == "good":
        calls |= {job: points_of_job(watched, job) for job in JOBS}
    survive(watched, scene, kind, calls, record_property)


@pytest.mark.failure(3, 9, 32, 49, 62)
@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize(("task", "scene"), sweeps())
def test_what_a_task_is_refused(
    watched: Watched, task: str, scene: str, kind: str, record_property: Record
) -> None:
    row = Row(task, scene, kind)
    for point in points(watched, task, scene, kind):
        row.add(bake_under_one(watched, scene, kind, point).error)
    row.record(record_property)
    assert watched.violations == []


@pytest.mark.failure(49)
@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("job", JOBS)
def test_what_a_job_is_refused(
    watched: Watched, job: str, kind: str, record_property: Record
) -> None:
    row = Row(job, "good", kind)
    for point in points_of_job(watched, job):
        fault = kinds.inject(watched.world.aws.faults, kind, point)
        if job == "AnnounceBake":
            # All three tries of Lambda: it could tell nothing; that is a dead letter, and an alarm.
            fault.times = 2
        error = watched.bake(str(point), fault, told=TOLD if job == "AnnounceBake" else 1)
        if fault.matched:
            row.add(error)
    row.record(record_property)
    assert watched.violations == []
    assert row.calls > 0


def orphaned(watched: Watched) -> str:
    """A bake that was stopped when its builder and its image were there.

    By the answer of the task before publishing: a look from outside may come so late that the image
    is published already.
    """
    world = watched.world
    states = world.aws.client("stepfunctions")
    started = Event()

    def stop() -> None:
        started.wait(60)
        states.stop_execution(executionArn=arn)

    world.aws.faults.after(
        "lambda", "Invoke", stop, when=lambda asked: "KeepPrevious" in asked["FunctionName"]
    )
    arn = world.start({"recipe": "small", "force": True})
    started.set()
    name = world.ended(arn).name
    world.aws.until(lambda: world.aws.lambdas.idle, what="the end of all functions")
    world.aws.clock.advance(minutes=16)
    assert world.left_behind(name) != []
    return name


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", [*kinds.CRASHES, *kinds.KINDS])
def test_the_janitor(watched: Watched, kind: str, record_property: Record) -> None:
    """What it could not do in one run, or in several that went wrong each in its way, it does in
    the next."""
    world, janitor = watched.world, role("jobs", "RemoveOrphans")
    world.aws.schedules.paused = True
    world.aws.events.drop("Step Functions Execution Status Change", times=float("inf"))
    row = Row("RemoveOrphans", "stopped", kind)
    name = orphaned(watched)
    world.aws.calls.clear()
    removed(watched, name, "no fault")
    for point in points_of(world.aws.calls.of(role=janitor), janitor):
        if not world.left_behind(name):
            removed(watched, name, f"before {point}")
            name = orphaned(watched)
        if not goes_wrong(watched, kind, point):
            # What is left of the last orphan does not make the call.
            removed(watched, name, f"before {point}")
            name = orphaned(watched)
            if not goes_wrong(watched, kind, point):
                watched.violations.append(f"{point}: was not reached")
        row.add(None)
    removed(watched, name, "at the end")
    world.aws.schedules.paused = False
    row.record(record_property)
    assert watched.violations == []
    assert row.calls > 10


def goes_wrong(watched: Watched, kind: str, point: Point) -> bool:
    """A run of the janitor with this fault; whether it came to that."""
    fault = kinds.inject(watched.world.aws.faults, kind, point)
    with contextlib.suppress(FunctionFailedError):
        watched.world.invoke("remove_orphans", {})
    fault.times = 0
    return fault.matched > 0


def removed(watched: Watched, name: str, when: str) -> None:
    """A run of the janitor without a fault leaves nothing."""
    world = watched.world
    world.invoke("remove_orphans", {})
    if left := [*world.left_behind(name), *world.leases(), *world.open_waits()]:
        watched.violations.append(f"{when}: left behind: {left}")


def test_the_scenes_end_as_they_should(watched: Watched) -> None:
    for scene in SCENES:
        assert watched.bake(scene, scene=scene) is None
    assert watched.violations == []
