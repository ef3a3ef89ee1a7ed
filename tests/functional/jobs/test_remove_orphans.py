"""The janitor: takes all that an ended bake has left, and nothing that is anybody else's."""

import contextlib
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from bakery import budgets, holds
from bakery.naming import TAG_BAKE, TAG_RECIPE, label_pointer, pointer
from tests.functional.conftest import FunctionFailedError, World
from tests.functional.faults.points import points_of
from tests.hostile import TAGGED

BASE = "ami-0a120230000000064"
PERIOD = {"minutes": 16}
"""One period of the janitor's schedule, and a little."""


@pytest.mark.failure(51, 52)
@pytest.mark.parametrize("cut", ["stopped", "timed out"])
def test_a_bake_that_is_cut_short_is_cleaned_up_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    """By the event: no schedule comes."""
    monkeypatch.setattr(world.aws.schedules, "paused", True)
    arn = world.start({"recipe": "small", "force": True})
    world.aws.until(lambda: world.tagged("builder", arn.rpartition(":")[2]), what="the builder")
    if cut == "stopped":
        world.aws.client("stepfunctions").stop_execution(executionArn=arn)
    else:
        world.aws.clock.advance(seconds=budgets.WHOLE_BAKE.total_seconds() + 3600)
    ended = world.ended(arn)
    assert ended.status == {"stopped": "ABORTED", "timed out": "TIMED_OUT"}[cut]
    world.aws.until(lambda: world.left_behind(ended.name) == [], what="the janitor")
    world.aws.until(lambda: world.leases() == {}, what="the end of the lease")


def tags(bake: str, recipe: str = "small") -> dict[str, str]:
    return {TAG_BAKE: bake, TAG_RECIPE: recipe}


