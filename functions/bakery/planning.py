"""The decision that Plan makes: from what AWS shows to a whole bake. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bakery import VERSION, budgets, clock, estimate, hosts, naming, steps, sysprep
from bakery.bake import (
    BaseImage,
    Command,
    Current,
    HostPlan,
    LaunchPlan,
    Place,
    Pointer,
    Template,
    TestMachine,
    WholePlan,
    WholeTestPlan,
)
from bakery.compatibility import image_problems, type_problems
from bakery.documents import parameter_problems
from bakery.errors import InvalidRecipeError
from bakery.fingerprint import Fingerprint, Parts, changes, fingerprint
from bakery.naming import fixed_document
from bakery.origin import origin_problems
from bakery.problems import Problem, one_line
from bakery.recipe import (
    CustomizeStep,
    Destination,
    DocumentStep,
    InstanceBase,
    Recipe,
    RootVolume,
    ScriptStep,
    Windows,
    iops_problem,
)
from bakery.resources import Document, Host, Image, InstanceTypeInfo, Parameter, Subnet

PREPARE = "prepare-linux"
REMOVE_IDENTITY = "remove-opsworks-identity"
GENERALIZE = "generalize-linux"
VERIFY_IDENTITY = "verify-identity"
TEST_IMAGE = "test-image"
REPORT_IDENTITY = "report-identity"
REPORT_PACKAGES = "report-packages"


# What our own documents are for, by the one for Linux, and how waits and failures call it.
_FIXED = {
    PREPARE: "Preparing the builder",
    REMOVE_IDENTITY: "Removing the OpsWorks identity",
    GENERALIZE: "Generalizing the builder",
    VERIFY_IDENTITY: "Verifying the identity",
    TEST_IMAGE: "Test 'it has come up'",
    REPORT_IDENTITY: "Test 'it tells its identity'",
    REPORT_PACKAGES: "Test 'it lists its packages'",
}

_SYSPREP_LABEL = "Generalizing the builder with Sysprep"

_SOME_IMAGE = "ami-00000000000000000"
"""Stands for a base image that was not found, so that the name is not called wrong as well."""

_IMAGE_ID = re.compile(r"ami-[0-9a-f]{8,17}")
_ID_OF_AWS = re.compile(r"[a-z]{1,8}-[0-9a-f]{4,40}")
_BAKE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,80}")


@dataclass(frozen=True)
class World:
    """All that the decision looks at."""

    bake: str
    name: str
    recipe: Recipe
    region: str
    now: datetime
    base: Image | None
    """Of a running host: what its image will be like."""
    instance_types: Sequence[str]
    known_types: Mapping[str, InstanceTypeInfo]
    subnets: tuple[Subnet, ...]
    instance_profile: str
    test_profile: str
    documents: Mapping[str, Document]
    current: Current
    current_image: Image | None
    account: str
    base_owners: tuple[str, ...] = ()
    """Whose images may be bases; empty: anybody's."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """What the deployment gives to all that is created, beside the bakery's own."""
    host: Host | None = None
    """The running host that is the base."""
    isolated: bool = False
    """Whether the deployment has a network for clones of hosts."""
    rolled_back: Image | None = None
    """The image that was rolled back last, if it is there."""
    cut_short: str = ""
    """How the bake that made the current image ended, unless it succeeded or is not known."""
    inputs: Parts = field(default_factory=dict)
    """What went into the current image, as far as it is known."""
    problems: tuple[Problem, ...] = field(default=())

    def plus(self, problem: Problem) -> "World":
        """The same world with one more problem."""
        return replace(self, problems=(*self.problems, problem))


def bake_name_problem(bake: str) -> str | None:
    """Why an execution of this name cannot bake: it becomes a tag and a document's parameter."""
    if _BAKE_NAME.fullmatch(bake):
        return None
    return (
        f"The execution name '{one_line(bake)}' cannot be used. Start the execution again with a "
        "name of letters, digits, '-', '_' and '.' only, or without one."
    )


