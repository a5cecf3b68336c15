"""Widgets that show a setting and change it: each is bound once, and follows the setting from then on."""

from collections.abc import Callable
from typing import Any

from PyQt6.QtCore import QObject, QSignalBlocker
from PyQt6.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QButtonGroup,
    QComboBox,
    QDoubleSpinBox,
    QRadioButton,
    QWidget,
)

from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import ViewSettings, value_of
from handviz.gui.widgets.choices import choices_of

VALUE = "value"
"""Property of a radio button: what its setting becomes."""
Boundable = QAbstractButton | QButtonGroup | QAbstractSlider | QDoubleSpinBox | QComboBox
Convert = Callable[[Any], Any]


def bind(
    widget: Boundable,
    name: str,
    controller: Controller,
    *,
    steps: int | None = None,
    shown: Convert | None = None,
    taken: Convert | None = None,
) -> None:
    """Let a widget show a setting and change it, until it is deleted.

    ``steps``: those of a slider per unit of the setting. ``shown`` turns the setting into the widget's value, ``taken``
    the widget's value into the setting; without them both are the same. Signals that show the setting change nothing.
    """
    if steps is not None:
        shown, taken = (lambda value: round(value * steps)), (lambda value: value / steps)
    _Binding(widget, name, controller, shown or _same, taken or _same)


def radio_group(name: str, controller: Controller, parent: QWidget) -> QButtonGroup:
    """Return a bound group with a radio button for each choice of a setting, to be laid out by the caller."""
    group = QButtonGroup(parent)
    for choice in choices_of(name):
        button = QRadioButton(choice.label, parent)
        button.setToolTip(choice.hint)
        button.setProperty(VALUE, choice.value)
        group.addButton(button)
    bind(group, name, controller)
    return group


def choice_box(name: str, controller: Controller, hint: str) -> QComboBox:
    """Return a bound combo box with the choices of a setting."""
    box = QComboBox()
    box.setToolTip(hint)
    for choice in choices_of(name):
        box.addItem(choice.label, choice.value)
    bind(box, name, controller)
    return box


def button_of(group: QButtonGroup, value: object) -> QAbstractButton:
    """Return the button of a group for a value."""
    return next(button for button in group.buttons() if button.property(VALUE) == value)


class _Binding(QObject):
    """The connection, which lives as long as the widget."""

    def __init__(self, widget: Boundable, name: str, controller: Controller, shown: Convert, taken: Convert) -> None:
        super().__init__(widget)
        self._widget, self._name, self._controller = widget, name, controller
        self._shown, self._taken = shown, taken
        self._connect()
        controller.settings_changed.connect(self._follow)
        self._follow(controller.settings)

    def _connect(self) -> None:
        widget = self._widget
        if isinstance(widget, QButtonGroup):
            widget.buttonToggled.connect(self._take_button)
        elif isinstance(widget, QAbstractButton):
            widget.toggled.connect(self._take)
        elif isinstance(widget, QComboBox):
            widget.currentIndexChanged.connect(self._take_row)
        else:
            widget.valueChanged.connect(self._take)

    def _take(self, value: Any) -> None:
        self._controller.change(**{self._name: self._taken(value)})

    def _take_button(self, button: QAbstractButton, is_checked: bool) -> None:
        if is_checked:
            self._take(button.property(VALUE))

    def _take_row(self, row: int) -> None:
        assert isinstance(self._widget, QComboBox)
        if row >= 0:
            self._take(self._widget.itemData(row))

    def _follow(self, settings: ViewSettings) -> None:
        widget, value = self._widget, self._shown(value_of(settings, self._name))
        with QSignalBlocker(widget):
            if isinstance(widget, QButtonGroup):
                for button in widget.buttons():
                    if button.property(VALUE) == value:
                        button.setChecked(True)
            elif isinstance(widget, QAbstractButton):
                widget.setChecked(value)
            elif isinstance(widget, QComboBox):
                widget.setCurrentIndex(widget.findData(value))
            else:
                widget.setValue(value)


def _same(value: Any) -> Any:
    return value
