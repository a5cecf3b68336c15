"""Right: which network, how it is shown, and how it performs."""

from PyQt6.QtCore import QSignalBlocker, Qt
from PyQt6.QtWidgets import (
    QAbstractButton,
    QButtonGroup,
    QCheckBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QPushButton,
    QRadioButton,
    QSlider,
    QWidget,
)

from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import LIMITS, ViewSettings
from handviz.gui.view.numbers import Numbers
from handviz.gui.widgets.parts import Panel, named_label, number_box
from handviz.rendering.options import ColourMode

PERCENT = 100
Choice = tuple[str, str, str, str]
"""Value, text, key, hint."""
VARIANT_CHOICES: tuple[Choice, ...] = (
    ("prior", "prior-net", "1", "The hand model's pose and shape alone, without attention"),
    ("amvur", "AMVUR", "2", "Attention between joints and vertices, trained without a prior"),
    ("final", "final", "3", "AMVUR and prior-net trained jointly"),
)
COLOUR_CHOICES: tuple[Choice, ...] = (
    ("deviation", "deviation", "V", "How far the network expects to be off, in millimetres"),
    ("texture", "texture", "T", "The hand's own skin, from the picture and the texture net"),
    ("plain", "plain", "P", "The shape alone"),
)
VIEW_CHOICES: tuple[Choice, ...] = (
    ("overlay", "on the picture", "O", "The mesh lies on the hand"),
    ("orbit", "free orbit", "O", "Drag to turn, wheel to zoom, double click to look as the camera does"),
)
SMOOTHING_CHOICES: tuple[Choice, ...] = (
    ("kalman", "Kalman", "K", "Trusts every frame by its own deviation; moving hands do not lag"),
    ("one_euro", "One Euro", "K", "Smooths slow hands strongly and fast ones less, which lag a little"),
)


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
        self.opacity = self._add_slider("opacity", "Opacity", "Of the mesh over the picture")
        self.group("Smoothing")
        self._add_choice("smoothing_kind", SMOOTHING_CHOICES)
        self.smoothing = self._add_slider("smoothing", "Strength", "0: every frame as it is; more: calmer")
        self.group("Performance")
        self.numbers = Numbers()
        self.column.addWidget(self.numbers)
        controller.settings_changed.connect(self.show_settings)
        self.show_settings(controller.settings)

    def choice(self, name: str, value: str) -> QRadioButton:
        """The radio button of a value, for tests."""
        return self._choices[name][value]

    def show_settings(self, settings: ViewSettings) -> None:
        """Follow settings that were changed elsewhere."""
        for name, buttons in self._choices.items():
            _set_quietly(buttons[getattr(settings, name)], True)
        _set_quietly(self.wireframe, settings.wireframe)
        _set_quietly(self.skeleton, settings.skeleton)
        _set_quietly(self.mark_inferred, settings.mark_inferred)
        _set_quietly(self.relight, settings.relight)
        _set_quietly(self.range_is_automatic, settings.range_is_automatic)
        for slider, share in ((self.opacity, settings.opacity), (self.smoothing, settings.smoothing)):
            with QSignalBlocker(slider):
                slider.setValue(round(share * PERCENT))
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
            self._add_with_key(button, key)

    def _add_switch(self, name: str, text: str, key: str, hint: str) -> QCheckBox:
        box = QCheckBox(text)
        box.setToolTip(hint)
        box.toggled.connect(lambda checked: self._controller.change(**{name: checked}))
        self._add_with_key(box, key)
        return box

    def _add_with_key(self, button: QAbstractButton, key: str) -> None:
        line = self._add_line()
        line.addWidget(button, 1)
        line.addWidget(named_label("key", key))

    def _add_line(self) -> QHBoxLayout:
        """A line of the panel in a widget of its own, which can be hidden: the parent of what is put into it."""
        holder = QWidget()
        line = QHBoxLayout(holder)
        line.setContentsMargins(0, 0, 0, 0)
        self.column.addWidget(holder)
        return line

    def _add_slider(self, name: str, text: str, hint: str) -> QSlider:
        low, high = LIMITS[name]
        slider = QSlider(Qt.Orientation.Horizontal)
        slider.setToolTip(hint)
        slider.setAccessibleName(text)
        slider.setRange(round(low * PERCENT), round(high * PERCENT))
        slider.valueChanged.connect(lambda value: self._controller.change(**{name: value / PERCENT}))
        slider.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        row = QHBoxLayout()
        row.addWidget(named_label("", text))
        row.addWidget(slider, 1)
        self.column.addLayout(row)
        return slider

    def _add_range(self) -> None:
        self.range_is_automatic = QCheckBox("range follows the data")
        self.range_is_automatic.setToolTip("Otherwise the two numbers below are the ends of the colours")
        self.range_is_automatic.toggled.connect(lambda checked: self._controller.change(range_is_automatic=checked))
        self.column.addWidget(self.range_is_automatic)
        self.range_low = self._range_box("range_low_mm")
        self.range_high = self._range_box("range_high_mm")
        line = self._add_line()
        line.addWidget(self.range_low)
        line.addWidget(named_label("", "to"))
        line.addWidget(self.range_high)
        line.addStretch(1)

    def _add_texture_controls(self) -> None:
        hint = "Stripes lie over what no picture has shown: there the network guesses"
        self.mark_inferred = self._add_switch("mark_inferred", "mark what is inferred", "I", hint)
        hint = "The light of this view instead of the picture's; drag with the right button to move it"
        self.relight = self._add_switch("relight", "relight", "R", hint)
        self.reset_texture = QPushButton("Reset texture")
        self.reset_texture.setToolTip("Forget the colours that earlier frames of this stream have shown")
        self.reset_texture.clicked.connect(self._controller.forget_texture)
        self._add_with_key(self.reset_texture, "Ctrl+R")

    def _show_what_concerns(self, colour: ColourMode) -> None:
        """Hide what does nothing in this colour: so the panel fits a low window."""
        self.reset_texture.setEnabled(colour == "texture")
        concerned = {
            "deviation": (self.range_is_automatic, self.range_low.parentWidget()),
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


def _set_quietly(button: QAbstractButton, checked: bool) -> None:
    with QSignalBlocker(button):
        button.setChecked(checked)