def no_image_id(parameter: Parameter) -> str | None:
    """Why the parameter names no image; None if its value is the id of one.

    The reason tells the value only if it is an id: a secret may be there by mistake, and a bake's
    history and events would keep it.
    """
    if parameter.type == "SecureString":
        return (
            f"parameter {parameter.name} is a SecureString, which a bake does not decrypt; an "
            "image id is no secret, store it as a String"
        )
    if _IMAGE_ID.fullmatch(parameter.value):
        return None
    known = _ID_OF_AWS.fullmatch(parameter.value)
    held = f"'{parameter.value}'" if known else f"a text of {len(parameter.value)} characters"
    return (
        f"parameter {parameter.name} ({parameter.type}) holds {held} instead of one image id; "
        "put one such as ami-0123456789abcdef0 into it, or name another parameter"
    )


def stems_of(recipe: Recipe) -> dict[str, str]:
    """Our own documents that a bake of the recipe runs, by what they are for.

    On Windows there is no OpsWorks identity to remove: its images were made from plain instances.
    """
    if recipe.windows is None:
        return {stem: stem for stem in _FIXED}
    without = "generalize-windows-without-sysprep"
    return {
        PREPARE: "prepare-windows",
        GENERALIZE: sysprep.STEP if recipe.windows.sysprep else without,
        VERIFY_IDENTITY: "verify-windows",
        TEST_IMAGE: "test-image-windows",
        REPORT_IDENTITY: "report-identity-windows",
        REPORT_PACKAGES: "report-packages-windows",
    }


def documents_of(name: str, recipe: Recipe) -> list[str]:
    """Every document that a bake of the recipe runs, each once."""
    fixed = [fixed_document(stem) for stem in stems_of(recipe).values()]
    windows = recipe.windows is not None
    own = [steps.document_of(name, step, windows=windows) for step in recipe.customize]
    tests = [naming.test_document(name, step.name) for step in recipe.test.steps]
    return list(dict.fromkeys([*fixed, *own, *tests]))


def image_name_of(world: World) -> str:
    """The name of the image that the bake would make."""
    return naming.image_name(
        world.recipe.image_name,
        recipe=world.name,
        bake=world.bake,
        base=world.base.id if world.base else _SOME_IMAGE,
        moment=world.now,
    )


def decide(world: World, *, force: bool, scheduled: bool = False) -> WholePlan:
    """The plan; raises InvalidRecipeError with every problem that ``world`` shows.

    ``scheduled``: it is a schedule that asks, perhaps by force, and no person.
    """
    problems = [*world.problems, *_problems(world)]
    if problems or world.base is None:
        raise InvalidRecipeError(world.name, problems)
    return _plan(world, world.base, force=force, scheduled=scheduled)


def _plan(world: World, base: Image, *, force: bool, scheduled: bool) -> WholePlan:
    made_of = fingerprint_of(world)
    needed, reason = _change(world, base, made_of, force=force)
    if needed and (scheduled or not force) and (held := _held(world, base, made_of)):
        needed, reason = False, held
    test, hourly, windows = _test(world), _hourly(world), world.recipe.windows
    return WholePlan(
        recipe=world.name,
        bake=world.bake,
        region=world.region,
        bake_needed=needed,
        reason=reason,
        description=world.recipe.description,
        image_name=image_name_of(world),
        image_tags={
            **world.tags,
            "Name": image_name_of(world),
            **naming.bake_tags(world.name, world.bake),
            naming.TAG_BASE_IMAGE: base.id,
            naming.TAG_FINGERPRINT: made_of.to_tag(),
        },
        base_image=_base(base),
        host=_host(world),
        current=world.current,
        retention=world.recipe.retention,
        retire_in=tuple(regions_of(world.region, world.recipe)) if world.recipe.retention else (),
        launch=_launch(world),
        customize=tuple(_step_command(world, step) for step in world.recipe.customize),
        usd_per_hour=hourly,
        estimate=estimate.before(
            steps=len(world.recipe.customize),
            size_gib=_size(world),
            hourly=hourly[world.instance_types[0]],
            tests=len(test.checks),
            machines=sum(hourly[it.instance_types[0]] for it in test.machines),
            windows=windows is not None,
            sysprep=windows is not None and windows.sysprep,
            cloned_gib=_cloned(world),
        ),
        fast_launch=tuple(
            estimate.fast_launch(it.region, it.fast_launch, _size(world))
            for it in world.recipe.distribute
            if it.fast_launch
        ),
        prepare=_fixed_command(world, PREPARE),
        remove_identity=(None if windows else _fixed_command(world, REMOVE_IDENTITY)),
        generalize=_fixed_command(world, GENERALIZE),
        verify_identity=_fixed_command(world, VERIFY_IDENTITY),
        sysprep=_sysprep(world),
        test=test,
        places=tuple(Place(region=it) for it in regions_of(world.region, world.recipe)),
        pointers=tuple(_pointers(world)),
        templates=templates_of(world.region, world.recipe),
    )


