"""RecordInventory: keep what is in the image, and say in one line what has changed.

``report-packages`` has run on the test instances; the first one's list counts. Of what a command
printed Systems Manager shows the first 24,000 characters, and a list of packages is longer. The
command log has it all, a little later than the command ends. Until it is whole, the task is not
done (NotYetVisibleError): half a list would make the next bake report hundreds of added packages.
A failure is told in the bake's report and fails no bake: the image has passed its tests, and is as
good without a list of its packages. It must be told, because nobody looks for what is not there.
Idempotent because the same image has the same key and the same content.
"""

from bakery import catalogue, commands, inventory
from bakery.aws import ec2, logs, s3, ssm
from bakery.bake import State
from bakery.errors import InventoryFailedError, NotYetVisibleError
from bakery.inventory import (
    FailedReportError,
    IncompleteReportError,
    Inventory,
    UnreadableInventoryError,
)
from bakery.naming import TAG_FINGERPRINT, sentinel
from bakery.observability import logger
from bakery.settings import InventorySettings
from bakery.task import lambda_handler

STEP = "report-packages"
"""Name of the document, and of its one step; that for Windows has `-windows` at its end."""


class Request(State):
    bake: str
    recipe: str
    region: str
    packages: int
    """Which of the checks of the plan lists the packages; it has ended well."""
    image_id: str
    image_name: str
    image_tags: dict[str, str]
    created: str
    """When CreateImage was entered, ISO 8601."""
    size_gib: int
    base_image: inventory.Source
    previous: str | None = None
    """The recipe's image before this bake."""


class Result(State):
    summary: str
    """At most ``inventory.MAX_SUMMARY`` characters."""
    key: str
    """Where in the bucket the inventory is."""


def run(request: Request) -> Result:
    """Store the inventory and compare it with that of the previous image, if that has one."""
    settings = InventorySettings.load()
    report = _report(request, settings.command_log_group)
    key = inventory.key(request.recipe, request.image_id)
    content = inventory.pack(_inventory(request, report))
    s3.put(settings.inventory_bucket, key, content, media_type="application/gzip")
    return Result(summary=_summary(request, report, settings.inventory_bucket), key=key)


def _report(request: Request, group: str) -> inventory.Report:
    machines = sorted(ec2.test_instances_of_bake(request.bake), key=lambda it: it.test)
    if not machines:
        raise NotYetVisibleError(f"EC2 shows no test instance of bake {request.bake}")
    where = machines[0].id
    comment = commands.comment_of(request.bake, commands.TEST_STAGE, request.packages)
    command = ssm.find_command(where, comment)
    if command is None:
        raise NotYetVisibleError(f"Systems Manager does not show command {comment}")
    step = f"{STEP}-windows" if catalogue.load(request.recipe).windows else STEP
    output = logs.output_of(group, command_id=command, instance_id=where, step=step)
    try:
        return inventory.read_report(output or "", sentinel=sentinel(request.bake))
    except IncompleteReportError as error:
        raise NotYetVisibleError(
            f"The log group {group} does not have the whole list of packages of command {command} "
            f"on {where} yet: {error}"
        ) from None
    except FailedReportError as error:
        raise InventoryFailedError(
            f"On {where} {error}; see {command}/{where}/{step}/stderr in log group {group}"
        ) from None


def _inventory(request: Request, report: inventory.Report) -> Inventory:
    return Inventory(
        recipe=request.recipe,
        bake=request.bake,
        region=request.region,
        image_id=request.image_id,
        image_name=request.image_name,
        created=request.created,
        size_gib=request.size_gib,
        base_image=request.base_image,
        fingerprint=request.image_tags.get(TAG_FINGERPRINT, ""),
        system=report.system,
        packages=report.packages,
    )


def _summary(request: Request, report: inventory.Report, bucket: str) -> str:
    if request.previous is None:
        return inventory.first(report)
    key = inventory.key(request.recipe, request.previous)
    content = s3.get(bucket, key)
    if content is None:
        return f"{inventory.first(report)}; of {request.previous} no inventory was kept"
    try:
        return inventory.summary(inventory.unpack(content), report)
    except UnreadableInventoryError as error:
        logger.warning("the inventory of the previous image is damaged", key=key, error=str(error))
        return f"{inventory.first(report)}; the inventory of {request.previous} is damaged"


handler = lambda_handler(Request, run)
