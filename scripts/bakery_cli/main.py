"""The command line ``bakery``."""

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from bakery import VERSION, formats
from bakery.recipe import WhenBusy
from infra.loading import FilesError, load_recipes, recipe_files
from scripts.bakery_cli import adopt as adoption
from scripts.bakery_cli import bake as bakes
from scripts.bakery_cli import check as checks
from scripts.bakery_cli import diff as diffs
from scripts.bakery_cli import fleet, inspect_host, listing
from scripts.bakery_cli import move as moves
from scripts.bakery_cli import plan as plans
from scripts.bakery_cli import retire as retirement
from scripts.bakery_cli import use as uses
from scripts.bakery_cli.arguments import hoisted
from scripts.bakery_cli.aws.conversion import Conversion, Wanted
from scripts.bakery_cli.aws.hosts import Hosts
from scripts.bakery_cli.aws.inventories import Inventories
from scripts.bakery_cli.aws.stack import PlanRefusedError, Stack
from scripts.bakery_cli.errors import FAILED, INTERRUPTED, UNUSABLE, CommandError
from scripts.bakery_cli.host import HostReport, Instance
from scripts.bakery_cli.screen import complain, console, line
from scripts.bakery_cli.synthesis import recipes_folder
from scripts.bakery_cli.target import Options, Target, connect

DOCUMENTS = Path("documents")
_TOGETHER = (
    "        All recipes of a folder are deployed together: one that is wrong keeps all from use.\n"
    "        Mend it, or move it out of the folder; `bakery check` shows all problems."
)

app = typer.Typer(
    name="bakery",
    help="Golden images that bake themselves: bake, watch, check and plan them.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a recipe.")]
Force = Annotated[bool, typer.Option("--force", help="Bake even if nothing has changed.")]
InstanceId = Annotated[str, typer.Argument(metavar="INSTANCE", help="Its id, i-...")]
Secrets = Annotated[
    bool,
    typer.Option(help="Search its files for secrets: reads all small files of /home, /srv, ..."),
]


