"""A bake that goes well: the contracts of the design, read from the account afterwards."""

import json
import re

import pytest

from bakery.naming import (
    TAG_BAKE,
    TAG_BASE_IMAGE,
    TAG_FINGERPRINT,
    TAG_RECIPE,
    pointer,
)
from bakery.stages import STAGES
from tests.functional.conftest import Ended, World

AL2023 = "ami-0a120230000000064"


@pytest.fixture(scope="module")
def first(deployed: World) -> Ended:
    """The first bake of recipe web, shared by the tests that only look."""
    ended = deployed.bake("web")
    assert ended.status == "SUCCEEDED", ended.cause
    return ended


def test_the_output_is_the_contract(first: Ended) -> None:
    output = first.output
    assert set(output) == {
        "recipe",
        "outcome",
        "image",
        "copies",
        "left_out",
        "previous",
        "timeline",
        "estimated_cost_usd",
        "reason",
        "left",
        "changes",
        "shared",
        "skipped_slot",
        "retired",
    }
    assert output["recipe"] == "web"
    assert output["outcome"] == "baked"
    assert re.fullmatch(r"ami-[0-9a-f]{17}", output["image"]["id"])
    assert re.fullmatch(r"web-\d{8}T\d{6}Z", output["image"]["name"])
    assert output["image"]["region"] == "eu-west-1"
    assert output["copies"] == {}
    assert output["previous"] is None
    assert output["left"] == []
    assert output["skipped_slot"] is None
    assert output["retired"] == []
    assert 0 < output["estimated_cost_usd"] < 0.1


def test_the_timeline_has_every_stage_in_order_with_its_duration(first: Ended) -> None:
    timeline = first.output["timeline"]
    assert [stage["stage"] for stage in timeline] == list(STAGES)
    assert all(stage["seconds"] >= 0 for stage in timeline)
    assert all(re.fullmatch(r"\d{4}-.*Z", stage["started"]) for stage in timeline)
    seconds = {stage["stage"]: stage["seconds"] for stage in timeline}
    # The local AWS takes two minutes for an image and twenty seconds to stop.
    assert seconds["create_image"] >= 100
    assert seconds["stop"] >= 15


@pytest.mark.failure(33)
def test_image_and_snapshots_carry_the_tags_from_the_creating_call(
    deployed: World, first: Ended
) -> None:
    (image,) = deployed.tagged("image", first.name)
    tags = {tag["Key"]: tag["Value"] for tag in image["Tags"]}
    assert tags[TAG_RECIPE] == "web"
    assert tags[TAG_BAKE] == first.name
    assert tags[TAG_BASE_IMAGE] == AL2023
    digests = r"applications=D bakery=\S+ documents=D parameters=D recipe=D steps=D tests=D"
    assert re.fullmatch(digests.replace("D", "[0-9a-f]{12}"), tags[TAG_FINGERPRINT])
    (snapshot,) = deployed.tagged("snapshot", first.name)
    assert {tag["Key"]: tag["Value"] for tag in snapshot["Tags"]} == tags
    assert snapshot["Encrypted"] is True
    assert snapshot["VolumeSize"] == 12
    assert deployed.calls("CreateTags") == []


def test_the_pointer_is_an_image_parameter_with_the_new_image(
    deployed: World, first: Ended
) -> None:
    parameter = deployed.aws.client("ssm").get_parameter(Name=pointer("web"))["Parameter"]
    assert parameter["Value"] == first.output["image"]["id"]
    assert parameter["DataType"] == "aws:ec2:image"


