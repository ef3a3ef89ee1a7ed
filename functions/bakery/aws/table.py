"""The bakery's table: open waits, claims that something happens once, and texts to recall.

Key ``part`` and ``id``. All waits are one part, and all claims another, so that the sweeper, every
minute, reads these and nothing else; each text, which may be long, is a part of its own.
``expires`` (epoch seconds) lets DynamoDB forget an item.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from bakery import parts
from bakery.aws import clients
from bakery.aws.failures import code_of, translated
from bakery.waits import EVERY, Wait

# A little longer than the longest wait, so that an item never vanishes under a live one.
_WAIT_LIFE = timedelta(days=2)


def store_wait(table: str, wait: Wait) -> None:
    """Remember the wait, in place of an earlier one for its subject (a retry has a new token)."""
    with translated("dynamodb:PutItem", wait.subject):
        clients.dynamodb().put_item(
            TableName=table,
            Item={
                **_key(parts.WAITS, wait.subject),
                "wait": {"S": wait.model_dump_json()},
                "token": {"S": wait.token},
                **_expiry(wait.deadline + _WAIT_LIFE),
            },
        )


def find_waits(table: str, subject: str) -> list[Wait]:
    """The open waits for the subject: one at most, any number for one that ends in EVERY."""
    if subject.endswith(EVERY):
        items = list(_items(table, parts.WAITS, subject.removesuffix(EVERY)))
    else:
        item = _item(table, parts.WAITS, subject)
        items = [item] if item else []
    return [Wait.model_validate_json(item["wait"]["S"]) for item in items]


def open_waits(table: str) -> Iterator[tuple[str, str]]:
    """Subject and JSON of all open waits: one that another release wrote may not fit the model."""
    for item in _items(table, parts.WAITS, ""):
        yield item["id"]["S"], item["wait"]["S"]


def forget_wait(table: str, wait: Wait) -> None:
    """Forget the wait, unless a retry has stored a newer one for the same subject."""
    with translated("dynamodb:DeleteItem", wait.subject):
        try:
            clients.dynamodb().delete_item(
                TableName=table,
                Key=_key(parts.WAITS, wait.subject),
                ConditionExpression="#token = :token",
                ExpressionAttributeNames={"#token": "token"},
                ExpressionAttributeValues={":token": {"S": wait.token}},
            )
        except ClientError as error:
            if code_of(error) != "ConditionalCheckFailedException":
                raise


def claim(table: str, what: str, *, by: str, now: datetime, days: int) -> str:
    """Claim ``what`` for ``by`` unless somebody holds it; returns the holder. Safe to repeat."""
    with translated("dynamodb:PutItem", what):
        try:
            clients.dynamodb().put_item(
                TableName=table,
                Item=_claim(what, by, now + timedelta(days=days)),
                ConditionExpression="attribute_not_exists(id) OR holder = :holder",
                ExpressionAttributeValues={":holder": {"S": by}},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if code_of(error) != "ConditionalCheckFailedException":
                raise
            item: dict[str, Any] = error.response.get("Item", {})  # type: ignore[assignment]
            return str(item.get("holder", {}).get("S", "another bake"))
    return by


def take_over(table: str, what: str, *, holder: str, by: str, expires: datetime) -> bool:
    """Move the claim of ``what`` from ``holder`` to ``by``; False if it changed meanwhile."""
    with translated("dynamodb:PutItem", what):
        try:
            clients.dynamodb().put_item(
                TableName=table,
                Item=_claim(what, by, expires),
                ConditionExpression="attribute_not_exists(id) OR holder = :holder",
                ExpressionAttributeValues={":holder": {"S": holder}},
            )
        except ClientError as error:
            if code_of(error) != "ConditionalCheckFailedException":
                raise
            return False
    return True


def release(table: str, what: str, *, by: str) -> None:
    """End the claim of ``what`` if ``by`` holds it."""
    with translated("dynamodb:DeleteItem", what):
        try:
            clients.dynamodb().delete_item(
                TableName=table,
                Key=_key(parts.CLAIMS, what),
                ConditionExpression="attribute_not_exists(id) OR holder = :holder",
                ExpressionAttributeValues={":holder": {"S": by}},
            )
        except ClientError as error:
            if code_of(error) != "ConditionalCheckFailedException":
                raise


def assign(table: str, what: str, *, by: str, now: datetime, days: int) -> None:
    """Give the claim of ``what`` to ``by``, whoever holds it."""
    with translated("dynamodb:PutItem", what):
        clients.dynamodb().put_item(
            TableName=table, Item=_claim(what, by, now + timedelta(days=days))
        )


def holders(table: str, prefix: str) -> dict[str, str]:
    """Who holds the claims that begin with ``prefix``, by the rest of their names."""
    return {
        item["id"]["S"].removeprefix(prefix): item["holder"]["S"]
        for item in _items(table, parts.CLAIMS, prefix)
    }


def holder_of(table: str, what: str) -> str | None:
    """Who has claimed ``what``, or None."""
    item = _item(table, parts.CLAIMS, what)
    return item["holder"]["S"] if item else None


def remember(table: str, key: str, text: str, now: datetime, *, days: int) -> None:
    """Keep a text for so many days, in place of an earlier one."""
    with translated("dynamodb:PutItem", key):
        clients.dynamodb().put_item(
            TableName=table,
            Item={**_text(key), "text": {"S": text}, **_expiry(now + timedelta(days=days))},
        )


def recall(table: str, key: str) -> str | None:
    """The text that ``remember`` kept, or None."""
    with translated("dynamodb:GetItem", key):
        found = clients.dynamodb().get_item(TableName=table, Key=_text(key), ConsistentRead=True)
    return found["Item"]["text"]["S"] if "Item" in found else None


def forget(table: str, key: str) -> None:
    """Drop the text that ``remember`` kept; harmless when there is none."""
    with translated("dynamodb:DeleteItem", key):
        clients.dynamodb().delete_item(TableName=table, Key=_text(key))


def _items(table: str, part: str, prefix: str) -> Iterator[Any]:
    condition, values = "part = :part", {":part": {"S": part}}
    if prefix:
        condition += " AND begins_with(id, :prefix)"
        values[":prefix"] = {"S": prefix}
    with translated("dynamodb:Query", table):
        pages = (
            clients.dynamodb()
            .get_paginator("query")
            .paginate(
                TableName=table,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                ConsistentRead=True,
            )
        )
        for page in pages:
            yield from page["Items"]


def _item(table: str, part: str, id_: str) -> Any:
    with translated("dynamodb:GetItem", id_):
        return (
            clients.dynamodb()
            .get_item(TableName=table, Key=_key(part, id_), ConsistentRead=True)
            .get("Item")
        )


def _claim(what: str, by: str, expires: datetime) -> Any:
    return {**_key(parts.CLAIMS, what), "holder": {"S": by}, **_expiry(expires)}


def _text(key: str) -> Any:
    return _key(parts.text(key), "text")


def _key(part: str, id_: str) -> Any:
    return {"part": {"S": part}, "id": {"S": id_}}


def _expiry(moment: datetime) -> Any:
    return {"expires": {"N": str(int(moment.timestamp()))}}
