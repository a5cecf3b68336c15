"""Pictures of the hands alone, to be laid over others."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from handviz.core.errors import HandvizError
from handviz.gui.feature import Feature
from handviz.gui.record.output_panel import OutputPanel
from handviz.gui.record.screenshot import SCREENSHOT_FOLDER, free_path, pictures_folder, save_cut_out
from handviz.gui.session.controller import Controller
from handviz.gui.view.viewport import Viewport
from handviz.gui.widgets.shortcuts import Shortcut

TWICE = "cut_out_twice"


class CutOut(Feature):
    """Saves what the view shows of the hands, without picture and legend, as a transparent PNG."""

    def __init__(self, controller: Controller, viewport: Viewport, panel: OutputPanel) -> None:
        super().__init__()
        self._controller, self._viewport, self._panel = controller, viewport, panel
        panel.twice.setChecked(controller.store.text(TWICE) == "yes")
        panel.twice.toggled.connect(lambda checked: controller.store.remember(TWICE, "yes" if checked else ""))
        panel.cut_out.clicked.connect(self.save)

    def shortcuts(self) -> Sequence[Shortcut]:
        """One."""
        return (Shortcut(("Ctrl+Shift+T",), "save the hands without background", self.save, menu="File"),)

    def save(self) -> None:
        """Write it beside the other screenshots; a sentence says where, or why not."""
        try:
            pixels = self._viewport.cut_out(2.0 if self._panel.twice.isChecked() else 1.0)
        except HandvizError as error:
            self._controller.warn(str(error))
            return
        if pixels is None or not pixels[..., 3].any():
            self._controller.say("There is no hand in the view that could be saved without its background.")
            return
        folder = self._controller.store.text(SCREENSHOT_FOLDER)
        settings = self._controller.settings
        stem = f"handviz_{settings.variant}_{settings.colour}_cut_out"
        path = free_path(Path(folder) if folder else pictures_folder(), stem, datetime.now())
        try:
            save_cut_out(pixels, path)
            self._controller.say(f"Saved {path}")
        except HandvizError as error:
            self._controller.warn(str(error))
