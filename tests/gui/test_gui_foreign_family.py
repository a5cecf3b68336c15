"""A family of another package in the window: its radio button and its key."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from handviz.core.paths import PROJECT_ROOT

WINDOW = """
import json, sys
from PyQt6.QtWidgets import QApplication, QRadioButton
application = QApplication(["handviz"])
from handviz.gui.main_window import MainWindow
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import SettingsStore
from handviz.models.registry import model_ids
from tests.gui_fakes import TRIANGLE, FakePipeline, FakeSource

controller = Controller(FakePipeline, SettingsStore(), opener=lambda _: FakeSource(1), lister=list)
window = MainWindow(controller, TRIANGLE)
(button,) = [one for one in window.findChildren(QRadioButton) if one.text() == "Resting hand"]
before = button.isChecked()
key = str(model_ids().index("stranger") + 1)
action = next(one for one in window.actions() if key in [keys.toString() for keys in one.shortcuts()])
action.trigger()
print(json.dumps([before, button.isChecked(), button.toolTip()]))
window.close()
"""


@pytest.mark.slow
def test_a_family_of_another_package_has_a_radio_button_and_a_key(tmp_path: Path) -> None:
    # A folder with its module and the metadata of its package, as an installation leaves them.
    source = Path(__file__).parents[1] / "stranger_family" / "stranger_family.py"
    (tmp_path / source.name).write_bytes(source.read_bytes())
    metadata = tmp_path / "stranger_family-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger-family\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[handviz.models]\nstranger = stranger_family:FAMILY\n")
    path = os.pathsep.join((str(PROJECT_ROOT), str(PROJECT_ROOT / "tests"), str(tmp_path)))
    done = subprocess.run(
        [sys.executable, "-c", WINDOW],
        cwd=PROJECT_ROOT,
        env={
            **os.environ,
            "PYTHONPATH": path,
            "QT_QPA_PLATFORM": "offscreen",
            "HANDVIZ_CONFIG_DIR": str(tmp_path / "settings"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [False, True, "The same hand for every image"]
