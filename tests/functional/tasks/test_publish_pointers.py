"""PublishPointers: every pointer is in force when the task is over, and moved once."""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import pytest

from bakery.naming import label_pointer, pointer
from tests.functional.conftest import FunctionFailedError, World

# Images of this account that are there from the start.
OLD, NEW = "ami-0c0de201803000011", "ami-0c0de180400000012"
DISABLED, MISSING = "ami-0bad00000000000f5", "ami-0123456789abcdef0"


@dataclass(frozen=True)
class Publishing:
    """A recipe of its own for each test."""

    world: World
    recipe: str

    @property
    def name(self) -> str:
        return pointer(self.recipe)

    @property
    def label(self) -> str:
        return label_pointer(self.recipe, "canary")

    def publish(
        self, image: str | None, *names: str, ago: timedelta = timedelta(), **more: object
    ) -> None:
        """Call the task once, in a state that was entered so long ago."""
        parts = {
            **more,
            "recipe": self.recipe,
            "entered": (self.world.aws.clock.now() - ago).isoformat(),
            "pointers": [{"region": "eu-west-1", "name": name} for name in names or (self.name,)],
            "copies": [{"region": "eu-west-1", "image_id": image}],
        }
        assert self.world.invoke("publish_pointers", {"bake": "made", **parts}) is None

    def published(self, image: str, *names: str) -> None:
        """Call it, and once more when the values are in force."""
        assert self.refused(image, *names).name == "NotYetVisibleError"
        for name in names or (self.name,):
            self.world.aws.until(partial(self._holds, name, image))
        self.publish(image, *names)

    def refused(self, image: str, *names: str, ago: timedelta = timedelta()) -> FunctionFailedError:
        with pytest.raises(FunctionFailedError) as failed:
            self.publish(image, *names, ago=ago)
        return failed.value

    def _holds(self, name: str, image: str) -> bool:
        return self.world.parameter(name) == image

    def versions(self) -> list[str]:
        ssm = self.world.aws.client("ssm")
        history = ssm.get_parameter_history(Name=self.name)["Parameters"]
        return [version["Value"] for version in history]


@pytest.fixture
def publishing(quiet: World, monkeypatch: pytest.MonkeyPatch) -> Publishing:
    """Values are in force so late that a slow test still sees them before."""
    monkeypatch.setattr(quiet.aws.parameters, "validation", 30)
    return Publishing(quiet, f"made-{uuid.uuid4().hex[:8]}")


def test_it_asks_for_the_image_and_is_over_when_it_is_in_force(publishing: Publishing) -> None:
    error = publishing.refused(NEW)
    assert error.name == "NotYetVisibleError"
    assert f"{NEW} for {publishing.name} in eu-west-1" in error.message
    (put,) = publishing.world.calls("PutParameter")
    assert put["Name"] == publishing.name
    assert (put["Value"], put["Type"], put["DataType"]) == (NEW, "String", "aws:ec2:image")
    publishing.published(NEW)


def test_all_are_put_before_any_is_waited_for(publishing: Publishing) -> None:
    error = publishing.refused(NEW, publishing.name, publishing.label)
    assert publishing.label in error.message
    assert len(publishing.world.calls("PutParameter")) == 2


def test_called_twice_it_leaves_one_version(publishing: Publishing) -> None:
    publishing.published(NEW)
    publishing.world.aws.calls.clear()
    publishing.publish(NEW)
    assert publishing.versions() == [NEW]
    assert publishing.world.aws.calls.of("ssm", "PutParameter") == []


def test_called_again_before_the_value_is_in_force_the_history_has_no_other_value(
    publishing: Publishing,
) -> None:
    publishing.published(OLD)
    for _ in range(2):
        assert publishing.refused(NEW).name == "NotYetVisibleError"
    publishing.published(NEW)
    assert list(dict.fromkeys(publishing.versions())) == [OLD, NEW]


def test_a_lost_answer_is_ridden_out(publishing: Publishing) -> None:
    publishing.published(OLD)
    publishing.world.aws.faults.lost_answer("ssm", "PutParameter")
    publishing.published(NEW)
    assert list(dict.fromkeys(publishing.versions())) == [OLD, NEW]


def test_a_region_that_is_left_out_keeps_its_pointer(publishing: Publishing) -> None:
    publishing.published(OLD)
    publishing.publish(None)
    assert publishing.versions() == [OLD]


@pytest.mark.failure(49)
def test_a_value_whose_answer_was_lost_is_waited_for_before_the_task_fails(
    publishing: Publishing,
) -> None:
    """It may come into force after CleanUp has looked."""
    world = publishing.world
    world.aws.faults.lost_answer("ssm", "PutParameter", times=5)  # of the SDK's tries, too
    error = publishing.refused(NEW, publishing.name)
    assert error.name == "NotYetVisibleError"
    assert f"not in force yet: {NEW} for {publishing.name}" in error.message
    assert "no answer from AWS" in error.message


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
    error = publishing.refused(NEW)
    assert error.name == name
    assert f"ssm:PutParameter {publishing.name} in eu-west-1 failed: {code}" in error.message
    assert publishing.versions() == [OLD]
    publishing.published(NEW)


