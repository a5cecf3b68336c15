"""Export of recordings as animations, beside the window."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PyQt6.QtWidgets import QFileDialog, QWidget

from handviz.gui.record.output_panel import OutputPanel
from handviz.gui.record.recording import LAST_RECORDING, RECORDING_FOLDER
from handviz.gui.session.controller import Controller
from handviz.gui.session.tasks import Task
from handviz.gui.widgets.shortcuts import Feature, Shortcut

logger = logging.getLogger(__name__)


def make_animations(folder: Path) -> tuple[str, Path]:
    """Read a recording, write GLB and BVH beside it; return the message that says where they are, and their folder."""
    # Imported here so that the window is up before the formats' libraries are loaded.
    from handviz.io.recording.animate import animate

    made = animate(folder, ("glb", "bvh"))
    for animation in made:
        logger.info("%s: %s", animation.path, animation.message)
    names = ", ".join(animation.path.name for animation in made)
    return f"Saved {names} in {folder} ({made[0].message})", folder


class AnimationExport(Feature):
    """Dialog and task that export a recording as GLB and BVH."""

    def __init__(self, controller: Controller, parent: QWidget, panel: OutputPanel) -> None:
        super().__init__()
        self._controller, self._parent = controller, parent
        self._task = Task("The animation could not be exported", low_priority=True)
        self._task.done.connect(lambda done: controller.report_saved(*done))
        self._task.failed.connect(controller.warn)
        panel.animate.clicked.connect(self.choose)

    def shortcuts(self) -> Sequence[Shortcut]:
        """Return the menu entry."""
        return (Shortcut((), "Export recording as animation (GLB, BVH)…", self.choose, menu="File"),)

    def choose(self) -> None:
        """Ask for the recording, with the last one selected, and export it."""
        store = self._controller.store
        start = store.text(LAST_RECORDING) or store.text(RECORDING_FOLDER)
        chosen = QFileDialog.getExistingDirectory(self._parent, "Folder of the recording", start)
        if chosen:
            folder = Path(chosen)
            has_started = self._task.begin(partial(make_animations, folder))
            running = "An animation is still being exported: wait until it is finished."
            self._controller.notify(f"Exporting {folder.name} as GLB and BVH…" if has_started else running)

    def stop(self) -> None:
        """Wait for the files to be complete."""
        self._task.stop()
