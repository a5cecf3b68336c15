"""A rig from recordings of one checkerboard: clips or folders of all cameras, and what each camera's K is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handviz.core.camera_files import read_camera_file
from handviz.core.camera_model import CameraModel, camera_model_of_intrinsics
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import intrinsics_from_field_of_view
from handviz.core.records import FloatArray
from handviz.sources.checkerboard import NEW_FRACTION, Board, ViewCollector, calibrate
from handviz.sources.rig import Rig, RigView
from handviz.sources.rig_calibration import RigCalibration, board_corners, extrinsics_from_board
from handviz.sources.rig_moments import Moment, MomentView, RigSource

MAX_MOMENTS = 25
"""Board poses that all cameras together are placed by."""
ANY_FIELD_OF_VIEW_DEG = 60.0


@dataclass(frozen=True, eq=False)
class BoardRig:
    """A rig that was placed by a board."""

    rig: Rig
    calibration: RigCalibration
    intrinsics_rms_px: dict[str, float]
    """Reprojection error of each camera whose K was found from the same recordings"""


def rig_from_boards(
    recordings: Mapping[str, Path],
    sources: Mapping[str, Path | str],
    board: Board,
    square_m: float,
    *,
    camera_files: Mapping[str, Path] | None = None,
    every: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> BoardRig:
    """Return the rig whose cameras saw a board in ``recordings`` at the same times.

    ``sources``: what the rig's views read afterwards, by the same names. ``camera_files``: known cameras by name; the
    others are calibrated from their recordings. ``every``: only every N-th moment is searched; ``progress`` is called
    with the number of each. HandvizError if the board does not determine a camera.
    """
    files = camera_files or {}
    if recordings.keys() != sources.keys() or files.keys() - recordings.keys():
        raise HandvizError(
            f"recordings are of {', '.join(recordings)}, sources of {', '.join(sources)}, cameras of "
            f"{', '.join(files) or 'none'}: name the same views",
            ErrorCode.OPTION_CONFLICT,
        )
    collector = _Corners(board, list(recordings), every, progress)
    views = [RigView(name, path, _any_camera(path), np.eye(4)) for name, path in recordings.items()]
    with RigSource(Rig("board", tuple(views))) as source:
        for moment in source.moments():
            collector.take(moment)
    cameras, rms_px = {}, {}
    for name in recordings:
        if name in files:
            cameras[name] = _known_camera(name, files[name], collector.sizes)
        else:
            cameras[name], rms_px[name] = collector.calibrated(name)
    known = {name: camera.intrinsics_for(*collector.sizes[name]) for name, camera in cameras.items()}
    found = extrinsics_from_board(collector.of_moments(), known, board, square_m)
    placed = [RigView(name, sources[name], cameras[name], found.camera_from_world[name]) for name in recordings]
    return BoardRig(Rig("RIG.json", tuple(placed)), found, rms_px)


def _any_camera(path: Path) -> CameraModel:
    """Return a camera of the recording's image size; its K is not used."""
    from handviz.sources.source import open_source

    source = open_source(str(path))
    try:
        frame = source.read()
    finally:
        source.close()
    if frame is None:
        raise HandvizError(f"{path} has no image", ErrorCode.EMPTY_INPUT)
    height, width = frame.image.shape[:2]
    known = intrinsics_from_field_of_view(width, height, ANY_FIELD_OF_VIEW_DEG)
    return camera_model_of_intrinsics(known, (width, height))


def _known_camera(name: str, path: Path, sizes: Mapping[str, tuple[int, int]]) -> CameraModel:
    camera = read_camera_file(path)
    if camera.mode != "intrinsics" or name not in sizes:
        raise HandvizError(f"{path} states no focal lengths: calibrate camera {name} first", ErrorCode.BAD_VALUE)
    return camera


class _Corners:
    """The board's corners in the moments that add something."""

    def __init__(self, board: Board, names: list[str], every: int, progress: Callable[[int], None]) -> None:
        self._board, self._names, self._every, self._progress = board, names, every, progress
        self._collectors: dict[str, ViewCollector] = {}
        self._moments: list[dict[str, FloatArray]] = []
        self.sizes: dict[str, tuple[int, int]] = {}

    def take(self, moment: Moment) -> None:
        """Search the board in a moment."""
        self._progress(moment.number)
        if moment.number % self._every:
            return
        found = {view.name: corners for view in moment.views if (corners := self._corners(view)) is not None}
        for name, corners in found.items():
            self._collectors[name].offer(corners, must_be_still=False)
        if len(found) >= 2 and len(self._moments) < MAX_MOMENTS and self._is_new(found):
            self._moments.append(found)

    def calibrated(self, name: str) -> tuple[CameraModel, float]:
        """Return a camera by its own views of the board, and its reprojection error; HandvizError names it."""
        collector = self._collectors.get(name)
        try:
            found = calibrate(collector.views if collector is not None else (), self._board, self.sizes[name])
        except HandvizError as error:
            raise HandvizError(f"camera {name}: {error}", error.code) from error
        return camera_model_of_intrinsics(found.intrinsics, found.size), found.rms_px

    def of_moments(self) -> dict[str, list[FloatArray | None]]:
        """Return the corners of every camera, one for each moment that two or more saw."""
        return {name: [moment.get(name) for moment in self._moments] for name in self._names}

    def _corners(self, view: MomentView) -> FloatArray | None:
        height, width = view.frame.image.shape[:2]
        if view.name not in self.sizes:
            self.sizes[view.name] = width, height
            self._collectors[view.name] = ViewCollector(self._board, (width, height))
        return board_corners(view.frame.image, self._board)

    def _is_new(self, found: Mapping[str, FloatArray]) -> bool:
        """Return whether the board has moved in some view since the last moment that was kept."""
        if not self._moments:
            return True
        last = self._moments[-1]
        return any(
            name not in last
            or float(np.linalg.norm(corners - last[name], axis=1).max()) > NEW_FRACTION * max(self.sizes[name])
            for name, corners in found.items()
        )
