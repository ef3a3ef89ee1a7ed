"""A running host as the base: it is imaged and looked at, and nothing else ever happens to it."""

from collections.abc import Callable, Iterator

import pytest

from bakery.naming import TAG_BASE_IMAGE, TAG_CLONE_OF
from bakery.stages import CLONE_HOST, STAGES
from scripts.local.ec2_state import NEVER
from scripts.local.estate import ENDPOINTS
from tests.functional.conftest import World
from tests.functional.hosting import (
    HOST,
    LOOKS,
    clones,
    deployed_with_a_host,
    everything,
    host,
    named_by,
)


@pytest.fixture(scope="module")
def deployed() -> Iterator[World]:
    with deployed_with_a_host() as world:
        host(world)
        yield world


@pytest.fixture(autouse=True)
def the_host_is_as_it_was(world: World) -> Iterator[None]:
    """Whatever becomes of a bake: every attribute, tag, volume and interface, field by field; no
    call names it, or one of its volumes, but imaging and looking; and no clone is left."""
    before = everything(world)
    volumes = [it["VolumeId"] for it in before["volumes"]]
    assert len(volumes) == 2
    yield
    assert everything(world) == before
    assert named_by(world, HOST) <= {*LOOKS, "ec2:CreateImage"}
    assert named_by(world, *volumes) == set()
    assert clones(world) == []


def isolated(world: World) -> str:
    groups = world.aws.client("ec2").describe_security_groups()["SecurityGroups"]
    (group,) = [it for it in groups if "clones of hosts" in it["Description"]]
    (rule,) = group["IpPermissionsEgress"]
    assert [it["GroupId"] for it in rule["UserIdGroupPairs"]] == [ENDPOINTS]
    assert (rule["FromPort"], rule["ToPort"], rule.get("IpRanges", [])) == (443, 443, [])
    return str(group["GroupId"])


def test_a_clean_image_is_baked_of_a_running_host(world: World) -> None:
    ended = world.bake("host", force=True)
    assert ended.status == "SUCCEEDED", ended.cause
    assert world.pointer("host") == ended.output["image"]["id"]
    assert [it["stage"] for it in ended.output["timeline"]] == ["plan", CLONE_HOST, *STAGES[1:]]
    clone, result = world.calls("CreateImage")
    assert clone["InstanceId"] == HOST
    assert clone["NoReboot"] is True
    assert clone["BlockDeviceMappings"] == [{"DeviceName": "/dev/sdf", "NoDevice": ""}]
    assert {it["ResourceType"] for it in clone["TagSpecifications"]} == {"image", "snapshot"}
    for specification in clone["TagSpecifications"]:
        tags = {it["Key"]: it["Value"] for it in specification["Tags"]}
        assert tags["ami-bakery:bake"] == ended.name
        assert tags[TAG_CLONE_OF] == HOST
    assert "NoReboot" not in result  # the builder is stopped
    (image,) = world.tagged("image", ended.name)
    tags = {it["Key"]: it["Value"] for it in image["Tags"]}
    assert tags[TAG_BASE_IMAGE] == HOST
    assert TAG_CLONE_OF not in tags
    assert [it["DeviceName"] for it in image["BlockDeviceMappings"]] == ["/dev/xvda"]


@pytest.mark.long
def test_the_clone_and_the_test_of_its_image_reach_systems_manager_alone(world: World) -> None:
    ended = world.bake("host", force=True)
    assert ended.status == "SUCCEEDED", ended.cause
    launches = world.calls("RunInstances")
    assert len(launches) == 2
    for launch in launches:
        (interface,) = launch["NetworkInterfaces"]
        assert interface["Groups"] == [isolated(world)]


def test_another_recipe_of_the_deployment_has_the_ordinary_network(world: World) -> None:
    ended = world.bake("small", force=True)
    assert ended.status == "SUCCEEDED", ended.cause
    for launch in world.calls("RunInstances"):
        (interface,) = launch["NetworkInterfaces"]
        assert interface["Groups"] != [isolated(world)]


@pytest.mark.long
def test_its_data_comes_along_encrypted_if_the_recipe_says_so(world: World) -> None:
    before = everything(world)["unseen"]["boot"]
    ended = world.bake("whole", force=True)
    assert ended.status == "SUCCEEDED", ended.cause
    clone, _ = world.calls("CreateImage")
    assert clone["NoReboot"] is False
    assert "BlockDeviceMappings" not in clone
    for launch in world.calls("RunInstances"):
        volumes = {it["DeviceName"]: it["Ebs"] for it in launch["BlockDeviceMappings"]}
        assert volumes["/dev/sdf"]["SnapshotId"].startswith("snap-")
        assert all(it["Encrypted"] for it in volumes.values())
    (image,) = world.tagged("image", ended.name)
    assert {it["DeviceName"] for it in image["BlockDeviceMappings"]} == {"/dev/xvda", "/dev/sdf"}
    # Restarted, as its recipe asks; and that is all.
    assert everything(world)["unseen"]["boot"] == before + 1
    with world.aws.ec2.state.lock:
        world.aws.ec2.state.region("eu-west-1").hidden(HOST)["boot"] = before
    assert len(ended.output["copies"]) == 1


def without_room(world: World) -> None:
    """LaunchBuilder fails at once: a call that is denied is final."""
    world.aws.faults.error("ec2", "RunInstances", code="UnauthorizedOperation", status=403)


def denied(world: World) -> None:
    world.aws.faults.error("ec2", "CreateImage", code="UnauthorizedOperation", status=403)


def image_fails(world: World) -> None:
    world.aws.ec2.next_image_fails("Server.InternalError: disk on fire")


