"""Keeping the local AWS apart from whatever AWS the user works with."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_NOTHING_OF_THE_USER = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}


@contextmanager
def no_aws_settings() -> Iterator[None]:
    """Hide the user's AWS settings and proxies: nothing of this may reach a real account.

    Enter it before moto is imported, which reads them.
    """
    before = dict(os.environ)
    for name in before:
        if name.startswith("AWS_"):
            del os.environ[name]
    os.environ.update(_NOTHING_OF_THE_USER)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
