"""UpdateTemplates: one version for each bake, with nothing changed but the image."""

from typing import Any

import pytest

from bakery.naming import pointer
from tests.functional.conftest import FunctionFailedError, World
from tests.functional.making import Making

TEMPLATE = "lt-0123456789abcdef0"
IMAGE = "ami-0123456789abcdef0"
OTHER = "ami-0c0de180400000012"
"""An image of this account, as another bake would have published it."""


def versions(world: World) -> dict[int, dict[str, Any]]:
    found = world.aws.client("ec2").describe_launch_template_versions(LaunchTemplateId=TEMPLATE)
    return {it["VersionNumber"]: it for it in found["LaunchTemplateVersions"]}


def update(making: Making, *, image: str | None = IMAGE, **more: object) -> int:
    """Call the task; returns the newest version."""
    event = {
        **more,
        "bake": making.bake,
        "recipe": making.plan["recipe"],
        "templates": [{"region": "eu-west-1", "id": TEMPLATE}],
        "copies": [{"region": "eu-west-1", "image_id": image}],
    }
    assert making.world.invoke("update_templates", event) is None
    return max(versions(making.world))


@pytest.fixture
def wide(quiet: World) -> Making:
    return Making.begin(quiet, "wide")


def test_the_new_version_is_the_default_with_another_image(wide: Making) -> None:
    before = max(versions(wide.world))
    number = update(wide)
    assert number == before + 1
    made = versions(wide.world)[number]
    assert made["LaunchTemplateData"] == {"InstanceType": "t3.small", "ImageId": IMAGE}
    assert made["DefaultVersion"] is True and wide.bake in made["VersionDescription"]


def test_a_version_that_nobody_has_made_the_default_does_not_become_it(wide: Making) -> None:
    """Who may make versions may not always say which one is launched."""
    number = update(wide)
    ec2 = wide.world.aws.client("ec2")
    ec2.create_launch_template_version(
        LaunchTemplateId=TEMPLATE,
        SourceVersion=str(number),
        LaunchTemplateData={"UserData": "IyEvYmluL3No"},
    )
    newest = update(Making.begin(wide.world, "wide"))
    made = versions(wide.world)[newest]
    assert made["DefaultVersion"] is True
    assert made["LaunchTemplateData"] == {"InstanceType": "t3.small", "ImageId": IMAGE}


@pytest.mark.failure(49)
def test_after_a_lost_answer_there_is_one_version(wide: Making) -> None:
    before = len(versions(wide.world))
    wide.world.aws.faults.lost_answer("ec2", "CreateLaunchTemplateVersion", times=5)
    with pytest.raises(FunctionFailedError, match="ServiceUnavailableError"):
        update(wide)
    wide.world.aws.faults.clear()
    assert update(wide) == update(wide)
    assert len(versions(wide.world)) == before + 1


def test_a_region_that_is_left_out_keeps_its_template(wide: Making) -> None:
    before = versions(wide.world)
    update(wide, image=None)
    assert versions(wide.world) == before


def test_after_a_redrive_an_older_image_does_not_take_the_place_of_a_newer_one(
    wide: Making,
) -> None:
    """A bake that was stopped goes on where it was; another has published meanwhile."""
    before, execution = versions(wide.world), wide.world.execution(wide.bake)
    ssm, name = wide.world.aws.client("ssm"), pointer("wide")
    ssm.put_parameter(Name=name, Value=OTHER, Type="String", DataType="aws:ec2:image")
    wide.world.aws.until(lambda: wide.world.pointer("wide") == OTHER, what="the pointer")
    with pytest.raises(FunctionFailedError, match="CannotResumeError"):
        update(wide, redrives=1, execution=execution, before="ami-0123456789abcdef1")
    assert versions(wide.world) == before
    ssm.delete_parameter(Name=name)


def test_after_a_redrive_nothing_changes_while_another_bake_has_the_recipe(wide: Making) -> None:
    with wide.world.baking("wide"):
        before, execution = versions(wide.world), wide.world.execution(wide.bake)
        held = wide.world.pointer("wide")
        with pytest.raises(FunctionFailedError, match="RecipeBusyError"):
            update(wide, redrives=1, execution=execution, before=held)
        assert versions(wide.world) == before