@dataclass(frozen=True)
class Account:
    """Makes what bakes and others leave behind, past the bakery's functions."""

    world: World

    @property
    def ec2(self) -> Any:
        return self.world.aws.client("ec2")

    def cut_short(self, recipe: str = "small", entered: str = "") -> str:
        """Name of an execution that was stopped by hand, before it has made anything itself; once
        it has entered a state, if one is named."""
        name = f"made-{uuid.uuid4().hex[:8]}"
        self.world.aws.ec2.no_capacity()
        arn = self.world.start({"recipe": recipe, "force": True}, name=name)
        if entered:
            self.world.aws.until(
                lambda: self.world.aws.executions.has_entered(arn, entered), what=entered
            )
        self.world.aws.client("stepfunctions").stop_execution(executionArn=arn)
        ended = self.world.ended(arn)
        self.world.aws.until(lambda: self.world.aws.lambdas.idle, what="the end of all functions")
        self.world.aws.ec2.state.shortages.clear()
        return ended.name

    @property
    def profile(self) -> str:
        """That of builders, without which nothing ends an instance whatever its tags."""
        found = self.world.aws.client("iam").list_instance_profiles()["InstanceProfiles"]
        (arn,) = [it["Arn"] for it in found if "BuilderHostBuilderProfile" in it["Arn"]]
        return str(arn)

    def instance(self, given: Mapping[str, str]) -> str:
        answer = self.ec2.run_instances(
            ImageId=BASE,
            IamInstanceProfile={"Arn": self.profile},
            InstanceType="t3.small",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=_specifications(("instance", "volume"), given),
        )
        return str(answer["Instances"][0]["InstanceId"])

    def volume(self, given: Mapping[str, str]) -> str:
        answer = self.ec2.create_volume(
            AvailabilityZone="eu-west-1a",
            Size=1,
            TagSpecifications=_specifications(("volume",), given),
        )
        return str(answer["VolumeId"])

    def snapshot(self, given: Mapping[str, str]) -> str:
        volume = self.volume({})
        answer = self.ec2.create_snapshot(
            VolumeId=volume, TagSpecifications=_specifications(("snapshot",), given)
        )
        self.ec2.delete_volume(VolumeId=volume)
        return str(answer["SnapshotId"])

    def image(self, builder: str, given: Mapping[str, str]) -> str:
        self.settle(builder)
        answer = self.ec2.create_image(
            InstanceId=builder,
            Name=f"made-{uuid.uuid4().hex}",
            TagSpecifications=_specifications(("image", "snapshot"), given),
        )
        image = str(answer["ImageId"])
        self.world.aws.until(lambda: self._is_available(image), what="the image")
        return image

    def copied(self, given: Mapping[str, str]) -> str:
        """An image with these tags, and its snapshot, by a copy: no builder is needed for it."""
        self.world.aws.ec2.durations.copy = 1
        answer = self.ec2.copy_image(
            SourceImageId=BASE,
            SourceRegion="eu-west-1",
            Name=f"made-{uuid.uuid4().hex}",
            TagSpecifications=_specifications(("image", "snapshot"), given),
        )
        image = str(answer["ImageId"])
        self.world.aws.until(lambda: self._is_available(image), what="the image")
        return image

    def with_snapshots(self, image: str) -> set[str]:
        (found,) = self.ec2.describe_images(ImageIds=[image])["Images"]
        return {image, *(it["Ebs"]["SnapshotId"] for it in found["BlockDeviceMappings"])}

    def redrive(self, bake: str) -> None:
        """Let a bake that was stopped in LaunchBuilder run again; it gets on with nothing."""
        self.world.aws.faults.error(
            "ec2",
            "*",
            code="RequestLimitExceeded",
            status=503,
            times=float("inf"),
            role="LaunchBuilder",
        )
        states = self.world.aws.client("stepfunctions")
        states.redrive_execution(executionArn=self.world.execution(bake))

    def stop(self, bake: str) -> None:
        arn = self.world.execution(bake)
        self.world.aws.client("stepfunctions").stop_execution(executionArn=arn)
        self.world.ended(arn)

    def idle(self) -> None:
        """Wait for functions of bakes that were stopped, before faults may be cleared."""
        self.world.aws.until(lambda: self.world.aws.lambdas.idle, what="the end of all functions")

    def one_of_each(self, bake: str) -> set[str]:
        """Ids of a builder, an image with its snapshot, and a loose snapshot of the bake, old
        enough to be removed once it has ended."""
        builder, image = self.instance(tags(bake)), self.copied(tags(bake))
        made = {builder, self.snapshot(tags(bake)), *self.with_snapshots(image)}
        self.world.aws.clock.advance(**PERIOD)
        return made

    def settle(self, builder: str) -> None:
        """Let the builder boot, then stop it."""
        self.world.aws.until(lambda: self._state(builder) == "running", what="the builder")
        self.ec2.stop_instances(InstanceIds=[builder])
        self.world.aws.until(lambda: self._state(builder) == "stopped", what="the stop")

    def _is_available(self, image: str) -> bool:
        (found,) = self.ec2.describe_images(ImageIds=[image])["Images"]
        return bool(found["State"] == "available")

    def alive(self) -> set[str]:
        """Ids of everything in the account that could be removed."""
        reservations = self.ec2.describe_instances()["Reservations"]
        instances = [i for reservation in reservations for i in reservation["Instances"]]
        live = {
            i["InstanceId"]
            for i in instances
            if i["State"]["Name"] not in ("shutting-down", "terminated")
        }
        loose = self.ec2.describe_volumes(Filters=[{"Name": "status", "Values": ["available"]}])[
            "Volumes"
        ]
        images = self.ec2.describe_images(Owners=["self"])["Images"]
        snapshots = self.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        return (
            live
            | {v["VolumeId"] for v in loose}
            | {i["ImageId"] for i in images}
            | {s["SnapshotId"] for s in snapshots}
        )

    def clear(self, ids: set[str]) -> None:
        """Take away what no janitor may."""
        for id_ in sorted(ids):  # images before their snapshots
            match id_.split("-")[0]:
                case "i":
                    self.ec2.terminate_instances(InstanceIds=[id_])
                case "vol":
                    self.ec2.delete_volume(VolumeId=id_)
                case "ami":
                    self.ec2.deregister_image(ImageId=id_, DeleteAssociatedSnapshots=True)
                case _:
                    with contextlib.suppress(self.ec2.exceptions.ClientError):
                        self.ec2.delete_snapshot(SnapshotId=id_)

    def _state(self, instance_id: str) -> str:
        found = self.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
        return str(found[0]["Instances"][0]["State"]["Name"])