def test_one_that_cannot_be_put_fails_the_task_only_when_no_other_is_under_way(
    publishing: Publishing,
) -> None:
    """What comes into force after CleanUp has looked would not be moved back."""
    world = publishing.world
    world.aws.faults.error(
        "ssm",
        "PutParameter",
        code="AccessDeniedException",
        times=99,
        when=lambda parameters: parameters["Name"] == publishing.name,
    )
    names = publishing.name, publishing.label
    error = publishing.refused(NEW, *names)
    assert error.name == "NotYetVisibleError" and publishing.label in error.message
    world.aws.until(lambda: world.parameter(publishing.label) == NEW)
    assert publishing.refused(NEW, *names).name == "AccessDeniedError"
    assert world.parameter(publishing.name) is None


@pytest.mark.failure(63)
def test_an_image_that_parameter_store_refuses_leaves_the_pointer(publishing: Publishing) -> None:
    """That is found out by the time that it takes, for other values are in force in seconds."""
    publishing.published(OLD)
    assert publishing.refused(MISSING).name == "NotYetVisibleError"
    publishing.world.aws.calls.clear()
    assert publishing.refused(MISSING, ago=timedelta(minutes=11)).name == "NotYetVisibleError"
    error = publishing.refused(MISSING, ago=timedelta(minutes=13))
    assert error.name == "PointerRejectedError"
    assert publishing.world.aws.calls.of("ssm", "PutParameter") == [], "put, and given up"
    assert f"has not accepted {MISSING} for {publishing.name} in eu-west-1" in error.message
    assert publishing.versions() == [OLD]


def test_what_cannot_be_looked_at_may_be_under_way_for_some_minutes(publishing: Publishing) -> None:
    """What a bake gives up then could come into force after CleanUp has looked."""
    publishing.published(OLD)
    assert publishing.refused(NEW).name == "NotYetVisibleError"
    publishing.world.aws.faults.error("ssm", "GetParameter", code="AccessDeniedException", times=2)
    error = publishing.refused(NEW)
    assert error.name == "NotYetVisibleError"
    assert "AccessDeniedException" in error.message
    assert publishing.refused(NEW, ago=timedelta(minutes=3)).name == "AccessDeniedError"


def test_a_value_that_is_put_by_the_last_try_is_waited_for(publishing: Publishing) -> None:
    publishing.published(OLD)
    almost = timedelta(minutes=9, seconds=58)
    assert publishing.refused(NEW, ago=almost).name == "NotYetVisibleError"
    publishing.world.aws.until(lambda: publishing.world.parameter(publishing.name) == NEW)
    publishing.publish(NEW, ago=timedelta(minutes=11))


@pytest.mark.failure(63)
def test_a_disabled_image_is_refused_at_once(publishing: Publishing) -> None:
    publishing.published(OLD)
    error = publishing.refused(DISABLED)
    assert error.name == "PointerRejectedError"
    assert "takes no disabled image" in error.message
    assert publishing.versions() == [OLD]


@pytest.mark.failure(64)
def test_a_pointer_with_a_hundred_versions_moves_on(publishing: Publishing) -> None:
    """Parameter Store keeps a hundred, and refuses another while the oldest has a label."""
    ssm = publishing.world.aws.client("ssm")
    for number in range(100):
        ssm.put_parameter(Name=publishing.name, Value=f"v{number}", Type="String", Overwrite=True)
    publishing.published(OLD)
    publishing.published(NEW)
    newest = ssm.get_parameter(Name=publishing.name)["Parameter"]
    assert (newest["Value"], newest["Version"]) == (NEW, 102)


# --- after a redrive of a bake that was stopped ---------------------------------------------------


def redriven(publishing: Publishing, *, before: str | None) -> FunctionFailedError:
    """How a call of a redriven bake fails."""
    execution = publishing.world.execution("made")
    with pytest.raises(FunctionFailedError) as failed:
        publishing.publish(NEW, before=before, execution=execution, redrives=1)
    return failed.value


def test_a_redriven_bake_has_the_lease_again_and_goes_on(publishing: Publishing) -> None:
    publishing.published(OLD)
    assert redriven(publishing, before=OLD).name == "NotYetVisibleError"
    publishing.world.aws.until(lambda: publishing.world.pointer(publishing.recipe) == NEW)
    execution = publishing.world.execution("made")
    publishing.publish(NEW, before=OLD, execution=execution, redrives=1)
    assert publishing.world.leases()[publishing.recipe] == execution


def test_after_a_redrive_an_older_image_does_not_take_the_place_of_a_newer_one(
    publishing: Publishing,
) -> None:
    publishing.published(OLD)
    error = redriven(publishing, before=MISSING)
    assert error.name == "CannotResumeError"
    assert f"has moved to {OLD} since" in error.message
    assert publishing.versions() == [OLD]


def test_after_a_redrive_a_pointer_that_is_not_shown_has_not_moved(publishing: Publishing) -> None:
    """By CannotResumeError, CleanUp would take the recipe for another's, and move nothing back."""
    publishing.published(OLD)
    hidden = publishing.world.aws.faults.error(
        "ssm", "GetParameter", code="ParameterNotFound", role="TasksPublishPointers"
    )
    error = redriven(publishing, before=OLD)
    assert hidden.matched == 1
    assert error.name == "NotYetVisibleError"
    assert "though Plan has seen it" in error.message
    assert publishing.versions() == [OLD]


def test_after_a_redrive_nothing_moves_while_another_bake_has_the_recipe(
    publishing: Publishing,
) -> None:
    world = publishing.world
    with world.baking("small"):
        own = Publishing(world, "small")
        assert redriven(own, before=world.pointer("small")).name == "RecipeBusyError"
