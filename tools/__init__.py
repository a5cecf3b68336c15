"""Studies, measurements, and builders of committed files: ``python -m tools.NAME``, from a clone; not installed.

A tool is a module with ``Arguments`` and ``run``, as the commands of ``handviz.cli`` are. It ends with

    if __name__ == "__main__":
        sys.exit(tools.run("NAME"))

and the first line of its docstring says what it does: in ``--help``, and in the list that ``python -m tools`` prints.
"""

import ast
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from handviz.__main__ import run_module

FOLDER = Path(__file__).parent


def run(name: str, arguments: Sequence[str] | None = None) -> int:
    """Run a tool, without arguments those of the process; return the exit status."""
    module = importlib.import_module(f"tools.{name}")
    words = sys.argv[1:] if arguments is None else arguments
    return run_module(f"python -m tools.{name}", module, _first_line(module.__doc__), words)


def overview() -> dict[str, str]:
    """Return what each tool does, by its name; none of them is loaded."""
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("[!_]*.py"))}
    return {name: _first_line(ast.get_docstring(tree)) for name, tree in trees.items() if _is_tool(tree)}


def _is_tool(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == "run" for node in tree.body)


def _first_line(docstring: str | None) -> str:
    return (docstring or "").partition("\n")[0]
