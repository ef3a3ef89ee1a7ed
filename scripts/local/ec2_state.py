"""What one Region's EC2 holds, and the knobs of all of them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scripts.local.errors import AwsError
from scripts.local.iam import ACCOUNT

if TYPE_CHECKING:
    from scripts.local.clock import Clock, Timer, Timers
    from scripts.local.records import Record

Emit = Callable[[str, str, str, list[str], dict[str, Any]], object]
NEVER = math.inf


@dataclass
class Durations:
    """AWS seconds that things take. `NEVER` makes them stuck."""

    pending: float = 5
    stopping: float = 20
    shutting_down: float = 10
    image: float = 120
    copy: float = 180
    agent_online: float = 30
    agent_online_windows: float = 120
    agent_lost: float = 10
    sysprep: float = 300
    fast_launch: float = 1200


@dataclass
class Capacity:
    """A shortage: instance types and subnets or zones that have no room."""

    instance_type: str | None
    subnet: str | None
    zone: str | None
    times: float
    code: str
    market: str | None = None

    def hits(self, type_: str, subnet: str, zone: str, market: str) -> bool:
        if self.times <= 0:
            return False
        wanted = (
            (self.instance_type, type_),
            (self.subnet, subnet),
            (self.zone, zone),
            (self.market, market),
        )
        return all(want is None or want == have for want, have in wanted)


@dataclass
class Region:
    """Records by id. `internal` holds what the API does not show."""

    name: str
    instances: dict[str, Record] = field(default_factory=dict)
    reservations: dict[str, str] = field(default_factory=dict)
    images: dict[str, Record] = field(default_factory=dict)
    snapshots: dict[str, Record] = field(default_factory=dict)
    volumes: dict[str, Record] = field(default_factory=dict)
    spot_requests: dict[str, Record] = field(default_factory=dict)
    templates: dict[str, Record] = field(default_factory=dict)
    gone_images: set[str] = field(default_factory=set)
    reports: dict[str, Record] = field(default_factory=dict)
    fast_launches: dict[str, Record] = field(default_factory=dict)
    tokens: dict[tuple[str, str], tuple[str, Any]] = field(default_factory=dict)
    internal: dict[str, dict[str, Any]] = field(default_factory=dict)
    addresses: int = 10

    def hidden(self, id_: str) -> dict[str, Any]:
        return self.internal.setdefault(id_, {})


@dataclass
class State:
    """Shared by the parts of EC2: Regions, clock, events, and what shall go wrong next."""

    clock: Clock
    timers: Timers
    emit: Emit
    durations: Durations = field(default_factory=Durations)
    shortages: list[Capacity] = field(default_factory=list)
    failing_images: list[str] = field(default_factory=list)
    failing_copies: dict[str, list[str]] = field(default_factory=dict)
    next_instances: list[str] = field(default_factory=list)
    """Ids that the next instances have."""
    failing_instances: list[tuple[str, str]] = field(default_factory=list)
    lags: dict[str, int] = field(default_factory=dict)
    lag_of_new: dict[str, int] = field(default_factory=dict)
    consoles: dict[str, str] = field(default_factory=dict)
    regions: dict[str, Region] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    instance_listeners: list[Callable[[str, Record, str], None]] = field(default_factory=list)

    def region(self, name: str) -> Region:
        with self.lock:
            if name not in self.regions:
                self.regions[name] = Region(name)
                self.populate(self.regions[name])
            return self.regions[name]

    def parameter(self, name: str, region: str) -> str | None:
        """The value of a parameter; replaced by those that have them."""

    def populate(self, region: Region) -> None:
        """Replaced by the catalog's loader."""

    def after(self, seconds: float, callback: Callable[[], None], label: str) -> Timer | None:
        if seconds == NEVER:
            return None

        def locked() -> None:
            with self.lock:
                callback()

        return self.timers.after(seconds, locked, label)

    def born(self, kind: str, id_: str) -> None:
        """A new id may be invisible for the first reads, as the lag knob says."""
        if self.lag_of_new.get(kind):
            self.lags[id_] = self.lag_of_new[kind]

    def visible(self, id_: str) -> bool:
        if self.lags.get(id_, 0) > 0:
            self.lags[id_] -= 1
            return False
        return True


def arn(region: str, kind: str, id_: str) -> str:
    owner = "" if kind in ("image", "snapshot") else ACCOUNT
    return f"arn:aws:ec2:{region}:{owner}:{kind}/{id_}"


def check_dry_run(parameters: dict[str, Any]) -> None:
    if parameters.get("DryRun"):
        raise AwsError(
            "DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412
        )
