"""RecordInventory: the whole list or none, kept once, compared with the previous one."""

import itertools
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from bakery import inventory
from bakery.inventory import Inventory
from bakery.naming import TAG_BAKE, TAG_TEST, bake_tags
from tests.data.packages import AL2023, DEBIAN
from tests.functional.conftest import FunctionFailedError, World
from tests.functional.making import Making, online
from tests.hostile import CANARY, TAGGED

FINGERPRINT = "bakery=0.1.0 documents=0123456789ab recipe=ba9876543210"
UPDATED = DEBIAN.replace("3.0.17-1~deb12u2", "3.0.18-1~deb12u1")
_CHECKS = itertools.count()


def image() -> str:
    """The id of an image that no other test has."""
    return f"ami-{uuid.uuid4().hex[:17]}"


@dataclass(frozen=True)
class Recording:
    """The task, and what is in the account for it: a test instance of a bake."""

    world: World
    bake: str
    instance: str

    @property
    def bucket(self) -> str:
        return self.world.outputs["InventoryBucket"]

    @property
    def group(self) -> str:
        return self.world.outputs["CommandLogGroup"]

    def sent(self, **more: Any) -> tuple[int, str]:
        """Send report-packages as a check of its own: its number, and the command's id."""
        index = next(_CHECKS)
        command = self.world.aws.client("ssm").send_command(
            InstanceIds=[self.instance],
            DocumentName="AmiBakery-report-packages",
            Parameters={"Bake": [self.bake]},
            Comment=f"{self.bake}/test/{index}",
            **more,
        )["Command"]["CommandId"]
        return index, command

    def printed(self, *messages: str) -> int:
        """A check whose command has put these events into its stream; its number."""
        index, command = self.sent()
        self.prints(command, *messages)
        return index

    def prints(self, command: str, *messages: str) -> None:
        """Put events into the stream of a command."""
        logs = self.world.aws.client("logs")
        name = f"{command}/{self.instance}/report-packages/stdout"
        stream = {"logGroupName": self.group, "logStreamName": name}
        there = logs.describe_log_streams(logGroupName=self.group, logStreamNamePrefix=name)
        if not there["logStreams"]:
            logs.create_log_stream(**stream)
        moment = int(time.time() * 1000)
        said = [message.replace("bake-1", self.bake) for message in messages]
        events = [{"timestamp": moment, "message": message} for message in said]
        if events:
            logs.put_log_events(**stream, logEvents=events)

    def request(self, check: int, image_id: str, **changes: Any) -> dict[str, Any]:
        return {
            "bake": self.bake,
            "recipe": "small",
            "region": "eu-west-1",
            "packages": check,
            "image_id": image_id,
            "image_name": "small-20260131T030000Z",
            "image_tags": {"ami-bakery:fingerprint": FINGERPRINT, "team": "web"},
            "created": "2026-01-31T03:10:00.000Z",
            "size_gib": 8,
            "base_image": {"id": "ami-0a120230000000064", "name": "al2023", "size_gib": 8},
            "previous": None,
            **changes,
        }

    def record(self, check: int, image_id: str, **changes: Any) -> dict[str, Any]:
        request = self.request(check, image_id, **changes)
        result: dict[str, Any] = self.world.invoke("record_inventory", request)
        return result

    def refused(self, check: int, image_id: str, **changes: Any) -> FunctionFailedError:
        with pytest.raises(FunctionFailedError) as failed:
            self.record(check, image_id, **changes)
        return failed.value

    def content(self, image_id: str) -> bytes | None:
        """What is kept of an image."""
        s3 = self.world.aws.client("s3")
        try:
            found = s3.get_object(Bucket=self.bucket, Key=inventory.key("small", image_id))
        except s3.exceptions.NoSuchKey:
            return None
        content: bytes = found["Body"].read()
        return content

    def kept(self, image_id: str) -> Inventory:
        content = self.content(image_id)
        assert content is not None
        return inventory.unpack(content)


