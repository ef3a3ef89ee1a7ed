"""Without any one of its rights a task fails, and what is told of it names both."""

import json
import re
from weakref import WeakKeyDictionary

import pytest

from scripts.local import LocalAws
from tests import rights
from tests.functional.conftest import Ended
from tests.functional.faults.invariants import Watched
from tests.functional.faults.points import role
from tests.functional.faults.test_every_call import sweeps

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

Right = tuple[str, str]
"""The name of a role and an action."""

_USED: WeakKeyDictionary[LocalAws, dict[str, set[Right]]] = WeakKeyDictionary()
"""The rights that a bake without faults uses, for each scene."""

_NOT_TOLD = {
    "EndTests": {"ec2:TerminateInstances": "clean up ends the test instances after it"},
    "CopyImage": dict.fromkeys(
        (
            "kms:CreateGrant",
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:GenerateDataKeyWithoutPlaintext",
            "kms:ReEncryptFrom",
            "kms:ReEncryptTo",
        ),
        "EC2 uses the key after the call: the copy fails, and the bake tells to look at the key",
    ),
}
"""Rights whose lack no AWS answer tells: by task and action, and why."""

_CALLS_ITSELF = {"RetireImages": "retirement in"}
"""What names a task that gives AWS's answers shortened, because they may be many."""


def used(watched: Watched, task: str, scene: str) -> list[Right]:
    known = _USED.setdefault(watched.world.aws, {})
    if scene not in known:
        noted = watched.world.aws.rights_used
        before = set(noted)
        noted.clear()
        watched.run(scene)
        known[scene] = set(noted)
        noted |= before
    return sorted(it for it in known[scene] if role("tasks", task) in it[0])


@pytest.mark.parametrize(("task", "scene"), sweeps())
def test_a_task_with_one_right_less(watched: Watched, task: str, scene: str) -> None:
    aws, wrong, missed = watched.world.aws, [], []
    for role_name, action in used(watched, task, scene):
        aws.calls.clear()
        with rights.without((rights.function_of(role_name), action)):
            ended = watched.run(scene)
        named = tells(ended, _CALLS_ITSELF.get(task, role_name), action)
        if named == (action in _NOT_TOLD.get(task, {})):
            wrong.append(f"{role_name} without {action}: {ended}")
        if named:
            missed.append((role_name, action))
        watched.settled()
    rights.miss(f"{task}-{scene}", missed)
    assert wrong == [], "\n".join(wrong)


def tells(ended: Ended, who: str, action: str) -> bool:
    """Whether the bake says, in its failure or in what it could not do, who was refused what."""
    told = ended.cause + json.dumps(ended.output)
    refused = re.search("AccessDenied|UnauthorizedOperation", told)
    return who in told and action in told and refused is not None
