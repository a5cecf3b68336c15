"""What can be done with a source by keys and menus beyond holding and single steps."""

from collections.abc import Sequence

from PyQt6.QtWidgets import QWidget

from handviz.gui.feature import Feature
from handviz.gui.session.controller import Controller
from handviz.gui.source.source_panel import SourcePanel
from handviz.gui.source.timeline import Timeline
from handviz.gui.widgets.shortcuts import Shortcut

LONG_STEP = 10


class SourceFeature(Feature):
    """Ten frames at once, ends, speed, a frame by its number, turning, and the sources that were used lately."""

    def __init__(self, controller: Controller, panel: SourcePanel, timeline: Timeline, parent: QWidget) -> None:
        super().__init__(parent)
        self._controller, self._panel, self._timeline = controller, panel, timeline

    def shortcuts(self) -> Sequence[Shortcut]:
        """All in the menu of sources."""
        controller = self._controller
        return (
            Shortcut(("Shift+Left",), "ten frames back", lambda: controller.step(-LONG_STEP), menu="Source"),
            Shortcut(("Shift+Right",), "ten frames on", lambda: controller.step(LONG_STEP), menu="Source"),
            Shortcut(("Home",), "the first frame", lambda: controller.seek(0), menu="Source"),
            Shortcut(("End",), "the last frame", controller.go_to_end, menu="Source"),
            Shortcut(("Ctrl+G",), "go to a frame …", self._timeline.begin_going_to, menu="Source"),
            Shortcut(("[",), "play slower", lambda: controller.change_speed(-1), menu="Source"),
            Shortcut(("]",), "play faster", lambda: controller.change_speed(1), menu="Source"),
            Shortcut(("Ctrl+B",), "turn the picture by 90°", controller.turn, menu="Source"),
            Shortcut((), "open something recent …", self._panel.show_recent, menu="Source"),
        )
