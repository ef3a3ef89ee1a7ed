"""Plan: decide the whole bake before anything is created.

Loads the recipe, resolves its base image, checks all that can be checked without spending money,
pins the documents, and finds out whether anything has changed since the current image.
Idempotent because it only reads, but for the claims of a schedule's slot and of the recipe, and the
commands and inputs that it keeps, all of which the same execution may repeat.
A bake whose recipe is taken comes back here after its turn: see AwaitTurn.
"""

import os
from collections.abc import Set
from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from bakery import (
    budgets,
    catalogue,
    clock,
    commands,
    destinations,
    hosts,
    inputs,
    leases,
    planning,
    slots,
    steps,
)
from bakery.aws import ec2, kms, ssm, stepfunctions, table
from bakery.bake import Busy, Current, ExecutionInput, Plan, State
from bakery.errors import (
    AccessDeniedError,
    InvalidInputError,
    RecipeBusyError,
    ServiceUnavailableError,
)
from bakery.naming import (
    MOVER,
    TAG_BAKE,
    instance_profile_parameter,
    pointer,
    rolled_back_pointer,
)
from bakery.problems import Problem, brief_listing
from bakery.recipe import (
    AmiBase,
    InstanceBase,
    ParameterBase,
    Recipe,
    RecipeBase,
    SearchBase,
    WhenBusy,
    input_problems,
)
from bakery.resources import Document, Host, HostVolume, Image, Subnet
from bakery.settings import PlanSettings
from bakery.stages import AWAIT_TURN
from bakery.task import lambda_handler

_SLOT_MEMORY_DAYS = 7


class Request(State):
    bake: str
    execution: str = ""
    """ARN; empty for a preview."""
    input: Any
    """The execution's input as it was given."""
    entered: str = ""
    """When the machine entered the state; the first moment of the bake's timeline."""
    preview: bool = False
    """Only show the plan: claim nothing."""
    state: Any = None
    """The state of the execution; once it has waited for its turn, with the plan from before."""


def run(request: Request) -> Plan:
    """The plan of the bake; for a preview with the commands of all steps.

    ``busy`` in it names another execution that bakes the recipe: what comes next is its end. Raises
    InvalidInputError, UnknownRecipeError or InvalidRecipeError, each with all problems, and
    RecipeBusyError when this bake does not wait for the other, or has waited long enough.
    """
    wanted = _input(request)
    recipe = catalogue.load(wanted.recipe)
    earlier, settings = _earlier(request), PlanSettings.load()
    joins = _joins(earlier, wanted, recipe)
    world = _look(request.bake, wanted.recipe, recipe, settings)
    whole = planning.decide(
        world, force=wanted.force and not joins, scheduled=wanted.slot is not None
    ).model_copy(
        update={
            "entered": earlier.entered if earlier else request.entered,
            "keep_hours": _keep_hours(wanted, recipe),
        }
    )
    if request.preview:
        return whole
    plan = _claim(Plan.model_validate(whole.model_dump()), wanted, recipe, request, settings.table)
    if joins and earlier and earlier.busy and not plan.bake_needed:
        told = f"joined bake {earlier.busy.bake}, which has made this image; {plan.reason}"
        return plan.model_copy(update={"reason": told})
    if plan.bake_needed and plan.busy is None:
        commands.keep(settings.table, whole.bake, commands.Kind.STEPS, whole.customize)
        commands.keep(settings.table, whole.bake, commands.Kind.TESTS, whole.test.checks)
        inputs.keep(
            settings.table,
            whole.recipe,
            bake=whole.bake,
            parts=planning.fingerprint_of(world).parts,
            current=world.current_image.tags if world.current_image else {},
        )
    return plan


def _when_busy(wanted: ExecutionInput, recipe: Recipe) -> WhenBusy:
    return wanted.when_busy or recipe.when_busy


def _earlier(request: Request) -> Plan | None:
    """The plan of this bake that had to wait. No execution's input has its key: it is refused."""
    if isinstance(request.state, dict) and AWAIT_TURN in request.state:
        return Plan.model_validate(request.state["plan"])
    return None


