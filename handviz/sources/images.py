"""Reading still images as (H, W, 3) RGB uint8, upright; HandvizError states why one cannot be read."""

import dataclasses
import struct
import time
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import Frame

ROTATIONS_DEG = (0, 90, 180, 270)


def rotated_frame(frame: Frame, rotation_angle_deg: int) -> Frame:
    """Rotate a frame clockwise by 0, 90, 180 or 270 degrees."""
    if rotation_angle_deg not in ROTATIONS_DEG:
        raise ValueError(f"images are rotated by one of {ROTATIONS_DEG} degrees, not by {rotation_angle_deg}")
    if not rotation_angle_deg:
        return frame
    image = np.ascontiguousarray(np.rot90(frame.image, -rotation_angle_deg // 90))
    return dataclasses.replace(frame, image=image, rotation_deg=rotation_angle_deg)


MAX_IMAGE_PX = 128_000_000
# Pillow's own limit only warns; MAX_IMAGE_PX is checked before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None
READ_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    TypeError,
    KeyError,
    OverflowError,
    RuntimeError,
    MemoryError,
    struct.error,
)
"""What Pillow's readers raise for damaged files."""
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF")
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
EXIF_PART, FOCAL_LENGTH_IN_35MM = 0x8769, 0xA405
FOCAL_LIMITS_MM = (4.0, 2000.0)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read (H, W, 3) RGB, rotated by its EXIF, alpha over black; HandvizError with the reason."""
    try:
        if path.stat().st_size == 0:
            raise HandvizError(f"{path}: the file is empty", ErrorCode.EMPTY_INPUT)
        with Image.open(path) as image:
            check_pixels(path, *image.size)
            image.load()
            return rgb_from_image(ImageOps.exif_transpose(image))
    except Image.UnidentifiedImageError as error:
        raise HandvizError(f"{path}: not an image in a known format", ErrorCode.UNSUPPORTED_FORMAT) from error
    except MemoryError as error:
        raise HandvizError(f"{path}: too large for this machine's memory", ErrorCode.TOO_LARGE) from error
    except FileNotFoundError as error:
        raise HandvizError(f"{path}: there is no such file", ErrorCode.FILE_MISSING) from error
    except READ_ERRORS as error:
        raise HandvizError(f"{path}: the image cannot be read ({error})", ErrorCode.FILE_DAMAGED) from error


def image_kind(path: Path) -> Literal["", "still", "animated"]:
    """Return whether the file's content is an image; empty if it is something else, or damaged from its beginning."""
    try:
        with Image.open(path) as image:
            if image.format not in FORMATS:
                return ""
            is_animated = image.format in ANIMATED and getattr(image, "is_animated", False)
            return "animated" if is_animated else "still"
    except READ_ERRORS:
        return ""


def note_on_pages(path: Path) -> str:
    """Return a message if ``read_image`` uses only the first of several frames or pages, else an empty text."""
    try:
        with Image.open(path) as image:
            # The further images of an MPO are other views or sizes of the same.
            count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    except READ_ERRORS:
        return ""
    return f"{path.name}: only the first of {count} frames is used" if count > 1 else ""


def check_pixels(path: Path, width: int, height: int) -> None:
    """Raise HandvizError if an image of this size is too large to decode."""
    if width * height > MAX_IMAGE_PX:
        raise HandvizError(
            f"{path}: {width} x {height} pixels are more than the {MAX_IMAGE_PX // 1_000_000} million "
            "allowed: make it smaller first",
            ErrorCode.TOO_LARGE,
        )


def rgb_from_image(image: Image.Image) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB, alpha over black."""
    if image.mode.startswith("I") or image.mode == "F":
        grey = _eight_bit(np.asarray(image))
        return np.ascontiguousarray(np.repeat(grey[:, :, None], 3, axis=2))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        background = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        image = Image.alpha_composite(background, layer)
    return np.array(image.convert("RGB"))


def _eight_bit(grey: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Convert grey of 16 or 32 bits or floats (H, W) to 8 bits; Pillow's conversion would clip at 255."""
    values = np.nan_to_num(grey.astype(np.float64))
    largest = float(values.max(initial=0.0))
    if grey.dtype.kind == "f" and largest <= 1.0:
        values = values * 255
    elif grey.dtype.itemsize == 2 or largest > 255:
        values = values / 257
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def rgb_from_bgr(image: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Convert OpenCV's BGR (H, W, 3) to RGB."""
    return np.asarray(cv2.cvtColor(np.asarray(image, dtype=np.uint8), cv2.COLOR_BGR2RGB), dtype=np.uint8)


def now_ms() -> float:
    """Return the time of the clock of ``Frame.captured_ms``."""
    return time.perf_counter() * 1000


def read_thumbnail(path: Path, side_px: int) -> NDArray[np.uint8]:
    """Read (H, W, 3) RGB, upright, no side above ``side_px``; HandvizError with the reason."""
    image = _drafted(path, side_px)
    if image is None:
        image = Image.fromarray(read_image(path))
    image.thumbnail((side_px, side_px), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.array(image.convert("RGB"))


def _drafted(path: Path, side_px: int) -> Image.Image | None:
    """Decode a JPEG no larger than needed; None for other formats, or if that fails."""
    try:
        with Image.open(path) as image:
            if image.format != "JPEG":
                return None
            image.draft("RGB", (2 * side_px, 2 * side_px))
            image.load()
            return ImageOps.exif_transpose(image)
    # Reading the whole image then reports the error.
    except (OSError, ValueError, SyntaxError, IndexError, TypeError, KeyError, RuntimeError):
        return None


def thumbnail_or_none(path: Path, side_px: int) -> NDArray[np.uint8] | None:
    """Return ``read_thumbnail``, or None if the image cannot be read."""
    try:
        return read_thumbnail(path, side_px)
    except HandvizError:
        return None


def equivalent_focal_mm(path: Path) -> float | None:
    """Return EXIF's focal length "in 35 mm film"; None if the image has none, or an impossible one."""
    try:
        with Image.open(path) as image:
            value = image.getexif().get_ifd(EXIF_PART).get(FOCAL_LENGTH_IN_35MM)
            millimetres = float(value) if value is not None else 0.0
    except READ_ERRORS:
        return None
    return millimetres if FOCAL_LIMITS_MM[0] <= millimetres <= FOCAL_LIMITS_MM[1] else None