def _hourly(world: World) -> dict[str, float]:
    """What an instance of each type costs in an hour."""
    windows = world.recipe.windows is not None
    return {
        name: round(
            estimate.usd_per_hour(world.known_types[name], _size(world), windows=windows), 4
        )
        for name in dict.fromkeys([*world.instance_types, *world.recipe.test.instance_types])
    }


def _cloned(world: World) -> int:
    """GiB that are imaged before the builder is launched."""
    if (planned := _host(world)) is None or world.host is None:
        return 0
    return sum(it.size_gib for it in world.host.volumes if it.device not in planned.leave_out)


def _sysprep(world: World) -> Command | None:
    """What stops the builder of a Windows image with Sysprep; the document that sets its agent."""
    windows = world.recipe.windows
    if windows is None or not windows.sysprep:
        return None
    command = _fixed_command(world, GENERALIZE)
    parameters = {**command.parameters, "Phase": ("shutdown",)}
    return command.model_copy(update={"label": _SYSPREP_LABEL, "parameters": parameters})


def regions_of(home: str, recipe: Recipe) -> list[str]:
    """The Regions that get the image, that of the stack first."""
    return list(dict.fromkeys([home, *(it.region for it in recipe.distribute)]))


def destination(recipe: Recipe, region: str) -> Destination:
    """What the recipe says of a Region; that of the stack need not be named."""
    named = (it for it in recipe.distribute if it.region == region)
    return next(named, Destination(region=region))


def _pointers(world: World) -> Iterator[Pointer]:
    for region in regions_of(world.region, world.recipe):
        yield Pointer(region=region, name=naming.pointer(world.name))
        for label in world.recipe.publish.labels:
            yield Pointer(region=region, name=naming.label_pointer(world.name, label))


def templates_of(home: str, recipe: Recipe) -> tuple[Template, ...]:
    """The launch templates that get a version with the image of their Region."""
    own = (Template(region=home, id=id_) for id_ in recipe.publish.launch_templates)
    others = (
        Template(region=place.region, id=id_)
        for place in recipe.distribute
        for id_ in place.launch_templates
    )
    return (*own, *others)


def _test(world: World) -> WholeTestPlan:
    wanted = world.recipe.test
    own: list[tuple[str, ...]] = [(it,) for it in wanted.instance_types]
    machines = own or [tuple(world.instance_types)]
    # The twin first, so that the two that are compared are of one type, and numbers 1 and 2.
    twin = machines[:1] if wanted.identity else []
    reports = [_fixed_command(world, REPORT_IDENTITY)] if wanted.identity else []
    return WholeTestPlan(
        machines=tuple(TestMachine(instance_types=it) for it in [*twin, *machines]),
        checks=(
            _fixed_command(world, TEST_IMAGE),
            *reports,
            # Before the recipe's own, which may install what they need. Its last line is looked for
            # in the log: Systems Manager does not show as much.
            _fixed_command(world, REPORT_PACKAGES, sentinel=False),
            *(_test_command(world, step) for step in wanted.steps),
        ),
        instance_profile=world.test_profile,
        compare=1 if wanted.identity else None,
        packages=1 + len(reports),
    )


