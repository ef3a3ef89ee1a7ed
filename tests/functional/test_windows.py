"""Bakes of Windows images: the sample recipes, with Sysprep and without, and every order in which
Sysprep's stop and its command can come to an end.

That nothing is left is asserted after every test by the ``world`` fixture. No PowerShell runs here:
the scripts of the samples are parsed by a grammar, as everywhere on the local AWS.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bakery import budgets, sysprep
from bakery.naming import fixed_document
from infra.loading import load_yaml
from scripts.bakery_cli.synthesis import synthesize
from scripts.local import LocalAws
from scripts.local.agent import Command
from scripts.local.ec2_state import NEVER
from tests.functional.conftest import Ended, World
from tests.functional.making import state

pytestmark = pytest.mark.long

SAMPLES = Path(__file__).parents[2] / "recipes"
EC2CONFIG, V1, V2 = "windows-2012-r2", "windows-2019", "windows-2022"
WAYS = [f"{name}-{way}" for name in (EC2CONFIG, V1, V2) for way in ("sysprep", "plain")]
SYSPREP = fixed_document(sysprep.STEP)
RACE: dict[str, Any] = {
    "description": "one boot, for what happens around the stop",
    "base": {"parameter": "/aws/service/ami-windows-latest/Windows_Server-2022-English-Full-Base"},
    "windows": {},
    "builder": {"instance_types": ["t3.large"]},
    "test": {"identity": False},
}


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("recipes")
    recipes: dict[str, Any] = {"race": RACE}
    for way in WAYS:
        name, _, how = way.rpartition("-")
        sample: Mapping[str, Any] = load_yaml(SAMPLES / f"{name}.yaml")
        chosen = {**sample["windows"], "sysprep": how == "sysprep"}
        # Two that are baked in one second would have the same {time}.
        recipes[way] = {**sample, "windows": chosen, "image_name": "{recipe}-{time}"}
    for name, content in recipes.items():
        (folder / f"{name}.yaml").write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    assembly = synthesize(folder, lambda _: None)
    with LocalAws.start(assembly, region="eu-west-1", scale=120.0) as aws:
        durations = aws.ec2.durations
        durations.agent_online_windows, durations.sysprep, durations.image = 30, 100, 20
        yield World(aws, aws.deploy())


# --- the samples, both ways -----------------------------------------------------------------------


@dataclass(frozen=True)
class Baked:
    """What a bake has done."""

    ended: Ended
    commands: list[Command]
    """In the order in which they were sent."""
    calls: dict[str, list[dict[str, Any]]]

    def sent(self, *, tests: bool) -> list[str]:
        mine = [it for it in self.commands if ("/test/" in it.comment) == tests]
        return [it.document.removeprefix(fixed_document("")) for it in mine]

    def calls_for(self, operation: str, instance: str) -> list[dict[str, Any]]:
        return [it for it in self.calls[operation] if instance in json.dumps(it)]

    @property
    def builder(self) -> str:
        return next(it.instance_id for it in self.commands if "/test/" not in it.comment)


@pytest.fixture(scope="module")
def samples(deployed: World) -> dict[str, Baked]:
    """All of them, baked at the same time."""
    started = {way: deployed.start({"recipe": way}) for way in WAYS}
    ended = {way: deployed.ended(arn, seconds=240) for way, arn in started.items()}
    watched = ("StartInstances", "StopInstances", "CreateImage", "RunInstances")
    calls = {it: deployed.calls(it) for it in watched}
    return {
        way: Baked(
            ended=it,
            commands=sorted(
                (c for c in deployed.aws.commands.all.values() if c.comment.startswith(it.name)),
                key=lambda c: c.requested,
            ),
            calls=calls,
        )
        for way, it in ended.items()
    }


def samples_both_ways(test: Callable[..., None]) -> Callable[..., None]:
    marked: Callable[..., None] = pytest.mark.parametrize("way", WAYS)(test)
    return marked


@samples_both_ways
def test_a_sample_bakes_with_sysprep_and_without(
    samples: dict[str, Baked], world: World, way: str
) -> None:
    baked = samples[way]
    assert baked.ended.status == "SUCCEEDED", baked.ended.cause
    assert baked.ended.output["outcome"] == "baked"
    image_id = baked.ended.output["image"]["id"]
    assert world.pointer(way) == image_id
    (image,) = world.aws.client("ec2").describe_images(ImageIds=[image_id])["Images"]
    # What CreateImage carries over, and RegisterImage would not: the licence is paid by it.
    assert (image["Platform"], image["UsageOperation"]) == ("windows", "RunInstances:0002")


@samples_both_ways
def test_the_builder_goes_through_the_documents_for_windows_in_order(
    samples: dict[str, Baked], way: str
) -> None:
    first, *steps = samples[way].sent(tests=False)
    assert first == "prepare-windows"
    ends = {
        "sysprep": [sysprep.STEP, "verify-windows", sysprep.STEP],
        "plain": ["generalize-windows-without-sysprep", "verify-windows"],
    }[way.rpartition("-")[2]]
    assert steps[-len(ends) :] == ends
    assert steps[: -len(ends)], "the recipe's own steps come in between"
    assert "reboot-windows" in steps
    assert not [it for it in steps if "linux" in it]


@samples_both_ways
def test_every_script_was_parsed_and_none_skipped(samples: dict[str, Baked], way: str) -> None:
    """A document of skipped steps would be a success, too."""
    for command in samples[way].commands:
        ran = [it for it in command.outcomes if it.status != "Skipped"]
        assert ran, command.document
        assert [it.status for it in ran] == ["Success"] * len(ran), command.document
        assert all("PowerShell never runs here" in it.stdout for it in ran), command.document


@samples_both_ways
def test_sysprep_alone_stops_its_builder_and_nobody_starts_one(
    samples: dict[str, Baked], way: str
) -> None:
    baked = samples[way]
    stops = baked.calls_for("StopInstances", baked.builder)
    assert len(stops) == (0 if way.endswith("sysprep") else 1)
    assert baked.calls["StartInstances"] == []
    assert len(baked.calls_for("CreateImage", baked.builder)) == 1
    launches = baked.calls["RunInstances"]
    assert {it["InstanceInitiatedShutdownBehavior"] for it in launches} == {"stop"}


@samples_both_ways
def test_the_image_is_booted_twice_and_tested_on_windows(
    samples: dict[str, Baked], way: str
) -> None:
    baked = samples[way]
    sent = baked.sent(tests=True)
    ours = ["report-identity-windows", "report-packages-windows", "test-image-windows"]
    for document in ours:
        assert sent.count(document) == 2
    assert len(sent) == 2 * (len(ours) + 1), "and the test of the recipe's own"
    assert len({it.instance_id for it in baked.commands}) == 3


# --- Sysprep's stop and its command ---------------------------------------------------------------


@dataclass(frozen=True)
class Race:
    """A bake whose Sysprep has been started."""

    world: World
    arn: str

    @classmethod
    def begin(cls, world: World) -> "Race":
        race = cls(world, world.start({"recipe": "race", "force": True}))
        race._until(lambda: race._command is not None, "the command that starts Sysprep")
        race._until(race._waits, "the wait for the stop")
        return race

    def _waits(self) -> bool:
        return f"wait#stop/{self.builder}" in self.world.open_waits()

    def _until(self, what: Callable[[], bool], label: str) -> None:
        self.world.aws.until(what, what=label)

    @property
    def name(self) -> str:
        return self.arn.rpartition(":")[2]

    @property
    def builders(self) -> list[str]:
        return [it["InstanceId"] for it in self.world.tagged("builder", self.name)]

    @property
    def builder(self) -> str:
        (builder,) = self.builders
        return builder

    @property
    def command(self) -> Command:
        assert self._command
        return self._command

    @property
    def _command(self) -> Command | None:
        sent = [it for it in self.world.aws.commands.all.values() if is_shutdown(it)]
        mine = [it for it in sent if it.comment.startswith(f"{self.name}/")]
        return mine[-1] if mine else None

    def reported(self, details: str) -> None:
        """Wait until Systems Manager says so of the command."""
        self._until(lambda: self.command.details == details, f"{details} of the command")

    def shut_down(self) -> None:
        """The host does it, as Sysprep would."""
        self.world.aws.ec2.shut_down_from_inside(self.builder)
        self.reaches("stopped")

    def reaches(self, wanted: str) -> None:
        self._until(lambda: state(self.world, self.builder) == wanted, wanted)

    def time_passes(self) -> None:
        """More than Sysprep has."""
        self.world.aws.clock.advance(seconds=(budgets.SYSPREP + timedelta(minutes=1)).seconds)

    def prints_late(self) -> None:
        """What the agent had sent to the log before it went down."""
        logs = self.world.aws.client("logs")
        where = {
            "logGroupName": self.world.outputs["CommandLogGroup"],
            "logStreamName": f"{self.command.id}/{self.builder}/{sysprep.STEP}/stdout",
        }
        logs.create_log_stream(**where)
        moment = int(self.world.aws.clock.now().timestamp() * 1000)
        said = f"starting Sysprep\n{sysprep.mark(self.name)}\n"
        logs.put_log_events(**where, logEvents=[{"timestamp": moment, "message": said}])

    def ended(self) -> Ended:
        return self.world.ended(self.arn)

    def baked(self) -> Ended:
        ended = self.ended()
        assert ended.status == "SUCCEEDED", ended.cause
        assert self.world.pointer("race") == ended.output["image"]["id"]
        assert self.world.calls("StartInstances") == []
        return ended

    def failed(self, error: str, *words: str) -> None:
        """With the pointer where it was, and without an image."""
        before = self.world.pointer("race")
        ended = self.ended()
        assert (ended.status, ended.error) == ("FAILED", error)
        for word in words:
            assert word in ended.cause
        assert self.world.calls("CreateImage") == self.world.calls("StartInstances") == []
        assert self.world.tagged("image", self.name) == []
        assert {state(self.world, it) for it in self.builders} <= {"shutting-down", "terminated"}
        assert self.world.pointer("race") == before


def is_shutdown(command: Command) -> bool:
    """It starts Sysprep, and not only sets it up."""
    return command.document == SYSPREP and command.parameters.get("Phase") == ["shutdown"]


@pytest.fixture
def slow_sysprep(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not come to its end; what does is up to the test."""
    monkeypatch.setattr(world.aws.ec2.durations, "sysprep", NEVER)


