"""botocore's errors as one sentence with its remedy."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions  # noqa: TID251 - see scripts.bakery_cli.aws

from scripts.bakery_cli.errors import CommandError, NoAnswerError

_SIGN_IN = "Sign in (e.g. `aws sso login`) or set AWS_PROFILE, or try it with --local first."
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_BAD_KEYS = {"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"}
_THROTTLED = {
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}


@contextmanager
def explained(region: str = "") -> Iterator[None]:
    """Raise botocore's errors as one sentence with its remedy."""
    try:
        yield
    except exceptions.ProfileNotFound as error:
        raise CommandError(
            f"{error}.", "`aws configure list-profiles` shows those that exist."
        ) from error
    except exceptions.NoRegionError as error:
        raise CommandError("No AWS Region is set.", "Say --region, or set AWS_REGION.") from error
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
        raise CommandError("There are no AWS credentials here.", _SIGN_IN) from error
    except (
        exceptions.SSOError,
        exceptions.TokenRetrievalError,
        exceptions.CredentialRetrievalError,
    ) as error:
        raise CommandError(f"Your AWS sign-in cannot be used: {error}.", _SIGN_IN) from error
    except exceptions.ClientError as error:
        raise _from_client_error(error) from error
    except exceptions.InvalidRegionError as error:
        raise CommandError(f"{error}.", "Say another --region.") from error
    except (exceptions.HTTPClientError, exceptions.ConnectionError) as error:
        hint = (
            f"Is there a network, and is '{region}' a Region?" if region else "Is there a network?"
        )
        raise NoAnswerError(f"AWS does not answer: {error}.", hint) from error
    except exceptions.BotoCoreError as error:
        raise CommandError(f"The AWS SDK gives up: {error}.") from error


def _from_client_error(error: exceptions.ClientError) -> CommandError:
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    text = f"{error.operation_name} failed: {code}: {message}"
    if code in _EXPIRED:
        return CommandError("Your AWS credentials have expired.", _SIGN_IN)
    if code in _BAD_KEYS:
        return CommandError(f"AWS does not know your credentials ({code}).", _SIGN_IN)
    if code in _DENIED:
        return CommandError(text, "Ask for that permission, or use another --profile.")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status >= 500 or code in _THROTTLED:
        return NoAnswerError(text)
    return CommandError(text)
