"""LaunchBuilder: one builder, however often it is asked for, where there is room."""

from collections.abc import Iterator
from datetime import UTC, timedelta
from typing import Any

import pytest

from bakery import budgets
from bakery.naming import TAG_ATTEMPT, TAG_BAKE, TAG_RECIPE
from tests.functional.conftest import FunctionFailedError, World
from tests.functional.making import Making, forget_tag, state

BASE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"


@pytest.fixture(autouse=True)
def room_again(deployed: World) -> Iterator[None]:
    yield
    deployed.aws.ec2.state.shortages.clear()


def launch(making: Making) -> dict[str, str]:
    result: dict[str, str] = making.world.invoke("launch_builder", making.launching())
    return result


def refused(making: Making) -> FunctionFailedError:
    with pytest.raises(FunctionFailedError) as failed:
        launch(making)
    return failed.value


def cells(making: Making) -> list[tuple[str, str]]:
    """Type and subnet of each attempt, in order, whatever came of it."""
    return [
        (
            call.parameters["InstanceType"],
            call.parameters["NetworkInterfaces"][0]["SubnetId"],
        )
        for call in making.world.aws.calls.of("ec2", "RunInstances")
    ]


@pytest.mark.parametrize("tags", [{"CostCenter": "1234"}, None])
def test_a_plan_with_and_without_tags_of_the_deployment(
    making: Making, tags: dict[str, str] | None
) -> None:
    """A plan of an earlier release has no word of them."""
    event = making.launching()
    planned = {key: value for key, value in event["launch"].items() if key != "tags"}
    event["launch"] = planned if tags is None else {**planned, "tags": tags}
    making.world.invoke("launch_builder", event)
    for kind in ("instance", "volume"):
        (made,) = making.world.tagged(kind, making.bake)
        found = {it["Key"]: it["Value"] for it in made["Tags"]}
        assert found.get("CostCenter") == (tags or {}).get("CostCenter"), kind


def test_it_takes_the_first_type_and_subnet_of_the_plan(making: Making) -> None:
    result = launch(making)
    (builder,) = making.world.tagged("instance", making.bake)
    subnet = making.plan["launch"]["subnets"][0]
    assert result == {
        "instance_id": builder["InstanceId"],
        "instance_type": "t3.small",
        "market": "on-demand",
    }
    assert "InstanceLifecycle" not in builder
    assert builder["InstanceType"] == "t3.small"
    assert builder["SubnetId"] == subnet["id"]
    assert builder["ImageId"] == making.plan["base_image"]["id"]
    (volume,) = making.world.tagged("volume", making.bake)
    assert volume["Encrypted"] is True
    assert volume["Size"] == making.plan["launch"]["size_gib"]


def test_called_twice_it_adopts_the_builder(making: Making) -> None:
    assert launch(making) == launch(making)
    assert len(making.instances()) == 1
    assert len(making.world.calls("RunInstances")) == 1


@pytest.mark.parametrize("lacks", ["profile", "image"])
def test_whoever_may_tag_makes_no_builder(making: Making, lacks: str) -> None:
    """An instance with all tags of a builder, of another image or without the recipe's role."""
    ec2, base = making.world.aws.client("ec2"), making.plan["base_image"]["id"]
    profile = {"Arn": making.plan["launch"]["instance_profile"]}
    tags = {TAG_BAKE: making.bake, TAG_RECIPE: making.plan["recipe"], TAG_ATTEMPT: "1"}
    answer = ec2.run_instances(
        ImageId=base if lacks == "profile" else "ami-0c202200000000064",
        InstanceType="t3.small",
        MinCount=1,
        MaxCount=1,
        **({} if lacks == "profile" else {"IamInstanceProfile": profile}),
        TagSpecifications=[
            {
                "ResourceType": "instance",
                "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
            }
        ],
    )
    (foreign,) = answer["Instances"]
    builder = launch(making)["instance_id"]
    assert builder != foreign["InstanceId"]
    assert launch(making)["instance_id"] == builder
    ec2.terminate_instances(InstanceIds=[foreign["InstanceId"]])


