"""The window's side of the export: asks what and where, shows how far it is, says where the files are."""

from collections.abc import Callable, Sequence
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
    ("report", "report.html: images and table in one file for any browser"),
    ("csv", "hands.csv: the table"),
    ("json", "hands.json: keypoints, standard deviations, cameras, as 'handviz reconstruct' writes them"),
    ("meshes", "meshes: one file for each hand"),
)
MESHES = (("PLY, with standard deviations", ".ply"), ("OBJ", ".obj"), ("GLB", ".glb"))
EXPORT_FOLDER = "inspection_export_folder"


# Asks what of an inspection to write.


class ExportDialog(QDialog):
    """Which files, and of which rows."""

    def __init__(self, row_count: int, *, is_filtered: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export the inspection")
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
        self.only_shown = QCheckBox(f"only the {row_count:,} rows that the table shows")
        self.only_shown.setChecked(is_filtered)
        self.only_shown.setEnabled(is_filtered)
        column.addSpacing(6)
        column.addWidget(self.only_shown)
        column.addWidget(named_label("faint", "The report has the order of the table, and images of its first 500."))
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.choose = self.buttons.addButton("Choose a folder …", QDialogButtonBox.ButtonRole.AcceptRole)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        column.addSpacing(8)
        column.addWidget(self.buttons)
        for box in self.parts.values():
            box.toggled.connect(self._follow)
        self._follow()

    @property
    def chosen_parts(self) -> frozenset[ExportPart]:
        """Names of what is wanted."""
        return frozenset(name for name, box in self.parts.items() if box.isChecked())

    def _follow(self) -> None:
        self.meshes.setEnabled(self.parts["meshes"].isChecked())
        assert self.choose is not None
        self.choose.setEnabled(bool(self.chosen_parts))


# Writes an inspection's files beside everything else.


def write_export(order: ExportRequest, task: Task) -> str:
    """Write everything within a task; returns the message that says where it is."""
    # Here, so that the window is up before these libraries are loaded.
    from handviz.inspection.export import export_inspection

    def tell(done: int, total: int) -> None:
        task.report(task.progressed, (done, total))

    written = export_inspection(order, tell, lambda: task.is_cancelled)
    return f"Saved {', '.join(path.name for path in written)} in {order.out}"


# The window's side of the export: asks what and where, shows how far it is, says where the files are.


class InspectionExporter(QObject):
    """One export at a time; its button ends a running one."""

    def __init__(self, controller: Controller, page: InspectionPage) -> None:
        super().__init__()
        self._controller, self._page = controller, page
        self._task = Task("The inspection could not be exported", low_priority=True)
        self._inspection: InspectionRequest | None = None
        self._kept = Path()
        page.export.clicked.connect(self._begin_or_end)
        self._task.progressed.connect(self._show_progress)
        self._task.done.connect(lambda message: self._show_end(message, controller.notify))
        self._task.failed.connect(lambda message: self._show_end(message, controller.warn))

    def set_inspection(self, inspection: InspectionRequest, kept: Path) -> None:
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
        self._task.stop()

    def _begin_or_end(self) -> None:
        if self._task.is_busy:
            self._task.cancel()
        else:
            self.ask()

    def _choose_folder(self, dialog: ExportDialog) -> None:
        parts = dialog.chosen_parts
        suffix, only_shown = dialog.meshes.currentData(), dialog.only_shown.isChecked()
        start = self._controller.store.text(EXPORT_FOLDER)
        folder = QFileDialog.getExistingDirectory(self._page, "Folder for the export", start)
        if not folder or self._inspection is None:
            return
        self._controller.store.save_text(EXPORT_FOLDER, folder)
        settings = self._controller.settings
        rows = self._page.model.rows if only_shown else self._page.model.all_rows()
        fixed_mm = settings.draw_options().std_range_mm
        order = ExportRequest(
            out=Path(folder),
            inspection=self._inspection,
            results_path=self._kept,
            images=images_of(rows),
            parts=parts,
            mesh_suffix=suffix,
            colour="plain" if settings.colour == "plain" else "uncertainty",
            range_mm=fixed_mm or common_range_mm(self._page.model.images),
        )
        self._page.export.setText("End the export")
        self._task.begin(partial(write_export, order, self._task))

    def _show_progress(self, progress: tuple[int, int]) -> None:
        done, total = progress
        self._controller.notify(f"Exporting: {done:,} of {total:,} …")

    def _show_end(self, message: str, tell: Callable[[str], None]) -> None:
        self._page.export.setText("Export …")
        tell(message)


def images_of(rows: Sequence[TableRow]) -> tuple[ImageRow, ...]:
    """The images of table rows in their order, each once, with those hands that have a row."""
    hands: dict[str, list[HandRow]] = {}
    images: dict[str, ImageRow] = {}
    for row in rows:
        images[row.image.file] = row.image
        hands.setdefault(row.image.file, []).extend([row.hand] if row.hand is not None else [])
    return tuple(replace(image, hands=tuple(hands[file])) for file, image in images.items())
