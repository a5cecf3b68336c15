"""Camera models as text: handviz's JSON, and the YAML of OpenCV and ROS. Files are untrusted: everything is checked."""

import json
import math
import re
from pathlib import Path
from typing import Any, get_args

from handviz.core.camera_model import (
    AngleSide,
    CameraModel,
    CameraModelMode,
    HandMeasure,
    HandSize,
    camera_model_of_intrinsics,
)
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import FOCAL_STD_FRACTIONS
from handviz.core.records import Intrinsics, IntrinsicsOrigin

FORMAT = "handviz lens"
MAX_FILE_BYTES = 1_000_000
HALF_PIXEL = 0.5
"""OpenCV's pixel centres lie at whole numbers; those of handviz, also in its files, at halves."""
MATRIX_DATA = re.compile(r"\bdata:\s{0,100}\[([^\[\]]{0,2000})\]")
EXPECTED = "expected a camera saved by handviz (JSON), or camera_matrix with image_width and image_height (OpenCV YAML)"


def camera_model_text(camera_model: CameraModel) -> str:
    """Return the camera model as JSON."""
    entry: dict[str, Any] = {"format": FORMAT, "mode": camera_model.mode}
    if camera_model.mode == "angle":
        entry |= {"field_of_view_deg": camera_model.field_of_view_deg, "over": camera_model.side}
    if camera_model.mode == "intrinsics" and camera_model.known is not None:
        fx, fy = camera_model.known.focals_px
        entry |= {
            "width": camera_model.known_size[0],
            "height": camera_model.known_size[1],
            "fx": float(fx),
            "fy": float(fy),
            "cx": camera_model.known.centre_x_px,
            "cy": camera_model.known.centre_y_px,
            "origin": camera_model.known.origin,
            "focal_std_share": camera_model.known.focal_std_fraction,
        }
    return json.dumps(entry, indent=1) + "\n"


def opencv_text(camera_model: CameraModel) -> str:
    """Return K as OpenCV's YAML; HandvizError if only the field of view is known."""
    known = camera_model.known
    if camera_model.mode != "intrinsics" or known is None:
        raise HandvizError(
            "only fx, fy, cx and cy can be written as OpenCV's YAML; save this camera as JSON",
            ErrorCode.UNSUPPORTED_FORMAT,
        )
    matrix = known.matrix - [[0, 0, HALF_PIXEL], [0, 0, HALF_PIXEL], [0, 0, 0]]
    data = ", ".join(f"{value:.9g}" for value in matrix.ravel())
    width, height = camera_model.known_size
    return (
        f"%YAML:1.0\n---\nimage_width: {width}\nimage_height: {height}\ncamera_matrix: !!opencv-matrix\n"
        f"   rows: 3\n   cols: 3\n   dt: d\n   data: [ {data} ]\ndistortion_coefficients: !!opencv-matrix\n"
        "   rows: 1\n   cols: 5\n   dt: d\n   data: [ 0., 0., 0., 0., 0. ]\n"
    )


