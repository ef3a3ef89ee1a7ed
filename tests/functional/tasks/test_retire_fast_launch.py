"""RetireImages and Windows fast launch: given to the current image, taken before one goes; and
nothing that it meets undoes a publication."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bakery.naming import pointer, previous_pointer
from scripts.bakery_cli.synthesis import synthesize
from scripts.local import LocalAws
from tests.functional.conftest import FunctionFailedError, World
from tests.functional.retiring import Retiring

RECIPES = Path(__file__).parents[1] / "swift"
WINDOWS = "ami-0c202200000000064"
TEMPLATE, REGION = "lt-0123456789abcdef1", "eu-central-1"
SUBNET = {"SubnetId": "subnet-0123", "Groups": ["sg-0123"], "DeviceIndex": 0}


@pytest.fixture(scope="module")
def deployed() -> Iterator[World]:
    assembly = synthesize(RECIPES, lambda _: None)
    with LocalAws.start(assembly, region="eu-west-1", scale=240.0) as aws:
        template(aws)
        yield World(aws, aws.deploy())


def template(aws: LocalAws, **data: Any) -> None:
    aws.ec2.launch_template(
        TEMPLATE, REGION, InstanceType="t3.xlarge", NetworkInterfaces=[SUBNET], **data
    )


@dataclass
class Swift(Retiring):
    """A Windows recipe whose images in one Region have fast launch."""

    def windows(self, number: int) -> list[str]:
        return self.images(number)

    def publish(self, image: str, before: str | None = None) -> None:
        self.point(pointer(self.recipe), image)
        if before:
            self.point(previous_pointer(self.recipe), before)

    def fast(self) -> dict[str, str]:
        """State of the fast launch of each image that has it."""
        found = self.ec2.describe_fast_launch_images()["FastLaunchImages"]
        return {it["ImageId"]: it["State"] for it in found}

    def reach(self, image: str, state: str | None) -> None:
        self.later(hours=1)
        self.world.aws.until(lambda: self.fast().get(image) == state, what=f"{image} {state}")


@pytest.fixture
def swift(quiet: World) -> Iterator[Swift]:
    quiet.aws.ec2.durations.copy = 5
    yield (it := Swift(quiet, "swift", REGION, (WINDOWS, "eu-west-1")))
    # The next test begins with an account that has nothing of the recipe's.
    quiet.aws.ec2.state.region(REGION).fast_launches.clear()
    for name in (pointer("swift"), previous_pointer("swift")):
        if quiet.parameter(name, REGION) is not None:
            it.ssm.delete_parameter(Name=name)
    for image in it.states():
        it.ec2.deregister_image(ImageId=image)
    quiet.aws.ec2.fast_launch.failures.clear()
    quiet.aws.ec2.state.region(REGION).templates.clear()
    template(quiet.aws)


def test_the_new_image_gets_it_as_the_recipe_says(swift: Swift) -> None:
    (image,) = swift.windows(1)
    swift.publish(image)

    answer = swift.run()

    assert answer["left"] == []
    assert answer["done"] == [f"{image}: enable fast launch: it is the current image"]
    (found,) = swift.ec2.describe_fast_launch_images()["FastLaunchImages"]
    assert found["LaunchTemplate"] == {"LaunchTemplateId": TEMPLATE, "Version": "1"}
    assert found["SnapshotConfiguration"] == {"TargetResourceCount": 3}
    assert found["MaxParallelLaunches"] == 6
    swift.reach(image, "enabled")
    assert swift.run()["done"] == []


def test_an_image_goes_only_when_ec2_has_removed_what_it_prepared_of_it(swift: Swift) -> None:
    old, *newer = swift.windows(3)
    swift.publish(old)
    swift.run(keep=3)
    swift.reach(old, "enabled")
    swift.publish(newer[1], newer[0])

    first = swift.run()
    assert first["counts"] == {"keep": 3}
    assert set(first["done"]) == {
        f"{old}: end fast launch: no pointer of the recipe holds the image",
        f"{newer[1]}: enable fast launch: it is the current image",
    }
    assert [it for it in first["kept"] if it.startswith(old)] == [
        f"{old}: keep: EC2 has prepared fast launches of it (enabled)"
    ]
    assert swift.run()["counts"] == {"keep": 3}, "its end is under way"

    swift.reach(old, None)
    assert swift.run()["counts"] == {"keep": 2, "disable": 1}
    swift.later(days=8)
    assert swift.run()["counts"] == {"keep": 2, "deregister": 1}


@pytest.mark.failure(69)
def test_an_end_that_fails_keeps_the_image_and_is_forced_the_next_time(swift: Swift) -> None:
    old, *newer = swift.windows(3)
    swift.publish(old)
    swift.run(keep=3)
    swift.reach(old, "enabled")
    swift.publish(newer[1], newer[0])
    swift.world.aws.ec2.fast_launch.failures += ["", "Server.InternalError: a snapshot is in use"]
    # The end is the first of the two changes.
    swift.world.aws.ec2.fast_launch.failures.reverse()
    swift.run()
    swift.reach(old, "disabling-failed")

    again = swift.run()

    assert again["counts"] == {"keep": 3}
    (told,) = [it for it in again["done"] if it.startswith(old)]
    assert told.endswith("EC2 could not before: Server.InternalError: a snapshot is in use")
    swift.reach(old, None)
    assert swift.run()["counts"] == {"keep": 2, "disable": 1}


def test_what_ec2_could_not_prepare_is_tried_again(swift: Swift) -> None:
    (image,) = swift.windows(1)
    swift.publish(image)
    swift.world.aws.ec2.fast_launch.failures.append("Server.InsufficientInstanceCapacity")
    swift.run()
    swift.reach(image, "enabling-failed")

    (told,) = swift.run()["done"]

    assert "EC2 could not before: Server.InsufficientInstanceCapacity" in told
    swift.reach(image, "enabled")


@pytest.mark.failure(69)
@pytest.mark.parametrize("call", ["EnableFastLaunch", "DisableFastLaunch"])
def test_a_change_that_ec2_refuses_is_told_and_the_rest_is_done(swift: Swift, call: str) -> None:
    old, *newer = swift.windows(3)
    swift.publish(old)
    swift.run(keep=3)
    swift.reach(old, "enabled")
    swift.publish(newer[1], newer[0])
    swift.world.aws.faults.error("ec2", call, code="ResourceLimitExceeded", times=float("inf"))

    answer = swift.run()

    refused = newer[1] if call == "EnableFastLaunch" else old
    (left,) = answer["left"]
    assert left.startswith(f"{refused}: could not ") and "ResourceLimitExceeded" in left
    assert len(answer["done"]) == 1 and not answer["done"][0].startswith(refused)
    swift.world.aws.faults.clear()
    assert swift.run()["left"] == []


@pytest.mark.failure(69)
def test_where_it_cannot_be_read_nothing_goes(swift: Swift) -> None:
    images = swift.windows(3)
    swift.publish(images[-1])
    swift.world.aws.faults.error(
        "ec2", "DescribeFastLaunchImages", code="UnauthorizedOperation", status=403
    )

    answer = swift.run()

    assert answer["done"] == [] and "DescribeFastLaunchImages" in answer["left"][0]
    assert set(swift.states().values()) == {"available"}


@pytest.mark.failure(49)
def test_a_lost_answer_costs_nothing(swift: Swift) -> None:
    (image,) = swift.windows(1)
    swift.publish(image)
    swift.world.aws.faults.lost_answer("ec2", "EnableFastLaunch")

    assert swift.run()["left"] == []

    assert swift.fast() == {image: "enabling"}
    assert swift.run()["left"] == []


def test_a_region_that_the_recipe_does_not_name_it_for_loses_it(
    swift: Swift, tmp_path: Path
) -> None:
    """As after the recipe has changed."""
    (image,) = swift.windows(1)
    swift.publish(image)
    swift.run()
    swift.reach(image, "enabled")
    recipe = {"description": "w", "base": {"ami": WINDOWS}, "windows": {}}
    with swift.world.carrying({"swift": recipe}, "retire_images", tmp_path):
        (told,) = swift.run()["done"]
    assert told == f"{image}: end fast launch: the recipe does not ask for it here"


def test_a_dry_run_tells_the_same_and_changes_nothing(swift: Swift) -> None:
    (image,) = swift.windows(1)
    swift.publish(image)

    told = swift.run(dry_run=True)["done"]

    assert swift.fast() == {}
    assert swift.run()["done"] == told


@pytest.mark.parametrize(
    "data",
    [
        {"IamInstanceProfile": {"Name": "admin"}},
        {"UserData": "PHBvd2Vyc2hlbGw+"},
    ],
    ids=["instance profile", "user data"],
)
def test_a_template_that_passes_more_on_is_refused(swift: Swift, data: dict[str, Any]) -> None:
    (image,) = swift.windows(1)
    swift.publish(image)
    swift.world.aws.ec2.state.region(REGION).templates.clear()
    template(swift.world.aws, **data)

    answer = swift.run()

    assert swift.fast() == {} and answer["done"] == []
    assert "could not enable fast launch" in answer["left"][0]


def test_a_recipe_of_linux_asks_nothing_of_it(swift: Swift) -> None:
    calls = swift.world.aws.calls
    calls.clear()
    Retiring(swift.world, "nobodys").run()
    assert not [it for it in calls.of("ec2") if "FastLaunch" in it.operation]


def test_an_error_of_the_call_that_passes_is_left_to_the_machine(swift: Swift) -> None:
    images = swift.windows(1)
    swift.publish(images[-1])
    swift.world.aws.faults.error(
        "ec2", "DescribeFastLaunchImages", code="RequestLimitExceeded", times=float("inf")
    )
    with pytest.raises(FunctionFailedError, match="Throttled"):
        swift.run()
