"""A function is killed at each of its calls, before and after the call's effect: nothing breaks."""

import pytest

from tests.functional.faults.invariants import Watched

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

TASKS = (
    "Plan",
    "LaunchBuilder",
    "AwaitManaged",
    "Prepare",
    "RunStep",
    "RemoveIdentity",
    "Generalize",
    "VerifyIdentity",
    "StopBuilder",
    "CreateImage",
    "PublishPointer",
    "KeepPrevious",
    "CleanUp",
)
JOBS = ("ResumeWaits", "AnnounceBake", "RemoveOrphans")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("task", TASKS)
def test_a_killed_task_finds_what_its_first_try_did(
    watched: Watched, task: str, after: bool
) -> None:
    points = watched.points(f"Tasks{task}Role")
    if task == "AwaitManaged":  # it polls: only its first look is there in every bake
        points = [point for point in points if point.occurrence == 0]
    assert points
    for point in points:
        fault = watched.world.aws.faults.crash(
            point.role, point.operation, after=after, skip=point.occurrence
        )
        ended = watched.bake(str(point), fault)
        if ended.status != "SUCCEEDED":
            watched.violations.append(f"{point}: {ended.status}, {ended.error}: {ended.cause}")
        if fault.matched != 1:
            watched.violations.append(f"{point}: was not reached")
    assert watched.violations == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("job", JOBS)
def test_a_killed_job_is_made_up_for(watched: Watched, job: str, after: bool) -> None:
    """How often a job runs in a bake is a matter of time, so not every point is reached."""
    reached = 0
    for point in dict.fromkeys(watched.points(f"Jobs{job}Role")):
        if point.occurrence > 2:
            continue
        fault = watched.world.aws.faults.crash(
            point.role, point.operation, after=after, skip=point.occurrence
        )
        # Killed between the event and its mark, the job tells again: better twice than never.
        ended = watched.bake(str(point), fault, told=2 if job == "AnnounceBake" else 1)
        if ended.status != "SUCCEEDED":
            watched.violations.append(f"{point}: {ended.status}, {ended.error}: {ended.cause}")
        reached += fault.matched
    assert watched.violations == []
    assert reached > 0
