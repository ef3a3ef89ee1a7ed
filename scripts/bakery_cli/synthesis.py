"""The cloud assembly of the present sources, for the local AWS: kept until a source changes."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scripts.bakery_cli.errors import CommandError

PROJECT = Path(__file__).resolve().parents[2]
ASSEMBLIES = PROJECT / "build" / "assembly"
_SOURCES = ("app.py", "cdk.json", "requirements.lock", "infra", "functions", "documents")
_KEPT = 4
_KEPT_SECONDS = 24 * 3600


def synthesize(
    recipes: Path, say: Callable[[str], None], *, choices: Mapping[str, Any] | None = None
) -> Path:
    """The cloud assembly of the present sources, made anew only if they have changed.

    ``choices`` is context beside that of ``cdk.json``.
    """
    context = {**_context(PROJECT), **(choices or {}), "recipes": str(recipes.resolve())}
    folder = ASSEMBLIES / _key(recipes, context)
    if not (folder / "manifest.json").exists():
        say("Synthesizing the stack (a few seconds, only after a change)")
        _run_app(context, folder)
    os.utime(folder)
    _forget_old()
    return folder


def recipes_folder() -> Path:
    """The folder of recipes that the project in the present directory is deployed with."""
    return Path(_context(Path()).get("recipes", "recipes"))


def _context(project: Path) -> dict[str, Any]:
    file = project / "cdk.json"
    if not file.is_file():
        return {}
    return dict(json.loads(file.read_text(encoding="utf-8")).get("context", {}))


def _key(recipes: Path, context: Mapping[str, Any]) -> str:
    """Changes with every file and choice that the template or the asset is made of."""
    key = hashlib.sha256(f"{sys.version}\0{json.dumps(context, sort_keys=True)}".encode())
    for source in [*(PROJECT / name for name in _SOURCES), recipes.resolve()]:
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if path.is_file() and "__pycache__" not in path.parts:
                key.update(f"\0{path}\0".encode() + path.read_bytes())
    return key.hexdigest()[:16]


def _run_app(context: Mapping[str, Any], folder: Path) -> None:
    """``app.py`` as the CDK runs it: context and output folder come by environment."""
    ASSEMBLIES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ASSEMBLIES, prefix=".new-") as name:
        made = Path(name) / "assembly"
        environment = {
            **os.environ,
            "CDK_OUTDIR": str(made),
            "CDK_CONTEXT_JSON": json.dumps(context),
        }
        done = subprocess.run(
            [sys.executable, "app.py"], cwd=PROJECT, env=environment, capture_output=True, text=True
        )
        if done.returncode:
            raise CommandError(f"The stack cannot be synthesized:\n{done.stderr.strip()}")
        try:
            made.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another command made the same at the same time
                raise


def _forget_old() -> None:
    """Remove assemblies that nobody used for a day, but the newest few."""
    found = sorted(
        ASSEMBLIES.glob("[0-9a-f]*"), key=lambda path: path.stat().st_mtime, reverse=True
    )
    for path in found[_KEPT:]:
        if time.time() - path.stat().st_mtime > _KEPT_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
