"""The layers of the package as a checked contract: who may import whom, and where each heavy library lives."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from handviz.core.paths import PROJECT_ROOT

PACKAGE = PROJECT_ROOT / "handviz"
LEVELS = (
    {"errors", "records", "paths", "geometry", "config", "units", "visibility", "lens", "lens_files"},
    {"probability", "metrics", "mediapipe_wheel", "archive"},
    {"hand_model"},
    {"capture", "detect", "render", "nets"},
    {"infer", "data", "train"},
    {"output", "bench", "cluster"},
    {"gui", "commands", "doctor", "probes", "__main__"},
)
LEVEL_OF_PART = {part: level for level, parts in enumerate(LEVELS) for part in parts}
ALLOWED_SIBLINGS = {("train", "data"), ("commands", "doctor"), ("doctor", "probes")}
FORBIDDEN = {("data", "nets")}
# The probes run each in a process of its own, so that what they load or break is nobody else's.
HOMES = {
    "PyQt6": ("gui/", "app.py", "probes.py"),
    "moderngl": ("render/", "gui/viewport.py", "gui/gl_context.py"),
    "torch": (
        "nets/",
        "train/",
        "data/",
        "bench/",
        "hand_model/layer.py",
        "hand_model/build_open_hand.py",
        "probability.py",
    ),
    "onnxruntime": ("infer/", "nets/", "train/"),
    "mediapipe": ("detect/",),
    "anny": ("hand_model/build_open_hand.py", "data/synthetic/"),
    "pymeshlab": ("hand_model/build_open_hand.py", "data/synthetic/"),
    "ray": ("cluster/",),
    "tflite": ("nets/build_backbone.py",),
}
LIVE_MODULES = ("handviz.pipeline.pipeline", "handviz.gui.main_window", "handviz.cli.reconstruct")
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imported_names(source: str) -> set[str]:
    """Full dotted names of everything that a module imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the package in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def layer_errors(part: str, names: set[str]) -> list[str]:
    """What a module of ``part`` imports against the rules."""
    errors = []
    for name in sorted(names):
        package, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if package != "handviz" or other not in LEVEL_OF_PART or other == part or (part, other) in ALLOWED_SIBLINGS:
            continue
        level, other_level = LEVEL_OF_PART[part], LEVEL_OF_PART[other]
        siblings = level == other_level and level > 0
        if other_level > level or siblings or (part, other) in FORBIDDEN:
            errors.append(name)
    return errors


def part_of(path: Path) -> str:
    """The top-level module or package of the file."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_part_has_a_level() -> None:
    parts = {part_of(path) for path in SOURCES} - {"__init__"}
    assert parts <= set(LEVEL_OF_PART), "say in LEVELS where the new part stands"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_lower_never_imports_higher_and_siblings_not_each_other(path: Path) -> None:
    names = imported_names(path.read_text(encoding="utf-8"))
    assert part_of(path) == "__init__" or layer_errors(part_of(path), names) == []


@pytest.mark.parametrize("library", HOMES)
def test_each_heavy_library_has_one_home(library: str) -> None:
    strangers = [
        str(path.relative_to(PACKAGE))
        for path in SOURCES
        if library in {name.partition(".")[0] for name in imported_names(path.read_text(encoding="utf-8"))}
        and not str(path.relative_to(PACKAGE).as_posix()).startswith(HOMES[library])
    ]
    assert strangers == []


def test_the_rules_bite() -> None:
    assert layer_errors("records", {"handviz.rendering.scene"}) == ["handviz.rendering.scene"]
    assert layer_errors("render", {"handviz.models.amvur.model", "handviz.core.records.Frame", "numpy"}) == [
        "handviz.models.amvur.model"
    ]
    assert layer_errors("data", {"handviz.models.amvur.model", "handviz.rendering.scene"}) == [
        "handviz.models.amvur.model"
    ]
    assert layer_errors("train", {"handviz.data.store", "handviz.models.amvur.model"}) == []
    assert layer_errors("gui", {"tools.build"}) == ["tools.build"]
    assert imported_names("def f():\n    import torch.nn\n    from handviz import geometry") == {
        "torch.nn",
        "handviz.core.geometry",
    }


@pytest.mark.parametrize("module", LIVE_MODULES)
def test_a_live_session_never_loads_torch(module: str) -> None:
    script = f"import sys, {module}; sys.exit('torch is loaded' if 'torch' in sys.modules else 0)"
    command = [sys.executable, "-c", script]
    outcome = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
