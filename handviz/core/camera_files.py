"""Camera models as text: handviz's JSON, OpenCV's YAML, XML and JSON, and ROS's YAML.

Files are untrusted: everything is checked. They are not read by ``cv2.FileStorage``, which ends the process at nested
brackets and does not return from base64 (OpenCV 5.0; tests/core/test_camera_model.py), nor by pydantic, because the
settings contain a camera, and the window starts without that library.
"""

import json
import math
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np

from handviz.core.camera_model import (
    AngleSide,
    CameraModel,
    CameraModelMode,
    HandMeasure,
    HandSize,
    camera_model_of_intrinsics,
)
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import read_limited
from handviz.core.geometry import FOCAL_STD_FRACTIONS
from handviz.core.records import Intrinsics, IntrinsicsOrigin

FORMAT = "handviz lens"
MAX_FILE_BYTES = 1_000_000
HALF_PIXEL = 0.5
"""OpenCV's pixel centres lie at whole numbers; those of handviz, also in its files, at halves."""
YAML = {
    "matrix": r"^camera_matrix:",
    "data": r"\bdata:\s{0,100}\[([^\[\]]{0,2000})\]",
    "size": r"^image_%s:\s{0,100}(\d{1,9})\s{0,100}$",
}
XML = {
    "matrix": r"<camera_matrix\b",
    "data": r"<data>([^<]{0,2000})</data>",
    "size": r"<image_%s>\s{0,100}(\d{1,9})\s{0,100}<",
}
EXPECTED = "expected a camera saved by handviz, or camera_matrix with image_width and image_height from OpenCV or ROS"


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
    import cv2  # here, because settings are read before the window is shown

    storage = cv2.FileStorage(".yml", cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
    width, height = camera_model.known_size
    storage.write("image_width", width)
    storage.write("image_height", height)
    storage.write("camera_matrix", known.matrix - [[0, 0, HALF_PIXEL], [0, 0, HALF_PIXEL], [0, 0, 0]])
    storage.write("distortion_coefficients", np.zeros((1, 5)))
    return str(storage.releaseAndGetString())


def read_camera_file(path: Path) -> CameraModel:
    """Read a camera model from a file of either format; HandvizError if it contains none."""
    content = read_limited(path, MAX_FILE_BYTES, EXPECTED)
    try:
        return camera_model_from_text(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise HandvizError(f"{path} is not a text file; {EXPECTED}", ErrorCode.FILE_DAMAGED) from error
    except HandvizError as error:
        raise HandvizError(f"{path}: {error}", error.code) from error


def camera_model_from_text(text: str) -> CameraModel:
    """Parse what ``camera_model_text`` or OpenCV wrote; HandvizError if it is neither."""
    if text.lstrip().startswith("<"):
        return _from_opencv(text, XML)
    if "camera_matrix" in text and not text.lstrip().startswith("{"):
        return _from_opencv(text, YAML)
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HandvizError(EXPECTED, ErrorCode.FILE_DAMAGED) from error
    if not isinstance(entry, dict):
        raise HandvizError(EXPECTED, ErrorCode.FILE_DAMAGED)
    return _from_opencv_json(entry) if "camera_matrix" in entry else _from_entry(entry)


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


def _from_opencv(text: str, patterns: dict[str, str]) -> CameraModel:
    """Read three entries of YAML or XML by bounded regular expressions, so that a hostile file cannot take minutes."""
    begin = re.search(patterns["matrix"], text, re.MULTILINE)
    data = re.compile(patterns["data"]).search(text, begin.end()) if begin is not None else None
    size = [re.search(patterns["size"] % name, text, re.MULTILINE) for name in ("width", "height")]
    if data is None or size[0] is None or size[1] is None:
        raise HandvizError(EXPECTED, ErrorCode.FILE_DAMAGED)
    try:
        matrix = [float(number) for number in data[1].replace(",", " ").split()]
    except ValueError as error:
        raise HandvizError("the camera_matrix contains a value that is not a number", ErrorCode.FILE_DAMAGED) from error
    return _calibrated(matrix, float(size[0][1]), float(size[1][1]))


def _from_opencv_json(entry: dict[str, Any]) -> CameraModel:
    matrix = entry["camera_matrix"].get("data") if isinstance(entry["camera_matrix"], dict) else None
    if not isinstance(matrix, list):
        raise HandvizError(EXPECTED, ErrorCode.FILE_DAMAGED)
    numbers = [_number({"camera_matrix": number}, "camera_matrix") for number in matrix]
    return _calibrated(numbers, _number(entry, "image_width"), _number(entry, "image_height"))


def _calibrated(matrix: list[float], width: float, height: float) -> CameraModel:
    if len(matrix) != 9 or not all(map(math.isfinite, matrix)):
        raise HandvizError("the camera_matrix has to contain nine finite numbers", ErrorCode.FILE_DAMAGED)
    centre = matrix[2] + HALF_PIXEL, matrix[5] + HALF_PIXEL
    known = Intrinsics(matrix[0], *centre, matrix[4], origin="calibrated")
    return camera_model_of_intrinsics(known, _size(width, height))


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