def test_whoever_may_tag_makes_no_builder_of_one_that_was_kept(quiet: World) -> None:
    """It has the image and the profile, too, but was launched for another bake, before this one."""
    kept = Making.begin(quiet).launched()
    quiet.aws.clock.advance(minutes=5)
    making = Making.begin(quiet)
    tag = {"Key": TAG_BAKE, "Value": making.bake}
    quiet.aws.client("ec2").create_tags(Resources=[kept], Tags=[tag])
    builder = launch(making)["instance_id"]
    assert sorted(making.instances()) == sorted([kept, builder])
    assert launch(making)["instance_id"] == builder


def test_a_stopped_builder_is_adopted_too(making: Making) -> None:
    builder = making.stopped()
    assert launch(making)["instance_id"] == builder
    assert making.instances() == [builder]


@pytest.mark.failure(9)
def test_after_a_lost_answer_the_second_try_adopts(making: Making) -> None:
    making.world.aws.faults.lost_answer("ec2", "RunInstances")
    error = refused(making)
    assert error.name == "ServiceUnavailableError"
    assert "ec2:RunInstances" in error.message
    assert [launch(making)["instance_id"]] == making.instances()


def test_a_builder_that_ec2_does_not_list_yet_is_not_launched_again(making: Making) -> None:
    """The client token of the same type and subnet brings the same instance back."""
    first = launch(making)
    forget_tag(making.world, first["instance_id"])
    assert launch(making) == first
    assert len(making.world.calls("RunInstances")) == 2
    assert making.instances() == []  # no second one with the tag
    making.world.aws.client("ec2").create_tags(
        Resources=[first["instance_id"]], Tags=[{"Key": TAG_BAKE, "Value": making.bake}]
    )


def test_two_bakes_have_two_builders(making: Making) -> None:
    other = Making.begin(making.world)
    assert launch(making) != launch(other)


@pytest.mark.failure(1)
def test_a_full_type_is_left_for_the_next(making: Making) -> None:
    making.world.aws.ec2.no_capacity(instance_type="t3.small")
    assert launch(making)["instance_type"] == "t3a.small"
    assert len(making.instances()) == 1
    calls = making.world.aws.calls.of("ec2", "RunInstances")
    assert len({call.parameters["ClientToken"] for call in calls}) == len(calls) > 1


@pytest.mark.failure(1)
def test_a_full_zone_is_left_for_the_next_with_the_same_type(making: Making) -> None:
    first, second, *_ = making.plan["launch"]["subnets"]
    making.world.aws.ec2.no_capacity(zone=first["zone"])
    assert launch(making)["instance_type"] == "t3.small"
    assert cells(making) == [("t3.small", first["id"]), ("t3.small", second["id"])]


def test_after_a_lost_answer_in_the_second_zone_no_other_is_asked(making: Making) -> None:
    first, second, *_ = making.plan["launch"]["subnets"]
    making.world.aws.ec2.no_capacity(zone=first["zone"])
    making.world.aws.faults.lost_answer("ec2", "RunInstances")
    assert refused(making).name == "ServiceUnavailableError"
    launch(making)
    (builder,) = making.world.tagged("instance", making.bake)
    assert builder["SubnetId"] == second["id"]


def test_a_type_that_a_zone_does_not_offer_is_tried_elsewhere(making: Making) -> None:
    making.world.aws.faults.error(
        "ec2", "RunInstances", code="Unsupported", message="not supported in this zone"
    )
    launch(making)
    assert len(cells(making)) == 2
    assert len(making.instances()) == 1


def impatient(making: Making, *, minutes: int) -> dict[str, Any]:
    """The payload of a launch that was begun so many minutes ago; the patience is twenty."""
    begun = making.world.aws.clock.now() - timedelta(minutes=minutes)
    return {**making.launching(), "entered": begun.isoformat()}