@app.callback()
def options(
    context: typer.Context,
    local: Annotated[bool, typer.Option("--local", help="Use the local AWS: no account.")] = False,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="With --local: run scripts for real (Linux, root).")
    ] = False,
    region: Annotated[str | None, typer.Option(help="AWS Region of the stack.")] = None,
    profile: Annotated[str | None, typer.Option(help="Profile of your AWS configuration.")] = None,
    recipes: Annotated[
        Path | None,
        typer.Option(help="Folder with the recipes; default: context `recipes` of cdk.json."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show traces of errors.")] = False,
    objects: Annotated[
        Path | None,
        typer.Option(
            help="With --local: what S3 holds, FOLDER/<bucket>/<key>.",
            metavar="FOLDER",
            exists=True,
            file_okay=False,
        ),
    ] = None,
) -> None:
    """Options that stand before or after the command."""
    if sandbox and not local:
        raise CommandError(
            "--sandbox runs scripts on the local AWS only.", "Say --local --sandbox."
        )
    if objects and not local:
        raise CommandError("--objects fills the S3 of the local AWS only.", "Say --local.")
    if local and profile:
        raise CommandError("--local uses no account, so no --profile.", "Leave one of them out.")
    folder = recipes or recipes_folder()
    context.obj = Options(local, sandbox, region, profile, folder, debug, objects)


@app.command()
def bake(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Name of a recipe.", show_default=False)
    ] = None,
    all_recipes: Annotated[
        bool,
        typer.Option("--all", help="Bake every recipe that needs it, bases first; no NAME."),
    ] = False,
    force: Force = False,
    keep: Annotated[
        bool, typer.Option("--keep-on-failure", help="Keep the builder of a bake that fails.")
    ] = False,
    when_busy: Annotated[
        WhenBusy | None,
        typer.Option(
            help="If the recipe is being baked: wait and plan anew, wait and end with that image, "
            "or fail; default: as the recipe says.",
        ),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Start it and return.")] = False,
    execution_name: Annotated[
        str | None, typer.Option(help="Name of the execution; default: recipe and time.")
    ] = None,
) -> None:
    """Bake an image of recipe NAME, or of all recipes, and watch it.

    Ctrl-C ends the watching, not the bake (with --local it ends both); `bakery follow` comes back.
    """
    chosen: Options = context.obj
    if chosen.local and detach:
        raise CommandError(
            "The local AWS ends with this command, so a bake cannot be left to it.",
            "Leave out --detach or --local.",
        )
    screen = console()
    if all_recipes:
        if name or keep or when_busy or execution_name:
            raise CommandError("--all takes only --force and --detach.", "Leave out the others.")
        with connect(chosen, lambda text: line(screen, text)) as target:
            raise typer.Exit(fleet.bake_all(screen, target, force=force, detach=detach))
    if name is None:
        raise CommandError("Which recipe?", "Say a NAME, or --all; `bakery recipes` lists them.")
    if chosen.local:
        checks.known_names([name], chosen.recipes)
    wanted: dict[str, object] = {"force": True} if force else {}
    if keep:
        wanted["on_failure"] = "keep"
    if when_busy:
        wanted["when_busy"] = when_busy
    with connect(chosen, lambda text: line(screen, text)) as target:
        code = bakes.bake(screen, target, name, options=wanted, detach=detach, name=execution_name)
    raise typer.Exit(code)


@app.command()
def follow(
    context: typer.Context,
    execution: Annotated[str, typer.Argument(metavar="EXECUTION", help="Its name or ARN.")],
) -> None:
    """Watch a bake that is under way, or see how one ended."""
    chosen: Options = context.obj
    if chosen.local:
        raise CommandError(
            "The local AWS ends with the command that began it: there is nothing to follow.",
            "`bakery --local bake NAME` shows a bake as it goes.",
        )
    screen = console()
    with connect(chosen, lambda text: line(screen, text)) as target:
        arn = target.stack.execution_arn(execution)
        found = target.stack.execution(arn)
        line(screen, f"Bake of {found.recipe}, execution {found.name}", style="bold")
        code = bakes.watch(screen, target, arn)
    raise typer.Exit(code)


@app.command()
def retry(
    context: typer.Context,
    execution: Annotated[str, typer.Argument(metavar="EXECUTION", help="Its name or ARN.")],
) -> None:
    """Go on with a failed bake from the stage that failed.

    That is possible if it failed after verification. What the stage needs must still be there: say
    --keep-on-failure, or on_failure: keep.
    """
    chosen: Options = context.obj
    if chosen.local:
        raise CommandError(
            "The local AWS ends with the command that began it: there is nothing to go on with.",
            "Leave out --local.",
        )
    screen = console()
    with connect(chosen, lambda text: line(screen, text)) as target:
        code = bakes.retry(screen, target, target.stack.execution_arn(execution))
    raise typer.Exit(code)


@app.command()
def check(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", show_default=False)
    ] = None,
) -> None:
    """Report all problems of recipes and documents.

    Without names: of all recipes. It does not talk to AWS.
    """
    chosen: Options = context.obj
    raise typer.Exit(
        checks.check(console(), names or [], recipes=chosen.recipes, documents=DOCUMENTS)
    )


@app.command()
def plan(context: typer.Context, name: Name, force: Force = False) -> None:
    """Show what a bake of NAME would do, and why.

    Nothing is created; only with --local, recipes that NAME builds on are baked first, because the
    local AWS begins without images.
    """
    chosen: Options = context.obj
    if chosen.local:
        checks.known_names([name], chosen.recipes)
    screen = console()
    with connect(chosen, lambda text: line(screen, text)) as target:
        if code := bakes.bake_bases(screen, target, name, silent=True):
            raise typer.Exit(code)
        line(screen)
        try:
            plans.show(screen, target.stack.plan(name, force=force))
        except PlanRefusedError as error:
            raise typer.Exit(plans.show_refusal(screen, name, error)) from error


@app.command()
def inspect(
    context: typer.Context,
    instance: InstanceId,
    as_json: Annotated[bool, typer.Option("--json", help="For a program.")] = False,
    secrets: Secrets = True,
) -> None:
    """Show a running instance, and what a bake of it would do.

    Of INSTANCE, which must be managed by Systems Manager: its system, what OpsWorks has left, what
    the bake would remove, what its owner must decide. Nothing on the instance is changed: it runs
    one of our own documents, which only reads.
    """
    with _looking(context.obj, instance, secrets=secrets, aside=as_json) as (_, host, found):
        if as_json:
            typer.echo(inspect_host.as_json(host, found))
        else:
            inspect_host.show(console(), host, found)


@app.command()
def adopt(context: typer.Context, instance: InstanceId, secrets: Secrets = True) -> None:
    """Print a first recipe for a running instance.

    It bakes from INSTANCE without changing it; comments explain the choices. For a file:
    `bakery adopt INSTANCE > recipes/NAME.yaml`.
    """
    with _looking(context.obj, instance, secrets=secrets, aside=True) as (target, host, found):
        typer.echo(adoption.recipe(host, found, today=target.now().date()), nl=False)