def _problems(world: World) -> Iterator[Problem]:
    yield from _document_problems(world)
    if not world.subnets:
        yield Problem(
            "",
            "there is no subnet to build in: the context subnet_ids names none that exists, nor "
            "has the account a default VPC here; deploy with the context vpc_id and subnet_ids",
        )
    elif not _subnets(world):
        yield Problem(
            "builder.public_address",
            f"every subnet to build in gives its instances a public address "
            f"({', '.join(it.id for it in world.subnets)}); deploy with private ones in the "
            "context vpc_id and subnet_ids, or write public_address: true",
        )
    if not naming.valid_image_name(image_name_of(world)):
        yield Problem(
            "image_name",
            f"yields '{image_name_of(world)}', which is no image name: 3 to 128 characters",
        )
    if world.base is None:
        return
    if isinstance(world.recipe.base, InstanceBase) and world.host:
        yield from hosts.host_problems(world.recipe.base, world.host, isolated=world.isolated)
    else:
        yield from image_problems("base", world.base, windows=world.recipe.windows is not None)
    yield from origin_problems(
        world.recipe.base,
        world.base,
        account=world.account,
        allowed=world.base_owners,
        now=world.now,
    )
    yield from type_problems(
        "builder.instance_types", world.base, world.instance_types, dict(world.known_types)
    )
    yield from type_problems(
        "test.instance_types",
        world.base,
        world.recipe.test.instance_types,
        dict(world.known_types),
    )
    yield from _volume_problems(world.recipe.builder.root_volume, world.base)


def _volume_problems(volume: RootVolume, base: Image) -> Iterator[Problem]:
    path, smallest = "builder.root_volume", base.root_size_gib
    if volume.size_gib is not None and volume.size_gib < smallest:
        yield Problem(
            f"{path}.size_gib",
            f"{volume.size_gib} GiB is smaller than the base image's {smallest} GiB; raise it, or "
            "leave it out to take the base image's",
        )
    # Of a size of its own, the recipe's model has judged.
    elif volume.size_gib is None and (problem := iops_problem(volume.iops, smallest)):
        yield Problem(f"{path}.iops", problem)


def _document_problems(world: World) -> Iterator[Problem]:
    platform = "Windows" if world.recipe.windows else "Linux"
    for name in map(fixed_document, stems_of(world.recipe).values()):
        found = world.documents.get(name)
        if found is None:
            yield Problem("", f"document {name} is not deployed; deploy the stack")
        elif fault := _document_fault(found, platform):
            yield Problem("", f"document {name} {fault}")
    for index, test in enumerate(world.recipe.test.steps):
        name = naming.test_document(world.name, test.name)
        if world.documents.get(name) is None:
            yield Problem(f"test[{index}]", f"document {name} is not deployed; deploy the stack")
    for index, step in enumerate(world.recipe.customize):
        name = steps.document_of(world.name, step, windows=world.recipe.windows is not None)
        path = f"customize[{index}]"
        where = f"{path}.document" if isinstance(step, DocumentStep) else path
        document = world.documents.get(name)
        if document is None:
            yield Problem(
                where,
                f"there is no document '{name}' in this account and Region; "
                "correct its name, or deploy the stack",
            )
        elif fault := _document_fault(document, platform):
            yield Problem(where, f"document '{name}' {fault}")
        else:
            given = steps.parameters_of(step, bake=world.bake, region=world.region)
            values = {key: list(value) for key, value in given.items()}
            for text in parameter_problems(document.content, values):
                yield Problem(f"{path}.parameters", text)


def _document_fault(document: Document, platform: str) -> str | None:
    """Why Run Command cannot run the document on a builder."""
    if document.type != "Command":
        return (
            f"is of type {document.type}, and only those of type Command run on a builder; "
            "name another"
        )
    if document.status != "Active":
        return f"is {document.status}, not Active; wait until it is, or mend it"
    if document.platforms and platform not in document.platforms:
        return f"is for {' and '.join(document.platforms)}, not for {platform}; name another"
    return None


def fingerprint_of(world: World) -> Fingerprint:
    """What would go into the image that the bake would make."""
    hashes = {name: document.hash for name, document in world.documents.items()}
    return fingerprint(world.name, world.recipe, documents=hashes, version=VERSION)