@pytest.mark.failure(2)
def test_no_room_anywhere_is_tried_again_until_the_patience_ends(making: Making) -> None:
    making.world.aws.ec2.no_capacity()
    assert refused(making).name == "NoCapacityYetError"
    for minutes, name in ((19, "NoCapacityYetError"), (21, "NoCapacityError")):
        with pytest.raises(FunctionFailedError) as failed:
            making.world.invoke("launch_builder", impatient(making, minutes=minutes))
        assert failed.value.name == name
    assert ", 3 times: InsufficientInstanceCapacity" in failed.value.message
    assert "patience_minutes" in failed.value.message


def test_where_a_zone_does_not_offer_a_type_it_is_not_asked_again(making: Making) -> None:
    making.world.aws.ec2.no_capacity(instance_type="t3.small", code="Unsupported")
    making.world.aws.ec2.no_capacity(instance_type="t3a.small")
    refused(making)
    making.world.aws.calls.clear()
    refused(making)
    assert {instance_type for instance_type, _ in cells(making)} == {"t3a.small"}


def test_where_no_type_is_offered_at_all_waiting_is_in_vain(making: Making) -> None:
    making.world.aws.ec2.no_capacity(code="Unsupported")
    error = refused(making)
    assert error.name == "NoCapacityError"
    assert "Unsupported" in error.message


def test_room_that_comes_later_is_taken(making: Making) -> None:
    making.world.aws.ec2.no_capacity()
    refused(making)
    making.world.aws.ec2.state.shortages.clear()
    assert launch(making)["instance_type"] == "t3.small"
    assert len(making.instances()) == 1


@pytest.mark.failure(2)
def test_no_room_anywhere_lists_every_attempt(making: Making) -> None:
    making.world.aws.ec2.no_capacity()
    with pytest.raises(FunctionFailedError) as failed:
        making.world.invoke("launch_builder", impatient(making, minutes=21))
    error = failed.value
    assert error.name == "NoCapacityError"
    plan = making.plan["launch"]
    for instance_type in plan["instance_types"]:
        for subnet in plan["subnets"]:
            line = f"- {instance_type} on-demand in {subnet['id']} ({subnet['zone']}): Insuff"
            assert line in error.message
    assert "builder.instance_types" in error.message
    assert making.instances() == []
    assert making.world.tagged("volume", making.bake) == []


@pytest.mark.failure(3, 4, 8)
@pytest.mark.parametrize(
    ("code", "status", "name"),
    [
        ("RequestLimitExceeded", 503, "ThrottledError"),
        ("InternalError", 500, "ServiceUnavailableError"),
        ("UnauthorizedOperation", 403, "AccessDeniedError"),
        ("VcpuLimitExceeded", 400, "QuotaExceededError"),
        ("InstanceLimitExceeded", 400, "QuotaExceededError"),
        ("InvalidKeyPair.NotFound", 400, "AwsCallFailedError"),
    ],
)
def test_another_refusal_ends_the_try_with_its_class(
    making: Making, code: str, status: int, name: str
) -> None:
    making.world.aws.faults.error("ec2", "RunInstances", code=code, message="why", status=status)
    error = refused(making)
    assert error.name == name
    assert f"{code}: why" in error.message
    assert "t3.small in subnet-" in error.message
    assert len(cells(making)) == 1
    launch(making)
    assert len(making.instances()) == 1


@pytest.mark.failure(7)
def test_a_profile_that_iam_does_not_show_yet_is_tried_again(making: Making) -> None:
    """Right after a deployment, EC2 does not see a new instance profile for some seconds."""
    making.world.aws.faults.error(
        "ec2",
        "RunInstances",
        code="InvalidParameterValue",
        message="Value (arn) for parameter iamInstanceProfile.arn is invalid. "
        "Invalid IAM Instance Profile ARN",
    )
    assert refused(making).name == "NotYetVisibleError"
    launch(making)
    assert len(making.instances()) == 1


