"""All variants side by side, and the distances between two of them: controls and keys."""

from collections.abc import Sequence

from PyQt6.QtCore import QPointF, QSignalBlocker
from PyQt6.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QWidget

from handviz.core.records import VariantName
from handviz.gui.feature import Feature
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.gui.session.settings import DifferencePair, ViewSettings
from handviz.gui.view.viewport import Viewport
from handviz.gui.widgets.controls import Panel, named_label
from handviz.gui.widgets.shortcuts import Shortcut

PAIRS: tuple[tuple[DifferencePair, str], ...] = (
    ("prior_final", "prior-net – final"),
    ("amvur_final", "AMVUR – final"),
    ("prior_amvur", "prior-net – AMVUR"),
)


class Compare(Feature):
    """Follows and drives a controller's settings."""

    def __init__(self, controller: Controller, viewport: Viewport, panel: Panel) -> None:
        super().__init__()
        self._controller, self._viewport = controller, viewport
        self._others: frozenset[VariantName] = frozenset()
        panel.group("Compare", before="Colour")
        hint = "prior-net, AMVUR and final of the same frame, seen from the same side"
        self.compare = self._switch(panel, "compare", "all three networks", "C", hint)
        hint = "How far corresponding vertices of two networks lie apart, as colours; wrist on wrist"
        self.difference = self._switch(panel, "difference", "distances between two", "D", hint)
        self.pair = QComboBox()
        self.pair.setToolTip("Which two networks")
        self.pair.setAccessibleName("Networks whose distance is shown")
        for pair, text in PAIRS:
            self.pair.addItem(text, pair)
        self.pair.currentIndexChanged.connect(self._choose_pair)
        panel.column.addWidget(self.pair)
        self.aligned = QCheckBox("leave out turn and size")
        self.aligned.setToolTip(
            "Lay one hand on the other first, by its best turn, shift and scale (Procrustes): pose and shape are left"
        )
        self.aligned.toggled.connect(lambda checked: controller.change(difference_aligned=checked))
        panel.column.addWidget(self.aligned)
        viewport.clicked.connect(self.choose_at)
        controller.answered.connect(self._take_answer)
        controller.settings_changed.connect(self.show_settings)
        self.show_settings(controller.settings)

    def shortcuts(self) -> Sequence[Shortcut]:
        """Both switches."""
        return (
            Shortcut(("C",), "compare: all three networks", self.compare.toggle, setting=("compare", True)),
            Shortcut(("D",), "distances between two networks", self.difference.toggle, setting=("difference", True)),
        )

    def choose_at(self, position: QPointF) -> None:
        """The variant whose pane was clicked is the chosen one: numbers, attention and saved meshes are its own."""
        pane = self._viewport.pane_at(position)
        if pane is not None and self._controller.settings.compare and pane.variant in self._others:
            self._controller.change(variant=pane.variant)

    def _take_answer(self, answer: Answer) -> None:
        self._others = frozenset(answer.result.others)

    def show_settings(self, settings: ViewSettings) -> None:
        """Follow settings that were changed elsewhere."""
        quiet = [QSignalBlocker(box) for box in (self.compare, self.difference, self.aligned, self.pair)]
        self.compare.setChecked(settings.compare)
        self.difference.setChecked(settings.difference)
        self.aligned.setChecked(settings.difference_aligned)
        self.pair.setCurrentIndex(self.pair.findData(settings.difference_pair))
        for blocker in quiet:
            blocker.unblock()
        for part in (self.pair, self.aligned):
            part.setVisible(settings.difference)

    def _choose_pair(self, _: int) -> None:
        self._controller.change(difference_pair=self.pair.currentData())

    def _switch(self, panel: Panel, name: str, text: str, key: str, hint: str) -> QCheckBox:
        box = QCheckBox(text)
        box.setToolTip(hint)
        box.toggled.connect(lambda checked: self._controller.change(**{name: checked}))
        holder = QWidget()
        line = QHBoxLayout(holder)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(box, 1)
        line.addWidget(named_label("key", key))
        panel.column.addWidget(holder)
        return box
