"""RemoveIdentity: the promises of every task that runs a document, and its own parameters."""

from tests.functional.making import Making
from tests.functional.tasks.commanding import CommandTask


class TestRemoveIdentity(CommandTask):
    module = "remove_identity"
    stage = "remove-identity"
    document = "AmiBakery-remove-opsworks-identity"
    error = "IdentityRemovalFailedError"


def test_the_past_is_found_out_on_the_host_unless_the_recipe_states_it(making: Making) -> None:
    stated = Making.begin(making.world, "locked")
    assert making.plan["remove_identity"]["parameters"]["Opsworks"] == ["auto"]
    assert stated.plan["remove_identity"]["parameters"]["Opsworks"] == ["chef-12"]