def _held(world: World, base: Image, made_of: Fingerprint) -> str | None:
    """Why nothing is baked after a rollback: it would be the same image that was not wanted."""
    image = world.rolled_back
    if image is None or image.id == world.current.image or _cut_short(world):
        return None
    if image.tags.get(naming.TAG_FINGERPRINT) != made_of.to_tag():
        return None
    if image.tags.get(naming.TAG_BASE_IMAGE) != base.id:
        return None
    return (
        f"nothing has changed since image {image.id}, which was rolled back; change the recipe, or "
        "bake with force"
    )


def _change(world: World, base: Image, made_of: Fingerprint, *, force: bool) -> tuple[bool, str]:
    """Whether to bake, and why."""
    current = world.current_image
    if world.current.image is None:
        return True, "first image of this recipe"
    if current is None or current.state != "available":
        return True, f"the current image {world.current.image} is no longer available"
    reasons = list(changes(current.tags.get(naming.TAG_FINGERPRINT, ""), world.inputs, made_of))
    before = current.tags.get(naming.TAG_BASE_IMAGE, "unknown")
    if before != base.id:
        reasons.insert(0, f"base image {before} -> {base.id}")
    elif world.host is not None:
        # Nothing tells what has changed on a host since it was imaged.
        reasons.insert(0, f"host {base.id} may have changed")
    if too_old := _too_old(world, current):
        reasons.append(too_old)
    if cut_short := _cut_short(world):
        reasons.append(cut_short)
    if reasons:
        return True, "; ".join(reasons)
    if force:
        return True, "forced, though nothing has changed"
    return False, f"nothing has changed since image {current.id}"


def _cut_short(world: World) -> str | None:
    """Why the end of the bake that made the current image is a reason to bake: nothing has taken
    back what it had published until then, nor published the rest."""
    current, rolled_back = world.current_image, world.rolled_back
    if current is None or not world.cut_short:
        return None
    if rolled_back and clock.parse(current.created) < clock.parse(rolled_back.created):
        return None  # a rollback has put it there since, in every Region
    return (
        f"image {current.id} was published by bake {current.tags.get(naming.TAG_BAKE)}, which did "
        f"not come to its end ({world.cut_short}): it may not be published everywhere"
    )


def _too_old(world: World, current: Image) -> str | None:
    """Why the age of the current image is a reason to bake.

    To the nearest day: the bake of a night is not over at the time at which the next one begins.
    """
    schedule = world.recipe.schedule
    if schedule is None or schedule.max_age_days is None:
        return None
    days = round((world.now - clock.parse(current.created)) / timedelta(days=1))
    if days < schedule.max_age_days:
        return None
    return (
        f"image {current.id} has reached schedule.max_age_days: {days} of {schedule.max_age_days}"
    )


def _size(world: World) -> int:
    base = world.base.root_size_gib if world.base else 0
    return world.recipe.builder.root_volume.size_gib or base


def _base(image: Image) -> BaseImage:
    return BaseImage(
        id=image.id,
        name=image.name,
        architecture=image.architecture,
        size_gib=image.root_size_gib,
        root_device=image.root_device_name,
        data_volumes=image.data_volumes,
    )


def _host(world: World) -> HostPlan | None:
    source = world.recipe.base
    if not isinstance(source, InstanceBase) or world.host is None:
        return None
    return hosts.plan(source, world.host, bake=world.bake, tags=world.tags)


def _subnets(world: World) -> tuple[Subnet, ...]:
    """Those to try. A public one leaves no choice: without an address nothing reaches its
    instance, nor it Systems Manager."""
    allowed = world.recipe.builder.public_address
    return tuple(subnet for subnet in world.subnets if allowed or not subnet.public)


