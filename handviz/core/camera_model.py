"""What is known of a camera's intrinsics and of a hand's size, which give pixels their metric scale."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import (
    DEFAULT_FIELD_OF_VIEW_DEG,
    FOCAL_STD_FRACTIONS,
    intrinsics_from_field_of_view,
    rescaled,
    rotated,
)
from handviz.core.records import Frame, Intrinsics, IntrinsicsOrigin

CameraModelMode = Literal["assumed", "angle", "intrinsics"]
AngleSide = Literal["longer", "horizontal", "vertical", "diagonal"]
HandMeasure = Literal["none", "length", "breadth"]

ANGLE_LIMITS_DEG = (5.0, 170.0)
FILM_DIAGONAL_MM = 43.27
"""Diagonal of the 24 x 36 mm film that equivalent focal lengths refer to."""
SAME_ASPECT = 0.01
ORIGIN_TEXTS: dict[IntrinsicsOrigin, str] = {
    "assumed": "assumed",
    "exif": "from the image's EXIF",
    "stated": "as stated",
    "calibrated": "measured",
}
SIDE_TEXTS: dict[AngleSide, str] = {
    "longer": "the longer side",
    "horizontal": "the width",
    "vertical": "the height",
    "diagonal": "the diagonal",
}
HAND_LIMITS_MM: dict[HandMeasure, tuple[float, float]] = {
    "none": (1.0, 1000.0), "length": (80.0, 280.0), "breadth": (35.0, 130.0)
}  # fmt: skip
HAND_STD_LIMITS_MM = (0.5, 20.0)


@dataclass(frozen=True)
class CameraModel:
    """What the user knows of a camera, for images of any size."""

    mode: CameraModelMode = "assumed"
    field_of_view_deg: float = DEFAULT_FIELD_OF_VIEW_DEG
    side: AngleSide = "longer"
    """The side of the image that the field of view spans."""
    known: Intrinsics | None = None
    """In mode ``intrinsics``: K of images of ``known_size``."""
    known_size: tuple[int, int] = (0, 0)
    """(width, height)"""

    def __post_init__(self) -> None:
        """Raise HandvizError if no camera has these values."""
        low, high = ANGLE_LIMITS_DEG
        if not low <= self.field_of_view_deg <= high:
            raise HandvizError(
                f"a field of view of {self.field_of_view_deg:g}° is not between {low:g}° and {high:g}°",
                ErrorCode.BAD_VALUE,
            )
        if self.mode == "intrinsics":
            check_intrinsics(self.known, self.known_size)

    def intrinsics_for(self, width: int, height: int) -> Intrinsics:
        """Return K for images of this size."""
        if self.mode == "assumed":
            return intrinsics_from_field_of_view(width, height, DEFAULT_FIELD_OF_VIEW_DEG, origin="assumed")
        if self.mode == "angle":
            longer_deg = _over_the_longer_side(self.field_of_view_deg, self.side, width, height)
            return intrinsics_from_field_of_view(width, height, longer_deg)
        assert self.known is not None
        return _of_another_size(self.known, self.known_size, (width, height))

    def intrinsics_of(self, width: int, height: int, rotation_deg: int = 0) -> Intrinsics:
        """Return K for images of this size that were rotated clockwise after the camera took them."""
        taken = (height, width) if rotation_deg % 180 else (width, height)
        return rotated(self.intrinsics_for(*taken), rotation_deg // 90, taken)

    def caveat_for(self, width: int, height: int) -> str:
        """Return a warning if K is uncertain at this size, else an empty text."""
        if self.mode != "intrinsics" or _same_aspect(self._rotated_size(width, height), (width, height)):
            return ""
        known = "x".join(map(str, self.known_size))
        return (
            f"The camera was calibrated with images of {known}; images of {width}x{height} are assumed to show their "
            "centre. Calibrate it at this size to be sure."
        )

    def _rotated_size(self, width: int, height: int) -> tuple[int, int]:
        return self.known_size[::-1] if _is_rotated(self.known_size, (width, height)) else self.known_size


ASSUMED_CAMERA = CameraModel()


@dataclass(frozen=True)
class HandSize:
    """The size of a person's hand, measured with a ruler."""

    measure: HandMeasure = "none"
    """``length``: crease of the wrist to tip of the middle finger; ``breadth``: palm across the four knuckles."""
    millimetres: float = 185.0
    std_mm: float = 3.0
    """Standard deviation of the measurement."""

    def __post_init__(self) -> None:
        """Raise HandvizError if no hand has this size."""
        low, high = HAND_LIMITS_MM[self.measure]
        if not low <= self.millimetres <= high:
            what = "palm" if self.measure == "breadth" else "hand"
            raise HandvizError(
                f"a {what} of {self.millimetres:g} mm is not between {low:g} and {high:g} mm", ErrorCode.BAD_VALUE
            )
        if not HAND_STD_LIMITS_MM[0] <= self.std_mm <= HAND_STD_LIMITS_MM[1]:
            raise HandvizError(
                "the standard deviation of the hand size has to be from {:g} to {:g} mm".format(*HAND_STD_LIMITS_MM),
                ErrorCode.BAD_VALUE,
            )


