"""Plan: looks at everything, claims slot and recipe, makes nothing."""

import json
import re
import uuid
from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any

import pytest

from bakery import VERSION, budgets
from bakery.fingerprint import Fingerprint
from bakery.naming import TAG_BAKE, TAG_BASE_IMAGE, TAG_FINGERPRINT, pointer
from tests.functional.conftest import FunctionFailedError, World
from tests.functional.making import Making

AL2023, UBUNTU = "ami-0a120230000000064", "ami-0b220400000000064"


def slot(world: World, **ago: float) -> str:
    """A slot as Scheduler writes it, by default the present one."""
    return f"{world.aws.clock.now() - timedelta(**ago):%Y-%m-%dT%H:%M:%SZ}"


def plan(world: World, recipe: str = "small", *, bake: str = "", **more: Any) -> dict[str, Any]:
    content = {"recipe": recipe, **more.pop("content", {})}
    bake = bake or f"made-{uuid.uuid4().hex[:8]}"
    event = {"bake": bake, "execution": world.execution(bake), "input": content, **more}
    result: dict[str, Any] = world.invoke("plan", event)
    return result


def refused(world: World, recipe: str = "small", **more: Any) -> FunctionFailedError:
    with pytest.raises(FunctionFailedError) as failed:
        plan(world, recipe, **more)
    return failed.value


def kept(world: World) -> list[str]:
    """Claims and texts in the table."""
    return [key for key in world.items() if not key.startswith("wait#")]


def slots(world: World) -> dict[str, str]:
    """Who holds which slot."""
    items = world.items().items()
    return {key: item["holder"]["S"] for key, item in items if key.startswith("claim#slot#")}


@pytest.fixture
def forgotten(deployed: World) -> World:
    """The world without the claims and pointers of the test before."""
    for item in kept(deployed):
        deployed.remove_item(item)
    if deployed.pointer("small"):
        deployed.aws.client("ssm").delete_parameter(Name=pointer("small"))
    return deployed


def holding(world: World) -> str:
    """A bake that has the recipe, and finds no room for a builder."""
    world.aws.ec2.no_capacity()
    world.aws.faults.error("ec2", "RunInstances", code="RequestLimitExceeded", status=503, times=99)
    running = world.start({"recipe": "small", "force": True}, name=f"made-{uuid.uuid4().hex[:8]}")
    world.aws.until(lambda: world.leases().get("small") == running, what="the lease")
    return running


def point(making: Making, image: str) -> None:
    making.world.aws.client("ssm").put_parameter(
        Name=pointer("small"), Value=image, Type="String", DataType="aws:ec2:image", Overwrite=True
    )
    making.world.aws.until(lambda: making.world.pointer("small") == image)


def retag(making: Making, image: str, key: str, value: str) -> None:
    making.world.aws.client("ec2").create_tags(
        Resources=[image], Tags=[{"Key": key, "Value": value}]
    )


def test_the_plan_pins_everything_that_the_bake_will_use(quiet: World) -> None:
    planned = plan(quiet, bake="made-now", entered="2026-01-01T03:00:00.000Z")
    assert planned["entered"] == "2026-01-01T03:00:00.000Z"
    assert planned["bake_needed"] is True
    assert planned["reason"] == "first image of this recipe"
    assert planned["base_image"]["id"] == AL2023
    assert planned["base_image"]["root_device"] == "/dev/xvda"
    assert planned["launch"]["instance_types"] == ["t3.small", "t3a.small"]
    assert len({subnet["zone"] for subnet in planned["launch"]["subnets"]}) >= 2
    assert planned["image_tags"][TAG_BASE_IMAGE] == AL2023
    commands = [planned[key] for key in ("prepare", "remove_identity", "generalize")]
    steps = json.loads(quiet.items()["text#steps#made-now"]["text"]["S"])
    assert planned["customize"] == [{"label": step["label"]} for step in steps]
    for command in [*commands, planned["verify_identity"], *steps]:
        described = quiet.aws.client("ssm").describe_document(Name=command["document"])["Document"]
        assert command["version"] == described["DefaultVersion"]
        assert command["hash"] == described["Hash"]


