"""What a photograph says of the lens that took it."""

from pathlib import Path

from PIL import Image

EXIF_PART, FOCAL_LENGTH_IN_35MM = 0x8769, 0xA405
LIMITS_MM = (4.0, 2000.0)


def equivalent_focal_mm(path: Path) -> float | None:
    """EXIF's focal length "in 35 mm film"; None where the picture has none, or nonsense."""
    try:
        with Image.open(path) as image:
            value = image.getexif().get_ifd(EXIF_PART).get(FOCAL_LENGTH_IN_35MM)
            millimetres = float(value) if value is not None else 0.0
    # Pillow's readers raise whatever a broken file makes them stumble over.
    except (OSError, ValueError, SyntaxError, TypeError, KeyError, OverflowError, RuntimeError, IndexError, EOFError):
        return None
    return millimetres if LIMITS_MM[0] <= millimetres <= LIMITS_MM[1] else None
