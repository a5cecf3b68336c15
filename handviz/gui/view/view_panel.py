"""Right: which network, how it is shown, and how it performs."""

import time

from PyQt6.QtCore import QSignalBlocker, Qt, QTimer, pyqtSignal
from PyQt6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QDoubleSpinBox,
    QGridLayout,
    QRadioButton,
    QSlider,
    QWidget,
)

from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.gui.session.rates import RateMeter
from handviz.gui.session.settings import LIMITS, ViewSettings
from handviz.gui.widgets.controls import Panel, check_box, check_quietly, named_label, number_box, push_button, row_of
from handviz.rendering.options import ColourMode

REFRESH_MS = 250
NOTHING = "–"
CPU_PROVIDER = "CPUExecutionProvider"
ROWS = (
    ("detect", "Detection"),
    ("crop", "Crop"),
    ("reconstruct", "Reconstruction"),
    ("smooth", "Smoothing"),
    ("texture", "Texture"),
    ("draw", "Drawing"),
    ("capture_rate", "Captured"),
    ("inference_rate", "Reconstructed"),
    ("draw_rate", "Drawn"),
    ("age", "Age when shown"),
    ("dropped", "Frames dropped"),
    ("provider", "Runs on"),
)
PERCENT = 100
Choice = tuple[str, str, str, str]
"""Value, text, key, hint."""
VARIANT_CHOICES: tuple[Choice, ...] = (
    ("prior", "prior-net", "1", "The hand model's pose and shape alone, without attention"),
    ("amvur", "AMVUR", "2", "Attention between joints and vertices, trained without a prior"),
    ("final", "final", "3", "AMVUR and prior-net trained jointly"),
)
COLOUR_CHOICES: tuple[Choice, ...] = (
    ("uncertainty", "uncertainty", "V", "How far the network expects to be off, in millimetres"),
    ("texture", "texture", "T", "The hand's own skin, from the image and the texture net"),
    ("plain", "plain", "P", "The shape alone"),
)
VIEW_CHOICES: tuple[Choice, ...] = (
    ("overlay", "on the image", "O", "The mesh lies on the hand"),
    ("orbit", "free orbit", "O", "Drag to turn, wheel to zoom, double click to look as the camera does"),
)
SMOOTHING_CHOICES: tuple[Choice, ...] = (
    ("kalman", "Kalman", "K", "Trusts every frame by its own standard deviation; moving hands do not lag"),
    ("one_euro", "One Euro", "K", "Smooths slow hands strongly and fast ones less, which lag a little"),
)


# Stage times, rates, the age of the image, and the provider that really runs.


class PerformancePanel(QWidget):
    """Takes every answer and paint, and writes four times a second what they say."""

    summed_up = pyqtSignal(str)
    """The same in one line."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(3)
        self.values = {name: named_label("number", NOTHING) for name, _ in ROWS}
        for row, (name, title) in enumerate(ROWS):
            grid.addWidget(named_label("faint", title), row, 0)
            grid.addWidget(self.values[name], row, 1, Qt.AlignmentFlag.AlignRight)
        self._answer: Answer | None = None
        self._is_new = False
        self._draw_ms, self._age_ms = 0.0, 0.0
        self._draw_rate, self._draw_rate_hz = RateMeter(), 0.0
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.refresh)
        self._timer.start(REFRESH_MS)

    def take_answer(self, answer: Answer) -> None:
        """A new result came."""
        self._answer, self._is_new = answer, True

    def take_paint(self, draw_ms: float) -> None:
        """The viewport was painted; only the first paint of a result says how old it is."""
        self._draw_ms = draw_ms
        if self._answer is not None and self._is_new:
            self._is_new = False
            self._age_ms = time.perf_counter() * 1000 - self._answer.result.frame.captured_ms
            self._draw_rate_hz = self._draw_rate.tick(time.monotonic())

    def clear(self) -> None:
        """Another source comes."""
        self._answer = None
        self._draw_rate.reset()
        for label in self.values.values():
            label.setText(NOTHING)
        self.summed_up.emit("")

    def stop(self) -> None:
        """Write no more."""
        self._timer.stop()

    def refresh(self) -> None:
        """Write the present numbers."""
        if self._answer is None:
            return
        answer, times = self._answer, self._answer.result.times
        is_streaming = answer.capture_rate_hz > 0
        texts = {
            "detect": f"{times.detect_ms:.1f} ms",
            "crop": f"{times.crop_ms:.1f} ms",
            "reconstruct": f"{times.reconstruct_ms:.1f} ms",
            "smooth": f"{times.smooth_ms:.1f} ms",
            "texture": f"{times.texture_ms:.1f} ms" if times.texture_ms > 0 else NOTHING,
            "draw": f"{self._draw_ms:.1f} ms",
            "capture_rate": f"{answer.capture_rate_hz:.1f} /s" if is_streaming else NOTHING,
            "inference_rate": f"{answer.inference_rate_hz:.1f} /s" if is_streaming else NOTHING,
            "draw_rate": f"{self._draw_rate_hz:.1f} /s" if is_streaming else NOTHING,
            "age": f"{self._age_ms:.0f} ms",
            "dropped": str(answer.dropped),
            "provider": provider_text(answer.provider),
        }
        for name, text in texts.items():
            if self.values[name].text() != text:
                self.values[name].setText(text)
        network_ms = times.reconstruct_ms + times.texture_ms
        self.summed_up.emit(
            f"detect {times.detect_ms:.0f} + network {network_ms:.0f} + draw {self._draw_ms:.0f} ms"
            + (f"  ·  {answer.inference_rate_hz:.0f} /s" if is_streaming else "")
            + f"  ·  {answer.dropped} dropped  ·  {texts['provider']}"
        )


def provider_text(provider: str) -> str:
    """ONNX Runtime's name as a person would say it; a missing graphics card is said plainly."""
    if not provider:
        return "no model"
    return "CPU (no GPU)" if provider == CPU_PROVIDER else provider.removesuffix("ExecutionProvider")


