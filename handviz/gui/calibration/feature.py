"""Intrinsics of every source: saved by its name, set in a dialog, and stated on the view while they are assumed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PyQt6.QtCore import QEvent, QObject, Qt
from PyQt6.QtWidgets import QFileDialog, QWidget

from handviz.core.records import Frame
from handviz.gui.calibration.checkerboard_page import CalibrationTask
from handviz.gui.calibration.dialog import CAMERA_FOLDER, CameraDialog
from handviz.gui.calibration.panel import CameraModelControls, camera_text, wrist_distance_text
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer, SourceInfo
from handviz.gui.session.settings import ViewSettings
from handviz.gui.session.source_memory import owner_of, save_camera_model, saved_camera_model
from handviz.gui.widgets.controls import named_label
from handviz.gui.widgets.shortcuts import Feature, Shortcut
from handviz.sources.checkerboard import Board
from handviz.sources.source import CAMERA_PREFIX, IMAGES_PREFIX, listed_images

MARGIN_PX = 10
MAX_NOTE = 0.4
"""Fraction of the image's width: the corners are for the legend and, in the 3D view, the small image."""
KEY_HINT, PART_SEPARATOR = " (Ctrl+L)", "  ·  "


def as_taken(frame: Frame) -> NDArray[np.uint8]:
    """Return the image (H, W, 3) as the camera took it, before rotation: the intrinsics belong to that."""
    return np.rot90(frame.image, frame.rotation_deg // 90)


def _file_of(frame: Frame, source: str) -> Path | None:
    """Return the file of a frame that is a photograph; None for clips and cameras."""
    if not frame.name:
        return None
    if source.startswith(IMAGES_PREFIX):
        return next((path for path in listed_images(source) if path.name == frame.name), None)
    path = Path(source).expanduser()
    return path if path.name == frame.name else path / frame.name


class CameraFeature(Feature):
    """Camera dialog, line at the bottom of the viewport, and saved intrinsics of every source."""

    def __init__(self, controller: Controller, viewport: QWidget, controls: CameraModelControls) -> None:
        super().__init__(viewport)
        self._controller, self._viewport = controller, viewport
        self._owner = ""
        self._answer: Answer | None = None
        self._dialog: CameraDialog | None = None
        self._task: CalibrationTask | None = None
        self.note = named_label("note")
        self.note.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._note_text, self._note_room_px = "", 0.0
        self.note.setParent(viewport)
        self.note.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.note.hide()
        viewport.installEventFilter(self)
        controls.details_wanted.connect(self.open)
        controller.source_opened.connect(self._take_source)
        controller.cameras_found.connect(self._take_cameras)
        controller.answered.connect(self._take_answer)
        controller.settings_changed.connect(self._take_settings)

    def shortcuts(self) -> Sequence[Shortcut]:
        """Return the key of the dialog."""
        return (Shortcut(("Ctrl+L",), "Camera intrinsics and hand size…", self.open, menu="Tools"),)

    def stop(self) -> None:
        """End a calibration."""
        self._end_calibration()
        if self._dialog is not None:
            self._dialog.close()

    def open(self) -> CameraDialog:
        """Show the dialog beside the running image."""
        if self._dialog is None:
            self._dialog = dialog = CameraDialog(self._controller, self._viewport.window())
            dialog.board.live_wanted.connect(self._calibrate)
            dialog.board.folder_wanted.connect(self._calibrate_folder)
            dialog.board.stop_wanted.connect(self._end_calibration)
            dialog.closed.connect(self._end_calibration)
        self._update_dialog()
        self._dialog.show()
        self._dialog.raise_()
        return self._dialog

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Keep the line in its position."""
        if event is not None and event.type() == QEvent.Type.Resize:
            self._position_note()
        return super().eventFilter(watched, event)

    def _take_source(self, info: SourceInfo) -> None:
        """Load the intrinsics of a camera, file or folder."""
        self._answer, self._owner = None, ""
        self._take_owner(info)

    def _take_cameras(self) -> None:
        """Load the intrinsics of a camera that was opened before the system named it."""
        if self._controller.source is not None:
            self._take_owner(self._controller.source)

    def _take_owner(self, info: SourceInfo) -> None:
        camera = self._controller.camera_in_use or self._controller.listed_camera(info.text)
        owner = owner_of(info.text, camera.name if camera is not None else "")
        if owner != self._owner:
            self._owner = owner
            self._controller.change_with_source(camera_model=saved_camera_model(self._controller.store, owner))
            self._write_note()

    def _take_settings(self, settings: ViewSettings) -> None:
        if self._owner:
            save_camera_model(self._controller.store, self._owner, settings.pipeline.camera_model)
        self._write_note()

    def _take_answer(self, answer: Answer) -> None:
        self._answer = answer
        if self._task is not None:
            self._task.offer(as_taken(answer.result.frame))
        self._write_note()
        self._update_dialog()

    def _write_note(self) -> None:
        """Write the camera model in use, what is uncertain of it, and in the 3D view the distance of the wrists."""
        text = ""
        if self._answer is not None:
            settings, result = self._controller.settings, self._answer.result
            camera_model = settings.pipeline.camera_model
            height, width = as_taken(result.frame).shape[:2]
            distance = wrist_distance_text(result.hands) if settings.draw.view == "orbit" else ""
            camera = camera_text(camera_model, result.frame)
            parts = distance, camera, camera_model.caveat_for(width, height)
            text = PART_SEPARATOR.join(part for part in parts if part)
            text += KEY_HINT if camera_model.mode == "assumed" else ""
        room = self._room_px()
        if (text, room) != (self._note_text, self._note_room_px):
            self._note_text, self._note_room_px = text, room
            self._position_note()
        self.note.setVisible(bool(text))

    def _position_note(self) -> None:
        """Centre the line at the bottom, between the legends in the corners; shorten it where space is short."""
        self.note.setText(self._note_text)
        self.note.adjustSize()
        if self.note.width() > MAX_NOTE * self._room_px():
            self.note.setText(self._note_text.removesuffix(KEY_HINT).replace(PART_SEPARATOR, "\n"))
            self.note.adjustSize()
        width = min(self.note.width(), max(self._viewport.width() - 2 * MARGIN_PX, 1))
        left = (self._viewport.width() - width) // 2
        self.note.setGeometry(left, self._viewport.height() - self.note.height() - MARGIN_PX, width, self.note.height())

    def _room_px(self) -> float:
        """Return the width of the image as drawn; in the 3D view that of the view."""
        width, height = float(self._viewport.width()), self._viewport.height()
        if self._answer is None or self._controller.settings.draw.view == "orbit":
            return width
        rows, columns = self._answer.result.frame.image.shape[:2]
        return min(width, height * columns / rows)

    def _update_dialog(self) -> None:
        if self._dialog is None or self._answer is None:
            return
        frame, source = self._answer.result.frame, self._controller.source
        height, width = as_taken(frame).shape[:2]
        path = _file_of(frame, source.text) if source is not None else None
        is_file = source is not None and not source.text.startswith(CAMERA_PREFIX)
        shown = source.name if source is not None and is_file else self._owner
        self._dialog.show_image(shown, (width, height), path)

    def _calibrate_folder(self, board: Board) -> None:
        store = self._controller.store
        start = store.text(CAMERA_FOLDER)
        folder = QFileDialog.getExistingDirectory(self._dialog, "Images of the checkerboard", start)
        if folder:
            store.save_text(CAMERA_FOLDER, folder)
            self._calibrate(board, Path(folder))

    def _calibrate(self, board: Board, folder: Path | None = None) -> None:
        self._stop_task()
        assert self._dialog is not None
        self._task = CalibrationTask(board, folder)
        self._task.progressed.connect(self._dialog.board.show_progress)
        self._task.begin(self._task.collect)
        if folder is None and self._answer is not None:
            self._task.offer(as_taken(self._answer.result.frame))

    def _stop_task(self) -> None:
        if self._task is not None:
            self._task.stop()
            self._task.deleteLater()
            self._task = None

    def _end_calibration(self) -> None:
        self._stop_task()
        if self._dialog is not None:
            self._dialog.board.show_idle()
