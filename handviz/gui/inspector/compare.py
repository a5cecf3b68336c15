"""Models side by side, and the difference map of two of them: controls and keys."""

from collections.abc import Sequence

from PyQt6.QtCore import QPointF, QSignalBlocker
from PyQt6.QtWidgets import QCheckBox, QComboBox

from handviz.core.records import ModelId
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.gui.session.settings import ViewSettings
from handviz.gui.view.viewport import Viewport
from handviz.gui.widgets.bind import bind, choice_box
from handviz.gui.widgets.choices import COMPARE_MODE_HINT, choices_of
from handviz.gui.widgets.controls import Panel, check_box, check_quietly, combo_box, named_label
from handviz.gui.widgets.shortcuts import Feature, Shortcut
from handviz.models.registry import model_labels
from handviz.rendering.options import MAX_COMPARED, MIN_COMPARED

REFUSED = f"{MIN_COMPARED} to {MAX_COMPARED} models are compared: "
SELECT_FIRST, CLEAR_FIRST = "select another before you clear this one.", "clear one before you select another."

WITHOUT_PANE = "{} is active but has no pane: select it here, or click a pane to activate its model."


class Compare(Feature):
    """Controls of the group "Compare", and those of the difference map in the group "Colour"."""

    def __init__(self, controller: Controller, viewport: Viewport, panel: Panel) -> None:
        super().__init__()
        self._controller, self._viewport, self._panel = controller, viewport, panel
        self._others: frozenset[ModelId] = frozenset()
        panel.group("Compare", before="Colour")
        self._add_panes()
        self._add_difference()
        self._model_before = controller.settings.pipeline.model
        viewport.line_dragged.connect(lambda fraction: controller.change(wipe_at=fraction))
        viewport.clicked.connect(self.choose_at)
        viewport.click_revoked.connect(lambda: controller.change(model=self._model_before))
        controller.answered.connect(self._take_answer)
        controller.settings_changed.connect(self.show_settings)
        self.show_settings(controller.settings)

    def _add_panes(self) -> None:
        hint = "Models of the same frame, from the same viewpoint"
        self.compare = self._panel.add_switch("Compare models", "C", hint)
        bind(self.compare, "compare", self._controller)
        self.mode = choice_box("compare_mode", self._controller, COMPARE_MODE_HINT)
        self.mode.setAccessibleName("Kind of comparison")
        self.crop = check_box("Crop to the hands", "Show the hands' surroundings large instead of the whole image")
        bind(self.crop, "compare_crop", self._controller)
        for part in (self.mode, self.crop):
            self._panel.column.addWidget(part)
        self.compared: dict[ModelId, QCheckBox] = {}
        for choice in choices_of("model"):
            box = check_box(choice.label, f"Give this model a pane. {choice.hint}", self._choose_compared)
            box.setStyleSheet("margin-left: 18px")
            self.compared[choice.value] = box
            self._panel.column.addWidget(box)
        self.without_pane = named_label("faint", wraps=True)
        self._panel.column.addWidget(self.without_pane)

    def _add_difference(self) -> None:
        self._panel.resume("Colour")
        self.first, self.second = (self._pair_box(place) for place in ("First", "Second"))
        hint = "Remove the best rotation, translation and scale first: differences of pose and shape remain"
        self.aligned = check_box("Procrustes-align first", hint)
        bind(self.aligned, "difference_aligned", self._controller)
        self._panel.column.addWidget(self.aligned)

    def _pair_box(self, place: str) -> QComboBox:
        texts = {choice.value: choice.label for choice in choices_of("model")}
        box = combo_box(texts, f"{place} model of the difference map")
        box.setAccessibleName(f"{place} model of the difference map")
        box.currentIndexChanged.connect(self._choose_pair)
        self._panel.column.addWidget(box)
        return box

    def shortcuts(self) -> Sequence[Shortcut]:
        """Return the key of the switch."""
        return (
            Shortcut(("C",), "Compare models side by side", self.compare.toggle, setting=("compare", True)),
            Shortcut(("Shift+C",), "Comparison: side by side / wipe / blink", self.next_mode),
        )

    def next_mode(self) -> None:
        """Compare in the next way."""
        modes = [choice.value for choice in choices_of("compare_mode")]
        present = modes.index(self._controller.settings.draw.compare_mode)
        self._controller.change(compare=True, compare_mode=modes[(present + 1) % len(modes)])

    def choose_at(self, position: QPointF) -> None:
        """Activate the model whose pane was clicked, for numbers, attention and saved meshes."""
        self._model_before = self._controller.settings.pipeline.model
        pane = self._viewport.pane_at(position)
        if pane is not None and self._controller.settings.draw.compare and pane.model in self._others:
            self._controller.change(model=pane.model)
            if self._viewport.pick_at(position) is None:
                # Instead of the message that there is no hand.
                self._controller.notify(f"{model_labels().get(pane.model, pane.model)} is the active model now.")

    def _take_answer(self, answer: Answer) -> None:
        self._others = frozenset(answer.result.others)

    def show_settings(self, settings: ViewSettings) -> None:
        """Show the chosen models, and hide what has no effect."""
        draw = settings.draw
        for part in (self.mode, self.crop):
            part.setVisible(draw.compare)
        for model, panes_box in self.compared.items():
            check_quietly(panes_box, model in draw.compared)
            panes_box.setVisible(draw.compare)
        active = settings.pipeline.model
        self.without_pane.setText(WITHOUT_PANE.format(model_labels().get(active, active)))
        self.without_pane.setVisible(draw.compare and active not in draw.compared)
        for box, model in zip((self.first, self.second), draw.difference_pair, strict=True):
            with QSignalBlocker(box):
                box.setCurrentIndex(box.findData(model))
        for part in (self.first, self.second, self.aligned):
            part.setVisible(draw.difference)

    def _choose_compared(self, is_more: bool) -> None:
        chosen = tuple(model for model, box in self.compared.items() if box.isChecked())
        if MIN_COMPARED <= len(chosen) <= MAX_COMPARED:
            self._controller.change(compared=chosen)
        else:
            self.show_settings(self._controller.settings)
            self._controller.notify(REFUSED + (CLEAR_FIRST if is_more else SELECT_FIRST))

    def _choose_pair(self, _: int) -> None:
        before = self._controller.settings.draw.difference_pair
        pair: tuple[ModelId, ModelId] = self.first.currentData(), self.second.currentData()
        # A model has no difference from itself: the other box takes the model that was here.
        self._controller.change(difference_pair=before[::-1] if pair[0] == pair[1] else pair)
