"""The layers of the package as a checked contract: who may import whom, and where each heavy library lives."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from handviz.core.paths import PROJECT_ROOT
from handviz.models.registry import BUILT_IN

PACKAGE = PROJECT_ROOT / "handviz"
LEVELS = (
    {"core"},
    {"hand_models", "sources", "rendering", "detection"},
    {"models", "io", "data"},
    {"pipeline", "training"},
    {"training of a family"},
    {"api", "inspection", "evaluation", "adaptation", "cluster"},
    {"gui"},
    {"cli"},
    {"__main__"},
)
# Modules ``models/FAMILY/training*.py`` lie in their family's folder, but on a level of their own above ``training``:
# they use the trainer, and neither it nor the family's networks, which a live session loads, may know of them.
FAMILY_TRAINING = re.compile(r"handviz\.models\.\w+\.training\w*(\.|$)")
FAMILIES = tuple(sorted({path.parent.name for path in PACKAGE.glob("models/*/family.py")} | {"texture"}))
LEVEL_OF_ROOM = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
# Neither the package nor app.py knows of what a clone has beside them.
NOT_INSTALLED = ("tools", "tests")
HOMES = {
    "av": ("sources/pyav_reader.py", "sources/video_frames.py", "io/recording/mp4.py"),
    # The probes run each in a process of its own, so that what they load or break is nobody else's.
    "PyQt6": ("gui/", "cli/probes.py"),
    "moderngl": ("rendering/", "gui/view/viewport.py"),
    "torch": (
        "models/amvur/",
        "models/hamr/",
        "models/sima_hand/",
        "models/attention.py",
        "models/memory.py",
        "models/backbones/",
        "models/texture/",
        "models/onnx_file.py",
        "models/truth.py",
        "training/",
        "evaluation/",
        "adaptation/",
        "hand_models/layer.py",
        "core/gaussian.py",
    ),
    "onnxruntime": (
        "core/onnx_runtime.py",
        "detection/task_networks.py",
        "models/",
        "training/",
        "pipeline/texture_fusion.py",
    ),
    "mediapipe": ("detection/landmarker.py",),
    "anny": (),
    "pymeshlab": (),
    "ray": ("cluster/ray_run.py",),
    "pydantic": ("core/json_files.py",),
    "psutil": ("core/process.py",),
    "tyro": ("core/option_rules.py",),
}
LIVE_MODULES = ("handviz.api", "handviz.pipeline.pipeline", "handviz.gui.app", "handviz.cli.reconstruct")
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imported_names(source: str) -> set[str]:
    """Return the full dotted names of everything that a module imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the package in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@cache
def names_in(path: Path) -> set[str]:
    """``imported_names`` of a file, read once."""
    return imported_names(path.read_text(encoding="utf-8"))


def layer_errors(room: str, names: set[str]) -> list[str]:
    """Return a module's imports that break the rules of ``room``: from its own or a higher level, or from outside."""
    errors = []
    for name in sorted(names):
        package, other = name.partition(".")[0], room_of_name(name)
        upward = package == "handviz" and other != room and LEVEL_OF_ROOM.get(other, -1) >= LEVEL_OF_ROOM[room]
        if package in NOT_INSTALLED or upward:
            errors.append(name)
    return errors


def room_of_name(name: str) -> str:
    """Return the room of a full dotted name: the top-level module or package, or that of a family's training."""
    return "training of a family" if FAMILY_TRAINING.match(name) else name.partition(".")[2].partition(".")[0]


def name_of(path: Path) -> str:
    """Return the full dotted name of a module."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def room_of(path: Path) -> str:
    """Return the room of the file."""
    return room_of_name(name_of(path))


def test_every_room_has_a_level() -> None:
    rooms = {room_of(path) for path in SOURCES} - {"__init__"}
    assert rooms == set(LEVEL_OF_ROOM), "say in LEVELS where the new room stands"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_lower_never_imports_higher_and_siblings_not_each_other(path: Path) -> None:
    names = names_in(path)
    assert room_of(path) == "__init__" or layer_errors(room_of(path), names) == []


def family_errors(name: str, imported: set[str]) -> list[str]:
    """Return a module's imports of a family, if it is one of ``training``, which any family uses."""
    folders = tuple(f"handviz.models.{family}." for family in FAMILIES)
    return sorted(other for other in imported if name.startswith("handviz.training.") and other.startswith(folders))


