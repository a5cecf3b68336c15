"""Rigs: two to eight calibrated cameras, live or with their clips or folders, as a file ``RIG.json`` states them.

Files are untrusted: everything is checked before any source is opened. They are not read by pydantic, because entries
may have one of two forms, and because entries that are not known have to be named.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NoReturn

import cv2
import numpy as np

from handviz.core.camera_files import HALF_PIXEL, read_camera_file
from handviz.core.camera_model import CameraModel, camera_model_of_intrinsics, intrinsics_from_numbers
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import read_limited, write_files
from handviz.core.multiview import CalibratedView
from handviz.core.records import FloatArray, Frame
from handviz.sources.source import camera_number

FORMAT, VERSION = "handviz rig", 1
MIN_VIEWS, MAX_VIEWS = 2, 8
MAX_RIG_BYTES = 1_000_000
MAX_NAME, MAX_PATH, MAX_SHOWN = 60, 500, 60
MAX_DISTANCE_M, MAX_OFFSET_MS = 100.0, 24 * 3600 * 1000.0
ROTATION_TOLERANCE = 1e-3
DISTORTION_COUNTS = (4, 5, 8)
"""Coefficients of OpenCV's models k1 k2 p1 p2 [k3 [k4 k5 k6]]."""
MAX_DISTORTION = 100.0
SAME_ASPECT = 0.01
TO_HANDVIZ_PX = np.array([[0, 0, HALF_PIXEL], [0, 0, HALF_PIXEL], [0, 0, 0]])
"""Added to K of OpenCV's pixels, whose centres lie at whole numbers."""
REMEDY = "docs/guide/several_cameras.md has the format"
RIG_KEYS = ("format", "version", "views")
VIEW_KEYS = ("name", "source", "intrinsics", "distortion", "camera_from_world", "time_offset_ms")
INTRINSICS_KEYS = ("image_width", "image_height", "camera_matrix", "distortion")
POSE_KEYS = ("rotation", "translation_m")


@dataclass(frozen=True, eq=False)
class RigView:
    """One camera of a rig and what it recorded."""

    name: str
    source: Path | str
    """Clip, folder of images or image; or a camera, such as "camera:0"."""
    camera: CameraModel
    """In mode ``intrinsics``."""
    camera_from_world: FloatArray
    """(4, 4) rigid, metres; the world is the same for all views of a rig"""
    distortion: FloatArray | None = None
    """(4,), (5,) or (8,) coefficients of OpenCV's lens models; None: the images have none"""
    time_offset_ms: float = 0.0
    """Added to the times of its clip, so that they are those of the other views"""

    def undistorted(self, frame: Frame) -> tuple[Frame, CalibratedView]:
        """Return a frame without lens distortion, and its camera; HandvizError for images of another aspect ratio."""
        height, width = frame.image.shape[:2]
        stated_width, stated_height = self.camera.known_size
        if abs(math.log(width * stated_height / (height * stated_width))) >= SAME_ASPECT:
            raise HandvizError(
                f"view {self.name} has images of {width} x {height} pixels and a camera of {stated_width} x "
                f"{stated_height}: calibrate it with images like these",
                ErrorCode.FILES_DISAGREE,
            )
        intrinsics = self.camera.intrinsics_for(width, height)
        if self.distortion is not None:
            matrix = intrinsics.matrix - TO_HANDVIZ_PX
            frame = replace(frame, image=np.asarray(cv2.undistort(frame.image, matrix, self.distortion), np.uint8))
        return frame, CalibratedView(intrinsics, self.camera_from_world)


@dataclass(frozen=True, eq=False)
class Rig:
    """Two to eight calibrated cameras."""

    name: str
    views: tuple[RigView, ...]

    @property
    def is_live(self) -> bool:
        """Whether its views are cameras; HandvizError if some are and some are not."""
        live = {isinstance(view.source, str) for view in self.views}
        if len(live) > 1:
            raise HandvizError(
                f"{self.name} has cameras and files, which are not of one time: give either", ErrorCode.OPTION_CONFLICT
            )
        return True in live


