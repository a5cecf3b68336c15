"""The window's side of the export: asks what and where, shows how far it is, says where the files are."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from PyQt6.QtCore import QObject
from PyQt6.QtWidgets import QFileDialog

from handviz.gui.folder.export_dialog import ExportDialog
from handviz.gui.folder.export_thread import ExportThread
from handviz.gui.folder.inspection_page import InspectionPage
from handviz.gui.session.controller import Controller
from handviz.inspection.export_order import ExportOrder
from handviz.inspection.inspection_columns import TableRow, common_range_mm
from handviz.inspection.inspection_rows import HandRow, InspectionOrder, PictureRow

EXPORT_FOLDER = "inspection_export_folder"


class InspectionExporter(QObject):
    """One export at a time; its button ends a running one."""

    def __init__(self, controller: Controller, page: InspectionPage) -> None:
        super().__init__()
        self._controller, self._page = controller, page
        self._thread = ExportThread()
        self._inspection: InspectionOrder | None = None
        self._kept = Path()
        page.export.clicked.connect(self._begin_or_end)
        self._thread.progressed.connect(self._take_progress)
        self._thread.ended.connect(self._take_end)

    def set_inspection(self, inspection: InspectionOrder, kept: Path) -> None:
        """What there is to export from now on."""
        self._inspection, self._kept = inspection, kept
        self._page.export.setEnabled(True)

    def ask(self) -> ExportDialog:
        """Open the question; its answer begins the export."""
        model = self._page.model
        is_filtered = len(model.rows) < model.count
        dialog = ExportDialog(len(model.rows), is_filtered=is_filtered, parent=self._page)
        dialog.accepted.connect(lambda: self._choose_folder(dialog))
        dialog.open()
        return dialog

    def stop(self) -> None:
        """End and wait."""
        for signal in (self._thread.progressed, self._thread.ended):
            # A window may be closed twice; then nothing is connected any more.
            with suppress(TypeError):
                signal.disconnect()
        self._thread.stop()

    def _begin_or_end(self) -> None:
        if self._thread.isRunning():
            self._thread.cancel()
        else:
            self.ask()

    def _choose_folder(self, dialog: ExportDialog) -> None:
        parts = dialog.chosen_parts
        suffix, only_shown = dialog.meshes.currentData(), dialog.only_shown.isChecked()
        start = self._controller.store.text(EXPORT_FOLDER)
        folder = QFileDialog.getExistingDirectory(self._page, "Folder for the export", start)
        if not folder or self._inspection is None:
            return
        self._controller.store.remember(EXPORT_FOLDER, folder)
        settings = self._controller.settings
        rows = self._page.model.rows if only_shown else self._page.model.all_rows()
        fixed_mm = settings.draw_options().deviation_range_mm
        order = ExportOrder(
            out=Path(folder),
            inspection=self._inspection,
            kept=self._kept,
            pictures=pictures_of(rows),
            parts=parts,
            mesh_suffix=suffix,
            colour="plain" if settings.colour == "plain" else "deviation",
            range_mm=fixed_mm or common_range_mm(self._page.model.pictures),
        )
        self._page.export.setText("End the export")
        self._thread.export(order)

    def _take_progress(self, done: int, total: int) -> None:
        self._controller.say(f"Exporting: {done:,} of {total:,} …")

    def _take_end(self, sentence: str, is_saved: bool) -> None:
        self._page.export.setText("Export …")
        (self._controller.say if is_saved else self._controller.warn)(sentence)


def pictures_of(rows: Sequence[TableRow]) -> tuple[PictureRow, ...]:
    """The pictures of table rows in their order, each once, with those hands that have a row."""
    hands: dict[str, list[HandRow]] = {}
    pictures: dict[str, PictureRow] = {}
    for row in rows:
        pictures[row.picture.file] = row.picture
        hands.setdefault(row.picture.file, []).extend([row.hand] if row.hand is not None else [])
    return tuple(replace(picture, hands=tuple(hands[file])) for file, picture in pictures.items())
