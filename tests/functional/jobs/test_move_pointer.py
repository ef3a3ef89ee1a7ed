"""Rollback and promotion: everywhere or nowhere, twice in a row, after failures, and told."""

import json
import uuid
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from bakery.naming import (
    TAG_BAKE,
    TAG_RECIPE,
    label_pointer,
    pointer,
    previous_pointer,
    rolled_back_pointer,
)
from tests.functional.conftest import Ended, World
from tests.functional.cutting import ROLE, cut_short, redriven

RECIPE = "tidy"
BASE = "ami-0a120230000000064"
HOME, OTHER = "eu-west-1", "eu-central-1"
REGIONS = (HOME, OTHER)
CANARY, STABLE = label_pointer(RECIPE, "canary"), label_pointer(RECIPE, "stable")
WHO = "arn:aws:iam::123456789012:user/ada"


@dataclass
class Moving:
    """A recipe with images in two Regions, and what moves its pointers."""

    world: World

    def image(self, recipe: str = RECIPE, regions: tuple[str, ...] = REGIONS) -> dict[str, str]:
        """An image of a bake, and its copies."""
        bake = f"made-{uuid.uuid4().hex[:8]}"
        tags = [{"Key": TAG_RECIPE, "Value": recipe}, {"Key": TAG_BAKE, "Value": bake}]
        home, *others = regions
        made = {home: self.copy(BASE, home, home, bake, tags)}
        made |= {region: self.copy(made[home], home, region, bake, tags) for region in others}
        return made

    def copy(
        self, source: str, where: str, region: str, name: str, tags: list[dict[str, str]]
    ) -> str:
        """A copy, available, of the image ``source`` in the Region ``where``."""
        answer = self.world.aws.client("ec2", region).copy_image(
            SourceImageId=source,
            SourceRegion=where,
            Name=name,
            TagSpecifications=[
                {"ResourceType": kind, "Tags": tags} for kind in ("image", "snapshot")
            ],
        )
        made = str(answer["ImageId"])
        self.world.aws.until(partial(self._is, region, made, "available"))
        return made

    def tags(self, image: str) -> list[dict[str, str]]:
        (found,) = self.world.aws.client("ec2").describe_images(ImageIds=[image])["Images"]
        return list(found["Tags"])

    def state(self, region: str, image: str) -> str:
        found = self.world.aws.client("ec2", region).describe_images(ImageIds=[image])["Images"]
        return str(found[0]["State"])

    def _is(self, region: str, image: str, state: str) -> bool:
        return self.state(region, image) == state

    def _holds(self, name: str, region: str, image: str) -> bool:
        return self.world.parameter(name, region) == image

    def point(self, name: str, image: dict[str, str]) -> None:
        for region, id_ in image.items():
            self.world.aws.client("ssm", region).put_parameter(
                Name=name, Value=id_, Type="String", DataType="aws:ec2:image", Overwrite=True
            )
            self.world.aws.until(partial(self._holds, name, region, id_), what=name)

    def clear(self) -> None:
        for region in REGIONS:
            ssm = self.world.aws.client("ssm", region)
            found = ssm.get_parameters_by_path(Path=f"/ami-bakery/{RECIPE}", Recursive=True)
            for it in found["Parameters"]:
                ssm.delete_parameter(Name=it["Name"])

    def parameters(self) -> dict[str, dict[str, str]]:
        """All parameters of the recipe, byte for byte, in every Region."""
        found: dict[str, dict[str, str]] = {}
        for region in REGIONS:
            ssm = self.world.aws.client("ssm", region)
            page = ssm.get_parameters_by_path(Path=f"/ami-bakery/{RECIPE}", Recursive=True)
            found[region] = {it["Name"]: it["Value"] for it in page["Parameters"]}
        return found

    def start(self, **given: object) -> str:
        answer = self.world.aws.client("stepfunctions").start_execution(
            stateMachineArn=self.world.outputs["MoveStateMachineArn"],
            name=f"move-{uuid.uuid4().hex[:8]}",
            input=json.dumps({"recipe": RECIPE, "by": WHO, **given}),
        )
        return str(answer["executionArn"])

    def move(self, **given: object) -> Ended:
        return self.world.ended(self.start(**given))

    def moved(self, **given: object) -> dict[str, Any]:
        ended = self.move(**given)
        assert ended.status == "SUCCEEDED", (ended.error, ended.cause)
        assert self.world.leases() == {}
        return ended.output

    def cut(self, operation: str, *, skip: int = 0, when: Any = None) -> str:
        """A rollback that is stopped by hand half way."""
        return cut_short(self.world, self.start, operation, skip=skip, when=when)

    def redriven(self, arn: str) -> Ended:
        redriven(self.world, arn)
        return self.world.ended(arn)

    def refused(self, **given: object) -> Ended:
        """It fails, and every parameter everywhere is what it was."""
        before = self.parameters()
        ended = self.move(**given)
        assert ended.status == "FAILED", ended.output
        assert self.parameters() == before
        assert self.world.leases() == {}
        assert self.told() == []
        return ended

    def told(self) -> list[dict[str, Any]]:
        return [it["detail"] for it in self.world.aws.events.of("Pointer Moved")]


