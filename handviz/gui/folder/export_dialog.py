"""Asks what of an inspection to write."""

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QCheckBox, QComboBox, QDialog, QDialogButtonBox, QVBoxLayout, QWidget

from handviz.gui.widgets.parts import named_label
from handviz.inspection.export_order import ExportPart

PARTS: tuple[tuple[ExportPart, str], ...] = (
    ("report", "report.html: pictures and table in one file for any browser"),
    ("csv", "hands.csv: the table"),
    ("json", "hands.json: keypoints, deviations, cameras, as 'handviz reconstruct' writes them"),
    ("meshes", "meshes: one file for each hand"),
)
MESHES = (("PLY, with deviations", ".ply"), ("OBJ", ".obj"), ("GLB", ".glb"))


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
        column.addWidget(named_label("faint", "The report has the order of the table, and pictures of its first 500."))
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
