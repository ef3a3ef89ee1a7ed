"""The deployment's choices, from ``cdk.json`` or ``cdk -c key=value``: the only reader of them."""

import json
from typing import Annotated, Any

from constructs import Node
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bakery.recipe import InstanceType


class ContextError(Exception):
    """A context value cannot be used; the message names it."""


def _listed(value: object) -> object:
    """``-c`` gives texts: a list is written as JSON or with commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


class Settings(BaseModel):
    """Every context key that the product reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipes: str = Field(default="recipes", description="Folder with the recipes.")
    vpc_id: str | None = Field(
        default=None, pattern=r"^vpc-[0-9a-f]{8,17}$", description="Default: the default VPC."
    )
    subnet_ids: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        default=(), description="Subnets for builders, in order; default: the default VPC's."
    )
    instance_types: Annotated[tuple[InstanceType, ...], BeforeValidator(_listed)] = Field(
        default=("t3.medium", "t3a.medium", "m6i.large"),
        min_length=1,
        description="Types for recipes that name none, in the order to try.",
    )
    kms_key: str = Field(
        default="", description="Key of the builders' volumes; default: the account's EBS key."
    )
    log_retention_days: int = Field(default=90, description="How long logs are kept.")
    notification_email: str | None = Field(
        default=None, pattern=r"^[^@\s]+@[^@\s]+$", description="Who is told when a bake fails."
    )

    @classmethod
    def from_context(cls, node: Node) -> "Settings":
        """The settings of this synthesis; raises ContextError naming every bad key."""
        given: dict[str, Any] = {
            name: value
            for name in cls.model_fields
            if (value := node.try_get_context(name)) is not None
        }
        try:
            return cls.model_validate(given)
        except (ValidationError, ValueError) as error:
            raise ContextError(f"context (cdk.json or -c): {_readable(error)}") from None


def _readable(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors()
    )