@pytest.fixture
def moving(world: World) -> Moving:
    world.aws.ec2.durations.copy = 5
    found = Moving(world)
    found.clear()
    return found


@pytest.fixture
def images(moving: Moving) -> list[dict[str, str]]:
    """Two images; the second is current, the first was before."""
    older, newer = moving.image(), moving.image()
    moving.point(pointer(RECIPE), newer)
    moving.point(previous_pointer(RECIPE), older)
    return [older, newer]


Images = list[dict[str, str]]


# --- rollback ---------------------------------------------------------------------------------


def test_a_rollback_moves_back_everywhere_and_a_second_one_forward_again(
    moving: Moving, images: Images
) -> None:
    older, newer = images
    for came, went in ((older, newer), (newer, older), (older, newer)):
        moving.world.aws.events.recorded.clear()
        output = moving.moved()
        for region in REGIONS:
            assert moving.world.pointer(RECIPE, region) == came[region]
            assert moving.world.previous(RECIPE, region) == went[region]
        assert moving.world.parameter(rolled_back_pointer(RECIPE)) == went[HOME]
        assert moving.world.parameter(rolled_back_pointer(RECIPE), OTHER) is None
        (event,) = moving.told()
        assert event == {
            "recipe": RECIPE,
            "why": "rollback",
            "parameter": pointer(RECIPE),
            "from": went[HOME],
            "to": came[HOME],
            "regions": {r: {"from": went[r], "to": came[r]} for r in REGIONS},
            "launch_templates": {},
            "by": WHO,
            "execution": output["execution"],
        }


def test_a_rollback_goes_to_the_image_that_is_named(moving: Moving, images: Images) -> None:
    oldest = moving.image()
    moving.point(pointer(RECIPE), oldest)
    moving.point(pointer(RECIPE), images[1])
    output = moving.moved(to=oldest[HOME])
    assert (output["moved_from"], output["moved_to"]) == (images[1][HOME], oldest[HOME])
    for region in REGIONS:
        assert moving.world.pointer(RECIPE, region) == oldest[region]
        assert moving.world.previous(RECIPE, region) == images[1][region]
    moving.moved()
    assert moving.world.pointer(RECIPE) == images[1][HOME]


def test_an_image_that_no_bake_has_published_is_not_published_by_hand(
    moving: Moving, images: Images
) -> None:
    """It is there, has the recipe's tags, and has failed its tests, or is in the middle of them."""
    untested = moving.image()
    ended = moving.refused(to=untested[HOME])
    assert ended.error == "CannotMovePointerError"
    assert f"image {untested[HOME]} was never published" in ended.cause


def test_whoever_may_tag_makes_no_copy_to_move_to(moving: Moving, images: Images) -> None:
    older, _ = images
    foreign = moving.copy(BASE, OTHER, OTHER, "foreign", moving.tags(older[HOME]))
    assert moving.moved()["regions"][OTHER]["to"] == older[OTHER]
    ec2 = moving.world.aws.client("ec2", OTHER)
    ec2.deregister_image(ImageId=older[OTHER])
    moving.point(pointer(RECIPE), images[1])
    moving.world.aws.events.recorded.clear()
    ended = moving.refused(to=older[HOME])
    assert f"- {OTHER}: there is no copy of {older[HOME]} here" in ended.cause
    ec2.deregister_image(ImageId=foreign)