class _Entry:
    """A JSON object of a rig file, whose errors name where it is."""

    def __init__(self, content: Any, where: str, known: Sequence[str]) -> None:
        self.where = where
        if not isinstance(content, dict):
            self.fail("is not an object with names and values")
        self.content: dict[str, Any] = content
        for name in content:
            if name not in known:
                self.fail(f"has an unknown entry {_shown(name)!r} (known are {', '.join(known)})")

    def fail(self, reason: str, code: ErrorCode = ErrorCode.BAD_VALUE) -> NoReturn:
        raise HandvizError(f"{self.where} {reason}: correct it; {REMEDY}", code)

    def text(self, name: str, longest: int) -> str:
        value = self.content.get(name)
        if not isinstance(value, str) or not value.strip() or len(value) > longest or not value.isprintable():
            self.fail(f"needs {name}, a text of 1 to {longest} printable characters")
        return value

    def number(self, name: str, limit: float, default: float | None = None) -> float:
        value = self.content.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= limit:
            self.fail(f"needs {name}, a number of at most {limit:g}")
        return float(value)

    def array(self, name: str, *shapes: tuple[int, ...]) -> FloatArray:
        """Return finite numbers of one of these shapes."""
        wanted = " or ".join(" x ".join(map(str, shape)) for shape in shapes)
        if not _is_numbers(self.content.get(name)):
            self.fail(f"needs {name}, {wanted} numbers")
        try:
            values = np.asarray(self.content[name], np.float64)
        except (TypeError, ValueError, OverflowError):
            values = np.empty(0)
        if values.shape not in shapes or not np.isfinite(values).all():
            self.fail(f"needs {name}, {wanted} finite numbers")
        return values


def _is_numbers(value: Any) -> bool:
    """Return whether a value is lists of lists of numbers: numpy would also take texts and true for numbers."""
    if isinstance(value, list):
        return len(value) <= 16 and all(
            _is_numbers(item)
            if isinstance(item, list)
            else isinstance(item, int | float) and not isinstance(item, bool)
            for item in value
        )
    return False


def read_rig(path: Path) -> Rig:
    """Read a rig; HandvizError names the file, the view and what is wrong. No source is opened."""
    content = read_limited(path, MAX_RIG_BYTES, f"give a rig's file; {REMEDY}")
    try:
        text = content.decode("utf-8-sig")
        parsed = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_not_finite)
    except (ValueError, RecursionError) as error:
        reason = _shown(str(error))
        raise HandvizError(f"{path} is no rig in JSON ({reason}): {REMEDY}", ErrorCode.FILE_DAMAGED) from error
    entry = _Entry(parsed, str(path), RIG_KEYS)
    if entry.content.get("format") != FORMAT:
        entry.fail(f"needs format, {FORMAT!r}", ErrorCode.FILE_DAMAGED)
    version = entry.content.get("version")
    if isinstance(version, bool) or version != VERSION:
        entry.fail(f"has version {_shown(repr(version))}, and this handviz reads {VERSION}", ErrorCode.VERSION_MISMATCH)
    views = entry.content.get("views")
    if not isinstance(views, list) or not MIN_VIEWS <= len(views) <= MAX_VIEWS:
        entry.fail(f"needs views, a list of {MIN_VIEWS} to {MAX_VIEWS} cameras")
    read = [_view(view, number, path) for number, view in enumerate(views)]
    _check_unique(entry, read)
    return Rig(path.name, tuple(read))


def _view(content: Any, number: int, path: Path) -> RigView:
    entry = _Entry(content, f"{path}: view {number}", VIEW_KEYS)
    name = entry.text("name", MAX_NAME)
    if any(character in name for character in "/\\:") or name.startswith("."):
        entry.fail("needs a name without slashes and colons that begins with no dot")
    entry.where = f"{path}: view {name}"
    camera, distortion = _camera(entry, path)
    return RigView(
        name=name,
        source=_source(entry, path),
        camera=camera,
        camera_from_world=_pose(entry),
        distortion=distortion,
        time_offset_ms=entry.number("time_offset_ms", MAX_OFFSET_MS, 0.0),
    )


def _source(entry: _Entry, path: Path) -> Path | str:
    text = entry.text("source", MAX_PATH)
    return text if camera_number(text) is not None else _path_in(entry, "source", path)


def _camera(entry: _Entry, path: Path) -> tuple[CameraModel, FloatArray | None]:
    """Return the intrinsics of a view, stated in the file or in one beside it, and the distortion."""
    stated = entry.content.get("intrinsics")
    if isinstance(stated, str):
        camera = read_camera_file(_path_in(entry, "intrinsics", path))
        if camera.mode != "intrinsics":
            entry.fail("needs intrinsics with focal lengths: its camera file states none")
        return camera, _distortion(entry)
    inner = _Entry(stated, f"{entry.where}: intrinsics", INTRINSICS_KEYS)
    if "distortion" in entry.content and "distortion" in inner.content:
        entry.fail("states its distortion twice")
    width, height = (inner.number(name, 1e6) for name in ("image_width", "image_height"))
    if width != int(width) or height != int(height):
        inner.fail("need whole numbers of pixels")
    matrix = inner.array("camera_matrix", (3, 3)) + TO_HANDVIZ_PX
    try:
        known = replace(intrinsics_from_numbers(matrix), origin="calibrated")
        camera = camera_model_of_intrinsics(known, (int(width), int(height)))
    except HandvizError as error:
        raise HandvizError(f"{inner.where} {error}", error.code) from error
    return camera, _distortion(inner if "distortion" in inner.content else entry)