@pytest.mark.failure(11)
def test_a_base_image_that_vanished_since_the_plan_is_named(making: Making) -> None:
    gone = {**making.plan["base_image"], "id": "ami-0123456789abcdef0"}
    with pytest.raises(FunctionFailedError) as failed:
        making.world.invoke("launch_builder", {**making.launching(), "base_image": gone})
    assert failed.value.name == "AwsCallFailedError"
    assert "InvalidAMIID.NotFound" in failed.value.message
    assert "ami-0123456789abcdef0" in failed.value.message


@pytest.mark.failure(10)
def test_what_moved_since_the_plan_does_not_move_the_launch(making: Making) -> None:
    """With the token of a lost answer, another image would be an error, not the builder."""
    planned = making.plan["base_image"]["id"]
    making.world.aws.faults.crash("TasksLaunchBuilderRole", "RunInstances", after=True)
    with pytest.raises(FunctionFailedError):
        making.world.invoke("launch_builder", making.launching())
    forget_tag(making.world, *making.instances())
    parameters = making.world.aws.parameters
    parameters.publish(BASE, "ami-0c0de180400000012", "eu-west-1")
    id_ = making.world.invoke("launch_builder", making.launching())["instance_id"]
    assert Making.begin(making.world).plan["base_image"]["id"] != planned
    parameters.publish(BASE, planned, "eu-west-1")
    (call, again) = making.world.calls("RunInstances")
    assert call == again
    found = making.world.aws.client("ec2").describe_instances(InstanceIds=[id_])["Reservations"]
    assert found[0]["Instances"][0]["ImageId"] == planned


def test_a_builder_that_ended_is_not_replaced_in_secret(making: Making) -> None:
    """Its steps may have run: a new builder is a new bake."""
    builder = launch(making)["instance_id"]
    making.world.aws.client("ec2").terminate_instances(InstanceIds=[builder])
    error = refused(making)
    assert error.name == "BuilderLostError"
    assert making.instances() == [builder]
    assert state(making.world, builder) in ("shutting-down", "terminated")


def test_every_volume_of_the_base_image_is_encrypted_and_goes_with_the_builder(
    making: Making,
) -> None:
    """A publisher's second volume may be plain, and may stay when its instance ends."""
    ec2 = making.world.aws.client("ec2")
    snapshot = making.world.aws.client("ec2").describe_images(
        ImageIds=[making.plan["base_image"]["id"]]
    )["Images"][0]["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    volumes = [
        {"device": "/dev/sdf", "size_gib": 9, "snapshot": snapshot},
        {"device": "/dev/sdg", "size_gib": 4, "snapshot": None},
    ]
    event = making.launching()
    event["base_image"] = {**event["base_image"], "data_volumes": volumes}
    builder = making.world.invoke("launch_builder", event)["instance_id"]
    found = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [builder]}])[
        "Volumes"
    ]
    assert sorted((v["Size"], v["Encrypted"], v["SnapshotId"] == snapshot) for v in found) == [
        (4, True, False),
        (8, True, True),
        (9, True, True),
    ]
    assert all(v["Attachments"][0]["DeleteOnTermination"] for v in found)


def test_a_subnet_without_a_free_address_is_left_for_the_next(making: Making) -> None:
    first = making.plan["launch"]["subnets"][0]["id"]
    making.world.aws.faults.error(
        "ec2",
        "RunInstances",
        code="InsufficientFreeAddressesInSubnet",
        when=lambda parameters: parameters["NetworkInterfaces"][0]["SubnetId"] == first,
    )
    launch(making)
    assert [subnet for _, subnet in cells(making)][0] == first
    assert len(cells(making)) == 2


# --- spot -----------------------------------------------------------------------------------------


@pytest.fixture
def thrifty(quiet: World) -> Making:
    """A bake that is planned with spot."""
    return Making.begin(quiet, "thrifty")


