"""Roll a recipe's pointer back, or give one label the image of another: everywhere or nowhere.

The two states of the machine ``AmiBakery-MovePointer``. Move checks every Region, then puts
the parameters, gives the recipe's launch templates their versions, and ends when all values are in
force, which Parameter Store validates after it has answered: until then it raises, and the machine
tries it again. Restore puts back what was put when that fails. Both hold the recipe's lease, so no
bake moves a pointer meanwhile. One that was stopped has lost it, and may be redriven after a bake
has published: what another has moved since neither state touches.
Idempotent because what was decided, and how far it got, is noted under the execution's name before
each step.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Literal

from pydantic import ValidationError

from bakery import catalogue, clock, failures, launching, leases, moving, planning
from bakery.aws import ec2, events, ssm, table, templates
from bakery.bake import State, Template
from bakery.errors import (
    RETRYABLE,
    BakeryError,
    CannotMovePointerError,
    InvalidInputError,
    NotYetVisibleError,
    PointerRejectedError,
    RecipeBusyError,
)
from bakery.moving import Asked, Change, NewVersion, Place
from bakery.naming import TAG_BAKE, TAG_RECIPE
from bakery.observability import logger
from bakery.problems import Problem, brief_listing
from bakery.recipe import Recipe, input_problems
from bakery.settings import MoveSettings
from bakery.task import lambda_handler

IN_FORCE = timedelta(minutes=5)
"""How long Parameter Store may take to have the values in force; usually seconds."""
SETTLED = timedelta(minutes=1)
"""When a value that was put is in force, or refused: before that it cannot be put back."""
_NOTE_DAYS = 30
"""Longer than an execution can be tried again."""


class Request(State):
    action: Literal["move", "restore"]
    execution: str
    """ARN; holds the recipe's lease."""
    input: Any
    """The execution's input as it was given."""
    failure: dict[str, Any] | None = None
    """What the Catch of Move stored, for ``restore``."""
    redrives: int = 0
    """How often the execution was redriven."""


class Result(State):
    """What has moved; also the detail of the event ``Pointer Moved``."""

    recipe: str
    why: str
    parameter: str
    moved_from: str | None
    moved_to: str
    regions: dict[str, dict[str, str | None]]
    """For each Region that moved: ``from`` and ``to``."""
    launch_templates: dict[str, int]
    """The new version of each, by its id."""
    by: str
    execution: str


class Note(State):
    """What was decided, and how far it got."""

    moved_from: str | None
    """In the bakery's own Region."""
    moved_to: str
    changes: tuple[Change, ...]
    new_versions: tuple[NewVersion, ...] = ()
    at: str = ""
    """When the first of them was put, perhaps; empty: none was."""
    put: int = 0
    """How many of the two parts were put whole."""
    restoring: str = ""
    """When they began to be put back."""
    redrives: int = 0
    """What the execution's count was then: a redriven one has all its time again."""
    done: Result | None = None
    """There when all has moved and was announced: nothing of it is done or undone once more."""


class Failed(State):
    """How the execution ends."""

    error: str
    cause: str


def run(request: Request) -> Result | Failed:
    """Move, or put back; see the module."""
    table_name = MoveSettings.load().table
    note = _recalled(request, table_name)
    if request.action == "restore":
        return _restore(note, request, table_name)
    if note and note.done:
        # The answer was lost, and another execution may have the recipe by now.
        leases.give_back(table_name, note.done.recipe, request.execution)
        return note.done
    asked = _asked(request.input)
    catalogue.load(asked.recipe)
    leases.take(table_name, asked.recipe, request.execution)
    if note:
        _refuse_overtaken(note, asked, request)
    else:
        note = _decided(asked, request, table_name)
    note, versions = _moved(note, asked, request, table_name)
    result = _result(asked, note, versions, request)
    if note.changes:
        detail = result.model_dump(mode="json", exclude={"moved_from", "moved_to"})
        events.announce(
            "Pointer Moved", {**detail, "from": result.moved_from, "to": result.moved_to}
        )
    _remember(note.model_copy(update={"done": result}), request, table_name)
    leases.give_back(table_name, asked.recipe, request.execution)
    return result


