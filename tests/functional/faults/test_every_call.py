"""Every call of a bake goes wrong, in every way: nothing breaks.

A killed function, a throttled or failing service and a lost answer are survived. A denied call, and
one whose subject AWS does not show, may fail the bake: with an error of ours, and all cleaned up.
"""

import contextlib
from collections.abc import Iterable, Mapping
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
"""How often an end is told at most while AnnounceBake goes wrong. PutEvents has no token: what is
not answered is told again, better twice than never, by each try of the SDK and the next of
Lambda."""


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


def worth_it(point: Point, scene: str, somewhere: list[str]) -> bool:
    """Without what a task repeats, more often in one bake than in another: some poll, and clean up
    of a failed bake is tried again until the pointer is back. Of many Regions two are enough."""
    if point.role in _ASKS_UNTIL_IT_IS_SO:
        return point.occurrence == 0
    if scene == "good" and point.role not in _SETTLES:
        return True
    return point.occurrence <= 1 and point.region in somewhere


def points(watched: Watched, task: str, scene: str, kind: str) -> list[Point]:
    somewhere = watched.regions(scene)[:2]
    return [
        it
        for it in watched.points(role("tasks", task), scene)
        if worth_it(it, scene, somewhere) and (it.role, it.operation, kind) not in kinds.UNREAL
    ]


def points_of_job(watched: Watched, job: str) -> list[Point]:
    return [it for it in watched.points(role("jobs", job)) if it.occurrence <= 2]


def bake_under(
    watched: Watched,
    scene: str,
    kind: str,
    *some: Point,
    told: int = 1,
    times: float | None = None,
    may_fail: bool = False,
) -> Outcome:
    """Bake while each of these calls goes wrong, as often as is usual for the kind of fault.

    That the bake fails is a violation for kinds that are to be survived, unless it ``may_fail``.
    """
    watched.ready(scene)
    faults = [kinds.inject(watched.world.aws.faults, kind, point) for point in some]
    for fault in faults:
        fault.times = fault.times if times is None else times
    label = ", ".join(map(str, some))
    error = watched.bake(label, *faults, told=told, scene=scene)
    if error and kind in SURVIVED and not may_fail:
        watched.violations.append(f"{label}: {error}")
    reached = [point for point, fault in zip(some, faults, strict=True) if fault.matched]
    if len(some) == 1 and not reached and not varies(*some, scene):
        watched.violations.append(f"{label}: was not reached ({error})")
    return Outcome(error, reached)


def varies(point: Point, scene: str) -> bool:
    """How often clean up of a failed bake is tried again varies; what retirement asks, too, for it
    depends on the images that are there; and how often a job runs is a matter of time."""
    moved = {role("tasks", "RetireImages"), *(role("jobs", job) for job in JOBS)}
    return scene in ("failing", "kept") or point.role in moved


def turns(made: list[Point], kind: str) -> list[list[Point]]:
    """The calls of a function, so that all of a turn can go wrong in the same bake.

    Each is the call that it is alone, and in a try of its own. A second one is that because the
    first is a look, before anything of the function's takes effect, and its own operation is not
    called before that. A lost answer goes alone: a function may collect such errors and go on.
    """
    if kind == "lost answer":
        return [[it] for it in made]
    first: dict[tuple[str, str], int] = {}
    for at, point in enumerate(made):
        first.setdefault((point.operation, point.region), at)
    begun: dict[str, int] = {}
    for at, point in enumerate(made):
        if not point.reads:
            begun.setdefault(point.region, at)
    found: list[list[Point]] = []
    for at, point in reversed([*enumerate(made)]):
        fitting = (
            turn
            for turn in found
            if len(turn) == 1
            and turn[0].region == point.region
            and at < begun.get(point.region, len(made))
            and at < first[turn[0].operation, point.region]
        )
        if turn := next(fitting, None):
            turn.append(point)
        else:
            found.append([point])
    return found


def survive(
    watched: Watched,
    scene: str,
    kind: str,
    calls: Mapping[str, list[Point]],
    record: Record,
    *,
    told: int = 1,
) -> None:
    """Calls of every function go wrong in the same bake, for each has its own tries. What is not
    reached in such a bake goes wrong alone."""
    reached: list[Point] = []
    groups = [turns(some, kind) for made in calls.values() for some in by_run(made)]
    for together in zip_longest(*groups, fillvalue=[]):
        some = list(chain.from_iterable(together))
        reached += bake_under(watched, scene, kind, *some, told=told).reached
        for point in [it for it in some if it not in reached]:
            reached += bake_under(watched, scene, kind, point, told=told).reached
        assert watched.violations == []
    for name, made in calls.items():
        count = len([it for it in made if it in reached])
        assert count > len(made) / 2, [it for it in made if it not in reached]
        Row(name, scene, kind, calls=count, survived=count).record(record)


def by_run(made: list[Point]) -> Iterable[list[Point]]:
    """The images of each Region are retired by a run of their own, which has its own tries."""
    if any(it.role != role("tasks", "RetireImages") for it in made):
        return [made]
    regions = dict.fromkeys(it.region for it in made)
    return [[it for it in made if it.region == region] for region in regions]


@pytest.mark.failure(3, 9, 32, 49, 62)
@pytest.mark.parametrize("kind", SURVIVED)
@pytest.mark.parametrize("scene", SCENES)
def test_what_every_task_survives(
    watched: Watched, scene: str, kind: str, record_property: Record
) -> None:
    tasks = [task for task, watched_in in sweeps() if watched_in == scene]
    calls = {task: points(watched, task, scene, kind) for task in tasks}
    if scene == "good":
        calls["ResumeWaits"] = points_of_job(watched, "ResumeWaits")
    survive(watched, scene, kind, calls, record_property)


@pytest.mark.failure(49)
@pytest.mark.parametrize("kind", SURVIVED)
def test_what_is_told_survives(watched: Watched, kind: str, record_property: Record) -> None:
    calls = {"AnnounceBake": points_of_job(watched, "AnnounceBake")}
    survive(watched, "good", kind, calls, record_property, told=TOLD)


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize(("task", "scene"), sweeps())
def test_what_a_task_is_refused(
    watched: Watched, task: str, scene: str, kind: str, record_property: Record
) -> None:
    row = Row(task, scene, kind)
    for point in points(watched, task, scene, kind):
        row.add(bake_under(watched, scene, kind, point).error)
    row.record(record_property)
    assert watched.violations == []


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("job", JOBS)
def test_what_a_job_is_refused(
    watched: Watched, job: str, kind: str, record_property: Record
) -> None:
    row = Row(job, "good", kind)
    # In all three tries of Lambda AnnounceBake could tell nothing: a dead letter, and an alarm.
    times, told = (2, TOLD) if job == "AnnounceBake" else (None, 1)
    for point in points_of_job(watched, job):
        outcome = bake_under(watched, "good", kind, point, told=told, times=times)
        if outcome.reached:
            row.add(outcome.error)
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