def _specifications(kinds: tuple[str, ...], given: Mapping[str, str]) -> list[dict[str, Any]]:
    pairs = [{"Key": key, "Value": value} for key, value in given.items()]
    return [{"ResourceType": kind, "Tags": pairs} for kind in kinds] if pairs else []


def janitor(world: World, **request: object) -> dict[str, Any]:
    result: dict[str, Any] = world.invoke("remove_orphans", request)
    return result


def told(world: World) -> list[dict[str, Any]]:
    return [event["detail"] for event in world.aws.events.of("Orphans Removed")]


@pytest.fixture
def account(quiet: World) -> Iterator[Account]:
    account = Account(quiet)
    before = account.alive()
    yield account
    quiet.aws.faults.clear()
    account.clear(account.alive() - before)
    quiet.aws.clock.advance(**PERIOD)
    janitor(quiet)


def test_all_that_a_stopped_bake_left_is_removed_and_told(account: Account) -> None:
    before = account.alive()
    bake = account.cut_short()
    builder, volume = account.instance(tags(bake)), account.volume(tags(bake))
    image, snapshot = account.image(builder, tags(bake)), account.snapshot(tags(bake))
    account.world.aws.clock.advance(**PERIOD)

    result = janitor(account.world)
    assert result["left"] == result["strange"] == []
    assert result["removed"] == [
        f"instance {builder} of bake {bake}",
        f"volume {volume} of bake {bake}",
        f"image {image} of bake {bake}",
        f"snapshot {snapshot} of bake {bake}",
    ]
    assert account.alive() == before
    assert told(account.world) == [{"removed": result["removed"], "left": []}]


def test_tags_that_name_no_execution_are_never_in_the_way(account: Account) -> None:
    """Whoever may tag may write anything: also what is too long, or no name at all."""
    foreign = {account.volume(tags(value)) for value in [*TAGGED[::3], "x" * 256]}
    bake = account.cut_short()
    orphan = account.volume(tags(bake))
    account.world.aws.clock.advance(**PERIOD)
    result = janitor(account.world)
    assert result["left"] == []
    assert result["removed"] == [f"volume {orphan} of bake {bake}"]
    assert foreign <= account.alive()


def test_called_twice_it_finds_nothing_more_and_tells_nobody(account: Account) -> None:
    account.instance(tags(account.cut_short()))
    janitor(account.world)
    account.world.aws.events.recorded.clear()
    assert janitor(account.world)["removed"] == []
    assert told(account.world) == []


def test_the_event_of_a_stopped_bake_cleans_that_bake_only(account: Account) -> None:
    first, second = account.cut_short(), account.cut_short()
    mine, other = account.instance(tags(first)), account.instance(tags(second))
    event = {
        "detail-type": "Step Functions Execution Status Change",
        "detail": {"name": first, "status": "ABORTED"},
    }
    assert janitor(account.world, **event)["removed"] == [f"instance {mine} of bake {first}"]
    assert other in account.alive()


def test_an_image_stays_as_long_as_it_could_still_become_a_pointers_value(
    account: Account,
) -> None:
    bake = account.cut_short()
    builder = account.instance(tags(bake))
    image = account.image(builder, tags(bake))
    assert janitor(account.world)["removed"] == [f"instance {builder} of bake {bake}"]
    assert image in account.alive()
    account.world.aws.client("ssm").put_parameter(
        Name=pointer("stopped"), Value=image, Type="String", DataType="aws:ec2:image"
    )
    account.world.aws.until(lambda: account.world.pointer("stopped") == image)
    account.world.aws.clock.advance(**PERIOD)
    assert janitor(account.world)["removed"] == []
    assert image in account.alive()


