"""CloudFormation's functions, evaluated over a template and the resources made so far."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from scripts.local.errors import LocalAwsError

NO_VALUE = object()
Lookup = Callable[[str, str | None], Any]


class Intrinsics:
    """Resolves values. `attribute(logical_id, None)` is Ref, with a name it is GetAtt."""

    def __init__(
        self,
        template: Mapping[str, Any],
        parameters: Mapping[str, Any],
        pseudo: Mapping[str, Any],
        attribute: Lookup,
        exports: Mapping[str, str] | None = None,
    ) -> None:
        self._template = template
        self._parameters = parameters
        self._pseudo = pseudo
        self._attribute = attribute
        self._exports = exports or {}
        self._conditions: dict[str, bool] = {}

    def resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            found = [self.resolve(item) for item in value]
            return [item for item in found if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (name, argument), *_ = value.items()
            if name == "Ref":
                return self._ref(argument)
            if name == "Condition" and isinstance(argument, str) and argument in self._declared():
                return self.condition(argument)
            if name.startswith("Fn::"):
                return self._function(name[4:], argument)
        found_map = {k: self.resolve(v) for k, v in value.items()}
        return {k: v for k, v in found_map.items() if v is not NO_VALUE}

    def _declared(self) -> Mapping[str, Any]:
        return self._template.get("Conditions", {})  # type: ignore[no-any-return]

    def condition(self, name: str) -> bool:
        if name not in self._conditions:
            self._conditions[name] = bool(self.resolve(self._declared()[name]))
        return self._conditions[name]

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self._pseudo:
            return self._pseudo[name]
        if name in self._parameters:
            return self._parameters[name]
        return self._attribute(name, None)

    def _function(self, name: str, argument: Any) -> Any:
        method = getattr(self, f"_fn_{name.lower()}", None)
        if method is None:
            raise LocalAwsError(f"the local AWS knows no Fn::{name}: add it in intrinsics.py")
        return method(argument)

    def _fn_getatt(self, argument: Any) -> Any:
        name, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
        return self._attribute(name, self.resolve(attribute))

    def _fn_join(self, argument: Any) -> str:
        separator, parts = argument
        return str(separator).join(str(p) for p in self.resolve(parts))

    def _fn_sub(self, argument: Any) -> str:
        text, values = (argument, {}) if isinstance(argument, str) else argument
        known = self.resolve(values)

        def put(match: re.Match[str]) -> str:
            name = match[1].strip()
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in known:
                return str(known[name])
            if "." in name and not name.startswith("AWS::"):
                return str(self._fn_getatt(name))
            return str(self._ref(name))

        return re.sub(r"\$\{([^}]+)\}", put, text)

    def _fn_if(self, argument: Any) -> Any:
        name, yes, no = argument
        return self.resolve(yes if self.condition(name) else no)

    def _fn_equals(self, argument: Any) -> bool:
        left, right = self.resolve(argument)
        return str(left) == str(right)

    def _fn_and(self, argument: Any) -> bool:
        return all(self.resolve(argument))

    def _fn_or(self, argument: Any) -> bool:
        return any(self.resolve(argument))

    def _fn_not(self, argument: Any) -> bool:
        return not self.resolve(argument)[0]

    def _fn_contains(self, argument: Any) -> bool:
        options, wanted = self.resolve(argument)
        return wanted in options

    def _fn_select(self, argument: Any) -> Any:
        index, items = argument
        return self.resolve(items)[int(self.resolve(index))]

    def _fn_split(self, argument: Any) -> list[str]:
        separator, text = argument
        return str(self.resolve(text)).split(separator)

    def _fn_findinmap(self, argument: Any) -> Any:
        name, first, second = (self.resolve(a) for a in argument[:3])
        return self._template["Mappings"][name][first][second]

    def _fn_base64(self, argument: Any) -> str:
        return base64.b64encode(str(self.resolve(argument)).encode()).decode()

    def _fn_getazs(self, argument: Any) -> list[str]:
        region = self.resolve(argument) or self._pseudo["AWS::Region"]
        return [f"{region}{letter}" for letter in "abc"]

    def _fn_importvalue(self, argument: Any) -> str:
        name = self.resolve(argument)
        if name not in self._exports:
            raise LocalAwsError(f"no stack exports {name!r}")
        return self._exports[name]

    def _fn_tojsonstring(self, argument: Any) -> str:
        return json.dumps(self.resolve(argument), separators=(",", ":"))

    def _fn_length(self, argument: Any) -> int:
        return len(self.resolve(argument))


def references(value: Any, names: frozenset[str]) -> set[str]:
    """Logical ids that a value mentions by Ref, GetAtt or Sub."""
    found: set[str] = set()
    if isinstance(value, list):
        for item in value:
            found |= references(item, names)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "Ref" and isinstance(item, str):
                found.add(item)
            elif key == "Fn::GetAtt":
                found.add(item.split(".")[0] if isinstance(item, str) else item[0])
            elif key == "Fn::Sub":
                text = item if isinstance(item, str) else item[0]
                found |= {m.split(".")[0] for m in re.findall(r"\$\{([^}!]+)\}", text)}
                found |= references(item, names)
            else:
                found |= references(item, names)
    return found & names
