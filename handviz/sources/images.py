"""Reading still images as (H, W, 3) RGB uint8, upright; HandvizError states why one cannot be read."""

import dataclasses
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from handviz.core.camera_model import focal_of_equivalent_px
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import Frame
from handviz.sources import deep_images, tags
from handviz.sources.file_kinds import REASONS, head_of, kind_of, kind_of_head
from handviz.sources.heic import open_heic
from handviz.sources.samples import eight_bit, white_of

ROTATIONS_DEG = (0, 90, 180, 270)


def rotated_frame(frame: Frame, rotation_angle_deg: int) -> Frame:
    """Rotate a frame clockwise by 0, 90, 180 or 270 degrees."""
    if rotation_angle_deg not in ROTATIONS_DEG:
        raise ValueError(f"images are rotated by one of {ROTATIONS_DEG} degrees, not by {rotation_angle_deg}")
    if not rotation_angle_deg:
        return frame
    image = np.ascontiguousarray(np.rot90(frame.image, -rotation_angle_deg // 90))
    return dataclasses.replace(frame, image=image, rotation_deg=rotation_angle_deg)


MAX_IMAGE_PX = 110_000_000
"""Phones take 108. With 8 bytes for each pixel, which reading and searching take at most, this is under 0.9 GB."""
MAX_DECODING_BYTES = 900_000_000
BYTES_PER_PX = {"WEBP": 20, "JPEG2000": 30, "AVIF": 16, "HEIC": 16, "progressive": 12}
"""What decoders take where it is more than that: planes, a second canvas, coefficients of the whole image."""
PART_PX = 1_000_000
"""Images are converted in parts of so many pixels, so that they are not in memory in several forms at once."""
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
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF")
"""Those that Pillow may try; MPO is opened as JPEG, TGA by its suffix."""
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
EXIF_PART, FOCAL_LENGTH_IN_35MM, EXIF_WIDTH, EXIF_HEIGHT, ORIENTATION = 0x8769, 0xA405, 0xA002, 0xA003, 0x0112
FOCAL_LIMITS_MM, SAME_ASPECT = (4.0, 2000.0), 0.01
DARKEST, EVENEST = 32, 4
"""Images with no level above the first, or no larger range than the second, show nothing."""


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read (H, W, 3) RGB, rotated by its EXIF, alpha over black; HandvizError with the reason."""
    try:
        if path.stat().st_size == 0:
            raise HandvizError(f"{path}: the file is empty", ErrorCode.EMPTY_INPUT)
        kind = kind_of(path)
        if kind in REASONS:
            raise HandvizError(f"{path}: {REASONS[kind]}", ErrorCode.UNSUPPORTED_FORMAT)
        return _read_heic(path) if kind == "heic" else upright(*_read(path))
    except Image.UnidentifiedImageError as error:
        raise HandvizError(f"{path}: not an image in a known format", ErrorCode.UNSUPPORTED_FORMAT) from error
    except MemoryError as error:
        raise HandvizError(f"{path}: too large for this machine's memory", ErrorCode.TOO_LARGE) from error
    except FileNotFoundError as error:
        raise HandvizError(f"{path}: there is no such file", ErrorCode.FILE_MISSING) from error
    except READ_ERRORS as error:
        raise HandvizError(f"{path}: the image cannot be read ({error})", ErrorCode.FILE_DAMAGED) from error


def opened_image(path: Path) -> Image.Image:
    """Open an image by Pillow, without decoding it: only formats that handviz reads, with harmless tags.

    Raises what ``READ_ERRORS`` lists, and HandvizError for tags that take too much memory.
    """
    head = head_of(path)
    if head[:2] in (b"II", b"MM"):
        deep_images.tiff_layout(path)
    if head[:3] == b"\xff\xd8\xff":
        with path.open("rb") as file:
            _check_exif(path, tags.jpeg_exif(file))
    formats = ("TGA",) if path.suffix.lower() == ".tga" and not kind_of_head(head) else FORMATS
    try:
        image = Image.open(path, formats=formats)
    except KeyError as error:  # a format that this build of Pillow lacks
        raise Image.UnidentifiedImageError(f"{path} is of no known format") from error
    try:
        _check_exif(path, image.info.get("exif"))
    except HandvizError:
        image.close()
        raise
    return image


def _check_exif(path: Path, exif: Any) -> None:
    if isinstance(exif, bytes) and not tags.exif_is_harmless(exif):
        raise HandvizError(f"{path}: its EXIF data take too much memory: remove them", ErrorCode.TOO_LARGE)


def _read(path: Path) -> tuple[NDArray[np.uint8], int]:
    """Return (H, W, 3) RGB as it is stored, and its EXIF orientation."""
    layout = deep_images.tiff_layout(path) if head_of(path)[:2] in (b"II", b"MM") else None
    try:
        if layout is not None and layout.needs_opencv:
            raise Image.UnidentifiedImageError
        with opened_image(path) as image:
            kind = "progressive" if image.info.get("progressive") else str(image.format)
            check_pixels(path, *image.size, bytes_per_px=BYTES_PER_PX.get(kind, 0))
            image.load()
            _check_exif(path, image.info.get("exif"))
            orientation = int(image.getexif().get(ORIENTATION, 1))
            rgb = rgb_from_image(image, white_is_zero=layout is not None and layout.white_is_zero)
            bits = layout.bits if layout is not None else int(image.format == "PNG" and _png_bits(path))
    except Image.UnidentifiedImageError:
        if layout is None or layout.bits <= 8:
            raise
        check_pixels(path, layout.width, layout.height, 2 * layout.bytes_per_px + 3)
        return deep_images.read_deep(path, layout), layout.orientation
    # Pillow keeps the upper 8 of 16 bits: of less deep samples little is left there.
    if bits == 16 and rgb.size and int(rgb.max()) < 1 << 6 and image.mode in ("RGB", "RGBA"):
        check_pixels(path, *image.size, bytes_per_px=2 * 8 + 3)
        rgb = deep_images.read_deep(path, layout)
        # Pillow has turned a TIFF already.
        orientation = layout.orientation if layout is not None else orientation
    return rgb, orientation


def _png_bits(path: Path) -> int:
    return head_of(path)[24]


def _read_heic(path: Path) -> NDArray[np.uint8]:
    found = open_heic(path)
    width, height = found.size
    check_pixels(path, width, height, BYTES_PER_PX["HEIC"])
    if found.mode == "RGB":
        return np.array(found, dtype=np.uint8)
    return rgb_from_image(found.to_pillow())


def upright(rgb: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn and mirror an image (H, W, 3) as EXIF's orientation, 1 to 8, says."""
    if orientation in (5, 6, 7, 8):
        rgb = rgb.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(rgb[::rows, ::columns])


def image_kind(path: Path) -> Literal["", "still", "animated"]:
    """Return whether the file's content is an image; empty if it is something else, or damaged from its beginning."""
    kind = kind_of(path)
    if kind in ("heic", "clip", "raw", "other"):
        return "still" if kind == "heic" else ""
    try:
        with opened_image(path) as image:
            is_animated = image.format in ANIMATED and getattr(image, "is_animated", False)
            return "animated" if is_animated else "still"
    except (*READ_ERRORS, HandvizError):
        # Pillow knows few TIFFs of floats.
        return "still" if kind == "image" and head_of(path)[:2] in (b"II", b"MM") else ""


def image_frame(path: Path, number: int = 0) -> Frame:
    """Read an image with what its file says of the camera; HandvizError with the reason if it cannot be read."""
    image = read_image(path)
    height, width = image.shape[:2]
    focal_px = exif_focal_px(path, width, height)
    return Frame(number, image, now_ms(), path.name, note=note_on_pages(path), exif_focal_px=focal_px)


def note_on_pages(path: Path) -> str:
    """Return a message if ``read_image`` uses only the first of several frames or pages, else an empty text."""
    try:
        with opened_image(path) as image:
            # The further images of an MPO are other views or sizes of the same.
            count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    except (*READ_ERRORS, HandvizError):
        return ""
    return f"{path.name}: only the first of {count} frames is used" if count > 1 else ""


def note_on_light(image: NDArray[np.uint8]) -> str:
    """Return that an image (H, W, 3) is nearly black or of one colour, where it is; else an empty text."""
    if not image.size or ((brightest := int(image.max())) > DARKEST and np.ptp(image[..., 1]) > EVENEST):
        return ""
    if brightest <= DARKEST:
        return f"nearly black, its brightest level is {brightest} of 255"
    is_even = all(int(np.ptp(image[..., channel])) <= EVENEST for channel in range(3))
    return "all of one colour" if is_even else ""


def check_pixels(path: Path, width: int, height: int, bytes_per_px: int = 0) -> None:
    """Raise HandvizError if an image of this size is too large to decode.

    ``bytes_per_px``: what decoding takes for each pixel, where that is more than usual.
    """
    most = min(MAX_IMAGE_PX, MAX_DECODING_BYTES // max(bytes_per_px, 1))
    if width * height > most:
        raise HandvizError(
            f"{path}: {width} x {height} pixels are more than the {most / 1_000_000:.3g} million "
            "allowed: make it smaller first",
            ErrorCode.TOO_LARGE,
        )


def rgb_from_image(image: Image.Image, *, white_is_zero: bool = False) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB, alpha over black; ``white_is_zero``: deep grey is stored as a negative."""
    rgb = np.empty((image.height, image.width, 3), np.uint8)
    is_deep = image.mode.startswith("I") or image.mode == "F"
    white = white_of(np.asarray(part) for _, part in _parts(image)) if is_deep else 0.0
    for top, part in _parts(image):
        if is_deep:
            grey = eight_bit(np.asarray(part), white)
            levels = (255 - grey if white_is_zero else grey)[:, :, None]
        else:
            levels = np.asarray(_rgb_part(part))
        rgb[top : top + part.height] = levels
    return rgb


def _parts(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield the image row by row: the first row of a part, and the part."""
    rows = max(1, PART_PX // max(1, image.width))
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _rgb_part(image: Image.Image) -> Image.Image:
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        found = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        return found if found is not None else image
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        background = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        image = Image.alpha_composite(background, layer)
    return image.convert("RGB")


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
        with opened_image(path) as image:
            if image.format not in ("JPEG", "MPO"):
                return None
            check_pixels(path, *image.size)
            image.draft("RGB", (2 * side_px, 2 * side_px))
            image.load()
            return ImageOps.exif_transpose(image)
    # Reading the whole image then reports the error.
    except (*READ_ERRORS, HandvizError):
        return None


def thumbnail_or_none(path: Path, side_px: int) -> NDArray[np.uint8] | None:
    """Return ``read_thumbnail``, or None if the image cannot be read."""
    try:
        return read_thumbnail(path, side_px)
    except HandvizError:
        return None


def equivalent_focal_mm(path: Path) -> float | None:
    """Return EXIF's focal length "in 35 mm film"; None if the image has none, or an impossible one."""
    stated = _exif_part(path)
    try:
        millimetres = float(stated.get(FOCAL_LENGTH_IN_35MM) or 0.0)
    except READ_ERRORS:
        return None
    return millimetres if FOCAL_LIMITS_MM[0] <= millimetres <= FOCAL_LIMITS_MM[1] else None


def exif_focal_px(path: Path, width: int, height: int) -> float | None:
    """Return the focal length that EXIF states for the whole image, in pixels of this size; None without one.

    Also None if EXIF states a size of another aspect: then the image was cropped afterwards.
    """
    millimetres, stated = equivalent_focal_mm(path), _exif_part(path)
    if millimetres is None:
        return None
    try:
        size = sorted(float(stated.get(number) or 0) for number in (EXIF_WIDTH, EXIF_HEIGHT))
    except READ_ERRORS:
        return None
    shorter, longer = sorted((width, height))
    if size[0] > 0 and abs(size[1] / size[0] * shorter / longer - 1) > SAME_ASPECT:
        return None
    return focal_of_equivalent_px(millimetres, width, height)


def _exif_part(path: Path) -> Mapping[int, Any]:
    """Return what EXIF says of the photograph; empty if there is none, or if it is damaged."""
    try:
        if kind_of(path) == "heic":
            exif, data = Image.Exif(), open_heic(path).info.get("exif")
            _check_exif(path, data)
            exif.load(data or b"")
            return exif.get_ifd(EXIF_PART)
        with opened_image(path) as image:
            # Pillow would decode the whole of a PNG to look for what may come after the pixels.
            is_empty = image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys()
            return {} if is_empty else image.getexif().get_ifd(EXIF_PART)
    except (*READ_ERRORS, HandvizError):
        return {}
