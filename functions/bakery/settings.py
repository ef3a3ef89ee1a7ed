"""What a function reads from its environment: one frozen model each.

A field ``subnet_ids`` is the variable ``SUBNET_IDS``, as JSON unless it is a text. ``infra/``
produces the variables from the same models, so a renamed field cannot go unnoticed.
"""

import json
import os
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError


class SettingsError(Exception):
    """The function was deployed without a variable that it needs, or with a wrong one."""


class Settings(BaseModel):
    """Base of all settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def load(cls) -> Self:
        """The settings of this environment; raises SettingsError naming the variable."""
        values: dict[str, object] = {}
        for name, info in cls.model_fields.items():
            text = os.environ.get(name.upper())
            if text is None:
                raise SettingsError(f"environment variable {name.upper()} is missing; deploy again")
            try:
                values[name] = text if info.annotation is str else json.loads(text)
            except ValueError:
                raise SettingsError(f"environment variable {name.upper()} is no JSON") from None
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            wrong = "; ".join(
                f"environment variable {str(detail['loc'][0]).upper()}: {detail['msg']}"
                for detail in error.errors()
            )
            raise SettingsError(wrong) from None

    def to_environment(self) -> dict[str, str]:
        """The variables that ``load`` turns into these settings."""
        return {
            name.upper(): value if isinstance(value, str) else json.dumps(value)
            for name, value in self.model_dump(mode="json").items()
        }


class PlanSettings(Settings):
    """Plan: what the deployment offers to every recipe."""

    table: str
    machine: str
    """ARN of the bake's state machine."""
    default_instance_types: tuple[str, ...]
    subnet_ids: tuple[str, ...]
    """Empty: the default VPC's."""
    default_instance_profile: str
    """For recipes without one of their own, which would be a parameter."""
    test_instance_profile: str
    account: str
    """The stack's."""
    base_owners: tuple[str, ...]
    """Whose images may be bases; empty: anybody's."""
    isolated: bool
    """Whether there is a security group for clones of running hosts."""
    tags: dict[str, str]
    """What all that is created gets, beside the bakery's own."""


class LaunchSettings(Settings):
    """LaunchBuilder: what surrounds every builder."""

    table: str
    security_group: str
    isolated_group: str
    """For clones of running hosts; empty: there is none, and nothing is cloned."""
    kms_key: str
    """Key of the builder's volumes; empty: the account's default key."""


class CommandSettings(Settings):
    """Tasks that send a command."""

    table: str
    command_log_group: str


class WaitSettings(Settings):
    """Tasks and jobs that begin or resume waits."""

    table: str


class CleanUpSettings(Settings):
    """CleanUp: where the recipe's lease is."""

    table: str


class ReplaceSettings(Settings):
    """ReplaceBuilder: where waits are."""

    table: str


class FailSettings(Settings):
    """FailBake: where leases and holds are."""

    table: str


class JanitorSettings(Settings):
    """The job that removes what bakes left behind."""

    table: str
    machine: str
    """ARN of the bake's state machine."""
    report_only: bool
    most: int
    """How much one run may remove."""
    regions: tuple[str, ...]
    """Those that recipes give their images to."""


class RetireSettings(Settings):
    """The job that lets old images go every day."""

    table: str
    """Where leases are."""
    function: str
    """ARN of RetireImages."""


class MoveSettings(Settings):
    """The job that rolls back and promotes: where leases and its own notes are."""

    table: str


class InventorySettings(Settings):
    """RecordInventory: where the list of packages comes from, and where inventories are kept."""

    command_log_group: str
    inventory_bucket: str


class DependentsSettings(Settings):
    """The job that bakes what builds on a new image."""

    machine: str
    """ARN of the bake's state machine."""


class AnnounceSettings(Settings):
    """The job that tells others how a bake ended."""

    table: str