def _joins(earlier: Plan | None, wanted: ExecutionInput, recipe: Recipe) -> bool:
    """Whether the bake takes what the one it waited for has made, if that is what it would make."""
    if earlier is None or earlier.busy is None or _when_busy(wanted, recipe) != "join":
        return False
    if f":{MOVER}:" in earlier.busy.holder:
        return False  # a rollback or a promotion has made nothing
    other = stepfunctions.find_execution(earlier.busy.holder)
    # Not "has succeeded": right after its end Step Functions may still show it as running.
    return other is not None and (other.ended is None or other.succeeded)


def _behind(holder: str, plan: Plan, earlier: Plan | None) -> Plan:
    """The same plan, waiting for the end of ``holder``; RecipeBusyError after the longest turn."""
    now = clock.now()
    since = earlier.busy.since if earlier and earlier.busy else now.isoformat()
    waited = now - clock.parse(since)
    if waited >= budgets.LONGEST_TURN:
        hours = round(waited.total_seconds() / 3600)
        text = f"This bake has waited {hours} hours for its turn. "
        raise RecipeBusyError(plan.recipe, holder, waited=text)
    busy = Busy(holder=holder, bake=holder.rpartition(":")[2], since=since)
    return plan.model_copy(update={"busy": busy})


def _keep_hours(wanted: ExecutionInput, recipe: Recipe) -> int:
    keeps = (wanted.on_failure or recipe.on_failure) == "keep"
    return recipe.keep_hours if keeps else 0


def _input(request: Request) -> ExecutionInput:
    try:
        wanted = ExecutionInput.model_validate(request.input)
    except ValidationError as error:
        raise _not_valid(input_problems(request.input, error)) from None
    if problem := planning.bake_name_problem(request.bake):
        raise InvalidInputError(problem)
    if wanted.slot and (ahead := slots.future_problem(wanted.slot, begun=_begun(request))):
        raise _not_valid([Problem("slot", ahead)])
    if not request.preview:
        _refuse_used_name(request.bake, os.environ["AWS_REGION"])
    return wanted


def _not_valid(problems: list[Problem]) -> InvalidInputError:
    return InvalidInputError(
        "The execution input is not valid:\n"
        f"{brief_listing(problems)}\n"
        f'Write {{"recipe": NAME}}. {catalogue.names_hint()}'
    )


def _begun(request: Request) -> datetime:
    """When the execution began; a wait for its turn makes nothing late."""
    earlier = _earlier(request)
    entered = earlier.entered if earlier else request.entered
    return clock.parse(entered) if entered else clock.now()


def _refuse_used_name(bake: str, region: str) -> None:
    """Step Functions allows a name again after 90 days; what carries it would be taken for ours."""
    if made := ec2.images_of_bake(bake, region=region):
        raise InvalidInputError(
            f"The execution name '{bake}' was used before: image {made[0].id} in {region} carries "
            "it. Start the execution again with another name, or without one."
        )


def _look(bake: str, name: str, recipe: Recipe, settings: PlanSettings) -> planning.World:
    """Read everything that the decision needs from AWS."""
    problems: list[Problem] = []
    base = _base_image(recipe, problems)
    types = recipe.builder.instance_types or settings.default_instance_types
    current, current_image = _current(name, problems)
    home, host = os.environ["AWS_REGION"], _host(recipe, problems)
    if host is not None:
        base = hosts.as_image(host, settings.account)
    found, mute = destinations.look(recipe, home)
    problems.extend(found)
    world = planning.World(
        bake=bake,
        name=name,
        recipe=recipe,
        region=home,
        now=clock.now(),
        base=base,
        instance_types=types,
        known_types=ec2.describe_types([*types, *recipe.test.instance_types]),
        subnets=_subnets(settings.subnet_ids, problems),
        instance_profile=_instance_profile(name, recipe, settings, problems),
        test_profile=settings.test_instance_profile,
        account=settings.account,
        base_owners=settings.base_owners,
        tags=settings.tags,
        host=host,
        isolated=settings.isolated,
        documents=_documents(name, recipe),
        current=current,
        current_image=current_image,
        rolled_back=_rolled_back(name),
        cut_short=_cut_short(settings.machine, current_image),
        inputs=inputs.of_image(settings.table, name, current_image.tags) if current_image else {},
        problems=tuple(problems),
    )
    return _with_taken_name(world, mute)