def test_a_recipe_with_artefacts_has_a_profile_of_its_own_and_others_the_common_one(
    quiet: World,
) -> None:
    own, common = plan(quiet, "archive")["launch"], plan(quiet, "small")["launch"]
    assert own["instance_profile"] == quiet.parameter("/ami-bakery-profiles/archive")
    assert "BuilderHostBuilderarchive" in own["instance_profile"]
    assert quiet.parameter("/ami-bakery-profiles/small") is None
    assert "BuilderHostBuilderProfile" in common["instance_profile"]


def test_a_profile_that_somebody_deleted_is_told_before_a_builder_runs_without_it(
    quiet: World,
) -> None:
    name = "/ami-bakery-profiles/archive"
    arn = quiet.parameter(name)
    ssm = quiet.aws.client("ssm")
    ssm.delete_parameter(Name=name)
    try:
        error = refused(quiet, "archive")
    finally:
        ssm.put_parameter(Name=name, Value=str(arn), Type="String")
    assert error.name == "InvalidRecipeError"
    assert f"- parameter {name} is not deployed; deploy the stack" in error.message


def test_the_deployment_takes_base_images_of_its_publishers_only(quiet: World) -> None:
    lambdas = quiet.aws.lambdas
    (deployed,) = [f for f in lambdas.functions.values() if ".plan." in f.handler]

    def take_those_of(*owners: str) -> None:
        environment = {**deployed.environment, "BASE_OWNERS": json.dumps(owners)}
        lambdas.define(replace(deployed, environment=environment, idle=[]))

    take_those_of("self", "099720109477")
    error = refused(quiet)
    take_those_of("self", "amazon")
    planned = plan(quiet)
    lambdas.define(replace(deployed, idle=[]))
    assert error.name == "InvalidRecipeError"
    assert f"- base: image {AL2023} (" in error.message
    assert "is owned by 137112412989 (amazon), and this deployment takes" in error.message
    assert "base images of self, 099720109477 only" in error.message
    assert planned["base_image"]["id"] == AL2023


def test_subnets_of_the_context_that_do_not_exist_are_named(quiet: World) -> None:
    (there, *_) = plan(quiet)["launch"]["subnets"]
    lambdas = quiet.aws.lambdas
    (deployed,) = [f for f in lambdas.functions.values() if ".plan." in f.handler]

    def choose(*subnets: str) -> None:
        environment = {**deployed.environment, "SUBNET_IDS": json.dumps(subnets)}
        lambdas.define(replace(deployed, environment=environment, idle=[]))

    gone = "subnet-0123456789abcdef0"
    choose(gone, there["id"])
    error = refused(quiet)
    choose(there["id"])
    chosen = plan(quiet)["launch"]["subnets"]
    lambdas.define(replace(deployed, idle=[]))
    assert error.name == "InvalidRecipeError"
    assert f"- there is no subnet {gone} in this Region; correct the context" in error.message
    assert chosen == [there]


def test_a_public_subnet_is_no_place_to_build_in_unless_the_recipe_says_so(quiet: World) -> None:
    ec2 = quiet.aws.client("ec2")

    def give_addresses(given: bool, *subnets: str) -> None:
        for subnet in subnets:
            ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": given})

    every = [subnet["id"] for subnet in plan(quiet)["launch"]["subnets"]]
    give_addresses(True, every[0])
    private = [subnet["id"] for subnet in plan(quiet)["launch"]["subnets"]]
    give_addresses(True, *every)
    error = refused(quiet)
    give_addresses(False, *every)
    assert private == every[1:]
    assert error.name == "InvalidRecipeError"
    assert "- builder.public_address: every subnet to build in gives its instances a public" in (
        error.message
    )


def test_called_twice_it_plans_the_same_and_makes_nothing(quiet: World) -> None:
    quiet.aws.calls.clear()
    first, second = plan(quiet, bake="made-twice"), plan(quiet, bake="made-twice")
    for planned in (first, second):  # they carry the time
        del planned["image_name"], planned["image_tags"]["Name"]
    assert first == second
    operations = {call.operation for call in quiet.aws.calls.of(role="Plan")}
    operations -= {"PutItem"}  # the lease
    assert all(operation.startswith(("Describe", "Get")) for operation in operations), operations


