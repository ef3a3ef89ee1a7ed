"""Records in the shape the API documents, and what every Describe call does with them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from scripts.local.errors import AwsError

Record = dict[str, Any]
Getter = str | Callable[[Record], Any]
_RANDOM = random.SystemRandom()


def new_id(prefix: str) -> str:
    return f"{prefix}-0{_RANDOM.getrandbits(64):016x}"


def values_at(record: Any, path: str) -> list[Any]:
    """Everything at a dotted path; lists on the way are looked into."""
    found = [record]
    for key in path.split("."):
        flat: list[Any] = []
        for item in found:
            items = item if isinstance(item, list) else [item]
            flat.extend(i[key] for i in items if isinstance(i, Mapping) and i.get(key) is not None)
        found = flat
    return [v for item in found for v in (item if isinstance(item, list) else [item])]


def text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


@lru_cache(maxsize=1024)
def _wildcard(pattern: str) -> re.Pattern[str]:
    regex = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.compile(regex, re.DOTALL)


def tags_of(record: Record) -> dict[str, str]:
    return {t["Key"]: t["Value"] for t in record.get("Tags", [])}


def _actual(record: Record, name: str, getters: Mapping[str, Getter]) -> list[str]:
    if name.startswith("tag:"):
        value = tags_of(record).get(name[4:])
        return [] if value is None else [value]
    if name == "tag-key":
        return list(tags_of(record))
    getter = getters.get(name)
    if getter is None:
        raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
    found = values_at(record, getter) if isinstance(getter, str) else getter(record)
    return [text(v) for v in (found if isinstance(found, list) else [found])]


def filtered(
    records: Iterable[Record],
    filters: Sequence[Mapping[str, Any]] | None,
    getters: Mapping[str, Getter],
) -> list[Record]:
    """Filters are ANDed, their values ORed; `*` and `?` are wildcards; an unknown filter is an
    error."""
    kept = list(records)
    for filter_ in filters or []:
        name = str(filter_["Name"])
        patterns = [_wildcard(str(v)) for v in filter_.get("Values") or []]
        _actual({}, name, getters) if not kept else None
        kept = [
            r
            for r in kept
            if any(p.fullmatch(v) for v in _actual(r, name, getters) for p in patterns)
        ]
    return kept


def page(
    items: Sequence[Any], parameters: Mapping[str, Any], default: int = 1000
) -> tuple[list[Any], str | None]:
    """One page by MaxResults and NextToken."""
    start = int(parameters.get("NextToken") or 0)
    size = int(parameters.get("MaxResults") or default)
    rest = str(start + size) if start + size < len(items) else None
    return list(items[start : start + size]), rest


def specified_tags(
    parameters: Mapping[str, Any], kind: str, allowed: Sequence[str]
) -> list[dict[str, str]]:
    """The tags that a TagSpecification gives to one resource type; other types than `allowed`
    are refused."""
    tags: list[dict[str, str]] = []
    for spec in parameters.get("TagSpecifications") or []:
        if spec.get("ResourceType") not in allowed:
            message = (
                f"'{spec.get('ResourceType')}' is not a valid taggable resource type for this "
                "operation."
            )
            raise AwsError("InvalidParameterValue", message)
        if spec["ResourceType"] == kind:
            tags.extend(
                {"Key": t["Key"], "Value": t.get("Value", "")} for t in spec.get("Tags") or []
            )
    check_tags(tags)
    return tags


def check_tags(tags: Sequence[Mapping[str, str]]) -> None:
    keys = [t["Key"] for t in tags]
    if len(set(keys)) != len(keys):
        raise AwsError("InvalidParameterValue", "Duplicate tag key specified.")
    if len(keys) > 50:
        raise AwsError("TagLimitExceeded", "The maximum number of tags for a resource is 50.")
    for tag in tags:
        if tag["Key"].lower().startswith("aws:"):
            raise AwsError(
                "InvalidParameterValue", f"Tag keys starting with 'aws:' are reserved: {tag['Key']}"
            )
        if len(tag["Key"]) > 128 or len(tag.get("Value", "")) > 256:
            raise AwsError("InvalidParameterValue", f"Tag key or value is too long: {tag['Key']}")


def set_tags(record: Record, tags: Iterable[Mapping[str, str]]) -> None:
    merged = {**tags_of(record), **{t["Key"]: t.get("Value", "") for t in tags}}
    record["Tags"] = [{"Key": k, "Value": v} for k, v in merged.items()]