@pytest.fixture(scope="module")
def tested(deployed: World) -> tuple[str, str]:
    """A bake, and its managed test instance."""
    making = Making.begin(deployed)
    tags = {**bake_tags("small", making.bake), TAG_TEST: "1"}
    (instance,) = deployed.aws.client("ec2").run_instances(
        ImageId="ami-0a120230000000064",
        InstanceType="t3.small",
        MinCount=1,
        MaxCount=1,
        IamInstanceProfile={"Arn": making.plan["test"]["instance_profile"]},
        TagSpecifications=[
            {
                "ResourceType": "instance",
                "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
            }
        ],
    )["Instances"]
    id_ = str(instance["InstanceId"])
    deployed.aws.until(lambda: online(deployed, id_), what=f"the agent of {id_}")
    return making.bake, id_


@pytest.fixture
def recording(world: World, tested: tuple[str, str]) -> Recording:
    return Recording(world, *tested)


def test_what_is_in_the_image_and_what_it_was_made_of_is_kept(recording: Recording) -> None:
    new = image()
    result = recording.record(recording.printed(DEBIAN), new)
    assert result == {
        "summary": "10 packages of Debian GNU/Linux 12 (bookworm)",
        "key": f"inventories/small/{new}.json.gz",
    }
    found = recording.kept(new)
    assert len(found.packages) == 10 and found.system.kernel == "6.1.0-37-cloud-amd64"
    assert found.model_dump(exclude={"packages", "system"}) == {
        "format": 1,
        "recipe": "small",
        "bake": recording.bake,
        "region": "eu-west-1",
        "image_id": new,
        "image_name": "small-20260131T030000Z",
        "created": "2026-01-31T03:10:00.000Z",
        "size_gib": 8,
        "base_image": {"id": "ami-0a120230000000064", "name": "al2023"},
        "fingerprint": FINGERPRINT,
    }


def test_what_the_document_prints_on_an_instance_is_read_from_the_log(
    recording: Recording,
) -> None:
    output = {"CloudWatchLogGroupName": recording.group, "CloudWatchOutputEnabled": True}
    check, command = recording.sent(CloudWatchOutputConfig=output)
    ssm = recording.world.aws.client("ssm")

    def ended() -> bool:
        rows = ssm.list_command_invocations(CommandId=command)["CommandInvocations"]
        return bool(rows) and rows[0]["Status"] == "Success"

    recording.world.aws.until(ended, what="the end of the command")
    result = recording.record(check, new := image())
    assert "invented: the local AWS executes no scripts" in result["summary"]
    assert {package.name for package in recording.kept(new).packages} == {
        "amazon-linux-release",
        "amazon-ssm-agent",
    }


def test_called_twice_it_keeps_the_same_bytes(recording: Recording) -> None:
    check, new = recording.printed(DEBIAN), image()
    first = recording.record(check, new)
    content = recording.content(new)
    assert recording.record(check, new) == first
    assert recording.content(new) == content


@pytest.mark.parametrize("operation", ["GetLogEvents", "PutObject", "GetObject"])
def test_a_lost_answer_is_made_good(recording: Recording, operation: str) -> None:
    old, new = image(), image()
    recording.record(recording.printed(DEBIAN), old)
    fault = recording.world.aws.faults.lost_answer("*", operation, times=5)
    check = recording.printed(UPDATED)
    assert recording.refused(check, new, previous=old).name == "ServiceUnavailableError"
    assert fault.matched == 5
    assert recording.record(check, new, previous=old)["summary"].startswith("2 updated; openssl ")


# --- a log that is late ------------------------------------------------------------------------


def whole_lines(text: str, size: int) -> list[str]:
    """The text in events of so many lines."""
    lines = text.splitlines(keepends=True)
    return ["".join(lines[n : n + size]) for n in range(0, len(lines), size)]


def test_while_the_log_has_no_stream_of_the_command_it_is_tried_again(
    recording: Recording,
) -> None:
    check, command = recording.sent()
    error = recording.refused(check, new := image())
    assert error.name == "NotYetVisibleError"
    assert command in error.message and recording.instance in error.message
    assert recording.content(new) is None


def test_while_the_command_or_its_instance_is_not_shown_it_is_tried_again(
    recording: Recording,
) -> None:
    error = recording.refused(1_000_000, new := image())
    assert error.name == "NotYetVisibleError"
    assert f"{recording.bake}/test/1000000" in error.message
    error = recording.refused(0, new, bake="another")
    assert error.name == "NotYetVisibleError" and "bake another" in error.message