def test_a_copy_by_hand_in_the_home_region_is_in_no_way_of_its_image(
    moving: Moving, images: Images
) -> None:
    """With all tags, as with --copy-image-tags, say for another key."""
    older, _ = images
    moving.copy(older[HOME], HOME, HOME, "by-hand", moving.tags(older[HOME]))
    assert moving.moved()["moved_to"] == older[HOME]
    assert moving.world.pointer(RECIPE) == older[HOME]


def test_an_image_that_was_deregistered_is_left_behind_and_is_no_way_back(
    moving: Moving, images: Images
) -> None:
    older, newer = images
    for region in REGIONS:
        moving.world.aws.client("ec2", region).deregister_image(
            ImageId=newer[region], DeleteAssociatedSnapshots=True
        )
    moving.moved()
    for region in REGIONS:
        assert moving.world.pointer(RECIPE, region) == older[region]
        assert moving.world.previous(RECIPE, region) == older[region]
    assert moving.world.parameter(rolled_back_pointer(RECIPE)) is None


def test_a_region_that_was_moved_by_hand_already_does_not_hold_up_the_other(
    moving: Moving, images: Images
) -> None:
    older, newer = images
    moving.point(pointer(RECIPE), {OTHER: older[OTHER]})
    assert set(moving.moved()["regions"]) == {HOME}
    assert [moving.world.pointer(RECIPE, r) for r in REGIONS] == [older[r] for r in REGIONS]


# --- promotion --------------------------------------------------------------------------------


def test_a_promotion_gives_one_label_the_image_of_another_everywhere(
    moving: Moving, images: Images
) -> None:
    older, newer = images
    moving.point(CANARY, newer)
    moving.point(STABLE, older)
    output = moving.moved(from_label="canary", to_label="stable")
    assert (output["moved_from"], output["moved_to"]) == (older[HOME], newer[HOME])
    for region in REGIONS:
        assert moving.world.parameter(STABLE, region) == newer[region]
        assert moving.world.parameter(CANARY, region) == newer[region]
        assert moving.world.pointer(RECIPE, region) == newer[region]
        assert moving.world.previous(RECIPE, region) == older[region]
    (event,) = moving.told()
    assert (event["why"], event["parameter"], event["by"]) == ("promote", STABLE, WHO)
    # Once more there is nothing to do, and nothing to tell.
    assert moving.moved(from_label="canary", to_label="stable")["regions"] == {}
    assert len(moving.told()) == 1


def test_a_new_label_is_made_only_if_one_says_so(moving: Moving, images: Images) -> None:
    moving.point(CANARY, images[1])
    ended = moving.refused(from_label="canary", to_label="stabel")
    assert ended.error == "CannotMovePointerError"
    assert "there is no label 'stabel'; labels: canary; say --new to make it" in ended.cause
    moving.moved(from_label="canary", to_label="stable", new_label=True)
    assert moving.world.parameter(STABLE, OTHER) == images[1][OTHER]


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"recipe": "nothing"}, "UnknownRecipeError", "There is no recipe 'nothing'"),
        ({"to": "latest"}, "InvalidInputError", "to: must be an image id"),
        ({"to_label": "stable"}, "InvalidInputError", "name both labels"),
        ({"from_label": "a1", "to_label": "a1"}, "InvalidInputError", "are the same"),
        ({"from_label": "A", "to_label": "b1"}, "InvalidInputError", "from_label: must be a label"),
        ({"wat": 1}, "InvalidInputError", "wat: is not a known key"),
        ({"from_label": "edge", "to_label": "b1"}, "CannotMovePointerError", "has no labels yet"),
        ({}, "CannotMovePointerError", "has no previous image"),
        ({"to": "ami-0123456789abcdef0"}, "CannotMovePointerError", "there is no image ami-0123"),
        ({"to": BASE}, "CannotMovePointerError", "there is no image"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    moving: Moving, given: dict[str, object], error: str, text: str
) -> None:
    moving.point(pointer(RECIPE), moving.image())
    ended = moving.refused(**given)
    assert ended.error == error
    assert text in ended.cause


