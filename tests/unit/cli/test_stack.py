"""Errors of the AWS SDK as one sentence with its remedy."""

import os
from pathlib import Path
from typing import Any

import pytest
from botocore import exceptions

from scripts.bakery_cli.aws.failures import explained
from scripts.bakery_cli.aws.stack import Stack
from scripts.bakery_cli.errors import CommandError, NoAnswerError


def client_error(code: str, status: int = 400) -> exceptions.ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": "the message"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return exceptions.ClientError(answer, "StartExecution")


@pytest.mark.parametrize(
    ("error", "message", "remedy"),
    [
        (client_error("ExpiredToken"), "credentials have expired", "Sign in"),
        (client_error("UnrecognizedClientException"), "does not know your", "AWS_PROFILE"),
        (client_error("AccessDeniedException"), "the message", "permission"),
        (client_error("Other"), "StartExecution failed: Other: the message", ""),
        (exceptions.NoRegionError(), "No AWS Region", "--region"),
        (exceptions.NoCredentialsError(), "no AWS credentials", "--local"),
        (exceptions.ProfileNotFound(profile="x"), "(x)", "list-profiles"),
        (exceptions.TokenRetrievalError(provider="sso", error_msg="old"), "sign-in", "Sign in"),
        (exceptions.UnauthorizedSSOTokenError(), "sign-in", "Sign in"),
        (exceptions.InvalidRegionError(region_name="x y"), "x y", "--region"),
        (exceptions.UnknownServiceError(service_name="x", known_service_names=""), "SDK", ""),
    ],
)
def test_an_error_says_what_is_wrong_and_what_to_do(
    error: Exception, message: str, remedy: str
) -> None:
    with pytest.raises(CommandError) as caught, explained("eu-west-1"):
        raise error
    assert message in caught.value.message and remedy in caught.value.remedy
    assert caught.value.code == 2


@pytest.mark.parametrize(
    "error",
    [
        client_error("InternalError", 500),
        exceptions.EndpointConnectionError(endpoint_url="https://x"),
        exceptions.ReadTimeoutError(endpoint_url="https://x"),
    ],
)
def test_silence_is_told_apart_because_it_may_pass(error: Exception) -> None:
    with pytest.raises(NoAnswerError), explained("eu-west-1"):
        raise error


def test_without_a_region_the_remedy_is_to_name_one() -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        os.environ.pop(name, None)
    with pytest.raises(CommandError, match="No AWS Region is set"):
        Stack()


@pytest.mark.parametrize("fallback", [None, "eu-west-1"])
def test_aws_region_is_the_region_as_the_remedy_says(fallback: str | None) -> None:
    os.environ.pop("AWS_DEFAULT_REGION", None)
    os.environ.update({"AWS_REGION": "eu-north-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    if fallback:
        os.environ["AWS_DEFAULT_REGION"] = fallback
    os.environ["AWS_MAX_ATTEMPTS"] = "1"
    with pytest.raises(NoAnswerError) as caught:
        Stack()
    assert "is 'eu-north-1' a Region?" in caught.value.remedy


def test_without_credentials_the_remedy_is_to_sign_in() -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        os.environ.pop(name, None)
    with pytest.raises(CommandError, match="no AWS credentials"):
        Stack(region="eu-west-1")


def test_a_profile_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="images"):
        Stack(region="eu-west-1", profile="images")


def test_an_endpoint_that_does_not_answer_is_no_trace() -> None:
    os.environ["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    os.environ["AWS_MAX_ATTEMPTS"] = "1"
    with pytest.raises(NoAnswerError, match="AWS does not answer"):
        Stack(region="eu-west-1")
