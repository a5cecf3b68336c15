"""Right panel: model, colours, view, smoothing and performance."""

import time
from collections.abc import Callable, Mapping

from PyQt6.QtCore import Qt, QTimer, pyqtSignal
from PyQt6.QtWidgets import (
    QAbstractButton,
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QMenu,
    QPushButton,
    QSlider,
    QWidget,
)

from handviz.core.records import NetworkFile, NetworkRole
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.gui.session.rates import RateMeter
from handviz.gui.session.settings import LIMITS, ShownColour, ViewSettings, shown_colour
from handviz.gui.widgets.bind import bind, button_of, choice_box, radio_group
from handviz.gui.widgets.choices import COLOUR_MAP_HINT, GROUND_HINT, choices_of
from handviz.gui.widgets.controls import (
    LiveLabel,
    Panel,
    check_box,
    combo_box,
    named_label,
    number_box,
    push_button,
)
from handviz.gui.widgets.shortcuts import Shortcut

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
PRESETS_MM = (5.0, 10.0, 20.0, 40.0)
"""Upper ends of usual colour scales, which begin with 0."""
RANGE_WIDTH_PX = 68


class PerformancePanel(QWidget):
    """Stage times, rates, age of the frame and execution provider, updated four times a second."""

    summarised = pyqtSignal(str)
    """the same in one line"""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(3)
        self.values = {name: LiveLabel("number", NOTHING) for name, _ in ROWS}
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


def _shows(*colours: ShownColour) -> Callable[[ViewSettings], bool]:
    """Return whether the colours show one of these."""
    return lambda settings: shown_colour(settings) in colours


