"""Is it finished? Every answer of AWS to every kind of wait."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bakery import errors, verdicts
from bakery.bake import MAX_SAID_BYTES
from bakery.orphans import Execution
from bakery.resources import Instance, Invocation
from bakery.verdicts import Done, Failed
from bakery.waits import Kind, Wait
from tests.unit.samples import IMAGE, NOW

COMMAND = Wait(
    kind=Kind.COMMAND,
    target="command-1",
    token="t",
    bake="bake-1",
    begun=NOW - timedelta(hours=1),
    deadline=NOW,
    instance_id="i-1",
    label="Step 'packages'",
    error="CustomizationFailedError",
)
NEW = {"expected": NOW, "verified": NOW - timedelta(minutes=1)}
"""What a wait of this release has."""
OURS = COMMAND.model_copy(update={"sentinel": "ami-bakery: bake-1 done"})
ON_TEST = COMMAND.model_copy(
    update={"label": "Test 'answers'", "error": "TestFailedError", "on_test": True, **NEW}
)
STOP = COMMAND.model_copy(update={"kind": Kind.STOP, "target": "i-1"})
CREATE = COMMAND.model_copy(update={"kind": Kind.IMAGE, "target": IMAGE.id})
TURN = COMMAND.model_copy(
    update={
        "kind": Kind.TURN,
        "target": "other/bake-1",
        "execution": "arn:aws:states:eu-west-1:111122223333:execution:AmiBakery-Bake:other",
        "recipe": "web",
        "begun": NOW - timedelta(hours=12),
    }
)
RUNNING = Instance(id="i-1", state="running", instance_type="t3.medium")
TAKEN = ["Server.SpotInstanceShutdown", "Server.SpotInstanceTermination", "Server.ScheduledStop"]
BY_HAND = ["Client.UserInitiatedShutdown", "Client.InstanceInitiatedShutdown", ""]
LOST = errors.BuilderLostError
SUCCESS = Invocation(status="Success", exit_code=0, stdout="", stderr="")


def builder(state: str, code: str = "", reason: str = "") -> Instance:
    return replace(RUNNING, state=state, reason_code=code, reason=reason)


def failed(verdict: verdicts.Verdict) -> Failed:
    assert isinstance(verdict, Failed)
    return verdict


# --- time ---------------------------------------------------------------------------------------


def test_a_wait_within_its_budget_goes_on() -> None:
    assert verdicts.overdue(COMMAND, NOW - timedelta(seconds=1)) is None


@pytest.mark.parametrize("late", [timedelta(0), timedelta(hours=1)])
def test_a_wait_beyond_its_budget_fails_and_names_what_it_waited_for(late: timedelta) -> None:
    verdict = failed(verdicts.overdue(COMMAND, NOW + late))
    assert verdict.error == "StageTimedOutError"
    assert "Step 'packages'" in verdict.cause
    assert "command command-1" in verdict.cause


def test_a_turn_that_never_comes_fails_as_busy_and_names_who_has_the_recipe() -> None:
    verdict = failed(verdicts.overdue(TURN, NOW))
    assert verdict.error == "RecipeBusyError"
    assert verdict.cause.startswith("Recipe 'web' is being baked by another execution: other.")
    assert "has waited 12 hours" in verdict.cause


# --- turns --------------------------------------------------------------------------------------


def test_a_turn_comes_with_the_end_of_the_other_bake_however_that_is() -> None:
    running = Execution(recipe="web", started=NOW, ended=None, succeeded=False)
    assert verdicts.turn_verdict(TURN, running) is None
    for succeeded in (True, False):
        over = replace(running, ended=NOW, succeeded=succeeded)
        assert verdicts.turn_verdict(TURN, over) == Done(
            {"holder": TURN.execution, "since": TURN.begun.isoformat()}
        )


def test_a_bake_that_is_unknown_holds_nobody_up() -> None:
    assert isinstance(verdicts.turn_verdict(TURN, None), Done)


# --- commands -----------------------------------------------------------------------------------


@pytest.mark.failure(18)
@pytest.mark.parametrize("status", ["Pending", "InProgress", "Delayed", "Cancelling"])
def test_a_command_under_way_is_waited_for(status: str) -> None:
    assert verdicts.command_verdict(COMMAND, replace(SUCCESS, status=status), RUNNING) is None


@pytest.mark.failure(17)
def test_a_command_that_is_not_visible_yet_is_waited_for() -> None:
    assert verdicts.command_verdict(COMMAND, None, RUNNING) is None
    assert verdicts.command_verdict(COMMAND, None, None) is None


@pytest.mark.parametrize(
    "status",
    [
        "DeliveryTimedOut",
        "ExecutionTimedOut",
        "Failed",
        "Cancelled",
        "Undeliverable",
        "Terminated",
        "InvalidPlatform",
        "AccessDenied",
        "A status of tomorrow",
    ],
)
def test_every_other_end_of_a_command_is_the_failure_of_its_task(status: str) -> None:
    verdict = failed(
        verdicts.command_verdict(COMMAND, replace(SUCCESS, status=status, exit_code=-1), RUNNING)
    )
    assert verdict.error == "CustomizationFailedError"
    assert f"Step 'packages' ended as {status} with exit code -1 on i-1" in verdict.cause
    assert "(nothing on stderr)" in verdict.cause


@pytest.mark.failure(24)
def test_a_failure_quotes_no_more_than_a_state_carries() -> None:
    """A line can have any length, and a character more than one byte."""
    seen = Invocation(status="Failed", exit_code=1, stdout="", stderr="€" * 24_000 + " the end")
    verdict = failed(verdicts.command_verdict(COMMAND, seen, RUNNING))
    assert len(verdict.cause.encode()) < MAX_SAID_BYTES + 300
    assert verdict.cause.endswith("€ the end")


def test_a_failed_step_tells_its_name_exit_code_and_the_end_of_its_stderr() -> None:
    said = "\n".join(f"line {n}" for n in range(1, 31)) + "\n\n"
    seen = Invocation(status="Failed", exit_code=7, stdout="", stderr=said)
    lines = failed(verdicts.command_verdict(COMMAND, seen, RUNNING)).cause.splitlines()
    assert lines[0].startswith("Step 'packages' ended as Failed with exit code 7 on i-1")
    assert "command-1" in lines[0]
    assert lines[1:] == [f"| line {n}" for n in range(11, 31)]


def test_success_of_a_script_is_believed() -> None:
    assert verdicts.command_verdict(COMMAND, SUCCESS, RUNNING) == Done({"command_id": "command-1"})


def test_success_of_our_documents_is_believed_with_their_line() -> None:
    seen = replace(SUCCESS, stdout="working\nami-bakery: bake-1 done\n")
    assert verdicts.command_verdict(OURS, seen, RUNNING) == Done({"command_id": "command-1"})


@pytest.mark.parametrize(
    "stdout",
    ["", "working\n", "ami-bakery: bake-2 done\n", "+ echo ami-bakery: bake-1 done\n"],
)
def test_success_without_the_line_means_that_the_steps_were_skipped(stdout: str) -> None:
    verdict = failed(verdicts.command_verdict(OURS, replace(SUCCESS, stdout=stdout), RUNNING))
    assert verdict.error == "CustomizationFailedError"
    assert "'ami-bakery: bake-1 done' is missing" in verdict.cause
    assert "command-1" in verdict.cause
    assert "i-1" in verdict.cause


def test_a_failed_command_is_a_failure_though_the_line_is_there() -> None:
    seen = replace(SUCCESS, status="Failed", stdout=OURS.sentinel)
    assert failed(verdicts.command_verdict(OURS, seen, RUNNING)).error == "CustomizationFailedError"


@pytest.mark.parametrize("state", ["shutting-down", "terminated", "stopping", "stopped"])
@pytest.mark.parametrize("seen", [None, replace(SUCCESS, status="InProgress")])
def test_a_command_whose_builder_is_lost_fails_with_ec2s_reason(
    state: str, seen: Invocation | None
) -> None:
    gone = builder(state, "Client.UserInitiatedShutdown", "User initiated shutdown")
    verdict = failed(verdicts.command_verdict(COMMAND, seen, gone))
    assert verdict.error == "BuilderLostError"
    assert f"Builder i-1 is {state} during Step 'packages'" in verdict.cause
    assert "User initiated shutdown" in verdict.cause


@pytest.mark.parametrize("code", TAKEN)
@pytest.mark.parametrize("status", ["InProgress", "Failed", "Undeliverable", "Terminated"])
def test_a_builder_that_aws_takes_is_the_failure_whatever_became_of_its_command(
    code: str, status: str
) -> None:
    """A shutdown kills the script first; that is not the recipe's fault."""
    gone = builder("stopping", code, "taken")
    verdict = failed(verdicts.command_verdict(COMMAND, replace(SUCCESS, status=status), gone))
    assert verdict.error == "BuilderTakenError"
    assert "Builder i-1 is stopping during Step 'packages': taken" in verdict.cause


