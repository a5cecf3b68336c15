"""Screenshots and transparent PNGs."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PyQt6.QtCore import QStandardPaths
from PyQt6.QtGui import QImage

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import atomic_path, make_folder
from handviz.gui.record.output_panel import OutputPanel
from handviz.gui.session.controller import Controller
from handviz.gui.view.viewport import Viewport
from handviz.gui.widgets.shortcuts import Feature, Shortcut

SCREENSHOT_FOLDER = "screenshot_folder"
"""Settings key of the chosen folder."""
JPEG_QUALITY, DEFAULT_QUALITY = 90, -1


def images_folder() -> Path:
    """Return the user's folder for images."""
    folder = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.PicturesLocation)
    return Path(folder) if folder else Path.home()


def save_image(image: QImage, path: Path) -> None:
    """Write an image, with its opacity if it is RGBA8888; raises HandvizError if that is not possible."""
    is_opaque = image.format() != QImage.Format.Format_RGBA8888
    _save(image.convertToFormat(QImage.Format.Format_RGB888) if is_opaque else image, path)


def save_cut_out(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write (H, W, 4) RGB and straight alpha; raises HandvizError if that is not possible."""
    height, width = pixels.shape[:2]
    _save(QImage(pixels.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888), path)


def _save(image: QImage, path: Path) -> None:
    make_folder(path.parent)
    quality = JPEG_QUALITY if path.suffix.lower() in (".jpg", ".jpeg") else DEFAULT_QUALITY
    with atomic_path(path) as part:
        if not image.isNull() and image.save(str(part), quality=quality):
            return
        raise HandvizError(f"The image cannot be written to {path}: choose another folder.", ErrorCode.NOT_WRITABLE)


def timed_name(stem: str, now: datetime) -> str:
    """Return the stem followed by the time."""
    return f"{stem}_{now:%Y-%m-%d_%H-%M-%S}"


def free_path(folder: Path, stem: str, now: datetime) -> Path:
    """Return a PNG path with the time in its name that does not exist yet."""
    base = timed_name(stem, now)
    path, number = folder / f"{base}.png", 1
    while path.exists():
        number += 1
        path = folder / f"{base}_{number}.png"
    return path


class TransparentExport(Feature):
    """Export of the hands in the view, without image and legend, as a transparent PNG."""

    def __init__(self, controller: Controller, viewport: Viewport, panel: OutputPanel) -> None:
        super().__init__()
        self._controller, self._viewport = controller, viewport
        panel.cut_out.clicked.connect(self.save)

    def shortcuts(self) -> Sequence[Shortcut]:
        """Return the key."""
        return (Shortcut(("Ctrl+Shift+T",), "Save transparent PNG", self.save, menu="File"),)

    def save(self) -> None:
        """Save the PNG beside the screenshots; a message says where, or why not."""
        try:
            pixels = self._viewport.cut_out(self._controller.settings.figure_scale)
        except HandvizError as error:
            self._controller.warn(str(error))
            return
        if pixels is None or not pixels[..., 3].any():
            self._controller.notify("There is no hand in the view to save.")
            return
        folder = self._controller.store.text(SCREENSHOT_FOLDER)
        settings = self._controller.settings
        stem = f"handviz_{settings.pipeline.model}_{settings.draw.colour}_cut_out"
        path = free_path(Path(folder) if folder else images_folder(), stem, datetime.now())
        try:
            save_cut_out(pixels, path)
            self._controller.report_saved(f"Saved {path}", path.parent)
        except HandvizError as error:
            self._controller.warn(str(error))