def gone_while_it_is_made(world: World) -> None:
    """Somebody deregisters the clone as soon as it is there."""

    def deregister() -> None:
        for it in world.aws.ec2.tagged("images", TAG_CLONE_OF):
            world.aws.client("ec2").deregister_image(ImageId=it["ImageId"])
        world.aws.clock.advance(minutes=11)

    world.aws.faults.after("ec2", "CreateImage", deregister)


def gone_before_the_launch(world: World) -> None:
    """Somebody deregisters the clone just before the builder is launched from it."""

    def deregister() -> None:
        for it in world.aws.ec2.tagged("images", TAG_CLONE_OF):
            world.aws.client("ec2").deregister_image(ImageId=it["ImageId"])

    world.aws.faults.after("ec2", "DescribeInstances", deregister).role = "TasksLaunchBuilder"


def never_managed(world: World) -> None:
    world.aws.agent.all_silent = True


def step_fails(world: World) -> None:
    world.aws.agent.script("AmiBakery.host.packages", exit_code=7)


@pytest.mark.parametrize(
    ("spoil", "error", "told"),
    [
        (denied, "AccessDeniedError", f"ec2:CreateImage {HOST}"),
        (image_fails, "ImageFailedError", "disk on fire"),
        (gone_while_it_is_made, "ImageFailedError", "somebody deregistered it"),
        (gone_before_the_launch, "NotYetVisibleError", f"the image of host {HOST}"),
        (without_room, "AccessDeniedError", "ec2:RunInstances"),
        (never_managed, "NotManagedError", "without nofail"),
        (step_fails, "CustomizationFailedError", "exit code 7"),
    ],
)
def test_a_bake_that_fails_leaves_no_clone(
    world: World, spoil: Callable[[World], None], error: str, told: str
) -> None:
    before = world.pointer("host")
    spoil(world)
    ended = world.bake("host", force=True)
    assert (ended.status, ended.error) == ("FAILED", error), ended.cause
    assert told in ended.cause
    assert world.pointer("host") == before


def test_a_builder_that_is_kept_keeps_no_clone(world: World) -> None:
    world.aws.agent.script("AmiBakery.host.packages", exit_code=7)
    ended = world.bake("host", force=True, on_failure="keep")
    assert ended.status == "FAILED"
    assert "Kept until" in ended.cause
    assert clones(world) == []
    for it in world.tagged("builder", ended.name):
        world.aws.client("ec2").terminate_instances(InstanceIds=[it["InstanceId"]])


@pytest.mark.long
def test_a_builder_that_aws_takes_is_replaced_from_the_same_clone(world: World) -> None:
    def take() -> None:
        for it in world.aws.ec2.all("instances"):
            if it["State"]["Name"] == "running" and it["InstanceId"] != HOST:
                world.aws.ec2.retire(it["InstanceId"])

    world.aws.faults.after("ssm", "SendCommand", take)
    ended = world.bake("host", force=True)
    assert ended.status == "SUCCEEDED", ended.cause
    assert len([it for it in world.calls("CreateImage") if it["InstanceId"] == HOST]) == 1
    assert len({it["ImageId"] for it in world.launches()}) == 1
    assert "was replaced" in ended.output["reason"]
    stages = [it["stage"] for it in ended.output["timeline"]]
    assert stages[:4] == ["plan", CLONE_HOST, "lost_builder", "launch"]


@pytest.mark.parametrize("waiting", [False, True])
def test_a_bake_that_is_stopped_while_the_host_is_imaged_leaves_no_clone(
    world: World, waiting: bool
) -> None:
    """The janitor removes it: no Catch runs."""
    arn: list[str] = []

    def stop() -> None:
        world.aws.client("stepfunctions").stop_execution(executionArn=arn[0], cause="by hand")

    if waiting:
        usual, world.aws.ec2.durations.image = world.aws.ec2.durations.image, NEVER
        arn.append(world.start({"recipe": "host", "force": True}))
        world.aws.until(lambda: clones(world), what="the clone")
        world.aws.until(lambda: world.aws.lambdas.idle, what="the end of all functions")
        stop()
        world.aws.ec2.durations.image = usual
    else:
        # CloneHost goes on, and waits for nobody.
        world.aws.faults.after("ec2", "CreateImage", stop)
        arn.append(world.start({"recipe": "host", "force": True}))
    assert world.ended(arn[0]).status == "ABORTED"
    world.aws.until(lambda: world.aws.lambdas.idle, what="the end of all functions")
    world.aws.clock.advance(minutes=16)
    told = world.invoke("remove_orphans", {})
    assert told["left"] == []
    assert clones(world) == []


@pytest.mark.long
def test_a_clone_that_clean_up_could_not_remove_of_a_good_bake_is_the_janitors(
    world: World,
) -> None:
    fault = world.aws.faults.error(
        "ec2",
        "DeregisterImage",
        code="OperationNotPermitted",
        times=999,
        role="TasksCleanUp",
    )
    ended = world.bake("host", force=True)
    assert ended.status == "SUCCEEDED"
    (clone, *_) = world.aws.ec2.tagged("images", TAG_CLONE_OF)
    assert any(clone["ImageId"] in it for it in ended.output["left"])
    fault.times = 0
    world.aws.clock.advance(minutes=16)
    world.invoke("remove_orphans", {})
    # Its own schedule may have come first, and be at it still.
    world.aws.until(lambda: clones(world) == [], what="the end of the clone")
    assert world.pointer("host") == ended.output["image"]["id"]


@pytest.mark.long
def test_every_bake_of_a_host_is_one_of_something_that_may_have_changed(world: World) -> None:
    first, again = world.bake("host"), world.bake("host")
    assert first.output["outcome"] == again.output["outcome"] == "baked"
    assert f"host {HOST} may have changed" in again.output["reason"]
