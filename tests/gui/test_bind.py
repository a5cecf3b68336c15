"""Widgets that are bound to a setting: both ways, once, and no longer than they live."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PyQt6 import sip
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QCheckBox, QDoubleSpinBox, QSlider, QWidget
from pytestqt.qtbot import QtBot

from handviz.core.camera_model import CameraModel
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import SettingsStore, value_of
from handviz.gui.widgets.bind import bind, button_of, choice_box, radio_group
from handviz.gui.widgets.choices import CHOICES, choices_of
from handviz.models.registry import list_models
from tests.gui_fakes import FakePipeline


@pytest.fixture
def controller(qtbot: QtBot, tmp_path: Path) -> Iterator[Controller]:
    """Return a controller that was not started."""
    made = Controller(FakePipeline, SettingsStore(), lister=lambda: [], fallback_clip=tmp_path / "none.mp4")
    yield made
    made.close()


@pytest.fixture
def parent(qtbot: QtBot) -> QWidget:
    """Return a widget for those of a test."""
    made = QWidget()
    qtbot.addWidget(made)
    return made


def check(controller: Controller, name: str, values: tuple[Any, Any], read: Callable[[], Any], write: Any) -> None:
    """Check that a widget shows a setting, without changing it, and changes it."""
    shown: list[object] = []
    controller.settings_changed.connect(shown.append)
    controller.change(**{name: values[0]})
    assert read() == values[0]
    assert len(shown) == 1, "showing a setting changes nothing"
    write(values[1])
    assert value_of(controller.settings, name) == values[1]
    assert len(shown) == 2


def test_check_box(controller: Controller, parent: QWidget) -> None:
    box = QCheckBox(parent)
    bind(box, "loop", controller)
    assert box.isChecked(), "it shows the present value at once"
    check(controller, "loop", (False, True), box.isChecked, box.setChecked)


def test_slider(controller: Controller, parent: QWidget) -> None:
    slider = QSlider(Qt.Orientation.Horizontal, parent)
    slider.setRange(0, 100)
    bind(slider, "smoothing", controller, steps=100)
    assert slider.value() == 30
    check(
        controller,
        "smoothing",
        (0.25, 0.75),
        lambda: slider.value() / 100,
        lambda value: slider.setValue(round(value * 100)),
    )


def test_number(controller: Controller, parent: QWidget) -> None:
    box = QDoubleSpinBox(parent)
    box.setRange(0, 100)
    bind(box, "range_high_mm", controller)
    check(controller, "range_high_mm", (12.5, 20.0), box.value, box.setValue)


def test_number_of_another_form(controller: Controller, parent: QWidget) -> None:
    box = QDoubleSpinBox(parent)
    box.setRange(1, 179)
    bind(
        box,
        "camera_model",
        controller,
        shown=lambda camera: camera.field_of_view_deg,
        taken=lambda angle_deg: CameraModel("angle", angle_deg),
    )
    check(
        controller,
        "camera_model",
        (CameraModel("angle", 70.0), CameraModel("angle", 80.0)),
        lambda: CameraModel("angle", box.value()),
        lambda camera: box.setValue(camera.field_of_view_deg),
    )


def test_combo_box(controller: Controller, parent: QWidget) -> None:
    box = choice_box("side", controller, "hint")
    box.setParent(parent)
    check(controller, "side", ("left", "right"), box.currentData, lambda side: box.setCurrentIndex(box.findData(side)))


def test_radio_buttons(controller: Controller, parent: QWidget) -> None:
    group = radio_group("shown_colour", controller, parent)

    def chosen() -> Any:
        (button,) = (button for button in group.buttons() if button.isChecked())
        return button.property("value")

    check(controller, "shown_colour", ("texture", "difference"), chosen, lambda value: button_of(group, value).click())


def test_a_deleted_widget_follows_no_longer(controller: Controller) -> None:
    box = QCheckBox()
    bind(box, "wireframe", controller)
    sip.delete(box)
    # A call of the deleted box would be an error, which pytest-qt finds.
    controller.change(wireframe=True)
    assert controller.settings.draw.wireframe


@pytest.mark.parametrize("name", CHOICES)
def test_the_usual_value_is_a_choice(controller: Controller, name: str) -> None:
    assert value_of(controller.settings, name) in [choice.value for choice in choices_of(name)]


def test_models_come_from_the_registry() -> None:
    choices = choices_of("model")
    assert [(choice.value, choice.label, choice.hint) for choice in choices] == [
        (spec.id, spec.label, spec.hint) for spec in list_models()
    ]
    assert [choice.key for choice in choices][:3] == ["1", "2", "3"]
