"""``bakery retire``: what becomes of a recipe's old images, and why."""

from collections.abc import Mapping
from typing import Any, Protocol

from rich.console import Console

from scripts.bakery_cli.aws.stack import RefusedError
from scripts.bakery_cli.errors import FAILED
from scripts.bakery_cli.screen import line
from scripts.bakery_cli.words import count


class Retiring(Protocol):
    """What is used of the stack."""

    @property
    def region(self) -> str: ...

    def retire(self, recipe: str, *, dry_run: bool, region: str = "") -> dict[str, Any]: ...


def retire(screen: Console, stack: Retiring, recipe: str, *, dry_run: bool) -> int:
    """Do it, or only say what would be done, in every Region of the recipe; the exit code."""
    try:
        first = stack.retire(recipe, dry_run=dry_run)
    except RefusedError as error:
        line(screen, error.error, style="bold red")
        line(screen, error.cause)
        return FAILED
    code = _show(screen, first, dry_run=dry_run)
    for region in first["regions"][1:]:
        try:
            found = stack.retire(recipe, dry_run=dry_run, region=region)
        except RefusedError as error:
            line(screen, f"{region}: {error.error}: {error.cause}", style="red")
            code = FAILED
            continue
        code = max(code, _show(screen, found, dry_run=dry_run))
    return code


def _show(screen: Console, found: Mapping[str, Any], *, dry_run: bool) -> int:
    would = "would be done" if dry_run else "was done"
    images = sum(found["counts"].values())
    line(screen, f"{found['region']}: {count(images, 'image')}", style="bold")
    for text in found["kept"]:
        line(screen, f"  {text}")
    for text in found["done"]:
        line(screen, f"  {text}", style="yellow")
    line(screen, f"  {count(len(found['done']), 'step')} {would}")
    for text in found["left"]:
        line(screen, f"  not possible: {text}", style="red")
    return FAILED if found["left"] else 0
