"""From an event of AWS to the wait that it is about. The shapes are those that AWS documents."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bakery.waits import EVERY, Kind, Wait, subject, subject_of_event, turn

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
INSTANCE = "i-0123456789abcdef0"
IMAGE = "ami-0123456789abcdef0"
COMMAND = "11111111-2222-3333-4444-555555555555"

INVOCATION_ENDED = {
    "version": "0",
    "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "detail-type": "EC2 Command Invocation Status-change Notification",
    "source": "aws.ssm",
    "account": "111122223333",
    "time": "2026-01-01T00:00:00Z",
    "region": "eu-west-1",
    "resources": [f"arn:aws:ec2:eu-west-1:111122223333:instance/{INSTANCE}"],
    "detail": {
        "command-id": COMMAND,
        "document-name": "AmiBakery-prepare-linux",
        "instance-id": INSTANCE,
        "requested-date-time": "2026-01-01T00:00:00.000Z",
        "status": "Success",
    },
}
COMMAND_ENDED = {
    **INVOCATION_ENDED,
    "detail-type": "EC2 Command Status-change Notification",
    "detail": {
        "command-id": COMMAND,
        "document-name": "AmiBakery-prepare-linux",
        "expire-after": "2026-01-01T01:00:00.000Z",
        "parameters": {"Bake": ["bake-1"]},
        "requested-date-time": "2026-01-01T00:00:00.000Z",
        "status": "Success",
    },
}
INSTANCE_STOPPED = {
    "detail-type": "EC2 Instance State-change Notification",
    "source": "aws.ec2",
    "resources": [f"arn:aws:ec2:eu-west-1:111122223333:instance/{INSTANCE}"],
    "detail": {"instance-id": INSTANCE, "state": "stopped"},
}
IMAGE_AVAILABLE = {
    "detail-type": "EC2 AMI State Change",
    "source": "aws.ec2",
    "resources": [f"arn:aws:ec2:eu-west-1::image/{IMAGE}"],
    "detail": {"RequestId": "r", "ImageId": IMAGE, "State": "available", "ErrorMessage": ""},
}
SNAPSHOT_MADE = {
    "detail-type": "EBS Snapshot Notification",
    "source": "aws.ec2",
    "detail": {"event": "createSnapshot", "result": "succeeded"},
}
EXECUTION_ENDED = {
    "detail-type": "Step Functions Execution Status Change",
    "source": "aws.states",
    "detail": {"name": "bake-1", "status": "FAILED", "stopDate": 1551225272984},
}


@pytest.mark.parametrize(
    ("event", "about"),
    [
        (INVOCATION_ENDED, f"command/{COMMAND}"),
        (INSTANCE_STOPPED, f"stop/{INSTANCE}"),
        (IMAGE_AVAILABLE, f"image/{IMAGE}"),
        (EXECUTION_ENDED, "turn/bake-1/*"),
    ],
)
def test_an_event_is_about_the_wait_for_what_it_names(event: dict[str, Any], about: str) -> None:
    assert subject_of_event(event) == about


@pytest.mark.parametrize("event", [COMMAND_ENDED, SNAPSHOT_MADE, {}])
def test_no_wait_looks_at_other_events(event: dict[str, Any]) -> None:
    assert subject_of_event(event) is None


def wait(kind: Kind, target: str, token: str = "t") -> Wait:
    return Wait(kind=kind, target=target, token=token, bake="b", begun=MOMENT, deadline=MOMENT)


@pytest.mark.parametrize(
    ("waiting", "event"),
    [
        (wait(Kind.COMMAND, COMMAND), INVOCATION_ENDED),
        (wait(Kind.STOP, INSTANCE), INSTANCE_STOPPED),
        (wait(Kind.IMAGE, IMAGE), IMAGE_AVAILABLE),
    ],
)
def test_every_kind_of_wait_is_found_by_its_event(waiting: Wait, event: dict[str, Any]) -> None:
    assert waiting.subject == subject_of_event(event)


def test_all_that_wait_for_one_bake_begin_as_its_event_says_and_those_for_others_do_not() -> None:
    about = str(subject_of_event(EXECUTION_ENDED)).removesuffix(EVERY)
    first, second = (wait(Kind.TURN, turn("bake-1", bake)).subject for bake in ("a", "b"))
    assert first != second
    assert first.startswith(about) and second.startswith(about)
    for other in ("bake-10", "bake", "a-bake-1"):
        assert not wait(Kind.TURN, turn(other, "a")).subject.startswith(about)


def test_two_kinds_of_wait_for_one_thing_have_different_subjects() -> None:
    assert len({subject(kind, "x") for kind in Kind}) == len(Kind)


def test_a_copy_is_found_by_the_event_of_its_image_wherever_that_is() -> None:
    """Ids of images are unique among all Regions."""
    away = wait(Kind.IMAGE, IMAGE).model_copy(update={"region": "eu-central-1"})
    assert away.subject == subject_of_event(IMAGE_AVAILABLE)


def test_a_retry_with_a_new_token_is_the_same_subject() -> None:
    assert wait(Kind.STOP, INSTANCE, "old").subject == wait(Kind.STOP, INSTANCE, "new").subject


def test_a_wait_survives_the_way_through_the_table() -> None:
    stored = wait(Kind.COMMAND, COMMAND).model_copy(update={"sentinel": "done", "error": "X"})
    assert Wait.model_validate_json(stored.model_dump_json()) == stored


FIRST_RELEASE = {
    "command": """{"kind": "command", "target": "11111111-2222-3333-4444-555555555555",
        "token": "t", "bake": "b", "begun": "2026-01-01T00:00:00Z",
        "deadline": "2026-01-01T01:00:00Z", "instance_id": "i-0123456789abcdef0",
        "label": "step 'packages'", "error": "CustomizationFailedError",
        "sentinel": "ami-bakery: b done", "image_id": ""}""",
    "stop": """{"kind": "stop", "target": "i-0123456789abcdef0", "token": "t", "bake": "b",
        "begun": "2026-01-01T00:00:00Z", "deadline": "2026-01-01T01:00:00Z"}""",
    "image": """{"kind": "image", "target": "ami-0123456789abcdef0", "token": "t", "bake": "b",
        "begun": "2026-01-01T00:00:00Z", "deadline": "2026-01-01T01:00:00Z", "label": "Image"}""",
}
"""As the first release stored them. They stay as they are, whatever becomes of the model."""


@pytest.mark.parametrize("kind", FIRST_RELEASE)
def test_waits_that_the_first_release_stored_are_understood(kind: Kind) -> None:
    """The bakes of a release outlive it; the job that resumes them is replaced at once."""
    wait = Wait.model_validate_json(FIRST_RELEASE[kind])
    assert (wait.kind, wait.bake, wait.token) == (kind, "b", "t")
    assert (wait.region, wait.optional, wait.on_test) == ("", False, False)
    assert wait.expected is None, "it knows no soft limit, so nobody is told that it is slow"