@pytest.mark.failure(57)
def test_a_slot_is_claimed_by_the_first_bake_and_kept_at_its_second_try(
    quiet: World, forgotten: World
) -> None:
    now = slot(quiet)
    content = {"force": True, "slot": now}
    first = plan(quiet, bake="made-first", content=content)
    again = plan(quiet, bake="made-first", content=content)
    late = plan(quiet, bake="made-late", content=content)
    assert first["bake_needed"] is again["bake_needed"] is True
    assert late["bake_needed"] is False
    assert (
        late["reason"] == f"the schedule's slot {now} was delivered twice; bake made-first has it"
    )
    assert slots(quiet) == {f"claim#slot#small#{now}": "made-first"}


def test_the_same_slot_of_another_recipe_is_another(quiet: World, forgotten: World) -> None:
    content = {"force": True, "slot": slot(quiet)}
    assert plan(quiet, "small", content=content)["bake_needed"]
    assert plan(quiet, "web", content=content)["bake_needed"]


def test_after_a_lost_answer_the_claim_is_still_this_bakes(quiet: World, forgotten: World) -> None:
    quiet.aws.faults.lost_answer("dynamodb", "PutItem")
    assert plan(quiet, content={"slot": slot(quiet)})["bake_needed"] is True
    assert len(slots(quiet)) == 1


def test_a_preview_claims_nothing(quiet: World, forgotten: World) -> None:
    assert plan(quiet, content={"slot": slot(quiet)}, preview=True)["bake_needed"] is True
    assert kept(quiet) == []


def test_a_plan_that_is_refused_claims_nothing(quiet: World, forgotten: World) -> None:
    assert refused(quiet, "child", content={"slot": slot(quiet)}).name == "InvalidRecipeError"
    assert kept(quiet) == []


def test_a_recipe_based_on_one_that_was_not_baked_yet_says_what_to_do(quiet: World) -> None:
    error = refused(quiet, "child")
    assert error.name == "InvalidRecipeError"
    assert "- base.recipe: there is no SSM parameter /ami-bakery/small/image" in error.message
    assert "bake that recipe first" in error.message


def test_what_changed_since_the_current_image_is_the_reason(
    making: Making, forgotten: World
) -> None:
    """Base image, recipe, availability: each of them, and all of them gone again."""
    image = making.imaged()
    point(making, image)
    world = making.world

    unchanged = plan(world)
    assert unchanged["bake_needed"] is False
    assert unchanged["reason"] == f"nothing has changed since image {image}"
    assert unchanged["current"] == {"image": image, "name": making.plan["image_name"]}

    forced = plan(world, content={"force": True})
    assert forced["bake_needed"] is True
    assert forced["reason"] == "forced, though nothing has changed"

    retag(making, image, TAG_BASE_IMAGE, UBUNTU)
    assert plan(world)["reason"] == f"base image {UBUNTU} -> {AL2023}"

    retag(making, image, TAG_BASE_IMAGE, AL2023)
    tag = making.plan["image_tags"][TAG_FINGERPRINT]
    retag(making, image, TAG_FINGERPRINT, tag.replace("recipe=", "recipe=0"))
    assert plan(world)["reason"] == "recipe changed"

    world.aws.client("ec2").disable_image(ImageId=image)
    assert plan(world)["reason"] == f"the current image {image} is no longer available"

    world.aws.client("ec2").deregister_image(ImageId=image)
    assert plan(world)["reason"] == f"the current image {image} is no longer available"


def stopped(world: World) -> str:
    """The name of a bake that was stopped by hand."""
    running = holding(world)
    world.aws.client("stepfunctions").stop_execution(executionArn=running)
    ended = world.ended(running)
    assert ended.status == "ABORTED"
    world.aws.until(lambda: world.aws.lambdas.idle, what="the end of all functions")
    world.aws.faults.clear()
    world.aws.ec2.state.shortages.clear()
    return ended.name


