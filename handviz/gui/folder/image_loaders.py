"""Background loading of images with their stored results, and of thumbnails."""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PyQt6.QtCore import QObject, Qt, pyqtSignal
from PyQt6.QtGui import QColor, QImage, QPixmap

from handviz.core.records import FrameResult
from handviz.gui.session.tasks import LatestWins

THUMBNAIL_SIDE_PX = 56
MAX_THUMBNAILS = 1000
"""About 10 MB."""
MAX_WAITING = 64
"""Older requests are dropped: their rows are no longer in sight."""


@dataclass(frozen=True)
class PreviewRequest:
    """Request for the image of a row."""

    folder: Path
    file: str
    results_path: Path | None
    """The file of results; None shows the image alone."""


@dataclass(frozen=True, eq=False)
class Preview:
    """Image of a row with its result."""

    file: str
    result: FrameResult | None
    crops: tuple[NDArray[np.uint8], ...] = ()
    """(S, S, 3) RGB, the crop of each hand as the model took it."""
    reason: str = ""
    """Why there is no image."""


def read_preview(request: PreviewRequest) -> Preview:
    """Read the image and its stored hands; raises HandvizError where that is not possible."""
    # Imported here so that the window is up before these are loaded.
    from handviz.core.records import DEFAULT_CROP, Frame
    from handviz.detection.crop import crop_hand
    from handviz.inspection.store import InspectionStore
    from handviz.io.hand_pack import unpack_hands
    from handviz.models.registry import list_models
    from handviz.sources.images import now_ms, read_image

    image = read_image(request.folder / request.file)
    packed = None
    if request.results_path is not None and request.results_path.exists():
        with InspectionStore(request.results_path) as store:
            packed = store.packed(request.file)
    hands, detections = unpack_hands(packed) if packed is not None else ((), ())
    model = hands[0].model if hands else "final"
    # The model may be one of a package that is no longer installed.
    spec = next((spec.crop for spec in list_models() if spec.id == model), DEFAULT_CROP)
    crops = tuple(crop_hand(image, detection, spec).image for detection in detections)
    frame = Frame(0, image, now_ms(), request.file)
    return Preview(request.file, FrameResult(frame, model, detections, hands), crops)


def read_thumbnail(path: Path) -> QImage:
    """Return the thumbnail as large as a row of the table allows; a null image for what cannot be read."""
    from handviz.sources.images import thumbnail_or_none

    pixels = thumbnail_or_none(path, THUMBNAIL_SIDE_PX * 2)
    if pixels is None:
        return QImage()
    side, smooth = THUMBNAIL_SIDE_PX, Qt.TransformationMode.SmoothTransformation
    return image_of(pixels).scaled(side, side * 3 // 4, Qt.AspectRatioMode.KeepAspectRatio, smooth)


class Thumbnails(QObject):
    """Cache of the thousand thumbnails used last; others are read in a thread."""

    changed = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self._known: OrderedDict[Path, QPixmap] = OrderedDict()
        self._worker = LatestWins(read_thumbnail, "A thumbnail cannot be read", capacity=MAX_WAITING, low_priority=True)
        self._worker.answered.connect(self._take)
        self._worker.failed.connect(lambda path, _: self._take(path, QImage()))
        self._waiting = QPixmap(THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX * 3 // 4)
        self._waiting.fill(QColor(128, 128, 128, 40))

    def __len__(self) -> int:
        return len(self._known)

    def pixmap(self, path: Path) -> QPixmap:
        """Return the thumbnail, or a placeholder until it has been read."""
        known = self._known.get(path)
        if known is None:
            self._worker.ask(path)
            return self._waiting
        self._known.move_to_end(path)
        return known

    def clear(self) -> None:
        """Forget all thumbnails."""
        self._worker.forget()
        self._known.clear()

    def stop(self) -> None:
        """End the thread."""
        self._worker.stop()

    def _take(self, path: Path, image: QImage) -> None:
        self._known[path] = self._waiting if image.isNull() else QPixmap.fromImage(image)
        while len(self._known) > MAX_THUMBNAILS:
            self._known.popitem(last=False)
        self.changed.emit()


def image_of(pixels: NDArray[np.uint8]) -> QImage:
    """Convert (H, W, 3) RGB to a QImage."""
    height, width = pixels.shape[:2]
    whole = np.ascontiguousarray(pixels)
    return QImage(whole.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()