def test_what_an_instance_says_is_kept_as_it_is_and_used_for_nothing(recording: Recording) -> None:
    """Neither a call nor a key of the bucket has any of it."""
    said = [it for it in TAGGED if not {*"\t\r\n"} & {*it}]
    lines = [f"package\tdeb\t{it}\t{it}\t{it}\t{it}\t{it}" for it in said]
    system = [f"{fact}\t$(touch {CANARY})" for fact in ("os-id", "os-name", "kernel", "machine")]
    text = "\n".join([*system, *lines, f"packages\t{len(said)}", "ami-bakery: bake-1 done"])
    check, new = recording.printed(*whole_lines(text, 100)), image()
    recording.world.aws.calls.clear()
    recording.record(check, new)
    assert {it.name for it in recording.kept(new).packages} == {*said}
    calls = recording.world.aws.calls.of(role="RecordInventory")
    # The inventory itself is compressed.
    assert [it.operation for it in calls if not it.reads] == ["PutObject"]
    assert CANARY not in str([it.parameters for it in calls])


def test_of_two_test_instances_the_first_ones_list_counts(recording: Recording) -> None:
    tags = [{"Key": TAG_TEST, "Value": "0"}, {"Key": TAG_BAKE, "Value": recording.bake}]
    ec2 = recording.world.aws.client("ec2")
    (other,) = ec2.run_instances(
        ImageId="ami-0a120230000000064",
        InstanceType="t3.small",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )["Instances"]
    check = recording.printed(DEBIAN)
    # It has no such command: it is this one that was asked.
    assert recording.refused(check, image()).name == "NotYetVisibleError"
    ec2.terminate_instances(InstanceIds=[other["InstanceId"]])
    assert recording.record(check, image())


def test_a_host_that_could_not_list_its_packages_is_told_at_once(recording: Recording) -> None:
    text = DEBIAN.replace("packages\t10", "problem\tthe package manager failed\npackages\t10")
    error = recording.refused(recording.printed(text), new := image())
    assert error.name == "InventoryFailedError"
    assert "the package manager failed" in error.message and "stderr" in error.message
    assert recording.content(new) is None


@pytest.mark.parametrize("there", range(6))
def test_half_a_list_is_not_kept_and_the_whole_one_is_once_it_has_come(
    recording: Recording, there: int
) -> None:
    parts, new = whole_lines(DEBIAN, 3), image()
    check, command = recording.sent()
    recording.prints(command, *parts[:there])
    error = recording.refused(check, new)
    assert error.name == "NotYetVisibleError", error.message
    assert recording.content(new) is None
    recording.prints(command, *parts[there:])
    recording.record(check, new)
    assert len(recording.kept(new).packages) == 10


def test_a_list_with_a_gap_is_not_whole_though_its_last_line_is_there(
    recording: Recording,
) -> None:
    parts, new = whole_lines(DEBIAN, 3), image()
    error = recording.refused(recording.printed(*parts[:2], *parts[3:]), new)
    assert error.name == "NotYetVisibleError" and "7 of 10 packages are there" in error.message
    assert recording.content(new) is None


@pytest.mark.parametrize("ending", ["\n", ""])
def test_events_may_end_with_a_line_feed_or_without(recording: Recording, ending: str) -> None:
    parts = [part.removesuffix("\n") + ending for part in whole_lines(DEBIAN, 4)]
    recording.record(recording.printed(*parts), new := image())
    assert len(recording.kept(new).packages) == 10


def test_what_the_agent_sent_twice_counts_once(recording: Recording) -> None:
    parts = whole_lines(DEBIAN, 4)
    recording.record(recording.printed(parts[0], parts[1], parts[1], *parts[1:]), new := image())
    assert len(recording.kept(new).packages) == 10


