"""Images of a dataset, and messages on those that cannot be used: count and first one of each kind of problem."""

import logging
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.data.datasets.annotated import HandDataset

logger = logging.getLogger(__name__)
BadImages = Literal["stop", "skip"]
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
PNG_START, PNG_HEADER_BYTES = b"\x89PNG\r\n\x1a\n", 24


@dataclass(frozen=True, eq=False)
class UsableImages:
    """A dataset's images, read from any number of threads."""

    dataset: HandDataset
    bad_images: BadImages = "stop"
    bad: dict[int, str] = field(default_factory=dict)
    """Samples whose image could not be used so far, and why"""

    def read(self, row: int) -> NDArray[np.uint8] | None:
        """Return RGB (H, W, 3); None for an image that is left out, HandvizError for one that stops the work."""
        if row in self.bad:
            return None
        try:
            return self.dataset.image(row)
        except HandvizError as error:
            reason = str(error).rstrip(".")
            if self.bad_images == "stop":
                raise HandvizError(f"{reason}. --bad-images skip leaves such images out.", error.code) from error
        self.bad[row] = reason
        logger.warning("%s. Left out, number %d of %s.", reason, len(self.bad), self.dataset.name)
        return None

    @property
    def warnings(self) -> tuple[str, ...]:
        """A message with the count; none if no image was left out."""
        if not self.bad:
            return ()
        first = self.bad[min(self.bad)]
        return (f"{len(self.bad):,} images could not be used and were left out, the first: {first}.",)


def read_image(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Read RGB (H, W, 3); HandvizError for a file that is missing, damaged or not of the given ``size`` (W, H)."""
    # The stored orientation is ignored: annotations belong to the pixels as they are stored.
    return _decoded(path, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION, size)


def read_mask(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Read a grey mask (H, W); errors as ``read_image``."""
    return _decoded(path, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION, size)


def file_names(folder: Path) -> frozenset[str]:
    """Return the names in the folder; none if there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries)
    except OSError:
        return frozenset()


def _decoded(path: Path, flags: int, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HandvizError(f"{path} cannot be read ({error.strerror or error}).", ErrorCode.FILE_UNREADABLE) from error
    # OpenCV fills the missing part of a JPEG with grey and only prints a warning.
    if data.startswith(JPEG_START) and JPEG_END not in data[-64:]:
        raise HandvizError(f"{path} is cut off: the download or the disk is not whole.", ErrorCode.FILE_DAMAGED)
    if data.startswith(PNG_START) and len(data) >= PNG_HEADER_BYTES:
        # OpenCV allocates what the header states, gigabytes if it is damaged.
        width, height = struct.unpack_from(">II", data, PNG_HEADER_BYTES - 8)
        _check_size((width, height), path, size)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:
        image = None
    if image is None:
        raise HandvizError(f"{path} is not an image, or is damaged.", ErrorCode.FILE_DAMAGED)
    height, width = image.shape[:2]
    _check_size((width, height), path, size)
    return np.asarray(image, np.uint8)


def _check_size(found: tuple[int, int], path: Path, size: tuple[int, int] | None) -> None:
    if size is not None and found != size:
        raise HandvizError(
            f"{path} is {found[0]} x {found[1]} pixels and its camera is that of {size[0]} x {size[1]}: "
            "use the images as they were downloaded.",
            ErrorCode.FILES_DISAGREE,
        )


def messages_on(problems: Iterable[str]) -> tuple[str, ...]:
    """Return ``HandDataset.warnings`` for one text per sample: empty if it can be used, else KIND: DETAIL."""
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        if problem:
            kind, _, detail = str(problem).partition(": ")
            kinds.setdefault(kind, []).append(detail)
    return tuple(message_on(kind, len(details), details[0]) for kind, details in kinds.items())


def message_on(kind: str, count: int, first: str) -> str:
    """Return a message with one kind of problem, its count, and the first sample that has it."""
    return (
        f"1 sample left out, {kind}: {first}."
        if count == 1
        else f"{count:,} samples left out, {kind}, the first: {first}."
    )
