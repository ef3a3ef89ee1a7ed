"""Which imports a package tree cannot satisfy, found without running what is built for Lambda."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

# Gone from the standard library between the Python that runs the tests and Lambda's 3.13.
_REMOVED = frozenset(
    ("asynchat", "asyncore", "cgi", "cgitb", "crypt", "distutils", "imghdr", "imp", "lib2to3")
    + ("nntplib", "pipes", "smtpd", "sndhdr", "telnetlib", "uu", "xdrlib")
)
_STANDARD = frozenset(sys.stdlib_module_names) - _REMOVED


def missing_imports(folder: Path, modules: list[str]) -> list[tuple[str, str]]:
    """Pairs (importer, module) that ``modules`` reach when imported and ``folder`` does not have.

    Of third parties only what they import unconditionally counts: what stands in a function, in a
    ``try`` or in an ``if`` is optional to them. Our own package must have all that it names.
    """
    missing: set[tuple[str, str]] = set()
    waiting, seen = list(modules), set(modules)
    while waiting:
        module = waiting.pop()
        path = _file_of(folder, module)
        if path is None:
            missing.add(("", module))
        elif path.suffix == ".py":
            for name in _needed(folder, module, path):
                if not _resolves(folder, name):
                    missing.add((module, name))
                new = [parent for parent in _with_parents(name) if parent not in seen]
                seen.update(new)
                waiting += [each for each in new if _file_of(folder, each)]
    return sorted(missing)


def _needed(folder: Path, module: str, path: Path) -> Iterator[str]:
    source = ast.parse(path.read_text(encoding="utf-8"))
    ours = module.split(".")[0] == "bakery"
    nodes = _run_time_nodes(source) if ours else _eager_nodes(source.body)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            yield base
            for alias in node.names:
                if _file_of(folder, f"{base}.{alias.name}"):
                    yield f"{base}.{alias.name}"


def _run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Everything but the bodies of ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _run_time_nodes(node)


def _eager_nodes(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, ast.ClassDef | ast.With):
            yield from _eager_nodes(node.body)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parents = package.split(".")
    base = parents[: len(parents) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def _resolves(folder: Path, name: str) -> bool:
    if name.startswith("six.moves"):  # six makes these modules when it is imported
        name = "six"
    return name.partition(".")[0] in _STANDARD or _file_of(folder, name) is not None


def _file_of(folder: Path, module: str) -> Path | None:
    base = folder.joinpath(*module.split("."))
    for path in (base / "__init__.py", base.with_name(f"{base.name}.py")):
        if path.is_file():
            return path
    return next(iter(sorted(base.parent.glob(f"{base.name}.*.so"))), None)
