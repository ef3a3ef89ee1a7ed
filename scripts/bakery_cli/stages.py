"""What a person calls the stages of a bake, and what each of them did in a few words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scripts.bakery_cli.words import count


@dataclass(frozen=True)
class Stage:
    """A stage as the machine and as a person call it."""

    key: str
    """Where its result is in the execution's state."""
    state: str
    """Its state in the machine."""
    title: str


STAGES = (
    Stage("plan", "Plan", "Plan"),
    Stage("launch", "LaunchBuilder", "Launch builder"),
    Stage("await_managed", "AwaitManaged", "Wait for agent"),
    Stage("prepare", "Prepare", "Prepare"),
    Stage("customize", "Customize", "Customize"),
    Stage("remove_identity", "RemoveIdentity", "Remove identity"),
    Stage("generalize", "Generalize", "Generalize"),
    Stage("verify_identity", "VerifyIdentity", "Verify identity"),
    Stage("stop", "StopBuilder", "Stop builder"),
    Stage("create_image", "CreateImage", "Create image"),
    Stage("harden_image", "HardenImage", "Harden image"),
    Stage("test_and_copy", "TestAndCopy", "Test and copy"),
    Stage("release", "ReleaseImages", "Release"),
    Stage("publish", "PublishPointers", "Publish"),
    Stage("templates", "UpdateTemplates", "Launch templates"),
    Stage("keep_previous", "KeepPrevious", "Keep previous"),
    Stage("retire", "Retire", "Retire images"),
    Stage("clean_up", "CleanUp", "Clean up"),
)
AWAIT_TURN = Stage("await_turn", "AwaitTurn", "Wait for turn")
"""After Plan, and only when the recipe is busy; then Plan is entered once more."""

CLONE_HOST = Stage("clone_host", "CloneHost", "Clone host")
"""Before the launch, and only when the base is a running host."""

_ALL = (*STAGES, AWAIT_TURN, CLONE_HOST)
BY_STATE: Mapping[str, Stage] = {stage.state: stage for stage in _ALL}
BY_KEY: Mapping[str, Stage] = {stage.key: stage for stage in _ALL}

REPLACE_BUILDER = "ReplaceBuilder"
"""The state after which all stages but Plan begin anew, because AWS has taken the builder."""
LOST = "lost_builder"
"""Where it says why; in the timeline of the bake's output it is a stage."""

CUSTOMIZE = "Customize"
"""The Map of the recipe's steps."""
RUN_STEP = "RunStep"
"""The state that runs one step of the recipe, inside Customize."""
RUN_TEST = "RunTest"
PARTS = {RUN_TEST, "CopyImage"}
"""States inside TestAndCopy that are worth telling."""

State = Mapping[str, Any]


def detail(stage: Stage, state: State) -> str:
    """What the stage did, from the state of the execution after it."""
    describe = _DETAILS.get(stage.key)
    if describe is None:
        return _document(stage.key, state)
    try:
        return describe(state)
    except (KeyError, TypeError):
        return ""  # a machine of another release says other things


def waits_for(stage: Stage, state: State) -> str:
    """What a stage that has just begun waits for, where that is not plain from its title."""
    busy = state.get("plan", {}).get("busy") if stage == AWAIT_TURN else None
    return f"behind bake {busy['bake']}, which has the recipe" if busy else ""


def step_name(label: str) -> str:
    """The recipe's name for a step, from the label that Plan gave its command."""
    return label.removeprefix("Step '").removesuffix("'")


def check_name(label: str) -> str:
    """The same for a test."""
    return label.removeprefix("Test '").removesuffix("'")


def _plan(state: State) -> str:
    plan = state["plan"]
    if busy := plan.get("busy"):
        return f"the recipe is busy: bake {busy['bake']} is under way"
    if not plan["bake_needed"]:
        return str(plan["reason"])
    base = plan["base_image"]
    return f"{plan['reason']}; base {base['id']} ({base['name']})"