@pytest.mark.parametrize("again", [False, True])
def test_an_image_that_was_published_and_taken_back_stays_only_if_it_was_published_again(
    account: Account, again: bool
) -> None:
    """CleanUp leaves it where a builder is kept, so that a retry may publish it."""
    bake = account.cut_short()
    image, name = account.copied(tags(bake)), label_pointer("stopped", f"taken-{again}".lower())
    text = "Labelled image of recipe stopped"
    back = (BASE, f"{text}, in place of that of a failed bake: {image}")
    values = [(BASE, text), (image, text), back, *([(image, text), (BASE, text)] if again else [])]
    for value, description in values:
        put(account.world, name, value, description)
    account.world.aws.clock.advance(**PERIOD)
    removed = f"image {image} of bake {bake}" in janitor(account.world)["removed"]
    assert (removed, image in account.alive()) == (not again, again)


def put(world: World, name: str, value: str, description: str) -> None:
    world.aws.client("ssm").put_parameter(
        Name=name,
        Value=value,
        Description=description,
        Type="String",
        DataType="aws:ec2:image",
        Overwrite=True,
    )
    world.aws.until(lambda: world.parameter(name) == value, what=f"{name} at {value}")


def test_a_bake_that_keeps_its_builder_and_ends_while_the_janitor_reads_keeps_it(
    account: Account,
) -> None:
    """CleanUp holds the builder, then FailBake ends the bake, and only then it counts as ended."""
    bake = account.cut_short()
    builder = account.instance(tags(bake))
    hold = f"claim#{holds.PREFIX}{bake}"

    def end() -> None:
        account.world.put_item(hold, holder="2099-01-01T00:00:00+00:00")

    ended = account.world.aws.faults.after("stepfunctions", "DescribeExecution", end)
    result = janitor(account.world)
    assert ended.matched == 1
    assert result["removed"] == []
    assert builder in account.alive()
    account.world.remove_item(hold)


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_kept_bake_that_is_retried_while_the_janitor_reads_keeps_its_builder(
    account: Account, dry_run: bool
) -> None:
    """The other way round: FailBake ends the hold when the bake is redriven, which counts as ended
    if the janitor asked before that."""
    world, bake = account.world, account.cut_short(entered="LaunchBuilder")
    made = account.one_of_each(bake)
    hold = f"claim#{holds.PREFIX}{bake}"
    world.put_item(hold, holder="2099-01-01T00:00:00+00:00")

    def retry() -> None:
        account.redrive(bake)
        world.remove_item(hold)

    retried = world.aws.faults.after("stepfunctions", "DescribeExecution", retry)
    result = janitor(world, dry_run=dry_run)
    assert retried.matched == 1
    assert result["removed"] == result["left"] == []
    assert made <= account.alive()
    account.stop(bake)
    account.idle()


@pytest.mark.failure(51)
def test_a_bake_that_is_redriven_while_the_janitor_reads_keeps_all_that_it_has(
    account: Account,
) -> None:
    """At worst it publishes the image before that would be removed."""
    world, bake = account.world, account.cut_short(entered="LaunchBuilder")
    made = account.one_of_each(bake)
    redriven = world.aws.faults.after(
        "stepfunctions", "DescribeExecution", lambda: account.redrive(bake)
    )
    result = janitor(world)
    assert redriven.matched == 1
    assert result["removed"] == result["left"] == []
    assert made <= account.alive()
    assert told(world) == []
    account.stop(bake)
    account.idle()


def test_a_bake_that_is_redriven_while_the_janitor_removes_keeps_the_rest(
    account: Account,
) -> None:
    world, bake = account.world, account.cut_short(entered="LaunchBuilder")
    made = account.one_of_each(bake)
    redriven = world.aws.faults.after("ec2", "TerminateInstances", lambda: account.redrive(bake))
    result = janitor(world)
    assert redriven.matched == 1
    (removed,) = result["removed"]
    assert removed.startswith("instance ")
    assert made - account.alive() == {removed.split()[1]}
    account.stop(bake)
    account.idle()


