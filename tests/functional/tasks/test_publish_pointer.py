"""PublishPointer: the pointer is in force when the task is over, and moved once."""

import json
import uuid
from dataclasses import dataclass

import pytest

from bakery.naming import pointer
from tests.functional.conftest import FunctionFailedError, World
from tests.functional.making import NOBODY, resumed

# Images of this account that are there from the start.
OLD, NEW = "ami-0c0de201803000011", "ami-0c0de180400000012"
DISABLED, MISSING = "ami-0bad00000000000f5", "ami-0123456789abcdef0"


@dataclass(frozen=True)
class Publishing:
    """A recipe of its own for each test."""

    world: World
    recipe: str

    def publish(self, image: str, *, token: str = NOBODY) -> None:
        parts = {
            "recipe": self.recipe,
            "pointer": {"region": "eu-west-1", "name": pointer(self.recipe)},
            "copies": [{"region": "eu-west-1", "image_id": image}],
        }
        self.world.invoke("publish_pointer", {"token": token, "bake": "made", **parts})

    def published(self, image: str) -> None:
        """The pointer holds the image, in force."""
        self.publish(image)
        self.world.aws.until(lambda: self.world.pointer(self.recipe) == image)

    def versions(self) -> list[str]:
        ssm = self.world.aws.client("ssm")
        history = ssm.get_parameter_history(Name=pointer(self.recipe))["Parameters"]
        return [version["Value"] for version in history]

    @property
    def key(self) -> str:
        return f"wait#pointer/{pointer(self.recipe)}"


@pytest.fixture
def publishing(quiet: World) -> Publishing:
    return Publishing(quiet, f"made-{uuid.uuid4().hex[:8]}")


def test_it_asks_for_the_image_and_waits_until_it_is_in_force(publishing: Publishing) -> None:
    publishing.publish(NEW)
    (put,) = publishing.world.calls("PutParameter")
    assert put["Name"] == pointer(publishing.recipe)
    assert (put["Value"], put["Type"], put["DataType"]) == (NEW, "String", "aws:ec2:image")
    wait = publishing.world.waits()[publishing.key]
    assert (wait["kind"], wait["image_id"], wait["token"]) == ("pointer", NEW, NOBODY)
    publishing.world.aws.until(lambda: publishing.world.pointer(publishing.recipe) == NEW)
    assert resumed(publishing.world) == []


def test_called_twice_it_leaves_one_version(publishing: Publishing) -> None:
    publishing.published(NEW)
    publishing.world.aws.calls.clear()
    publishing.publish(NEW)
    assert publishing.versions() == [NEW]
    assert publishing.world.aws.calls.of("ssm", "PutParameter") == []
    parameter = {"parameter": pointer(publishing.recipe), "image": NEW}
    assert resumed(publishing.world) == [{"output": json.dumps(parameter)}]
    assert publishing.key not in publishing.world.open_waits()


def test_called_again_before_the_value_is_in_force_the_history_has_no_other_value(
    publishing: Publishing,
) -> None:
    publishing.published(OLD)
    publishing.publish(NEW, token="first")
    publishing.publish(NEW, token="second")
    assert publishing.world.waits()[publishing.key]["token"] == "second"
    publishing.world.aws.until(lambda: publishing.world.pointer(publishing.recipe) == NEW)
    assert list(dict.fromkeys(publishing.versions())) == [OLD, NEW]


def test_a_lost_answer_is_ridden_out(publishing: Publishing) -> None:
    publishing.published(OLD)
    publishing.world.aws.faults.lost_answer("ssm", "PutParameter")
    publishing.published(NEW)
    assert list(dict.fromkeys(publishing.versions())) == [OLD, NEW]


@pytest.mark.failure(65)
@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("TooManyUpdates", "ThrottledError"),
        ("AccessDeniedException", "AccessDeniedError"),
        ("ParameterMaxVersionLimitExceeded", "AwsCallFailedError"),
    ],
)
def test_a_refused_call_is_told_by_its_class_and_the_pointer_stays(
    publishing: Publishing, code: str, name: str
) -> None:
    publishing.published(OLD)
    publishing.world.aws.faults.error("ssm", "PutParameter", code=code, message="why")
    with pytest.raises(FunctionFailedError) as failed:
        publishing.publish(NEW)
    assert failed.value.name == name
    assert (
        f"ssm:PutParameter {pointer(publishing.recipe)} in eu-west-1 failed: {code}"
        in failed.value.message
    )
    assert publishing.versions() == [OLD]
    publishing.published(NEW)