def test_an_input_that_is_no_mapping_is_refused(moving: Moving) -> None:
    arn = moving.world.aws.client("stepfunctions").start_execution(
        stateMachineArn=moving.world.outputs["MoveStateMachineArn"], input='"tidy"'
    )["executionArn"]
    ended = moving.world.ended(arn)
    assert (ended.status, ended.error) == ("FAILED", "InvalidInputError")


def test_every_region_is_checked_before_anything_moves(moving: Moving, images: Images) -> None:
    lone = moving.image(regions=(HOME,))
    moving.point(pointer(RECIPE), lone)
    moving.point(pointer(RECIPE), images[1])
    ended = moving.refused(to=lone[HOME])
    assert f"- {OTHER}: there is no copy of {lone[HOME]} here" in ended.cause
    disabled = moving.image()
    moving.point(pointer(RECIPE), disabled)
    moving.point(pointer(RECIPE), images[1])
    moving.world.aws.client("ec2", OTHER).disable_image(ImageId=disabled[OTHER])
    ended = moving.refused(to=disabled[HOME])
    assert f"- {OTHER}: image {disabled[OTHER]} is disabled; enable it first" in ended.cause
    theirs = moving.image(recipe="web")
    ended = moving.refused(to=theirs[HOME])
    assert f"- {HOME}: image {theirs[HOME]} is of recipe 'web'" in ended.cause
    ended = moving.refused(to=images[1][HOME])
    assert f"{images[1][HOME]} is its current image already" in ended.cause
    assert not moving.world.aws.calls.of("ssm", "PutParameter", ROLE)


def test_while_a_bake_has_the_recipe_nothing_moves(moving: Moving, images: Images) -> None:
    moving.world.aws.ec2.no_capacity()
    bake = moving.world.start({"recipe": RECIPE, "force": True})
    moving.world.aws.until(lambda: moving.world.leases().get(RECIPE) == bake, what="the lease")
    before = moving.parameters()
    ended = moving.move()
    assert ended.error == "RecipeBusyError"
    assert bake.rpartition(":")[2] in ended.cause
    assert moving.parameters() == before
    assert moving.world.leases() == {RECIPE: bake}
    moving.world.aws.client("stepfunctions").stop_execution(executionArn=bake)
    moving.world.ended(bake)
    moving.world.aws.until(lambda: moving.world.aws.lambdas.idle)
    # The lease of a bake that has ended is taken over.
    moving.moved()


# --- what goes wrong --------------------------------------------------------------------------


def in_region(region: str, name: str) -> Any:
    """Whether a call is for the parameter, by its value: parameters do not tell their Region."""

    def when(parameters: dict[str, Any]) -> bool:
        return bool(parameters.get("Name") == name and parameters.get("Value") == region)

    return when


@pytest.mark.parametrize("which", [pointer, previous_pointer, rolled_back_pointer])
@pytest.mark.parametrize(
    ("code", "times", "error"),
    [
        ("AccessDeniedException", 1, "AccessDeniedError"),
        ("ThrottlingException", 999, "ThrottledError"),
        ("ParameterLimitExceeded", 1, "AwsCallFailedError"),
    ],
)
def test_a_refusal_half_way_puts_everything_back(
    moving: Moving, images: Images, code: str, times: int, error: str, which: Any
) -> None:
    """In the second Region of the pointer and of the previous image: what moved before returns."""
    older, newer = images
    went = {pointer: older, previous_pointer: newer, rolled_back_pointer: newer}[which]
    region = HOME if which is rolled_back_pointer else OTHER
    moving.world.aws.faults.error(
        "ssm",
        "PutParameter",
        code=code,
        message="why",
        times=times,
        when=in_region(went[region], which(RECIPE)),
        role=ROLE,
    )
    ended = moving.refused()
    assert ended.error == error
    assert "why" in ended.cause
    assert ended.cause.endswith("Everything is as before.")
    moving.world.aws.faults.clear()
    moving.moved()