def _asked(content: Any) -> Asked:
    try:
        return Asked.model_validate(content)
    except ValidationError as error:
        problems = brief_listing(input_problems(content, error))
        raise InvalidInputError(f"The execution input is not valid:\n{problems}") from None


def _decided(asked: Asked, request: Request, table_name: str) -> Note:
    home = os.environ["AWS_REGION"]
    recipe = catalogue.load(asked.recipe)
    regions = planning.regions_of(home, recipe)
    held = {region: ssm.parameters_of(asked.recipe, region=region) for region in regions}
    target = asked.to or held[home].get(asked.source)
    if target is None:
        text = moving.unknown_source(asked, held[home])
        raise CannotMovePointerError(asked.recipe, [Problem("", text)])
    found = ec2.find_images([target])
    if asked.to and found and found[0].tags.get(TAG_RECIPE) == asked.recipe:
        _refuse_unpublished(asked.recipe, target, held[home])
    bake = found[0].tags.get(TAG_BAKE, "") if found else ""
    places = [_place(region, held[region], asked, target, bake) for region in regions]
    if recipe.publish.regions == "any":
        # What was published without a Region moves without it.
        places = [it for it in places if it.home or it.images]
    note = Note(
        moved_from=held[home].get(asked.moved),
        moved_to=target,
        changes=moving.changes(asked, target, places),
        new_versions=moving.new_versions(
            asked,
            _templates(home, recipe),
            places,
            default=recipe.publish.default_version,
        ),
    )
    _remember(note, request, table_name)
    return note


def _refuse_overtaken(note: Note, asked: Asked, request: Request) -> None:
    """What is neither as it was nor as it is to be, another has moved since an earlier try: only
    one that was stopped, and then redriven, may have lost the recipe meanwhile."""
    problems = [
        Problem(it.region, f"{it.parameter} is {_told(value)} by now, and was {_told(it.before)}")
        for it in note.changes
        if (value := _value(it)) not in (it.before, it.after)
    ]
    problems += [
        Problem(it.region, f"the default of launch template {it.id} is {made.default} by now")
        for it in note.new_versions
        if it.default and (made := _made(it, request)) and made.overtaken
    ]
    if problems:
        raise CannotMovePointerError(asked.recipe, problems)


def _refuse_unpublished(recipe: str, image: str, held: Mapping[str, str]) -> None:
    """An image of a bake that failed, or is under way, has passed no test."""
    if image not in ssm.images_ever(list(held)):
        text = (
            f"image {image} was never published: of what recipe '{recipe}' has, no parameter has "
            "held it in the last hundred times that it moved; bake it"
        )
        raise CannotMovePointerError(recipe, [Problem("", text)])


def _templates(home: str, recipe: Recipe) -> list[Template]:
    """Those that are there: one that was deleted must not keep the others from going back."""
    named = planning.templates_of(home, recipe)
    regions = {it.region for it in named}
    there = {
        region: templates.existing([it.id for it in named if it.region == region], region=region)
        for region in regions
    }
    return [it for it in named if it.id in there[it.region]]


def _place(region: str, held: Mapping[str, str], asked: Asked, target: str, bake: str) -> Place:
    home = os.environ["AWS_REGION"]
    images = ec2.images_of_bake(bake, region=region) if bake else []
    current = held.get(asked.moved)
    shown = ec2.find_images([current], region=region) if current else []
    return Place(
        region=region,
        held=held,
        # Whoever may tag can tag any image with the bake; whose copy one is, EC2 says itself. At
        # home there may be copies by hand, with all tags, and the target is that very one.
        images=tuple(
            it
            for it in images
            if (it.id == target if region == home else it.copy_of == (target, home))
        ),
        current=shown[0] if shown else None,
        home=region == home,
    )


def _moved(
    note: Note, asked: Asked, request: Request, table_name: str
) -> tuple[Note, dict[str, int]]:
    """Put everything and see it in force: what people launch from first, the pointers and then the
    launch templates, and only when that has moved everywhere what remembers how it was.

    Returns what is noted by then, and the new version of each launch template.
    """
    first, second = _parts(note, asked)
    note = _put_part(1, first, note, request, table_name)
    _wait_for(first, note)
    versions = {it.id: _give_version(it, request) for it in note.new_versions}
    note = _put_part(2, second, note, request, table_name)
    _wait_for(second, note)
    return note, versions