@pytest.mark.failure(63)
@pytest.mark.parametrize("image", [MISSING, DISABLED])
def test_an_image_that_parameter_store_refuses_leaves_the_pointer(
    publishing: Publishing, image: str
) -> None:
    """The refusal is an event; the task that waits is told with what is in force."""
    publishing.published(OLD)
    publishing.publish(image)
    name = pointer(publishing.recipe)

    def refusal() -> dict[str, object] | None:
        changes = publishing.world.aws.events.of("Parameter Store Change")
        ours = [e for e in changes if e["detail"]["name"] == name]
        return next((e for e in ours if "exception" in e["detail"]), None)

    event = publishing.world.aws.until(refusal, what="the refusal")
    publishing.world.invoke("resume_waits", event)
    (failure,) = resumed(publishing.world)
    assert failure["error"] == "PointerRejectedError"
    assert image in failure["cause"]
    assert f"The pointer is still {OLD}." in failure["cause"]
    assert publishing.versions() == [OLD]
    assert publishing.key not in publishing.world.open_waits()


@pytest.mark.failure(64)
def test_a_pointer_with_a_hundred_versions_moves_on(publishing: Publishing) -> None:
    """Parameter Store keeps a hundred, and refuses another while the oldest has a label."""
    ssm = publishing.world.aws.client("ssm")
    for number in range(100):
        ssm.put_parameter(
            Name=pointer(publishing.recipe), Value=f"v{number}", Type="String", Overwrite=True
        )
    publishing.published(OLD)
    publishing.published(NEW)
    newest = ssm.get_parameter(Name=pointer(publishing.recipe))["Parameter"]
    assert (newest["Value"], newest["Version"]) == (NEW, 102)


# --- after a redrive of a bake that was stopped ---------------------------------------------------


def redriven(publishing: Publishing, *, before: str | None) -> None:
    publishing.world.invoke(
        "publish_pointer",
        {
            "token": NOBODY,
            "bake": "made",
            "execution": publishing.world.execution("made"),
            "recipe": publishing.recipe,
            "pointer": {"region": "eu-west-1", "name": pointer(publishing.recipe)},
            "copies": [{"region": "eu-west-1", "image_id": NEW}],
            "before": before,
            "redrives": 1,
        },
    )


def test_a_redriven_bake_has_the_lease_again_and_goes_on(publishing: Publishing) -> None:
    publishing.published(OLD)
    for _ in range(2):
        redriven(publishing, before=OLD)
        publishing.world.aws.until(lambda: publishing.world.pointer(publishing.recipe) == NEW)
    assert publishing.world.leases()[publishing.recipe] == publishing.world.execution("made")


def test_after_a_redrive_an_older_image_does_not_take_the_place_of_a_newer_one(
    publishing: Publishing,
) -> None:
    publishing.published(OLD)
    with pytest.raises(FunctionFailedError) as failed:
        redriven(publishing, before=MISSING)
    assert failed.value.name == "CannotResumeError"
    assert f"has moved to {OLD} since" in failed.value.message
    assert publishing.versions() == [OLD]


def test_after_a_redrive_nothing_moves_while_another_bake_has_the_recipe(
    publishing: Publishing,
) -> None:
    world = publishing.world
    world.aws.faults.error("ec2", "RunInstances", code="RequestLimitExceeded", status=503, times=99)
    running = world.start({"recipe": "small", "force": True})
    world.aws.until(lambda: world.leases().get("small") == running, what="the lease")
    own = Publishing(world, "small")
    with pytest.raises(FunctionFailedError) as failed:
        redriven(own, before=world.pointer("small"))
    assert failed.value.name == "RecipeBusyError"
    world.aws.client("stepfunctions").stop_execution(executionArn=running)
    world.ended(running)
