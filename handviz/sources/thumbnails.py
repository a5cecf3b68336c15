"""Small versions of pictures, read as cheaply as their formats allow."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from handviz.core.errors import HandvizError
from handviz.sources.images import read_image


def read_thumbnail(path: Path, side_px: int) -> NDArray[np.uint8]:
    """(H, W, 3) RGB, upright, no side above ``side_px``; raises HandvizError with the reason."""
    image = _drafted(path, side_px)
    if image is None:
        image = Image.fromarray(read_image(path))
    image.thumbnail((side_px, side_px), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.array(image.convert("RGB"))


def _drafted(path: Path, side_px: int) -> Image.Image | None:
    """A JPEG, decoded no larger than needed; None for anything else, or where that fails."""
    try:
        with Image.open(path) as image:
            if image.format != "JPEG":
                return None
            image.draft("RGB", (2 * side_px, 2 * side_px))
            image.load()
            return ImageOps.exif_transpose(image)
    # Whatever is wrong with it, reading it as a whole says it in a sentence.
    except (OSError, ValueError, SyntaxError, IndexError, TypeError, KeyError, RuntimeError):
        return None


def thumbnail_or_none(path: Path, side_px: int) -> NDArray[np.uint8] | None:
    """``read_thumbnail``, None for what cannot be read."""
    try:
        return read_thumbnail(path, side_px)
    except HandvizError:
        return None