def _await_turn(state: State) -> str:
    return f"bake {state['await_turn']['holder'].rpartition(':')[2]} has ended"


def _clone_host(state: State) -> str:
    return f"{state['clone_host']['image_id']} of {state['plan']['host']['instance_id']}"


def _launch(state: State) -> str:
    launch = state["launch"]
    market = f", {launch['market']}" if "market" in launch else ""
    return f"{launch['instance_id']}, {launch['instance_type']}{market}"


def _await_managed(state: State) -> str:
    managed = state["await_managed"]
    return f"{managed['platform']} {managed['platform_version']}, agent {managed['agent_version']}"


def _prepare(state: State) -> str:
    lock = state["plan"]["prepare"].get("parameters", {}).get("LockRelease")
    locked = f", locked to release {lock[0]}" if lock else ""
    return f"{_document('prepare', state)}{locked}"


def _customize(state: State) -> str:
    count = len(state["plan"]["customize"])
    return f"{count} step{'' if count == 1 else 's'} done"


def _document(key: str, state: State) -> str:
    command = state.get("plan", {}).get(key)
    return f"{command['document']} version {command['version']}" if command else ""


def _stop(state: State) -> str:
    return f"{state['launch']['instance_id']} is stopped"


def _create_image(state: State) -> str:
    return f"{state['create_image']['image_id']} ({state['plan']['image_name']})"


def _harden_image(state: State) -> str:
    return "IMDSv2 only, encrypted"


def _test_and_copy(state: State) -> str:
    test, copies = state["plan"]["test"], state["test_and_copy"]["copies"][1:]
    tests = f"{count(len(test['checks']), 'test')} on {count(len(test['machines']), 'instance')}"
    made = sum(1 for it in copies if it["image_id"])
    left_out = [it["region"] for it in copies if not it["image_id"]]
    return "; ".join(
        [
            f"{tests} passed",
            *([f"{made} cop{'y' if made == 1 else 'ies'} made"] if made else []),
            *([f"LEFT OUT {', '.join(left_out)}"] if left_out else []),
        ]
    )


def _release(state: State) -> str:
    return (
        f"in {count(sum(1 for it in state['test_and_copy']['copies'] if it['image_id']), 'Region')}"
    )


def _publish(state: State) -> str:
    first, *others = state["plan"]["pointers"]
    more = f", and {len(others)} more" if others else ""
    return f"{first['name']} is now {state['create_image']['image_id']}{more}"


def _templates(state: State) -> str:
    found = state["plan"]["templates"]
    return ", ".join(it["id"] for it in found) or "the recipe names none"


def _keep_previous(state: State) -> str:
    return f"{state['keep_previous']['image'] or 'there was none'}"


def _retire(state: State) -> str:
    regions = state["retire"]["regions"]
    if not regions:
        return "the recipe keeps all images"
    done = sum(count for it in regions for verb, count in it["counts"].items() if verb != "keep")
    return f"{done} of {sum(sum(it['counts'].values()) for it in regions)} old images went a step"


def _clean_up(state: State) -> str:
    result = state["clean_up"]["result"]
    parts = [
        f"removed {', '.join(result['removed'])}" if result["removed"] else "nothing to remove"
    ]
    if result["left"]:
        parts.append(f"COULD NOT REMOVE {', '.join(result['left'])}")
    return "; ".join(parts)


_DETAILS: Mapping[str, Callable[[State], str]] = {
    "plan": _plan,
    "await_turn": _await_turn,
    "clone_host": _clone_host,
    "launch": _launch,
    "await_managed": _await_managed,
    "prepare": _prepare,
    "customize": _customize,
    "stop": _stop,
    "create_image": _create_image,
    "harden_image": _harden_image,
    "test_and_copy": _test_and_copy,
    "release": _release,
    "publish": _publish,
    "templates": _templates,
    "keep_previous": _keep_previous,
    "retire": _retire,
    "clean_up": _clean_up,
}
