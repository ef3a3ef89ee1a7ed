"""CloudWatch Logs: how the agent sends output, and how a stream is read page by page."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from bakery.inventory import read_report
from scripts.local.hosts import CheckedHost
from scripts.local.logs import AGENT_EVENT, agent_events
from scripts.local.machines import CheckOnly, Machine, invented_packages
from tests.local.bench import Bench, refused

if TYPE_CHECKING:
    from scripts.local import LocalAws

GROUP, STREAM = "commands", "c/i/s/stdout"


@pytest.fixture
def logs(bare: LocalAws) -> Any:
    client = bare.client("logs")
    client.create_log_group(logGroupName=GROUP)
    client.create_log_stream(logGroupName=GROUP, logStreamName=STREAM)
    return client


def put(logs: Any, *messages: str) -> None:
    # Events of the past are not taken.
    moment = int(time.time() * 1000)
    events = [{"timestamp": moment, "message": message} for message in messages]
    logs.put_log_events(logGroupName=GROUP, logStreamName=STREAM, logEvents=events)


def pages(logs: Any, **more: Any) -> list[list[str]]:
    """The messages of each page, up to where the token stays the same."""
    request = {"logGroupName": GROUP, "logStreamName": STREAM, "startFromHead": True, **more}
    found: list[list[str]] = []
    token = None
    while True:
        page = logs.get_log_events(**request, **({"nextToken": token} if token else {}))
        if page["nextForwardToken"] == token:
            return found
        token = page["nextForwardToken"]
        found.append([event["message"] for event in page["events"]])


def test_a_page_has_a_megabyte_at_most(logs: Any) -> None:
    messages = [str(n) * 200_000 for n in range(8)]
    put(logs, *messages)
    found = pages(logs)
    assert [len(page) for page in found] == [5, 3]
    assert [message for page in found for message in page] == messages


def test_a_page_has_as_many_events_as_were_asked_for(logs: Any) -> None:
    put(logs, *"abcde")
    assert pages(logs, limit=2) == [["a", "b"], ["c", "d"], ["e"]]


def test_a_reader_goes_on_where_it_was(logs: Any) -> None:
    request = {"logGroupName": GROUP, "logStreamName": STREAM, "startFromHead": True}
    put(logs, "a")
    token = logs.get_log_events(**request)["nextForwardToken"]
    put(logs, "b")
    later = logs.get_log_events(**request, nextToken=token)
    assert [event["message"] for event in later["events"]] == ["b"]


@pytest.mark.parametrize(
    ("group", "stream", "words"), [("nope", STREAM, "log group"), (GROUP, "nope", "log stream")]
)
def test_what_is_missing_is_named(logs: Any, group: str, stream: str, words: str) -> None:
    with pytest.raises(ClientError, match=f"The specified {words} does not exist") as error:
        logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)
    assert refused(error) == "ResourceNotFoundException"


def test_the_agent_sends_many_lines_in_an_event_and_no_line_in_two() -> None:
    assert agent_events("one\n\ntwo\n") == ["one\n\ntwo"]
    lines = [f"{n} {'x' * 1000}\n" for n in range(500)]
    events = agent_events("".join(lines))
    assert len(events) == 3
    assert all(len(event) <= AGENT_EVENT for event in events)
    assert "\n".join(events) + "\n" == "".join(lines)


def test_the_log_has_what_the_invocation_does_not_show(bench: Bench) -> None:
    whole = "".join(f"{n}\n" for n in range(9_000))
    bench.aws.agent.script("AmiBakery-test-greet", stdout=whole)
    instance = bench.managed()
    config = {"CloudWatchLogGroupName": GROUP, "CloudWatchOutputEnabled": True}
    command = bench.send(instance, CloudWatchOutputConfig=config)
    shown = bench.done(command, instance)["StandardOutputContent"]
    assert len(shown) == 24_000 and shown.endswith("--output truncated--")
    stream = f"{command}/{instance}/greet/stdout"
    (page,) = pages(bench.aws.client("logs"), logStreamName=stream)
    assert "\n".join(page) + "\n" == whole


AMAZON = {"name": "Amazon Linux", "version": "2023", "agent": "3.3.3050.0"}


def test_a_host_that_runs_nothing_invents_packages_and_says_so() -> None:
    host = CheckOnly().host(Machine("i-1", "ami-1", AMAZON))
    assert isinstance(host, CheckedHost)
    path = "/var/lib/amazon/ssm/i-1/document/orchestration/c/report-packages/_script.sh"
    host.write(path, b"#!/bin/sh\nprintf 'ami-bakery: %s done\\n' \"$SSM_Bake\"\n", 0o700)
    ran = host.execute(
        ["sh", "-c", path], directory="/", environment={"SSM_Bake": "b-1"}, timeout=1
    )
    assert ran.stdout.startswith("not executed: ")
    found = read_report(ran.stdout, sentinel="ami-bakery: b-1 done")
    assert "invented" in found.system.name
    assert found.packages and all("invented" in package.version for package in found.packages)


def test_the_same_system_has_the_same_packages_and_another_one_others() -> None:
    assert invented_packages(AMAZON) == invented_packages(dict(AMAZON))
    assert invented_packages(AMAZON) != invented_packages({**AMAZON, "agent": "3.3.4000.0"})
