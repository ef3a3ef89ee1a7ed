"""Step Functions: the synthesized definition with the asset's handlers, in AWS time."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.local.bench import Bench, refused

if TYPE_CHECKING:
    from scripts.local import LocalAws


def test_a_direct_task_runs_the_assets_handler_with_the_stacks_environment(bench: Bench) -> None:
    ended = bench.run(path="none")
    assert ended["status"] == "SUCCEEDED"
    echo = json.loads(ended["output"])["echo"]
    assert echo["event"] == {"path": "none"}
    assert echo["environment"]["TABLE"] == bench.outputs["Table"]


def test_a_token_wait_is_resumed_by_an_ec2_event_through_the_deployed_rule(bench: Bench) -> None:
    instance = bench.in_state(bench.launch(), "running")
    ended = bench.run(path="Wait", subject=instance)
    assert ended["status"] == "SUCCEEDED"
    resumed = json.loads(ended["output"])["resumed"]
    assert resumed["detail"] == {"instance-id": instance, "state": "stopped"}


def test_a_token_that_nobody_uses_times_out_in_aws_time(bench: Bench) -> None:
    began = time.monotonic()
    ended = bench.run(path="Wait", subject="nobody")
    assert (ended["status"], ended["error"]) == ("FAILED", "TooLate")
    assert (ended["stopDate"] - ended["startDate"]).total_seconds() >= 600
    assert time.monotonic() - began < 20


def test_the_error_name_of_a_direct_task_is_the_exceptions_type(bench: Bench) -> None:
    output = json.loads(bench.run(path="Raise", what="raise")["output"])
    assert output["caught"] == "NoRoomError"
    cause = json.loads(output["cause"])
    assert cause["errorMessage"] == "nothing free in zone a"
    assert "raises.py" in "".join(cause["stackTrace"])


def test_retries_wait_their_intervals_in_aws_time(bench: Bench) -> None:
    ended = bench.run(path="Flaky")
    assert json.loads(ended["output"])["tries"] == 3
    assert (ended["stopDate"] - ended["startDate"]).total_seconds() >= 90


def test_a_map_runs_its_items_in_order(bench: Bench) -> None:
    ended = bench.run(path="Each", items=[1, 2, 3])
    assert json.loads(ended["output"])["events"] == [1, 2, 3]


def test_history_is_dated_in_aws_time_and_can_be_read_backwards(
    bench: Bench, aws: LocalAws
) -> None:
    before = aws.clock.now()
    arn = bench.start(path="Flaky")
    aws.finished(arn)
    history = aws.client("stepfunctions").get_execution_history
    events = history(executionArn=arn)["events"]
    assert events[0]["type"] == "ExecutionStarted"
    assert before - timedelta(seconds=5) <= events[0]["timestamp"] <= events[-1]["timestamp"]
    assert events[-1]["timestamp"] - events[0]["timestamp"] >= timedelta(seconds=90)
    assert history(executionArn=arn, reverseOrder=True)["events"][0]["type"] == "ExecutionSucceeded"


def test_stop_execution_ends_a_token_wait_as_aborted(bench: Bench, aws: LocalAws) -> None:
    arn = bench.start(path="Wait", subject="nobody")
    aws.until(lambda: aws.executions.engine.tokens.endpoints)
    states = aws.client("stepfunctions")
    states.stop_execution(executionArn=arn, error="Operator", cause="enough")
    ended = states.describe_execution(executionArn=arn)
    assert (ended["status"], ended["error"], ended["cause"]) == ("ABORTED", "Operator", "enough")
    token = next(iter(aws.executions.engine.tokens.endpoints))
    with pytest.raises(ClientError) as error:
        states.send_task_success(taskToken=token, output="{}")
    assert refused(error) == "TaskTimedOut"


def test_stop_execution_ends_a_pause_at_once(bench: Bench, aws: LocalAws) -> None:
    arn = bench.start(path="Pause")
    states = aws.client("stepfunctions")
    aws.until(
        lambda: any(
            e["type"] == "WaitStateEntered"
            for e in states.get_execution_history(executionArn=arn)["events"]
        )
    )
    states.stop_execution(executionArn=arn)
    assert states.describe_execution(executionArn=arn)["status"] == "ABORTED"


def test_the_machines_own_time_out_ends_as_timed_out(aws: LocalAws) -> None:
    states = aws.client("stepfunctions")
    role = aws.client("iam").list_roles()["Roles"][0]["Arn"]
    definition = {
        "TimeoutSeconds": 120,
        "StartAt": "P",
        "States": {"P": {"Type": "Wait", "Seconds": 9999, "End": True}},
    }
    machine = states.create_state_machine(
        name="short", definition=json.dumps(definition), roleArn=role
    )
    arn = states.start_execution(stateMachineArn=machine["stateMachineArn"])["executionArn"]
    ended = aws.finished(arn)
    assert ended["status"] == "TIMED_OUT"
    assert ended["stopDate"] - ended["startDate"] >= timedelta(seconds=120)


@pytest.mark.parametrize("path", ["none", "Wait"])
def test_an_execution_can_start_another_and_wait_for_its_end(
    bench: Bench, aws: LocalAws, path: str
) -> None:
    """The shapes are those of the integration: capital letters, JSON instead of texts."""
    states = aws.client("stepfunctions")
    role = aws.client("iam").list_roles()["Roles"][0]["Arn"]
    start = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Parameters": {
            "StateMachineArn": bench.outputs["BakeStateMachineArn"],
            "Input": {"path": path, "subject": "nobody"},
            "Name": f"nested-{path}",
        },
        "End": True,
    }
    machine = states.create_state_machine(
        name=f"outer-{path}",
        definition=json.dumps({"StartAt": "Start", "States": {"Start": start}}),
        roleArn=role,
    )["stateMachineArn"]
    aws.iam_enforced = False
    try:
        ended = aws.finished(states.start_execution(stateMachineArn=machine)["executionArn"])
    finally:
        aws.iam_enforced = True
    if path == "Wait":
        assert (ended["status"], ended["error"]) == ("FAILED", "States.TaskFailed")
        assert json.loads(ended["cause"])["Error"] == "TooLate"
        return
    output = json.loads(ended["output"])
    assert output["Status"] == "SUCCEEDED"
    assert output["Name"] == "nested-none"
    assert output["Input"]["path"] == "none"
    assert output["Output"]["echo"]["event"] == {"path": "none", "subject": "nobody"}
    assert isinstance(output["StartDate"], int)


def test_tokens_work_once(bench: Bench, aws: LocalAws) -> None:
    arn = bench.start(path="Wait", subject="once")
    aws.until(
        lambda: (
            aws.client("dynamodb")
            .get_item(TableName=bench.outputs["Table"], Key={"id": {"S": "once"}})
            .get("Item")
        )
    )
    item = aws.client("dynamodb").get_item(
        TableName=bench.outputs["Table"], Key={"id": {"S": "once"}}
    )["Item"]
    states, token = aws.client("stepfunctions"), item["token"]["S"]
    with pytest.raises(ClientError) as error:
        states.send_task_success(taskToken=token, output="no json")
    assert refused(error) == "InvalidOutput"
    states.send_task_failure(taskToken=token, error="Mine", cause="because")
    ended = aws.finished(arn)
    assert (ended["status"], ended["error"], ended["cause"]) == ("FAILED", "Mine", "because")
    with pytest.raises(ClientError) as error:
        states.send_task_success(taskToken=token, output="{}")
    assert refused(error) == "TaskTimedOut"
    with pytest.raises(ClientError) as error:
        states.send_task_success(taskToken="never-given", output="{}")
    assert refused(error) == "InvalidToken"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"input": "{"}, "InvalidExecutionInput"),
        ({"input": json.dumps("x" * 262_144)}, "ValidationException"),
        ({"name": "2022-03-22T18:59:43Z"}, "InvalidName"),
        ({"name": "x" * 81}, "InvalidName"),
        (
            {"stateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:none"},
            "StateMachineDoesNotExist",
        ),
    ],
)
def test_start_execution_refuses(
    bench: Bench, aws: LocalAws, given: dict[str, Any], code: str
) -> None:
    with pytest.raises(ClientError) as error:
        aws.client("stepfunctions").start_execution(
            **{"stateMachineArn": bench.outputs["BakeStateMachineArn"], **given}
        )
    assert refused(error) == code


def test_names_make_starts_idempotent_and_are_invented_when_missing(
    bench: Bench, aws: LocalAws
) -> None:
    states, machine = aws.client("stepfunctions"), bench.outputs["BakeStateMachineArn"]
    given = {"stateMachineArn": machine, "name": "b-1", "input": json.dumps({"path": "Pause"})}
    first = states.start_execution(**given)["executionArn"]
    assert states.start_execution(**given)["executionArn"] == first
    with pytest.raises(ClientError) as error:
        states.start_execution(**{**given, "input": "{}"})
    assert refused(error) == "ExecutionAlreadyExists"
    nameless = {
        states.start_execution(stateMachineArn=machine, input='{"path": "x"}')["executionArn"]
        for _ in "ab"
    }
    assert len(nameless) == 2


def test_a_result_over_the_limit_is_a_data_limit_error(bench: Bench) -> None:
    ended = bench.run(path="Grow", what="size", size=300_000)
    assert (ended["status"], ended["error"]) == ("FAILED", "States.DataLimitExceeded")


def test_context_times_are_iso_with_a_zone(bench: Bench, aws: LocalAws) -> None:
    bench.start(path="Wait", subject="look")
    call = aws.until(
        lambda: [
            c
            for c in aws.calls.of("lambda", "Invoke")
            if b"look" in c.parameters["Payload"] and b"token" in c.parameters["Payload"]
        ]
    )[0]
    entered = json.loads(call.parameters["Payload"])["entered"]
    assert entered.endswith("Z")
    assert abs(datetime.fromisoformat(entered) - aws.clock.now()) < timedelta(hours=1)


def test_status_changes_are_events_in_awss_shape(bench: Bench, aws: LocalAws) -> None:
    arn = bench.start(path="none")
    aws.finished(arn)
    events = aws.until(
        lambda: (
            found
            if len(found := aws.events.of("Step Functions Execution Status Change")) == 2
            else None
        )
    )
    running, ended = (e["detail"] for e in events)
    assert (running["status"], running["stopDate"], running["output"]) == ("RUNNING", None, None)
    assert (ended["status"], ended["executionArn"]) == ("SUCCEEDED", arn)
    assert isinstance(ended["startDate"], int) and ended["stopDate"] >= ended["startDate"]
    assert json.loads(ended["input"]) == {"path": "none"} and ended["inputDetails"] == {
        "included": True
    }
    assert events[1]["resources"] == [arn]