@app.command()
def convert(
    context: typer.Context,
    instance: InstanceId,
    name: Annotated[
        str, typer.Option(help="Name of the image; default: INSTANCE-ebs.", show_default=False)
    ] = "",
    size: Annotated[
        int, typer.Option(help="GiB of its volume; the root of a bundle has 10 at most.", min=1)
    ] = 16,
) -> None:
    """Make an EBS-backed image of an instance store root.

    That of INSTANCE, which keeps running and copies it to a volume of yours: it must be managed by
    Systems Manager. The image is no golden one, for it has the instance's identity: it is the base
    of a recipe, which takes that off.
    """
    chosen: Options = replace(context.obj, hosts=True)
    screen = console()

    def say(text: str) -> None:
        line(screen, text)

    with _on_instance(chosen, instance, say) as (target, hosts, found):
        conversion = Conversion(target.stack, hosts, found, say, pause=target.poll_seconds)
        wanted = Wanted(name or f"{instance}-ebs", size)
        image = conversion.image(wanted)
    line(screen, f"Image {image}, {wanted.name}", style="bold green")
    line(screen, f"In a recipe: base: {{ami: {image}}}")


@contextmanager
def _on_instance(
    chosen: Options, instance: str, say: Callable[[str], None]
) -> Iterator[tuple[Target, Hosts, Instance]]:
    """Who talks to instances, and what AWS says of this one."""
    if not re.fullmatch(formats.INSTANCE_ID.pattern, instance):
        raise CommandError(f"'{instance}' is no instance.", f"Say {formats.INSTANCE_ID.words}.")
    with connect(chosen, say) as target:
        hosts = Hosts(target.stack, say, pause=target.poll_seconds)
        yield target, hosts, hosts.instance(instance)


@contextmanager
def _looking(
    chosen: Options, instance: str, *, secrets: bool, aside: bool
) -> Iterator[tuple[Target, HostReport, Instance]]:
    """What is found on an instance; what is said meanwhile goes to stderr if ``aside``."""
    screen = console(stderr=aside)
    hosts_too = replace(chosen, hosts=True)

    def say(text: str) -> None:
        line(screen, text)

    with _on_instance(hosts_too, instance, say) as (target, hosts, found):
        yield target, hosts.look_at(found, secrets=secrets), found


@app.command()
def use(
    context: typer.Context,
    name: Name,
    label: Annotated[
        str, typer.Option(help="The image that has this label; default: the current one.")
    ] = "",
) -> None:
    """Show how the image of a recipe is launched.

    Of NAME: an instance, a launch template, an Auto Scaling group, as commands of the AWS command
    line and as code for CDK and Terraform. It does not talk to AWS.
    """
    chosen: Options = context.obj
    checks.known_names([name], chosen.recipes)
    recipe = load_recipes(chosen.recipes)[name]
    if label and label not in recipe.publish.labels:
        raise CommandError(
            f"Recipe '{name}' has no label '{label}'.",
            f"Its labels: {', '.join(recipe.publish.labels) or 'none'} (publish.labels).",
        )
    typer.echo("\n".join(uses.text(name, recipe, label=label)))


@app.command()
def rollback(
    context: typer.Context,
    name: Name,
    to: Annotated[
        str | None,
        typer.Option(metavar="AMI", help="To this image of the stack's Region; default: previous."),
    ] = None,
) -> None:
    """Move a recipe's pointer back to the previous image.

    In every Region of recipe NAME, or in none. What was current becomes the previous image, so that
    a second rollback goes forward again. Until something changes, or somebody says --force, no bake
    makes the same image once more.
    """
    _move(context, {"recipe": name, **({"to": to} if to else {})}, "rollback")


@app.command()
def promote(
    context: typer.Context,
    name: Name,
    from_label: Annotated[str, typer.Argument(metavar="FROM", help="Label of the image.")],
    to_label: Annotated[str, typer.Argument(metavar="TO", help="Label that gets it.")],
    new: Annotated[bool, typer.Option("--new", help="Make label TO if it is not there.")] = False,
) -> None:
    """Give one label of a recipe the image of another.

    Label TO of recipe NAME gets what label FROM has, in every Region or in none.
    """
    wanted: dict[str, object] = {"recipe": name, "from_label": from_label, "to_label": to_label}
    _move(context, {**wanted, **({"new_label": True} if new else {})}, "promote")


