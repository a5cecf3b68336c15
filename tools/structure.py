"""Print the size of the package and who imports whom, so that both can be watched.

A *room* is what lies directly under ``handviz/``: a folder, or a module. An *arrow* is a pair of rooms of which one
imports from the other, however often. Within ``gui/`` its folders and modules are the rooms. ``--live`` also opens the
window on the bundled clip and lists the modules that one frame passes; it needs a display (``xvfb-run`` will do).
"""

import ast
import json
import os
import sys
import tempfile
import types
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tools
from handviz.core.paths import CLIP_FILE, PROJECT_ROOT

PACKAGE = "handviz"
Graph = Mapping[str, frozenset[str]]
"""Module -> the modules of the package that it imports."""
MAX_SHOWN = 8
WARM_UP_MS, TRACED_MS = 12_000, 3_000
FRAME_ROOMS_OF_GUI = ("gui/session/", "gui/view/viewport.py", "gui/main_window.py")
"""Of the window's modules these pass a frame on; the panels beside the image read results and draw nothing of it."""
LIVE_SCRIPT = "import sys; from tools.structure import trace_window; trace_window()"


@dataclass(frozen=True)
class Module:
    """One file of the package."""

    name: str
    """Dotted, without the package's own name."""
    path: Path
    lines: int


@dataclass(frozen=True)
class Structure:
    """The package as its imports show it."""

    modules: tuple[Module, ...]
    imports: Graph

    def arrows(self, room: str = "") -> set[tuple[str, str]]:
        """Return the pairs of rooms that import one another, inside ``room`` or, without one, of the whole package."""
        inside = f"{room}." if room else ""
        pairs = set()
        for importer, imported in self.imports.items():
            for other in imported:
                if importer.startswith(inside) and other.startswith(inside):
                    pairs.add((_room(importer, inside), _room(other, inside)))
        return {(one, other) for one, other in pairs if one != other}

    def circles(self) -> list[list[str]]:
        """Return the groups of modules that import one another in a circle, within functions too."""
        return [group for group in _strong_components(self.imports) if len(group) > 1]

    def sole_importers(self) -> list[tuple[str, str]]:
        """Return (module, importer) of modules that only one module of the same folder imports."""
        importers = defaultdict(set)
        for importer, imported in self.imports.items():
            for other in imported:
                importers[other].add(importer)
        pairs = ((name, next(iter(found))) for name, found in importers.items() if len(found) == 1)
        return sorted((name, one) for name, one in pairs if _folder(name) == _folder(one))


def read_structure(root: Path = PROJECT_ROOT, package: str = PACKAGE) -> Structure:
    """Read every module under ``root/package``; nothing of it is run."""
    paths = {_dotted(path, root): path for path in sorted((root / package).rglob("*.py"))}
    texts = {name: path.read_text(encoding="utf-8") for name, path in paths.items()}
    known = frozenset(paths)
    strip = len(package) + 1
    modules = tuple(Module(name[strip:], path, texts[name].count("\n")) for name, path in paths.items())
    graph = {
        name[strip:]: frozenset(other[strip:] for other in _imported(text, known) - {name} if _is_module(paths[other]))
        for name, text in texts.items()
    }
    return Structure(modules, graph)


