"""``bakery adopt``: a first recipe for a host that runs, with the choices as comments. Pure."""

import json
import re
import textwrap
from collections.abc import Iterator
from datetime import date
from typing import Final

from bakery import formats
from scripts.bakery_cli.choices import choices
from scripts.bakery_cli.host import Application, Cookbooks, HostReport, Instance

EXAMPLE: Final = "#|"
"""Begins a line that is no comment but YAML to be switched on."""

_EVENTS: Final = ("setup", "configure", "deploy")
"""Those whose recipes an instance needs once, in the order in which OpsWorks ran them."""
_S3: Final = (
    re.compile(r"s3://(?P<bucket>[^/]+)/(?P<key>.+)"),
    re.compile(r"https?://s3[a-z0-9.-]*[.]amazonaws[.]com/(?P<bucket>[^/]+)/(?P<key>.+)"),
    re.compile(r"https?://(?P<bucket>[^/]+)[.]s3[a-z0-9.-]*[.]amazonaws[.]com/(?P<key>.+)"),
)
_FOR_APPLICATIONS: Final = ("/srv/", "/var/www/", "/opt/", "/home/")
_OF_THE_SYSTEM: Final = re.compile(
    r"acpid|amazon-ssm-agent|apt-daily.*|atd|auditd|chronyd?|cloud-.*|crond?|dbus.*|gssproxy"
    r"|irqbalance|lvm2.*|monit|network.*|ntpd?|opsworks-agent|polkitd?|postfix|rpcbind|rsyslogd?"
    r"|snapd?.*|sshd?|systemd.*|tuned|unattended-upgrades"
)
_DESCRIPTION: Final = 255
_WIDTH: Final = 100
_SHORT_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")


def recipe(host: HostReport, instance: Instance, *, today: date) -> str:
    """The recipe as YAML: sound as it is, and with its examples switched on."""
    parts = (
        _head(host, instance, today),
        _base(instance),
        _opsworks(host),
        _identity(host),
        _lock(host),
        _builder(instance),
        _customize(host),
        _test(host),
        _choices(host, instance),
    )
    # What hosts have told ends no line: YAML knows more line breaks than one.
    return "".join(f"{_printable(line)}\n" for part in parts for line in part)


def _head(host: HostReport, instance: Instance, today: date) -> Iterator[str]:
    yield "# yaml-language-server: $schema=recipe.schema.json"
    yield from _comment(f"Written by `bakery adopt {instance.id}` on {today}.")
    yield from _comment(f"Lines that begin with {EXAMPLE} are examples: take it away to use them.")
    what = instance.name or host.facts.get("hostname") or instance.id
    left = f" as OpsWorks Stacks ({host.past}) left it, without OpsWorks" if _past(host) else ""
    text = _printable(f"{what}, {host.system}{left}")[:_DESCRIPTION]
    yield f"description: {json.dumps(text)}"


def _base(instance: Instance) -> Iterator[str]:
    yield from _comment(
        "The instance is imaged as it runs, and is never stopped, restarted or changed; the bake "
        "works on a clone of it."
    )
    yield f"base: {{instance: {instance.id}}}"
    yield from _comment("In place of that line, as you decide (docs/recipe-reference.md, base):")
    volumes = ", data_volumes: include" if instance.data_volumes else ""
    stores = ", instance_store: leave_out" if instance.instance_stores else ""
    yield f"{EXAMPLE}base: {{instance: {instance.id}, quiesce: reboot{volumes}{stores}}}"


def _opsworks(host: HostReport) -> Iterator[str]:
    if not _past(host):
        yield from _comment("No trace of OpsWorks was found. A Chef of somebody else stays.")
        yield "opsworks: none"
        return
    yield from _comment(f"Found: {host.facts['opsworks']}. `bakery inspect` lists what goes.")
    yield f"opsworks: {host.past}"
    if groups := sorted({it.keep for it in host.removals if it.keep}):
        yield from _comment("In place of that line, to keep some of it:")
        yield f"{EXAMPLE}opsworks: {{past: {host.past}, keep: [{', '.join(groups)}]}}"


