"""What must hold after every bake, whatever went wrong in it."""

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from bakery import errors
from bakery.errors import BakeryError
from bakery.naming import TAG_BAKE, TAG_CLONE_OF, TAG_RECIPE, TAG_TEST
from scripts.local import LocalAws
from scripts.local.calls import Call
from scripts.local.faults import Fault
from tests.functional.conftest import Ended, World
from tests.functional.faults.points import Point, points_of
from tests.functional.faults.published import Published, deployed_recipe, violations
from tests.functional.faults.published import regions as regions_of

OWN_ERRORS = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, BakeryError)
}

SCENES = {"good": "SUCCEEDED", "failing": "FAILED", "taken": "SUCCEEDED", "whole": "SUCCEEDED"}
"""The bakes that faults are put into: one that goes well; one that fails as late as it can, when
its image is published already; one whose first builder AWS takes; and one of all that a recipe can
ask for after its image, in three Regions."""

_ENDS = {
    **SCENES,
    "host": "SUCCEEDED",
    "spot": "SUCCEEDED",
    "interrupted": "SUCCEEDED",
    "kept": "FAILED",
    "retried": "SUCCEEDED",
    "republished": "SUCCEEDED",
}
"""And one that begins with a running host, which has a deployment of its own: test_hosts.py; one on
spot, one whose spot builder EC2 interrupts, one that fails like ``failing`` and keeps its builder,
and two that failed, in CreateImage or like that, and are redriven: test_other_bakes.py."""

_KEPT_HOURS = 5
"""Longer than recipe small keeps a builder."""

_KEEPS = ("kept", "retried", "republished")
"""The bakes whose start asks that the builder be kept if they fail."""

_CALLS: WeakKeyDictionary[LocalAws, dict[str, list[Call]]] = WeakKeyDictionary()
"""All calls of a bake without faults, for each scene: they are the same every time."""

_KEEPER, _OWN = "TasksKeepPreviousRole", "The scene fails by itself."
"""Whose call AWS refuses in the scenes `failing` and `kept`, and what it says."""

_STUCK_SECONDS = 10
"""Real seconds without an event of its execution after which a bake is taken to wait for what will
not come: its time-outs."""
_SLOW_SECONDS = 90
"""Real seconds after which one that only tries again and again is helped as well."""


