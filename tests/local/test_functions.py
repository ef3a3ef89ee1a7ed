"""Lambda: separate processes, the asset's own code, honest errors, time-outs, retries, logs."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.local.bench import Bench, refused

if TYPE_CHECKING:
    from scripts.local import LocalAws
    from scripts.local.lambdas import Function, Worker


def call(aws: LocalAws, function: str, **event: Any) -> Any:
    outcome = aws.invoke(function, json.dumps(event))
    answer = json.loads(outcome.payload)
    return (outcome.error, answer) if outcome.error else answer


def test_a_function_has_a_process_and_an_environment_of_its_own(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAKED", "yes")
    echo = call(aws, "Echo")
    assert echo["pid"] != os.getpid()
    environment = echo["environment"]
    assert "LEAKED" not in environment and "PYTEST_CURRENT_TEST" not in environment
    assert environment["MODULE"] == "tasks.echo"
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == echo["name"] == aws.physical("Echo")
    assert environment["AWS_REGION"] == "us-east-1" and environment["AWS_ENDPOINT_URL"] == aws.url
    assert environment["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert call(aws, "Echo")["pid"] == echo["pid"], "a warm environment is used again"


def test_the_handler_comes_from_the_asset_and_compiled_packages_from_here(
    aws: LocalAws, assembly: Path
) -> None:
    echo = call(aws, "Echo")
    assert Path(echo["module"]).is_relative_to(assembly)
    assert Path(echo["cwd"]) == Path(echo["environment"]["LAMBDA_TASK_ROOT"])
    assert not Path(echo["pydantic"]).is_relative_to(assembly)
    assert not list(assembly.rglob("__pycache__"))


def test_while_a_function_starts_cold_it_is_not_idle(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for the end of all functions waits for one whose process is not there yet, too."""
    seen: list[bool] = []
    start = aws.lambdas._start

    def starting(function: Function) -> Worker:
        seen.append(aws.lambdas.idle)
        return start(function)

    aws.lambdas.functions[aws.physical("Echo")].idle.clear()
    monkeypatch.setattr(aws.lambdas, "_start", starting)
    call(aws, "Echo")
    assert seen == [False]
    assert aws.lambdas.idle


def test_functions_live_in_aws_time(aws: LocalAws) -> None:
    aws.clock.advance(days=30)
    told = datetime.fromisoformat(call(aws, "Echo")["now"])
    assert abs((told - aws.clock.now()).total_seconds()) < 60 * aws.clock.scale / 60


def test_real_work_takes_real_time(aws: LocalAws) -> None:
    aws.ec2.durations.pending = 1
    call(aws, "Echo")
    before, began = aws.clock.timestamp(), time.monotonic()
    with aws.clock.busy():
        time.sleep(0.2)
        assert aws.clock.timestamp() - before < 100 * (time.monotonic() - began)


def test_errors_are_reported_as_the_runtime_does(aws: LocalAws) -> None:
    error, report = call(aws, "Raises", what="raise")
    assert error == "Unhandled"
    assert (report["errorType"], report["errorMessage"]) == (
        "NoRoomError",
        "nothing free in zone a",
    )
    assert report["stackTrace"] and all("worker.py" not in frame for frame in report["stackTrace"])


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("exit", "Runtime.ExitError"),
        ("die", "Runtime.ExitError"),
        ("object", "Runtime.MarshalError"),
        ("big", "Function.ResponseSizeTooLarge"),
    ],
)
def test_other_ways_to_fail(aws: LocalAws, what: str, kind: str) -> None:
    _error, report = call(aws, "Raises", what=what)
    assert report["errorType"] == kind
    assert call(aws, "Raises", what="fine again") == "fine again"


def test_a_hung_function_is_killed_and_told_so(aws: LocalAws) -> None:
    aws.lambdas.grace = 0.5
    began = time.monotonic()
    error, report = call(aws, "Raises", what="hang")
    assert time.monotonic() - began < 5
    assert (error, report["errorType"]) == ("Unhandled", "Sandbox.Timedout")
    assert "Task timed out after 3.00 seconds" in report["errorMessage"]


def test_the_api_has_limits_and_knows_its_functions(aws: LocalAws) -> None:
    client = aws.client("lambda")
    with pytest.raises(ClientError) as error:
        client.invoke(
            FunctionName=aws.physical("Echo"), Payload=b'"' + b"x" * (6 * 1024 * 1024) + b'"'
        )
    assert refused(error) == "RequestTooLargeException"
    with pytest.raises(ClientError) as error:
        client.invoke(FunctionName="nobody")
    assert refused(error) == "ResourceNotFoundException"
    assert client.get_function(FunctionName=aws.physical("Echo"))["Configuration"]["Timeout"] == 3


def test_what_a_function_prints_is_in_its_log_group(aws: LocalAws) -> None:
    call(aws, "Echo", hello=1)
    assert any(line.text == "echo says ['hello']" for line in aws.function_logs)
    group = f"/aws/lambda/{aws.physical('Echo')}"
    messages = [
        e["message"] for e in aws.client("logs").filter_log_events(logGroupName=group)["events"]
    ]
    assert "echo says ['hello']" in messages and any(
        m.startswith("REPORT RequestId") for m in messages
    )


def test_an_event_invocation_is_retried_and_dead_lettered(aws: LocalAws) -> None:
    function = aws.physical("Resume")
    answer = aws.client("lambda").invoke(
        FunctionName=function, InvocationType="Event", Payload=b'{"fail": true}'
    )
    assert answer["StatusCode"] == 202
    sqs, queue = aws.client("sqs"), aws.physical("Dead")
    found = aws.until(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
    record = json.loads(found[0]["Body"])
    assert record["requestContext"]["approximateInvokeCount"] == 2
    assert record["responsePayload"]["errorType"] == "RuntimeError"


def test_functions_run_at_the_same_time(bench: Bench) -> None:
    arns = [bench.start(path="none", n=n) for n in range(8)]
    assert {bench.aws.finished(arn)["status"] for arn in arns} == {"SUCCEEDED"}