def _dotted(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _is_module(path: Path) -> bool:
    return path.name != "__init__.py"


def _imported(text: str, known: frozenset[str]) -> set[str]:
    """Return the names among ``known`` that a source text imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (full & known) or {node.module}
    return names & known


def _room(name: str, inside: str) -> str:
    return name.removeprefix(inside).partition(".")[0]


def _folder(name: str) -> str:
    return name.rpartition(".")[0]


def _strong_components(graph: Graph) -> Iterator[list[str]]:
    """Yield the strongly connected components (Tarjan 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(name: str) -> Iterator[list[str]]:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(graph.get(name, ())):
            if other not in order:
                yield from visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            yield sorted(group)

    for name in sorted(graph):
        if name not in order:
            yield from visit(name)


def report(structure: Structure) -> str:
    """Return the figures as text, one a line."""
    rooms = {_room(module.name, "") for module in structure.modules if module.name}
    lines = [
        f"modules                  {len(structure.modules)}",
        f"lines                    {sum(module.lines for module in structure.modules)}",
        f"rooms                    {len(rooms)}",
        f"arrows between rooms     {len(structure.arrows())}",
        f"arrows within gui        {len(structure.arrows('gui'))}",
        f"import circles           {len(structure.circles())}",
    ]
    lines += [f"  circle: {', '.join(group)}" for group in structure.circles()]
    largest = sorted(structure.modules, key=lambda module: -module.lines)[:MAX_SHOWN]
    lines += ["largest modules"] + [f"  {module.lines:4} {module.name}" for module in largest]
    sole = structure.sole_importers()
    sizes = {module.name: module.lines for module in structure.modules}
    small = [(name, one) for name, one in sole if sizes[name] < 70]
    lines += [f"modules under 70 lines with one importer, beside them: {len(small)}"]
    lines += [f"  {sizes[name]:4} {name} <- {one}" for name, one in small]
    return "\n".join(lines)


def of_a_frame(files: Iterable[str]) -> list[str]:
    """Return those of the traced files (relative to the package) that pass a frame on, from the source to the pixel."""
    return sorted(name for name in files if not name.startswith("gui/") or name.startswith(FRAME_ROOMS_OF_GUI))


def live_files() -> list[str]:
    """Open the window on the bundled clip in a process of its own; return the modules that a frame passes."""
    import subprocess

    with tempfile.TemporaryDirectory(prefix="handviz-structure-") as folder:
        environment = os.environ | {"HANDVIZ_CONFIG_DIR": folder}
        command = [sys.executable, "-c", LIVE_SCRIPT]
        done = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False)
    try:
        return of_a_frame(json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, ValueError):
        raise SystemExit(f"the window did not run: {done.stderr[-300:]}") from None


def trace_window() -> None:
    """Run the window for some seconds and print, as JSON, the files of the package whose functions a frame entered."""
    from PyQt6.QtCore import QThread, QTimer

    import handviz.gui.app as app
    from handviz.gui.session import capture_thread, reconstruct_thread

    entered: set[str] = set()
    is_on = [False]
    start = str(PROJECT_ROOT / PACKAGE) + os.sep

    def profile(frame: types.FrameType, event: str, _: Any) -> None:
        if is_on[0] and event == "call" and frame.f_code.co_filename.startswith(start):
            entered.add(Path(frame.f_code.co_filename[len(start) :]).as_posix())

    for module in (capture_thread, reconstruct_thread):
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, QThread) and kind is not QThread:
                kind.run = _profiled(kind.run, profile)  # type: ignore[method-assign]

    def begin() -> None:
        is_on[0] = True

    def end() -> None:
        is_on[0] = False
        sys.stdout.write("\n" + json.dumps(sorted(entered)) + "\n")
        sys.stdout.flush()
        os._exit(0)

    def schedule() -> None:
        sys.setprofile(profile)
        QTimer.singleShot(WARM_UP_MS, begin)
        QTimer.singleShot(WARM_UP_MS + TRACED_MS, end)

    make = app.make_application

    def made(arguments: list[str]) -> Any:
        application = make(arguments)
        QTimer.singleShot(0, schedule)
        return application

    app.make_application = made
    app.main(["--source", str(CLIP_FILE)])


def _profiled(run: Any, profile: Any) -> Any:
    def traced(self: Any) -> None:
        sys.setprofile(profile)
        run(self)

    return traced


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The one option."""

    live: bool = False
    """Also list the modules that a live frame passes."""


def run(arguments: Arguments) -> int:
    """Print the figures."""
    sys.stdout.write(report(read_structure()) + "\n")
    if arguments.live:
        files = live_files()
        sys.stdout.write(f"files of a live frame    {len(files)}\n" + "".join(f"  {name}\n" for name in files))
    return 0


if __name__ == "__main__":
    sys.exit(tools.run("structure"))