def test_a_bake_that_was_redriven_and_has_ended_again_is_left_for_the_next_run(
    account: Account,
) -> None:
    """It may have published its image in between, and has a quarter of an hour again."""
    world, bake = account.world, account.cut_short(entered="LaunchBuilder")
    made = account.one_of_each(bake)

    def redrive() -> None:
        account.redrive(bake)
        account.stop(bake)

    redriven = world.aws.faults.after("stepfunctions", "DescribeExecution", redrive)
    assert janitor(world)["removed"] == []
    assert redriven.matched == 1
    assert made <= account.alive()
    world.aws.clock.advance(**PERIOD)
    assert len(janitor(world)["removed"]) == 3
    assert not made & account.alive()
    account.idle()


def test_a_second_look_that_fails_keeps_all_of_that_bake_and_of_no_other(
    account: Account,
) -> None:
    world, bake, other = account.world, account.cut_short(), account.cut_short()
    janitor(world)  # It gives back their leases, whose holders it would ask about as well.
    made, free = account.one_of_each(bake), account.instance(tags(other))
    fault = world.aws.faults.error(
        "stepfunctions",
        "DescribeExecution",
        code="AccessDeniedException",
        skip=1,
        when=lambda parameters: bake in str(parameters),
    )
    result = janitor(world)
    assert fault.matched == 1
    assert result["removed"] == [f"instance {free} of bake {other}"]
    assert len(result["left"]) == 3
    assert all("states:DescribeExecution" in it for it in result["left"])
    assert made <= account.alive()
    assert len(janitor(world)["removed"]) == 3


def test_published_images_however_many_cost_no_question_about_their_bakes(
    account: Account,
) -> None:
    """There are more of them with every night, and the janitor has five minutes."""
    world = account.world
    for _ in range(5):
        image = account.copied(tags(account.cut_short()))
        world.aws.parameters.publish(pointer("many"), image, "eu-west-1")
    world.aws.clock.advance(**PERIOD)
    janitor(world)  # It gives back the leases, whose holders it would ask about as well.
    world.aws.calls.clear()
    result = janitor(world)
    assert result["removed"] == []
    assert world.aws.calls.of("ec2", "DescribeSnapshots") != []
    assert world.aws.calls.of("stepfunctions", "DescribeExecution") == []


def test_a_snapshot_that_clean_up_left_of_an_image_taken_back_goes(account: Account) -> None:
    """A failed bake had moved the pointer, which remembers the image for ever."""
    bake = account.cut_short()
    image = account.copied(tags(bake))
    account.world.aws.parameters.publish(pointer("taken-back"), image, "eu-west-1")
    account.world.aws.clock.advance(**PERIOD)
    assert janitor(account.world)["removed"] == []
    (snapshot,) = account.with_snapshots(image) - {image}
    account.ec2.deregister_image(ImageId=image)
    assert janitor(account.world)["removed"] == [f"snapshot {snapshot} of bake {bake}"]


def test_leases_and_waits_of_ended_bakes_are_forgotten(account: Account) -> None:
    world = account.world
    bake = account.cut_short()
    execution = world.execution(bake)
    event = {"bake": bake, "execution": execution, "input": {"recipe": "small", "force": True}}
    world.invoke("plan", event)
    builder = account.instance(tags(bake))
    world.aws.ec2.durations.stopping = 600
    world.invoke("stop_builder", {"token": "nobody", "bake": bake, "instance_id": builder})
    world.aws.ec2.durations.stopping = 20
    assert world.leases()["small"] == execution
    assert world.open_waits() != []
    janitor(world)
    assert world.leases() == {}
    assert world.open_waits() == []


