"""A bake taken apart: brought to the stage that a test looks at, by the deployed functions."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from bakery.naming import TAG_BAKE
from scripts.local import LocalAws

if TYPE_CHECKING:
    from tests.functional.conftest import World

NOBODY = "a-token-that-nobody-waits-for"
_BEGUN: WeakKeyDictionary[LocalAws, list["Making"]] = WeakKeyDictionary()
"""All that were begun and are not ended yet."""

NOT_YET = 3600.0
"""AWS seconds that what is pending stays pending while a test looks at it."""


@dataclass(frozen=True)
class Making:
    """One planned bake, and the payloads that the machine would give its functions."""

    world: "World"
    bake: str
    plan: Mapping[str, Any]
    steps: list[Mapping[str, Any]]
    """The commands of the recipe's steps."""

    @classmethod
    def begin(cls, world: "World", recipe: str = "small") -> "Making":
        bake = f"made-{uuid.uuid4().hex[:8]}"
        content = {"recipe": recipe, "force": True}
        event = {
            "bake": bake,
            "execution": world.execution(bake),
            "input": content,
            "entered": world.aws.clock.now().isoformat(),
        }
        plan = world.invoke("plan", event)
        steps = json.loads(world.items()[f"text#steps#{bake}"]["text"]["S"])
        making = cls(world, bake, plan, steps)
        _BEGUN.setdefault(world.aws, []).append(making)
        return making

    def ended(self) -> list[str]:
        """Clean up as the machine does when a bake has failed; what is left of it then."""
        failure = {"Error": "CustomizationFailedError", "Cause": "The test is over."}
        execution = self.world.execution(self.bake)
        plan = {**self.plan, "keep_hours": 0}
        state = {"plan": plan, "failure": failure}
        event = {"bake": self.bake, "execution": execution, "state": state}
        told = self.world.invoke("clean_up", event)["left"]
        waits = [key for key, wait in self.world.waits().items() if wait.get("bake") == self.bake]
        leases = [it for it, holder in self.world.leases().items() if holder == execution]
        return [*told, *self.world.left_behind(self.bake), *waits, *leases]

    # Payloads

    def launching(self, **changes: Any) -> dict[str, Any]:
        plan = {**self.plan, "launch": {**self.plan["launch"], **changes}}
        parts = {key: plan[key] for key in ("recipe", "base_image", "launch")}
        entered = self.world.aws.clock.now().isoformat()
        return {"bake": self.bake, "entered": entered, "planned": plan["entered"], **parts}

    def commanding(
        self, builder: str, command: Mapping[str, Any], *, index: int = 0, token: str = NOBODY
    ) -> dict[str, Any]:
        return {
            **self._waiting(token),
            "instance_id": builder,
            "command": command,
            "index": index,
        }

    def stepping(self, builder: str, index: int, *, token: str = NOBODY) -> dict[str, Any]:
        return {**self._waiting(token), "instance_id": builder, "index": index}

    def plan_steps(self, steps: Sequence[Mapping[str, Any]]) -> None:
        """Put other commands into the table than Plan did."""
        self._plan("steps", steps)

    def checks(self) -> list[Mapping[str, Any]]:
        """The commands of the tests."""
        return list(json.loads(self.world.items()[f"text#tests#{self.bake}"]["text"]["S"]))

    def plan_checks(self, checks: Sequence[Mapping[str, Any]]) -> None:
        """Put other tests into the table than Plan did."""
        self._plan("tests", checks)

    def _plan(self, kind: str, commands: Sequence[Mapping[str, Any]]) -> None:
        self.world.put_item(f"text#{kind}#{self.bake}", text=json.dumps(commands))

    def stopping(self, builder: str, *, token: str = NOBODY) -> dict[str, Any]:
        return {**self._waiting(token), "instance_id": builder}

    def imaging(self, builder: str, *, token: str = NOBODY) -> dict[str, Any]:
        parts = {key: self.plan[key] for key in ("image_name", "description", "image_tags")}
        return {**self._waiting(token), "instance_id": builder, **parts}

    def test_launching(self, number: int = 0, **changes: Any) -> dict[str, Any]:
        """Boots the base image: what is in an image is no matter to these tasks.

        It has a bake's tag then, for LaunchTest may boot no other.
        """
        tags = [{"Key": TAG_BAKE, "Value": "another"}]
        base = self.plan["base_image"]["id"]
        self.world.aws.client("ec2").create_tags(Resources=[base], Tags=tags)
        return {
            "bake": self.bake,
            "entered": self.world.aws.clock.now().isoformat(),
            "recipe": self.plan["recipe"],
            "image_id": base,
            "number": number,
            "machine": self.plan["test"]["machines"][number],
            "launch": self.plan["launch"],
            "instance_profile": self.plan["test"]["instance_profile"],
            **changes,
        }

    def test_booted(self, number: int = 0, **changes: Any) -> str:
        """A test instance, its agent online."""
        event = self.test_launching(number, **changes)
        id_ = str(self.world.invoke("launch_test", event)["instance_id"])
        self.world.aws.until(lambda: online(self.world, id_), what=f"the agent of {id_}")
        return id_

    def copying(self, image: str, region: str, *, token: str = NOBODY) -> dict[str, Any]:
        parts = {key: self.plan[key] for key in ("image_name", "description", "image_tags")}
        entered = self.world.aws.clock.now().isoformat()
        return {
            **self._waiting(token),
            "entered": entered,
            "region": region,
            "image_id": image,
            **parts,
        }

    def copied(self, image: str, region: str) -> str:
        """The copy of the image there, available."""
        self.world.invoke("copy_image", self.copying(image, region))
        (copy,) = self.world.tagged("image", self.bake, region)

        def is_available() -> bool:
            (found,) = self.world.tagged("image", self.bake, region)
            return bool(found["State"] == "available")

        self.world.aws.until(is_available, what=f"the copy in {region}")
        return str(copy["ImageId"])

    def _waiting(self, token: str) -> dict[str, Any]:
        return {"token": token, "bake": self.bake, "recipe": self.plan["recipe"]}

    # Stages

    def launched(self) -> str:
        """The builder, running."""
        id_ = str(self.world.invoke("launch_builder", self.launching())["instance_id"])
        self._until(id_, "running")
        return id_

    def managed(self) -> str:
        """The builder, its agent online."""
        id_ = self.launched()
        self.world.aws.until(lambda: online(self.world, id_), what=f"the agent of {id_}")
        return id_

    def stopped(self) -> str:
        """The builder, stopped."""
        id_ = self.launched()
        self.world.aws.client("ec2").stop_instances(InstanceIds=[id_])
        self._until(id_, "stopped")
        return id_

    def imaged(self) -> str:
        """The image, available; its builder stays stopped."""
        self.world.invoke("create_image", self.imaging(self.stopped()))
        (image,) = self.world.tagged("image", self.bake)
        self.world.aws.until(lambda: self._image_state() == ["available"], what="the image")
        return str(image["ImageId"])

    # Looking

    def instances(self) -> list[str]:
        """Ids of the bake's instances, whatever their state."""
        return [instance["InstanceId"] for instance in self.world.tagged("instance", self.bake)]

    def images(self) -> list[str]:
        return [image["ImageId"] for image in self.world.tagged("image", self.bake)]

    def tag(self, resource: str) -> None:
        """Let it be the bake's once more, of which clean up can know."""
        tags = [{"Key": TAG_BAKE, "Value": self.bake}]
        self.world.aws.client("ec2").create_tags(Resources=[resource], Tags=tags)

    def _image_state(self) -> list[str]:
        return [image["State"] for image in self.world.tagged("image", self.bake)]

    def _until(self, builder: str, wanted: str) -> None:
        self.world.aws.until(
            lambda: state(self.world, builder) == wanted, what=f"{builder} to be {wanted}"
        )


