"""Writes an inspection's files beside everything else."""

import logging

from PyQt6.QtCore import QThread, pyqtSignal

from handviz.core.errors import HandvizError
from handviz.gui.session.give_way import give_way
from handviz.inspection.export_order import ExportOrder

logger = logging.getLogger(__name__)


class ExportThread(QThread):
    """Carries out one order at a time."""

    progressed = pyqtSignal(int, int)
    """Pictures done, and of how many."""
    ended = pyqtSignal(str, bool)
    """Where the files are, or why they are not; whether they are."""

    def __init__(self) -> None:
        super().__init__()
        self._order: ExportOrder | None = None
        self._is_cancelled = False

    def export(self, order: ExportOrder) -> None:
        """Begin; the last order must have ended."""
        self._order, self._is_cancelled = order, False
        self.start()

    def cancel(self) -> None:
        """End after the present picture; complete files stay."""
        self._is_cancelled = True

    def stop(self) -> None:
        """End and wait."""
        self.cancel()
        self.wait()

    def run(self) -> None:
        """Write everything."""
        assert self._order is not None
        give_way(self)
        try:
            # Here, so that the window is up before these libraries are loaded.
            from handviz.inspection.inspection_export import export_inspection

            written = export_inspection(self._order, self.progressed.emit, lambda: self._is_cancelled)
            is_saved, sentence = True, f"Saved {', '.join(path.name for path in written)} in {self._order.out}"
        except HandvizError as error:
            is_saved, sentence = False, str(error)
        # The thread's outermost place: whatever a disk does, the person hears of it.
        except Exception as error:
            logger.exception("the inspection cannot be exported")
            is_saved, sentence = False, f"The inspection could not be exported ({error}); the log says where."
        self.ended.emit(sentence, is_saved)
