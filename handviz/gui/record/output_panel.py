"""The group "Output" of the left panel: recording, pictures without background, the stream."""

from typing import Literal

from PyQt6.QtCore import QSignalBlocker
from PyQt6.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QToolButton,
    QWidget,
)

from handviz.gui.widgets.controls import Panel, named_label

PORT_LIMITS = (1, 65535)
STREAM_FORMATS: tuple[Literal["OSC"], Literal["JSON"]] = ("OSC", "JSON")


class OutputPanel:
    """The widgets; the features that stand behind them connect them and tell them what to show."""

    def __init__(self, panel: Panel) -> None:
        panel.group("Output")
        self.record = QPushButton("Record")
        self.record.setCheckable(True)
        self.record.setToolTip("Write the view as a video, and every hand of every frame with its time (Ctrl+Shift+R)")
        self.record_folder = QToolButton()
        self.record_folder.setText("…")
        self.record_folder.setToolTip("Choose the folder for recordings")
        self.recorded = named_label("faint", "", wraps=True)
        self.recorded.hide()
        self.animate = QPushButton("Animate a recording …")
        self.animate.setToolTip("Make an animated GLB and BVH skeletons of it, for Blender and its like")
        self.cut_out = QPushButton("Hands without background")
        self.cut_out.setToolTip("Save the hands alone as a transparent PNG (Ctrl+Shift+T)")
        self.twice = QCheckBox("2×")
        self.twice.setToolTip("Twice as large as the view")
        self.stream = QCheckBox("Stream to other programs")
        self.stream.setToolTip("Send joints and deviations of every frame over UDP (Ctrl+U)")
        self.stream_format = QComboBox()
        self.stream_format.addItems(STREAM_FORMATS)
        self.stream_format.setToolTip("OSC messages, or one JSON object per frame")
        self.stream_address = QLineEdit()
        self.stream_address.setToolTip("Where to: 127.0.0.1 is this machine")
        self.stream_port = _port_box()
        self.streamed = named_label("faint", "", wraps=True)
        self.streamed.hide()
        self._lay_out(panel)

    def _lay_out(self, panel: Panel) -> None:
        column = panel.column
        column.addLayout(_row(self.record, self.record_folder))
        column.addWidget(self.recorded)
        column.addWidget(self.animate)
        column.addLayout(_row(self.cut_out, self.twice))
        column.addWidget(self.stream)
        where = QHBoxLayout()
        where.addWidget(self.stream_format)
        where.addWidget(self.stream_address, 1)
        where.addWidget(self.stream_port)
        column.addLayout(where)
        column.addWidget(self.streamed)

    def show_recording(self, is_recording: bool, text: str, more: str = "") -> None:
        """The button's state and the line below it, which explains itself by ``more``."""
        with QSignalBlocker(self.record):
            self.record.setChecked(is_recording)
        self.record.setText("Stop recording" if is_recording else "Record")
        self.recorded.setText(text)
        self.recorded.setToolTip(more)
        self.recorded.setVisible(bool(text))

    def show_stream(self, is_on: bool, text: str) -> None:
        """The switch's state and the line below it."""
        with QSignalBlocker(self.stream):
            self.stream.setChecked(is_on)
        for part in (self.stream_format, self.stream_address, self.stream_port):
            part.setEnabled(not is_on)
        self.streamed.setText(text)
        self.streamed.setVisible(bool(text))


def _row(first: QWidget, second: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.addWidget(first, 1)
    row.addWidget(second)
    return row


def _port_box() -> QSpinBox:
    box = QSpinBox()
    box.setRange(*PORT_LIMITS)
    box.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
    box.setToolTip("UDP port")
    box.setFixedWidth(56)
    return box
