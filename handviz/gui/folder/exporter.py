"""Export of an inspection from the window: dialog, progress, message."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from PyQt6.QtCore import QObject, Qt
from PyQt6.QtWidgets import QCheckBox, QComboBox, QDialog, QDialogButtonBox, QFileDialog, QVBoxLayout, QWidget

from handviz.gui.folder.page import InspectionPage
from handviz.gui.session.controller import Controller
from handviz.gui.session.tasks import Task
from handviz.gui.widgets.controls import named_label
from handviz.inspection.columns import HandRow, ImageRow, InspectionRequest, TableRow, common_range_mm
from handviz.inspection.export import ExportPart, ExportRequest

PARTS: tuple[tuple[ExportPart, str], ...] = (
    ("report", "report.html: images and table in one file for the browser"),
    ("csv", "hands.csv: the table"),
    ("json", "hands.json: keypoints, standard deviations, cameras, as from 'handviz reconstruct'"),
    ("meshes", "meshes: one file per hand"),
)
MESHES = (("PLY, with standard deviations", ".ply"), ("OBJ", ".obj"), ("GLB", ".glb"))
EXPORT_FOLDER = "inspection_export_folder"


class ExportDialog(QDialog):
    """Dialog that asks which files to write, and of which rows."""

    def __init__(self, row_count: int, *, is_filtered: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export inspection")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 16, 20, 16)
        column.setSpacing(9)
        self.parts = {name: QCheckBox(text) for name, text in PARTS}
        for name, box in self.parts.items():
            box.setChecked(name != "meshes")
            column.addWidget(box)
        self.meshes = QComboBox()
        for text, suffix in MESHES:
            self.meshes.addItem(text, suffix)
        column.addWidget(self.meshes)
        self.only_shown = QCheckBox(f"Filtered rows only ({row_count:,})")
        self.only_shown.setChecked(is_filtered)
        self.only_shown.setEnabled(is_filtered)
        column.addSpacing(6)
        column.addWidget(self.only_shown)
        column.addWidget(
            named_label("faint", "The report has the order of the table; its first 500 images are included.")
        )
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.choose = self.buttons.addButton("Choose folder…", QDialogButtonBox.ButtonRole.AcceptRole)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        column.addSpacing(8)
        column.addWidget(self.buttons)
        for box in self.parts.values():
            box.toggled.connect(self._follow)
        self._follow()

    @property
    def chosen_parts(self) -> frozenset[ExportPart]:
        """Names of the chosen parts."""
        return frozenset(name for name, box in self.parts.items() if box.isChecked())

    def _follow(self) -> None:
        self.meshes.setEnabled(self.parts["meshes"].isChecked())
        assert self.choose is not None
        self.choose.setEnabled(bool(self.chosen_parts))


def write_export(request: ExportRequest, task: Task) -> tuple[str, Path]:
    """Write everything within a task; return the message that says where it is, and the folder."""
    # Here, so that the window is up before these libraries are loaded.
    from handviz.inspection.export import export_inspection

    def report(done: int, total: int) -> None:
        task.report(task.progressed, (done, total))

    written = export_inspection(request, report, lambda: task.is_cancelled)
    return f"Saved {', '.join(path.name for path in written)} in {request.out}", request.out


class InspectionExporter(QObject):
    """Export button of the page; one export at a time, which a second click cancels."""

    def __init__(self, controller: Controller, page: InspectionPage) -> None:
        super().__init__()
        self._controller, self._page = controller, page
        self._task = Task("The inspection could not be exported", low_priority=True)
        self._inspection: InspectionRequest | None = None
        self._results_path = Path()
        page.export.clicked.connect(self._start_or_cancel)
        self._task.progressed.connect(self._show_progress)
        self._task.done.connect(self._show_end)
        self._task.done.connect(lambda done: controller.report_saved(*done))
        self._task.failed.connect(self._show_end)
        self._task.failed.connect(controller.warn)

    def set_inspection(self, inspection: InspectionRequest, results_path: Path) -> None:
        """Set the inspection to export, and the file of its results."""
        self._inspection, self._results_path = inspection, results_path
        self._page.export.setEnabled(True)

    def ask(self) -> ExportDialog:
        """Open the dialog; accepting it starts the export."""
        model = self._page.model
        is_filtered = len(model.rows) < model.count
        dialog = ExportDialog(len(model.rows), is_filtered=is_filtered, parent=self._page)
        dialog.accepted.connect(lambda: self._choose_folder(dialog))
        dialog.open()
        return dialog

    def stop(self) -> None:
        """End and wait."""
        self._task.stop()

    def _start_or_cancel(self) -> None:
        if self._task.is_busy:
            self._task.cancel()
        else:
            self.ask()

    def _choose_folder(self, dialog: ExportDialog) -> None:
        parts = dialog.chosen_parts
        suffix, only_shown = dialog.meshes.currentData(), dialog.only_shown.isChecked()
        start = self._controller.store.text(EXPORT_FOLDER)
        folder = QFileDialog.getExistingDirectory(self._page, "Export folder", start)
        if not folder or self._inspection is None:
            return
        self._controller.store.save_text(EXPORT_FOLDER, folder)
        settings = self._controller.settings
        rows = self._page.model.rows if only_shown else self._page.model.all_rows()
        fixed_mm = settings.draw.std_range_mm
        request = ExportRequest(
            out=Path(folder),
            inspection=self._inspection,
            results_path=self._results_path,
            images=images_of(rows),
            parts=parts,
            mesh_suffix=suffix,
            colour="plain" if settings.draw.colour == "plain" else "uncertainty",
            range_mm=fixed_mm or common_range_mm(self._page.model.images),
        )
        self._page.export.setText("Cancel export")
        self._task.begin(partial(write_export, request, self._task))

    def _show_progress(self, progress: tuple[int, int]) -> None:
        done, total = progress
        self._controller.notify(f"Exporting: {done:,} of {total:,}…")

    def _show_end(self, _: object) -> None:
        self._page.export.setText("Export…")


def images_of(rows: Sequence[TableRow]) -> tuple[ImageRow, ...]:
    """Return the images of table rows in their order, each once, with the hands that have a row."""
    hands: dict[str, list[HandRow]] = {}
    images: dict[str, ImageRow] = {}
    for row in rows:
        images[row.image.file] = row.image
        hands.setdefault(row.image.file, []).extend([row.hand] if row.hand is not None else [])
    return tuple(replace(image, hands=tuple(hands[file])) for file, image in images.items())
