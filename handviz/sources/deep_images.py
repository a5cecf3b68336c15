"""TIFF and PNG of more than 8 bits through OpenCV, where Pillow reads them wrongly or not at all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.sources import tags
from handviz.sources.samples import eight_bit, white_of

FLOAT, SEPARATE, WHITE_IS_ZERO = 3, 2, 0
"""Values of a TIFF's sample format, planar configuration and photometric interpretation."""


class Layout(NamedTuple):
    """How the first image of a TIFF is stored."""

    width: int
    height: int
    bits: int
    samples: int
    """Per pixel."""
    is_float: bool
    is_planar: bool
    """Each colour has a plane of its own."""
    white_is_zero: bool
    orientation: int
    """As in EXIF."""

    @property
    def bytes_per_px(self) -> int:
        """What a pixel takes as it is stored."""
        return max(1, self.bits // 8) * self.samples

    @property
    def needs_opencv(self) -> bool:
        """Whether Pillow reads it wrongly: floats and integers of 32 bits in colour, and deep planes."""
        is_wide = self.bits >= 32 and (not self.is_float or self.samples > 1 or self.bits > 32)
        return is_wide or (self.is_planar and self.bits > 8)


def tiff_layout(path: Path) -> Layout:
    """Return the layout; HandvizError if its tags take too much memory, or if it is damaged."""
    with path.open("rb") as file:
        if not tags.are_harmless(file):
            raise HandvizError(f"{path}: its tags take too much memory, so it is not read", ErrorCode.TOO_LARGE)
        file.seek(0)
        first = {tag.number: tag.value for tag in next(tags.directories(file), [])}
    samples = first.get(tags.SAMPLES, 1)
    return Layout(
        first.get(tags.WIDTH, 0),
        first.get(tags.HEIGHT, 0),
        first.get(tags.BITS, 1),
        samples,
        first.get(tags.SAMPLE_FORMAT, 1) == FLOAT,
        first.get(tags.PLANAR, 1) == SEPARATE and samples > 1,
        first.get(tags.PHOTOMETRIC, 1) == WHITE_IS_ZERO,
        first.get(tags.ORIENTATION, 1),
    )


def read_deep(path: Path, layout: Layout | None = None) -> NDArray[np.uint8]:
    """Read (H, W, 3) RGB, not turned, scaled by the depth in use, alpha over black; HandvizError if it cannot be read.

    ``layout``: of a TIFF.
    """
    data = np.fromfile(path, np.uint8)
    if layout is not None and layout.is_planar:
        planes = _planes(path, data, layout)
        # As OpenCV gives colours: blue first.
        samples = _decoded(planes[2::-1] + planes[3:] if len(planes) > 2 else planes[:1])
    else:
        samples = _decoded([data])
    if samples is None:
        kind = "" if layout is None else f"{'floats' if layout.is_float else 'integers'} of {layout.bits} bits"
        raise HandvizError(
            f"{path}: an image of {kind or 'a kind'} that cannot be read: export it as PNG, or as TIFF of 8 or 16 bits",
            ErrorCode.UNSUPPORTED_FORMAT,
        )
    return _rgb_of(samples, white_is_zero=layout is not None and layout.white_is_zero)


def _decoded(files: Sequence[NDArray[np.uint8]]) -> NDArray[Any] | None:
    """Return OpenCV's grey (H, W) or BGR(A) (H, W, C) of a file, or of one for each channel; None if unreadable."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it would write what the error says
    try:
        found: list[Any] = [cv2.imdecode(file, cv2.IMREAD_UNCHANGED) for file in files]
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if any(image is None for image in found):
        return None
    return found[0] if len(found) == 1 else np.dstack(found)


def _rgb_of(samples: NDArray[Any], *, white_is_zero: bool) -> NDArray[np.uint8]:
    """Convert OpenCV's grey (H, W) or BGR(A) (H, W, C) of any depth to RGB (H, W, 3)."""
    if samples.ndim == 2 or samples.shape[2] < 3:
        grey = samples if samples.ndim == 2 else samples[..., 0]
        levels = eight_bit(grey, white_of([grey]))
        return np.repeat((255 - levels if white_is_zero else levels)[..., None], 3, axis=2)
    colours = samples[..., 2::-1]
    rgb = eight_bit(colours, white_of([colours]))
    if samples.shape[2] > 3:
        opaque = 1.0 if samples.dtype.kind == "f" else float(np.iinfo(samples.dtype).max)
        alpha = eight_bit(samples[..., 3], opaque)
        for channel in range(3):
            rgb[..., channel] = cv2.multiply(rgb[..., channel], alpha, scale=1 / 255)
    return rgb


def _planes(path: Path, data: NDArray[np.uint8], layout: Layout) -> list[NDArray[np.uint8]]:
    """Return a TIFF with a plane for each colour as one grey TIFF for each: OpenCV mixes such planes up.

    The pixels stay where they are in the file; only the tags are changed.
    """
    with path.open("rb") as file:
        found = {tag.number: tag for tag in next(tags.directories(file), [])}
    planes = []
    byte_order: Literal["little", "big"] = "little" if bytes(data[:2]) == b"II" else "big"
    for index in range(layout.samples):
        plane = data.copy()
        values = {tags.BITS: layout.bits, tags.PHOTOMETRIC: 1, tags.SAMPLES: 1, tags.PLANAR: 1}
        values[tags.SAMPLE_FORMAT] = FLOAT if layout.is_float else 1
        for number in (*values, *tags.PARTS):
            if number not in found:
                continue
            tag = found[number]
            if number in values:
                tags.set_values(plane, tag, values[number].to_bytes(2, byte_order), kind=3)
            else:
                step = tag.length // layout.samples * tags.SIZES[tag.kind]
                start = tag.values_at + index * step
                tags.set_values(plane, tag, data[start : start + step].tobytes(), kind=tag.kind, at=start)
        planes.append(plane)
    return planes
