"""``bakery inspect``: what a host is, what a bake of it does, what its owner must decide."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.text import Text

from scripts.bakery_cli.choices import choices
from scripts.bakery_cli.host import Application, HostReport, Instance, Mount, Removal
from scripts.bakery_cli.screen import line
from scripts.bakery_cli.words import count

_LABEL = 14
_KINDS = {
    "package": "package",
    "user": "user",
    "group": "group",
    "file": "file",
    "folder": "folder",
    "link": "link",
    "lines": "edited file",
}


def show(screen: Console, host: HostReport, instance: Instance) -> None:
    """Print all of it, for a person."""
    line(screen, _title(host, instance), style="bold")
    for label, text in _facts(host, instance):
        line(screen, _labelled(label, text))
    _heading(screen, "A bake of it would")
    for number, text in enumerate(plan(host), start=1):
        line(screen, f"  {number}. {text}")
    if host.removals:
        _heading(screen, "It would remove")
        for label, text in removals(host.removals):
            line(screen, Text.assemble("  ", _labelled(label, text)))
    if host.stays:
        _heading(screen, "It would leave, because removing it could break something")
        for it in host.stays:
            line(screen, f"  {it.what}: {it.why}")
    _heading(screen, "You must decide")
    found = choices(host, instance)
    for choice in found:
        line(screen, Text.assemble("  - ", (choice.title, "yellow"), f": {choice.advice}"))
    if not found:
        line(screen, "  nothing that could be seen")
    line(screen)
    line(screen, f"A first recipe: bakery adopt {instance.id} > recipes/NAME.yaml")


def as_json(host: HostReport, instance: Instance) -> str:
    """The same for a program."""
    content: dict[str, Any] = {
        "instance": asdict(instance),
        "host": asdict(host),
        "past": host.past,
        "plan": plan(host),
        "choices": [asdict(choice) for choice in choices(host, instance)],
    }
    return json.dumps(content, indent=2)


def plan(host: HostReport) -> list[str]:
    """What a bake does with a clone of the host, in order."""
    steps = ["image the instance as it runs, without stopping or changing it"]
    steps.append("launch a builder from that image, in a network that reaches clone_egress alone")
    steps.append("run the recipe's steps on the builder")
    if host.past == "none":
        steps.append("find no trace of OpsWorks, and leave Chef alone, if there is one")
    else:
        steps.append(f"remove OpsWorks ({host.past}): {_counted(host)}; the list is below")
    keys = [user.name for user in host.users if user.keys and not user.opsworks]
    steps.append(
        "generalize: host keys, machine id, hostname, SSM registration, cloud-init's state, "
        "histories, logs" + (f", the authorized keys of {', '.join(keys)}" if keys else "")
    )
    steps.append("verify that no identity and no secret is left, stop the builder and image it")
    steps.append("boot that image, test it, and only then publish it")
    return steps


def removals(found: Sequence[Removal]) -> Iterator[tuple[str, str]]:
    """What goes, by the name under which a recipe may keep it; first what it may not."""
    ordered = sorted(found, key=lambda it: it.keep)
    for keep, group in groupby(ordered, key=lambda it: it.keep):
        yield keep or "always", ", ".join(map(_named, group))


def _title(host: HostReport, instance: Instance) -> str:
    name = f" ({instance.name})" if instance.name else ""
    return f"{instance.id}{name}: {host.system}, {instance.instance_type}, {instance.architecture}"


def _facts(host: HostReport, instance: Instance) -> Iterator[tuple[str, str]]:
    yield "OpsWorks", _opsworks(host)
    if host.layers:
        yield "Layers", ", ".join(f"{name} ({short})" for short, name in host.layers.items())
    yield "Chef", _chef(host)
    for event, recipes in host.run_lists.items():
        yield f"  {event}", ", ".join(recipes) or "OpsWorks's own recipes only"
    if host.cookbooks:
        it = host.cookbooks
        yield "Cookbooks", " ".join(filter(None, (it.source, it.address, it.revision)))
    for app in host.applications:
        yield "Application", _application(app)
    for user in ("opsworks", "others"):
        names = [it.name for it in host.users if it.opsworks == (user == "opsworks")]
        if names:
            yield "Users" if user == "others" else "Its users", ", ".join(names)
    yield "Services", ", ".join(host.services) or "none known"
    for mount in host.mounts:
        yield "File system", _mount(mount)
    for volume in instance.volumes:
        how = "encrypted" if volume.kms_key else "not encrypted"
        yield "Volume", f"{volume.id}, {volume.device}, {volume.size_gib} GiB, {how}"
    yield "SSM agent", instance.agent


def _opsworks(host: HostReport) -> str:
    if host.past == "none":
        return "no trace of it"
    stack = f"stack {host.facts['stack']}; " if host.facts.get("stack") else ""
    agent = {"runs": "its agent runs", "installed": "its agent is installed and does not run"}
    version = host.facts.get("agent-version", "")
    told = agent.get(host.facts.get("agent", ""), "its agent is gone, traces are left")
    return f"{stack}{told}{f' ({version})' if version else ''}; found {host.facts['opsworks']}"


def _chef(host: HostReport) -> str:
    version = host.facts.get("chef-version", "")
    if host.chef == "none":
        return "none"
    if host.chef == "other":
        return f"{version} of somebody else; it stays".strip()
    return f"{host.chef.replace('-', ' ').title()}{f', package {version}' if version else ''}"


def _application(app: Application) -> str:
    source = " ".join(filter(None, (app.source, app.address, app.revision)))
    place = app.directory if app.there else f"{app.directory}, which is not there"
    return f"{app.name}: {source + ', ' if source else ''}in {place}"


def _mount(mount: Mount) -> str:
    size = f", {mount.size / 2**20:.1f} GiB, {mount.free / 2**20:.1f} free" if mount.size else ""
    return f"{mount.point} ({mount.device}, {mount.type}{size})"


def _named(it: Removal) -> str:
    if it.kind == "lines":
        return f"{it.what} ({it.detail})"
    return f"{it.kind} {it.what}" if it.kind in ("package", "user", "group") else it.what


def _counted(host: HostReport) -> str:
    kinds = [it.kind for it in host.removals]
    return ", ".join(count(kinds.count(it), noun) for it, noun in _KINDS.items() if it in kinds)


def _labelled(label: str, text: str) -> Text:
    return Text.assemble((f"{label:<{_LABEL}}", "bold"), text)


def _heading(screen: Console, text: str) -> None:
    line(screen)
    line(screen, text, style="bold")
