"""The part of Windows PowerShell that can be had: .NET, by Microsoft's runtime of .NET Core 3.1.

PowerShell's engine is not in it; but its `[regex]` and `[IO.File]` are, and what the documents do
with an agent's files is these. (Its `[xml]` is there, and wants an OpenSSL that is not to be had.)
"""

import importlib
import importlib.util
import json
import re
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

_ASSEMBLIES = (
    *("System.Text.RegularExpressions", "System.Runtime.Extensions"),
    "System.IO.FileSystem",
)


@lru_cache(maxsize=1)
def _load() -> None:
    """Start the runtime, once in the process: it cannot be ended."""
    pythonnet, coreclr = map(importlib.import_module, ("pythonnet", "clr_loader"))
    found = importlib.util.find_spec("dotnetcore2")
    assert found is not None and found.origin is not None
    # Without its cultures, for which it would want a library that it does not bring.
    configuration = {
        "runtimeOptions": {
            "tfm": "netcoreapp3.1",
            "framework": {"name": "Microsoft.NETCore.App", "version": "3.1.0"},
            "configProperties": {"System.Globalization.Invariant": True},
        }
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "runtimeconfig.json")
        file.write_text(json.dumps(configuration))
        root = Path(found.origin).parent / "bin"
        pythonnet.set_runtime(coreclr.get_coreclr(runtime_config=str(file), dotnet_root=str(root)))
        clr = importlib.import_module("clr")
    for name in _ASSEMBLIES:
        clr.AddReference(name)


def of(namespace: str) -> Any:
    """The types of a namespace, as attributes."""
    _load()
    return importlib.import_module(namespace)


def replace(text: str, find: str, replacement: str) -> str:
    """[regex]::Replace"""
    found: str = of("System.Text.RegularExpressions").Regex.Replace(text, find, replacement)
    return found


def is_match(text: str, pattern: str) -> bool:
    """[regex]::IsMatch"""
    return bool(of("System.Text.RegularExpressions").Regex.IsMatch(text, pattern))


def replacement_of(row: Any, quoted: str) -> str:
    """What a row of the table puts in place, as the document makes it."""
    return str(re.sub("@PASSWORD@", lambda _: quoted, row["replace"]))
