"""KeepPrevious: the way back, read from the pointer's own history."""

import uuid
from dataclasses import dataclass

import pytest

from bakery.naming import pointer, previous_pointer
from tests.functional.conftest import FunctionFailedError, World

A, B, C = "ami-0c0de201803000011", "ami-0c0de180400000012", "ami-0a120230000000064"


@dataclass(frozen=True)
class Keeping:
    """A recipe of its own for each test."""

    world: World
    recipe: str

    def pointed(self, *images: str) -> None:
        """Give the pointer a history."""
        for image in images:
            self._put(pointer(self.recipe), image)

    def keep(self, image: str) -> str | None:
        """Run the task, and wait until the value that it returned is in force."""
        event = {"recipe": self.recipe, "image_id": image}
        found: str | None = self.world.invoke("keep_previous", event)["previous"]
        if found:
            self.world.aws.until(lambda: self.world.previous(self.recipe) == found)
        return found

    def _put(self, name: str, image: str) -> None:
        ssm = self.world.aws.client("ssm")
        ssm.put_parameter(
            Name=name, Value=image, Type="String", DataType="aws:ec2:image", Overwrite=True
        )
        self.world.aws.until(lambda: self.world.parameter(name) == image)


@pytest.fixture
def keeping(quiet: World) -> Keeping:
    return Keeping(quiet, f"made-{uuid.uuid4().hex[:8]}")


def test_the_first_image_has_no_previous_one(keeping: Keeping) -> None:
    keeping.pointed(A)
    assert keeping.keep(A) is None
    assert keeping.world.previous(keeping.recipe) is None
    assert keeping.world.calls("PutParameter") == [
        call for call in keeping.world.calls("PutParameter") if call["Name"].endswith("/image")
    ]


def test_it_keeps_what_the_pointer_held_before(keeping: Keeping) -> None:
    keeping.pointed(A, B, C)
    assert keeping.keep(C) == B
    name = previous_pointer(keeping.recipe)
    parameter = keeping.world.aws.client("ssm").get_parameter(Name=name)["Parameter"]
    assert parameter["DataType"] == "aws:ec2:image"


def test_called_twice_it_keeps_the_same(keeping: Keeping) -> None:
    keeping.pointed(A, B)
    assert keeping.keep(B) == keeping.keep(B) == A
    name = previous_pointer(keeping.recipe)
    history = keeping.world.aws.client("ssm").get_parameter_history(Name=name)["Parameters"]
    assert {version["Value"] for version in history} == {A}


def test_a_pointer_that_was_put_twice_has_the_same_previous_image(keeping: Keeping) -> None:
    keeping.pointed(A, B, B)
    assert keeping.keep(B) == A


def test_after_a_rollback_the_image_that_was_rolled_back_is_not_lost(keeping: Keeping) -> None:
    keeping.pointed(A, B, A, C)
    assert keeping.keep(C) == A


def test_a_lost_answer_is_ridden_out(keeping: Keeping) -> None:
    keeping.pointed(A, B)
    keeping.world.aws.faults.lost_answer("ssm", "PutParameter")
    keeping.world.aws.faults.lost_answer("ssm", "GetParameterHistory")
    assert keeping.keep(B) == A


@pytest.mark.parametrize(
    ("code", "name"),
    [("TooManyUpdates", "ThrottledError"), ("AccessDeniedException", "AccessDeniedError")],
)
@pytest.mark.parametrize("operation", ["GetParameterHistory", "PutParameter"])
def test_a_refused_call_is_told_by_its_class_and_may_be_tried_again(
    keeping: Keeping, operation: str, code: str, name: str
) -> None:
    keeping.pointed(A, B)
    keeping.world.aws.faults.error("ssm", operation, code=code, message="why")
    with pytest.raises(FunctionFailedError) as failed:
        keeping.keep(B)
    assert failed.value.name == name
    assert f"ssm:{operation} /ami-bakery/{keeping.recipe}/" in failed.value.message
    assert keeping.world.previous(keeping.recipe) is None
    assert keeping.keep(B) == A


def test_a_pointer_that_is_gone_is_told(keeping: Keeping) -> None:
    with pytest.raises(FunctionFailedError) as failed:
        keeping.keep(A)
    assert failed.value.name == "AwsCallFailedError"
    assert "ParameterNotFound" in failed.value.message
