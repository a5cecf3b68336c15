"""Right panel: model, colours, view, smoothing and performance."""

import time
from collections.abc import Mapping

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

from handviz.core.records import NetworkFile, NetworkRole
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.gui.session.rates import RateMeter
from handviz.gui.session.settings import LIMITS, ViewSettings
from handviz.gui.widgets.controls import Panel, check_box, check_quietly, named_label, number_box, push_button, row_of
from handviz.rendering.options import ColourMode

REFRESH_MS = 250
NOTHING = "–"
CPU_PROVIDER = "CPUExecutionProvider"
CHANGED = "changed"
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
    ("dropped", "Frames skipped"),
    ("provider", "Runs on"),
    ("networks", "Networks"),
)
PERCENT = 100
Choice = tuple[str, str, str, str]
"""value, text, key, tooltip"""
MODEL_CHOICES: tuple[Choice, ...] = (
    ("prior", "Prior-net", "1", "Pose and shape of the hand model, without attention"),
    ("amvur", "AMVUR", "2", "Attention between joints and vertices, trained without the prior-net"),
    ("final", "Final", "3", "Prior-net and AMVUR, trained jointly"),
)
COLOUR_CHOICES: tuple[Choice, ...] = (
    ("uncertainty", "Uncertainty", "V", "Standard deviation of each vertex, in millimetres"),
    ("texture", "Texture", "T", "Skin colours from the image and the texture net"),
    ("plain", "Shaded", "P", "The shape only, without colours"),
)
VIEW_CHOICES: tuple[Choice, ...] = (
    ("overlay", "Overlay", "O", "The mesh drawn over the image"),
    ("orbit", "3D view", "O", "Drag to rotate, wheel to zoom, double-click to reset"),
)
SMOOTHING_CHOICES: tuple[Choice, ...] = (
    ("kalman", "Kalman", "K", "Weights each frame by its own standard deviation; little lag"),
    ("one_euro", "One Euro", "K", "Smooths slow hands strongly and fast ones less; some lag"),
)


class PerformancePanel(QWidget):
    """Stage times, rates, age of the frame and execution provider, updated four times a second."""

    summarised = pyqtSignal(str)
    """the same in one line"""

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
        """Take a new result."""
        self._answer, self._is_new = answer, True

    def take_paint(self, draw_ms: float) -> None:
        """Take the time of a paint; the first one of a result also measures its age."""
        self._draw_ms = draw_ms
        if self._answer is not None and self._is_new:
            self._is_new = False
            self._age_ms = time.perf_counter() * 1000 - self._answer.result.frame.captured_ms
            self._draw_rate_hz = self._draw_rate.tick(time.monotonic())

    def clear(self) -> None:
        """Empty the values for another source."""
        self._answer = None
        self._draw_rate.reset()
        for label in self.values.values():
            label.setText(NOTHING)
        self.summarised.emit("")

    def stop(self) -> None:
        """Stop updating."""
        self._timer.stop()

    def refresh(self) -> None:
        """Show the present values."""
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
            "networks": networks_text(answer.result.networks),
        }
        for name, text in texts.items():
            if self.values[name].text() != text:
                self.values[name].setText(text)
        network_ms = times.reconstruct_ms + times.texture_ms
        self.summarised.emit(
            f"detect {times.detect_ms:.0f} + network {network_ms:.0f} + draw {self._draw_ms:.0f} ms"
            + (f"  ·  {answer.inference_rate_hz:.0f} /s" if is_streaming else "")
            + f"  ·  {answer.dropped} frames skipped  ·  {texts['provider']}"
            + (f"  ·  {texts['networks']}" if texts["networks"].endswith(CHANGED) else "")
        )


def provider_text(provider: str) -> str:
    """Return a short name of ONNX Runtime's execution provider."""
    if not provider:
        return "No model"
    return "CPU (no GPU)" if provider == CPU_PROVIDER else provider.removesuffix("ExecutionProvider")


