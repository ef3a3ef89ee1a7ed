"""What must hold after every bake, whatever went wrong in it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from bakery import errors
from bakery.errors import BakeryError
from bakery.naming import TAG_BAKE
from scripts.local.faults import Fault
from tests.functional.conftest import Ended, World

OWN_ERRORS = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, BakeryError)
}


@dataclass(frozen=True)
class Point:
    """One call of one function: the ``occurrence``-th of its operation in a bake."""

    role: str
    service: str
    operation: str
    occurrence: int

    def __str__(self) -> str:
        return f"{self.role} {self.service}:{self.operation} #{self.occurrence}"


@dataclass
class Watched:
    """Bakes recipe small again and again, and looks at the account after each bake."""

    world: World
    violations: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, world: World) -> "Watched":
        if world.pointer("small") is None:
            assert world.bake("small").status == "SUCCEEDED"
        return cls(world)

    def points(self, role: str) -> list[Point]:
        """Every call that the function makes in a bake that goes well."""
        self.world.aws.calls.clear()
        assert self.world.bake("small", force=True).status == "SUCCEEDED"
        self.settled()
        seen: Counter[tuple[str, str]] = Counter()
        found = []
        for call in self.world.aws.calls.of(role=role):
            key = (call.service, call.operation)
            found.append(Point(role, *key, seen[key]))
            seen[key] += 1
        return found

    def bake(self, label: str, *faults: Fault, told: int = 1) -> Ended:
        """Bake under faults; note every invariant that does not hold afterwards.

        ``told`` is how often the end may be announced.
        """
        world = self.world
        world.aws.calls.clear()
        world.aws.events.recorded.clear()
        before = world.pointer("small"), world.previous("small")
        ended = world.bake("small", force=True, seconds=120)
        for fault in faults:
            fault.times = 0
        self.settled(ended)
        self.violations += [f"{label}: {text}" for text in self._broken(ended, before, told)]
        return ended

    def settled(self, ended: Ended | None = None) -> None:
        """One period of the janitor later; what is told is told."""
        world = self.world
        world.aws.until(lambda: world.aws.lambdas.idle, what="the end of all functions")
        world.aws.clock.advance(minutes=16)
        if ended is not None:
            world.aws.until(lambda: self._announced(ended.name), what="the announcement")
        world.invoke("remove_orphans", {})

    def _announced(self, bake: str) -> list[str]:
        return [
            event["detail-type"]
            for event in self.world.aws.events.recorded
            if event["source"] == "ami-bakery" and event["detail"].get("bake") == bake
        ]

    def _broken(
        self, ended: Ended, before: tuple[str | None, str | None], told: int
    ) -> Iterator[str]:
        world = self.world
        pointed = world.pointer("small"), world.previous("small")
        if ended.status == "SUCCEEDED":
            if pointed != (ended.output["image"]["id"], before[0]):
                yield f"the pointer is {pointed} after {ended.output['image']['id']}"
        elif pointed != before:
            yield f"the pointer moved from {before} to {pointed} though the bake {ended.status}"
        if ended.status == "FAILED" and ended.error not in OWN_ERRORS:
            yield f"unclassified error {ended.error}: {ended.cause}"
        (image,) = world.aws.client("ec2").describe_images(ImageIds=[str(pointed[0])])["Images"]
        if image["State"] != "available":
            yield f"the pointer's image is {image['State']}"
        if left := world.left_behind(ended.name):
            yield f"left behind: {left}"
        if leases := world.leases():
            yield f"leases: {leases}"
        if waits := world.open_waits():
            yield f"waits: {waits}"
        yield from self._twice(ended.name)
        announced = self._announced(ended.name)
        expected = "Bake Succeeded" if ended.status == "SUCCEEDED" else "Bake Failed"
        if set(announced) != {expected} or len(announced) > told:
            yield f"announced as {announced}"

    def _twice(self, bake: str) -> Iterator[str]:
        """What was made more than once."""
        world = self.world
        if len(world.tagged("instance", bake)) > 1:
            yield "more than one builder"
        made = [
            call
            for call in world.calls("CreateImage")
            if {"Key": TAG_BAKE, "Value": bake} in call["TagSpecifications"][0]["Tags"]
        ]
        if len(made) > 1:
            yield f"{len(made)} images"
        sent = Counter(call["Comment"] for call in world.calls("SendCommand"))
        yield from (f"{comment} ran {n} times" for comment, n in sent.items() if n > 1)
