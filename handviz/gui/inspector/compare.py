"""All variants side by side, and the distances between two of them: controls and keys."""

from collections.abc import Sequence

from PyQt6.QtCore import QPointF, QSignalBlocker

from handviz.core.records import VariantName
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.gui.session.settings import DifferencePair, ViewSettings
from handviz.gui.view.viewport import Viewport
from handviz.gui.widgets.controls import Panel, check_box, check_quietly, combo_box
from handviz.gui.widgets.shortcuts import Feature, Shortcut

PAIRS: dict[DifferencePair, str] = {
    "prior_final": "prior-net – final",
    "amvur_final": "AMVUR – final",
    "prior_amvur": "prior-net – AMVUR",
}


class Compare(Feature):
    """Follows and drives a controller's settings."""

    def __init__(self, controller: Controller, viewport: Viewport, panel: Panel) -> None:
        super().__init__()
        self._controller, self._viewport = controller, viewport
        self._others: frozenset[VariantName] = frozenset()
        panel.group("Compare", before="Colour")
        hint = "prior-net, AMVUR and final of the same frame, seen from the same side"
        self.compare = panel.add_switch(
            "all three networks", "C", hint, lambda checked: controller.change(compare=checked)
        )
        hint = "How far corresponding vertices of two networks lie apart, as colours; wrist on wrist"
        self.difference = panel.add_switch(
            "distances between two", "D", hint, lambda checked: controller.change(difference=checked)
        )
        self.pair = combo_box(PAIRS, "Which two networks")
        self.pair.setAccessibleName("Networks whose distance is shown")
        self.pair.currentIndexChanged.connect(self._choose_pair)
        panel.column.addWidget(self.pair)
        self.aligned = check_box(
            "leave out turn and size",
            "Lay one hand on the other first, by its best turn, shift and scale (Procrustes): pose and shape are left",
            lambda checked: controller.change(difference_aligned=checked),
        )
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
        check_quietly(self.compare, settings.compare)
        check_quietly(self.difference, settings.difference)
        check_quietly(self.aligned, settings.difference_aligned)
        with QSignalBlocker(self.pair):
            self.pair.setCurrentIndex(self.pair.findData(settings.difference_pair))
        for part in (self.pair, self.aligned):
            part.setVisible(settings.difference)

    def _choose_pair(self, _: int) -> None:
        self._controller.change(difference_pair=self.pair.currentData())
