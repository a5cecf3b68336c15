"""Right: which network, how it is shown, and how it performs."""

from PyQt6.QtCore import QSignalBlocker, Qt
from PyQt6.QtWidgets import (
    QAbstractButton,
    QButtonGroup,
    QCheckBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QRadioButton,
    QSlider,
    QWidget,
)

from handviz.gui.controller import Controller
from handviz.gui.numbers import Numbers
from handviz.gui.parts import Panel, named_label, number_box
from handviz.gui.settings import LIMITS, ViewSettings

PERCENT = 100
VARIANT_CHOICES = (("final", "final", "3"), ("amvur", "AMVUR", "2"), ("prior", "prior-net", "1"))
COLOUR_CHOICES = (("deviation", "deviation", "V"), ("plain", "plain", "P"))
VIEW_CHOICES = (("overlay", "on the picture", "O"), ("orbit", "free orbit", "O"))


class ViewPanel(Panel):
    """Follows and drives a controller's settings."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controller = controller
        self._choices: dict[str, dict[str, QRadioButton]] = {}
        self.group("Network")
        self._add_choice("variant", VARIANT_CHOICES[::-1])
        self.group("Colour")
        self._add_choice("colour", COLOUR_CHOICES)
        self._add_range()
        self.group("View")
        self._add_choice("view", VIEW_CHOICES)
        self.wireframe = self._add_switch("wireframe", "wireframe", "W")
        self.skeleton = self._add_switch("skeleton", "skeleton", "S")
        self.opacity = self._add_slider("opacity", "Opacity")
        self.group("Smoothing")
        self.smoothing = self._add_slider("smoothing", "Strength")
        self.group("Performance")
        self.numbers = Numbers()
        self.column.addWidget(self.numbers)
        self.column.addStretch(1)
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

    def _add_choice(self, name: str, choices: tuple[tuple[str, str, str], ...]) -> None:
        group = QButtonGroup(self)
        self._choices[name] = {}
        for value, text, key in choices:
            button = QRadioButton(text)
            group.addButton(button)
            self._choices[name][value] = button
            button.toggled.connect(
                lambda checked, value=value: self._controller.change(**{name: value}) if checked else None
            )
            self._add_with_key(button, key)

    def _add_switch(self, name: str, text: str, key: str) -> QCheckBox:
        box = QCheckBox(text)
        box.toggled.connect(lambda checked: self._controller.change(**{name: checked}))
        self._add_with_key(box, key)
        return box

    def _add_with_key(self, button: QAbstractButton, key: str) -> None:
        row = QHBoxLayout()
        row.addWidget(button, 1)
        row.addWidget(named_label("key", key))
        self.column.addLayout(row)

    def _add_slider(self, name: str, text: str) -> QSlider:
        low, high = LIMITS[name]
        slider = QSlider(Qt.Orientation.Horizontal)
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
        self.range_is_automatic.toggled.connect(lambda checked: self._controller.change(range_is_automatic=checked))
        self.column.addWidget(self.range_is_automatic)
        self.range_low = self._range_box("range_low_mm")
        self.range_high = self._range_box("range_high_mm")
        row = QHBoxLayout()
        row.addWidget(self.range_low)
        row.addWidget(named_label("", "to"))
        row.addWidget(self.range_high)
        row.addStretch(1)
        self.column.addLayout(row)

    def _range_box(self, name: str) -> QDoubleSpinBox:
        box = number_box(LIMITS[name], " mm")
        box.valueChanged.connect(lambda value: self._controller.change(**{name: value}))
        return box


def _set_quietly(button: QAbstractButton, checked: bool) -> None:
    with QSignalBlocker(button):
        button.setChecked(checked)
