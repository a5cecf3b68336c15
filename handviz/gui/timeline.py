"""Bottom: hold, step, scrub and loop through clips and folders."""

from PyQt6.QtCore import QSignalBlocker, QSize, Qt
from PyQt6.QtWidgets import QFrame, QHBoxLayout, QSlider, QToolButton, QWidget

from handviz.gui.controller import Controller
from handviz.gui.icons import IconName, icon
from handviz.gui.messages import Answer, SourceInfo
from handviz.gui.parts import named_label
from handviz.gui.settings import ViewSettings


class Timeline(QFrame):
    """Follows and drives a controller; hidden for cameras."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("timeline")
        self._controller = controller
        self._count: int | None = None
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 6, 12, 6)
        self.back = self._add_button(row, "back", "One frame back (←)")
        self.play = self._add_button(row, "play", "Hold or go on (space)")
        self.forward = self._add_button(row, "forward", "One frame on (→)")
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setToolTip("Where in the clip or folder; drag to look through it")
        row.addWidget(self.slider, 1)
        self.place = named_label("number", "")
        row.addWidget(self.place)
        self.loop = self._add_button(row, "loop", "Begin again at the end (L)")
        self.loop.setCheckable(True)
        self._connect(controller)
        self.hide()

    def _connect(self, controller: Controller) -> None:
        self.back.clicked.connect(lambda: controller.step(-1))
        self.forward.clicked.connect(lambda: controller.step(1))
        self.play.clicked.connect(controller.toggle_playing)
        self.loop.toggled.connect(lambda checked: controller.change(loop=checked))
        self.slider.valueChanged.connect(controller.seek)
        controller.source_changing.connect(lambda _: self.hide())
        controller.source_opened.connect(self.show_source)
        controller.playing_changed.connect(self.show_playing)
        controller.settings_changed.connect(self.show_settings)
        controller.answered.connect(self.show_place)
        self.show_settings(controller.settings)

    def show_source(self, info: SourceInfo) -> None:
        """Appear for clips and folders."""
        self._count = info.frame_count
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, max((info.frame_count or 1) - 1, 0))
            self.slider.setValue(0)
        self.place.setText("")
        self.setVisible(not info.is_live and info.frame_count != 1)

    def show_playing(self, is_playing: bool) -> None:
        """The button shows what it would do."""
        self.play.setIcon(icon("hold" if is_playing else "play"))

    def show_settings(self, settings: ViewSettings) -> None:
        """Follow settings that were changed elsewhere."""
        with QSignalBlocker(self.loop):
            self.loop.setChecked(settings.loop)

    def show_place(self, answer: Answer) -> None:
        """Follow the stream, but not under the person's hand."""
        frame = answer.result.frame
        total = f" / {self._count}" if self._count else ""
        self.place.setText(f"{frame.number + 1}{total}" + (f"   {frame.name}" if frame.name else ""))
        if not self.slider.isSliderDown():
            with QSignalBlocker(self.slider):
                self.slider.setValue(frame.number)

    def _add_button(self, row: QHBoxLayout, name: IconName, hint: str) -> QToolButton:
        button = QToolButton()
        button.setIcon(icon(name))
        button.setIconSize(QSize(16, 16))
        button.setToolTip(hint)
        row.addWidget(button)
        return button
