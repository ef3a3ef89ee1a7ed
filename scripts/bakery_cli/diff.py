"""``bakery diff``: what has changed from one image to another."""

import json
from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bakery.fingerprint import from_tag
from bakery.inventory import Change, Difference, Inventory, difference
from scripts.bakery_cli.screen import line
from scripts.bakery_cli.words import count

_LABEL = 12


def show(screen: Console, old: Inventory, new: Inventory) -> None:
    """Print what has changed, for a person."""
    found = difference(old.packages, new.packages)
    line(screen, f"From {_title(old)}", style="bold")
    line(screen, f"  to {_title(new)}", style="bold")
    line(screen)
    for label, text in _facts(old, new).items():
        line(screen, Text.assemble((f"{label:<{_LABEL}}", "bold"), text))
    line(screen, Text.assemble((f"{'Packages':<{_LABEL}}", "bold"), _counts(found, new)))
    if list(found):
        screen.print(_table(found))


def as_json(old: Inventory, new: Inventory) -> str:
    """The same for a program."""
    found = difference(old.packages, new.packages)
    content = {
        "old": _about(old),
        "new": _about(new),
        "inputs_changed": sorted(name for name, *_ in _inputs(old, new)),
        "packages": {
            "updated": [_change(change) for change in found.updated],
            "added": [_change(change) for change in found.added],
            "removed": [_change(change) for change in found.removed],
        },
    }
    return json.dumps(content, indent=2)


def _title(image: Inventory) -> str:
    return f"{image.image_id} ({image.image_name}), {image.created[:16].replace('T', ' ')} UTC"


def _facts(old: Inventory, new: Inventory) -> dict[str, str]:
    """What else there is to say, most of it only when it has changed."""
    facts: dict[str, str] = {}
    if old.recipe != new.recipe:
        facts["Recipe"] = _moved(old.recipe, new.recipe)
    facts["Base image"] = _moved(_base(old), _base(new))
    facts["Inputs"] = ", ".join(_said(*it) for it in _inputs(old, new)) or "unchanged"
    facts["System"] = _moved(old.system.name or "unknown", new.system.name or "unknown")
    facts["Kernel"] = _moved(old.system.kernel or "unknown", new.system.kernel or "unknown")
    facts["Size"] = _moved(f"{old.size_gib} GiB", f"{new.size_gib} GiB")
    return facts


def _base(image: Inventory) -> str:
    return f"{image.base_image.id} ({image.base_image.name})"


def _moved(old: str, new: str) -> str:
    return f"{new}, unchanged" if old == new else f"{old} -> {new}"


def _inputs(old: Inventory, new: Inventory) -> Iterator[tuple[str, str, str]]:
    """Parts of the fingerprint that differ: name, old value, new value."""
    before, now = from_tag(old.fingerprint), from_tag(new.fingerprint)
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            yield name, before.get(name, "unknown"), now.get(name, "unknown")


def _said(name: str, old: str, new: str) -> str:
    """The bakery's version says something, digests do not."""
    return f"{name} {old} -> {new}" if name == "bakery" else f"{name} changed"


def _counts(found: Difference, new: Inventory) -> str:
    counts = {
        "updated": len(found.updated) - found.downgraded,
        "downgraded": found.downgraded,
        "added": len(found.added),
        "removed": len(found.removed),
    }
    said = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
    return f"{said or 'none has changed'}; {count(len(new.packages), 'package')} now"


def _table(found: Difference) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("Package", no_wrap=True)
    table.add_column("Architecture", no_wrap=True)
    table.add_column("Change", no_wrap=True)
    table.add_column("Before", overflow="fold")
    table.add_column("Now", overflow="fold")
    for change in found:
        what, style = _kind(change)
        package = change.package
        table.add_row(
            Text(package.name, "bold"),
            Text(package.architecture),
            Text(what, style),
            Text(change.old),
            Text(change.new),
        )
    return table


def _kind(change: Change) -> tuple[str, str]:
    if change.downgraded:
        return "downgraded", "bold red"
    if not change.old:
        return "added", "green"
    return ("updated", "") if change.new else ("removed", "yellow")


def _about(image: Inventory) -> dict[str, Any]:
    return image.model_dump(mode="json", exclude={"packages", "format"})


def _change(change: Change) -> dict[str, Any]:
    package = change.package
    return {
        "kind": package.kind,
        "name": package.name,
        "architecture": package.architecture,
        "source": package.source,
        "old": change.old or None,
        "new": change.new or None,
        "downgraded": change.downgraded,
    }