def test_a_command_that_failed_before_somebody_ended_the_builder_is_the_failure() -> None:
    gone = builder("stopping", "Client.UserInitiatedShutdown", "by somebody")
    seen = replace(SUCCESS, status="Failed")
    assert failed(verdicts.command_verdict(COMMAND, seen, gone)).error == "CustomizationFailedError"


@pytest.mark.parametrize("state", ["pending", "running"])
def test_a_spot_builder_that_was_started_again_since_is_taken(state: str) -> None:
    """EC2 does that as soon as it has room, perhaps before anybody looks."""
    again = replace(builder(state), spot=True, launched=COMMAND.begun + timedelta(seconds=1))
    verdict = failed(verdicts.command_verdict(COMMAND, None, again))
    assert verdict.error == "BuilderTakenError"
    assert "has started it again" in verdict.cause
    before = replace(again, launched=COMMAND.begun - timedelta(seconds=1))
    assert verdicts.command_verdict(COMMAND, None, before) is None
    assert verdicts.command_verdict(COMMAND, None, replace(again, spot=False)) is None


@pytest.mark.parametrize(
    ("code", "error"),
    [*((code, errors.BuilderTakenError) for code in TAKEN), *((c, LOST) for c in BY_HAND)],
)
def test_who_ended_a_builder_is_told_by_its_reason(code: str, error: type[Exception]) -> None:
    assert verdicts.loss(builder("terminated", code)) is error
    assert verdicts.loss(None) is LOST