def test_a_value_that_parameter_store_refuses_afterwards_puts_everything_back(
    moving: Moving, images: Images
) -> None:
    """It answers, and drops the value a moment later: the image is gone by then. What was current
    is not the previous image before the pointer has moved, because a disabled one cannot return."""
    older, newer = images
    ec2 = moving.world.aws.client("ec2", OTHER)
    moving.world.aws.faults.after(
        "ssm",
        "PutParameter",
        lambda: ec2.disable_image(ImageId=older[OTHER]),
        when=in_region(older[OTHER], pointer(RECIPE)),
    )
    ended = moving.refused()
    assert ended.error in {"PointerRejectedError", "NotYetVisibleError"}
    assert f"{pointer(RECIPE)} in {OTHER}" in ended.cause
    ec2.enable_image(ImageId=older[OTHER])
    moving.moved()


def test_a_new_label_that_failed_half_way_is_gone_again(moving: Moving, images: Images) -> None:
    moving.point(CANARY, images[1])
    moving.world.aws.faults.error(
        "ssm",
        "PutParameter",
        code="AccessDeniedException",
        when=in_region(images[1][OTHER], STABLE),
        role=ROLE,
    )
    moving.refused(from_label="canary", to_label="stable", new_label=True)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("service", "operation", "skip"),
    [
        *(("ssm", "PutParameter", skip) for skip in (0, 1, 3)),
        *(("dynamodb", "PutItem", skip) for skip in (0, 1, 3, 6)),
    ],
)
def test_it_may_be_killed_anywhere(
    moving: Moving, images: Images, service: str, operation: str, skip: int, after: bool
) -> None:
    older, newer = images
    moving.world.aws.faults.crash(ROLE, operation, service=service, after=after, skip=skip)
    moving.moved()
    assert [moving.world.pointer(RECIPE, r) for r in REGIONS] == [older[r] for r in REGIONS]
    assert [moving.world.previous(RECIPE, r) for r in REGIONS] == [newer[r] for r in REGIONS]


def test_told_twice_it_has_still_moved_once(moving: Moving, images: Images) -> None:
    """Killed after the event, before the lease is back: it does not roll back once more."""
    older, _ = images
    moving.world.aws.faults.crash(ROLE, "PutEvents", after=True)
    moving.moved()
    assert moving.world.pointer(RECIPE) == older[HOME]
    assert len({json.dumps(it, sort_keys=True) for it in moving.told()}) == 1


def test_what_cannot_be_put_back_is_named(moving: Moving, images: Images) -> None:
    older, newer = images
    moving.world.aws.faults.error(
        "ssm",
        "PutParameter",
        code="AccessDeniedException",
        when=in_region(older[OTHER], pointer(RECIPE)),
    )
    moving.world.aws.faults.error(
        "ssm",
        "PutParameter",
        code="AccessDeniedException",
        when=in_region(newer[HOME], pointer(RECIPE)),
        times=99,
    )
    ended = moving.move()
    assert ended.error == "AccessDeniedError"
    assert f"NOT as before, put it back by hand: {pointer(RECIPE)} in {HOME} was" in ended.cause
    assert newer[HOME] in ended.cause
    assert moving.world.leases() == {}


def after_a_refusal(moving: Moving, images: Images) -> Any:
    """Whether the mover's call that fails for good, at the home Region's previous image, was made:
    when all pointers have moved."""
    refused = moving.world.aws.faults.error(
        "ssm",
        "PutParameter",
        code="AccessDeniedException",
        message="the first error",
        when=in_region(images[1][HOME], previous_pointer(RECIPE)),
        role=ROLE,
    )
    return lambda _: refused.matched > 0


def test_a_region_that_falls_silent_keeps_no_other_from_going_back(
    moving: Moving, images: Images
) -> None:
    older, newer = images
    moving.world.aws.faults.error(
        "ssm",
        "*",
        code="InternalServerError",
        message="silence",
        status=503,
        times=float("inf"),
        when=after_a_refusal(moving, images),
        role=ROLE,
        region=OTHER,
    )
    ended = moving.move()
    assert moving.world.pointer(RECIPE) == newer[HOME]
    assert moving.world.previous(RECIPE) == older[HOME]
    assert ended.error == "AccessDeniedError"
    assert "the first error" in ended.cause
    left = ended.cause.partition("NOT as before, put it back by hand: ")[2]
    assert f"{pointer(RECIPE)} in {OTHER} was {newer[OTHER]}" in left
    assert f"in {HOME}" not in left
    assert moving.world.leases() == {}


