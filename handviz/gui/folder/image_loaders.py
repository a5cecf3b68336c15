"""Reads in the background what a person looks at: the picture with its stored result, and thumbnails."""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Condition

import numpy as np
from numpy.typing import NDArray
from PyQt6.QtCore import QObject, Qt, QThread, pyqtSignal
from PyQt6.QtGui import QColor, QImage, QPixmap

from handviz.core.errors import HandvizError
from handviz.core.records import FrameResult
from handviz.gui.session.give_way import give_way
from handviz.sources.mailbox import Mailbox

POLL_S = 0.5
THUMBNAIL_SIDE_PX = 56
MOST_THUMBNAILS = 1000
"""About 10 MB."""
MOST_WAITING = 64
"""Thumbnails that were asked for longest ago are no longer in sight."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LookOrder:
    """Which picture to show."""

    number: int
    folder: Path
    file: str
    kept: Path | None
    """The file of results; None shows the picture alone."""


@dataclass(frozen=True, eq=False)
class Look:
    """A picture to show."""

    order: LookOrder
    result: FrameResult | None
    crops: tuple[NDArray[np.uint8], ...] = ()
    """(224, 224, 3) RGB, what the network saw of each hand."""
    reason: str = ""
    """Why there is no picture."""


def read_look(order: LookOrder) -> Look:
    """Read the picture and its stored hands; what fails is said in the answer."""
    # Here, so that the window is up before these are loaded.
    from handviz.core.records import Frame
    from handviz.detection.crop import crop_hand
    from handviz.inspection.store import InspectionStore
    from handviz.io.hand_pack import unpack_hands
    from handviz.sources.images import now_ms, read_image

    try:
        image = read_image(order.folder / order.file)
        packed = None
        if order.kept is not None and order.kept.exists():
            with InspectionStore(order.kept) as store:
                packed = store.packed(order.file)
        hands, detections = unpack_hands(packed) if packed is not None else ((), ())
    except HandvizError as error:
        return Look(order, None, reason=str(error))
    crops = tuple(np.rint(crop_hand(image, detection).image * 255).astype(np.uint8) for detection in detections)
    variant = hands[0].variant if hands else "final"
    frame = Frame(order.number, image, now_ms(), order.file)
    return Look(order, FrameResult(frame, variant, detections, hands), crops)


class LookThread(QThread):
    """Reads the picture that was asked for last."""

    ready = pyqtSignal(object)
    """Look"""

    def __init__(self, read: Callable[[LookOrder], Look] = read_look) -> None:
        super().__init__()
        self._read = read
        self._mailbox: Mailbox[LookOrder] = Mailbox()

    def ask(self, order: LookOrder) -> None:
        """Read this one instead of any that waits."""
        self._mailbox.put(order)
        if not self.isRunning() and not self._mailbox.closed:
            self.start()

    def stop(self) -> None:
        """End the loop and wait for it."""
        self._mailbox.close()
        self.wait()

    def run(self) -> None:
        """The loop."""
        while not self._mailbox.closed:
            order = self._mailbox.get(POLL_S)
            if order is None:
                continue
            try:
                self.ready.emit(self._read(order))
            # The outermost loop: one picture must not end the thread.
            except Exception as error:
                logger.exception("%s cannot be shown", order.file)
                self.ready.emit(Look(order, None, reason=f"{order.file} cannot be shown ({error})."))


class ThumbnailThread(QThread):
    """Reads thumbnails, the one asked for last first."""

    ready = pyqtSignal(object, object)
    """Path and QImage; a null image for what cannot be read."""

    def __init__(self) -> None:
        super().__init__()
        self._wanted: deque[Path] = deque(maxlen=MOST_WAITING)
        self._condition = Condition()
        self._is_stopping = False

    def ask(self, path: Path) -> None:
        """Read it, before all that were asked for earlier."""
        with self._condition:
            if path in self._wanted:
                self._wanted.remove(path)
            self._wanted.append(path)
            self._condition.notify()
        if not self.isRunning() and not self._is_stopping:
            self.start()

    def forget(self) -> None:
        """Nothing that waits is wanted any more."""
        with self._condition:
            self._wanted.clear()

    def stop(self) -> None:
        """End the loop and wait for it."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify()
        self.wait()

    def run(self) -> None:
        """The loop."""
        from handviz.sources.images import thumbnail_or_none

        give_way(self)
        while not self._is_stopping:
            with self._condition:
                if not self._wanted:
                    self._condition.wait(POLL_S)
                path = self._wanted.pop() if self._wanted and not self._is_stopping else None
            if path is None:
                continue
            try:
                pixels = thumbnail_or_none(path, THUMBNAIL_SIDE_PX * 2)
            # The outermost loop: one picture must not end the thread.
            except Exception:
                logger.exception("%s has no thumbnail", path)
                pixels = None
            self.ready.emit(path, QImage() if pixels is None else _fitted(image_of(pixels)))


class Thumbnails(QObject):
    """Thumbnails that were read, the last thousand that were looked at; others are asked for."""

    changed = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self._known: OrderedDict[Path, QPixmap] = OrderedDict()
        self._thread = ThumbnailThread()
        self._thread.ready.connect(self._take)
        self._waiting = QPixmap(THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX * 3 // 4)
        self._waiting.fill(QColor(128, 128, 128, 40))

    def __len__(self) -> int:
        return len(self._known)

    def pixmap(self, path: Path) -> QPixmap:
        """The picture, or an empty place until it is there."""
        known = self._known.get(path)
        if known is None:
            self._thread.ask(path)
            return self._waiting
        self._known.move_to_end(path)
        return known

    def clear(self) -> None:
        """Another folder comes."""
        self._thread.forget()
        self._known.clear()

    def stop(self) -> None:
        """End the thread."""
        self._thread.stop()

    def _take(self, path: Path, image: QImage) -> None:
        self._known[path] = self._waiting if image.isNull() else QPixmap.fromImage(image)
        while len(self._known) > MOST_THUMBNAILS:
            self._known.popitem(last=False)
        self.changed.emit()


def _fitted(image: QImage) -> QImage:
    """As large as a row of the table allows."""
    side, smooth = THUMBNAIL_SIDE_PX, Qt.TransformationMode.SmoothTransformation
    return image.scaled(side, side * 3 // 4, Qt.AspectRatioMode.KeepAspectRatio, smooth)


def image_of(pixels: NDArray[np.uint8]) -> QImage:
    """(H, W, 3) RGB as Qt's own picture."""
    height, width = pixels.shape[:2]
    whole = np.ascontiguousarray(pixels)
    return QImage(whole.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()
