"""HEIC and HEIF, as phones write them, through pi-heif, which is imported only when such a file is met.

libheif joins the tiles and turns the image as the file says; EXIF's orientation repeats that and is not used.
"""

from pathlib import Path
from typing import Any

from handviz.core.errors import ErrorCode, HandvizError


def open_heic(path: Path) -> Any:
    """Return pi-heif's object of the main image, not decoded yet; HandvizError if pi-heif is missing."""
    try:
        import pi_heif
    except ImportError as error:
        raise HandvizError(
            f"{path}: HEIC is read by pi-heif, which is not installed: pip install pi-heif, or convert it to JPEG",
            ErrorCode.PACKAGE_MISSING,
        ) from error
    found = pi_heif.open_heif(path)
    return found[found.primary_index]
