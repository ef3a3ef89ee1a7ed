"""EC2's Windows fast launch, in one Region."""

from botocore.exceptions import ClientError

from bakery.aws import clients
from bakery.aws.failures import translated
from bakery.fast_launch import FastLaunched
from bakery.recipe import FastLaunch

_BEGUN = {"enabling", "enabled"}


def images(*, region: str) -> tuple[FastLaunched, ...]:
    """Every image of the account that has it, in any state."""
    with translated("ec2:DescribeFastLaunchImages", region):
        pages = clients.ec2(region).get_paginator("describe_fast_launch_images").paginate()
        return tuple(
            FastLaunched(
                image=record["ImageId"],
                state=record.get("State", ""),
                reason=record.get("StateTransitionReason", ""),
            )
            for page in pages
            for record in page["FastLaunchImages"]
        )


def enable(image: str, wanted: FastLaunch, *, region: str) -> None:
    """Have EC2 begin to prepare snapshots of instances of the image; it takes about half an hour.

    With a template of its own: without one EC2 would make a VPC and more, with the caller's rights.
    """
    with translated("ec2:EnableFastLaunch", f"{image} in {region}"):
        try:
            clients.ec2(region).enable_fast_launch(
                ImageId=image,
                ResourceType="snapshot",
                SnapshotConfiguration={"TargetResourceCount": wanted.snapshots},
                LaunchTemplate={
                    "LaunchTemplateId": wanted.launch_template,
                    "Version": str(wanted.version),
                },
                MaxParallelLaunches=wanted.parallel_launches,
            )
        except ClientError:
            # The first try of the SDK may have done it, its answer was lost.
            if not any(it.image == image and it.state in _BEGUN for it in images(region=region)):
                raise


def end(image: str, *, force: bool, region: str) -> None:
    """Have EC2 begin to remove what it has prepared; ``force``: whatever errors that meets."""
    with translated("ec2:DisableFastLaunch", f"{image} in {region}"):
        clients.ec2(region).disable_fast_launch(ImageId=image, Force=force)