def test_a_bake_that_is_redriven_while_the_janitor_removes_keeps_its_lease_and_its_new_wait(
    account: Account,
) -> None:
    world, bake = account.world, account.cut_short(entered="LaunchBuilder")
    execution, states = world.execution(bake), world.aws.client("stepfunctions")
    event = {"bake": bake, "execution": execution, "input": {"recipe": "small", "force": True}}
    world.invoke("plan", event)
    builder, other = account.instance(tags(bake)), account.instance(tags(bake))
    world.aws.ec2.durations.stopping = 600
    for it, token in ((builder, "first"), (other, "other")):
        world.invoke("stop_builder", {"token": token, "bake": bake, "instance_id": it})
    world.aws.ec2.durations.stopping = 20
    (name,) = (key for key, wait in world.waits().items() if wait["token"] == "first")

    def redrive() -> None:
        world.aws.faults.error(
            "ec2", "RunInstances", code="RequestLimitExceeded", status=503, times=99
        )
        states.redrive_execution(executionArn=execution)
        wait = {**world.waits()[name], "token": "second"}
        world.put_item(name, wait=json.dumps(wait), token="second")

    redriven = world.aws.faults.after("ec2", "TerminateInstances", redrive)
    janitor(world)
    assert redriven.matched == 1
    assert world.leases()["small"] == execution
    assert {key: wait["token"] for key, wait in world.waits().items()} == {name: "second"}
    states.stop_execution(executionArn=execution)
    world.ended(execution)
    world.aws.until(lambda: world.aws.lambdas.idle, what="the end of all functions")
    janitor(world)
    assert (world.leases(), world.waits()) == ({}, {})


def test_a_dry_run_and_a_deployment_that_only_reports_remove_nothing(account: Account) -> None:
    bake = account.cut_short()
    builder = account.instance(tags(bake))
    before = account.alive()
    result = janitor(account.world, dry_run=True)
    assert result["dry_run"] is True
    assert result["removed"] == [f"instance {builder} of bake {bake}"]
    assert account.alive() == before
    assert told(account.world) == []


LOOK_ALIKES: tuple[dict[str, str], ...] = (
    {},
    {"Name": "ami-bakery small"},
    {"ami-bakery:bakes": "{bake}"},
    {"AMI-Bakery:Bake": "{bake}", "AMI-Bakery:Recipe": "small"},
    {TAG_BAKE: "{bake}"},
    {TAG_BAKE: "{bake}", TAG_RECIPE: "web"},
    {TAG_BAKE: "{bake}-2", TAG_RECIPE: "small"},
    {TAG_BAKE: "*", TAG_RECIPE: "*"},
    {TAG_BAKE: "no such: execution", TAG_RECIPE: "small"},
    {TAG_RECIPE: "small"},
)


@pytest.mark.failure(67, 74)
def test_in_a_polluted_account_exactly_the_orphans_go(account: Account) -> None:
    """Orphans of 20 bakes among 200 foreign instances, volumes, snapshots and images, and what a
    pointer has held."""
    orphans: set[str] = set()
    kinds = (account.instance, account.volume, account.snapshot, account.copied)
    for number in range(20):
        bake = account.cut_short()
        made = [make(tags(bake)) for make in kinds]
        orphans |= {*made, *account.with_snapshots(made[-1])}
        for look_alike in LOOK_ALIKES:
            given = {key: value.replace("{bake}", bake) for key, value in look_alike.items()}
            kinds[number % 4](given)
    published = account.copied(tags(bake))
    for image in (published, BASE):
        account.world.aws.parameters.publish(pointer("tidy"), image, "eu-west-1")
    foreign = account.alive() - orphans
    assert len(foreign) >= 200
    account.world.aws.clock.advance(**PERIOD)

    first = janitor(account.world)
    assert len(first["removed"]) == 50
    (left,) = first["left"]
    assert left.endswith("more: one run removes 50 at most")
    second = janitor(account.world)
    assert second["left"] == []
    assert account.alive() == foreign
    assert {it.split()[0] for it in second["strange"]} == {
        "instance",
        "volume",
        "snapshot",
        "image",
    }
    assert len(second["strange"]) >= 20 * 5


READS = (
    ("ec2", "DescribeInstances"),
    ("ec2", "DescribeVolumes"),
    ("ec2", "DescribeImages"),
    ("ec2", "DescribeSnapshots"),
    ("ec2", "DescribeSpotInstanceRequests"),
    ("ec2", "DescribeImages in eu-central-1"),
    ("ec2", "DescribeSnapshots in eu-central-1"),
    ("ssm", "GetParametersByPath"),
    ("ssm", "GetParametersByPath in eu-central-1"),
    ("ssm", "GetParameterHistory"),
    ("stepfunctions", "DescribeExecution"),
    ("dynamodb", "Query"),
)


