"""KMS: the keys that recipes name."""

from dataclasses import dataclass

from botocore.exceptions import ClientError

from bakery.aws import clients
from bakery.aws.failures import code_of, translated

_UNKNOWN = {"NotFoundException", "InvalidArnException"}


@dataclass(frozen=True)
class Key:
    """``state`` is KMS's KeyState; ``ours``: whether the account manages it, not AWS."""

    arn: str
    state: str
    ours: bool
    symmetric: bool


def find_key(name: str, *, region: str) -> Key | None:
    """The key of that alias, id or ARN in the Region, or None if there is none."""
    with translated("kms:DescribeKey", f"{name} in {region}"):
        try:
            found = clients.kms(region).describe_key(KeyId=name)["KeyMetadata"]
        except ClientError as error:
            if code_of(error) in _UNKNOWN:
                return None
            raise
    return Key(
        arn=found.get("Arn", ""),
        state=found.get("KeyState", ""),
        ours=found.get("KeyManager") == "CUSTOMER",
        symmetric=found.get("KeySpec") == "SYMMETRIC_DEFAULT",
    )