@pytest.mark.parametrize("state", ["shutting-down", "terminated", "stopping", "stopped"])
@pytest.mark.parametrize("code", [*TAKEN, *BY_HAND])
def test_a_test_whose_instance_ends_has_lost_it_whoever_ended_it(state: str, code: str) -> None:
    """It is no builder: nothing is replaced for it."""
    gone = builder(state, code, "by somebody")
    for seen in (None, replace(SUCCESS, status="InProgress")):
        verdict = failed(verdicts.command_verdict(ON_TEST, seen, gone))
        assert verdict.error == "TestInstanceLostError"
        assert f"Test instance i-1 is {state} during Test 'answers': by somebody." in verdict.cause


@pytest.mark.parametrize("status", ["Failed", "ExecutionTimedOut", "Undeliverable"])
def test_a_test_that_fails_names_itself(status: str) -> None:
    seen = Invocation(status=status, exit_code=7, stdout="", stderr="refused")
    verdict = failed(verdicts.command_verdict(ON_TEST, seen, RUNNING))
    assert verdict.error == "TestFailedError"
    assert verdict.cause.startswith(f"Test 'answers' ended as {status} with exit code 7 on i-1")


def test_a_test_that_passes_is_done() -> None:
    assert verdicts.command_verdict(ON_TEST, SUCCESS, RUNNING) == Done({"command_id": "command-1"})


@pytest.mark.failure(23)
@pytest.mark.parametrize("state", ["pending", "running"])
def test_a_command_goes_on_while_its_builder_restarts(state: str) -> None:
    seen = replace(SUCCESS, status="InProgress")
    assert verdicts.command_verdict(COMMAND, seen, builder(state)) is None


def test_a_command_that_ended_counts_more_than_a_builder_that_stopped_afterwards() -> None:
    assert isinstance(verdicts.command_verdict(COMMAND, SUCCESS, builder("stopped")), Done)


def test_a_builder_lost_without_a_reason_says_that_there_is_none() -> None:
    verdict = failed(verdicts.command_verdict(COMMAND, None, builder("terminated")))
    assert "EC2 gives no reason" in verdict.cause


# --- stop ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pending", "running", "stopping"])
def test_a_builder_that_still_runs_is_waited_for(state: str) -> None:
    assert verdicts.stop_verdict(STOP, builder(state)) is None