def _distortion(entry: _Entry) -> FloatArray | None:
    if "distortion" not in entry.content:
        return None
    values = entry.array("distortion", *((count,) for count in DISTORTION_COUNTS))
    if np.abs(values).max() > MAX_DISTORTION:
        entry.fail(f"has a distortion above {MAX_DISTORTION:g}")
    return values if values.any() else None


def _pose(entry: _Entry) -> FloatArray:
    """Return the checked camera_from_world (4, 4), its rotation exactly orthonormal."""
    stated = entry.content.get("camera_from_world")
    if isinstance(stated, dict):
        inner = _Entry(stated, f"{entry.where}: camera_from_world", POSE_KEYS)
        rotation, position = inner.array("rotation", (3, 3)), inner.array("translation_m", (3,))
    else:
        matrix = entry.array("camera_from_world", (4, 4))
        if not np.allclose(matrix[3], [0, 0, 0, 1]):
            entry.fail("has a camera_from_world whose last row is not 0 0 0 1")
        rotation, position = matrix[:3, :3], matrix[:3, 3]
    if not (np.abs(position) < MAX_DISTANCE_M).all():
        entry.fail(f"is {MAX_DISTANCE_M:g} or more from the world's origin: translations are in metres")
    return pose_of(rotation, position, entry.where)


def pose_of(rotation: FloatArray, position_m: FloatArray, where: str) -> FloatArray:
    """Return the transform (4, 4) of a rotation (3, 3) and a translation (3,); HandvizError names what is no rotation.

    A rotation that is orthonormal up to rounding is made exactly so.
    """
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=ROTATION_TOLERANCE):
        raise HandvizError(
            f"{where} has a rotation whose rows are not orthonormal: give one without scale; {REMEDY}",
            ErrorCode.BAD_VALUE,
        )
    if np.linalg.det(rotation) < 0:
        raise HandvizError(
            f"{where} is a mirrored camera (its rotation has determinant -1): give a right-handed frame with x right, "
            "y down and z forward",
            ErrorCode.BAD_VALUE,
        )
    left, _, right = np.linalg.svd(rotation)
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = left @ right, position_m
    return transform


def _path_in(entry: _Entry, name: str, rig: Path) -> Path:
    """Return the path that an entry states relative to the rig's folder, which it may not leave."""
    text = entry.text(name, MAX_PATH)
    is_absolute = PurePosixPath(text).is_absolute() or bool(PureWindowsPath(text).anchor)
    folder = rig.parent.resolve()
    try:
        path = (folder / text).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise HandvizError(f"{entry.where}: {name} is no path ({error}): correct it", ErrorCode.BAD_VALUE) from error
    if is_absolute or ".." in PureWindowsPath(text).parts or not path.is_relative_to(folder):
        entry.fail(
            f"has {name} {_shown(text)!r} outside the folder of the rig: put both into one folder and give the path "
            "relative to it",
            ErrorCode.UNSAFE_FILE,
        )
    return path


def _check_unique(entry: _Entry, views: Sequence[RigView]) -> None:
    for what, values in (
        ("name", [view.name.casefold() for view in views]),
        ("source", [str(view.source) for view in views]),
    ):
        for number, value in enumerate(values):
            if value in values[:number]:
                entry.fail(f"has two views with one {what}, {views[values.index(value)].name} and {views[number].name}")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; ValueError if a name is there twice, of which Python takes the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise ValueError(f"{_shown(twice)!r} is there twice")
    return found


def _not_finite(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _shown(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def rig_text(rig: Rig, folder: Path) -> str:
    """Return a rig as JSON, its sources relative to ``folder``; HandvizError for one that lies elsewhere."""
    views = [_view_entry(view, folder) for view in rig.views]
    return json.dumps({"format": FORMAT, "version": VERSION, "views": views}, indent=1) + "\n"


def write_rig(path: Path, rig: Rig) -> None:
    """Write a rig that ``read_rig`` reads; HandvizError if a source is not in the file's folder or below."""
    write_files({path: rig_text(rig, path.parent).encode("utf-8")})


def _source_text(view: RigView, folder: Path) -> str:
    if isinstance(view.source, str):
        return view.source
    try:
        return view.source.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError as error:
        raise HandvizError(
            f"{view.source} is not in {folder}, the folder of the rig: move it there", ErrorCode.BAD_VALUE
        ) from error


def _view_entry(view: RigView, folder: Path) -> dict[str, Any]:
    assert view.camera.known is not None
    matrix = view.camera.known.matrix - TO_HANDVIZ_PX
    width, height = view.camera.known_size
    entry: dict[str, Any] = {
        "name": view.name,
        "source": _source_text(view, folder),
        "intrinsics": {"image_width": width, "image_height": height, "camera_matrix": matrix.tolist()},
        "camera_from_world": view.camera_from_world.tolist(),
    }
    if view.distortion is not None:
        entry["distortion"] = view.distortion.tolist()
    if view.time_offset_ms:
        entry["time_offset_ms"] = view.time_offset_ms
    return entry
