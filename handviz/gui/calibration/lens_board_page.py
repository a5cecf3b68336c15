"""The page of the lens dialog that calibrates with a checkerboard."""

import numpy as np
from numpy.typing import NDArray
from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtGui import QImage, QPixmap
from PyQt6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSpinBox, QVBoxLayout, QWidget

from handviz.core.lens import lens_of_intrinsics
from handviz.gui.calibration.calibration_thread import CalibrationProgress
from handviz.gui.widgets.parts import named_label
from handviz.sources.checkerboard import ENOUGH_VIEWS, Board, Calibration

HOW_TO_CALIBRATE = (
    "Print a checkerboard, or show one on a flat screen. Count inner corners, where four squares meet: a board of "
    "10 x 7 squares has 9 x 6. Hold it still in another pose each time, leaning by about 30°, and near the edges of "
    "the picture too. Live or from a folder, pictures have to have the size that you will use."
)
VISIBLE_BEND_PX = 3.0


class BoardPage(QWidget):
    """Calibration with a checkerboard."""

    live_wanted = pyqtSignal(object)
    """Board"""
    folder_wanted = pyqtSignal(object)
    """Board"""
    stop_wanted = pyqtSignal()
    chosen = pyqtSignal(object)
    """Lens"""

    def __init__(self) -> None:
        super().__init__()
        self._calibration: Calibration | None = None
        self.columns, self.rows = QSpinBox(), QSpinBox()
        for box, count, hint in ((self.columns, 9, "along the longer side"), (self.rows, 6, "along the shorter side")):
            box.setRange(3, 30)
            box.setValue(count)
            box.setToolTip(f"Inner corners {hint}")
        self.live = QPushButton("Begin with the live picture")
        self.live.setToolTip("Collects still views of the board while you move it; press again to end")
        self.live.setCheckable(True)
        self.live.clicked.connect(self._toggle_live)
        self.folder = QPushButton("From a folder …")
        self.folder.setToolTip("Pictures of the board, taken with this camera at this size")
        self.folder.clicked.connect(lambda: self.folder_wanted.emit(self.board()))
        self.preview = QLabel()
        self.preview.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.preview.setMinimumHeight(180)
        self.progress = named_label("number")
        self.told = named_label("", wraps=True)
        self.use = QPushButton("Use this lens")
        self.use.setToolTip("From now on, for this source")
        self.use.setEnabled(False)
        self.use.clicked.connect(self._use)
        self._lay_out()

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.addWidget(named_label("", "Inner corners"))
        row.addWidget(self.columns)
        row.addWidget(named_label("", "x"))
        row.addWidget(self.rows)
        row.addStretch(1)
        row.addWidget(self.live)
        row.addWidget(self.folder)
        column = QVBoxLayout(self)
        column.addWidget(named_label("faint", HOW_TO_CALIBRATE, wraps=True))
        column.addLayout(row)
        column.addWidget(self.preview, 1)
        for part in (self.progress, self.told, self.use):
            column.addWidget(part)

    def board(self) -> Board:
        """As it was counted."""
        return Board(max(self.columns.value(), self.rows.value()), min(self.columns.value(), self.rows.value()))

    def show_progress(self, progress: CalibrationProgress) -> None:
        """Follow the thread."""
        self._calibration = progress.calibration
        self.use.setEnabled(progress.calibration is not None)
        self.progress.setText(f"{progress.views} of {ENOUGH_VIEWS} views{_found_text(progress.calibration)}")
        self.told.setText(f"{progress.sentence} {_bend_text(progress.calibration)}".strip())
        if progress.preview is not None:
            self.preview.setPixmap(_pixmap(progress.preview))
        if progress.is_done:
            self.show_idle()

    def show_idle(self) -> None:
        """Nothing runs."""
        self.live.setChecked(False)
        self.live.setText("Begin with the live picture")

    def _toggle_live(self, checked: bool) -> None:
        self.live.setText("End" if checked else "Begin with the live picture")
        if checked:
            self.live_wanted.emit(self.board())
        else:
            self.stop_wanted.emit()

    def _use(self) -> None:
        if self._calibration is not None:
            self.chosen.emit(lens_of_intrinsics(self._calibration.intrinsics, self._calibration.size))


def _found_text(calibration: Calibration | None) -> str:
    if calibration is None:
        return ""
    known = calibration.intrinsics
    fx, fy = known.focals_px
    return f"  ·  corners {calibration.rms_px:.2f} px off  ·  fx {fx:.1f}, fy {fy:.1f} px ± {known.focal_std_share:.1%}"


def _bend_text(calibration: Calibration | None) -> str:
    if calibration is None or calibration.bend_px < VISIBLE_BEND_PX:
        return ""
    return (
        f"This lens bends: a corner of the picture lies {calibration.bend_px:.0f} px from where straight rays would "
        "put it. handviz draws straight rays; the middle of the picture is right, its edges are not quite."
    )


def _pixmap(picture: NDArray[np.uint8]) -> QPixmap:
    height, width = picture.shape[:2]
    return QPixmap.fromImage(QImage(picture.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888))