def markets(making: Making) -> list[str]:
    """The market of each attempt, in order, whatever came of it."""
    return [
        (call.parameters.get("InstanceMarketOptions") or {}).get("MarketType", "on-demand")
        for call in making.world.aws.calls.of("ec2", "RunInstances")
    ]


def test_a_builder_on_spot_can_be_stopped_and_its_request_is_tagged(thrifty: Making) -> None:
    result = launch(thrifty)
    assert result["market"] == "spot"
    (builder,) = thrifty.world.tagged("instance", thrifty.bake)
    assert builder["InstanceLifecycle"] == "spot"
    (request,) = thrifty.world.tagged("spot request", thrifty.bake)
    assert request["InstanceId"] == builder["InstanceId"]
    tags = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
    assert tags == {tag["Key"]: tag["Value"] for tag in builder["Tags"]}
    (call,) = thrifty.world.calls("RunInstances")
    assert call["InstanceInitiatedShutdownBehavior"] == "stop"
    options = dict(call["InstanceMarketOptions"]["SpotOptions"])
    until = options.pop("ValidUntil").replace(tzinfo=UTC)
    left = until - thrifty.world.aws.clock.now()
    assert budgets.WHOLE_BAKE - timedelta(minutes=5) < left <= budgets.WHOLE_BAKE
    assert options == {
        "SpotInstanceType": "persistent",
        "InstanceInterruptionBehavior": "stop",
    }
    assert thrifty.stopped() == builder["InstanceId"]


def test_a_try_that_ends_in_the_middle_is_gone_on_with(making: Making) -> None:
    """Else a grid that is too large for one try would never be seen to its end."""
    making.world.aws.ec2.no_capacity()
    making.world.aws.faults.error(
        "ec2", "RunInstances", code="RequestLimitExceeded", status=503, skip=2
    )
    with pytest.raises(FunctionFailedError) as failed:
        launch(making)
    assert failed.value.name == "ThrottledError"
    with pytest.raises(FunctionFailedError) as failed:
        launch(making)
    assert failed.value.name == "NoCapacityYetError"
    first, again = cells(making)[:2], cells(making)[3:]
    assert not set(first) & set(again)
    assert len({*first, *again}) == len(making.plan["launch"]["subnets"]) * 2


@pytest.mark.parametrize("code", ["UnfulfillableCapacity", "InsufficientCapacity"])
def test_other_words_for_no_room_lead_to_the_next_place_too(making: Making, code: str) -> None:
    making.world.aws.faults.error("ec2", "RunInstances", code=code, status=500)
    launch(making)
    assert len(cells(making)) == 2


def test_all_cells_are_tried_as_spot_then_all_on_demand(thrifty: Making) -> None:
    thrifty.world.aws.ec2.no_capacity()
    refused(thrifty)
    plan = thrifty.plan["launch"]
    order = [(t, subnet["id"]) for t in plan["instance_types"] for subnet in plan["subnets"]]
    assert cells(thrifty) == order + order
    assert markets(thrifty) == ["spot"] * len(order) + ["on-demand"] * len(order)
    tokens = [
        c.parameters["ClientToken"] for c in thrifty.world.aws.calls.of("ec2", "RunInstances")
    ]
    assert len(set(tokens)) == len(tokens)


def test_room_for_another_type_on_spot_is_better_than_the_first_type_on_demand(
    thrifty: Making,
) -> None:
    thrifty.world.aws.ec2.no_capacity(market="spot", instance_type="t3.small")
    result = launch(thrifty)
    assert (result["instance_type"], result["market"]) == ("t3a.small", "spot")


@pytest.mark.parametrize("code", ["InsufficientInstanceCapacity", "SpotMaxPriceTooLow"])
def test_without_room_on_spot_it_is_on_demand(thrifty: Making, code: str) -> None:
    thrifty.world.aws.ec2.no_capacity(market="spot", code=code)
    result = launch(thrifty)
    assert (result["instance_type"], result["market"]) == ("t3.small", "on-demand")
    assert thrifty.world.tagged("spot request", thrifty.bake) == []


