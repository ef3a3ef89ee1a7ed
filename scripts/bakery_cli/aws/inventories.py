"""What is in images: the inventories that bakes have kept in the stack's bucket."""

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError  # noqa: TID251 - see scripts.bakery_cli.aws

from bakery import inventory
from bakery.inventory import Inventory, UnreadableInventoryError
from bakery.naming import TAG_RECIPE, pointer, previous_pointer
from scripts.bakery_cli.aws.failures import explained
from scripts.bakery_cli.aws.stack import Stack
from scripts.bakery_cli.errors import CommandError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_ssm import SSMClient

_GONE = {"InvalidAMIID.NotFound", "InvalidAMIID.Malformed", "InvalidAMIID.Unavailable"}


class Inventories:
    """The inventories of a stack."""

    def __init__(self, stack: Stack) -> None:
        if not stack.inventory_bucket:
            raise CommandError(
                "The deployed stack keeps no inventories.", "Deploy this release (`make deploy`)."
            )
        self._region, self._bucket = stack.region, stack.inventory_bucket
        self._s3: S3Client = stack.client("s3")
        self._ec2: EC2Client = stack.client("ec2")
        self._ssm: SSMClient = stack.client("ssm")

    def of_image(self, image_id: str) -> Inventory:
        """The inventory of an image, which need not be there any more itself."""
        with explained(self._region):
            recipe = self._recipe_of(image_id)
            key = inventory.key(recipe, image_id) if recipe else self._search(image_id)
            content = self._read(key) if key else None
        if content is None:
            raise CommandError(
                f"There is no inventory of image {image_id} in s3://{self._bucket}.",
                "Images have one where they were baked, in the stack's own Region, if the bake's "
                "report says so under `changes`.",
            )
        try:
            return inventory.unpack(content)
        except UnreadableInventoryError as error:
            raise CommandError(
                f"The inventory s3://{self._bucket}/{key} cannot be read: {error}.",
                "Delete it; the next bake of the recipe keeps one of its own image.",
            ) from error

    def current(self, recipe: str) -> str:
        """The recipe's current image."""
        return self._pointed(recipe)[0]

    def last_two(self, recipe: str) -> tuple[str, str]:
        """The recipe's previous and current image."""
        current, previous = self._pointed(recipe)
        if not previous:
            raise CommandError(
                f"Image {current} is the first of recipe '{recipe}': there is nothing to compare.",
                "Name two images, or bake again.",
            )
        return previous, current

    def _pointed(self, recipe: str) -> tuple[str, str]:
        names = [pointer(recipe), previous_pointer(recipe)]
        with explained(self._region):
            found = self._ssm.get_parameters(Names=names)["Parameters"]
        values = {parameter["Name"]: parameter["Value"] for parameter in found}
        if names[0] not in values:
            raise CommandError(
                f"Recipe '{recipe}' has no image yet, or there is no such recipe.",
                "`bakery recipes` lists them, `bakery bake NAME` makes one.",
            )
        return values[names[0]], values.get(names[1], "")

    def _recipe_of(self, image_id: str) -> str | None:
        """By the image's tag; None when the image is gone, or is not one of ours."""
        try:
            images = self._ec2.describe_images(ImageIds=[image_id])["Images"]
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                return None
            raise
        tags = (tag for image in images for tag in image.get("Tags", []))
        return next((tag["Value"] for tag in tags if tag["Key"] == TAG_RECIPE), None)

    def _search(self, image_id: str) -> str | None:
        """The key of an image whose recipe is unknown."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=inventory.PREFIX
        )
        keys = (found["Key"] for page in pages for found in page.get("Contents", []))
        return next((key for key in keys if key.endswith(f"/{image_id}.json.gz")), None)

    def _read(self, key: str) -> bytes | None:
        try:
            return self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