@dataclass
class Watched:
    """Bakes again and again, and looks at the account after each bake."""

    world: World
    violations: list[str] = field(default_factory=list)
    spoilt: list[Fault] = field(default_factory=list)
    """What the scene itself did to the last bake."""
    failed: str = ""
    """ARN of the bake that is redriven next."""

    @classmethod
    def begin(cls, world: World) -> "Watched":
        if world.pointer("small") is None:
            first = world.bake("small")
            assert first.status == "SUCCEEDED", first
        return cls(world)

    def points(self, role: str, scene: str = "good") -> list[Point]:
        """Every call that the function makes in a bake without faults."""
        known = _CALLS.setdefault(self.world.aws, {})
        if scene not in known:
            recipe = recipe_of(scene)
            if self.world.pointer(recipe) is None:  # there is no way back from a first image
                self.world.bake(recipe, seconds=180)
                self.settled()
            self.ready(scene)
            self.world.aws.calls.clear()
            ended = self.run(scene)
            assert ended.status == _ENDS[scene], ended
            known[scene] = self.world.aws.calls.of()
        return points_of((call for call in known[scene] if role in call.principal.role), role)

    def regions(self, scene: str) -> list[str]:
        """Where its images are, the home Region first."""
        return regions_of(self.world, deployed_recipe(self.world, recipe_of(scene)))

    def ready(self, scene: str) -> None:
        """What comes before the faults: a bake that is to be redriven fails, and keeps its builder.

        Nothing to do for the others.
        """
        self.failed = ""
        match scene:
            case "retried":
                fault = self._refuse("ec2", "CreateImage", "TasksCreateImageRole")
            case "republished":
                fault = self._refuse("ssm", "PutParameter", _KEEPER)
            case _:
                return
        ended = self._ended(self._started(scene))
        assert fault.matched and ended.status == "FAILED", ended
        self.settled(ended, fault)
        self.world.aws.calls.clear()
        self.world.aws.events.recorded.clear()
        self.failed = ended.arn

    def bake(self, label: str, *faults: Fault, told: int = 1, scene: str = "good") -> str | None:
        """Bake under faults; note every invariant that does not hold afterwards.

        ``told`` is how often the end may be announced. Returns the error that the faults made of
        the bake, None when it ended as it would have without.
        """
        world = self.world
        world.aws.calls.clear()
        world.aws.events.recorded.clear()
        recipe = recipe_of(scene)
        before = Published.of(world, recipe)
        ended = self.run(scene, *faults)
        builders = 2 if scene in ("taken", "interrupted") else 1
        broken = [
            *self.broken(ended, recipe, before, told),
            *self.twice(ended.name, builders),
            *self._hidden(ended, scene, faults),
        ]
        self.violations += [f"{label}: {text}" for text in broken]
        if recipe != "wide":
            self._tidy(recipe)
        own = ended.error == "AwsCallFailedError" and _OWN in ended.cause
        if ended.status == _ENDS[scene] and (own or not ended.error):
            return None
        return ended.error or ended.status

    def run(self, scene: str, *faults: Fault) -> Ended:
        """A bake to its end, whatever holds afterwards; the faults are over with it."""
        self.spoilt = self._spoil(scene)
        ended = self._ended(self._started(scene))
        self.settled(ended, *faults, *self.spoilt)
        self._no_longer_kept(scene)
        return ended

    def _started(self, scene: str) -> str:
        if self.failed:
            states = self.world.aws.client("stepfunctions")
            states.redrive_execution(executionArn=self.failed)
            return self.failed
        keep = {"on_failure": "keep"} if scene in _KEEPS else {}
        return self.world.start({"recipe": recipe_of(scene), "force": True, **keep})

    def _no_longer_kept(self, scene: str) -> None:
        """What a failed bake has kept may be there until its time is over."""
        if scene in _KEEPS:
            self.world.aws.clock.advance(hours=_KEPT_HOURS)
            self.world.invoke("remove_orphans", {})

    def _tidy(self, recipe: str) -> None:
        """Images of its past go: with a thousand of them the janitor's answers would be as long."""
        ec2 = self.world.aws.client("ec2")
        pointed = {self.world.pointer(recipe), self.world.previous(recipe)}
        wanted = [{"Name": f"tag:{TAG_RECIPE}", "Values": [recipe]}]
        for image in ec2.describe_images(Owners=["self"], Filters=wanted)["Images"]:
            if image["ImageId"] not in pointed and image["State"] == "available":
                ec2.deregister_image(ImageId=image["ImageId"])
                for mapping in image["BlockDeviceMappings"]:
                    ec2.delete_snapshot(SnapshotId=mapping["Ebs"]["SnapshotId"])

    def _spoil(self, scene: str) -> list[Fault]:
        faults = self.world.aws.faults
        match scene:
            case "failing" | "kept":
                return [self._refuse("ssm", "PutParameter", _KEEPER)]
            case "taken":
                return [faults.after("ssm", "SendCommand", self._take_builder)]
            case "interrupted":
                return [faults.after("ssm", "SendCommand", self._interrupt_builder)]
            case _:
                return []

    def _refuse(self, service: str, operation: str, role: str) -> Fault:
        code, faults = "ValidationException", self.world.aws.faults
        return faults.error(service, operation, code=code, message=_OWN, role=role)

    def _take_builder(self) -> None:
        for instance in self._running():
            self.world.aws.ec2.retire(instance)

    def _interrupt_builder(self) -> None:
        for instance in self._running():
            self.world.aws.ec2.interrupt(instance, notice=0)

    def _running(self) -> list[str]:
        found = self.world.aws.ec2.all("instances")
        return [it["InstanceId"] for it in found if it["State"]["Name"] == "running"]

    def _ended(self, arn: str) -> Ended:
        """The end of the execution; one that is stuck is helped to its time-outs."""
        begun, known = time.monotonic(), 0
        patience = begun + _STUCK_SECONDS
        while self.world.aws.executions.is_running(arn):
            if time.monotonic() > patience:
                last = self._last_event(arn)
                if last == known or time.monotonic() > begun + _SLOW_SECONDS:
                    self.world.aws.clock.advance(hours=26)
                known, patience = last, time.monotonic() + _STUCK_SECONDS
            time.sleep(0.05)
        return self.world.ended(arn)

    def _last_event(self, arn: str) -> int:
        found = self.world.aws.client("stepfunctions").get_execution_history(
            executionArn=arn, reverseOrder=True, maxResults=1
        )
        return int(found["events"][0]["id"])

    def settled(self, ended: Ended | None = None, *faults: Fault) -> None:
        """What is told is told, the faults are over, and one period of the janitor later."""
        world = self.world
        world.aws.until(lambda: world.aws.lambdas.idle, what="the end of all functions")
        world.aws.clock.advance(minutes=16)
        if ended is not None:
            world.aws.until(lambda: self._announced(ended.name), what="the announcement")
        world.aws.until(lambda: world.aws.lambdas.idle, what="the end of all functions")
        for fault in faults:
            fault.times = 0
        world.invoke("remove_orphans", {})

    def _announced(self, bake: str) -> list[str]:
        return [
            event["detail-type"]
            for event in self.world.aws.events.recorded
            if event["source"] == "ami-bakery"
            and event["detail-type"].startswith("Bake ")
            and event["detail"].get("bake") == bake
        ]

    def broken(self, ended: Ended, recipe: str, before: Published, told: int = 1) -> Iterator[str]:
        if ended.status not in SCENES.values():
            yield f"ended as {ended.status}"
        if ended.status == "FAILED" and ended.error not in OWN_ERRORS - {"UnexpectedError"}:
            yield f"unclassified error {ended.error}: {ended.cause}"
        yield from violations(self.world, recipe, ended, before, told_as_left(ended))
        yield from self._left(ended)
        yield from self._taken_back(ended, recipe)
        announced = self._announced(ended.name)
        expected = "Bake Succeeded" if ended.status == "SUCCEEDED" else "Bake Failed"
        if set(announced) != {expected} or len(announced) > told:
            yield f"announced as {announced}"

    def _hidden(self, ended: Ended, scene: str, faults: Sequence[Fault]) -> Iterator[str]:
        """The first error of the bake stays so, whatever goes wrong after it."""
        came_to_it = _ENDS[scene] == "FAILED" and any(it.matched for it in self.spoilt)
        before = any(it.role in _KEEPER for it in faults)
        if came_to_it and not before and ended.status == "FAILED" and _OWN not in ended.cause:
            yield f"ended as {ended.error}, which hides the first error: {ended.cause}"

    def _left(self, ended: Ended) -> Iterator[str]:
        """What clean up has left and told is a person's business, all else is not."""
        world, told = self.world, told_as_left(ended)
        left = [it for it in world.left_behind(ended.name) if it not in told]
        untold = not re.search(rf"(images in eu-west-1|clones) of bake {ended.name}", told)
        if left and untold:
            yield f"left behind: {left}"
        if leases := world.leases():
            yield f"leases: {leases}"
        if waits := world.open_waits():
            yield f"waits: {waits}"

    def _taken_back(self, ended: Ended, recipe: str) -> Iterator[str]:
        """Of a bake that failed no image is there, one that was current for a while neither."""
        if ended.status != "FAILED":
            return
        told, current = told_as_left(ended), Published.of(self.world, recipe).parameters.values()
        images = [
            image["ImageId"]
            for region in self.world.regions
            for image in self.world.tagged("image", ended.name, region)
        ]
        left = [it for it in images if it not in told and it not in current]
        if left and f"images in eu-west-1 of bake {ended.name}" not in told:
            yield f"published, taken back and left behind: {left}"

    def twice(self, bake: str, builders: int) -> Iterator[str]:
        """What was made more often than once for each of its builders."""
        world = self.world
        tests = Counter(tag_of(it, TAG_TEST) for it in world.tagged("instance", bake))
        yield from (f"{n} test instances {it}" for it, n in tests.items() if it and n > 1)
        mine = {"Key": TAG_BAKE, "Value": bake}
        for region in world.regions:
            # The SDK asks again, with the same token, when an answer is lost: it is one copy.
            copies = {
                it.get("ClientToken", number)
                for number, it in enumerate(world.calls("CopyImage", region))
                if mine in it["TagSpecifications"][0]["Tags"]
            }
            if len(copies) > 1:
                yield f"{len(copies)} copies in {region}"
        if len(world.tagged("builder", bake)) > builders:
            yield "too many builders"
        made = [
            call
            for call in world.calls("CreateImage")
            if mine in call["TagSpecifications"][0]["Tags"]
        ]
        clones = [it for it in made if TAG_CLONE_OF in str(it["TagSpecifications"])]
        if max(len(clones), len(made) - len(clones)) > 1:
            yield f"{len(made)} images, {len(clones)} of them clones"
        sent = Counter((it["Comment"], *it["InstanceIds"]) for it in world.calls("SendCommand"))
        yield from (f"{what} ran {n} times" for what, n in sent.items() if n > 1)


def tag_of(resource: Mapping[str, Any], key: str) -> str | None:
    return next((it["Value"] for it in resource.get("Tags", []) if it["Key"] == key), None)


def recipe_of(scene: str) -> str:
    others = {"whole": "wide", "host": "host", "spot": "thrifty", "interrupted": "thrifty"}
    return others.get(scene, "small")


def told_as_left(ended: Ended) -> str:
    """What the bake says that clean up could not remove."""
    if ended.status == "SUCCEEDED":
        return "\n".join(ended.output["left"])
    return ended.cause.partition("Clean up could not remove, and you must:")[2]