@pytest.mark.parametrize(
    "code",
    ["MaxSpotInstanceCountExceeded", "AuthFailure.ServiceLinkedRoleCreationNotPermitted"],
)
def test_where_there_is_no_spot_at_all_the_other_cells_are_not_asked(
    thrifty: Making, code: str
) -> None:
    thrifty.world.aws.ec2.no_capacity(market="spot", code=code)
    assert launch(thrifty)["market"] == "on-demand"
    assert markets(thrifty) == ["spot", "on-demand"]


def test_why_there_is_no_spot_at_all_is_in_the_list(thrifty: Making) -> None:
    thrifty.world.aws.ec2.no_capacity(market="spot", code="MaxSpotInstanceCountExceeded")
    thrifty.world.aws.ec2.no_capacity(market="on-demand")
    error = refused(thrifty)
    subnet = thrifty.plan["launch"]["subnets"][0]
    place = f"{subnet['id']} ({subnet['zone']})"
    assert f"- t3.small spot in {place}: MaxSpotInstanceCountExceeded" in error.message
    assert f"- t3.small on-demand in {place}: InsufficientInstanceCapacity" in error.message


def test_the_quota_of_on_demand_stays_final(thrifty: Making) -> None:
    thrifty.world.aws.ec2.no_capacity(market="spot")
    thrifty.world.aws.ec2.no_capacity(market="on-demand", code="VcpuLimitExceeded")
    assert refused(thrifty).name == "QuotaExceededError"


def test_a_policy_against_spot_is_told_not_evaded(thrifty: Making) -> None:
    thrifty.world.aws.faults.error(
        "ec2", "RunInstances", code="UnauthorizedOperation", message="by an SCP", status=403
    )
    assert refused(thrifty).name == "AccessDeniedError"
    assert markets(thrifty) == ["spot"]


def test_a_type_that_is_not_offered_as_spot_is_not_asked_again(thrifty: Making) -> None:
    thrifty.world.aws.ec2.no_capacity(market="spot", instance_type="t3.small", code="Unsupported")
    thrifty.world.aws.ec2.no_capacity()
    refused(thrifty)
    thrifty.world.aws.calls.clear()
    refused(thrifty)
    tried = list(zip(cells(thrifty), markets(thrifty), strict=True))
    assert {type_ for (type_, _), market in tried if market == "spot"} == {"t3a.small"}
    assert {type_ for (type_, _), market in tried if market != "spot"} == {"t3.small", "t3a.small"}


def test_after_a_lost_answer_the_builder_on_spot_is_adopted(thrifty: Making) -> None:
    thrifty.world.aws.faults.lost_answer("ec2", "RunInstances")
    assert refused(thrifty).name == "ServiceUnavailableError"
    assert launch(thrifty)["market"] == "spot"
    assert len(thrifty.instances()) == 1


def test_a_second_attempt_is_another_builder_though_the_first_has_ended(making: Making) -> None:
    """EC2 would answer the first one's token with IdempotentInstanceTerminated."""
    first = launch(making)["instance_id"]
    making.world.aws.client("ec2").terminate_instances(InstanceIds=[first])
    event = making.launching(attempt=2)
    assert making.world.invoke("launch_builder", event)["instance_id"] != first


def test_a_base_image_under_a_key_of_its_own_is_encrypted_anew(quiet: World) -> None:
    """EC2 uses both keys in the name of the task, and ends the builder when it may not."""
    making = Making.begin(quiet, "wide")
    region = quiet.aws.ec2.state.region("eu-west-1")
    base = region.images[making.plan["base_image"]["id"]]
    snapshot = region.snapshots[base["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]]
    snapshot["KmsKeyId"] = quiet.aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    try:
        builder = making.launched()
        assert state(quiet, builder) == "running"
    finally:
        del snapshot["KmsKeyId"]
    used = {action for role, action in quiet.aws.rights_used if "LaunchBuilder" in role}
    assert "kms:ReEncryptFrom" in used
