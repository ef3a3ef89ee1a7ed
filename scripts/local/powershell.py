"""PowerShell as far as it can be judged without PowerShell: by its grammar.

No PowerShell engine can be had where the tests run, so what a script does is not proven here. What
its text says is: that it parses, that it keeps to what Windows PowerShell 4.0 on Server 2012 R2
knows, and that it does not fall into the traps that only show when it runs.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

COMMANDS: Final[Mapping[str, set[str]]] = {
    "Add-Type": {"AssemblyName"},
    "ConvertFrom-Json": set(),
    "ForEach-Object": set(),
    "Get-ChildItem": {"Path"},
    "Get-CimInstance": {"ClassName", "Filter", "Namespace"},
    "Get-Item": {"LiteralPath"},
    "Get-ScheduledTask": {"TaskName"},
    "Get-Service": set(),
    "Get-UICulture": set(),
    "Get-WinSystemLocale": set(),
    "Invoke-CimMethod": {"Arguments", "ClassName", "MethodName"},
    "Invoke-RestMethod": {"Body", "ContentType", "Headers", "Method", "Uri"},
    "New-Item": {"Force", "ItemType", "Path"},
    "New-Object": {"ArgumentList", "TypeName"},
    "Out-Null": set(),
    "Remove-Item": {"Force", "LiteralPath", "Recurse"},
    "Set-StrictMode": {"Version"},
    "Start-Sleep": {"Seconds"},
    "Test-Path": {"LiteralPath"},
    "Where-Object": set(),
    "Write-Output": set(),
}
"""What our scripts may call, with the parameters they may give: all of Windows PowerShell 4.0 (the
modules CimCmdlets, International and ScheduledTasks come with Server 2012 R2), and no alias."""

_AUTOMATIC: Final = {
    "_",
    "false",
    "lastexitcode",
    "matches",
    "null",
    "pscommandpath",
    "psversiontable",
    "true",
}
_OWN_FOLDER: Final = '"$env:ProgramData\\ami-bakery"'
_AGENT: Final = re.compile(
    r'& "\$env:ProgramFiles\\Amazon\\'
    r'|& "\$env:windir\\System32\\WindowsPowerShell\\v1\.0\\powershell\.exe" -NoProfile '
    r'-NonInteractive -ExecutionPolicy Bypass -File "\$env:ProgramData\\Amazon\\'
)
"""A program of a launch agent, or a script of one in a process of its own: our strict mode would
hold in a script that is called."""
_NATIVE: Final = re.compile(r"\.exe[\"']\s")
_NEWER: Final = {
    "class_statement": "classes",
    "enum_statement": "enumerations",
    "pipeline_chain_tail": "&& and ||",
}


def syntax_error(script: str) -> str:
    """The first place where the script is no PowerShell; empty when it is."""
    for node in _walk(_parsed(script)):
        if node.is_error or node.is_missing:
            line, column = node.start_point
            text = _text(node).split("\n", 1)[0][:60] or node.type
            return f"line {line + 1}, column {column + 1}: no PowerShell at {text!r}"
    return ""


def findings(script: str) -> list[str]:
    """Everything about one of our own scripts that breaks a rule; empty when nothing does."""
    if error := syntax_error(script):
        return [error]
    root = _parsed(script)
    found = [*_newer(root), *_commands(root), *_variables(root), *_unjudged_natives(root)]
    found += [*_deletions(root), *_shown(root)]
    if not script.isascii():
        found.append("has a character that is not ASCII: PowerShell 4 reads it in its own way")
    found += [
        f"line {node.start_point[0] + 1}: redirects, which makes an error of a program's stderr"
        for node in _walk(root)
        if node.type == "redirection"
    ]
    return found


def literals(script: str) -> Iterator[str]:
    """Every text that stands in quotes in the script, without them."""
    for node in _walk(_parsed(script)):
        if node.type == "string_literal":
            text = _text(node)
            yield text[2:-2].strip("\r\n") if text.startswith("@") else text[1:-1]


def here_strings(script: str) -> list[str]:
    """The contents of the single-quoted here-strings of a script, in order."""
    return [
        _text(node)[2:-2].strip("\r\n")
        for node in _walk(_parsed(script))
        if node.type == "verbatim_here_string_characters"
    ]


def functions(script: str) -> dict[str, str]:
    """The text of each function that the script defines."""
    return {_name(node): _text(node) for node in _functions(_parsed(script))}


@lru_cache(maxsize=64)
def _parsed(script: str) -> Node:
    return Parser(Language(tree_sitter_powershell.language())).parse(script.encode()).root_node


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _text(node: Node) -> str:
    return (node.text or b"").decode()


def _functions(root: Node) -> Iterator[Node]:
    return (node for node in _walk(root) if node.type == "function_statement")


def _name(function: Node) -> str:
    return next(_text(child) for child in function.children if child.type == "function_name")


def _newer(root: Node) -> Iterator[str]:
    for node in _walk(root):
        line = node.start_point[0] + 1
        if node.type in _NEWER:
            yield f"line {line}: {_NEWER[node.type]} are newer than PowerShell 4"
        if node.type == "invokation_expression" and re.match(r"\[[\w.]+\]::new\(", _text(node)):
            yield f"line {line}: ::new() is newer than PowerShell 4; use New-Object"


def _commands(root: Node) -> Iterator[str]:
    own = {_name(node) for node in _functions(root)}
    for node in _walk(root):
        if node.type != "command":
            continue
        line, words = node.start_point[0] + 1, _text(node)
        name = node.child_by_field_name("command_name")
        called = _text(name) if name else ""
        if words.startswith("&"):
            if not _AGENT.match(words):
                yield f"line {line}: runs something that is no program of a launch agent: {words}"
        elif called in COMMANDS:
            yield from (
                f"line {line}: {called} with -{parameter}, which is not among those it may have"
                for parameter in _parameters(node)
                if parameter not in COMMANDS[called]
            )
        elif called not in own:
            yield f"line {line}: {called} is no command that our scripts may use"
        if called == "Remove-Item" and f"-LiteralPath {_OWN_FOLDER} " not in words:
            yield f"line {line}: removes something else than {_OWN_FOLDER}"


def _deletions(root: Node) -> Iterator[str]:
    """Deletions by .NET, which are for one function, and that for folders of the SSM agent."""
    for node in _walk(root):
        if node.type != "invokation_expression" or "::delete(" not in _text(node).lower():
            continue
        above = node.parent
        while above is not None and above.type != "function_statement":
            above = above.parent
        if above is None or _name(above) != "Remove-EarlierCommand":
            yield f"line {node.start_point[0] + 1}: deletes outside Remove-EarlierCommand"


_SECRET: Final = {"$value", "$object", "$text", "$parsed", "$answer", "$before", "$after"}


def _shown(root: Node) -> Iterator[str]:
    """What may be a password and goes to a cmdlet, which PowerShell's module logging writes down.

    Functions of the script itself are not logged. Source: Microsoft, about_Logging.
    """
    for node in _walk(root):
        name = node.child_by_field_name("command_name") if node.type == "command" else None
        pipeline = node.parent
        if name is None or pipeline is None or _text(name) not in COMMANDS:
            continue
        given = {_text(it) for it in _walk(node) if it.type == "variable" and not _in_block(it)}
        if len(pipeline.named_children) > 1:
            first = pipeline.named_children[0]
            given |= {_text(it) for it in _walk(first) if it.type == "variable"}
        for variable in sorted(given & _SECRET):
            yield f"line {node.start_point[0] + 1}: {_text(name)} is given {variable}"


def _in_block(node: Node) -> bool:
    """Whether it is read later, in a script block."""
    above = node.parent
    while above is not None and above.type != "command":
        if above.type == "script_block_expression":
            return True
        above = above.parent
    return False


def _parameters(command: Node) -> list[str]:
    elements = command.child_by_field_name("command_elements")
    found = elements.children if elements else []
    return [_text(it).lstrip("-").rstrip(":") for it in found if it.type == "command_parameter"]


def _variables(root: Node) -> Iterator[str]:
    """Variables that are read but set nowhere, which strict mode refuses when it gets there."""
    variables = [node for node in _walk(root) if node.type == "variable"]
    known = {_variable(node) for node in variables if _is_set(node)}
    for node in variables:
        name = _variable(node)
        if not name.startswith("env:") and name not in known | _AUTOMATIC:
            yield f"line {node.start_point[0] + 1}: ${name} is set nowhere"


def _variable(node: Node) -> str:
    return _text(node).lstrip("$").strip("{}").lower()


def _is_set(variable: Node) -> bool:
    """Whether it stands left of an assignment, or is what a loop or a function sets."""
    above = variable.parent
    if above is None or above.type in ("foreach_statement", "script_parameter"):
        return above is not None
    while above.parent is not None and above.type != "left_assignment_expression":
        if above.text != variable.text:
            return False
        above = above.parent
    return above.type == "left_assignment_expression"


def _unjudged_natives(root: Node) -> Iterator[str]:
    """Programs end with codes that no error handling sees: the next statement must look."""
    for list_ in _walk(root):
        if list_.type != "statement_list":
            continue
        statements = [it for it in list_.named_children if it.type != "comment"]
        for statement, following in zip(statements, [*statements[1:], None], strict=True):
            text = _text(statement)
            if not (text.startswith("&") and _NATIVE.search(text)):
                continue
            if following is None or "$LASTEXITCODE" not in _text(following):
                yield f"line {statement.start_point[0] + 1}: nobody looks at its exit code: {text}"