@pytest.mark.parametrize(
    "code",
    [
        "Client.UserInitiatedShutdown",
        "Client.InstanceInitiatedShutdown",
        "",
        # A clean shutdown too, and nothing was left to do but that.
        "Server.SpotInstanceShutdown",
    ],
)
def test_a_builder_that_stopped_cleanly_is_done(code: str) -> None:
    assert verdicts.stop_verdict(STOP, builder("stopped", code)) == Done({"instance_id": "i-1"})


@pytest.mark.parametrize(
    "code",
    [
        "Server.ScheduledStop",
        "Server.InternalError",
        "Server.InsufficientInstanceCapacity",
    ],
)
def test_a_builder_whose_host_failed_is_never_imaged(code: str) -> None:
    verdict = failed(verdicts.stop_verdict(STOP, builder("stopped", code, "retired")))
    assert verdict.error == "BuilderTakenError"
    assert f"{code}: retired" in verdict.cause
    assert "not imaged" in verdict.cause


@pytest.mark.parametrize("state", ["shutting-down", "terminated"])
def test_a_builder_that_ended_instead_of_stopping_is_lost(state: str) -> None:
    verdict = failed(verdicts.stop_verdict(STOP, builder(state, reason="by somebody")))
    assert verdict == Failed(
        "BuilderLostError",
        f"Builder i-1 is {state} instead of stopped: by somebody. Start the bake again.",
    )


@pytest.mark.parametrize("state", ["shutting-down", "terminated"])
def test_a_builder_that_aws_ended_instead_of_stopping_is_taken(state: str) -> None:
    gone = builder(state, "Server.SpotInstanceTermination", "interrupted")
    assert failed(verdicts.stop_verdict(STOP, gone)).error == "BuilderTakenError"


def test_a_builder_that_ec2_does_not_know_any_more_is_lost() -> None:
    verdict = failed(verdicts.stop_verdict(STOP, None))
    assert verdict.error == "BuilderLostError"
    assert "Builder i-1 is gone" in verdict.cause


# --- image --------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pending", "transient"])
def test_an_image_in_the_making_is_waited_for(state: str) -> None:
    assert verdicts.image_verdict(CREATE, replace(IMAGE, state=state), NOW) is None


def test_an_image_that_ec2_does_not_show_yet_is_waited_for() -> None:
    assert verdicts.image_verdict(CREATE, None, CREATE.begun) is None


def test_an_available_image_is_done() -> None:
    assert verdicts.image_verdict(CREATE, IMAGE, NOW) == Done(
        {"region": "", "image_id": IMAGE.id, "failed": None}
    )


@pytest.mark.parametrize("state", ["failed", "error", "invalid", "deregistered", "disabled"])
def test_an_image_that_will_never_be_fails_with_ec2s_reason(state: str) -> None:
    image = replace(IMAGE, state=state, state_reason="Client.X: no key")
    verdict = failed(verdicts.image_verdict(CREATE, image, NOW))
    assert verdict.error == "ImageFailedError"
    assert f"Image {IMAGE.id} ({IMAGE.name}) is {state}: Client.X: no key." in verdict.cause


def test_an_image_that_failed_without_a_reason_says_so() -> None:
    verdict = failed(verdicts.image_verdict(CREATE, replace(IMAGE, state="failed"), NOW))
    assert "EC2 gives no reason" in verdict.cause


def test_an_image_that_is_still_not_there_after_ten_minutes_will_never_be() -> None:
    verdict = failed(verdicts.image_verdict(CREATE, None, CREATE.begun + timedelta(minutes=10)))
    assert verdict.error == "ImageFailedError"
    assert IMAGE.id in verdict.cause


COPY = CREATE.model_copy(
    update={"label": "Copying the image to eu-central-1", "region": "eu-central-1", **NEW}
)


def test_an_available_copy_is_done_with_its_region() -> None:
    assert verdicts.image_verdict(COPY, IMAGE, NOW) == Done(
        {"region": "eu-central-1", "image_id": IMAGE.id, "failed": None}
    )


@pytest.mark.parametrize("state", ["pending", "transient"])
def test_a_copy_in_the_making_is_waited_for(state: str) -> None:
    assert verdicts.image_verdict(COPY, replace(IMAGE, state=state), NOW) is None


@pytest.mark.parametrize("state", ["failed", "error", "invalid", "deregistered", "disabled"])
def test_a_copy_that_will_never_be_fails_with_its_region_and_ec2s_reason(state: str) -> None:
    image = replace(IMAGE, state=state, state_reason="Client.X: no key")
    verdict = failed(verdicts.image_verdict(COPY, image, NOW))
    assert verdict.error == "CopyFailedError"
    where = f"Image {IMAGE.id} ({IMAGE.name}) in eu-central-1 is {state}: Client.X: no key."
    assert where in verdict.cause


