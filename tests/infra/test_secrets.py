"""Who may read the secrets that recipes name: the builder of the recipe, and nobody else."""

from typing import Any

import pytest

from bakery.naming import instance_profile_parameter
from scripts.local.iam import ACCOUNT
from tests.infra.conftest import Synthesize, Synthesized, flat, listed, statements
from tests.infra.simulated import Account, Simulation

OWN = f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret"
SHARED = "arn:aws:secretsmanager:us-east-1:444455556666:secret:shared/db-AbCdEf"
KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/01234567-89ab-cdef-0123-456789abcdef"
KEY_AWAY = "arn:aws:kms:us-east-1:444455556666:key/01234567-89ab-cdef-0123-456789abcdef"
PARAMETERS = f"arn:aws:ssm:eu-west-1:{ACCOUNT}:parameter"
RECIPES = {
    "vault": f"""
description: with secrets of each kind
base: {{ami: ami-0123456789abcdef0}}
customize:
  - name: configure
    shell: "true"
    secrets:
      DB: {{secret: prod/db, key: password}}
      USER: {{secret: prod/db, key: user}}
      SHARED: {{secret: "{SHARED}", kms_key: "{KEY_AWAY}"}}
      TOKEN: {{parameter: /prod/token}}
      LICENCE: {{parameter: /prod/licence, kms_key: "{KEY}"}}
""",
    "other": """
description: with a secret of its own
base: {ami: ami-0123456789abcdef0}
customize: [{name: configure, shell: "true", secrets: {IT: {secret: other}}}]
""",
    "office": f"""
description: Windows with a password that it specifies
base: {{ami: ami-0123456789abcdef0}}
windows: {{administrator_password: {{secret: windows/admin, kms_key: "{KEY}"}}}}
""",
    "plain": """
description: without secrets
base: {ami: ami-0123456789abcdef0}
customize: [{name: configure, shell: "true"}]
""",
}
GET, READ, DECRYPT = "secretsmanager:GetSecretValue", "ssm:GetParameter", "kms:Decrypt"
VAULT = "BuilderHostBuildervaultRole"


@pytest.fixture(scope="module")
def stack(synthesize: Synthesize) -> Synthesized:
    return synthesize(RECIPES)


@pytest.fixture(scope="module")
def simulation(stack: Synthesized) -> Simulation:
    return Simulation(Account(stack))


def via(service: str, region: str = "eu-west-1") -> dict[str, Any]:
    return {"kms:ViaService": f"{service}.{region}.amazonaws.com"}


@pytest.mark.parametrize(
    ("action", "resource", "keys"),
    [
        (GET, f"{OWN}:prod/db-AbCdEf", {}),
        (GET, SHARED, {}),
        (READ, f"{PARAMETERS}/prod/token", {}),
        (READ, f"{PARAMETERS}/prod/licence", {}),
        (DECRYPT, KEY, via("ssm")),
        (DECRYPT, KEY_AWAY, via("secretsmanager", "us-east-1")),
    ],
)
def test_the_builder_of_a_recipe_may_read_what_it_names(
    simulation: Simulation, action: str, resource: str, keys: dict[str, Any]
) -> None:
    asked = {"Resource": resource, "Keys": keys}
    assert simulation.verdict(VAULT, action, asked) == "allowed"


def test_the_builder_of_a_windows_recipe_may_read_its_password(simulation: Simulation) -> None:
    office = "BuilderHostBuilderofficeRole"
    for action, resource, keys in (
        (GET, f"{OWN}:windows/admin-AbCdEf", {}),
        (DECRYPT, KEY, via("secretsmanager")),
    ):
        asked = {"Resource": resource, "Keys": keys}
        assert simulation.verdict(office, action, asked) == "allowed"
        for other in (
            VAULT,
            "BuilderHostBuilderRole",
            "BuilderHostTestRole",
            "TasksGeneralizeRole",
        ):
            assert simulation.verdict(other, action, asked) != "allowed"


@pytest.mark.parametrize(
    ("role", "action", "resource", "keys"),
    [
        (VAULT, GET, f"{OWN}:prod/db2-AbCdEf", {}),
        (VAULT, GET, f"{OWN}:prod/db-more-AbCdEf", {}),
        (VAULT, GET, f"{OWN}:other-AbCdEf", {}),
        (VAULT, GET, SHARED.replace("-AbCdEf", "-GhIjKl"), {}),
        (VAULT, READ, f"{PARAMETERS}/prod/token2", {}),
        (VAULT, READ, f"{PARAMETERS}/prod", {}),
        (VAULT, "ssm:GetParametersByPath", f"{PARAMETERS}/prod", {}),
        (VAULT, "ssm:GetParameterHistory", f"{PARAMETERS}/prod/token", {}),
        (VAULT, "ssm:PutParameter", f"{PARAMETERS}/prod/token", {}),
        (VAULT, "secretsmanager:PutSecretValue", f"{OWN}:prod/db-AbCdEf", {}),
        (VAULT, "secretsmanager:DescribeSecret", f"{OWN}:prod/db-AbCdEf", {}),
        (VAULT, "secretsmanager:ListSecrets", "*", {}),
        (VAULT, DECRYPT, KEY, {}),
        (VAULT, DECRYPT, KEY, via("secretsmanager")),
        (VAULT, DECRYPT, KEY, via("s3")),
        (VAULT, DECRYPT, KEY[:-1] + "0", via("ssm")),
        (VAULT, "kms:Encrypt", KEY, via("ssm")),
        *(
            (role, action, resource, {})
            for role in (
                "BuilderHostBuilderotherRole",
                "BuilderHostBuilderRole",
                "BuilderHostTestRole",
                "TasksPlanRole",
                "TasksRunStepRole",
            )
            for action, resource in (
                (GET, f"{OWN}:prod/db-AbCdEf"),
                (READ, f"{PARAMETERS}/prod/token"),
            )
        ),
    ],
)
def test_nobody_may_read_more(
    simulation: Simulation, role: str, action: str, resource: str, keys: dict[str, Any]
) -> None:
    found = simulation.verdict(role, action, {"Resource": resource, "Keys": keys})
    assert found.startswith(f"{action} on "), found


def test_no_function_and_no_machine_has_a_right_on_secrets(stack: Synthesized) -> None:
    readers = {
        id_.partition("Role")[0]
        for id_, statement in statements(stack)
        for action in listed(statement["Action"])
        if action.startswith("secretsmanager:")
    }
    builders = ("vault", "other", "office")
    assert readers == {f"BuilderHostBuilder{it}" for it in builders}


def test_plan_learns_of_the_profile_of_a_recipe_with_secrets(stack: Synthesized) -> None:
    names = {p["Properties"]["Name"] for p in stack.of_type("AWS::SSM::Parameter").values()}
    assert names >= {instance_profile_parameter("vault"), instance_profile_parameter("other")}
    assert instance_profile_parameter("plain") not in names


def test_a_secret_that_two_steps_name_is_one_right(stack: Synthesized) -> None:
    resources = [
        flat(resource)
        for id_, statement in statements(stack)
        if id_.startswith(VAULT) and GET in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]
    assert len(resources) == len(set(resources)) == 2
