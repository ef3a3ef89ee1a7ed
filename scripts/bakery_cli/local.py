"""The local AWS behind the same door: synthesize the real stack, deploy it, hand over a target."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from bakery.recipe import Recipe, RecipeBase
from infra.loading import load_recipes
from scripts.bakery_cli.aws.stack import Stack
from scripts.bakery_cli.errors import CommandError
from scripts.bakery_cli.synthesis import synthesize
from scripts.bakery_cli.target import Options, Target
from scripts.local import LocalAws, LocalAwsError
from scripts.local.aws import DEFAULT_REGION
from scripts.local.machines import CheckOnly, Machine, Machines
from scripts.local.roots import SandboxUnavailableError
from scripts.local.runner import Host
from scripts.local.sandbox import SandboxFleet

SCALE = 60.0
SANDBOX_SCALE = 10.0
_POLL_SECONDS = 0.2

Say = Callable[[str], None]


@contextmanager
def local_target(options: Options, say: Say) -> Iterator[Target]:
    """Deploy the stack to a new local AWS, which ends with the context."""
    recipes = load_recipes(options.recipes)
    assembly = synthesize(options.recipes, say)
    try:
        with ExitStack() as ending:
            ending.enter_context(_no_aws_settings())
            machines, scale = _machines(options, ending)
            region = options.region or DEFAULT_REGION
            aws = ending.enter_context(
                LocalAws.start(assembly, scale=scale, region=region, machines=machines)
            )
            aws.deploy()
            os.environ.update(aws.environment)
            say(_what_is_special(options, scale))
            stack = Stack()
            yield Target(
                stack=stack,
                now=aws.clock.now,
                poll_seconds=_POLL_SECONDS,
                outlives_command=False,
                bases_to_bake=lambda name: bases_to_bake(name, recipes, stack.current_images),
            )
    except (LocalAwsError, SandboxUnavailableError) as error:
        raise CommandError(f"The local AWS cannot do this: {error}") from error


def _machines(options: Options, ending: ExitStack) -> tuple[Machines, float]:
    """What runs the scripts, and how fast time may run: a real script takes its real time."""
    if not options.sandbox:
        return CheckOnly(), SCALE
    sandboxes = _Sandboxes()
    ending.callback(sandboxes.close)
    return sandboxes, SANDBOX_SCALE


@contextmanager
def _no_aws_settings() -> Iterator[None]:
    """Hide the user's own AWS settings and proxies: nothing of this may reach a real account."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _what_is_special(options: Options, scale: float) -> str:
    scripts = (
        "scripts run for real, in a booted root file system of this machine"
        if options.sandbox
        else "scripts are checked but NOT executed (--sandbox runs them)"
    )
    return f"Local AWS, no account, no costs: time runs {scale:.0f} times faster; {scripts}."


def bases_to_bake(
    name: str, recipes: dict[str, Recipe], current: Callable[[list[str]], dict[str, str]]
) -> list[str]:
    """The recipes that ``name`` builds on and that have no image yet, the lowest first."""
    chain: list[str] = []
    recipe = recipes.get(name)
    while recipe and isinstance(recipe.base, RecipeBase):
        chain.insert(0, recipe.base.recipe)
        recipe = recipes.get(recipe.base.recipe)
    there = current(chain) if chain else {}
    return [base for base in chain if base not in there]


class _Sandboxes:
    """A booted root file system for each instance."""

    def __init__(self) -> None:
        self._fleet = SandboxFleet()

    def host(self, machine: Machine) -> Host:
        # Amazon Linux 1 is the one system of the catalog that systemd does not run.
        old = str(machine.system.get("PlatformVersion", "")).startswith("2018.")
        return self._fleet.host(machine.instance_id, "sysvinit" if old else "debian")

    def gone(self, instance_id: str) -> None:
        self._fleet.close(instance_id)

    def close(self) -> None:
        self._fleet.close_all()