def test_a_copy_that_is_still_not_there_after_ten_minutes_will_never_be() -> None:
    assert verdicts.image_verdict(COPY, None, COPY.begun + timedelta(minutes=9)) is None
    verdict = failed(verdicts.image_verdict(COPY, None, COPY.begun + timedelta(minutes=10)))
    assert verdict.error == "CopyFailedError"
    assert f"{IMAGE.id} in eu-central-1 is not there" in verdict.cause


FAILURES = [
    verdicts.image_verdict(COPY, replace(IMAGE, state="failed", state_reason="why"), NOW),
    verdicts.image_verdict(COPY, None, NOW + timedelta(hours=1)),
    verdicts.overdue(COPY, NOW),
]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_copy_that_the_bake_can_do_without_ends_with_the_reason(failure: Failed) -> None:
    optional = COPY.model_copy(update={"optional": True})
    verdict = verdicts.tolerated(optional, failure)
    assert isinstance(verdict, Done)
    assert verdict.output["region"] == "eu-central-1"
    assert verdict.output["image_id"] is None
    assert failed(failure).cause.startswith(str(verdict.output["failed"]).removesuffix("..."))


@pytest.mark.parametrize("failure", FAILURES)
def test_a_copy_that_the_recipe_wants_everywhere_is_not_tolerated(failure: Failed) -> None:
    assert verdicts.tolerated(COPY, failure) is failure


@pytest.mark.parametrize("verdict", [None, Done({"image_id": "ami-1"})])
def test_what_has_not_failed_needs_no_tolerance(verdict: verdicts.Verdict) -> None:
    optional = COPY.model_copy(update={"optional": True})
    assert verdicts.tolerated(optional, verdict) is verdict


def test_the_reason_of_a_copy_that_is_left_out_is_short_enough_for_one_in_every_region() -> None:
    optional = COPY.model_copy(update={"optional": True})
    verdict = verdicts.tolerated(optional, Failed("CopyFailedError", "x" * 9_000))
    assert isinstance(verdict, Done)
    assert len(str(verdict.output["failed"])) == 200


def test_a_copy_without_a_failure_says_none() -> None:
    assert verdicts.copied("eu-west-1", "ami-1") == Done(
        {"region": "eu-west-1", "image_id": "ami-1", "failed": None}
    )


def test_every_error_of_a_verdict_is_one_that_the_product_declares() -> None:
    declared = {n for n, k in vars(errors).items() if isinstance(k, type)}
    lost = verdicts.stop_verdict(STOP, None)
    late = verdicts.overdue(COMMAND, NOW)
    bad = verdicts.image_verdict(CREATE, replace(IMAGE, state="failed"), NOW)
    copy = verdicts.image_verdict(COPY, replace(IMAGE, state="failed"), NOW)
    ended = verdicts.command_verdict(ON_TEST, None, builder("terminated"))
    assert {failed(verdict).error for verdict in (lost, late, bad, copy, ended)} <= declared


def test_a_builder_that_was_started_since_it_was_verified_is_not_believed_to_be_stopped() -> None:
    wait = STOP.model_copy(update=NEW)
    again = replace(RUNNING, state="stopped", spot=True, launched=NOW)
    verdict = verdicts.stop_verdict(wait, again)
    assert isinstance(verdict, Failed) and verdict.error == "BuilderTakenError"
    redriven = wait.model_copy(update={"redriven": True})
    verdict = verdicts.stop_verdict(redriven, again)
    assert isinstance(verdict, Failed) and verdict.error == "BuilderLostError"
    assert isinstance(
        verdicts.stop_verdict(wait, replace(again, launched=NOW - timedelta(hours=1))), Done
    )


def test_a_bake_of_the_release_before_hears_of_no_error_that_it_does_not_know() -> None:
    taken = Failed("BuilderTakenError", "why")
    assert verdicts.known_to_release(COMMAND, taken) == Failed("BuilderLostError", "why")
    assert verdicts.known_to_release(COMMAND.model_copy(update=NEW), taken) == taken
    for other in (None, Done({}), Failed("ImageFailedError", "why")):
        assert verdicts.known_to_release(COMMAND, other) == other
