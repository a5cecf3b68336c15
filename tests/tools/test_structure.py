"""The structure that tools.structure prints: counted right on a small package, and within bounds for handviz."""

from pathlib import Path

import pytest

import tools
from tools.structure import of_a_frame, read_structure

FILES = {
    "__init__.py": "",
    "core/__init__.py": "",
    "core/errors.py": "class ToyError(Exception): ...\n",
    "core/files.py": "from toy.core.errors import ToyError\n\n\ndef f():\n    from toy.core import loop\n",
    "core/loop.py": "import toy.core.files\n",
    "gui/__init__.py": "",
    "gui/main.py": "from toy.core import errors\nfrom toy.gui.view import port\nfrom toy.gui.view.panel import Panel\n",
    "gui/view/__init__.py": "",
    "gui/view/port.py": "",
    "gui/view/panel.py": "Panel = 1\n",
}


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """Write a package with two rooms, one import circle and one arrow between rooms."""
    for name, text in FILES.items():
        path = tmp_path / "toy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_imports_become_arrows_circles_and_sole_importers(toy: Path) -> None:
    found = read_structure(toy, "toy")
    assert len(found.modules) == len(FILES)
    assert found.arrows() == {("gui", "core")}
    assert found.arrows("gui") == {("main", "view")}
    assert found.circles() == [["core.files", "core.loop"]]
    assert ("core.loop", "core.files") in found.sole_importers()


def test_the_package_keeps_its_structure() -> None:
    """Bounds of docs/architecture.md; whoever has a reason to leave them changes both."""
    found = read_structure()
    assert found.circles() == []
    # A module is a topic of 100 to 400 lines: 67,000 lines, with a third family and rigs, are about 430 of them.
    assert len(found.modules) <= 430
    assert len(found.arrows()) <= 100
    assert len(found.arrows("gui")) <= 40


def test_a_frame_passes_workers_and_viewport_and_no_panel() -> None:
    files = ["gui/record/streaming.py", "gui/session/rates.py", "gui/view/viewport.py", "core/records.py"]
    assert of_a_frame(files) == ["core/records.py", "gui/session/rates.py", "gui/view/viewport.py"]


def test_the_tool_prints_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert tools.run("structure", []) == 0
    out = capsys.readouterr().out
    assert all(title in out for title in ("modules ", "lines ", "arrows between rooms", "arrows within gui"))
