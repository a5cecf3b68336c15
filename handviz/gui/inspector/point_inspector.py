"""Picked point of a hand: its numbers and its attention; keys for uncertain regions, ellipses and plausible hands."""

from collections.abc import Sequence

from PyQt6.QtCore import QPointF, QTimer, pyqtSignal

from handviz.core.errors import HandvizError
from handviz.core.records import FrameResult, HandMesh, ModelId
from handviz.gui.inspector.attention import (
    AttentionAnswer,
    AttentionReader,
    AttentionRequest,
    SourceMaker,
    make_source,
    rest_after,
)
from handviz.gui.inspector.point_panel import PointPanel
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.gui.session.settings import ViewSettings
from handviz.gui.session.tasks import LatestWins
from handviz.gui.view.viewport import Viewport
from handviz.gui.widgets.controls import Panel
from handviz.gui.widgets.shortcuts import Feature, Shortcut
from handviz.hand_models.choice import known_hand_model
from handviz.hand_models.template import HandTemplate
from handviz.inspection.point_reading import other_models, read_point
from handviz.rendering.difference import on_mesh_of
from handviz.rendering.highlight import AttentionShown, Highlight, Pick

NO_HAND = "No hand at this position."
MAYBE_HIDDEN = "No visible hand at this position; H shows hidden uncertain regions."
NO_CROP = "There is no crop of this hand, so its attention cannot be computed."
BETWEEN_NUMBERS_MS = 120
NEXT_MODE = {"show": "fade", "fade": "hide", "hide": "show"}
MODE_MESSAGES = {
    "show": "Uncertain regions: show",
    "fade": "Uncertain regions: fade",
    "hide": "Uncertain regions: hide",
}
NEXT_SAMPLES = {"none": "ghosts", "ghosts": "animation", "animation": "none"}
SAMPLE_MESSAGES = {
    "none": "Plausible hands: none",
    "ghosts": "Plausible hands: ghosts drawn from the posterior",
    "animation": "Plausible hands: animation through the posterior",
}


class PickedHand:
    """A point of the hand with a number, which it keeps through frames; on another mesh it is the nearest vertex."""

    def __init__(self, hand: HandMesh, vertex: int | None, joint: int | None) -> None:
        self._hand, self.vertex, self.joint = hand, vertex, joint

    def find(self, hands: Sequence[HandMesh]) -> Pick | None:
        """Return the point in a frame's hands: on the hand of that number, or None if it is not there."""
        for index, hand in enumerate(hands):
            if hand.track_id == self._hand.track_id:
                pick = on_mesh_of(Pick(index, vertex=self.vertex, joint=self.joint), self._hand, hand)
                self._hand, self.vertex = hand, pick.vertex
                return pick
        return None


