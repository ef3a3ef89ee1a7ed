"""Every call of a bake that begins with a running host goes wrong, in every way.

No clone is left, and nothing has happened to the host.
"""

from collections.abc import Iterator

import pytest

from tests import rights
from tests.functional.conftest import World
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
from tests.functional.faults.test_every_right import tells, used
from tests.functional.hosting import (
    HOST,
    LOOKS,
    clones,
    deployed_with_a_host,
    everything,
    host,
    named_by,
)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SCENE = "host"
TASKS = ("Plan", "CloneHost", "LaunchBuilder", "CleanUp")
"""What works differently, or only, in such a bake."""


@pytest.fixture(scope="module")
def deployed() -> Iterator[World]:
    with deployed_with_a_host(scale=400.0) as world:
        host(world)
        yield world


@pytest.fixture
def watched(world: World) -> Iterator[Watched]:
    before = everything(world)
    watched = Watched.begin(world)
    yield watched
    assert everything(world) == before
    assert named_by(world, HOST) <= {*LOOKS, "ec2:CreateImage"}
    assert clones(world) == []


def calls_of(watched: Watched, task: str, kind: str) -> list[Point]:
    """Of Plan only what it asks about the host: the rest is watched in an ordinary bake."""
    found = points(watched, task, SCENE, kind)
    looks = {it.partition(":")[2] for it in LOOKS}
    return [it for it in found if task != "Plan" or it.operation in looks]


@pytest.mark.failure(3, 9, 32, 49, 62)
@pytest.mark.parametrize("kind", SURVIVED)
def test_what_such_a_bake_survives(watched: Watched, kind: str, record_property: Record) -> None:
    calls = {task: calls_of(watched, task, kind) for task in TASKS}
    survive(watched, SCENE, kind, calls, record_property)


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("task", TASKS)
def test_what_a_task_is_refused(
    watched: Watched, task: str, kind: str, record_property: Record
) -> None:
    row = Row(task, SCENE, kind)
    for point in calls_of(watched, task, kind):
        row.add(bake_under(watched, SCENE, kind, point).error)
    row.record(record_property)
    assert watched.violations == []


@pytest.mark.parametrize("task", TASKS)
def test_a_task_with_one_right_less(watched: Watched, task: str) -> None:
    aws, wrong, missed = watched.world.aws, [], []
    for role_name, action in used(watched, task, SCENE):
        aws.calls.clear()
        with rights.without((rights.function_of(role_name), action)):
            ended = watched.run(SCENE)
        if tells(ended, role_name, action):
            missed.append((role_name, action))
        else:
            wrong.append(f"{role_name} without {action}: {ended}")
        watched.settled()
    rights.miss(f"{task}-{SCENE}", missed)
    assert wrong == [], "\n".join(wrong)