def _launch(world: World) -> LaunchPlan:
    volume = world.recipe.builder.root_volume
    return LaunchPlan(
        instance_types=tuple(world.instance_types),
        subnets=_subnets(world),
        size_gib=_size(world),
        iops=volume.iops,
        throughput=volume.throughput,
        instance_profile=world.instance_profile,
        patience_minutes=world.recipe.builder.patience_minutes,
        spot=world.recipe.builder.spot,
        windows=world.recipe.windows is not None,
        kms_key=destination(world.recipe, world.region).kms_key or "",
        isolated=isinstance(world.recipe.base, InstanceBase),
        tags=dict(world.tags),
    )


def _command(
    world: World,
    document: str,
    *,
    label: str,
    parameters: steps.Parameters,
    timeout: int,
    sentinel: bool,
) -> Command:
    pinned = world.documents[document]
    return Command(
        label=label,
        document=document,
        version=pinned.version,
        hash=pinned.hash,
        parameters=dict(parameters),
        timeout_seconds=timeout,
        sentinel=naming.sentinel(world.bake) if sentinel else "",
    )


def _step_command(world: World, step: CustomizeStep) -> Command:
    return _command(
        world,
        steps.document_of(world.name, step, windows=world.recipe.windows is not None),
        label=f"Step '{step.name}'",
        parameters=steps.parameters_of(step, bake=world.bake, region=world.region),
        timeout=step.timeout_seconds,
        sentinel=steps.has_sentinel(step),
    )


def _test_command(world: World, step: ScriptStep) -> Command:
    return _command(
        world,
        naming.test_document(world.name, step.name),
        label=f"Test '{step.name}'",
        parameters={},
        timeout=step.timeout_seconds,
        sentinel=False,
    )


def _fixed_command(world: World, role: str, *, sentinel: bool = True) -> Command:
    """One of our own documents; each prints the sentinel as its last line."""
    parameters = {"Bake": world.bake, **_choices(world.recipe)[role]}
    return _command(
        world,
        fixed_document(stems_of(world.recipe)[role]),
        label=_FIXED[role],
        parameters={name: (value,) for name, value in parameters.items()},
        timeout=budgets.DOCUMENT_SECONDS,
        sentinel=sentinel,
    )


def _choices(recipe: Recipe) -> dict[str, dict[str, str]]:
    """What the recipe chooses for each of our documents; their defaults stand for the rest."""
    if recipe.windows:
        return _windows_choices(recipe.windows)
    lock = {"LockRelease": recipe.lock_release} if recipe.lock_release else {}
    past = {"Opsworks": recipe.opsworks.past}
    return {
        PREPARE: {**lock, "TmpExec": recipe.tmp_exec},
        REMOVE_IDENTITY: {**past, **_list("Keep", recipe.opsworks.keep)},
        GENERALIZE: {
            "AptTimers": recipe.identity.apt_timers,
            **_list("Keep", recipe.identity.keep),
        },
        VERIFY_IDENTITY: {
            **lock,
            **past,
            **_list("Keep", (*recipe.opsworks.keep, *recipe.identity.keep)),
            **_list("AllowSecrets", recipe.identity.allow_secrets),
        },
        TEST_IMAGE: lock,
        REPORT_IDENTITY: {},
        REPORT_PACKAGES: {},
    }


def _windows_choices(windows: Windows) -> dict[str, dict[str, str]]:
    name = {"ComputerName": "base" if windows.computer_name else "off"}
    password: dict[str, str] = {}
    secret: dict[str, str] = {}
    if given := windows.administrator_password:
        password = {"PasswordKind": "specified"}
        # Its name; the builder gets the value.
        secret = {"Secret": f"{given.secret}#{given.key}" if given.key else given.secret}
    return {
        PREPARE: {"RequireEnUs": "yes" if windows.require_en_us else "no"},
        GENERALIZE: {**name, **password, **secret},
        VERIFY_IDENTITY: {**name, **password, "Sysprep": "yes" if windows.sysprep else "no"},
        TEST_IMAGE: {},
        REPORT_IDENTITY: {},
        REPORT_PACKAGES: {},
    }


def _list(name: str, values: Sequence[str]) -> dict[str, str]:
    """A comma list: a StringList would be pasted into the script, a String comes by environment."""
    return {name: ",".join(values)} if values else {}
