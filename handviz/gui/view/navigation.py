"""Keys that move the view: zoom to a hand, zoom, rotate or move, look from the front, the side or above."""

import math
from collections.abc import Callable, Sequence
from functools import partial

from handviz.core.records import FrameResult, HandMesh
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.gui.view.viewport import Viewport
from handviz.gui.widgets.shortcuts import Feature, Shortcut

NO_HAND = "There is no hand in this image to zoom to."
KEY_STEP_PX = 40.0
SIDES = (("front", "Alt+1", 0.0, 0.0), ("side", "Alt+2", math.pi / 2, 0.0), ("top", "Alt+3", 0.0, math.pi / 2))
"""Name, key, yaw and pitch of viewpoints along the camera's axes."""
ARROWS = (("Left", -1, 0), ("Right", 1, 0), ("Up", 0, -1), ("Down", 0, 1))


class Navigation(Feature):
    """The keys; ``selected`` returns the index of the selected hand among those of a frame, None if there is none."""

    def __init__(
        self, controller: Controller, viewport: Viewport, selected: Callable[[Sequence[HandMesh]], int | None]
    ) -> None:
        super().__init__()
        self._controller, self._viewport, self._selected = controller, viewport, selected
        self._result: FrameResult | None = None
        controller.answered.connect(self._take_answer)
        controller.source_changing.connect(self._forget)

    def shortcuts(self) -> Sequence[Shortcut]:
        """Return the keys."""
        zoom_by, move_by = self._viewport.zoom_by, self._viewport.move_by
        return (
            Shortcut(("Z",), "Zoom to the selected hand", self.zoom_to_hand),
            Shortcut(("Shift+Z",), "Reset zoom and viewpoint", self._viewport.reset_camera),
            Shortcut(("+", "="), "Zoom in", partial(zoom_by, 1.0)),
            Shortcut(("-",), "Zoom out", partial(zoom_by, -1.0)),
            *(
                Shortcut((f"Alt+{key}",), f"Rotate or move {key.lower()}", partial(move_by, *by))
                for key, *by in ((key, right * KEY_STEP_PX, down * KEY_STEP_PX) for key, right, down in ARROWS)
            ),
            *(
                Shortcut((key,), f"3D view: from the {name}", partial(self.look_from, yaw_rad, pitch_rad))
                for name, key, yaw_rad, pitch_rad in SIDES
            ),
        )

    def zoom_to_hand(self) -> None:
        """Show the selected hand large; all hands if none is selected."""
        hands = self._result.hands if self._result is not None else ()
        if not hands or not self._viewport.frame_hand(self._selected(hands)):
            self._controller.notify(NO_HAND)

    def look_from(self, yaw_rad: float, pitch_rad: float) -> None:
        """Show the 3D view from a side."""
        self._controller.change(view="orbit")
        self._viewport.set_orbit(self._viewport.camera.seen_from(yaw_rad, pitch_rad))

    def _take_answer(self, answer: Answer) -> None:
        self._result = answer.result

    def _forget(self, _: str) -> None:
        self._result = None
