"""Which AWS a command talks to, and what is different about it; the rest does not ask."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from scripts.bakery_cli.aws.stack import Stack
from scripts.bakery_cli.isolation import no_aws_settings


@dataclass(frozen=True)
class Options:
    """What stands before the command."""

    local: bool = False
    sandbox: bool = False
    region: str | None = None
    profile: str | None = None
    recipes: Path = Path("recipes")
    debug: bool = False
    objects: Path | None = None
    hosts: bool = False
    """Whether the command is about instances that run already; the local AWS begins without."""


@dataclass(frozen=True)
class Target:
    """A deployed stack, and how to watch it."""

    stack: Stack
    now: Callable[[], datetime]
    """The clock that its time stamps are of."""
    poll_seconds: float
    outlives_command: bool
    """Whether a bake goes on when the command ends."""
    bases_to_bake: Callable[[str], list[str]]
    """Recipes to bake before this one, the first first."""


@contextmanager
def connect(options: Options, say: Callable[[str], None]) -> Iterator[Target]:
    """The target that the options name; ``say`` is told what is special about it."""
    if options.local:
        with no_aws_settings():
            # Only here: it brings moto, and seconds of imports.
            from scripts.bakery_cli.local import local_target

            with local_target(options, say) as target:
                yield target
        return
    yield Target(
        stack=Stack(region=options.region, profile=options.profile),
        now=lambda: datetime.now(UTC),
        poll_seconds=2.0,
        outlives_command=True,
        bases_to_bake=lambda _: [],
    )