def test_a_region_that_answers_again_goes_back_as_well(moving: Moving, images: Images) -> None:
    before = moving.parameters()
    moving.world.aws.faults.error(
        "ssm",
        "*",
        code="InternalServerError",
        status=503,
        times=12,
        when=after_a_refusal(moving, images),
        role=ROLE,
        region=OTHER,
    )
    ended = moving.move()
    assert ended.error == "AccessDeniedError"
    assert ended.cause.endswith("Everything is as before.")
    assert moving.parameters() == before


def test_what_cannot_even_be_said_has_the_first_error(moving: Moving, images: Images) -> None:
    """Without the table nobody knows what was put."""
    moving.world.aws.faults.error(
        "dynamodb",
        "GetItem",
        code="InternalServerError",
        status=500,
        times=float("inf"),
        when=after_a_refusal(moving, images),
        role=ROLE,
    )
    ended = moving.move()
    assert ended.error == "AccessDeniedError"
    assert "the first error" in ended.cause
    assert "perhaps not put back" in ended.cause
    assert ended.cause.endswith("Restore has failed with ServiceUnavailableError")
    moving.world.aws.faults.clear()
    for name in moving.world.leases():
        moving.world.remove_item(f"claim#lease#{name}")


# --- stopped half way, and redriven later -------------------------------------------------------

AFTER_THE_FIRST = ("PutParameter", 0)
AFTER_THE_POINTERS = ("PutItem", 3)
AFTER_EVERYTHING = ("PutItem", 5)


@pytest.mark.parametrize(
    ("operation", "skip"), [AFTER_THE_FIRST, AFTER_THE_POINTERS, AFTER_EVERYTHING]
)
def test_a_rollback_that_is_redriven_moves_on(
    moving: Moving, images: Images, operation: str, skip: int
) -> None:
    older, newer = images
    arn = moving.cut(operation, skip=skip)
    moving.world.aws.clock.advance(minutes=20)
    ended = moving.redriven(arn)
    assert ended.status == "SUCCEEDED", ended.cause
    for region in REGIONS:
        assert moving.world.pointer(RECIPE, region) == older[region]
        assert moving.world.previous(RECIPE, region) == newer[region]


@pytest.mark.parametrize(
    ("operation", "skip"), [AFTER_THE_FIRST, AFTER_THE_POINTERS, AFTER_EVERYTHING]
)
def test_a_rollback_that_is_redriven_leaves_alone_what_was_published_since(
    moving: Moving, images: Images, operation: str, skip: int
) -> None:
    older, _ = images
    newest = moving.image()
    arn = moving.cut(operation, skip=skip)
    moving.point(pointer(RECIPE), newest)
    moving.point(previous_pointer(RECIPE), older)
    ended = moving.redriven(arn)
    for region in REGIONS:
        assert moving.world.pointer(RECIPE, region) == newest[region]
        assert moving.world.previous(RECIPE, region) == older[region]
    assert ended.error == "CannotMovePointerError"
    assert f"- {HOME}: {pointer(RECIPE)} is {newest[HOME]} by now" in ended.cause
    alone = ended.cause.partition("Left alone, another has moved it since: ")[2]
    assert f"{pointer(RECIPE)} in {OTHER} is {newest[OTHER]}" in alone
    assert moving.told() == []
    assert moving.world.leases() == {}


@pytest.mark.parametrize("skip", [2, 3, 4], ids=["pointers", "pointers noted", "memory begun"])
def test_what_a_bake_remembers_since_is_not_taken_for_a_rollbacks(
    moving: Moving, images: Images, skip: int
) -> None:
    """It has published over the image that the rollback came from: both remember that."""
    _, newer = images
    newest = moving.image()
    arn = moving.cut("PutItem", skip=skip)
    moving.point(pointer(RECIPE), newest)
    moving.point(previous_pointer(RECIPE), newer)
    ended = moving.redriven(arn)
    for region in REGIONS:
        assert moving.world.pointer(RECIPE, region) == newest[region]
        assert moving.world.previous(RECIPE, region) == newer[region]
    assert ended.error == "CannotMovePointerError"
    assert "NOT as before" not in ended.cause


