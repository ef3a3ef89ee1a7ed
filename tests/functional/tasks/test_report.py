"""Report: the execution's output, computed from its state alone."""

from typing import Any

import pytest

from bakery.stages import STAGES
from tests.functional.conftest import FunctionFailedError
from tests.functional.making import Making

IMAGE = "ami-0c0de180400000012"


def entered(minute: int) -> dict[str, str]:
    return {"entered": f"2026-01-01T03:{minute:02}:00.000Z"}


def state_of(making: Making) -> dict[str, Any]:
    """The state of a bake that went well: a minute for each stage."""
    state: dict[str, Any] = {stage: entered(minute) for minute, stage in enumerate(STAGES)}
    state["plan"] = {**making.plan, **entered(0)}
    state["launch"] |= {"instance_id": "i-0123456789abcdef0", "instance_type": "t3.small"}
    state["create_image"] |= {"image_id": IMAGE}
    state["keep_previous"] |= {"image": None}
    tested = entered(STAGES.index("test_and_copy"))["entered"]
    copies = [{"region": "eu-west-1", "image_id": IMAGE}]
    state["test_and_copy"] |= {"tested": tested, "copies": copies}
    return state


def report(making: Making, state: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = making.world.invoke("report", {"state": state})
    return result


def test_a_bake_is_told_by_the_contract(making: Making) -> None:
    result = report(making, state_of(making))
    timeline = result.pop("timeline")
    assert result == {
        "recipe": "small",
        "outcome": "baked",
        "image": {"id": IMAGE, "name": making.plan["image_name"], "region": "eu-west-1"},
        "copies": {},
        "left_out": {},
        "previous": None,
        "estimated_cost_usd": result["estimated_cost_usd"],
        "reason": "first image of this recipe",
        "left": [],
        "changes": None,
        "shared": [],
        "skipped_slot": None,
        "retired": [],
    }
    assert [stage["stage"] for stage in timeline] == list(STAGES)
    assert [stage["seconds"] for stage in timeline[:-1]] == [60.0] * (len(STAGES) - 1)
    assert timeline[0]["started"] == "2026-01-01T03:00:00Z"


def test_its_cost_is_that_of_the_type_that_ran_until_the_image_was_begun(making: Making) -> None:
    hours = (STAGES.index("create_image") - STAGES.index("launch")) / 60
    cost = report(making, state_of(making))["estimated_cost_usd"]
    assert cost == pytest.approx(hours * making.plan["usd_per_hour"]["t3.small"], abs=0.002)


def test_what_the_retirement_of_old_images_did_and_could_not_do_is_told(making: Making) -> None:
    state = state_of(making)
    region = {"region": "eu-west-1", "counts": {"keep": 5, "disable": 1}}
    state["retire"]["regions"] = [
        {**region, "done": ["ami-1: disable: old"], "left": ["ami-2: no"]}
    ]
    result = report(making, state)
    assert result["retired"] == ["eu-west-1: ami-1: disable: old"]
    assert result["left"] == ["retirement in eu-west-1: ami-2: no"]


def test_a_retirement_that_failed_is_told_and_the_bake_is_none_the_worse(making: Making) -> None:
    state = state_of(making)
    del state["retire"]
    state["retire_failure"] = {"Error": "ThrottledError", "Cause": '{"errorMessage": "too fast"}'}
    result = report(making, state)
    assert (result["outcome"], result["retired"]) == ("baked", [])
    (left,) = result["left"]
    assert left.startswith("retirement of old images: ") and "too fast" in left


def test_called_twice_it_says_the_same_but_for_the_time_of_the_last_stage(making: Making) -> None:
    state = state_of(making)
    first, second = report(making, state), report(making, state)
    first["timeline"].pop()
    second["timeline"].pop()
    assert first == second


def test_it_calls_nothing(making: Making) -> None:
    report(making, state_of(making))
    assert making.world.aws.calls.of(role="Report") == []


def test_a_bake_that_was_not_needed_names_the_current_image(making: Making) -> None:
    plan = {
        **making.plan,
        **entered(0),
        "bake_needed": False,
        "reason": f"nothing has changed since image {IMAGE}",
        "current": {"image": IMAGE, "name": "small-1"},
    }
    result = report(making, {"plan": plan})
    assert result["outcome"] == "unchanged"
    assert result["image"] == {"id": IMAGE, "name": "small-1", "region": "eu-west-1"}
    assert result["previous"] is None
    assert result["reason"] == f"nothing has changed since image {IMAGE}"
    assert [stage["stage"] for stage in result["timeline"]] == ["plan"]


def test_a_slot_that_another_bake_has_may_have_no_image_yet(making: Making) -> None:
    plan = {**making.plan, **entered(0), "bake_needed": False, "reason": "delivered twice"}
    result = report(making, {"plan": plan})
    assert (result["outcome"], result["image"]) == ("unchanged", None)


def test_a_slot_that_came_too_late_is_told(making: Making) -> None:
    slot = "2026-01-01T00:00:00Z"
    plan = {**making.plan, **entered(0), "bake_needed": False, "skipped_slot": slot}
    result = report(making, {"plan": plan})
    assert (result["outcome"], result["skipped_slot"]) == ("unchanged", slot)


def test_a_bake_that_joined_another_names_its_image_and_how_long_it_waited(making: Making) -> None:
    plan = {**making.plan, **entered(0), "bake_needed": False, "reason": "joined bake other"}
    plan["current"] = {"image": IMAGE, "name": "small-1"}
    state = {"recipe": "small", "plan": plan, "await_turn": {**entered(1), "holder": "arn:other"}}
    result = report(making, state)
    assert result["image"]["id"] == IMAGE
    assert [stage["stage"] for stage in result["timeline"]] == ["plan", "await_turn"]
    assert result["timeline"][0]["seconds"] == 60.0


def test_what_clean_up_has_left_is_told(making: Making) -> None:
    state = state_of(making)
    state["clean_up"] |= {"result": {"removed": [], "left": ["instance i-1: protected"]}}
    assert report(making, state)["left"] == ["instance i-1: protected"]


def test_a_clean_up_that_failed_as_a_whole_is_told(making: Making) -> None:
    state = state_of(making)
    del state["clean_up"]
    state["clean_up_failure"] = {"Error": "ThrottledError", "Cause": "too many calls"}
    (left,) = report(making, state)["left"]
    assert "anything that carries this execution's name" in left
    assert "ThrottledError: too many calls" in left


@pytest.mark.parametrize(
    ("inventory", "told"),
    [
        ({**entered(9), "summary": "17 updated", "key": "inventories/small/x"}, "17 updated"),
        (
            {"Error": "AccessDeniedError", "Cause": '{"errorMessage": "s3:PutObject failed"}'},
            "not recorded: AccessDeniedError: s3:PutObject failed",
        ),
        ({"Error": "States.Timeout"}, "not recorded: States.Timeout"),
    ],
)
def test_what_has_changed_is_told_or_why_nobody_knows(
    making: Making, inventory: dict[str, str], told: str
) -> None:
    state = state_of(making)
    state["test_and_copy"] |= {"inventory": inventory}
    assert report(making, state)["changes"] == told


def test_keys_that_a_later_release_added_are_ignored(making: Making) -> None:
    state = {**state_of(making), "newer": {"entered": "2026-01-01T03:30:00.000Z"}}
    state["plan"] = {**state["plan"], "newer": 1}
    assert report(making, state)["outcome"] == "baked"


def test_a_state_without_a_plan_is_a_defect_and_fails(making: Making) -> None:
    with pytest.raises(FunctionFailedError) as failed:
        report(making, {})
    assert failed.value.name == "KeyError"


def test_a_builder_that_was_replaced_is_in_reason_timeline_and_cost(making: Making) -> None:
    state = state_of(making)
    lost = {
        "entered": "2026-01-01T02:00:00.000Z",
        "replaced": "2026-01-01T02:30:00+00:00",
        "instance_id": "i-0fedcba9876543210",
        "instance_type": "t3a.small",
        "why": "Server.SpotInstanceShutdown",
    }
    state["plan"]["entered"] = "2026-01-01T01:59:00.000Z"
    plain = report(making, state)
    told = report(making, {**state, "lost_builder": lost})
    assert told["reason"] == (
        "first image of this recipe; builder i-0fedcba9876543210 was replaced: "
        "Server.SpotInstanceShutdown"
    )
    assert [it["stage"] for it in told["timeline"]][:3] == ["plan", "lost_builder", "launch"]
    assert told["timeline"][1]["started"] == "2026-01-01T02:00:00Z"
    extra = told["estimated_cost_usd"] - plain["estimated_cost_usd"]
    assert extra == pytest.approx(making.plan["usd_per_hour"]["t3a.small"] / 2, abs=0.0002)
