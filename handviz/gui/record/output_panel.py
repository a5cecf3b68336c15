"""The group "Output" of the left panel: recording, images without background, the stream."""

from typing import Literal

from PyQt6.QtWidgets import (
    QAbstractSpinBox,
    QLineEdit,
    QSpinBox,
    QToolButton,
)

from handviz.gui.widgets.controls import Panel, check_box, check_quietly, combo_box, named_label, push_button, row_of

PORT_LIMITS = (1, 65535)
STREAM_FORMATS: tuple[Literal["OSC"], Literal["JSON"]] = ("OSC", "JSON")


class OutputPanel:
    """The widgets; the features that stand behind them connect them and tell them what to show."""

    def __init__(self, panel: Panel) -> None:
        panel.group("Output")
        hint = "Write the view as a video, and every hand of every frame with its time (Ctrl+Shift+R)"
        self.record = push_button("Record", hint)
        self.record.setCheckable(True)
        self.record_folder = QToolButton()
        self.record_folder.setText("…")
        self.record_folder.setToolTip("Choose the folder for recordings")
        self.recorded = named_label("faint", "", wraps=True)
        self.recorded.hide()
        hint = "Make an animated GLB and BVH skeletons of it, for Blender and its like"
        self.animate = push_button("Animate a recording …", hint)
        hint = "Save the hands alone as a transparent PNG (Ctrl+Shift+T)"
        self.cut_out = push_button("Hands without background", hint)
        self.twice = check_box("2×", "Twice as large as the view")
        hint = "Send joints and standard deviations of every frame over UDP (Ctrl+U)"
        self.stream = check_box("Stream to other programs", hint)
        formats = {kind: kind for kind in STREAM_FORMATS}
        self.stream_format = combo_box(formats, "OSC messages, or one JSON object per frame")
        self.stream_address = QLineEdit()
        self.stream_address.setToolTip("Where to: 127.0.0.1 is this machine")
        self.stream_port = _port_box()
        self.streamed = named_label("faint", "", wraps=True)
        self.streamed.hide()
        self._lay_out(panel)

    def _lay_out(self, panel: Panel) -> None:
        column = panel.column
        column.addLayout(row_of(self.record, self.record_folder, wide=self.record))
        column.addWidget(self.recorded)
        column.addWidget(self.animate)
        column.addLayout(row_of(self.cut_out, self.twice, wide=self.cut_out))
        column.addWidget(self.stream)
        where = (self.stream_format, self.stream_address, self.stream_port)
        column.addLayout(row_of(*where, wide=self.stream_address))
        column.addWidget(self.streamed)

    def show_recording(self, is_recording: bool, text: str, more: str = "") -> None:
        """The button's state and the line below it, which explains itself by ``more``."""
        check_quietly(self.record, is_recording)
        self.record.setText("Stop recording" if is_recording else "Record")
        self.recorded.setText(text)
        self.recorded.setToolTip(more)
        self.recorded.setVisible(bool(text))

    def show_stream(self, is_on: bool, text: str) -> None:
        """The switch's state and the line below it."""
        check_quietly(self.stream, is_on)
        for part in (self.stream_format, self.stream_address, self.stream_port):
            part.setEnabled(not is_on)
        self.streamed.setText(text)
        self.streamed.setVisible(bool(text))


def _port_box() -> QSpinBox:
    box = QSpinBox()
    box.setRange(*PORT_LIMITS)
    box.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
    box.setToolTip("UDP port")
    box.setFixedWidth(56)
    return box