def putting_back(images: Images) -> Any:
    """Whether a call puts back the pointer of the Region that goes last."""
    return in_region(images[1][OTHER], pointer(RECIPE))


def test_what_was_published_since_is_not_put_back(moving: Moving, images: Images) -> None:
    newest = moving.image()
    after_a_refusal(moving, images)
    arn = moving.cut("PutParameter", when=putting_back(images))
    moving.point(pointer(RECIPE), newest)
    ended = moving.redriven(arn)
    for region in REGIONS:
        assert moving.world.pointer(RECIPE, region) == newest[region]
    assert ended.error == "AccessDeniedError"
    assert "NOT as before" not in ended.cause
    alone = ended.cause.partition("Left alone, another has moved it since: ")[2]
    assert f"{pointer(RECIPE)} in {HOME} is {newest[HOME]}" in alone


def test_what_nobody_has_touched_is_put_back_however_late(moving: Moving, images: Images) -> None:
    before = moving.parameters()
    after_a_refusal(moving, images)
    arn = moving.cut("PutParameter", when=putting_back(images))
    moving.world.aws.clock.advance(hours=1)
    ended = moving.redriven(arn)
    assert ended.error == "AccessDeniedError"
    assert ended.cause.endswith("Everything is as before.")
    assert moving.parameters() == before


def test_while_a_bake_has_the_recipe_nothing_is_put_back(moving: Moving, images: Images) -> None:
    arn = moving.cut("PutParameter")
    moving.world.aws.until(lambda: moving.world.pointer(RECIPE) == images[0][HOME], what="the move")
    with moving.world.baking(RECIPE):
        before, leases = moving.parameters(), moving.world.leases()
        ended = moving.redriven(arn)
        assert moving.parameters() == before
        assert moving.world.leases() == leases
        assert ended.error == "RecipeBusyError"
        assert "Nothing was put back" in ended.cause
        assert f"{pointer(RECIPE)} in {HOME} was {images[1][HOME]}" in ended.cause
    moving.world.aws.until(lambda: moving.world.aws.lambdas.idle)


def of_the_lease(parameters: dict[str, Any]) -> bool:
    return bool(parameters["Key"]["id"] == {"S": f"lease#{RECIPE}"})


def test_an_answer_that_is_lost_at_the_end_undoes_nothing(moving: Moving, images: Images) -> None:
    """And a bake has taken the recipe before the mover is asked again."""
    older, _ = images
    with moving.world.baking("small"):
        bake = moving.world.leases()["small"]
        killed = moving.world.aws.faults.crash(ROLE, "DeleteItem", after=True)
        moving.world.aws.faults.after(
            "dynamodb",
            "DeleteItem",
            lambda: moving.world.put_item(f"claim#lease#{RECIPE}", holder=bake),
            when=of_the_lease,
        )
        ended = moving.move()
        assert killed.matched == 1
        assert ended.status == "SUCCEEDED", ended.cause
        assert [moving.world.pointer(RECIPE, it) for it in REGIONS] == [older[r] for r in REGIONS]
        assert len(moving.told()) == 1
        assert moving.world.leases()[RECIPE] == bake
        moving.world.remove_item(f"claim#lease#{RECIPE}")
    moving.world.aws.until(lambda: moving.world.aws.lambdas.idle)


def test_what_was_announced_is_not_undone(moving: Moving, images: Images) -> None:
    older, _ = images
    moving.world.aws.faults.error(
        "dynamodb", "DeleteItem", code="AccessDeniedException", when=of_the_lease, role=ROLE
    )
    ended = moving.move()
    assert ended.error == "AccessDeniedError"
    assert ended.cause.endswith("and that was announced: it stays so.")
    assert [moving.world.pointer(RECIPE, it) for it in REGIONS] == [older[r] for r in REGIONS]
    assert moving.world.leases() == {}