def _identity(host: HostReport) -> Iterator[str]:
    paths = [it for it in host.secrets if re.fullmatch(formats.SECRETS_PATH.pattern, it)]
    if paths:
        yield from _comment(
            "These files look like secrets, and verification fails while they are there. Remove in "
            "a step what no instance needs, and list here what is meant to be in the image:"
        )
        yield f"{EXAMPLE}identity:"
        yield f"{EXAMPLE}  allow_secrets:"
        yield from (f"{EXAMPLE}    - {json.dumps(path)}" for path in paths[:30])


def _lock(host: HostReport) -> Iterator[str]:
    release = host.facts.get("release-lock", "")
    if re.fullmatch(formats.RELEASE.pattern, release):
        yield from _comment("As the host is locked today.")
        yield f"lock_release: {json.dumps(release)}"


def _builder(instance: Instance) -> Iterator[str]:
    if re.fullmatch(formats.INSTANCE_TYPE.pattern, instance.instance_type):
        yield from _comment(
            "The instance's own type; `bakery plan` says whether others do as well."
        )
        yield f"builder: {{instance_types: [{instance.instance_type}]}}"


# --- steps ----------------------------------------------------------------------------------------


def _customize(host: HostReport) -> Iterator[str]:
    yield from _comment(
        "What OpsWorks and its recipes have installed is on the clone already. Steps run on the "
        "clone, which reaches what the context clone_egress names: what needs the internet belongs "
        "into a second recipe, with base: {recipe: NAME OF THIS ONE}."
    )
    steps = [*_cookbooks(host)]
    for app in host.applications:
        steps += _application(app)
    if any(step.startswith(EXAMPLE) for step in steps):
        yield f"{EXAMPLE}customize:"
    yield from steps


def _cookbooks(host: HostReport) -> Iterator[str]:
    lists = {event: host.run_lists[event] for event in _EVENTS if host.run_lists.get(event)}
    if not lists:
        return
    layers = ", ".join(f"{name} ({short})" for short, name in host.layers.items())
    yield from _comment(f"Layers: {layers or 'not known'}. The stack's own recipes ran like this:")
    for event, names in lists.items():
        yield from _comment(f"{event}: {', '.join(names)}", indent=2)
    if any(host.built_in.values()):
        yield from _comment(
            "OpsWorks's built-in recipes ran beside them. There is nothing left to run these with; "
            "what they did is on the clone."
        )
    source = _source(host.cookbooks)
    if source is None:
        at = f"{host.cookbooks.source} {host.cookbooks.address}" if host.cookbooks else "not known"
        yield from _comment(
            f"Where the cookbooks are: {at}. Put them into S3 or Git, and a step with document "
            "AWS-ApplyChefRecipes runs them."
        )
        return
    yield from _comment(
        "To run them again in each bake, best in a second recipe: the builder must reach the "
        "cookbooks, and Chef's packages, which Systems Manager installs. RemoveIdentity takes that "
        "Chef off the image with OpsWorks's."
    )
    if "attributes" in host.facts:
        yield from _comment(
            f"The stack's custom JSON had {host.facts['attributes']}: JsonAttributesContent."
        )
    kind, info = source
    once = dict.fromkeys(name for event in _EVENTS for name in lists.get(event, ()))
    yield f"{EXAMPLE}  - name: cookbooks"
    yield f"{EXAMPLE}    document: AWS-ApplyChefRecipes"
    yield f"{EXAMPLE}    parameters:"
    yield f"{EXAMPLE}      SourceType: {kind}"
    yield f"{EXAMPLE}      SourceInfo: {_quoted(json.dumps(info))}"
    yield f"{EXAMPLE}      RunList: {_quoted(','.join(f'recipe[{name}]' for name in once))}"
    yield f'{EXAMPLE}      ChefClientVersion: "{host.past.removeprefix("chef-")}"'