def _move(context: typer.Context, wanted: dict[str, object], what: str) -> None:
    chosen: Options = context.obj
    if chosen.local:
        raise CommandError(
            "The local AWS begins without images: there is nothing to move.", "Leave out --local."
        )
    screen = console()
    with connect(chosen, lambda text: line(screen, text)) as target:
        code = moves.move(screen, target, wanted, what=what)
    raise typer.Exit(code)


@app.command()
def retire(
    context: typer.Context,
    name: Name,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be done, and why.")
    ] = False,
) -> None:
    """Let old images of a recipe go.

    As `retention` of recipe NAME says. One line for each image, in every Region: what becomes of
    it, and why. Every bake does this at its end; nothing that is in use goes, nor anything of which
    AWS does not tell.
    """
    chosen: Options = context.obj
    if chosen.local:
        raise CommandError(
            "The local AWS begins without images: there is nothing to let go.", "Leave out --local."
        )
    screen = console()
    with connect(chosen, lambda text: line(screen, text)) as target:
        code = retirement.retire(screen, target.stack, name, dry_run=dry_run)
    raise typer.Exit(code)


@app.command()
def diff(
    context: typer.Context,
    old: Annotated[str, typer.Argument(metavar="NAME|IMAGE", help="A recipe, or an image's id.")],
    new: Annotated[
        str | None, typer.Argument(metavar="[IMAGE]", show_default=False, help="An image's id.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For a program.")] = False,
) -> None:
    """Show what has changed from one image to another.

    Packages, the inputs of the bake, base image and size: of two images, or of the previous and the
    current image of a recipe.
    """
    inventories = _inventories(context.obj)
    if new is None and _is_image(old):
        raise CommandError("One image cannot be compared.", "Name another one, or a recipe.")
    before, after = inventories.last_two(old) if new is None else (old, new)
    for image in (before, after):
        if not _is_image(image):
            raise CommandError(f"'{image}' is no image's id.", "Say one recipe, or two images.")
    found = inventories.of_image(before), inventories.of_image(after)
    if as_json:
        typer.echo(diffs.as_json(*found))
    else:
        diffs.show(console(), *found)


@app.command()
def sbom(
    context: typer.Context,
    image: Annotated[
        str,
        typer.Argument(metavar="NAME|IMAGE", help="A recipe (its current image), or an id."),
    ],
) -> None:
    """Print the bill of materials of an image.

    Its packages, as CycloneDX 1.6 in JSON.
    """
    # Only here: it brings a library that nothing else needs.
    from scripts.bakery_cli.sbom import cyclonedx

    inventories = _inventories(context.obj)
    id_ = image if _is_image(image) else inventories.current(image)
    typer.echo(cyclonedx(inventories.of_image(id_)), nl=False)


def _inventories(chosen: Options) -> Inventories:
    if chosen.local:
        raise CommandError(
            "The local AWS ends with the command that began it: no images are left to look at.",
            "Leave out --local.",
        )
    return Inventories(Stack(region=chosen.region, profile=chosen.profile))


def _is_image(text: str) -> bool:
    return text.startswith("ami-")


@app.command()
def recipes(context: typer.Context) -> None:
    """List the recipes, when they bake, and their current images."""
    chosen: Options = context.obj
    current, why_not = None, "The local AWS starts without images."
    if not chosen.local:
        try:
            stack = Stack(region=chosen.region, profile=chosen.profile)
            names = [path.stem for path in recipe_files(chosen.recipes)]
            current, why_not = stack.current_images(names), f"Images of Region {stack.region}."
        except CommandError as error:
            why_not = f"Current images are not known: {error}"
    listing.show(console(), chosen.recipes, current, why_not)


@app.command()
def version() -> None:
    """Show the version."""
    line(console(), VERSION)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; no error leaves as a trace unless --debug asks."""
    arguments = hoisted(list(sys.argv[1:] if argv is None else argv))
    try:
        return _run(arguments)
    except typer.TyperException as error:
        complain(
            CommandError(error.format_message(), "See `bakery --help`, or `bakery COMMAND --help`.")
        )
        return UNUSABLE
    except CommandError as error:
        complain(error)
        return error.code
    except FilesError as error:
        for problem in error.problems:
            complain(CommandError(str(problem)))
        if any(problem.file.is_file() for problem in error.problems):
            line(console(stderr=True), _TOGETHER)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERRUPTED
    except Exception as error:
        if "--debug" in arguments:
            raise
        what = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
        complain(CommandError(f"Unexpected: {what}", "Say --debug to see where it comes from."))
        return UNUSABLE


def _run(arguments: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        code = command.main(args=arguments or ["--help"], prog_name="bakery", standalone_mode=False)
    except typer.Abort:
        return INTERRUPTED
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
