"""``python -m scripts.generate [--check]``: write the generated files, or say which are stale."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scripts.generate import (
    fault_catalogue,
    machine_diagram,
    recipe_reference,
    recipe_schema,
    rights,
)

PROJECT = Path(__file__).resolve().parents[2]

GENERATED: Mapping[str, Callable[[], str]] = {
    "recipes/recipe.schema.json": recipe_schema.text,
    "docs/faults.md": fault_catalogue.text,
    "docs/recipe-reference.md": recipe_reference.text,
    "docs/rights.md": rights.text,
    "README.md": machine_diagram.text,
}


def stale(project: Path = PROJECT) -> dict[Path, str]:
    """Every generated file that is not what the code makes of it today, with its new content."""
    contents = {project / name: make() for name, make in GENERATED.items()}
    return {path: text for path, text in contents.items() if _present(path) != text}


def _present(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 when ``--check`` finds a stale file."""
    parser = argparse.ArgumentParser(prog="python -m scripts.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if stale")
    check = parser.parse_args(argv).check
    files = stale()
    for path, text in files.items():
        name = path.relative_to(PROJECT)
        if check:
            sys.stderr.write(f"{name}: is not what the code says; run `make generate`\n")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        sys.stdout.write(f"Wrote {name}\n")
    return 1 if check and files else 0


if __name__ == "__main__":
    sys.exit(main())