def test_that_its_bake_was_stopped_is_a_reason_to_replace_the_current_image(
    forgotten: World, making: Making
) -> None:
    """It may have moved the pointers of some Regions only, and nothing moves them back."""
    world, bake = making.world, stopped(making.world)
    image = making.imaged()
    point(making, image)
    retag(making, image, TAG_BAKE, bake)
    planned = plan(world, preview=True)
    assert planned["bake_needed"] is True
    assert f"published by bake {bake}, which did not come to its end (ABORTED)" in planned["reason"]

    # The same name, given to another execution that began later.
    retag(making, image, TAG_BAKE, stopped(making.world))
    assert plan(world, preview=True)["reason"] == f"nothing has changed since image {image}"
    making.tag(image)


def test_what_changed_is_named_though_other_bakes_have_failed_since(
    forgotten: World, making: Making
) -> None:
    """What went into the current image stays known; if it is lost, the group is named."""
    image, world = making.imaged(), making.world
    point(making, image)
    for _ in range(2):
        plan(world, content={"force": True})
        world.remove_item("claim#lease#small")
    known = json.loads(world.items()["text#inputs#small"]["text"]["S"])
    assert len(known) == 2
    shown = retold(making, image, known[making.bake], document="AmiBakery-prepare-linux")
    assert shown == "document AmiBakery-prepare-linux changed"
    assert retold(making, image, {}, document="AmiBakery-prepare-linux") == "documents changed"


def retold(making: Making, image: str, known: dict[str, Any], *, document: str) -> str:
    """The reason for a bake if the image had been made with another version of the document."""
    world = making.world
    other = {**known, "documents": {**known.get("documents", {}), document: "f" * 12}}
    before = Fingerprint(VERSION, other) if known else Fingerprint(VERSION, {"documents": {}})
    tag = dict(part.split("=") for part in making.plan["image_tags"][TAG_FINGERPRINT].split())
    tag |= dict(part.split("=") for part in before.to_tag().split())
    retag(making, image, TAG_FINGERPRINT, " ".join(f"{k}={v}" for k, v in tag.items()))
    world.put_item("text#inputs#small", text=json.dumps({making.bake: other} if known else {}))
    return str(plan(world, preview=True)["reason"])


def test_an_execution_name_that_an_image_carries_is_refused(making: Making) -> None:
    """Step Functions gives a name away again after 90 days; the image would be adopted."""
    image = making.imaged()
    error = refused(making.world, bake=making.bake)
    assert error.name == "InvalidInputError"
    assert f"'{making.bake}' was used before: image {image} in eu-west-1 carries" in (error.message)


def test_an_execution_name_that_only_a_copy_abroad_carries_is_refused(quiet: World) -> None:
    """Its image may have been retired; CleanUp of a bake that fails would delete the copy."""
    ec2, name = quiet.aws.client("ec2", "us-east-1"), "used-long-ago"
    tags = [{"Key": TAG_BAKE, "Value": name}]
    copy = ec2.copy_image(
        Name=name,
        SourceImageId="ami-0c0de201803000011",
        SourceRegion="eu-west-1",
        TagSpecifications=[{"ResourceType": "image", "Tags": tags}],
    )["ImageId"]
    error = refused(quiet, "wide", bake=name)
    assert error.name == "InvalidInputError"
    assert f"'{name}' was used before: image {copy} in us-east-1 carries it" in error.message
    ec2.deregister_image(ImageId=copy)


@pytest.mark.failure(55, 56)
def test_a_recipe_that_is_being_baked_is_refused_until_that_bake_has_ended(
    quiet: World, forgotten: World
) -> None:
    running = holding(quiet)
    error = refused(quiet, content={"when_busy": "refuse"})
    assert error.name == "RecipeBusyError"
    assert running.rpartition(":")[2] in error.message
    assert plan(quiet, "web")["bake_needed"] is True

    quiet.aws.client("stepfunctions").stop_execution(executionArn=running)
    quiet.ended(running)
    assert quiet.leases()["small"] == running  # no state has given it back
    assert plan(quiet, bake="made-next")["bake_needed"] is True
    assert quiet.leases()["small"] == quiet.execution("made-next")


def test_of_two_that_take_over_an_old_lease_one_has_it(quiet: World, forgotten: World) -> None:
    old = quiet.ended(quiet.start({"recipe": "none"}, name=f"made-{uuid.uuid4().hex[:8]}"))
    plan(quiet, bake="made-old", execution=old.arn)

    def other() -> None:
        plan(quiet, bake="made-other")

    quiet.aws.faults.after("stepfunctions", "DescribeExecution", other)
    refusing = {"when_busy": "refuse"}
    assert refused(quiet, bake="made-late", content=refusing).name == "RecipeBusyError"
    assert quiet.leases()["small"] == quiet.execution("made-other")


