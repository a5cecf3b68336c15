"""Help, About: version, models with their files, licences, and what a report of a problem needs."""

import platform
from importlib.metadata import PackageNotFoundError, version

from PyQt6.QtCore import QT_VERSION_STR, Qt
from PyQt6.QtGui import QGuiApplication
from PyQt6.QtWidgets import QDialog, QVBoxLayout, QWidget

from handviz import __version__
from handviz.core.network_files import network_file
from handviz.core.paths import IS_CLONE
from handviz.gui.widgets.controls import named_label, push_button, row_of
from handviz.models.registry import list_models

LIBRARIES = (
    "numpy",
    "opencv-python",
    "onnxruntime",
    "onnxruntime-gpu",
    "mediapipe",
    "moderngl",
    "PyQt6",
    "av",
    "torch",
)
LICENCES = (
    "handviz and its networks: Apache License 2.0. MediaPipe's networks: Apache License 2.0. PyQt6: GPL-3.0. "
    "MANO is not part of handviz. THIRD_PARTY.md lists all parts."
)
COPIED = "Copied."


def library_versions() -> dict[str, str]:
    """Return the versions of the installed libraries that handviz uses most."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def model_lines() -> list[str]:
    """Return a line for each model: its label, id, and whether its file is the one that handviz ships."""
    lines = []
    for spec in list_models():
        file = spec.file_in()
        state = f"{file.name}, {network_file(file).state}" if file.is_file() else "no file of its own"
        lines.append(f"{spec.label} ({spec.id}): {state}")
    return lines


def diagnostics(device_name: str) -> str:
    """Return what a report of a problem needs, without names of files or folders of the user."""
    libraries = ", ".join(f"{name} {number}" for name, number in library_versions().items())
    return "\n".join(
        [
            f"handviz {__version__} ({'clone' if IS_CLONE else 'installed'})",
            f"Python {platform.python_version()}, Qt {QT_VERSION_STR}, {platform.platform()}",
            f"OpenGL: {device_name or 'not drawn yet'}",
            libraries,
            *model_lines(),
        ]
    )


class AboutDialog(QDialog):
    """Version, models and licences; a button copies the diagnostics."""

    def __init__(self, device_name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("About handviz")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._text = diagnostics(device_name)
        self.details = named_label("number", self._text)
        self.details.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.copy = push_button("Copy diagnostics", "Copy this text, for a report of a problem", self._copy)
        close = push_button("Close", "Close (Escape)", self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(22, 16, 22, 16)
        column.setSpacing(12)
        column.addWidget(named_label("title", f"handviz {__version__}"))
        column.addWidget(self.details)
        column.addWidget(named_label("faint", LICENCES, wraps=True))
        column.addLayout(row_of(self.copy, None, close))

    def _copy(self) -> None:
        clipboard = QGuiApplication.clipboard()
        assert clipboard is not None
        clipboard.setText(self._text)
        self.copy.setText(COPIED)