def read_camera_file(path: Path) -> CameraModel:
    """Read a camera model from a file of either format; HandvizError if it contains none."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise HandvizError(f"{path} cannot be read: {error}", ErrorCode.FILE_UNREADABLE) from error
    if len(content) > MAX_FILE_BYTES:
        raise HandvizError(f"{path} is too large for a camera file; {EXPECTED}", ErrorCode.TOO_LARGE)
    try:
        return camera_model_from_text(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise HandvizError(f"{path} is not a text file; {EXPECTED}", ErrorCode.FILE_DAMAGED) from error
    except HandvizError as error:
        raise HandvizError(f"{path}: {error}", error.code) from error


def camera_model_from_text(text: str) -> CameraModel:
    """Parse what ``camera_model_text`` or OpenCV wrote; HandvizError if it is neither."""
    if "camera_matrix" in text and not text.lstrip().startswith("{"):
        return _from_yaml(text)
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HandvizError(EXPECTED, ErrorCode.FILE_DAMAGED) from error
    if not isinstance(entry, dict):
        raise HandvizError(EXPECTED, ErrorCode.FILE_DAMAGED)
    return _from_entry(entry)


def _from_entry(entry: dict[str, Any]) -> CameraModel:
    mode = entry.get("mode", "intrinsics" if "fx" in entry else None)
    if mode not in get_args(CameraModelMode):
        raise HandvizError(EXPECTED, ErrorCode.FILE_DAMAGED)
    if mode == "assumed":
        return CameraModel()
    if mode == "angle":
        side = entry.get("over", "longer")
        if side not in get_args(AngleSide):
            raise HandvizError(f"over has to be one of {', '.join(get_args(AngleSide))}", ErrorCode.UNKNOWN_NAME)
        return CameraModel("angle", _number(entry, "field_of_view_deg"), side)
    origin: IntrinsicsOrigin = "calibrated" if entry.get("origin") == "calibrated" else "stated"
    fraction = _number(entry, "focal_std_share", FOCAL_STD_FRACTIONS[origin])
    size = _size(_number(entry, "width"), _number(entry, "height"))
    fx = _number(entry, "fx")
    numbers = fx, _number(entry, "cx", size[0] / 2), _number(entry, "cy", size[1] / 2), _number(entry, "fy", fx)
    return camera_model_of_intrinsics(
        Intrinsics(*numbers, origin=origin, focal_std_fraction=min(max(fraction, 0.0), 1.0)), size
    )


def _from_yaml(text: str) -> CameraModel:
    """Read three entries by regular expressions: no YAML parser, no aliases, no tags."""
    begin = re.search(r"^camera_matrix:", text, re.MULTILINE)
    # The patterns are bounded, so that a hostile file cannot take minutes.
    found = MATRIX_DATA.search(text, begin.end()) if begin is not None else None
    width, height = (
        re.search(rf"^image_{name}:\s*(\d{{1,9}})\s*$", text, re.MULTILINE) for name in ("width", "height")
    )
    if found is None or width is None or height is None:
        raise HandvizError(EXPECTED, ErrorCode.FILE_DAMAGED)
    try:
        matrix = [float(number) for number in found[1].split(",")]
    except ValueError as error:
        raise HandvizError("the camera_matrix contains a value that is not a number", ErrorCode.FILE_DAMAGED) from error
    if len(matrix) != 9 or not all(map(math.isfinite, matrix)):
        raise HandvizError("the camera_matrix has to contain nine finite numbers", ErrorCode.FILE_DAMAGED)
    size = _size(float(width[1]), float(height[1]))
    centre = matrix[2] + HALF_PIXEL, matrix[5] + HALF_PIXEL
    known = Intrinsics(matrix[0], *centre, matrix[4], origin="calibrated")
    return camera_model_of_intrinsics(known, size)


def hand_size_text(size: HandSize) -> str:
    """Return the hand size as JSON."""
    return json.dumps({"measure": size.measure, "millimetres": size.millimetres, "std_mm": size.std_mm})


def hand_size_from_text(text: str) -> HandSize:
    """Parse what ``hand_size_text`` wrote; HandvizError if it is something else."""
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HandvizError("not the size of a hand", ErrorCode.FILE_DAMAGED) from error
    if not isinstance(entry, dict) or entry.get("measure") not in get_args(HandMeasure):
        raise HandvizError("not the size of a hand", ErrorCode.FILE_DAMAGED)
    return HandSize(entry["measure"], _number(entry, "millimetres"), _number(entry, "std_mm"))


def _number(entry: dict[str, Any], name: str, default: float | None = None) -> float:
    value = entry.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
        raise HandvizError(f"{name} has to be a number", ErrorCode.BAD_VALUE)
    return float(value)


def _size(width: float, height: float) -> tuple[int, int]:
    if width != int(width) or height != int(height):
        raise HandvizError("width and height have to be whole numbers of pixels", ErrorCode.BAD_VALUE)
    return int(width), int(height)
