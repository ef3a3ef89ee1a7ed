"""VerifyIdentity: the promises of every task that runs a document, and its own parameters."""

from tests.functional.making import Making
from tests.functional.tasks.commanding import CommandTask


class TestVerifyIdentity(CommandTask):
    module = "verify_identity"
    stage = "verify-identity"
    document = "AmiBakery-verify-identity"
    error = "IdentityLeftError"