def _source(cookbooks: Cookbooks | None) -> tuple[str, dict[str, str]] | None:
    """SourceType and SourceInfo of AWS-ApplyChefRecipes; None if it takes no such place.

    Source: Systems Manager user guide, "Creating associations that run Chef recipes".
    """
    if cookbooks is None or not cookbooks.address:
        return None
    if s3(cookbooks.address):
        return "S3", {"path": cookbooks.address}
    if cookbooks.source == "git":
        revision = {"getOptions": f"branch:{cookbooks.revision}"} if cookbooks.revision else {}
        return "Git", {"repository": cookbooks.address, **revision}
    if cookbooks.source == "archive" and cookbooks.address.startswith("http"):
        return "HTTP", {"url": cookbooks.address}
    return None


def _application(app: Application) -> Iterator[str]:
    known = " ".join(filter(None, (app.source, app.address, app.revision))) or "an unknown source"
    yield from _comment(f"Application {app.name}: OpsWorks deployed it from {known}.")
    place = app.directory.startswith(_FOR_APPLICATIONS) and _SHORT_NAME.fullmatch(app.name)
    if not place or not re.fullmatch(formats.DIRECTORY.pattern, app.directory):
        return
    if app.there:
        yield from _comment(
            f"{app.directory} goes into the image as it is on the host. To leave it out, and "
            "deploy it later:"
        )
        yield f"{EXAMPLE}  - name: without {app.name}"
        yield f"{EXAMPLE}    shell: rm -rf {app.directory}"
    yield from _comment("To install it in each bake, from an archive with its SHA-256:")
    archive = s3(app.address) or f"s3://your-bucket/{app.name}.tar.gz"
    yield f"{EXAMPLE}  - name: application {app.name}"
    yield f"{EXAMPLE}    application:"
    yield f"{EXAMPLE}      source: {json.dumps(archive)}"
    yield f'{EXAMPLE}      sha256: "{"0" * 64}"'
    yield f"{EXAMPLE}      directory: {app.directory}"


def s3(address: str) -> str:
    """``s3://bucket/key`` of an address of S3; empty for any other."""
    for form in _S3:
        if found := form.fullmatch(address):
            return f"s3://{found['bucket']}/{found['key']}"
    return ""


def _test(host: HostReport) -> Iterator[str]:
    own = [name for name, how in host.services.items() if how == "enabled,runs" and _own(name)]
    if own:
        yield from _comment(
            "That the image boots and is managed is tested in any case. Services of the host:"
        )
        yield f"{EXAMPLE}test:"
        for name in own[:10]:
            yield f"{EXAMPLE}  - {{name: {name} runs, shell: systemctl is-active {name}}}"


def _own(service: str) -> bool:
    """Whether a service is there for what the host does, as far as its name tells."""
    plain = re.fullmatch(r"[A-Za-z0-9._-]{1,40}", service)
    return bool(plain) and not _OF_THE_SYSTEM.fullmatch(service)


def _choices(host: HostReport, instance: Instance) -> Iterator[str]:
    if found := choices(host, instance):
        yield ""
        yield from _comment("Decide before the first bake:")
        for choice in found:
            yield from _comment(f"- {choice.title}: {choice.advice}.", indent=1)


# --- texts ----------------------------------------------------------------------------------------


def _past(host: HostReport) -> bool:
    return host.past != "none"


def _printable(text: str) -> str:
    return _UNPRINTABLE.sub("?", text)


def _quoted(text: str) -> str:
    """A YAML string in single quotes, in which only they have a meaning."""
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def _comment(text: str, *, indent: int = 0) -> list[str]:
    """Lines of a readable width."""
    return textwrap.wrap(
        _printable(text),
        _WIDTH,
        initial_indent="# " + " " * indent,
        subsequent_indent="#   " + " " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