class ViewPanel(Panel):
    """Follows and drives a controller's settings."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controller = controller
        self._choices: dict[str, dict[str, QRadioButton]] = {}
        self.group("Network")
        self._add_choice("variant", VARIANT_CHOICES)
        self.group("Colour")
        self._add_choice("colour", COLOUR_CHOICES)
        self._add_range()
        self._add_texture_controls()
        self.group("View")
        self._add_choice("view", VIEW_CHOICES)
        self.wireframe = self._add_switch("wireframe", "wireframe", "W", "The edges of the mesh")
        self.skeleton = self._add_switch("skeleton", "skeleton", "S", "The 21 keypoints and the bones between them")
        self.opacity = self._add_slider("opacity", "Opacity", "Of the mesh over the image")
        self.group("Smoothing")
        self._add_choice("smoothing_kind", SMOOTHING_CHOICES)
        self.smoothing = self._add_slider("smoothing", "Strength", "0: every frame as it is; more: calmer")
        self.group("Performance")
        self.numbers = PerformancePanel()
        self.column.addWidget(self.numbers)
        controller.settings_changed.connect(self.show_settings)
        self.show_settings(controller.settings)

    def choice(self, name: str, value: str) -> QRadioButton:
        """The radio button of a value, for tests."""
        return self._choices[name][value]

    def show_settings(self, settings: ViewSettings) -> None:
        """Follow settings that were changed elsewhere."""
        for name, buttons in self._choices.items():
            check_quietly(buttons[getattr(settings, name)], True)
        check_quietly(self.wireframe, settings.wireframe)
        check_quietly(self.skeleton, settings.skeleton)
        check_quietly(self.mark_inferred, settings.mark_inferred)
        check_quietly(self.relight, settings.relight)
        check_quietly(self.range_is_automatic, settings.range_is_automatic)
        for slider, fraction in ((self.opacity, settings.opacity), (self.smoothing, settings.smoothing)):
            with QSignalBlocker(slider):
                slider.setValue(round(fraction * PERCENT))
        for box, value in (
            (self.range_low, settings.range_low_mm),
            (self.range_high, settings.range_high_mm),
        ):
            with QSignalBlocker(box):
                box.setValue(value)
            box.setEnabled(not settings.range_is_automatic)
        self._show_what_concerns(settings.colour)

    def _add_choice(self, name: str, choices: tuple[Choice, ...]) -> None:
        group = QButtonGroup(self)
        self._choices[name] = {}
        for value, text, key, hint in choices:
            button = QRadioButton(text)
            button.setToolTip(hint)
            group.addButton(button)
            self._choices[name][value] = button
            button.toggled.connect(
                lambda checked, value=value: self._controller.change(**{name: value}) if checked else None
            )
            self.add_with_key(button, key)

    def _add_switch(self, name: str, text: str, key: str, hint: str) -> QCheckBox:
        return self.add_switch(text, key, hint, lambda checked: self._controller.change(**{name: checked}))

    def _add_slider(self, name: str, text: str, hint: str) -> QSlider:
        low, high = LIMITS[name]
        slider = QSlider(Qt.Orientation.Horizontal)
        slider.setToolTip(hint)
        slider.setAccessibleName(text)
        slider.setRange(round(low * PERCENT), round(high * PERCENT))
        slider.valueChanged.connect(lambda value: self._controller.change(**{name: value / PERCENT}))
        slider.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.column.addLayout(row_of(named_label("", text), slider, wide=slider))
        return slider

    def _add_range(self) -> None:
        hint = "Otherwise the two numbers below are the ends of the colours"
        self.range_is_automatic = check_box(
            "range follows the data", hint, lambda checked: self._controller.change(range_is_automatic=checked)
        )
        self.column.addWidget(self.range_is_automatic)
        self.range_low = self._range_box("range_low_mm")
        self.range_high = self._range_box("range_high_mm")
        line = self.add_line()
        line.addWidget(self.range_low)
        line.addWidget(named_label("", "to"))
        line.addWidget(self.range_high)
        line.addStretch(1)

    def _add_texture_controls(self) -> None:
        hint = "Stripes lie over what no image has shown: there the network guesses"
        self.mark_inferred = self._add_switch("mark_inferred", "mark what is inferred", "I", hint)
        hint = "The light of this view instead of the image's; drag with the right button to move it"
        self.relight = self._add_switch("relight", "relight", "R", hint)
        hint = "Forget the colours that earlier frames of this stream have shown"
        self.reset_texture = push_button("Reset texture", hint, self._controller.forget_texture)
        self.add_with_key(self.reset_texture, "Ctrl+R")

    def _show_what_concerns(self, colour: ColourMode) -> None:
        """Hide what does nothing in this colour: so the panel fits a low window."""
        self.reset_texture.setEnabled(colour == "texture")
        concerned = {
            "uncertainty": (self.range_is_automatic, self.range_low.parentWidget()),
            "texture": tuple(box.parentWidget() for box in (self.mark_inferred, self.relight, self.reset_texture)),
            "plain": (self.relight.parentWidget(),),
        }
        for part in {part for parts in concerned.values() for part in parts}:
            assert part is not None
            part.setVisible(part in concerned[colour])

    def _range_box(self, name: str) -> QDoubleSpinBox:
        box = number_box(LIMITS[name], " mm")
        box.setToolTip("An end of the heatmap")
        box.valueChanged.connect(lambda value: self._controller.change(**{name: value}))
        return box
