"""The local AWS behind the same door: synthesize the real stack, deploy it, hand over a target."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from bakery.recipe import InstanceBase, Recipe, RecipeBase
from infra.loading import load_recipes
from scripts.bakery_cli.aws.stack import Stack
from scripts.bakery_cli.errors import CommandError
from scripts.bakery_cli.synthesis import synthesize
from scripts.bakery_cli.target import Options, Target
from scripts.local import LocalAws, LocalAwsError, estate
from scripts.local.aws import DEFAULT_REGION
from scripts.local.machines import WindowsCheckedOnly
from scripts.local.objects import fill
from scripts.local.roots import SandboxUnavailableError
from scripts.local.sandbox_machines import SandboxMachines

SCALE = 60.0
_POLL_SECONDS = 0.2

Say = Callable[[str], None]


@contextmanager
def local_target(options: Options, say: Say) -> Iterator[Target]:
    """Deploy the stack to a new local AWS, which ends with the context."""
    recipes = load_recipes(options.recipes)
    clones = any(isinstance(recipe.base, InstanceBase) for recipe in recipes.values())
    assembly = synthesize(options.recipes, say, choices=estate.CONTEXT if clones else None)
    try:
        with ExitStack() as ending:
            sandbox = ending.enter_context(SandboxMachines()) if options.sandbox else None
            machines = WindowsCheckedOnly(sandbox) if sandbox else None
            region = options.region or DEFAULT_REGION
            aws = ending.enter_context(
                LocalAws.start(assembly, scale=SCALE, region=region, machines=machines)
            )
            if options.objects:
                fill(aws.client("s3"), options.objects, region)
            if clones:
                estate.network(aws)
            aws.deploy()
            if options.hosts or clones:
                say(f"Instances here: {', '.join(estate.launch(aws))}")
            os.environ.update(aws.environment)
            say(what_is_special(options))
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


def what_is_special(options: Options) -> str:
    """What somebody must know who looks at this AWS as if it were the real one."""
    about = f"Local AWS, no account, no costs: time runs {SCALE:.0f} times faster"
    if not options.sandbox:
        return f"{about}; scripts are checked but NOT executed (--sandbox runs them)."
    return (
        f"{about}, but at its real pace while scripts run; they run for real, in a booted Debian "
        "of this machine, which has no dnf and no yum. PowerShell is checked but NOT executed."
    )


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
