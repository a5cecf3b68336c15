"""Makes files for other programs of recordings, beside the window."""

import logging
from collections.abc import Sequence
from pathlib import Path

from PyQt6.QtCore import QThread, pyqtSignal
from PyQt6.QtWidgets import QFileDialog, QWidget

from handviz.core.errors import HandvizError
from handviz.gui.feature import Feature
from handviz.gui.record.output_panel import OutputPanel
from handviz.gui.record.recording import LAST_RECORDING, RECORDING_FOLDER
from handviz.gui.session.controller import Controller
from handviz.gui.session.give_way import give_way
from handviz.gui.widgets.shortcuts import Shortcut

logger = logging.getLogger(__name__)


class AnimationThread(QThread):
    """One recording at a time."""

    said = pyqtSignal(str)
    failed = pyqtSignal(str)

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path()

    def make(self, folder: Path) -> None:
        """Begin; while the last one is being made there is only a sentence."""
        if self.isRunning():
            self.said.emit("The last animation is still being made.")
            return
        self.said.emit(f"Making GLB and BVH of {folder.name} …")
        self._folder = folder
        self.start()

    def run(self) -> None:
        """Read, fit, write."""
        # Here, so that the window is up before the formats' libraries are loaded.
        from handviz.io.recording.animate import animate

        give_way(self)
        try:
            made = animate(self._folder, ("glb", "bvh"))
            for animation in made:
                logger.info("%s: %s", animation.path, animation.sentence)
            names = ", ".join(animation.path.name for animation in made)
            self.said.emit(f"Made {names} in {self._folder} ({made[0].sentence})")
        except HandvizError as error:
            self.failed.emit(str(error))
        # The thread's outermost place: whatever a recording holds, the person hears of it.
        except Exception as error:
            logger.exception("animation failed")
            self.failed.emit(f"The animation could not be made ({error}); the log says where.")


class AnimationExport(Feature):
    """Asks for a recording and has GLB and BVH made of it."""

    def __init__(self, controller: Controller, parent: QWidget, panel: OutputPanel) -> None:
        super().__init__()
        self._controller, self._parent = controller, parent
        self._thread = AnimationThread()
        self._thread.said.connect(controller.say)
        self._thread.failed.connect(controller.warn)
        panel.animate.clicked.connect(self.choose)

    def shortcuts(self) -> Sequence[Shortcut]:
        """One."""
        return (Shortcut((), "make GLB and BVH of a recording …", self.choose, menu="File"),)

    def choose(self) -> None:
        """Ask for the recording, the last one first."""
        store = self._controller.store
        start = store.text(LAST_RECORDING) or store.text(RECORDING_FOLDER)
        chosen = QFileDialog.getExistingDirectory(self._parent, "Folder of the recording", start)
        if chosen:
            self._thread.make(Path(chosen))

    def stop(self) -> None:
        """Wait for the files to be complete."""
        self._thread.wait()
