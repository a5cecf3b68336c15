"""HEIC and HEIF, as phones write them, through pi-heif, which is imported only when such a file is met.

libheif joins the tiles and turns the image as the file says; EXIF's orientation repeats that and is not used.
"""

from pathlib import Path
from typing import Any

from handviz.core.errors import ErrorCode, HandvizError

BOXES = (b"ftyp", b"meta", b"mdat", b"moov", b"free", b"skip", b"uuid")


def open_heic(path: Path) -> Any:
    """Return pi-heif's object of the main image, not decoded yet; HandvizError if pi-heif is missing."""
    try:
        import pi_heif
    except ImportError as error:
        raise HandvizError(
            f"{path}: HEIC is read by pi-heif, which is not installed: pip install pi-heif, or convert it to JPEG",
            ErrorCode.PACKAGE_MISSING,
        ) from error
    if not is_whole(path):
        raise HandvizError(f"{path}: the file ends too early: copy it again", ErrorCode.FILE_DAMAGED)
    found = pi_heif.open_heif(path)
    return found[found.primary_index]


def is_whole(path: Path) -> bool:
    """Return whether the boxes of the image end within the file: libheif leaves tiles that are missing black.

    What follows them, such as the clip of a live photograph, does not matter.
    """
    at, end = 0, path.stat().st_size
    with path.open("rb") as file:
        while at + 8 <= end:
            file.seek(at)
            head = file.read(16)
            size = int.from_bytes(head[:4], "big")
            size = int.from_bytes(head[8:], "big") if size == 1 else size or end - at
            if size < 8 or head[4:8] not in BOXES:
                return True
            at += size
    return at <= end