@pytest.mark.failure(70)
@pytest.mark.parametrize(("service", "operation"), READS)
@pytest.mark.parametrize("code", ["AccessDeniedException", "InternalError"])
def test_a_read_that_fails_means_that_nothing_is_removed(
    account: Account, service: str, operation: str, code: str
) -> None:
    """An empty answer to `who uses it` must never be taken for `nobody`."""
    world = account.world
    if world.pointer("small") is None:  # so that there is a history to read
        world.aws.parameters.publish(pointer("small"), BASE, "eu-west-1")
    account.instance(tags(account.cut_short()))
    before = account.alive()
    status = 500 if code == "InternalError" else 400
    operation, _, region = operation.partition(" in ")
    fault = world.aws.faults.error(
        service, operation, code=code, status=status, times=99, region=region
    )
    with pytest.raises(FunctionFailedError):
        janitor(world)
    assert fault.matched >= 1
    fault.times = 0
    assert account.alive() == before
    assert told(world) == []


@pytest.mark.failure(70)
@pytest.mark.parametrize("code", ["AccessDeniedException", "InternalError"])
def test_each_read_by_itself_that_fails_means_that_nothing_is_removed(
    account: Account, code: str
) -> None:
    """The table is read for waits, leases and holds, and what is kept must not go."""
    world, role = account.world, "JobsRemoveOrphansRole"
    orphan, kept = account.instance(tags(account.cut_short())), account.cut_short()
    builder, hold = account.instance(tags(kept)), f"claim#{holds.PREFIX}{kept}"
    world.put_item(hold, holder="2099-01-01T00:00:00+00:00")
    before = account.alive()
    world.aws.calls.clear()
    janitor(world, dry_run=True)
    made = points_of((it for it in world.aws.calls.of() if role in it.principal.role), role)
    assert len([it for it in made if it.operation == "Query"]) >= 3
    for point in made:
        assert point.reads, point
        fault = world.aws.faults.error(
            point.service,
            point.operation,
            code=code,
            status=500 if code == "InternalError" else 400,
            times=99,
            skip=point.occurrence,
            role=role,
            region=point.region,
        )
        with contextlib.suppress(FunctionFailedError):
            assert janitor(world)["removed"] == [], point
        assert fault.matched, point
        fault.times = 0
        assert account.alive() == before, point
    assert orphan in str(janitor(world)["removed"])
    assert builder in account.alive()
    world.remove_item(hold)


def test_a_builder_that_somebody_has_started_again_goes_too(account: Account) -> None:
    """A start sets LaunchTime anew: hours after its bake, which must not make it strange."""
    bake = account.cut_short()
    builder = account.instance(tags(bake))
    account.settle(builder)
    account.world.aws.clock.advance(hours=5)
    account.ec2.start_instances(InstanceIds=[builder])
    result = janitor(account.world)
    assert result["removed"] == [f"instance {builder} of bake {bake}"]
    assert result["strange"] == []


@pytest.mark.failure(75)
def test_what_cannot_be_removed_is_told_and_not_in_the_way(account: Account) -> None:
    bake = account.cut_short()
    first, second = account.instance(tags(bake)), account.instance(tags(bake))
    account.world.aws.faults.error(
        "ec2",
        "TerminateInstances",
        code="OperationNotPermitted",
        message="protected",
        when=lambda parameters: first in str(parameters),
    )
    result = janitor(account.world)
    assert result["removed"] == [f"instance {second} of bake {bake}"]
    (left,) = result["left"]
    assert left.startswith(f"instance {first} of bake {bake}: ec2:TerminateInstances")
    assert "protected" in left
    assert first in account.alive()


