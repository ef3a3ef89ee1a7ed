"""Every way in which a bake can fail, by name.

The name of a class here *is* the error name that Step Functions sees: the Lambda runtime reports
``type(error).__name__``, and ``ErrorEquals`` compares that text exactly, so a base class never
catches its leaves. ``RETRYABLE`` is the only place that says which errors are tried again; the
state machine's ``Retry`` fields are built from it.
"""

from collections.abc import Iterable

from bakery.problems import Problem, in_order, listing


class BakeryError(Exception):
    """Base of all errors that the product reports; never raised itself."""


# --- the input is wrong: change it, then start again -----------------------------------------


class InvalidInputError(BakeryError):
    """The execution input is not what a bake accepts; start again with a corrected input."""


class UnknownRecipeError(BakeryError):
    """No recipe of that name is deployed; the message lists those that are."""


class InvalidRecipeError(BakeryError):
    """The recipe cannot be baked as it stands; the message lists every problem with its path."""

    def __init__(self, recipe: str, problems: Iterable[Problem]) -> None:
        self.recipe = recipe
        self.problems = in_order(problems)
        super().__init__(f"Recipe '{recipe}' cannot be baked:\n{listing(self.problems)}")


class RecipeBusyError(BakeryError):
    """Another execution bakes this recipe; the message names it. Wait for its end or stop it."""

    def __init__(self, recipe: str, holder: str, *, waited: str = "") -> None:
        self.holder = holder
        """ARN of the other execution."""
        super().__init__(
            f"Recipe '{recipe}' is being baked by another execution: {holder.rpartition(':')[2]}. "
            f"{waited}Wait for its end, or stop it, then start again."
        )


class CannotResumeError(BakeryError):
    """The redriven execution cannot go on, the message says why and what to do."""


class CannotMovePointerError(BakeryError):
    """No image can be rolled back to or promoted so; the message lists why. Nothing has moved."""

    def __init__(self, recipe: str, problems: Iterable[Problem]) -> None:
        super().__init__(f"Nothing of recipe '{recipe}' has moved:\n{listing(problems)}")


# --- AWS refused: change the account, the quota or the permission -----------------------------


class AccessDeniedError(BakeryError):
    """AWS denied a call, which the message names; an SCP or a boundary may forbid it."""


class QuotaExceededError(BakeryError):
    """A quota of the account is used up; ask for more or remove what is no longer needed."""


class NoCapacityError(BakeryError):
    """No type had room in any subnet, see the attempts listed. Bake later or add types."""


class NoCapacityYetError(BakeryError):
    """No type had room in any subnet; tried again until the recipe's patience ends."""


class AwsCallFailedError(BakeryError):
    """AWS refused a call for another reason; the message carries its answer."""


# --- a stage failed ---------------------------------------------------------------------------


class BuilderLostError(BakeryError):
    """The builder stopped or ended by another hand than ours; the message carries EC2's reason."""


class BuilderTakenError(BakeryError):
    """AWS took the builder back (spot interruption, failed host); a bake replaces it once."""


class HostGoneError(BakeryError):
    """The running host that the bake begins with is gone, or in no state in which EC2 images it."""


class NotManagedError(BakeryError):
    """The builder has not reported to Systems Manager in time; the message says what to check."""


class NotManagedYetError(BakeryError):
    """An instance has not reported to Systems Manager yet; asked again until its time is up."""


class DocumentGoneError(BakeryError):
    """A deployment took away a document that this bake was planned with; start the bake again."""


class PreparationFailedError(BakeryError):
    """The builder could not be prepared (cloud-init, package locks, release lock, /tmp)."""


class CustomizationFailedError(BakeryError):
    """A step failed; the message names it, with exit code and the end of its stderr."""


class IdentityRemovalFailedError(BakeryError):
    """The OpsWorks agent, Chef or their remains could not be removed."""


class GeneralizationFailedError(BakeryError):
    """The builder's own identity could not be removed."""


class IdentityLeftError(BakeryError):
    """Verification found a residue on the builder; the message names each."""


class ImageFailedError(BakeryError):
    """EC2 could not make the image; the message carries its state and reason."""


class TestFailedError(BakeryError):
    """The image did not boot, or failed a test on an instance of it; the message names the test."""


class TestInstanceLostError(BakeryError):
    """A test instance ended by another hand than ours; the message carries EC2's reason."""


class IdentitySharedError(BakeryError):
    """Two instances of the image have something of their identity in common; each is named."""


class CopyFailedError(BakeryError):
    """A Region could not get its copy of the image; the message carries its state and reason."""


class CopyLimitError(BakeryError):
    """Too many copies are under way in a Region; tried again with growing pauses."""


class InventoryFailedError(BakeryError):
    """What is in the image could not be listed; the bake goes on. See the test's output."""


class PointerRejectedError(BakeryError):
    """Parameter Store did not accept the image as the recipe's pointer."""


class StageTimedOutError(BakeryError):
    """A stage took longer than its time budget; the message names the stage."""


class UnexpectedError(BakeryError):
    """A task ended in a way that no other error describes, e.g. killed or with a defect of ours."""


class FleetFailedError(BakeryError):
    """Recipes of a run over all were not baked, the message names each; see its own execution."""


# --- transient: the same call may succeed in a moment -----------------------------------------


class ThrottledError(BakeryError):
    """AWS limits the rate of a call; tried again with jitter."""


class ServiceUnavailableError(BakeryError):
    """AWS answered with a server error; tried again."""


class NotYetVisibleError(BakeryError):
    """AWS does not show yet what it has just created (eventual consistency); tried again."""


class EndNotToldError(BakeryError):
    """Step Functions did not answer, or refused, when a bake told it of its end; told again. The
    message has the error that the bake ended with."""


RETRYABLE: tuple[str, ...] = (
    ThrottledError.__name__,
    ServiceUnavailableError.__name__,
    NotYetVisibleError.__name__,
)
"""Errors of ours that are worth another try of the same, idempotent, task."""

LAMBDA_RETRYABLE: tuple[str, ...] = (
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "Lambda.ClientExecutionTimeoutException",
    # A killed function (memory, time-out). Safe because every task may run twice.
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Sandbox.Timedout",
)
"""Errors of the Lambda service around a task; the task may or may not have run."""


def advice(error_name: str) -> str:
    """What an error of ours means and what its reader does next; empty for errors of others."""
    kind = globals().get(error_name)
    ours = isinstance(kind, type) and issubclass(kind, BakeryError)
    return " ".join((kind.__doc__ or "").split()) if ours else ""
