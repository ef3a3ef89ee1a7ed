"""``recipes/recipe.schema.json``: what lets an editor complete and check a recipe."""

import json
from typing import Any

from bakery.recipe import Recipe


def schema() -> dict[str, Any]:
    """The recipe model as a JSON schema, without the names that pydantic makes up for fields."""
    made = Recipe.model_json_schema()
    for model in [made, *made["$defs"].values()]:
        for field in model.get("properties", {}).values():
            field.pop("title", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def text() -> str:
    """The file's content."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