@pytest.mark.failure(30)
def test_the_builder_is_hardened_in_the_launching_call(deployed: World, first: Ended) -> None:
    (launch,) = deployed.launches()
    assert launch["MetadataOptions"]["HttpTokens"] == "required"
    assert launch["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert launch["InstanceInitiatedShutdownBehavior"] == "stop"
    assert "KeyName" not in launch
    (mapping,) = launch["BlockDeviceMappings"]
    assert mapping["Ebs"]["Encrypted"] is True
    assert mapping["Ebs"]["DeleteOnTermination"] is True
    tagged = {spec["ResourceType"]: spec["Tags"] for spec in launch["TagSpecifications"]}
    assert set(tagged) == {"instance", "volume", "network-interface"}
    for tags in tagged.values():
        assert {"Key": TAG_BAKE, "Value": first.name} in tags
        assert {"Key": TAG_RECIPE, "Value": "web"} in tags


@pytest.mark.failure(24)
def test_each_step_ran_its_document_pinned_by_version_and_content(
    deployed: World, first: Ended
) -> None:
    sent = deployed.sent_to_builders()
    assert [call["DocumentName"] for call in sent] == [
        "AmiBakery-prepare-linux",
        "AmiBakery.web.packages",
        "AmiBakery-reboot-linux",
        "AWS-RunPatchBaseline",
        "AmiBakery-remove-opsworks-identity",
        "AmiBakery-generalize-linux",
        "AmiBakery-verify-identity",
    ]
    for call in sent:
        assert call["DocumentVersion"] == "1"
        assert re.fullmatch(r"[0-9a-f]{64}", call["DocumentHash"])
        assert call["CloudWatchOutputConfig"]["CloudWatchOutputEnabled"] is True


def test_no_wait_is_left_in_the_table(deployed: World, first: Ended) -> None:
    assert deployed.open_waits() == []


def test_its_end_is_announced_once(deployed: World, first: Ended) -> None:
    deployed.aws.until(lambda: deployed.aws.events.of("Bake Succeeded"), what="the event")
    (event,) = deployed.aws.events.of("Bake Succeeded")
    assert event["source"] == "ami-bakery"
    assert event["detail"]["recipe"] == "web"
    assert event["detail"]["bake"] == first.name
    assert event["detail"]["image"] == first.output["image"]


def test_the_stack_outputs_the_state_machine(deployed: World) -> None:
    arn = deployed.outputs["BakeStateMachineArn"]
    assert arn.endswith(":stateMachine:AmiBakery-Bake")


def test_a_second_bake_without_a_change_ends_as_unchanged(world: World, first: Ended) -> None:
    second = world.bake("web")
    assert second.status == "SUCCEEDED"
    assert second.output["outcome"] == "unchanged"
    assert second.output["image"] == first.output["image"]
    assert "nothing has changed" in second.output["reason"]
    assert world.launches() == []


def test_a_forced_bake_moves_the_pointer_and_keeps_the_previous_image(
    world: World, first: Ended
) -> None:
    forced = world.bake("web", force=True)
    assert forced.output["outcome"] == "baked"
    assert world.pointer("web") == forced.output["image"]["id"]
    assert world.previous("web") == first.output["image"]["id"] == forced.output["previous"]


@pytest.mark.failure(57)
def test_a_slot_delivered_twice_bakes_once(world: World) -> None:
    """The schedule forces its bakes, so nothing but the claim of the slot stops the second."""
    states = world.aws.client("stepfunctions")
    slot = f"{world.aws.clock.now():%Y-%m-%dT%H:%M:%SZ}"
    for _ in range(2):
        world.aws.schedules.fire("web", slot=slot)

    def both() -> list[dict[str, str]]:
        found = states.list_executions(stateMachineArn=world.outputs["BakeStateMachineArn"])
        described = [
            states.describe_execution(executionArn=execution["executionArn"])
            for execution in found["executions"]
        ]
        ours = [e for e in described if slot in e["input"]]
        return ours if len(ours) == 2 and all(e["status"] != "RUNNING" for e in ours) else []

    outputs = [json.loads(e["output"]) for e in world.aws.until(both, seconds=60)]
    assert sorted(output["outcome"] for output in outputs) == ["baked", "unchanged"]
    (second,) = [output for output in outputs if output["outcome"] == "unchanged"]
    assert "delivered twice" in second["reason"]
    assert len(world.launches()) == 1


def test_a_good_bake_whose_clean_up_leaves_something_says_so(world: World) -> None:
    fault = world.aws.faults.error(
        "ec2", "TerminateInstances", code="OperationNotPermitted", message="protected", times=99
    )
    ended = world.bake("small", force=True)
    assert ended.status == "SUCCEEDED"
    instances = [it["InstanceId"] for it in world.tagged("instance", ended.name)]
    assert len(instances) == 2, "the builder and the test instance"
    left = ended.output["left"]
    assert sorted(it.split()[1].rstrip(":") for it in left) == sorted(instances)
    assert all("protected" in it for it in left)
    (event,) = world.aws.until(lambda: world.told("Bake Succeeded", ended.name), what="the event")
    assert (event["detail"]["clean"], event["detail"]["left"]) == (False, left)
    fault.times = 0
    world.aws.client("ec2").terminate_instances(InstanceIds=instances)


def test_a_recipe_starts_from_the_image_of_another(world: World) -> None:
    small = world.bake("small")
    child = world.bake("child")
    assert child.status == "SUCCEEDED", child.cause
    (image,) = world.tagged("image", child.name)
    tags = {tag["Key"]: tag["Value"] for tag in image["Tags"]}
    assert tags[TAG_BASE_IMAGE] == small.output["image"]["id"]


def test_a_bake_lets_old_images_of_its_recipe_go(deployed: World) -> None:
    """Of those that it has published before: the newest two, and what is current, stay."""
    ec2 = deployed.aws.client("ec2")
    baked = [deployed.bake("tidy", force=True) for _ in range(4)]
    assert [it.status for it in baked] == ["SUCCEEDED"] * 4, [it.cause for it in baked]
    first, *others = [it.output["image"]["id"] for it in baked]
    told = [it.output["retired"] for it in baked]
    # The third bake finds the first image neither current nor previous, nor among the newest two.
    assert told[:2] == [[], []]
    assert [it[0].partition(": is")[0] for it in told[2:]] == [
        f"eu-west-1: {first}: disable",
        f"eu-west-1: {others[0]}: disable",
    ]
    found = ec2.describe_images(ImageIds=[first, *others])["Images"]
    states = {it["ImageId"]: it["State"] for it in found}
    assert [states[it] for it in (first, *others)] == ["disabled"] * 2 + ["available"] * 2
    assert baked[-1].output["timeline"][-2]["stage"] == "retire"


def test_a_retirement_that_fails_spoils_no_bake(deployed: World) -> None:
    deployed.aws.faults.error(
        "ec2", "DescribeImageReferences", code="Throttling", times=999, role="RetireImages"
    )
    before = [deployed.bake("tidy", force=True) for _ in range(3)][-1]
    deployed.aws.faults.clear()
    assert before.status == "SUCCEEDED", before.cause
    assert deployed.pointer("tidy") == before.output["image"]["id"]
    (left,) = before.output["left"]
    assert left.startswith("retirement of old images: ThrottledError: ec2:DescribeImageReferences")
    assert deployed.leases() == {}