def test_thousands_of_packages_come_on_several_pages(recording: Recording) -> None:
    packages = [
        f"package\tdeb\tlib{n:05}-{'x' * 190}\t1.{n}\tamd64\tlib{n}\t" for n in range(6_000)
    ]
    text = "\n".join([*packages, "packages\t6000", "ami-bakery: bake-1 done\n"])
    recording.record(recording.printed(*whole_lines(text, 800)), new := image())
    assert len(recording.kept(new).packages) == 6_000
    assert len(recording.world.calls("GetLogEvents")) == 3


# --- the previous image ------------------------------------------------------------------------


def compared(recording: Recording, old: str, new: str) -> str:
    """The summary of an image whose previous one had the list ``old``."""
    recording.record(recording.printed(old), before := image())
    found = recording.record(recording.printed(new), image(), previous=before)
    return str(found["summary"])


def test_what_has_changed_is_said_in_a_line(recording: Recording) -> None:
    assert compared(recording, DEBIAN, UPDATED) == (
        "2 updated; openssl 3.0.17-1~deb12u2 to 3.0.18-1~deb12u1"
    )
    assert compared(recording, DEBIAN, DEBIAN) == "no package of 10 has changed"
    assert compared(recording, DEBIAN, AL2023).startswith("7 added, 10 removed; ")


def test_without_an_inventory_of_the_previous_image_there_is_nothing_to_compare(
    recording: Recording,
) -> None:
    before, new = image(), image()
    result = recording.record(recording.printed(DEBIAN), new, previous=before)
    assert result["summary"] == (
        f"10 packages of Debian GNU/Linux 12 (bookworm); of {before} no inventory was kept"
    )
    assert recording.content(new)


@pytest.mark.parametrize("damage", [b"", b"no gzip", b"\x1f\x8b\x08\x00cut"])
def test_a_damaged_inventory_of_the_previous_image_is_said_and_fails_nothing(
    recording: Recording, damage: bytes
) -> None:
    before, new = image(), image()
    key = inventory.key("small", before)
    recording.world.aws.client("s3").put_object(Bucket=recording.bucket, Key=key, Body=damage)
    result = recording.record(recording.printed(DEBIAN), new, previous=before)
    assert result["summary"].endswith(f"; the inventory of {before} is damaged")
    assert recording.content(new)


# --- what AWS refuses --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "code", "status", "name"),
    [
        ("GetLogEvents", "AccessDeniedException", 400, "AccessDeniedError"),
        ("GetLogEvents", "ThrottlingException", 400, "ThrottledError"),
        ("PutObject", "AccessDenied", 403, "AccessDeniedError"),
        ("PutObject", "NoSuchBucket", 404, "AwsCallFailedError"),
        ("PutObject", "SlowDown", 503, "ServiceUnavailableError"),
        ("GetObject", "AccessDenied", 403, "AccessDeniedError"),
        ("GetObject", "InternalError", 500, "ServiceUnavailableError"),
    ],
)
def test_what_is_refused_is_told_by_its_call(
    recording: Recording, operation: str, code: str, status: int, name: str
) -> None:
    recording.world.aws.faults.error(
        "*", operation, code=code, status=status, times=5, role="RecordInventory"
    )
    error = recording.refused(recording.printed(DEBIAN), image(), previous=image())
    assert error.name == name
    assert operation in error.message and code in error.message


def test_a_summary_is_short_however_much_has_changed(recording: Recording) -> None:
    names = [f"{letter * 200}-{n}" for letter in "abc" for n in range(9)]
    text = "\n".join(
        [
            *(f"package\tdeb\t{name}\t1\tall\t{name}\t" for name in names),
            f"packages\t{len(names)}",
            "ami-bakery: bake-1 done",
        ]
    )
    result = recording.record(recording.printed(text), image())
    assert len(json.dumps(result)) < 600
    assert len(compared(recording, DEBIAN, text)) <= inventory.MAX_SUMMARY


def moved(sequence: Sequence[str]) -> list[str]:
    return list(reversed(sequence))


def test_the_order_of_lines_is_of_no_matter(recording: Recording) -> None:
    """Events of one moment may come in any order."""
    recording.record(recording.printed(*moved(whole_lines(DEBIAN, 1))), new := image())
    recording.record(recording.printed(DEBIAN), other := image())
    assert recording.kept(new).packages == recording.kept(other).packages
