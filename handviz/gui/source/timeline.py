"""Timeline below the image: play, step, seek, loop and speed of clips and folders."""

from PyQt6.QtCore import QSignalBlocker, QSize, Qt
from PyQt6.QtGui import QMouseEvent, QResizeEvent, QValidator
from PyQt6.QtWidgets import (
    QAbstractSpinBox,
    QFrame,
    QHBoxLayout,
    QSlider,
    QSpinBox,
    QStyle,
    QStyleOptionSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from handviz.gui.session.controller import SPEEDS, Controller
from handviz.gui.session.messages import Answer, SourceInfo, SourceLength
from handviz.gui.source.uncertainty_strip import UncertaintyStrip
from handviz.gui.widgets.bind import bind
from handviz.gui.widgets.controls import ElidedLabel, LiveLabel, check_box, combo_box, named_label
from handviz.gui.widgets.icons import IconName, icon

MAX_FRAME = 2_000_000_000
MIN_WIDTH_PX, WIDTH_WITH_SPEED_PX, WIDTH_WITH_TIME_PX, WIDTH_WITH_EVERY_FRAME_PX = 300, 370, 470, 590


class ScrubSlider(QSlider):
    """Slider that jumps to the position of a press and then drags, as in video players."""

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Jump to the position of the press; Qt would only go a page further."""
        if event is not None and event.button() == Qt.MouseButton.LeftButton:
            self.setSliderDown(True)
            self.setValue(self._value_at(round(event.position().x())))

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Drag the handle."""
        if event is not None and self.isSliderDown():
            self.setValue(self._value_at(round(event.position().x())))

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """End the drag."""
        if event is not None and event.button() == Qt.MouseButton.LeftButton:
            self.setSliderDown(False)

    def _value_at(self, x: int) -> int:
        option, style = QStyleOptionSlider(), self.style()
        self.initStyleOption(option)
        assert style is not None
        part = QStyle.SubControl.SC_SliderHandle
        handle = style.subControlRect(QStyle.ComplexControl.CC_Slider, option, part, self).width()
        span = max(self.width() - handle, 1)
        return QStyle.sliderValueFromPosition(self.minimum(), self.maximum(), x - handle // 2, span)


class FrameBox(QSpinBox):
    """Frame number, counted from 1; Enter seeks to a typed number, Escape cancels (``give_keyboard_back``)."""

    def __init__(self) -> None:
        super().__init__()
        self.setRange(1, MAX_FRAME)
        self.setKeyboardTracking(False)
        self.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
        self.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.setFixedWidth(64)
        self.setToolTip("Go to frame (Ctrl+G)")

    def begin_typing(self) -> None:
        """Take the focus; the first digit replaces the number."""
        self.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.selectAll()

    def validate(self, text: str | None, position: int) -> tuple[QValidator.State, str, int]:
        """Let numbers beyond the last frame be typed; Qt would refuse their last digit."""
        state, fitting, position = super().validate(text, position)
        is_beyond = state == QValidator.State.Invalid and fitting.isdecimal()
        return QValidator.State.Intermediate if is_beyond else state, fitting, position

    def fixup(self, text: str | None) -> str:
        """Return the last frame for numbers beyond it."""
        return str(self.maximum()) if text is not None and text.isdecimal() and int(text) else super().fixup(text)

    def show_frame(self, number: int) -> None:
        """Follow the stream unless the user edits."""
        if not self.hasFocus():
            with QSignalBlocker(self):
                self.setValue(number)


class Timeline(QFrame):
    """Timeline that shows and changes the position in the source; hidden for cameras."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("timeline")
        self._controller = controller
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 7, 12, 6)
        column.setSpacing(4)
        self.slider = ScrubSlider()
        self.slider.setToolTip("Position in the clip or folder; drag to scrub")
        column.addWidget(self.slider)
        self.strip = UncertaintyStrip()
        column.addWidget(self.strip)
        row = QHBoxLayout()
        column.addLayout(row)
        self._span: tuple[int, int | None] = 0, None
        self._fill(row)
        self._connect(controller)
        self.hide()

    def _fill(self, row: QHBoxLayout) -> None:
        self.back = self._add_button(row, "back", "Previous frame (←), -10 frames (Shift+←)")
        self.play = self._add_button(row, "play", "Play / pause (Space)")
        self.forward = self._add_button(row, "forward", "Next frame (→), +10 frames (Shift+→)")
        row.addSpacing(6)
        self.number = FrameBox()
        row.addWidget(self.number)
        self.count = named_label("number", "")
        row.addWidget(self.count)
        self.time = LiveLabel("number")
        row.addWidget(self.time)
        row.addSpacing(6)
        self.file_name = ElidedLabel()
        self.file_name.setObjectName("faint")
        row.addWidget(self.file_name, 1)
        hint = "Playback speed: slower ([), faster (])"
        self.speed = combo_box({speed: f"{speed:g}×" for speed in SPEEDS}, hint)
        row.addWidget(self.speed)
        hint = "Reconstruct every frame of a clip, slower than real time where need be: nothing is skipped (Shift+L)"
        self.every_frame = check_box("Every frame", hint)
        row.addWidget(self.every_frame)
        self.loop = self._add_button(row, "loop", "Loop (L)")
        self.loop.setCheckable(True)

    def _connect(self, controller: Controller) -> None:
        self.back.clicked.connect(lambda: controller.step(-1))
        self.forward.clicked.connect(lambda: controller.step(1))
        self.play.clicked.connect(controller.toggle_playing)
        bind(self.loop, "loop", controller)
        bind(self.every_frame, "every_frame", controller)
        self.slider.valueChanged.connect(controller.seek)
        self.strip.seek_wanted.connect(controller.go_to)
        controller.answered.connect(lambda answer: self.strip.take(answer.result))
        self.number.valueChanged.connect(lambda number: controller.go_to(number - 1))
        self.speed.activated.connect(lambda row: controller.set_speed(SPEEDS[row]))
        controller.source_changing.connect(lambda _: self.hide())
        controller.source_opened.connect(self.show_source)
        controller.length_changed.connect(self.show_length)
        controller.playing_changed.connect(self.show_playing)
        controller.speed_changed.connect(self.show_speed)
        controller.reported.connect(self.show_position)
        self.show_speed(controller.speed)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Return a width without the controls that a narrow window leaves out."""
        return QSize(MIN_WIDTH_PX, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        """Hide controls that are in the menu too where the window is too narrow."""
        super().resizeEvent(event)
        self.speed.setVisible(self.width() >= WIDTH_WITH_SPEED_PX)
        self.time.setVisible(self.width() >= WIDTH_WITH_TIME_PX)
        self.every_frame.setVisible(self.width() >= WIDTH_WITH_EVERY_FRAME_PX)

    def edit_number(self) -> None:
        """Let the user type a frame number."""
        if self.isHidden():
            self._controller.notify("Go to frame works in clips and folders only.")
        else:
            self.number.begin_typing()

    def set_in_point(self) -> None:
        """Let the clip play and loop from the present frame on."""
        self._set_span(self.slider.value(), self._span[1])

    def set_out_point(self) -> None:
        """Let the clip play and loop up to the present frame."""
        self._set_span(self._span[0], self.slider.value())

    def clear_span(self) -> None:
        """Let all of the clip play again."""
        self._set_span(0, None)

    def _set_span(self, first: int, last: int | None) -> None:
        """Take in and out point; one that would lie on the wrong side of the other gives way to it."""
        if self.isHidden():
            self._controller.notify("In and out points work in clips and folders only.")
            return
        if last is not None and first >= last:
            first, last = (first, None) if first != self._span[0] else (0, last)
        self._span = first, last
        self._controller.set_span(first, last)
        end = self.slider.maximum() if last is None else last
        self.strip.show_span(None if self._span == (0, None) else (first, end))
        self._controller.notify(f"Plays frames {first + 1} to {end + 1}.")

    def show_source(self, info: SourceInfo) -> None:
        """Show the timeline for clips and folders."""
        self.time.setText("")
        self.file_name.setText("")
        self.number.show_frame(1)
        with QSignalBlocker(self.slider):
            self.slider.setValue(0)
        self._show_count(info.frame_count)
        self._span = 0, None
        self.strip.reset(None if info.is_live else info.frame_count)
        self.setVisible(not info.is_live and info.frame_count != 1)

    def show_length(self, length: SourceLength) -> None:
        """Show the new length of a folder that changed or of a clip whose header was wrong."""
        self._show_count(length.frame_count)
        self.strip.resize_to(length.frame_count)
        self._show_number(max(length.number, 0))
        self.setVisible(length.frame_count != 1)

    def show_playing(self, is_playing: bool) -> None:
        """Show the icon of what the button would do."""
        self.play.setIcon(icon("pause" if is_playing else "play"))

    def show_speed(self, speed: float) -> None:
        """Show a speed that was changed elsewhere."""
        self.speed.setCurrentIndex(SPEEDS.index(speed))

    def show_position(self, answer: Answer) -> None:
        """Follow the stream unless the user edits."""
        frame = answer.result.frame
        self.time.setText("" if frame.time_ms is None else time_text(frame.time_ms))
        self.file_name.setText(frame.name)
        self._show_number(frame.number)

    def _show_number(self, number: int) -> None:
        self.number.show_frame(number + 1)
        if not self.slider.isSliderDown():
            with QSignalBlocker(self.slider):
                self.slider.setValue(number)

    def _show_count(self, count: int | None) -> None:
        self.count.setText(f"/ {count}" if count else "")
        with QSignalBlocker(self.slider), QSignalBlocker(self.number):
            self.slider.setRange(0, max((count or 1) - 1, 0))
            self.slider.setEnabled(bool(count))
            self.number.setMaximum(count or MAX_FRAME)

    def _add_button(self, row: QHBoxLayout, name: IconName, hint: str) -> QToolButton:
        button = QToolButton()
        button.setIcon(icon(name))
        button.setIconSize(QSize(16, 16))
        button.setToolTip(hint)
        row.addWidget(button)
        return button


def time_text(time_ms: float) -> str:
    """Return minutes, seconds and milliseconds, such as "01:02.345"."""
    whole_ms = round(time_ms)
    return f"{whole_ms // 60_000:02d}:{whole_ms // 1000 % 60:02d}.{whole_ms % 1000:03d}"
