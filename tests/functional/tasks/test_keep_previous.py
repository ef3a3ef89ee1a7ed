"""KeepPrevious: the way back, read from the pointer's own history."""

import uuid
from dataclasses import dataclass

import pytest

from bakery.naming import pointer, previous_pointer
from tests.functional.conftest import FunctionFailedError, World

A, B, C = "ami-0c0de201803000011", "ami-0c0de180400000012", "ami-0a120230000000064"
DISABLED, MISSING = "ami-0bad00000000000f5", "ami-0123456789abcdef0"


@dataclass(frozen=True)
class Keeping:
    """A recipe of its own for each test."""

    world: World
    recipe: str

    def pointed(self, *images: str) -> None:
        """Give the pointer a history."""
        for image in images:
            self._put(pointer(self.recipe), image)

    def remembered(self, image: str) -> None:
        """Give the pointer a value that was fine when it was put, and is not any more."""
        self.world.aws.parameters.publish(pointer(self.recipe), image, "eu-west-1")

    def keep(self, image: str, **more: object) -> str | None:
        """Call the task once."""
        parts = {
            "bake": "made",
            "recipe": self.recipe,
            "entered": self.world.aws.clock.now().isoformat(),
            "copies": [{"region": "eu-west-1", "image_id": image}],
        }
        answer = self.world.invoke("keep_previous", {**parts, **more})
        found: str | None = answer["image"]
        return found

    def redriven(self, image: str, *, before: str | None) -> str | None:
        """Call the task of a redriven bake once."""
        execution = self.world.execution("made")
        return self.keep(image, execution=execution, before=before, redrives=1)

    def kept(self, image: str) -> str | None:
        """Call it until it is over: the image that it told, which is in force then."""
        told: list[str | None] = []

        def over() -> bool:
            try:
                told.append(self.keep(image))
            except FunctionFailedError as error:
                assert error.name == "NotYetVisibleError", error
            return bool(told)

        self.world.aws.until(over)
        (found,) = told
        if found:
            assert self.world.previous(self.recipe) == found
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
    assert keeping.kept(A) is None
    assert keeping.world.previous(keeping.recipe) is None
    assert keeping.world.calls("PutParameter") == [
        call for call in keeping.world.calls("PutParameter") if call["Name"].endswith("/image")
    ]


def test_it_keeps_what_the_pointer_held_before(keeping: Keeping) -> None:
    keeping.pointed(A, B, C)
    assert keeping.kept(C) == B
    name = previous_pointer(keeping.recipe)
    parameter = keeping.world.aws.client("ssm").get_parameter(Name=name)["Parameter"]
    assert parameter["DataType"] == "aws:ec2:image"


def test_called_twice_it_keeps_the_same(keeping: Keeping) -> None:
    keeping.pointed(A, B)
    assert keeping.kept(B) == keeping.kept(B) == A
    name = previous_pointer(keeping.recipe)
    history = keeping.world.aws.client("ssm").get_parameter_history(Name=name)["Parameters"]
    assert {version["Value"] for version in history} == {A}


def test_a_pointer_that_was_put_twice_has_the_same_previous_image(keeping: Keeping) -> None:
    keeping.pointed(A, B, B)
    assert keeping.kept(B) == A


def test_after_a_rollback_the_image_that_was_rolled_back_is_not_lost(keeping: Keeping) -> None:
    keeping.pointed(A, B, A, C)
    assert keeping.kept(C) == A


def test_what_a_person_has_put_since_is_no_previous_image(keeping: Keeping) -> None:
    keeping.pointed(A, B, C)
    assert keeping.kept(B) == A


def test_a_lost_answer_is_ridden_out(keeping: Keeping) -> None:
    keeping.pointed(A, B)
    keeping.world.aws.faults.lost_answer("ssm", "PutParameter")
    keeping.world.aws.faults.lost_answer("ssm", "GetParameterHistory")
    assert keeping.kept(B) == A


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
    assert keeping.kept(B) == A


def test_a_pointer_that_is_gone_is_told(keeping: Keeping) -> None:
    with pytest.raises(FunctionFailedError) as failed:
        keeping.keep(A)
    assert failed.value.name == "AwsCallFailedError"
    assert "ParameterNotFound" in failed.value.message


def test_it_is_not_over_before_the_value_is_in_force(keeping: Keeping) -> None:
    keeping.pointed(A, B)
    with pytest.raises(FunctionFailedError) as failed:
        keeping.keep(B)
    assert failed.value.name == "NotYetVisibleError"
    assert f"{A} for {previous_pointer(keeping.recipe)} in eu-west-1" in failed.value.message
    keeping.world.aws.until(lambda: keeping.world.previous(keeping.recipe) == A)


@pytest.mark.parametrize("image", [MISSING, DISABLED])
def test_an_image_that_cannot_be_launched_is_no_way_back(keeping: Keeping, image: str) -> None:
    """Parameter Store would refuse it; the parameter keeps what it had."""
    keeping.pointed(A, B)
    keeping.kept(B)
    keeping.remembered(image)
    assert keeping.kept(C) is None
    assert keeping.world.previous(keeping.recipe) == A


def test_after_a_redrive_a_later_bakes_way_back_stays(keeping: Keeping) -> None:
    """The bake was stopped when it had published; what it keeps would be two images ago."""
    keeping.pointed(A, B, C)
    assert keeping.kept(C) == B
    with pytest.raises(FunctionFailedError, match="CannotResumeError"):
        keeping.redriven(B, before=A)
    assert keeping.world.previous(keeping.recipe) == B


def test_after_a_redrive_nothing_is_kept_while_another_bake_has_the_recipe(quiet: World) -> None:
    with quiet.baking("small"):
        before = quiet.previous("small")
        own = Keeping(quiet, "small")
        with pytest.raises(FunctionFailedError, match="RecipeBusyError"):
            own.redriven(A, before=quiet.pointer("small"))
        assert quiet.previous("small") == before