@pytest.mark.parametrize(
    ("stuck", "reached", "told"),
    [
        (51, True, ["1 more could not be removed: see the log of this function"]),
        (
            201,
            False,
            [
                "150 more could not be removed: see the log of this function",
                "2 more: one run tries 200 at most",
            ],
        ),
    ],
)
def test_what_cannot_be_removed_uses_up_no_limit_but_that_of_tries(
    account: Account, stuck: int, reached: bool, told: list[str]
) -> None:
    bake = account.cut_short()
    builders = [account.instance(tags(bake)) for _ in range(stuck)]
    volume = account.volume(tags(bake))
    account.world.aws.faults.error(
        "ec2", "TerminateInstances", code="OperationNotPermitted", times=stuck
    )
    result = janitor(account.world)
    assert result["removed"] == ([f"volume {volume} of bake {bake}"] if reached else [])
    assert all("OperationNotPermitted" in it for it in result["left"][:50])
    assert result["left"][50:] == told
    account.world.aws.faults.clear()
    account.ec2.terminate_instances(InstanceIds=builders)


def test_a_request_that_it_does_not_know_is_refused(quiet: World) -> None:
    with pytest.raises(FunctionFailedError) as failed:
        janitor(quiet, dryrun=True)
    assert failed.value.name == "ValidationError"
    assert "dryrun" in failed.value.message


def test_its_result_is_plain_data(quiet: World) -> None:
    assert json.loads(json.dumps(janitor(quiet, dry_run=True)))["dry_run"] is True


# --- spot -----------------------------------------------------------------------------------------


def on_spot(account: Account, given: Mapping[str, str]) -> tuple[str, str]:
    """Ids of an instance, with a builder's profile, and of the request that launched it."""
    kinds = ("instance", "volume", "spot-instances-request")
    profiles = account.world.aws.client("iam").list_instance_profiles()["InstanceProfiles"]
    (profile,) = [it["Arn"] for it in profiles if "BuilderHostBuilderProfile" in it["Arn"]]
    (instance,) = account.ec2.run_instances(
        ImageId=BASE,
        InstanceType="t3.small",
        MinCount=1,
        MaxCount=1,
        IamInstanceProfile={"Arn": profile},
        InstanceMarketOptions={
            "MarketType": "spot",
            "SpotOptions": {
                "SpotInstanceType": "persistent",
                "InstanceInterruptionBehavior": "stop",
            },
        },
        TagSpecifications=_specifications(kinds, given),
    )["Instances"]
    return str(instance["InstanceId"]), str(instance["SpotInstanceRequestId"])


def request_state(account: Account, request: str) -> dict[str, Any]:
    found = account.ec2.describe_spot_instance_requests(SpotInstanceRequestIds=[request])
    return dict(found["SpotInstanceRequests"][0])


def test_a_spot_request_goes_before_its_builder(account: Account) -> None:
    name = account.cut_short()
    builder, request = on_spot(account, tags(name))
    result = account.world.invoke("remove_orphans", {"bake": name})
    assert result["removed"] == [
        f"spot request {request} of bake {name}",
        f"instance {builder} of bake {name}",
    ]
    account.world.aws.clock.advance(minutes=10)
    assert request_state(account, request)["State"] == "cancelled"
    assert account.world.left_behind(name) == []


def test_a_builder_that_a_request_launched_by_itself_goes_too(account: Account) -> None:
    """It carries no tag: it is attributed by its request's."""
    name = account.cut_short()
    builder, request = on_spot(account, tags(name))
    account.ec2.terminate_instances(InstanceIds=[builder])

    def again() -> str | None:
        found = request_state(account, request).get("InstanceId")
        return found if found != builder else None

    untagged = account.world.aws.until(again, what="another instance")
    result = account.world.invoke("remove_orphans", {"bake": name})
    assert f"instance {untagged} of bake {name}" in result["removed"]
    assert account.world.left_behind(name) == []


def test_a_request_that_nobody_knows_is_only_told(account: Account) -> None:
    builder, request = on_spot(account, tags("never-heard-of"))
    result = account.world.invoke("remove_orphans", {})
    assert any(it.startswith(f"spot request {request}: ") for it in result["strange"])
    assert request_state(account, request)["State"] == "active"
    account.ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[request])
    account.ec2.terminate_instances(InstanceIds=[builder])


def test_a_request_that_has_ended_is_nothing_to_remove(account: Account) -> None:
    name = account.cut_short()
    builder, request = on_spot(account, tags(name))
    account.ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[request])
    result = account.world.invoke("remove_orphans", {"bake": name})
    assert result["removed"] == [f"instance {builder} of bake {name}"]
