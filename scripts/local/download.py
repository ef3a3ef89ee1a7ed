"""The part of aws:downloadContent that fetches one file."""

import json
import posixpath
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Fetch = Callable[[str, Mapping[str, Any]], bytes]
"""(source type, source info) to content; raises DownloadError."""


class DownloadError(Exception):
    """The content could not be fetched; the step fails with this text."""


@dataclass(frozen=True)
class Content:
    """What was fetched, and the file name that the agent would give it in a directory."""

    name: str
    data: bytes

    @classmethod
    def of(cls, inputs: Mapping[str, Any], fetch: Fetch) -> "Content":
        """Fetch what a step's inputs name."""
        kind, info = str(inputs.get("sourceType", "")), inputs.get("sourceInfo", "")
        if kind not in ("S3", "HTTP"):
            raise DownloadError(f"sourceType {kind!r}: the local runner knows S3 and HTTP")
        try:
            parsed = info if isinstance(info, Mapping) else json.loads(info)
        except ValueError as error:
            raise DownloadError(f"SourceInfo is not JSON: {error}") from error
        key = "path" if kind == "S3" else "url"
        address = str(parsed.get(key, "")).strip()
        if not address:
            raise DownloadError(f"SourceInfo has no {key!r}")
        path = urllib.parse.urlsplit(address).path
        name = posixpath.basename(urllib.parse.unquote(path)) or "download"
        return cls(name, fetch(kind, {**parsed, key: address}))


def fetch_http(kind: str, info: Mapping[str, Any]) -> bytes:
    """Fetch over HTTPS; the local AWS passes a function that also knows its S3."""
    if kind != "HTTP":
        raise DownloadError(f"there is no {kind} here; only HTTP sources can be fetched")
    address = urllib.parse.urlsplit(str(info["url"]))
    insecure = str(info.get("allowInsecureDownload", "")).lower() == "true"
    if address.scheme != "https" and not (address.scheme == "http" and insecure):
        raise DownloadError(f"{info['url']}: only https, unless allowInsecureDownload is true")
    try:
        with urllib.request.urlopen(str(info["url"]), timeout=60) as answer:
            return bytes(answer.read())
    except OSError as error:
        raise DownloadError(f"{info['url']}: {error}") from error
