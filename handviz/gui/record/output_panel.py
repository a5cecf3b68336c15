"""The group "Output" of the left panel: recording, animation, transparent PNG, stream."""

from typing import Literal

from PyQt6.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QSpinBox,
    QToolButton,
)

from handviz.gui.widgets.choices import FIGURE_BACKGROUND_HINT, FIGURE_SCALE_HINT, choices_of
from handviz.gui.widgets.controls import Panel, check_box, check_quietly, combo_box, named_label, push_button, row_of

PORT_LIMITS = (1, 65535)
STREAM_FORMATS: tuple[Literal["OSC"], Literal["JSON"]] = ("OSC", "JSON")


class OutputPanel:
    """Widgets of the group; features connect them and set what they show."""

    def __init__(self, panel: Panel) -> None:
        panel.group("Output")
        hint = "Record the view as a video, and every hand of every frame (Ctrl+Shift+R)"
        self.record = push_button("Record", hint)
        self.record.setCheckable(True)
        self.record_folder = QToolButton()
        self.record_folder.setText("…")
        self.record_folder.setToolTip("Folder for recordings")
        self.recorded = named_label("faint", "", wraps=True)
        self.recorded.hide()
        hint = "Export a recording as an animated GLB and BVH skeletons, for Blender and other programs"
        self.animate = push_button("Export animation (GLB, BVH)…", hint)
        hint = "Save the hands without image and legend (Ctrl+Shift+T)"
        self.cut_out = push_button("Save transparent PNG", hint)
        hint = "Send joints and standard deviations of every frame to other programs (Ctrl+U)"
        self.copy = push_button("Copy image", "Copy the view to the clipboard (Ctrl+C)")
        self.resolution = _choices("figure_scale", FIGURE_SCALE_HINT, "Resolution")
        self.background = _choices("figure_background", FIGURE_BACKGROUND_HINT, "Background of images")
        hint = "Crop saved and copied images to the selected hand, or to all hands; without the legend"
        self.crop = check_box("Crop to the hand", hint)
        self.stream = check_box("Stream over UDP (OSC / JSON)", hint)
        formats = {kind: kind for kind in STREAM_FORMATS}
        self.stream_format = combo_box(formats, "Format: OSC messages, or one JSON object per frame")
        self.stream_address = QLineEdit()
        self.stream_address.setToolTip("IP address of the receiver; 127.0.0.1 is this machine")
        self.stream_port = _port_box()
        self.streamed = named_label("faint", "", wraps=True)
        self.streamed.hide()
        self._lay_out(panel)

    def _lay_out(self, panel: Panel) -> None:
        column = panel.column
        column.addLayout(row_of(self.record, self.record_folder, wide=self.record))
        column.addWidget(self.recorded)
        column.addWidget(self.animate)
        column.addWidget(self.cut_out)
        column.addWidget(self.copy)
        column.addLayout(row_of(self.resolution, self.background, wide=self.background))
        column.addWidget(self.crop)
        column.addWidget(self.stream)
        receiver = (self.stream_format, self.stream_address, self.stream_port)
        column.addLayout(row_of(*receiver, wide=self.stream_address))
        column.addWidget(self.streamed)

    def show_recording(self, is_recording: bool, text: str, hint: str = "") -> None:
        """Set the state of the button, and the line below it with its tooltip."""
        check_quietly(self.record, is_recording)
        self.record.setText("Stop recording" if is_recording else "Record")
        self.recorded.setText(text)
        self.recorded.setToolTip(hint)
        self.recorded.setVisible(bool(text))

    def show_stream(self, is_on: bool, text: str) -> None:
        """Set the state of the switch and the line below it."""
        check_quietly(self.stream, is_on)
        for part in (self.stream_format, self.stream_address, self.stream_port):
            part.setEnabled(not is_on)
        self.streamed.setText(text)
        self.streamed.setVisible(bool(text))


def _choices(name: str, hint: str, accessible_name: str) -> QComboBox:
    box = combo_box({choice.value: choice.label for choice in choices_of(name)}, hint)
    box.setAccessibleName(accessible_name)
    return box


def _port_box() -> QSpinBox:
    box = QSpinBox()
    box.setRange(*PORT_LIMITS)
    box.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
    box.setToolTip("UDP port")
    box.setFixedWidth(56)
    return box