SLOTS_TOO_LATE = {"small": {"hours": 1, "minutes": 2}, "web": {"hours": 1, "minutes": 17}}
"""Recipe web has a schedule with a window of 15 minutes."""


@pytest.mark.parametrize("recipe", SLOTS_TOO_LATE)
def test_a_slot_that_comes_more_than_an_hour_late_is_skipped(
    quiet: World, forgotten: World, recipe: str
) -> None:
    late = slot(quiet, **SLOTS_TOO_LATE[recipe])
    planned = plan(quiet, recipe, content={"force": True, "slot": late})
    assert planned["bake_needed"] is False
    assert planned["skipped_slot"] == late
    assert "1 h 2 min late" in planned["reason"]
    assert ("after its window of 15 minutes" in planned["reason"]) == (recipe == "web")
    assert quiet.leases() == {}


def test_a_slot_that_comes_within_the_hour_is_baked(quiet: World, forgotten: World) -> None:
    planned = plan(quiet, content={"force": True, "slot": slot(quiet, minutes=58)})
    assert (planned["bake_needed"], planned["skipped_slot"]) == (True, None)


def test_a_late_second_delivery_of_a_slot_that_was_baked_is_no_skipped_slot(
    quiet: World, forgotten: World
) -> None:
    """Nobody is told of it: nothing is missing."""
    late = slot(quiet, hours=2)
    begun = (quiet.aws.clock.now() - timedelta(hours=2)).isoformat()
    assert plan(quiet, bake="made-first", entered=begun, content={"slot": late})["bake_needed"]
    second = plan(quiet, bake="made-late", content={"slot": late})
    assert "was delivered twice; bake made-first has it" in second["reason"]
    assert second["skipped_slot"] is None


def test_one_slot_written_in_two_ways_is_one(quiet: World, forgotten: World) -> None:
    now = quiet.aws.clock.now().replace(microsecond=0)
    utc, local = now.isoformat(), now.astimezone(timezone(timedelta(hours=1))).isoformat()
    assert utc != local
    assert plan(quiet, bake="made-first", content={"slot": utc})["bake_needed"]
    assert "delivered twice" in plan(quiet, bake="made-2", content={"slot": local})["reason"]


def test_a_slot_in_the_future_is_refused_with_what_to_do(quiet: World, forgotten: World) -> None:
    error = refused(quiet, content={"slot": slot(quiet, hours=-3)})
    assert error.name == "InvalidInputError"
    assert re.search(r"- slot: '.*' is (3 h 0|2 h 59) min ahead of the start", error.message)
    assert "leave slot out" in error.message
    assert kept(quiet) == []


def test_clocks_that_differ_a_little_make_no_slot_wrong(quiet: World, forgotten: World) -> None:
    assert plan(quiet, content={"slot": slot(quiet, minutes=-2)})["bake_needed"]


def test_a_recipe_that_is_being_baked_is_named_with_who_has_it(
    quiet: World, forgotten: World
) -> None:
    holder = quiet.start({"recipe": "none"}, name=f"made-{uuid.uuid4().hex[:8]}")
    quiet.ended(holder)
    plan(quiet, bake="made-holder", execution=holder)

    def another() -> None:
        plan(quiet, bake="made-2")

    # The holder has ended, and another one takes its lease over first.
    quiet.aws.faults.after("stepfunctions", "DescribeExecution", another)
    planned = plan(quiet, bake="made-3", content={"when_busy": "queue"})
    assert planned["busy"]["holder"] == holder
    assert planned["busy"]["bake"] == holder.rpartition(":")[2]
    assert quiet.leases()["small"] == quiet.execution("made-2")