class PointInspector(Feature):
    """Picked point, followed through the stream."""

    nothing_to_deselect = pyqtSignal()

    def __init__(
        self, controller: Controller, viewport: Viewport, panel: Panel, maker: SourceMaker = make_source
    ) -> None:
        super().__init__()
        self._controller, self._viewport = controller, viewport
        self.panel = PointPanel(controller, panel)
        reader = AttentionReader(controller.config.model_dir, maker)
        self._worker = LatestWins(reader.read, "The attention could not be read", rest_s=rest_after)
        self._result: FrameResult | None = None
        self._picked: PickedHand | None = None
        self._picked_before: PickedHand | None = None
        """the last click"""
        self._attention: AttentionShown | None = None
        self._attention_of: ModelId | None = None
        self._numbers_timer = QTimer(self)
        self._numbers_timer.setSingleShot(True)
        self._numbers_timer.timeout.connect(self._write_numbers)
        self._numbers_are_old = False
        viewport.clicked.connect(self.pick_at)
        viewport.click_revoked.connect(self._revoke_click)
        controller.answered.connect(self._take_answer)
        controller.source_changing.connect(self._forget_result)
        controller.settings_changed.connect(self._take_settings)
        self._had_attention = controller.settings.attention
        self._worker.answered.connect(lambda _, answer: self._take_attention(answer))
        self._worker.failed.connect(lambda _, message: self._take_attention(None, message))

    def shortcuts(self) -> Sequence[Shortcut]:
        """Return the keys for ellipses, uncertain regions, plausible hands and deselection."""
        return (
            Shortcut(("E",), "Uncertainty ellipses at joints", self.toggle_ellipses, setting=("ellipses", True)),
            Shortcut(("H",), "Uncertain regions: show / fade / hide", self.next_uncertain_mode),
            Shortcut(("G",), "Plausible hands: none / ghosts / animation", self.next_samples),
            Shortcut(("Esc",), "Deselect the picked point", self.deselect),
        )

    def stop(self) -> None:
        """End the thread."""
        self._numbers_timer.stop()
        self.panel.stop()
        self._worker.stop()

    @property
    def has_attention(self) -> bool:
        """Whether the picked point's attention is on the screen."""
        return self._attention is not None

    def picked_index(self, hands: Sequence[HandMesh]) -> int | None:
        """Return the index of the picked hand among a frame's hands; None if none is picked, or it is not there."""
        pick = None if self._picked is None else self._picked.find(hands)
        return None if pick is None else pick.hand

    def toggle_ellipses(self) -> None:
        """Switch the ellipses on or off."""
        self._controller.change(ellipses=not self._controller.settings.draw.ellipses)

    def next_uncertain_mode(self) -> None:
        """Cycle through show, fade and hide."""
        mode = NEXT_MODE[self._controller.settings.draw.uncertain]
        self._controller.change(uncertain=mode)
        self._controller.notify(MODE_MESSAGES[mode])

    def next_samples(self) -> None:
        """Cycle through no plausible hands, ghosts and animation."""
        samples = NEXT_SAMPLES[self._controller.settings.draw.samples]
        self._controller.change(samples=samples)
        self._controller.notify(SAMPLE_MESSAGES[samples])

    def pick_at(self, position: QPointF) -> None:
        """Pick the point at a position of the viewport; beside the hands the last point stays."""
        pick, self._picked_before = self._viewport.pick_at(position), self._picked
        if pick is not None:
            self.pick(pick)
        elif self._result is not None and self._result.hands:
            self._controller.notify(MAYBE_HIDDEN if self._controller.settings.draw.uncertain == "hide" else NO_HAND)

    def pick(self, pick: Pick) -> None:
        """Follow this point of the present result."""
        if self._result is None or pick.hand >= len(self._result.hands):
            return
        self._picked = PickedHand(self._result.hands[pick.hand], pick.vertex, pick.joint)
        self._forget_attention(None)
        self._numbers_timer.stop()
        self._show()
        self.panel.show_point_group()
        self._controller.notify(f"Picked: {self.panel.name.text()}. Esc to deselect.")

    def deselect(self) -> None:
        """Deselect the point; without one, say so to whom Escape is for next."""
        if self._picked is None:
            self.nothing_to_deselect.emit()
        self._picked = None
        self._forget_attention(None)
        self._show()

    def _revoke_click(self) -> None:
        """Select what was selected before a click that has become a double click."""
        if self._picked is not self._picked_before:
            self._picked = self._picked_before
            self._forget_attention(None)
            self._show()
            self._controller.notify("")

    def _take_answer(self, answer: Answer) -> None:
        self._result = answer.result
        if self._picked is not None:
            self._show()

    def _forget_result(self, _: str) -> None:
        self._result = None
        self.deselect()

    def _take_settings(self, settings: ViewSettings) -> None:
        if settings.attention != self._had_attention:
            self._had_attention = settings.attention
            self._forget_attention(None)
            self._show()
            if settings.attention and self._picked is None:
                self._controller.notify("Click on a hand to show the attention of that point.")

    def _show(self) -> None:
        """Mark the point, write its numbers, and request its attention if that is switched on."""
        picked, result = self._picked, self._result
        if picked is None or result is None:
            self._viewport.set_highlight(None)
            self.panel.show_nothing()
            return
        pick = picked.find(result.hands)
        if pick is None:
            self._forget_attention(None)
            self._viewport.set_highlight(None)
            self.panel.show_absent()
            return
        if result.model != self._attention_of:
            self._forget_attention(result.model)
        self._viewport.set_highlight(Highlight(pick, self._attention))
        self._numbers_are_old = True
        if not self._numbers_timer.isActive():
            self._write_numbers()
        if self._controller.settings.attention:
            self._ask(result, pick)

    def _write_numbers(self) -> None:
        """Write the numbers of the newest result, at a rate that can be read."""
        pick = self._picked.find(self._result.hands) if self._picked is not None and self._result is not None else None
        if pick is None or self._result is None or not self._numbers_are_old:
            return
        hand = self._result.hands[pick.hand]
        self.panel.show_reading(read_point(hand, pick, _template_of(hand)), hand)
        self.panel.show_models(other_models(self._result, pick))
        self._numbers_are_old = False
        self._numbers_timer.start(BETWEEN_NUMBERS_MS)

    def _forget_attention(self, model: ModelId | None) -> None:
        """Drop the attention and pending answers, of another point or model."""
        self._attention, self._attention_of = None, model
        self._worker.forget()
        self.panel.show_attention(None)

    def _ask(self, result: FrameResult, pick: Pick) -> None:
        if pick.hand >= len(result.crops):
            self.panel.show_attention(None, NO_CROP)
            return
        self._worker.ask(AttentionRequest(result.crops[pick.hand], result.model, pick.vertex, pick.joint))

    def _take_attention(self, answer: AttentionAnswer | None, message: str = "") -> None:
        result, picked = self._result, self._picked
        is_wanted = self._controller.settings.attention
        pick = picked.find(result.hands) if is_wanted and picked is not None and result is not None else None
        if pick is not None:
            self._attention = answer.attention if answer is not None else None
            self.panel.show_attention(answer, message)
            self._viewport.set_highlight(Highlight(pick, self._attention))


def _template_of(hand: HandMesh) -> HandTemplate | None:
    """Return the hand model of this hand, if it is installed and has as many vertices."""
    try:
        template = known_hand_model(hand.hand_model)
    except HandvizError:
        return None
    return template if template is not None and template.vertex_count == len(hand.vertices_m) else None
