"""DexYCB as it is downloaded (Chao et al., CVPR 2021): eight cameras, right and left hands that grasp objects.

Facts and where they come from (``NVlabs/dex-ycb-toolkit`` on GitHub unless said otherwise):
- folders, names of files, splits, order of the 21 joints (ours): ``dex_ycb_toolkit/dex_ycb.py``;
- labels: metres, camera axes x right, y down, z forward; ``pose_m`` is rotation 3, principal components 45 and
  translation 3; all zero, and joints all -1, where nothing is labelled: ``README.md``;
- 45 components relative to the mean pose (``flat_hand_mean=False``), side from ``mano_sides``, shape from
  ``calibration/mano_*``: ``dex_ycb_toolkit/layers/mano_layer.py``;
- fingertips are manopth's vertices (``hassony2/manopth``, ``manolayer.py``; its left hand has 445 for 444);
- cameras of a sequence: ``meta.yml`` names a folder ``calibration/extrinsics_*``, whose file has 3 x 4 numbers, world
  from camera, for each serial; the world is the master camera's: ``dex_ycb_toolkit/sequence_loader.py``;
- left hands are posed with the published MANO_LEFT, whose shape directions are the right hand's (issue 28);
- pixel centres at whole numbers: RealSense's intrinsics, and ``sequence_loader.py`` lays rays through whole pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import project_points
from handviz.core.records import FloatArray, Handedness, Intrinsics
from handviz.data.datasets.annotated import AnnotatedHand
from handviz.data.datasets.dexycb_sequences import (
    LABELLED_COUNTS,
    PROBLEMS,
    SERIALS,
    SPLIT_OF,
    SUBJECTS,
    USABLE,
    Recording,
    numbers_in,
    part_of,
    read_cameras,
    read_hand_mask,
    read_yaml,
    sequences_of,
)
from handviz.data.datasets.images import message_on, read_image
from handviz.data.datasets.index import Arrays, parts_folder, read_parts
from handviz.hand_models.mano.parameters import ManoParameters

NAME = "dexycb"
SPLITS = {NAME: tuple(SPLIT_OF)}
OFFICIAL_COUNTS = {(NAME, split): count for split, count in LABELLED_COUNTS.items()}
TIP_VERTICES = (745, 317, 444, 556, 673)
SIZE = (640, 480)
PIXEL_CENTRE = 0.5
MAX_DRIFT_PX = 1.0


@dataclass(frozen=True, eq=False)
class DexYcb:
    """A split of DexYCB, its annotations in memory."""

    split: str
    root: Path
    sequences: tuple[Recording, ...]
    cameras: tuple[Intrinsics | None, ...]
    """Of SERIALS; None for those that the split does not use"""
    rows: Arrays
    """of every usable image: ``sequence``, ``camera``, ``frame`` (N,) and the labels (N, ...)"""
    betas: FloatArray
    """(sequences, 10)"""
    is_left: NDArray[np.bool_]
    """(sequences,)"""
    warnings: Sequence[str]
    name: str = NAME
    tip_vertices: tuple[int, int, int, int, int] = TIP_VERTICES
    _cameras_from_world: dict[int, FloatArray] = field(default_factory=dict, repr=False)
    """(8, 4, 4) of the sequences that were asked for so far"""

    def __len__(self) -> int:
        return len(self.rows["camera"])

    def hand(self, index: int) -> AnnotatedHand:
        """Return the annotation of a sample; the image is not opened."""
        sequence, camera = int(self.rows["sequence"][index]), self.cameras[int(self.rows["camera"][index])]
        assert camera is not None
        path = self._path(index)
        keypoints = self.rows["joint_3d"][index].astype(np.float64)
        pose = self.rows["pose_m"][index].astype(np.float64)
        side: Handedness = "left" if self.is_left[sequence] else "right"
        return AnnotatedHand(
            name="/".join([*path.parts[-4:-1], path.stem.removeprefix("color_")]),
            image=path,
            handedness=side,
            intrinsics=camera,
            keypoints_px=project_points(keypoints, camera),
            keypoints_m=keypoints,
            mano=ManoParameters(
                handedness=side,
                kind="components",
                pose=pose[3:48],
                shape=self.betas[sequence],
                global_rotation=pose[:3],
                translation_m=pose[48:],
                shape_is_published_left=side == "left",
            ),
        )

    def image(self, index: int) -> NDArray[np.uint8]:
        """Return RGB (480, 640, 3); HandvizError names a file that is missing or damaged."""
        return read_image(self._path(index), SIZE)

    def moments(self) -> NDArray[np.intp]:
        """Return the number of the moment (N,) of every sample: one for each frame of a sequence."""
        frames = np.stack([self.rows["sequence"], self.rows["frame"]], axis=1)
        return np.unique(frames, axis=0, return_inverse=True)[1].reshape(-1)

    def views(self, index: int) -> NDArray[np.intp]:
        """Return the samples (1 to 8,) of the same moment, this one among them, by camera."""
        same = [self.rows[key] == self.rows[key][index] for key in ("sequence", "frame")]
        return np.flatnonzero(same[0] & same[1])

    def camera(self, index: int) -> int:
        """Return the number of the camera, of SERIALS, that took the image."""
        return int(self.rows["camera"][index])

    def camera_from_world(self, index: int) -> FloatArray:
        """Return the transform (4, 4) from the master camera's frame to the sample's camera, metres.

        Raises HandvizError if the sequence's extrinsics are missing or damaged, which nothing else needs.
        """
        sequence = int(self.rows["sequence"][index])
        if sequence not in self._cameras_from_world:
            self._cameras_from_world[sequence] = read_cameras(self.sequences[sequence])
        return np.asarray(self._cameras_from_world[sequence][self.camera(index)])

    def hand_mask(self, index: int) -> NDArray[np.bool_]:
        """Return where the image shows the hand (480, 640); HandvizError names a label that is missing or damaged."""
        path = self._path(index).with_suffix(".npz")
        return read_hand_mask(path.with_name(path.name.replace("color", "labels")), SIZE)

    def _path(self, index: int) -> Path:
        folder = self.sequences[int(self.rows["sequence"][index])].folder / SERIALS[int(self.rows["camera"][index])]
        return folder / f"color_{int(self.rows['frame'][index]):06d}.jpg"


def open_split(name: str, root: Path, split: str) -> DexYcb:
    """Open a split such as s0_test of a download whose folder ``root`` holds ten subjects and calibration.

    The first time every label file is read (``index``). Raises HandvizError naming the first thing that is missing.
    """
    if name != NAME or split not in SPLIT_OF:
        raise HandvizError(
            f"{name}/{split} is no split of DexYCB; there are {', '.join(SPLIT_OF)}.", ErrorCode.UNKNOWN_NAME
        )
    _check_root(root)
    members = SPLIT_OF[split]
    sequences, warnings = sequences_of(root, members)
    cameras = tuple(
        _camera(root, serial) if number in members.serials else None for number, serial in enumerate(SERIALS)
    )
    results = read_parts([part_of(sequence) for sequence in sequences], parts_folder(NAME, root), f"{NAME}/{split}")
    codes, rows = _rows(results, members.serials)
    warnings += _left_out(sequences, codes)
    if not len(rows["camera"]):
        raise HandvizError(
            f"{root}: nothing of {NAME}/{split} can be used. {' '.join(warnings)}", ErrorCode.EMPTY_INPUT
        )
    return DexYcb(
        split=split,
        root=root,
        sequences=tuple(sequences),
        cameras=cameras,
        rows=rows,
        betas=np.array([part["betas"] for part in results]),
        is_left=np.array([part["is_left"] for part in results]),
        warnings=warnings + _drift(rows, cameras),
    )


def _check_root(root: Path) -> None:
    if not (root / "calibration").is_dir() or not any((root / subject).is_dir() for subject in SUBJECTS):
        missing = root / ("calibration" if not (root / "calibration").is_dir() else SUBJECTS[0])
        raise HandvizError(
            f"{missing} is missing: {root} is not the folder of DexYCB that holds calibration and the subjects, "
            f"{SUBJECTS[0]} to {SUBJECTS[-1]}. Download them from dex-ycb.github.io.",
            ErrorCode.FILE_MISSING,
        )


def _camera(root: Path, serial: str) -> Intrinsics:
    path = root / "calibration" / "intrinsics" / f"{serial}_{SIZE[0]}x{SIZE[1]}.yml"
    content = read_yaml(path, "the camera's focal lengths and centre")
    fx, fy, ppx, ppy = (float(numbers_in(content, path, 1, "color", key)[0]) for key in ("fx", "fy", "ppx", "ppy"))
    if min(fx, fy) < 1:
        raise HandvizError(f"{path} has no focal lengths in pixels: it is not DexYCB's.", ErrorCode.FILE_DAMAGED)
    return Intrinsics(fx, ppx + PIXEL_CENTRE, ppy + PIXEL_CENTRE, focal_y_px=fy, origin="calibrated")


def _rows(results: Sequence[Arrays], serials: Sequence[int]) -> tuple[list[Arrays], Arrays]:
    """Return every frame of these cameras with its problem, by sequence, and the usable ones as rows."""
    frames, chosen = [], []
    for sequence, part in enumerate(results):
        count = int(part["frames"])
        camera, frame = np.repeat(np.arange(len(SERIALS)), count), np.tile(np.arange(count), len(SERIALS))
        wanted = np.isin(camera, serials)
        frames.append({"camera": camera[wanted], "frame": frame[wanted], "problem": part["problem"][wanted]})
        usable = part["problem"] == USABLE
        row = {key: part[key][wanted[usable]] for key in ("pose_m", "joint_3d", "joint_2d")}
        both = usable & wanted
        chosen.append(row | {"camera": camera[both], "frame": frame[both], "sequence": np.full(both.sum(), sequence)})
    keys = ("pose_m", "joint_3d", "joint_2d", "camera", "frame", "sequence")
    return frames, {key: np.concatenate([row[key] for row in chosen]) if chosen else np.zeros(0) for key in keys}


def _left_out(sequences: Sequence[Recording], frames: Sequence[Arrays]) -> list[str]:
    messages = []
    for code, kind in enumerate(PROBLEMS):
        counts = [int((of["problem"] == code).sum()) for of in frames]
        if code == USABLE or not sum(counts):
            continue
        sequence = int(np.flatnonzero(counts)[0])
        row = int(np.flatnonzero(frames[sequence]["problem"] == code)[0])
        serial, frame = SERIALS[frames[sequence]["camera"][row]], frames[sequence]["frame"][row]
        first = f"{sequences[sequence].subject}/{sequences[sequence].name}/{serial}, frame {frame}"
        messages.append(message_on(kind, sum(counts), first))
    return messages


def _drift(rows: Arrays, cameras: Sequence[Intrinsics | None]) -> list[str]:
    """Return warnings about cameras whose projection of the labelled metres differs from the labelled pixels."""
    messages = []
    for number, camera in enumerate(cameras):
        mine = rows["camera"] == number
        if camera is None or not mine.any():
            continue
        offsets = (
            project_points(rows["joint_3d"][mine].astype(np.float64), camera) - PIXEL_CENTRE - rows["joint_2d"][mine]
        )
        drift = float(np.median(np.linalg.norm(offsets, axis=-1)))
        if drift > MAX_DRIFT_PX:
            messages.append(
                f"The camera {SERIALS[number]} puts joints {drift:.1f} pixels from where the labels have them: "
                "its file in calibration/intrinsics is another camera's."
            )
    return messages
