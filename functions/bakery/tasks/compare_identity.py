"""CompareIdentity: two instances of the image must be two.

Reads what report-identity has printed on the first two test instances.
Idempotent because it only reads.
"""

from bakery import catalogue, commands, identity
from bakery.aws import ec2, ssm
from bakery.bake import State
from bakery.errors import IdentitySharedError, NotYetVisibleError, TestFailedError
from bakery.identity import Comparison, Report, UnreadableReportError
from bakery.naming import sentinel
from bakery.recipe import Recipe
from bakery.task import lambda_handler

_TWINS = ("1", "2")


class Request(State):
    bake: str
    recipe: str
    compare: int | None
    """Which of the checks reports the identity; None: the recipe does not ask."""


class Result(State):
    shared: tuple[str, ...] = ()
    """What the two have in common because the recipe lets them, a line for each fact."""


def run(request: Request) -> Result:
    """What they share and may. Raises IdentitySharedError when the two have another part of their
    identity in common, or lack one; TestFailedError when one of them did not report."""
    if request.compare is None:
        return Result()
    comment = commands.comment_of(request.bake, commands.TEST_STAGE, request.compare)
    twins = {it.test: it.id for it in ec2.test_instances_of_bake(request.bake)}
    if missing := [name for name in _TWINS if name not in twins]:
        raise NotYetVisibleError(f"EC2 does not show test instance {', '.join(missing)}")
    one, other = (_report(twins[name], comment, request.bake) for name in _TWINS)
    comparison = _compare(one, other, catalogue.load(request.recipe))
    if not comparison.differ:
        raise IdentitySharedError(comparison.cause)
    return Result(shared=tuple(f"{it.fact}: {it.text}" for it in comparison.kept))


def _compare(one: Report, other: Report, recipe: Recipe) -> Comparison:
    """What the recipe lets an image keep may be the same."""
    if recipe.windows is None:
        return identity.compare(one, other, kept=recipe.identity.keep)
    kept = () if recipe.windows.sysprep else identity.WITHOUT_SYSPREP
    return identity.compare(one, other, kept=kept, required=identity.WINDOWS)


def _report(instance_id: str, comment: str, bake: str) -> Report:
    command = ssm.find_command(instance_id, comment)
    seen = ssm.invocation(command, instance_id) if command else None
    if seen is None:
        raise NotYetVisibleError(f"Systems Manager does not show command {comment}")
    try:
        return identity.read_report(instance_id, seen.stdout, sentinel=sentinel(bake))
    except UnreadableReportError as error:
        raise TestFailedError(f"Test 'it tells its identity' failed: {error}") from None


handler = lambda_handler(Request, run)
