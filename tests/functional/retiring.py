"""Old images of a recipe, as a test of retention wants them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bakery.naming import TAG_BAKE, TAG_RECIPE

if TYPE_CHECKING:
    from tests.functional.conftest import World

BASE = "ami-0a120230000000064"
POLICY = {"keep": 2, "grace_days": 7, "unused_days": 0}


@dataclass
class Retiring:
    """A recipe of its own for each test, with images that no bake of the test has made."""

    world: World
    recipe: str
    region: str = "eu-west-1"
    source: tuple[str, str] | None = None
    """The image that its images are like, and its Region."""
    ids: list[str] = field(default_factory=list)

    @property
    def ec2(self) -> Any:
        return self.world.aws.client("ec2", self.region)

    @property
    def ssm(self) -> Any:
        return self.world.aws.client("ssm", self.region)

    def images(self, number: int, **tags: str) -> list[str]:
        """Images of the recipe, oldest first, an hour between them; the clock goes on with them."""
        base, origin = self.source or (BASE, self.region)
        made = []
        for _ in range(number):
            given = {TAG_RECIPE: self.recipe, TAG_BAKE: f"made-{uuid.uuid4().hex[:8]}", **tags}
            pairs = [{"Key": key, "Value": value} for key, value in given.items()]
            answer = self.ec2.copy_image(
                SourceImageId=base,
                SourceRegion=origin,
                Name=f"made-{uuid.uuid4().hex}",
                TagSpecifications=[
                    {"ResourceType": kind, "Tags": pairs} for kind in ("image", "snapshot")
                ],
            )
            made.append(str(answer["ImageId"]))
            self.later(hours=1)
            self.world.aws.until(lambda: self.record(made[-1])["State"] == "available")
        self.ids += made
        return made

    def later(self, **time: int) -> None:
        self.world.aws.clock.advance(**time)

    def record(self, image: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ec2.describe_images(ImageIds=[image])["Images"][0]
        return found

    def tags(self, image: str) -> dict[str, str]:
        return {it["Key"]: it["Value"] for it in self.record(image)["Tags"]}

    def states(self) -> dict[str, str]:
        """The recipe's images that are there, with their states."""
        found = self.ec2.describe_images(
            Owners=["self"],
            IncludeDisabled=True,
            Filters=[{"Name": f"tag:{TAG_RECIPE}", "Values": [self.recipe]}],
        )
        return {it["ImageId"]: it["State"] for it in found["Images"]}

    def snapshots(self) -> list[str]:
        filters = [{"Name": f"tag:{TAG_RECIPE}", "Values": [self.recipe]}]
        found = self.ec2.describe_snapshots(OwnerIds=["self"], Filters=filters)["Snapshots"]
        return [it["SnapshotId"] for it in found]

    def point(self, name: str, image: str) -> None:
        self.ssm.put_parameter(
            Name=name, Value=image, Type="String", DataType="aws:ec2:image", Overwrite=True
        )

        def held() -> bool:
            found = self.ssm.get_parameters(Names=[name])["Parameters"]
            return bool(found) and bool(found[0]["Value"] == image)

        self.world.aws.until(held)

    def template(self, *parameters: str) -> str:
        """A launch template with a version for each parameter; the first is the default."""
        first, *others = ({"ImageId": f"resolve:ssm:{it}"} for it in parameters)
        made = self.ec2.create_launch_template(
            LaunchTemplateName=f"made-{uuid.uuid4().hex}", LaunchTemplateData=first
        )["LaunchTemplate"]["LaunchTemplateId"]
        for data in others:
            self.ec2.create_launch_template_version(LaunchTemplateId=made, LaunchTemplateData=data)
        return str(made)

    def group(self, **given: Any) -> None:
        """An Auto Scaling group, named as the recipe is if it is the first one."""
        client = self.world.aws.client("autoscaling", self.region)
        before = client.describe_auto_scaling_groups(AutoScalingGroupNames=[self.recipe])
        name = f"made-{uuid.uuid4().hex}" if before["AutoScalingGroups"] else self.recipe
        client.create_auto_scaling_group(AutoScalingGroupName=name, MinSize=0, MaxSize=0, **given)

    def run(self, *, dry_run: bool = False, **policy: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.world.invoke(
            "retire_images",
            {
                "recipe": self.recipe,
                "region": self.region,
                "retention": {**POLICY, **policy},
                "dry_run": dry_run,
                "brief": False,
            },
        )
        return answer

    def why(self, image: str, **policy: Any) -> str:
        """What is told of one image, by a dry run."""
        answer = self.run(dry_run=True, **policy)
        (told,) = [it for it in (*answer["kept"], *answer["done"]) if it.startswith(image)]
        return str(told).removeprefix(f"{image}: ")