def _parts(note: Note, asked: Asked) -> tuple[list[Change], list[Change]]:
    """What people launch from, and what remembers how that was."""
    first = [it for it in note.changes if it.parameter == asked.moved]
    return first, [it for it in note.changes if it not in first]


def _put_part(
    number: int, part: list[Change], note: Note, request: Request, table_name: str
) -> Note:
    """That a part begins to be put is noted before, that it is put after."""
    if not part or note.put >= number:
        return note
    note = note.model_copy(update={"at": clock.now().isoformat()})
    _remember(note, request, table_name)
    for change in part:
        if _value(change) != change.after:
            _put(change, change.after)
    note = note.model_copy(update={"put": number})
    _remember(note, request, table_name)
    return note


def _give_version(wanted: NewVersion, request: Request) -> int:
    me = _me(request)
    return templates.give_version(
        wanted.id,
        wanted.image_id,
        by=me,
        client_token=launching.client_token(me, wanted.id),
        default=wanted.default,
        region=wanted.region,
    )


def _wait_for(part: list[Change], note: Note) -> None:
    waiting = [it for it in part if _value(it) != it.after]
    if not waiting:
        return
    if clock.now() - clock.parse(note.at) > IN_FORCE:
        raise PointerRejectedError(
            f"Parameter Store has not accepted the image for {_names(waiting)}"
        )
    raise NotYetVisibleError(f"the new value is not in force yet: {_names(waiting)}")


def _names(changes: list[Change]) -> str:
    return ", ".join(f"{it.parameter} in {it.region}" for it in changes)


def _restore(note: Note | None, request: Request, table_name: str) -> Failed:
    """Put back what was put, everything that can be; the machine ends with what is returned."""
    failure = request.failure or {}
    error, text = str(failure.get("Error", "")), failures.readable(failure)
    recipe = request.input.get("recipe") if isinstance(request.input, dict) else None
    after = "Everything is as before."
    if isinstance(recipe, str):
        if note and note.at:
            after = _undone(note, recipe, request, table_name)
        leases.give_back(table_name, recipe, request.execution)
    return Failed(error=error, cause=f"{text.removeprefix(f'{error}: ')}\n{after}")


@dataclass
class _Tried:
    """What one try to put everything back came to, each thing in words."""

    pending: list[str] = field(default_factory=list)
    """May succeed in another try."""
    left: list[str] = field(default_factory=list)
    """Not as before for good."""
    others: list[str] = field(default_factory=list)
    """Moved by another since."""
    theirs: set[str] = field(default_factory=set)
    """Regions where a parameter of the recipe is one of them."""
    silent: set[tuple[str, str]] = field(default_factory=set)
    """Services and Regions that have not answered in this try."""

    def each(self, what: str, service: str, region: str, undo: Callable[[], None]) -> None:
        """Undo one thing; an error is collected, never in the way of the next one.

        Who has not answered is not asked again: each time would cost minutes, and the others of
        the try would never have their turn.
        """
        if (service, region) in self.silent:
            self.pending.append(f"{what} ({service} does not answer)")
            return
        try:
            undo()
        except BakeryError as error:
            logger.exception("could not put back", what=what)
            transient = type(error).__name__ in RETRYABLE
            (self.pending if transient else self.left).append(f"{what} ({error})")
            if transient:
                self.silent.add((service, region))

    def summary(self) -> str:
        """For whoever has to go on by hand, once there is no other try."""
        lines = []
        if left := [*self.left, *self.pending]:
            lines.append("NOT as before, put it back by hand: " + "; ".join(left))
        if self.others:
            lines.append("Left alone, another has moved it since: " + "; ".join(self.others))
        return "\n".join(lines) or "Everything is as before."