def _with_taken_name(world: planning.World, mute: Set[str]) -> planning.World:
    """Both names are looked for in every Region: the image's, and the bake's, of which a Region may
    still have a copy whose image is long gone."""
    name = planning.image_name_of(world)
    for region in planning.regions_of(world.region, world.recipe):
        if region in mute:
            continue
        try:
            taken = ec2.own_images_named(name, region=region)
            if region != world.region:
                _refuse_used_name(world.bake, region)
        except ServiceUnavailableError:
            if not destinations.may_be_left_out(world.recipe, region, world.region):
                raise
            continue
        if taken:
            where = "" if region == world.region else f" in {region}"
            text = (
                f"'{name}' is the name of image {taken[0].id}{where} already; "
                "put {time} or {bake} into the template"
            )
            world = world.plus(Problem("image_name", text))
    return world


def _documents(name: str, recipe: Recipe) -> dict[str, Document]:
    wanted = planning.documents_of(name, recipe)
    found = {document: ssm.find_document(document) for document in wanted}
    return {document: seen for document, seen in found.items() if seen is not None}


def _base_image(recipe: Recipe, problems: list[Problem]) -> Image | None:
    """The base image, or None with the reason added to ``problems``."""
    match recipe.base:
        case AmiBase(ami=image_id):
            return _by_id(image_id, "base.ami", problems)
        case ParameterBase(parameter=parameter):
            return _by_parameter(parameter, "base.parameter", problems)
        case RecipeBase(recipe=other):
            return _by_parameter(pointer(other), "base.recipe", problems)
        case SearchBase(search=search):
            found = ec2.search_images(
                owner=search.owner, name=search.name, architecture=search.architecture
            )
            if not found:
                problems.append(
                    Problem(
                        "base.search",
                        f"owner {search.owner} has no available {search.architecture} image "
                        f"named '{search.name}' in this Region; correct the name or the owner",
                    )
                )
            return found[0] if found else None
        case InstanceBase():
            return None  # it is made by the bake


def _host(recipe: Recipe, problems: list[Problem]) -> Host | None:
    """The running host that is the base; None with the reason if there is none such."""
    source = recipe.base
    if not isinstance(source, InstanceBase):
        return None
    host = ec2.find_host(source.instance)
    if host is None:
        problems.append(
            Problem(
                "base.instance",
                f"there is no instance {source.instance} in this Region and account; an instance "
                "that has ended is no base any more, an image of it may be",
            )
        )
        return None
    kind = ec2.describe_types([host.instance_type]).get(host.instance_type)
    return replace(
        host,
        managed=ssm.managed_instance(host.id) is not None,
        instance_stores=kind.instance_stores if kind else 0,
        volumes=tuple(replace(it, key_state=_key_state(it)) for it in host.volumes),
    )


def _key_state(volume: HostVolume) -> str:
    """What KMS says of the volume's key; nothing of one that is not encrypted."""
    if not volume.kms_key:
        return ""
    try:
        found = kms.find_key(volume.kms_key, region=os.environ["AWS_REGION"])
    except AccessDeniedError:
        return "denied"
    return found.state if found else "unknown"


def _by_parameter(parameter: str, path: str, problems: list[Problem]) -> Image | None:
    found = ssm.find_parameter(parameter)
    if found is None:
        hint = (
            "bake that recipe first"
            if path == "base.recipe"
            else "correct the name; publishers withdraw parameters of ended releases"
        )
        problems.append(Problem(path, f"there is no SSM parameter {parameter} here; {hint}"))
        return None
    if reason := planning.no_image_id(found):
        problems.append(Problem(path, reason))
        return None
    return _by_id(found.value, path, problems)


