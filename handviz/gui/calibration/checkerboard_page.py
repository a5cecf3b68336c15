"""Page of the camera dialog that calibrates with a checkerboard."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtGui import QImage, QPixmap
from PyQt6.QtWidgets import QLabel, QSpinBox, QVBoxLayout, QWidget

from handviz.core.camera_model import camera_model_of_intrinsics
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import FloatArray
from handviz.gui.session.tasks import Task
from handviz.gui.widgets.controls import named_label, push_button, row_of
from handviz.sources.checkerboard import (
    ENOUGH_VIEWS,
    MIN_VIEWS,
    Board,
    Calibration,
    ViewCollector,
    calibrate,
    find_corners,
)
from handviz.sources.file_kinds import is_image_file
from handviz.sources.images import read_image
from handviz.sources.mailbox import Mailbox

POLL_S = 0.2
PREVIEW_WIDTH_PX = 320
START_LIVE = "Start live capture"
MARK_RGB = (60, 220, 90)
HOW_TO_CALIBRATE = (
    "Print a checkerboard, or show one on a flat screen. Count its inner corners: a board of 10 x 7 squares has 9 x 6. "
    "Hold it still in a different pose each time, tilted by about 30°, also near the edges of the image. Images must "
    "have the size that you will use."
)
VISIBLE_DISTORTION_PX = 3.0


@dataclass(frozen=True, eq=False)
class CalibrationProgress:
    """State of a calibration."""

    views: int
    message: str
    """What to do next, or why there is no result."""
    preview: NDArray[np.uint8] | None = None
    """(h, w, 3) RGB, the corners marked."""
    calibration: Calibration | None = None
    """The best so far."""
    is_done: bool = False


class CalibrationTask(Task):
    """Loop over the images of a folder, or those given to ``offer``; it reports a CalibrationProgress for each."""

    def __init__(self, board: Board, folder: Path | None = None) -> None:
        super().__init__("The calibration failed")
        self.failed.connect(lambda message: self.progressed.emit(self._progress(message, is_done=True)))
        self._board, self._folder = board, folder
        self._mailbox: Mailbox[NDArray[np.uint8]] = Mailbox()
        self._collector: ViewCollector | None = None
        self._calibration: Calibration | None = None

    def offer(self, image: NDArray[np.uint8]) -> None:
        """Give the newest live image; it replaces one that still waits."""
        self._mailbox.put(image)

    def stop(self) -> None:
        """End the loop and wait for it."""
        self._mailbox.close()
        super().stop()

    def collect(self) -> None:
        """Collect views until stopped or the folder ends; for ``begin``."""
        if self._folder is not None:
            self._use_folder(self._folder)
            return
        while not self.is_cancelled:
            image = self._mailbox.get(POLL_S)
            if image is not None:
                self.report(self.progressed, self._use_image(image, must_be_still=True))

    def _use_folder(self, folder: Path) -> None:
        try:
            visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
            paths = sorted(path for path in visible if path.is_file() and is_image_file(path))
        except OSError as error:
            raise HandvizError(
                f"{folder} cannot be read ({error}): choose another folder.", ErrorCode.FILE_UNREADABLE
            ) from error
        for path in paths:
            if self.is_cancelled:
                return
            try:
                progress = self._use_image(read_image(path), must_be_still=False)
            except HandvizError as error:
                progress = self._progress(str(error))
            self.report(self.progressed, progress)
        message = f"{len(paths)} images, {self._count} views of the board used. {self._calibrate()}"
        self.report(self.progressed, self._progress(message.strip(), is_done=True))

    @property
    def _count(self) -> int:
        return len(self._collector.views) if self._collector is not None else 0

    def _use_image(self, image: NDArray[np.uint8], *, must_be_still: bool) -> CalibrationProgress:
        height, width = image.shape[:2]
        if self._collector is None:
            self._collector = ViewCollector(self._board, (width, height))
        if (width, height) != self._collector.size:
            known = "x".join(map(str, self._collector.size))
            return self._progress(f"This image is {width}x{height}, earlier ones were {known}: all must have one size.")
        corners = find_corners(image, self._board)
        message = self._collector.offer(corners, must_be_still=must_be_still)
        if not message:
            message = self._calibrate() or "View captured. More views improve the accuracy."
        return CalibrationProgress(self._count, message, _preview(image, corners), self._calibration)

    def _calibrate(self) -> str:
        """Calibrate with the views so far; returns a message if they do not suffice."""
        if self._collector is None:
            return "This folder contains no images."
        if self._folder is None and self._count < MIN_VIEWS:
            missing = MIN_VIEWS - self._count
            return f"View captured. {missing} more needed, {ENOUGH_VIEWS} in all recommended: tilt the board."
        try:
            self._calibration = calibrate(self._collector.views, self._board, self._collector.size)
        except HandvizError as error:
            return str(error)
        return ""

    def _progress(self, message: str, *, is_done: bool = False) -> CalibrationProgress:
        return CalibrationProgress(self._count, message, calibration=self._calibration, is_done=is_done)


def _preview(image: NDArray[np.uint8], corners: FloatArray | None) -> NDArray[np.uint8]:
    """Return a small image (h, w, 3) with the corners marked."""
    scale = PREVIEW_WIDTH_PX / image.shape[1]
    size = (PREVIEW_WIDTH_PX, max(round(image.shape[0] * scale), 1))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    for x, y in corners * scale if corners is not None else ():
        cv2.circle(small, (round(x), round(y)), 2, MARK_RGB, -1, cv2.LINE_AA)
    return np.ascontiguousarray(small, np.uint8)


class BoardPage(QWidget):
    """Page for the calibration with a checkerboard."""

    live_wanted = pyqtSignal(object)
    """Board"""
    folder_wanted = pyqtSignal(object)
    """Board"""
    stop_wanted = pyqtSignal()
    chosen = pyqtSignal(object)
    """CameraModel"""

    def __init__(self) -> None:
        super().__init__()
        self._calibration: Calibration | None = None
        self.columns, self.rows = QSpinBox(), QSpinBox()
        for box, count, hint in ((self.columns, 9, "along the longer side"), (self.rows, 6, "along the shorter side")):
            box.setRange(3, 30)
            box.setValue(count)
            box.setToolTip(f"Inner corners {hint}")
        hint = "Capture a view whenever the board is still; press again to stop"
        self.live = push_button(START_LIVE, hint, self._toggle_live)
        self.live.setCheckable(True)
        hint = "Images of the board, taken with this camera at this size"
        self.folder = push_button("From folder…", hint, lambda: self.folder_wanted.emit(self.board()))
        self.preview = QLabel()
        self.preview.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.preview.setMinimumHeight(180)
        self.progress = named_label("number")
        self.message = named_label("", wraps=True)
        self.use = push_button("Apply", "Use these intrinsics for this source", self._use)
        self.use.setEnabled(False)
        self._lay_out()

    def _lay_out(self) -> None:
        corners = named_label("", "Inner corners"), self.columns, named_label("", "x"), self.rows
        row = row_of(*corners, None, self.live, self.folder)
        column = QVBoxLayout(self)
        column.addWidget(named_label("faint", HOW_TO_CALIBRATE, wraps=True))
        column.addLayout(row)
        column.addWidget(self.preview, 1)
        for part in (self.progress, self.message, self.use):
            column.addWidget(part)

    def board(self) -> Board:
        """Return the board with the entered corner counts."""
        return Board(max(self.columns.value(), self.rows.value()), min(self.columns.value(), self.rows.value()))

    def show_progress(self, progress: CalibrationProgress) -> None:
        """Show the state of the calibration."""
        self._calibration = progress.calibration
        self.use.setEnabled(progress.calibration is not None)
        self.progress.setText(f"{progress.views} of {ENOUGH_VIEWS} views{_found_text(progress.calibration)}")
        self.message.setText(f"{progress.message} {_distortion_text(progress.calibration)}".strip())
        if progress.preview is not None:
            self.preview.setPixmap(_pixmap(progress.preview))
        if progress.is_done:
            self.show_idle()

    def show_idle(self) -> None:
        """Reset the button of the live capture."""
        self.live.setChecked(False)
        self.live.setText(START_LIVE)

    def _toggle_live(self, checked: bool) -> None:
        self.live.setText("Stop live capture" if checked else START_LIVE)
        if checked:
            self.live_wanted.emit(self.board())
        else:
            self.stop_wanted.emit()

    def _use(self) -> None:
        if self._calibration is not None:
            self.chosen.emit(camera_model_of_intrinsics(self._calibration.intrinsics, self._calibration.size))


def _found_text(calibration: Calibration | None) -> str:
    if calibration is None:
        return ""
    known = calibration.intrinsics
    fx, fy = known.focals_px
    return (
        f"  ·  reprojection error {calibration.rms_px:.2f} px  ·  "
        f"fx {fx:.1f}, fy {fy:.1f} px ± {known.focal_std_fraction:.1%}"
    )


def _distortion_text(calibration: Calibration | None) -> str:
    if calibration is None or calibration.distortion_px < VISIBLE_DISTORTION_PX:
        return ""
    return (
        f"This lens distorts by {calibration.distortion_px:.0f} px at the corner of the image. handviz projects "
        "without distortion: correct at the centre of the image, slightly off at its edges."
    )


def _pixmap(image: NDArray[np.uint8]) -> QPixmap:
    height, width = image.shape[:2]
    return QPixmap.fromImage(QImage(image.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888))
