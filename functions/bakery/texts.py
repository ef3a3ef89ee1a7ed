"""What no text of a recipe may have: characters that nobody sees, and words that a tool between
the recipe and the builder would put something else in the place of. Pure.
"""

import re
from collections.abc import Iterator, Mapping

from bakery.problems import Problem

BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Characters, as a class of a pattern, that show a text in another order than it is run in.
Source: Unicode, Bidi_Control; CVE-2021-42574."""

# Tabs and line ends are what texts consist of, too. Half of a pair of UTF-16 is no character.
_HIDDEN = re.compile(rf"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{BIDI}\ud800-\udfff]")

# CloudFormation replaces dynamic references in any property, even by secrets. Source:
# CloudFormation user guide, "Get values stored in other services using dynamic references".
_REFERENCE = re.compile(r"\{\{resolve:[^{}]+\}\}")

# What the CDK writes for values that are not known yet. Source: aws-cdk-lib, core/private/encoding.
_TOKEN = re.compile(r"[$#]\{Token\[[A-Za-z0-9:._-]+\]\}|-1\.[0-9]{10,16}e\+289")


def problems(content: object, path: str = "") -> Iterator[Problem]:
    """Everything of the kind in plain data, keys included, each with its path and line."""
    if isinstance(content, str):
        for number, message in _of_text(content):
            yield Problem(path, message, number)
    elif isinstance(content, Mapping):
        for key, value in content.items():
            inner = f"{path}.{key}" if path else str(key)
            for _, message in _of_text(str(key)):
                yield Problem(inner, f"its name {message}")
            yield from problems(value, inner)
    elif isinstance(content, list | tuple):
        for index, value in enumerate(content):
            yield from problems(value, f"{path}[{index}]")


def _of_text(text: str) -> Iterator[tuple[int, str]]:
    """Line, from 1, and message of the first thing of each kind; the line is 0 if it has one."""
    if found := _HIDDEN.search(text):
        yield (
            _line(text, found),
            f"has the invisible character U+{ord(found.group()[0]):04X}; remove it (in a script, "
            "let printf make it)",
        )
    for pattern, who in ((_REFERENCE, "CloudFormation"), (_TOKEN, "the CDK")):
        if found := pattern.search(text):
            yield (
                _line(text, found),
                f"{found.group()} would be replaced by {who} when the stack is deployed; write the "
                "value itself, or in a script break up the braces for the shell to put together: "
                '{""{ for {{',
            )


def _line(text: str, found: re.Match[str]) -> int:
    return text.count("\n", 0, found.start()) + 1 if "\n" in text else 0