def _subnets(ids: tuple[str, ...], problems: list[Problem]) -> tuple[Subnet, ...]:
    found = tuple(ec2.subnets(ids))
    for missing in sorted(set(ids) - {subnet.id for subnet in found}):
        problems.append(
            Problem(
                "",
                f"there is no subnet {missing} in this Region; correct the context subnet_ids and "
                "deploy again",
            )
        )
    return found


def _instance_profile(
    name: str, recipe: Recipe, settings: PlanSettings, problems: list[Problem]
) -> str:
    """The recipe's own profile if its builder reads artefacts or secrets, else that for all."""
    if not steps.has_own_profile(recipe):
        return settings.default_instance_profile
    parameter = instance_profile_parameter(name)
    held = ssm.find_parameter(parameter)
    if held is None:
        problems.append(Problem("", f"parameter {parameter} is not deployed; deploy the stack"))
    return held.value if held else ""


def _current(name: str, problems: list[Problem]) -> tuple[Current, Image | None]:
    """What the recipe's pointer holds, as a name that may be of no image any more."""
    held = ssm.find_parameter(pointer(name))
    if held is None:
        return Current(), None
    if reason := planning.no_image_id(held):
        problems.append(Problem("", f"the recipe's pointer is spoilt: {reason}"))
        return Current(), None
    found = ec2.find_images([held.value])
    image = found[0] if found else None
    return Current(image=held.value, name=image.name if image else ""), image


def _cut_short(machine: str, image: Image | None) -> str:
    """How the bake that made the image ended; empty if well, or if Step Functions does not know it
    (any more): it forgets an execution after 90 days, and gives its name away again."""
    bake = image.tags.get(TAG_BAKE) if image else None
    if image is None or not bake:
        return ""
    found = stepfunctions.failed_execution(machine, bake)
    if found is None or found.started > clock.parse(image.created):
        return ""
    return found.status


def _rolled_back(name: str) -> Image | None:
    """The image that was rolled back last; somebody may have spoilt or removed the parameter."""
    held = ssm.find_parameter(rolled_back_pointer(name))
    if held is None or planning.no_image_id(held):
        return None
    found = ec2.find_images([held.value])
    return found[0] if found else None


def _by_id(image_id: str, path: str, problems: list[Problem]) -> Image | None:
    found = ec2.find_images([image_id])
    if not found:
        problems.append(
            Problem(
                path,
                f"there is no image {image_id} in this Region that this account may see; "
                "image ids belong to one Region",
            )
        )
    return found[0] if found else None


def _claim(
    plan: Plan, wanted: ExecutionInput, recipe: Recipe, request: Request, table_name: str
) -> Plan:
    """Take what only one bake may have: the schedule's slot, and the recipe."""
    if plan.bake_needed and wanted.slot:
        plan = _claim_slot(plan, wanted.slot, recipe, _begun(request), table_name)
    if not plan.bake_needed:
        return plan
    try:
        leases.take(table_name, plan.recipe, request.execution)
    except RecipeBusyError as error:
        if _when_busy(wanted, recipe) == "refuse":
            raise
        return _behind(error.holder, plan, _earlier(request))
    return plan


def _claim_slot(plan: Plan, slot: str, recipe: Recipe, begun: datetime, table_name: str) -> Plan:
    """Take the schedule's slot for this bake; delivered twice or late, it bakes nothing."""
    what = slots.key(plan.recipe, slot)
    holder = table.claim(table_name, what, by=plan.bake, now=clock.now(), days=_SLOT_MEMORY_DAYS)
    if holder != plan.bake:
        twice = f"the schedule's slot {slot} was delivered twice; bake {holder} has it"
        return plan.model_copy(update={"bake_needed": False, "reason": twice})
    flexible = recipe.schedule.flexible_minutes if recipe.schedule else 0
    if late := slots.late_reason(slot, begun=begun, flexible_minutes=flexible):
        update = {"bake_needed": False, "reason": late, "skipped_slot": slot}
        return plan.model_copy(update=update)
    return plan


handler = lambda_handler(Request, run)