def begun(aws: LocalAws) -> int:
    """How many bakes were begun here and are not ended."""
    return len(_BEGUN.get(aws, []))


def end_all(aws: LocalAws, *, but: int = 0) -> list[str]:
    """End all bakes but the first so many; what is left of them."""
    makings = _BEGUN.get(aws, [])
    return [left for _ in range(len(makings) - but) for left in makings.pop().ended()]


def state(world: "World", instance_id: str) -> str:
    """The state of an instance, as EC2 describes it."""
    found = world.aws.client("ec2").describe_instances(InstanceIds=[instance_id])["Reservations"]
    return str(found[0]["Instances"][0]["State"]["Name"])


def online(world: "World", instance_id: str) -> bool:
    """Whether the instance reports to Systems Manager."""
    found = world.aws.client("ssm").describe_instance_information(
        Filters=[{"Key": "InstanceIds", "Values": [instance_id]}]
    )["InstanceInformationList"]
    return bool(found) and found[0]["PingStatus"] == "Online"


def forget_tag(world: "World", resource: str) -> None:
    """Hide what a bake made from those that look for its tag, as EC2 does for a while."""
    world.aws.client("ec2").delete_tags(Resources=[resource], Tags=[{"Key": TAG_BAKE}])


def resumed(world: "World", token: str = NOBODY) -> list[dict[str, Any]]:
    """What was sent back for a token, oldest first: whether it was accepted or not."""
    return [
        {key: value for key, value in call.parameters.items() if key != "taskToken"}
        for call in world.aws.calls.of("stepfunctions")
        if call.operation in ("SendTaskSuccess", "SendTaskFailure")
        and call.parameters["taskToken"] == token
    ]