def networks_text(networks: Mapping[NetworkRole, NetworkFile]) -> str:
    """Return which of the files in use are not those that handviz ships, such as "Network changed"."""
    changed = [role.replace("_", " ") for role, file in networks.items() if file.state == "changed"]
    if changed:
        return f"{', '.join(changed).capitalize()} {CHANGED}"
    if any(file.state == "own" for file in networks.values()):
        return "Own files"
    return "As shipped" if networks else NOTHING


class ViewPanel(Panel):
    """Panel that shows and changes the controller's settings."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controller = controller
        self._choices: dict[str, dict[str, QRadioButton]] = {}
        self.group("Model")
        self._add_choice("model", MODEL_CHOICES)
        self.group("Colour")
        self._add_choice("colour", COLOUR_CHOICES)
        self._add_range()
        self._add_texture_controls()
        self.group("View")
        self._add_choice("view", VIEW_CHOICES)
        self.wireframe = self._add_switch("wireframe", "Wireframe", "W", "Edges of the mesh")
        self.skeleton = self._add_switch("skeleton", "Skeleton", "S", "The 21 keypoints and the bones between them")
        self.opacity = self._add_slider("opacity", "Opacity", "Opacity of the mesh over the image")
        self.group("Smoothing")
        self._add_choice("smoothing_kind", SMOOTHING_CHOICES)
        self.smoothing = self._add_slider("smoothing", "Strength", "0: unsmoothed; higher = smoother")
        self.group("Performance")
        self.numbers = PerformancePanel()
        self.column.addWidget(self.numbers)
        controller.settings_changed.connect(self.show_settings)
        self.show_settings(controller.settings)

    def choice(self, name: str, value: str) -> QRadioButton:
        """Return the radio button of a value, for tests."""
        return self._choices[name][value]

    def show_settings(self, settings: ViewSettings) -> None:
        """Show settings that were changed elsewhere."""
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
        self._show_relevant(settings.colour)

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
        hint = "Fit the colour scale to the data; otherwise it has the two ends below"
        self.range_is_automatic = check_box(
            "Auto range", hint, lambda checked: self._controller.change(range_is_automatic=checked)
        )
        self.column.addWidget(self.range_is_automatic)
        self.range_low = self._range_box("range_low_mm", "Lower end of the colour scale")
        self.range_high = self._range_box("range_high_mm", "Upper end of the colour scale")
        line = self.add_line()
        line.addWidget(self.range_low)
        line.addWidget(named_label("", "to"))
        line.addWidget(self.range_high)
        line.addStretch(1)

    def _add_texture_controls(self) -> None:
        hint = "Stripes over regions that no image has shown, whose colours are inferred"
        self.mark_inferred = self._add_switch("mark_inferred", "Hatch unobserved regions", "I", hint)
        hint = "Studio light instead of the image's; drag with the right mouse button to move it"
        self.relight = self._add_switch("relight", "Studio light", "R", hint)
        hint = "Discard the colours that earlier frames of this stream have shown"
        self.reset_texture = push_button("Reset texture", hint, self._controller.forget_texture)
        self.add_with_key(self.reset_texture, "Ctrl+R")

    def _show_relevant(self, colour: ColourMode) -> None:
        """Hide controls that have no effect in this colour, so that the panel fits a low window."""
        self.reset_texture.setEnabled(colour == "texture")
        relevant = {
            "uncertainty": (self.range_is_automatic, self.range_low.parentWidget()),
            "texture": tuple(box.parentWidget() for box in (self.mark_inferred, self.relight, self.reset_texture)),
            "plain": (self.relight.parentWidget(),),
        }
        for part in {part for parts in relevant.values() for part in parts}:
            assert part is not None
            part.setVisible(part in relevant[colour])

    def _range_box(self, name: str, hint: str) -> QDoubleSpinBox:
        box = number_box(LIMITS[name], " mm")
        box.setToolTip(hint)
        box.valueChanged.connect(lambda value: self._controller.change(**{name: value}))
        return box
