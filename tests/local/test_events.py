"""EventBridge and Scheduler: rules, transformers, interference; rates by the clock, cron on
demand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from scripts.local import LocalAws, events

if TYPE_CHECKING:
    from tests.local.bench import Bench

STATE = "EC2 Instance State-change Notification"


def resumed(aws: LocalAws) -> list[str]:
    """The states that reached the function, by what it printed."""
    lines = [line.text for line in aws.function_logs if line.function == aws.physical("Resume")]
    return [json.loads(t)["detail"]["state"] for t in lines if t.startswith("{")]


def stop(bench: Bench) -> str:
    instance = bench.in_state(bench.launch(), "running")
    bench.aws.client("ec2").stop_instances(InstanceIds=[instance])
    return bench.in_state(instance, "stopped")


def test_only_what_the_rule_matches_reaches_the_function(bench: Bench) -> None:
    instance = stop(bench)
    bench.aws.client("ec2").terminate_instances(InstanceIds=[instance])
    bench.in_state(instance, "terminated")
    bench.aws.until(lambda: len(resumed(bench.aws)) == 2)
    assert sorted(resumed(bench.aws)) == ["stopped", "terminated"]


def test_a_function_without_permission_is_not_invoked(bench: Bench) -> None:
    bench.aws.lambdas.find(bench.aws.physical("Resume")).permissions.clear()
    stop(bench)
    bench.aws.until(lambda: bench.aws.events.failures)
    assert "no permission" in bench.aws.events.failures[0].reason and not resumed(bench.aws)


def test_events_are_dropped_duplicated_and_held(bench: Bench) -> None:

    def stopped(event: events.Event) -> bool:
        return bool(event["detail"]["state"] == "stopped")

    aws = bench.aws
    lost = aws.events.drop(STATE, when=stopped)
    stop(bench)
    twice = aws.events.duplicate(STATE, when=stopped)
    stop(bench)
    aws.until(lambda: len(resumed(aws)) == 2)
    held = aws.events.hold(STATE, when=stopped)
    stop(bench)
    aws.until(lambda: held.held)
    aws.clock.advance(hours=1)
    assert (lost.matched, twice.matched, len(resumed(aws))) == (1, 1, 2)
    assert aws.events.release(held) == 1
    aws.until(lambda: len(resumed(aws)) == 3)
    assert len([e for e in aws.events.of(STATE) if stopped(e)]) == 3


def test_the_products_events_reach_a_topic_transformed(bench: Bench) -> None:
    entry = {
        "Source": "ami-bakery",
        "DetailType": "Bake Succeeded",
        "Detail": json.dumps({"image": {"id": "ami-1"}}),
    }
    aws = bench.aws
    assert aws.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0
    sqs = aws.client("sqs")
    found = aws.until(lambda: sqs.receive_message(QueueUrl=aws.physical("Notes")).get("Messages"))
    assert json.loads(found[0]["Body"]) == {"text": "Bake Succeeded: ami-1", "id": "ami-1"}
    assert aws.events.of("Bake Succeeded")[0]["source"] == "ami-bakery"


@pytest.mark.parametrize("allowed", [True, False])
def test_a_rule_with_a_role_publishes_only_with_its_right(bench: Bench, allowed: bool) -> None:
    aws = bench.aws
    iam, rules = aws.client("iam"), aws.client("events")
    role = aws.physical("MachineRole")
    if allowed:
        may = {"Effect": "Allow", "Action": "sns:Publish", "Resource": aws.physical("Topic")}
        document = json.dumps({"Version": "2012-10-17", "Statement": [may]})
        iam.put_role_policy(RoleName=role, PolicyName="tell", PolicyDocument=document)
    rule, arn = aws.physical("Announce"), iam.get_role(RoleName=role)["Role"]["Arn"]
    (target,) = rules.list_targets_by_rule(Rule=rule)["Targets"]
    rules.put_targets(Rule=rule, Targets=[{**target, "RoleArn": arn}])
    detail = json.dumps({"image": {"id": "ami-1"}})
    entry = {"Source": "ami-bakery", "DetailType": "Bake Succeeded", "Detail": detail}
    rules.put_events(Entries=[entry])
    if allowed:
        sqs, queue = aws.client("sqs"), aws.physical("Notes")
        assert aws.until(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
        assert not aws.events.failures
    else:
        failure = aws.until(lambda: aws.events.failures)[0]
        assert f"{arn} may not sns:Publish on {aws.physical('Topic')}" in failure.reason


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (
            {"Source": "aws.ec2", "DetailType": "x", "Detail": "{}"},
            "NotAuthorizedForSourceException",
        ),
        ({"Source": "x", "DetailType": "x", "Detail": "no json"}, "MalformedDetail"),
        ({"Source": "x", "DetailType": "x"}, "InvalidArgument"),
    ],
)
def test_put_events_refuses_single_entries(ec2: Bench, entry: dict[str, str], code: str) -> None:
    answer = ec2.aws.client("events").put_events(Entries=[entry])
    assert answer["FailedEntryCount"] == 1 and answer["Entries"][0]["ErrorCode"] == code


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ('{"a": <a>, "b": "<b> and <a>"}', '{"a": 1, "b": "two \\"2\\" and 1"}'),
        ('"plain <b>"', '"plain two \\"2\\""'),
        ('{"all": <aws.events.event.json>}', None),
        ('{"none": <none>}', '{"none": ""}'),
    ],
)
def test_input_transformers(template: str, text: str | None) -> None:
    event: dict[str, Any] = {"detail": {"a": 1, "b": 'two "2"'}, "resources": ["r"]}
    paths = {"a": "$.detail.a", "b": "$.detail.b", "none": "$.detail.none"}
    made = events.transform(paths, template, event)
    assert json.loads(made) == ({"all": event} if text is None else json.loads(text))


def test_a_rate_fires_with_the_clock_and_a_cron_only_on_demand(aws: LocalAws) -> None:
    aws.schedules.paused = False
    sweep, nightly = aws.schedules.find("Sweep"), aws.schedules.find("nightly-web")
    aws.until(lambda: len(sweep.fired) >= 3)
    aws.clock.advance(days=2)
    assert nightly.fired == []
    calls = [line for line in aws.function_logs if line.text == "echo says ['sweep']"]
    assert len(calls) >= 2 and sweep.errors == []


def test_a_schedule_delivers_its_slot(bench: Bench) -> None:
    aws = bench.aws
    aws.schedules.fire("nightly-web", slot="2026-01-01T03:00:00Z")
    aws.schedules.fire("nightly-web", slot="2026-01-01T03:00:00Z")
    states, machine = aws.client("stepfunctions"), bench.outputs["BakeStateMachineArn"]
    started = states.list_executions(stateMachineArn=machine)["executions"]
    inputs = [
        json.loads(states.describe_execution(executionArn=e["executionArn"])["input"])
        for e in started
    ]
    assert inputs == [{"path": "none", "slot": "2026-01-01T03:00:00Z"}] * 2


def test_a_schedule_without_the_right_fails_and_says_so(bench: Bench) -> None:
    role = bench.aws.physical("ScheduleRole")
    bench.aws.client("iam").delete_role_policy(RoleName=role, PolicyName="inline")
    fired = bench.aws.schedules.fire("nightly-web")
    assert "not authorized to perform: states:StartExecution" in fired.errors[0]
