"""Actions on one hand: give it the other side, hide it, show hidden hands again."""

from collections.abc import Callable, Sequence

from handviz.core.records import FrameResult, HandMesh
from handviz.gui.inspector.point_inspector import PointInspector
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.gui.widgets.controls import Panel, named_label, push_button, row_of
from handviz.gui.widgets.shortcuts import Feature, Shortcut

CLICK_FIRST = "Click the hand first: there are several."
NO_HAND = "There is no hand in this image."
ALL_HIDDEN = "All hands of this image are hidden (Shift+Del shows them again)."
NOTHING_HIDDEN = "No hand is hidden."
OTHER_SIDE = {"left": "right", "right": "left"}


class HandActions(Feature):
    """Keys and buttons for the selected hand, which is the picked one, or the only one."""

    def __init__(self, controller: Controller, inspector: PointInspector, panel: Panel) -> None:
        super().__init__()
        self._controller, self._inspector = controller, inspector
        self._result: FrameResult | None = None
        hint = "Give the selected hand the other side, for as long as it is followed (X)"
        self.flip = push_button("Other side", hint, self.flip_selected)
        self.hide = push_button("Hide", "Leave the selected hand out (Del)", self.hide_selected)
        self.show_hidden = push_button("Show hidden", "Show hidden hands again (Shift+Del)", self.show_all)
        panel.column.addLayout(row_of(self.flip, self.hide))
        self.hidden = named_label("faint", "")
        panel.column.addWidget(self.hidden)
        panel.column.addWidget(self.show_hidden)
        controller.answered.connect(self._take_answer)
        controller.source_changing.connect(lambda _: self._take(None))
        self._take(None)

    def shortcuts(self) -> Sequence[Shortcut]:
        """Return the keys for the selected hand."""
        return (
            Shortcut(("X",), "Selected hand: other side", self.flip_selected, menu="Tools"),
            Shortcut(("Del",), "Selected hand: hide", self.hide_selected, menu="Tools"),
            Shortcut(("Shift+Del",), "Show hidden hands", self.show_all, menu="Tools"),
        )

    def flip_selected(self) -> None:
        """Give the selected hand the other side; a second time it gets its own back."""
        self._on_selected(
            self._controller.flip_hand, lambda hand: f"is a {OTHER_SIDE[hand.handedness]} hand now (X: back)"
        )

    def hide_selected(self) -> None:
        """Leave the selected hand out."""
        self._on_selected(self._controller.hide_hand, lambda _: "is hidden (Shift+Del shows it again)")

    def show_all(self) -> None:
        """Show all hidden hands again."""
        if self._result is None or not self._result.hidden:
            self._controller.notify(NOTHING_HIDDEN)
            return
        self._controller.show_all_hands()
        self._controller.notify("Hidden hands are shown again.")

    def _on_selected(self, action: Callable[[int], None], outcome: Callable[[HandMesh], str]) -> None:
        hands = self._result.hands if self._result is not None else ()
        index = self._inspector.picked_index(hands)
        if index is None and len(hands) == 1:
            index = 0
        if index is None:
            is_hidden = self._result is not None and self._result.hidden > 0
            self._controller.notify(CLICK_FIRST if hands else ALL_HIDDEN if is_hidden else NO_HAND)
            return
        action(hands[index].track_id)
        self._controller.notify(f"Hand {hands[index].track_id} {outcome(hands[index])}.")

    def _take_answer(self, answer: Answer) -> None:
        self._take(answer.result)

    def _take(self, result: FrameResult | None) -> None:
        self._result = result
        count = 0 if result is None else result.hidden
        for button in (self.flip, self.hide):
            button.setEnabled(result is not None and bool(result.hands))
        self.hidden.setText(f"{count} hand{'s' * (count != 1)} hidden")
        for part in (self.hidden, self.show_hidden):
            part.setVisible(count > 0)