UNMEASURED = HandSize()


def check_intrinsics(known: Intrinsics | None, size: tuple[int, int]) -> None:
    """Raise HandvizError if no camera of images of ``size`` has this K."""
    if known is None or min(size) < 16 or max(size) > 100_000:
        raise HandvizError("intrinsics need the size of their images, at least 16 x 16 pixels", ErrorCode.BAD_VALUE)
    width, height = size
    focals = known.focals_px
    if not (0.1 * max(size) <= focals.min() and focals.max() <= 100 * max(size)):
        raise HandvizError(
            f"a focal length of {focals[0]:g} x {focals[1]:g} px does not fit images of {width} x {height}",
            ErrorCode.BAD_VALUE,
        )
    if not 0.5 <= focals[0] / focals[1] <= 2:
        raise HandvizError("fx and fy differ by more than a factor of 2: is one of them wrong?", ErrorCode.BAD_VALUE)
    if not (0 <= known.centre_x_px <= width and 0 <= known.centre_y_px <= height):
        raise HandvizError(
            f"the centre ({known.centre_x_px:g}, {known.centre_y_px:g}) lies outside of {width} x {height} pixels",
            ErrorCode.BAD_VALUE,
        )


def intrinsics_from_numbers(numbers: Any) -> Intrinsics:
    """Return the camera of K (3, 3) or of (fx, fy, cx, cy), in pixels; HandvizError if it is neither."""
    expected = "intrinsics are K (3, 3) or (fx, fy, cx, cy), in pixels"
    try:
        values = np.asarray(numbers, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise HandvizError(f"{expected}, not {type(numbers).__name__}", ErrorCode.WRONG_SHAPE) from error
    if values.shape not in ((4,), (3, 3)):
        raise HandvizError(f"{expected}, not an array of shape {values.shape}", ErrorCode.WRONG_SHAPE)
    if not np.isfinite(values).all():
        raise HandvizError(f"{expected}, in finite numbers", ErrorCode.NOT_FINITE)
    fx, fy, cx, cy = map(float, values if values.shape == (4,) else values[(0, 1, 0, 1), (0, 1, 2, 2)])
    known = Intrinsics(fx, cx, cy, fy)
    if values.shape == (3, 3) and not np.allclose(values, known.matrix):
        raise HandvizError(
            "K has other values than fx, fy, cx, cy and 1: undistort the images, or leave the skew out",
            ErrorCode.BAD_VALUE,
        )
    return known


def angle_of_equivalent_deg(equivalent_mm: float) -> float:
    """Return the diagonal field of view of a focal length "in 35 mm"."""
    return math.degrees(2 * math.atan(FILM_DIAGONAL_MM / 2 / equivalent_mm))


def focal_of_equivalent_px(equivalent_mm: float, width: int, height: int) -> float:
    """Return the focal length in pixels of an image of this size, from one "in 35 mm"."""
    return equivalent_mm * math.hypot(width, height) / FILM_DIAGONAL_MM


def intrinsics_of_frame(camera_model: CameraModel, frame: Frame) -> Intrinsics:
    """Return K of a frame: by its own EXIF if nothing else is known of the camera."""
    height, width = frame.image.shape[:2]
    if camera_model.mode == "assumed" and frame.exif_focal_px is not None:
        return intrinsics_of_exif(frame.exif_focal_px, width, height)
    return camera_model.intrinsics_of(width, height, frame.rotation_deg)


def intrinsics_of_exif(focal_px: float, width: int, height: int) -> Intrinsics:
    """Return the camera with this focal length and its principal point in the centre."""
    std_fraction = FOCAL_STD_FRACTIONS["exif"]
    return Intrinsics(focal_px, width / 2, height / 2, origin="exif", focal_std_fraction=std_fraction)


def camera_model_in_words(camera_model: CameraModel) -> str:
    """Return a short description of what is known of the camera."""
    if camera_model.mode == "assumed":
        return f"assumed {camera_model.field_of_view_deg:.0f}° field of view"
    if camera_model.mode == "angle":
        return f"{camera_model.field_of_view_deg:.4g}° over {SIDE_TEXTS[camera_model.side]}"
    assert camera_model.known is not None
    size = "x".join(map(str, camera_model.known_size))
    return f"fx {camera_model.known.focal_px:.0f} px, {ORIGIN_TEXTS[camera_model.known.origin]} at {size}"


def angles_deg(intrinsics: Intrinsics, width: int, height: int) -> tuple[float, float, float]:
    """Return the horizontal, vertical and diagonal field of view of an image of this size."""
    focal_x, focal_y = intrinsics.focals_px
    across, down = width / focal_x, height / focal_y
    angles = (2 * math.atan(extent / 2) for extent in (across, down, math.hypot(across, down)))
    horizontal, vertical, diagonal = (math.degrees(angle) for angle in angles)
    return horizontal, vertical, diagonal


def _over_the_longer_side(angle_deg: float, side: AngleSide, width: int, height: int) -> float:
    extents = {
        "longer": max(width, height), "horizontal": width, "vertical": height, "diagonal": math.hypot(width, height)
    }  # fmt: skip
    tangent = math.tan(math.radians(angle_deg) / 2) * max(width, height) / extents[side]
    return math.degrees(2 * math.atan(tangent))


def _is_rotated(known: tuple[int, int], size: tuple[int, int]) -> bool:
    """Return whether one size is portrait and the other landscape."""
    return (known[0] - known[1]) * (size[0] - size[1]) < 0


def _same_aspect(known: tuple[int, int], size: tuple[int, int]) -> bool:
    return abs(math.log(known[0] * size[1] / (known[1] * size[0]))) < SAME_ASPECT


def _of_another_size(known: Intrinsics, known_size: tuple[int, int], size: tuple[int, int]) -> Intrinsics:
    """Return K for the same camera's images of ``size``; images of another aspect are assumed to show the centre.

    Cameras differ in how they make 4:3 of 16:9, so half the difference between the two ways is added to the standard
    deviation.
    """
    if _is_rotated(known_size, size):
        known, known_size = rotated(known, 1, known_size), (known_size[1], known_size[0])
    factors = size[0] / known_size[0], size[1] / known_size[1]
    if _same_aspect(known_size, size):
        return rescaled(known, *factors)
    factor = max(factors)
    uncertainty = abs(math.log(factors[0] / factors[1])) / 2
    scaled = rescaled(known, factor, factor)
    cut_x, cut_y = ((factor * full - new) / 2 for full, new in zip(known_size, size, strict=True))
    return replace(
        scaled,
        centre_x_px=scaled.centre_x_px - cut_x,
        centre_y_px=scaled.centre_y_px - cut_y,
        focal_std_fraction=math.hypot(known.focal_std_fraction, uncertainty),
    )


def camera_model_of_intrinsics(known: Intrinsics, size: tuple[int, int]) -> CameraModel:
    """Return the camera model of a stated or calibrated K for images of ``size``; HandvizError if K is impossible."""
    if known.focal_std_fraction <= 0:
        known = replace(known, focal_std_fraction=FOCAL_STD_FRACTIONS[known.origin])
    return CameraModel(mode="intrinsics", known=known, known_size=size)
