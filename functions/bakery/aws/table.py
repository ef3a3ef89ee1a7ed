"""The bakery's table: open waits, and claims that something happens once.

One item per wait or claim, key ``id``; ``expires`` (epoch seconds) lets DynamoDB forget it.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from bakery.aws import clients
from bakery.aws.failures import code_of, translated
from bakery.waits import EVERY, Wait

# A little longer than the longest wait, so that an item never vanishes under a live one.
_WAIT_LIFE = timedelta(days=2)


def store_wait(table: str, wait: Wait) -> None:
    """Remember the wait, in place of an earlier one for its subject (a retry has a new token)."""
    expires = int((wait.deadline + _WAIT_LIFE).timestamp())
    with translated("dynamodb:PutItem", wait.subject):
        clients.dynamodb().put_item(
            TableName=table,
            Item={
                "id": {"S": _key(wait.subject)},
                "wait": {"S": wait.model_dump_json()},
                "token": {"S": wait.token},
                "expires": {"N": str(expires)},
            },
        )


def find_waits(table: str, subject: str) -> list[Wait]:
    """The open waits for the subject: one at most, any number for one that ends in EVERY."""
    if subject.endswith(EVERY):
        items = list(_items(table, _key(subject.removesuffix(EVERY))))
    else:
        items = _item(table, subject)
    return [Wait.model_validate_json(item["wait"]["S"]) for item in items]


def _item(table: str, subject: str) -> list[Any]:
    with translated("dynamodb:GetItem", subject):
        item = (
            clients.dynamodb()
            .get_item(TableName=table, Key={"id": {"S": _key(subject)}}, ConsistentRead=True)
            .get("Item")
        )
    return [item] if item else []


def open_waits(table: str) -> Iterator[tuple[str, str]]:
    """Key and JSON of all open waits: one that another release wrote may not fit the model."""
    for item in _items(table, _key("")):
        yield item["id"]["S"], item["wait"]["S"]


def _items(table: str, prefix: str) -> Iterator[Any]:
    with translated("dynamodb:Scan", table):
        pages = (
            clients.dynamodb()
            .get_paginator("scan")
            .paginate(
                TableName=table,
                FilterExpression="begins_with(id, :prefix)",
                ExpressionAttributeValues={":prefix": {"S": prefix}},
                ConsistentRead=True,
            )
        )
        for page in pages:
            yield from page["Items"]


def forget_wait(table: str, wait: Wait) -> None:
    """Forget the wait, unless a retry has stored a newer one for the same subject."""
    with translated("dynamodb:DeleteItem", wait.subject):
        try:
            clients.dynamodb().delete_item(
                TableName=table,
                Key={"id": {"S": _key(wait.subject)}},
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
                Key={"id": {"S": f"claim#{what}"}},
                ConditionExpression="attribute_not_exists(id) OR holder = :holder",
                ExpressionAttributeValues={":holder": {"S": by}},
            )
        except ClientError as error:
            if code_of(error) != "ConditionalCheckFailedException":
                raise


def holders(table: str, prefix: str) -> dict[str, str]:
    """Who holds the claims that begin with ``prefix``, by the rest of their names."""
    start = f"claim#{prefix}"
    return {
        item["id"]["S"].removeprefix(start): item["holder"]["S"] for item in _items(table, start)
    }


def remember(table: str, key: str, text: str, now: datetime, *, days: int) -> None:
    """Keep a text for so many days, in place of an earlier one."""
    with translated("dynamodb:PutItem", key):
        clients.dynamodb().put_item(
            TableName=table, Item=_claim(key, text, now + timedelta(days=days))
        )


def forget(table: str, key: str) -> None:
    """Drop the text that ``remember`` kept; harmless when there is none."""
    with translated("dynamodb:DeleteItem", key):
        clients.dynamodb().delete_item(TableName=table, Key={"id": {"S": f"claim#{key}"}})


def recall(table: str, key: str) -> str | None:
    """The text that ``remember`` kept, or None."""
    return holder_of(table, key)


def holder_of(table: str, what: str) -> str | None:
    """Who has claimed ``what``, or None."""
    with translated("dynamodb:GetItem", what):
        item = (
            clients.dynamodb()
            .get_item(TableName=table, Key={"id": {"S": f"claim#{what}"}}, ConsistentRead=True)
            .get("Item")
        )
    return item["holder"]["S"] if item else None


def _claim(what: str, by: str, expires: datetime) -> dict[str, Any]:
    return {
        "id": {"S": f"claim#{what}"},
        "holder": {"S": by},
        "expires": {"N": str(int(expires.timestamp()))},
    }


def _key(subject: str) -> str:
    return f"wait#{subject}"
