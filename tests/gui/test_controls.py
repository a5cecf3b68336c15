"""Widgets that the panels share."""

from PyQt6.QtCore import QCoreApplication, QEvent, QObject
from PyQt6.QtWidgets import QHBoxLayout, QLabel, QWidget
from pytestqt.qtbot import QtBot

from handviz.gui.widgets.controls import LiveLabel


class LayoutCount(QObject):
    """Counter of the layouts that a widget's children ask for."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self.count = 0
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Count."""
        self.count += event is not None and event.type() == QEvent.Type.LayoutRequest
        return super().eventFilter(watched, event)


def layouts_of(qtbot: QtBot, label: QLabel, texts: tuple[str, ...]) -> int:
    """Return how often the window around a label is laid out while it shows these texts."""
    window = QWidget()
    qtbot.addWidget(window)
    QHBoxLayout(window).addWidget(label)
    label.setText("00:00")
    window.show()
    qtbot.waitExposed(window)
    QCoreApplication.processEvents()
    counter = LayoutCount(window)
    for text in texts:
        label.setText(text)
        QCoreApplication.processEvents()
    return counter.count


def test_a_changing_text_has_nothing_laid_out_unless_it_grows(qtbot: QtBot) -> None:
    texts = ("00:01", "00:11", "00:10")
    assert layouts_of(qtbot, LiveLabel("number"), texts) == 0
    assert layouts_of(qtbot, QLabel(), texts) > 0, "what the live label is for"
    assert layouts_of(qtbot, LiveLabel("number"), (*texts, "1:00:00.000")) == 1


def test_a_live_label_has_the_room_of_its_longest_text_until_it_is_empty(qtbot: QtBot) -> None:
    label = LiveLabel("number", "1.0 ms")
    qtbot.addWidget(label)
    short = label.width()
    assert short == label.sizeHint().width()
    label.setText("1000.0 ms")
    long = label.width()
    assert long > short
    label.setText("1.0 ms")
    assert label.width() == long
    label.setText("")
    assert label.width() == 0
