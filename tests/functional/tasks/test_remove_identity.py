"""RemoveIdentity: the promises of every task that runs a document, and its own parameters."""

from tests.functional.making import Making
from tests.functional.tasks.commanding import CommandTask


class TestRemoveIdentity(CommandTask):
    module = "remove_identity"
    stage = "remove-identity"
    document = "AmiBakery-remove-opsworks-identity"
    error = "IdentityRemovalFailedError"
