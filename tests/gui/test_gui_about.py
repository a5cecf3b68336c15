"""Help, About: what it shows and copies, and that it names nothing of the user's."""

from pathlib import Path

import pytest
from PyQt6.QtGui import QGuiApplication
from PyQt6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from handviz import __version__
from handviz.core.paths import PROJECT_ROOT
from handviz.gui.widgets import about
from handviz.gui.widgets.about import COPIED, LIBRARIES, AboutDialog, diagnostics, library_versions, model_lines
from handviz.models.registry import list_models


def test_version_models_and_licences_are_there_and_are_copied(qtbot: QtBot) -> None:
    dialog = AboutDialog("llvmpipe")
    qtbot.addWidget(dialog)
    texts = "\n".join(label.text() for label in dialog.findChildren(QLabel))
    assert f"handviz {__version__}" in texts
    assert "OpenGL: llvmpipe" in texts
    assert "Apache License 2.0" in texts
    assert all(f"({spec.id})" in texts for spec in list_models())
    dialog.copy.click()
    clipboard = QGuiApplication.clipboard()
    assert clipboard is not None
    assert clipboard.text() == dialog.details.text()
    assert dialog.copy.text() == COPIED


def test_every_model_says_whether_its_file_is_the_shipped_one() -> None:
    lines = model_lines()
    assert len(lines) == len(list_models())
    assert "Final (final): handviz_final.onnx, shipped" in lines


def test_diagnostics_name_no_folder_of_the_user() -> None:
    text = diagnostics("")
    assert str(PROJECT_ROOT) not in text
    assert str(Path.home()) not in text
    assert "not drawn yet" in text


def test_libraries_that_are_not_installed_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(about, "LIBRARIES", (*LIBRARIES, "handviz-does-not-exist"))
    assert "handviz-does-not-exist" not in library_versions()
    assert "numpy" in library_versions()
