"""Images of what is on the screen."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PyQt6.QtCore import QStandardPaths
from PyQt6.QtGui import QImage

from handviz.core.errors import HandvizError
from handviz.core.files import atomic_path
from handviz.gui.record.output_panel import OutputPanel
from handviz.gui.session.controller import Controller
from handviz.gui.view.viewport import Viewport
from handviz.gui.widgets.shortcuts import Feature, Shortcut

SCREENSHOT_FOLDER = "screenshot_folder"
"""Under this name the person's choice is remembered."""
JPEG_QUALITY, DEFAULT_QUALITY = 90, -1
TWICE = "cut_out_twice"


def images_folder() -> Path:
    """The person's folder for images."""
    place = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.PicturesLocation)
    return Path(place) if place else Path.home()


def save_image(image: QImage, path: Path) -> None:
    """Write an image without opacity; raises HandvizError if that is not possible."""
    _save(image.convertToFormat(QImage.Format.Format_RGB888), path)


def save_cut_out(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write (H, W, 4) RGB and straight alpha; raises HandvizError if that is not possible."""
    height, width = pixels.shape[:2]
    _save(QImage(pixels.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888), path)


def _save(image: QImage, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HandvizError(f"The folder {path.parent} cannot be made ({error.strerror}).") from error
    quality = JPEG_QUALITY if path.suffix.lower() in (".jpg", ".jpeg") else DEFAULT_QUALITY
    with atomic_path(path) as part:
        if not image.isNull() and image.save(str(part), quality=quality):
            return
        raise HandvizError(f"The image cannot be written to {path}.")


def timed_name(stem: str, now: datetime) -> str:
    """The stem with the time."""
    return f"{stem}_{now:%Y-%m-%d_%H-%M-%S}"


def free_path(folder: Path, stem: str, now: datetime) -> Path:
    """A file name with the time that is not taken yet."""
    base = timed_name(stem, now)
    path, number = folder / f"{base}.png", 1
    while path.exists():
        number += 1
        path = folder / f"{base}_{number}.png"
    return path


# Images of the hands alone, to be laid over others.


class TransparentExport(Feature):
    """Saves what the view shows of the hands, without image and legend, as a transparent PNG."""

    def __init__(self, controller: Controller, viewport: Viewport, panel: OutputPanel) -> None:
        super().__init__()
        self._controller, self._viewport, self._panel = controller, viewport, panel
        panel.twice.setChecked(controller.store.text(TWICE) == "yes")
        panel.twice.toggled.connect(lambda checked: controller.store.save_text(TWICE, "yes" if checked else ""))
        panel.cut_out.clicked.connect(self.save)

    def shortcuts(self) -> Sequence[Shortcut]:
        """One."""
        return (Shortcut(("Ctrl+Shift+T",), "save the hands without background", self.save, menu="File"),)

    def save(self) -> None:
        """Write it beside the other screenshots; a sentence says where, or why not."""
        try:
            pixels = self._viewport.cut_out(2.0 if self._panel.twice.isChecked() else 1.0)
        except HandvizError as error:
            self._controller.warn(str(error))
            return
        if pixels is None or not pixels[..., 3].any():
            self._controller.notify("There is no hand in the view that could be saved without its background.")
            return
        folder = self._controller.store.text(SCREENSHOT_FOLDER)
        settings = self._controller.settings
        stem = f"handviz_{settings.variant}_{settings.colour}_cut_out"
        path = free_path(Path(folder) if folder else images_folder(), stem, datetime.now())
        try:
            save_cut_out(pixels, path)
            self._controller.notify(f"Saved {path}")
        except HandvizError as error:
            self._controller.warn(str(error))