def test_the_longest_turn_counts_from_the_first_bake_that_was_waited_for(
    quiet: World, forgotten: World
) -> None:
    """Without that, a bake could wait for one after the other for ever."""
    running = holding(quiet)
    first = plan(quiet, bake="made-queued", entered="2026-01-01T03:00:00.000Z")
    assert first["busy"]["holder"] == running

    def again(waited: timedelta) -> dict[str, Any]:
        since = (quiet.aws.clock.now() - waited).isoformat()
        before = {**first, "busy": {**first["busy"], "since": since}}
        state = {"recipe": "small", "plan": before, "await_turn": {"entered": since}}
        return {"bake": "made-queued", "entered": "2026-01-01T09:00:00.000Z", "state": state}

    nearly = again(budgets.LONGEST_TURN - timedelta(minutes=5))
    second = plan(quiet, **nearly)
    assert second["busy"]["since"] == nearly["state"]["plan"]["busy"]["since"]
    assert second["entered"] == "2026-01-01T03:00:00.000Z"
    error = refused(quiet, **again(budgets.LONGEST_TURN + timedelta(minutes=5)))
    assert error.name == "RecipeBusyError"
    assert f"{running.rpartition(':')[2]}. This bake has waited 12 hours" in error.message
    quiet.aws.client("stepfunctions").stop_execution(executionArn=running)
    quiet.ended(running)


def test_an_input_cannot_pretend_that_it_has_waited(quiet: World, forgotten: World) -> None:
    """The state begins as the execution's input."""
    content = {"await_turn": {"entered": "2026-01-01T03:00:00.000Z"}, "plan": {}}
    error = refused(quiet, content=content, state={"recipe": "small", **content})
    assert error.name == "InvalidInputError"
    assert "await_turn: is not a known key" in error.message


def test_a_bake_that_is_not_needed_takes_no_lease(making: Making, forgotten: World) -> None:
    point(making, making.imaged())
    assert plan(making.world)["bake_needed"] is False
    assert making.world.leases() == {}


@pytest.mark.parametrize(
    ("service", "operation", "code"),
    [
        ("ec2", "DescribeImages", "UnauthorizedOperation"),
        ("ec2", "DescribeInstanceTypes", "UnauthorizedOperation"),
        ("ec2", "DescribeSubnets", "UnauthorizedOperation"),
        ("ssm", "GetParameter", "AccessDeniedException"),
        ("ssm", "DescribeDocument", "AccessDeniedException"),
        ("ssm", "GetDocument", "AccessDeniedException"),
    ],
)
def test_a_denied_look_is_told_by_its_call(
    quiet: World, service: str, operation: str, code: str
) -> None:
    quiet.aws.faults.error(service, operation, code=code, status=403)
    error = refused(quiet)
    assert error.name == "AccessDeniedError"
    assert code in error.message
    assert "role, service control policies" in error.message


def test_throttled_looks_and_lost_answers_are_ridden_out(quiet: World) -> None:
    quiet.aws.faults.error("ec2", "DescribeImages", code="RequestLimitExceeded", status=503)
    quiet.aws.faults.error("ssm", "GetParameter", code="ThrottlingException")
    quiet.aws.faults.lost_answer("ec2", "DescribeInstanceTypes")
    assert plan(quiet)["base_image"]["id"] == AL2023


def test_a_look_that_stays_throttled_is_told_as_such(quiet: World) -> None:
    quiet.aws.faults.error("ssm", "DescribeDocument", code="TooManyUpdates", times=9)
    assert refused(quiet).name == "ThrottledError"


# --- a Region that does not answer ----------------------------------------------------------------


def silence(world: World, region: str) -> None:
    world.aws.faults.error(
        "*", "*", code="InternalError", status=503, times=999, role="Plan", region=region
    )


def test_where_any_region_will_do_one_that_does_not_answer_is_no_problem(quiet: World) -> None:
    """CopyImage asks again, and leaves it out if it has to."""
    silence(quiet, "us-east-1")
    making = Making.begin(quiet, "anywhere")
    assert {"region": "us-east-1"} in making.plan["places"]


@pytest.mark.parametrize(
    ("recipe", "region"),
    [("wide", "eu-central-1"), ("wide", "us-east-1"), ("anywhere", "eu-west-1")],
)
def test_one_that_is_needed_and_does_not_answer_is_asked_again_by_the_machine(
    quiet: World, recipe: str, region: str
) -> None:
    silence(quiet, region)
    with pytest.raises(FunctionFailedError, match="ServiceUnavailableError"):
        Making.begin(quiet, recipe)