def _undone(note: Note, recipe: str, request: Request, table_name: str) -> str:
    """Put back what was put; says what is not as before.

    Raises a retryable error as long as another try may come to more.
    """
    if note.done:
        return "But everything had moved by then, and that was announced: it stays so."
    try:
        leases.take(table_name, recipe, request.execution)
    except RecipeBusyError as error:
        was = "; ".join(_was(it) for it in note.changes)
        return f"Nothing was put back, look at it by hand: {was}. {error}"
    if clock.now() - clock.parse(note.at) < SETTLED:
        raise NotYetVisibleError("what was put is perhaps not in force yet")
    if not note.restoring or note.redrives != request.redrives:
        began = {"restoring": clock.now().isoformat(), "redrives": request.redrives}
        note = note.model_copy(update=began)
        _remember(note, request, table_name)
    tried = _tried(note, request)
    if tried.pending and clock.now() - clock.parse(note.restoring) < IN_FORCE:
        raise NotYetVisibleError(f"not as before yet: {'; '.join(tried.pending)}")
    return tried.summary()


def _tried(note: Note, request: Request) -> _Tried:
    tried = _Tried()
    for wanted in note.new_versions:
        what = f"the new version of launch template {wanted.id} in {wanted.region}"
        tried.each(what, "ec2", wanted.region, partial(_take_version, wanted, request, tried))
    first, second = _parts(note, _asked(request.input))
    for change in (*first, *second):
        tried.each(_was(change), "ssm", change.region, partial(_put_back, change, tried))
    return tried


def _put_back(change: Change, tried: _Tried) -> None:
    """Put the value of before in place of ours.

    It is not ours though it has our value where another has moved the pointer: a bake that
    publishes over our image remembers that as the previous one, as we would have.
    """
    value = _value(change)
    if value == change.before:
        return
    if value != change.after or change.region in tried.theirs:
        tried.theirs.add(change.region)
        tried.others.append(f"{change.parameter} in {change.region} is {_told(value)}")
        return
    if change.before is None:
        ssm.delete_parameter(change.parameter, region=change.region)
    else:
        _put(change, change.before)
    if _value(change) != change.before:
        tried.pending.append(f"{_was(change)} (Parameter Store has not accepted it)")


def _take_version(wanted: NewVersion, request: Request, tried: _Tried) -> None:
    made = _made(wanted, request)
    if made is None:
        return
    if wanted.default and made.overtaken:
        what = f"launch template {wanted.id} in {wanted.region}"
        tried.others.append(f"the default of {what} is version {made.default}")
        return
    templates.remove_version(wanted.id, made, region=wanted.region)


def _made(wanted: NewVersion, request: Request) -> templates.Version | None:
    return templates.version_by(_me(request), wanted.id, region=wanted.region)


def _me(request: Request) -> str:
    """Who made a version of a launch template; no bake has a slash in its name."""
    return f"move/{request.execution.rpartition(':')[2]}"


def _was(change: Change) -> str:
    return f"{change.parameter} in {change.region} was {_told(change.before)}"


def _told(value: str | None) -> str:
    return value or "not there"


def _value(change: Change) -> str | None:
    return ssm.get_parameter(change.parameter, region=change.region)


def _put(change: Change, image: str) -> None:
    ssm.put_image_parameter(change.parameter, image, change.description, region=change.region)


def _result(asked: Asked, note: Note, versions: dict[str, int], request: Request) -> Result:
    return Result(
        recipe=asked.recipe,
        why=asked.why,
        parameter=asked.moved,
        moved_from=note.moved_from,
        moved_to=note.moved_to,
        regions={
            it.region: {"from": it.before, "to": it.after}
            for it in note.changes
            if it.parameter == asked.moved
        },
        launch_templates=versions,
        by=asked.by,
        execution=request.execution,
    )


def _key(request: Request) -> str:
    return f"move#{request.execution}"


def _remember(note: Note, request: Request, table_name: str) -> None:
    table.remember(table_name, _key(request), note.model_dump_json(), clock.now(), days=_NOTE_DAYS)


def _recalled(request: Request, table_name: str) -> Note | None:
    text = table.recall(table_name, _key(request))
    return Note.model_validate_json(text) if text else None


handler = lambda_handler(Request, run)