def test_the_stop_comes_after_the_command_has_reported(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.aws.ec2.durations, "sysprep", 400)
    race = Race.begin(world)
    race.reported("Success")
    assert state(world, race.builder) == "running"
    race.baked()
    assert world.calls("StopInstances") == []


def test_the_stop_comes_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Perhaps before the agent has reported: then its log has the mark."""
    monkeypatch.setattr(world.aws.ec2.durations, "sysprep", 0.0)
    monkeypatch.setattr(world.aws.ec2.durations, "stopping", 0.0)
    world.start({"recipe": "race", "force": True}, name="at-once")
    assert world.ended(world.execution("at-once")).status == "SUCCEEDED"


@pytest.mark.parametrize("details", ["InProgress", "DeliveryTimedOut"])
def test_the_stop_comes_and_the_command_never_reports(world: World, details: str) -> None:
    seconds = 1 if details == "DeliveryTimedOut" else None
    world.aws.agent.script(SYSPREP, status=details, seconds=seconds, when=is_shutdown)
    race = Race.begin(world)
    race.reported(details)
    race.shut_down()
    race.prints_late()
    race.baked()


def test_the_event_of_the_stop_is_lost(world: World) -> None:
    world.aws.events.drop(times=float("inf"))
    race = Race.begin(world)
    race.baked()


def test_the_stop_never_comes(world: World, slow_sysprep: None) -> None:
    race = Race.begin(world)
    race.reported("Success")
    race.time_passes()
    race.failed("GeneralizationFailedError", "Sysprep did not stop builder", "Panther")


def test_the_stop_comes_before_sysprep_has_begun(world: World) -> None:
    world.aws.agent.script(SYSPREP, status="Pending", when=is_shutdown)
    race = Race.begin(world)
    race.shut_down()
    race.time_passes()
    race.failed("BuilderLostError", "before Sysprep began", race.builder)


def test_the_builder_ends_instead(world: World, slow_sysprep: None) -> None:
    race = Race.begin(world)
    race.reported("Success")
    world.aws.client("ec2").terminate_instances(InstanceIds=[race.builder])
    race.failed("BuilderLostError", "instead of stopped")


def test_somebody_else_stops_the_builder(world: World, slow_sysprep: None) -> None:
    race = Race.begin(world)
    race.reported("Success")
    world.aws.client("ec2").stop_instances(InstanceIds=[race.builder])
    race.failed("BuilderLostError", "another hand than Sysprep's")


def test_aws_takes_the_builder_which_is_replaced_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = world.aws.ec2.durations.sysprep
    monkeypatch.setattr(world.aws.ec2.durations, "sysprep", NEVER)
    race = Race.begin(world)
    race.reported("Success")
    monkeypatch.setattr(world.aws.ec2.durations, "sysprep", usual)
    world.aws.ec2.retire(race.builder)
    race.baked()
    assert len(race.builders) == 2


def test_the_command_fails(world: World) -> None:
    said = "sysprep-windows: a restart is due (servicing)\n"
    world.aws.agent.script(SYSPREP, exit_code=1, stderr=said, when=is_shutdown)
    race = Race.begin(world)
    race.failed("GeneralizationFailedError", "a restart is due (servicing)", "with Sysprep")


def test_a_bake_whose_sysprep_failed_is_retried_on_the_builder_that_was_kept(world: World) -> None:
    said = "sysprep-windows: a restart is due (servicing)\n"
    world.aws.agent.script(SYSPREP, exit_code=1, stderr=said, when=is_shutdown)
    race = Race(world, world.start({"recipe": "race", "force": True, "on_failure": "keep"}))
    assert race.ended().error == "GeneralizationFailedError"
    builder = race.builder
    world.aws.client("stepfunctions").redrive_execution(executionArn=race.arn)
    race.baked()
    assert race.builder == builder
    assert len([it for it in world.aws.commands.all.values() if it.document == SYSPREP]) >= 3


# --- the time that Windows takes ------------------------------------------------------------------


def test_a_builder_that_takes_longer_than_a_linux_one_may_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = (budgets.AGENT + timedelta(minutes=1)).seconds
    usual = world.aws.ec2.durations.agent_online_windows
    monkeypatch.setattr(world.aws.ec2.durations, "agent_online_windows", slow)
    race = Race.begin(world)
    monkeypatch.setattr(world.aws.ec2.durations, "agent_online_windows", usual)
    ended = race.baked()
    took = {it["stage"]: it["seconds"] for it in ended.output["timeline"]}
    assert took["await_managed"] > budgets.AGENT.total_seconds()
