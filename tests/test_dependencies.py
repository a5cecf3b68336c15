"""What the package imports and what it declares: neither more nor less, and extras only where they belong."""

import ast
import re
import sys
import tomllib
from functools import cache

import pytest

from handviz.core.extras import EXTRAS_OF_MODULE, PURPOSES
from handviz.core.paths import PROJECT_ROOT

PROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGE = PROJECT_ROOT / "handviz"
FILES = {
    ".".join(path.relative_to(PROJECT_ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
PACKAGE_OF_MODULE = {
    "cv2": "opencv-contrib-python",
    "cv2_enumerate_cameras": "cv2-enumerate-cameras",
    # onnx's own messages are protobuf's.
    "google": "onnx",
    "PIL": "pillow",
    "pythonosc": "python-osc",
    "skimage": "scikit-image",
    "yaml": "pyyaml",
}
"""Import name -> package, where the two differ"""
NOT_IMPORTED = {
    "onnxruntime-gpu": "onnxruntime, with CUDA",
}
"""Declared, though no module here imports it by this name"""
EXTRA_OF_PART = {
    "handviz.adaptation.adapt": "train",
    "handviz.adaptation.training": "train",
    "handviz.cli.adapt": "train",
    "handviz.cli.calibrate": "train",
    "handviz.cli.evaluate": "train",
    "handviz.cli.evaluate_official": "train",
    "handviz.cli.export": "train",
    "handviz.cli.reproduce": "train",
    "handviz.cli.tables": "train",
    "handviz.cli.texture": "train",
    "handviz.cli.train": "train",
    "handviz.core.gaussian": "train",
    "handviz.data.datasets.dexycb": "train",
    "handviz.data.datasets.dexycb_sequences": "train",
    "handviz.evaluation": "train",
    "handviz.gui": "gui",
    "handviz.hand_models.layer": "train",
    "handviz.models.amvur": "train",
    "handviz.models.hamr": "train",
    "handviz.models.sima_hand": "train",
    "handviz.models.attention": "train",
    "handviz.models.memory": "train",
    "handviz.models.backbones": "train",
    "handviz.models.onnx_file": "train",
    "handviz.models.texture": "train",
    "handviz.models.truth": "train",
    "handviz.training": "train",
}
"""Rooms and modules whose import needs an extra; all others do with what every installation has"""


def package_of(requirement: str) -> str:
    """Return the name of a requirement as package indexes compare it."""
    return re.split(r"[<>=!~;\[ ]", requirement)[0].lower().replace("_", "-")


BASE = {package_of(line) for line in PROJECT["dependencies"]}
EXTRAS = {
    name: {package_of(line) for line in lines}
    for name, lines in PROJECT["optional-dependencies"].items()
    if name != "dev"
}


def imports_of(nodes: list[ast.stmt], *, deferred: bool) -> set[str]:
    """Return the full dotted names that statements import; ``deferred``: in functions and for type checkers too."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not deferred:
            names |= imports_of(node.orelse, deferred=deferred)
        elif deferred or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt | ast.ExceptHandler)]
            names |= imports_of(inner, deferred=deferred)  # type: ignore[arg-type]
    return names


@cache
def imports_in(module: str, *, deferred: bool) -> frozenset[str]:
    return frozenset(imports_of(ast.parse(FILES[module].read_text(encoding="utf-8")).body, deferred=deferred))


def packages_in(names: frozenset[str]) -> set[str]:
    """Return the packages of others among imported names."""
    roots = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"handviz"}
    return {PACKAGE_OF_MODULE.get(root, root).lower().replace("_", "-") for root in roots}


def loaded_with(module: str) -> set[str]:
    """Return the modules of handviz that importing this one loads, itself included."""
    loaded: set[str] = set()
    waiting = [module]
    while waiting:
        one = waiting.pop()
        if one not in loaded:
            loaded.add(one)
            parents = {one.rsplit(".", count)[0] for count in range(1, one.count(".") + 1)}
            waiting += [name for name in parents | imports_in(one, deferred=False) if name in FILES]
    return loaded


def extra_of(module: str) -> str:
    """Return the extra that the table grants a module, or nothing."""
    return next((extra for part, extra in EXTRA_OF_PART.items() if f"{module}.".startswith(f"{part}.")), "")


def test_every_import_is_declared() -> None:
    declared = BASE.union(*EXTRAS.values())
    undeclared = {module: packages_in(imports_in(module, deferred=True)) - declared for module in FILES}
    assert {module: names for module, names in undeclared.items() if names} == {}


def test_every_declared_package_is_imported() -> None:
    imported = set().union(*(packages_in(imports_in(module, deferred=True)) for module in FILES))
    assert BASE.union(*EXTRAS.values()) - imported - NOT_IMPORTED.keys() == set()
    assert NOT_IMPORTED.keys() & imported == set()


@pytest.mark.parametrize("module", FILES)
def test_importing_a_module_needs_only_its_own_extra(module: str) -> None:
    needed = set().union(*(packages_in(imports_in(one, deferred=False)) for one in loaded_with(module)))
    granted = EXTRAS.get(extra_of(module), set())
    assert needed - BASE - granted == set()


def test_the_table_grants_nothing_that_is_not_needed() -> None:
    for part, extra in EXTRA_OF_PART.items():
        modules = [module for module in FILES if f"{module}.".startswith(f"{part}.")]
        needed = set().union(
            *(packages_in(imports_in(one, deferred=False)) for module in modules for one in loaded_with(module))
        )
        assert (needed - BASE) & EXTRAS[extra], part


def test_the_extras_of_messages_are_those_of_the_project() -> None:
    assert EXTRAS.keys() == PURPOSES.keys()
    for extra, packages in EXTRAS.items():
        modules = {module for module, extras in EXTRAS_OF_MODULE.items() if extra in extras}
        assert {PACKAGE_OF_MODULE.get(module, module).lower() for module in modules} == packages


def test_the_lock_pins_every_declared_package() -> None:
    locked: set[str] = set()
    for name in ("requirements.txt", "requirements-test.txt"):
        lines = (PROJECT_ROOT / name).read_text(encoding="utf-8").splitlines()
        locked |= {package_of(line) for line in lines if line and not line.startswith(("#", "-r"))}
    declared = {package_of(line) for lines in PROJECT["optional-dependencies"].values() for line in lines}
    assert (BASE | declared) - locked - {"handviz"} == set()


def test_the_rules_bite() -> None:
    source = """
import torch.nn
if TYPE_CHECKING:
    import ray
try:
    import onnx
except ImportError:
    import yaml
class A:
    import trimesh
    def f(self):
        from PyQt6.QtCore import Qt
"""
    body = ast.parse(source).body
    assert imports_of(body, deferred=False) == {"torch.nn", "onnx", "yaml", "trimesh"}
    assert imports_of(body, deferred=True) >= {"ray", "PyQt6.QtCore", "PyQt6.QtCore.Qt"}
    assert packages_in(frozenset({"cv2.aruco", "handviz.core", "json", "PyQt6.QtCore"})) == {
        "opencv-contrib-python",
        "pyqt6",
    }
