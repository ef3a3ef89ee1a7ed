"""How the parts that grow with an account grow: each measured small and large, side by side.

    make bench

Machines are noisy, so what counts is the ratio, of the fastest of several rounds that take turns.
A part that takes ten times as long for ten times the content is as it should be.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table

from bakery import retention
from bakery.inventory import Inventory, Package, Source, System, difference
from bakery.recipe import Retention
from scripts.bakery_cli.sbom import cyclonedx

ROUNDS = 5
NOW = datetime(2026, 1, 31, tzinfo=UTC)


@dataclass(frozen=True)
class Pair:
    """One thing done with little and with much."""

    what: str
    times: float
    """How much more is done."""
    small: Callable[[], object]
    large: Callable[[], object]

    def seconds(self) -> tuple[float, float]:
        """The fastest of both, in rounds that take turns."""
        rounds = [(_timed(self.small), _timed(self.large)) for _ in range(ROUNDS)]
        return min(it[0] for it in rounds), min(it[1] for it in rounds)


def _timed(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def inventory(count: int, release: str) -> Inventory:
    packages = tuple(
        Package(
            kind="rpm",
            name=f"package-{number}",
            version=f"1.{number}-{release}",
            architecture="x86_64",
        )
        for number in range(count)
    )
    return Inventory(
        recipe="web",
        bake="b",
        region="eu-west-1",
        image_id="ami-0123456789abcdef0",
        image_name="web-1",
        created="2026-01-31T03:00:00Z",
        size_gib=8,
        base_image=Source(id="ami-0123456789abcdef1"),
        system=System(id="amzn", version="2023"),
        packages=packages,
    )


def decided(count: int) -> Callable[[], object]:
    images = tuple(
        retention.OldImage(f"ami-{number:017x}", NOW - timedelta(days=number), "available")
        for number in range(count)
    )
    seen = retention.Seen(images, {}, evidence={it.id: retention.Evidence() for it in images})
    return lambda: retention.decide(seen, Retention(keep=5), now=NOW)


def compared(count: int) -> Callable[[], object]:
    old, new = inventory(count, "1").packages, inventory(count, "2").packages
    return lambda: difference(old, new)


def exported(count: int) -> Callable[[], object]:
    whole = inventory(count, "1")
    return lambda: cyclonedx(whole)


PAIRS = (
    Pair("retention, 1,000 images against 100", 10, decided(100), decided(1_000)),
    Pair("difference, 5,000 packages against 500", 10, compared(500), compared(5_000)),
    Pair("SBOM, 1,000 packages against 100", 10, exported(100), exported(1_000)),
)


def main() -> int:
    table = Table("measured", "more", "small (ms)", "large (ms)", "ratio")
    for pair in PAIRS:
        small, large = pair.seconds()
        figures = f"{small * 1000:.1f}", f"{large * 1000:.1f}", f"{large / small:.1f}"
        table.add_row(pair.what, f"{pair.times:g} x", *figures)
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