def test_the_folders_of_families_are_known() -> None:
    assert {line.split(".")[2] for line in BUILT_IN} | {"texture"} == set(FAMILIES)


@pytest.mark.parametrize("path", sorted((PACKAGE / "training").glob("*.py")), ids=lambda path: path.name)
def test_the_trainer_knows_no_family(path: Path) -> None:
    assert family_errors(name_of(path), names_in(path)) == []


@pytest.mark.parametrize("library", HOMES)
def test_each_heavy_library_has_one_home(library: str) -> None:
    strangers = [
        str(path.relative_to(PACKAGE))
        for path in SOURCES
        if library in {name.partition(".")[0] for name in names_in(path)}
        and not str(path.relative_to(PACKAGE).as_posix()).startswith(HOMES[library])
    ]
    assert strangers == []


def test_the_rules_bite() -> None:
    assert layer_errors("core", {"handviz.rendering.scene"}) == ["handviz.rendering.scene"]
    names = {"handviz.models.reconstructor", "handviz.core.records.Frame", "numpy"}
    assert layer_errors("rendering", names) == ["handviz.models.reconstructor"]
    assert layer_errors("data", {"handviz.models.amvur.model", "handviz.rendering.scene"}) == [
        "handviz.models.amvur.model"
    ]
    assert layer_errors("training", {"handviz.data.labels", "handviz.models.amvur.model"}) == []
    of_family = {"handviz.models.amvur.training_config.TrainConfig"}
    for room in ("models", "training", "pipeline"):
        assert layer_errors(room, of_family) == sorted(of_family)
    assert layer_errors("evaluation", of_family) == []
    assert layer_errors("training of a family", of_family | {"handviz.training.trainer.Run"}) == []
    assert layer_errors("training of a family", {"handviz.evaluation.card"}) == ["handviz.evaluation.card"]
    of_network = {"handviz.models.amvur.model.HandModel", "handviz.models.truth.Truth"}
    assert family_errors("handviz.training.samples", of_network) == ["handviz.models.amvur.model.HandModel"]
    assert layer_errors("gui", {"handviz.cli.doctor"}) == ["handviz.cli.doctor"]
    assert layer_errors("evaluation", {"tools.measure"}) == ["tools.measure"]
    assert imported_names("def f():\n    import torch.nn\n    from handviz.core import geometry") == {
        "torch.nn",
        "handviz.core.geometry",
    }


LANDMARKER_USERS = ("detection/detectors.py", "cli/landmarks.py", "cli/benchmark.py", "evaluation/performance/")
"""MediaPipe's own library is chosen, or its landmarks are what a command is for."""


def test_mediapipe_s_library_is_loaded_only_where_it_is_wanted() -> None:
    """A module loads it with ``detection/landmarker.py``."""
    users = [
        path.relative_to(PACKAGE).as_posix()
        for path in SOURCES
        if any(name.startswith("handviz.detection.landmarker") for name in names_in(path))
    ]
    assert "detection/detectors.py" in users
    assert [name for name in users if not name.startswith(LANDMARKER_USERS)] == []


def test_a_window_without_options_never_loads_the_parser() -> None:
    script = "import sys; from handviz.gui import app; app.parse([]); sys.exit('tyro' in sys.modules)"
    outcome = subprocess.run([sys.executable, "-c", script], cwd=PROJECT_ROOT, check=False)
    assert outcome.returncode == 0


@pytest.mark.parametrize("module", LIVE_MODULES)
def test_a_live_session_never_loads_torch_and_pyav_and_mediapipe_only_where_needed(module: str) -> None:
    script = f"import sys, {module}; sys.exit(' '.join({{'torch', 'av', 'mediapipe'}} & sys.modules.keys()) or 0)"
    command = [sys.executable, "-c", script]
    outcome = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
