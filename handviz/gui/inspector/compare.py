"""All models side by side, and the difference map of two of them: controls and keys."""

from collections.abc import Sequence

from PyQt6.QtCore import QPointF, QSignalBlocker

from handviz.core.records import ModelId
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
    """Controls of the group "Compare"."""

    def __init__(self, controller: Controller, viewport: Viewport, panel: Panel) -> None:
        super().__init__()
        self._controller, self._viewport = controller, viewport
        self._others: frozenset[ModelId] = frozenset()
        panel.group("Compare", before="Colour")
        hint = "prior-net, AMVUR and final of the same frame, from the same viewpoint"
        self.compare = panel.add_switch(
            "All three models", "C", hint, lambda checked: controller.change(compare=checked)
        )
        hint = "Distances between corresponding vertices of two models, wrist-aligned, as colours"
        self.difference = panel.add_switch(
            "Difference map", "D", hint, lambda checked: controller.change(difference=checked)
        )
        self.pair = combo_box(PAIRS, "Pair of models")
        self.pair.setAccessibleName("Pair of models of the difference map")
        self.pair.currentIndexChanged.connect(self._choose_pair)
        panel.column.addWidget(self.pair)
        self.aligned = check_box(
            "Procrustes-align first",
            "Remove the best rotation, translation and scale first: differences of pose and shape remain",
            lambda checked: controller.change(difference_aligned=checked),
        )
        panel.column.addWidget(self.aligned)
        viewport.clicked.connect(self.choose_at)
        controller.answered.connect(self._take_answer)
        controller.settings_changed.connect(self.show_settings)
        self.show_settings(controller.settings)

    def shortcuts(self) -> Sequence[Shortcut]:
        """Return the keys of both switches."""
        return (
            Shortcut(("C",), "Compare all three models", self.compare.toggle, setting=("compare", True)),
            Shortcut(("D",), "Difference map (pair of models)", self.difference.toggle, setting=("difference", True)),
        )

    def choose_at(self, position: QPointF) -> None:
        """Activate the model whose pane was clicked, for numbers, attention and saved meshes."""
        pane = self._viewport.pane_at(position)
        if pane is not None and self._controller.settings.compare and pane.model in self._others:
            self._controller.change(model=pane.model)

    def _take_answer(self, answer: Answer) -> None:
        self._others = frozenset(answer.result.others)

    def show_settings(self, settings: ViewSettings) -> None:
        """Show settings that were changed elsewhere."""
        check_quietly(self.compare, settings.compare)
        check_quietly(self.difference, settings.difference)
        check_quietly(self.aligned, settings.difference_aligned)
        with QSignalBlocker(self.pair):
            self.pair.setCurrentIndex(self.pair.findData(settings.difference_pair))
        for part in (self.pair, self.aligned):
            part.setVisible(settings.difference)

    def _choose_pair(self, _: int) -> None:
        self._controller.change(difference_pair=self.pair.currentData())