class ViewPanel(Panel):
    """Panel that shows and changes the controller's settings."""

    range_fit_wanted = pyqtSignal()
    range_lock_wanted = pyqtSignal()

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controller = controller
        self._groups: dict[str, QButtonGroup] = {}
        self._relevant: list[tuple[QWidget, Callable[[ViewSettings], bool]]] = []
        self.shortcuts: list[Shortcut] = []
        """Of the switches of this panel."""
        self.group("Model")
        self._add_choice("model")
        hint = "Hands that are followed in a camera or clip; of a photograph all are shown, up to ten"
        self.max_hands = self._add_count("max_hands", "Max. hands (video)", hint)
        self.group("Colour")
        self._add_choice("shown_colour")
        self._add_range()
        self._add_texture_controls()
        self.group("View")
        self._add_choice("view")
        self.wireframe = self._add_switch("wireframe", "Wireframe", "W", "Edges of the mesh")
        self.skeleton = self._add_switch("skeleton", "Skeleton", "S", "The 21 keypoints and the bones between them")
        self.skeleton_width = self._add_slider(
            "skeleton_width",
            "Line width",
            "Width of the skeleton's lines",
            when=lambda settings: settings.draw.skeleton,
        )
        hint = "Number, side and score beside each hand on the image"
        self.labels = self._add_switch("labels", "Labels of hands", "N", hint)
        hint = "MediaPipe's 21 landmarks of each hand, and the square that the network sees"
        self.detections = self._add_switch(
            "detections", "Landmarks and crop", "U", hint, when=lambda settings: settings.draw.view == "overlay"
        )
        hint = "Grid of 5 cm below the hands, the camera's axes, and a scale bar"
        self.guides = self._add_switch(
            "guides",
            "Grid, axes, scale",
            "Y",
            hint,
            menu_text="Grid, axes and scale bar (3D view)",
            when=lambda settings: settings.draw.view == "orbit",
        )
        self.ground = choice_box("ground", controller, GROUND_HINT)
        self.ground.setAccessibleName("Background")
        line = self.add_line()
        line.addWidget(named_label("", "Background"), 1)
        line.addWidget(self.ground)
        self.opacity = self._add_slider("opacity", "Opacity", "Opacity of the mesh over the image")
        self.group("Smoothing")
        self._add_choice("smoothing_kind")
        self.smoothing = self._add_slider("smoothing", "Strength", "0: unsmoothed; higher = smoother")
        self.group("Performance")
        self.numbers = PerformancePanel()
        self.column.addWidget(self.numbers)
        controller.settings_changed.connect(self.show_settings)
        self.show_settings(controller.settings)

    def choice(self, name: str, value: str) -> QAbstractButton:
        """Return the radio button of a value, for tests."""
        return button_of(self._groups[name], value)

    def show_settings(self, settings: ViewSettings) -> None:
        """Hide controls that have no effect now, so that the panel fits a low window."""
        for part, is_relevant in self._relevant:
            part.setVisible(is_relevant(settings))
        for box in (self.range_low, self.range_high):
            box.setEnabled(not settings.draw.range_is_automatic)
        self.lock_range.setEnabled(settings.draw.range_is_automatic)
        self.reset_texture.setEnabled(shown_colour(settings) == "texture")

    def _add_choice(self, name: str) -> None:
        self._groups[name] = radio_group(name, self._controller, self)
        for choice, button in zip(choices_of(name), self._groups[name].buttons(), strict=True):
            self.add_with_key(button, choice.key)

    def _add_switch(
        self,
        name: str,
        text: str,
        key: str,
        hint: str,
        *,
        menu_text: str = "",
        when: Callable[[ViewSettings], bool] | None = None,
    ) -> QCheckBox:
        """Add a check box, with the action of its key; ``when`` says for which drawing it is of use."""
        box = self.add_switch(text, key, hint)
        bind(box, name, self._controller)
        self.shortcuts.append(Shortcut((key,), menu_text or text, box.toggle, setting=(name, True)))
        self._show_when(box.parentWidget(), when)
        return box

    def _add_slider(
        self, name: str, text: str, hint: str, *, when: Callable[[ViewSettings], bool] | None = None
    ) -> QSlider:
        """Add a slider over the limits of a setting; ``when`` says for which drawing it is of use."""
        slider = QSlider(Qt.Orientation.Horizontal)
        slider.setToolTip(hint)
        slider.setAccessibleName(text)
        slider.setRange(*(round(limit * PERCENT) for limit in LIMITS[name]))
        slider.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        bind(slider, name, self._controller, steps=PERCENT)
        line = self.add_line()
        line.addWidget(named_label("", text))
        line.addWidget(slider, 1)
        self._show_when(slider.parentWidget(), when)
        return slider

    def _add_count(self, name: str, text: str, hint: str) -> QComboBox:
        """Add a list of all values of a setting that is a small whole number."""
        low, high = LIMITS[name]
        box = combo_box({value: str(value) for value in range(round(low), round(high) + 1)}, hint)
        box.setAccessibleName(text)
        bind(box, name, self._controller)
        line = self.add_line()
        line.addWidget(named_label("", text), 1)
        line.addWidget(box)
        return box

    def _show_when(self, part: QWidget | None, when: Callable[[ViewSettings], bool] | None) -> None:
        if when is not None:
            assert part is not None
            self._relevant.append((part, when))

    def _add_range(self) -> None:
        self.colour_map = choice_box("colour_map", self._controller, COLOUR_MAP_HINT)
        self.colour_map.setAccessibleName("Colour map")
        line = self.add_line()
        line.addWidget(named_label("", "Colour map"), 1)
        line.addWidget(self.colour_map)
        hint = "Let the ends of the colour scale follow the data; otherwise it has the two ends below"
        self.range_is_automatic = check_box("Auto range", hint)
        bind(self.range_is_automatic, "range_is_automatic", self._controller)
        hint = "Fit the colour scale to the hands on the screen, and keep it"
        self.fit_range = push_button("Fit once", hint, self.range_fit_wanted.emit)
        self.lock_range = push_button("Lock", "Keep the colour scale as it is now", self.range_lock_wanted.emit)
        line = self.add_line()
        line.addWidget(self.range_is_automatic, 1)
        line.addWidget(self._presets())
        line = self.add_line()
        line.addWidget(self.fit_range, 1)
        line.addWidget(self.lock_range, 1)
        self.range_low = self._range_box("range_low_mm", "Lower end of the colour scale")
        self.range_high = self._range_box("range_high_mm", "Upper end of the colour scale")
        line = self.add_line()
        for part in (self.range_low, named_label("", "to"), self.range_high):
            line.addWidget(part)
        line.addStretch(1)
        self._show_when(self.colour_map.parentWidget(), _shows("uncertainty"))
        for control in (self.range_is_automatic, self.fit_range, self.range_low):
            self._show_when(control.parentWidget(), _shows("uncertainty", "difference"))

    def _presets(self) -> QPushButton:
        """Return the button with the menu of usual colour scales."""
        self.presets = push_button("Preset", "Usual colour scales")
        menu = QMenu(self.presets)
        for high_mm in PRESETS_MM:
            action = menu.addAction(f"0 to {high_mm:g} mm")
            assert action is not None
            action.triggered.connect(lambda _=False, high_mm=high_mm: self._controller.set_range((0.0, high_mm)))
        self.presets.setMenu(menu)
        return self.presets

    def _add_texture_controls(self) -> None:
        hint = "Stripes over regions that no image has shown, whose colours are inferred"
        self.mark_inferred = self._add_switch(
            "mark_inferred",
            "Hatch unobserved regions",
            "I",
            hint,
            menu_text="Hatch unobserved regions (texture)",
            when=_shows("texture"),
        )
        hint = "Studio light instead of the image's; drag with the right mouse button to move it"
        self.relight = self._add_switch(
            "relight",
            "Studio light",
            "R",
            hint,
            menu_text="Studio light (texture, shaded)",
            when=_shows("texture", "plain"),
        )
        hint = "Discard the colours that earlier frames of this stream have shown"
        self.reset_texture = push_button("Reset texture", hint, self._controller.forget_texture)
        self.add_with_key(self.reset_texture, "Ctrl+R")
        self._show_when(self.reset_texture.parentWidget(), _shows("texture"))

    def _range_box(self, name: str, hint: str) -> QDoubleSpinBox:
        box = number_box(LIMITS[name], " mm")
        box.setToolTip(hint)
        box.setAccessibleName(hint)
        box.setFixedWidth(RANGE_WIDTH_PX)
        bind(box, name, self._controller)
        return box
