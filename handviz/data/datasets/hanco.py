"""HanCo as it is downloaded (Zimmermann, Argus, Brox, GCPR 2021): 1,518 sequences seen by eight calibrated cameras.

What its own code says (github.com/lmb-freiburg/contra-hand): ``show_dataset.py``: ``meta.json`` holds lists of
sequences of frames; keypoints (``xyz``) in metres in the world's axes and our order; ``calib`` has K and M (camera from
world) of every camera; ``shape/SEQUENCE/FRAME.json`` MANO's numbers in the world, ``shape/SEQUENCE/camN/FRAME.json`` 61
of them in the camera; flat_hand_mean=False. ``manolayer.py``: fingertips are vertices 745, 317, 444, 556, 673.
Its author says (issue 14) that the keypoints are those of the network that the shapes were fitted to: they are not
MANO's joints, and hands are placed by the knuckle of their fit. All hands are right hands.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import axis_angle_from_rotation, project_points, rotation_from_axis_angle
from handviz.core.records import FloatArray
from handviz.data.datasets.annotated import AnnotatedHand
from handviz.data.datasets.backgrounds import Backgrounds, find_backgrounds
from handviz.data.datasets.freiburg import intrinsics_from, mano_from
from handviz.data.datasets.hanco_files import CAMERAS, PAGE, Folders, Moments, found_folders, read_timed_results
from handviz.data.datasets.images import file_names, messages_on, read_image
from handviz.hand_models.mano.parameters import ManoParameters

IMAGE_FOLDERS = {
    "gs": "rgb",
    "merged": "rgb_merged",
    "homo": "rgb_homo",
    "color_auto": "rgb_color_auto",
    "color_sample": "rgb_color_sample",
}
"""What the background is and where its images lie: the green screen, a random photograph, three recolourings."""
OWN = "own"
"""The green screen's images with the user's own backgrounds."""
BACKGROUNDS = {"train": ("gs", "merged"), "test": ("gs",)}
SPLITS = {
    "hanco": (
        "train",
        *(f"train_{background}" for background in (*IMAGE_FOLDERS, OWN)),
        "train_valid",
        "test",
        "test_valid",
    )
}
TIP_VERTICES = (745, 317, 444, 556, 673)
IMAGE_SIZE = (224, 224)


@dataclass(frozen=True, eq=False)
class HanCo:
    """One split; see ``HandDataset``. All views of a moment stand side by side."""

    split: str
    folders: Folders
    timed_results: Moments
    samples: NDArray[np.intp]
    """(N, 3) which of ``backgrounds``, row of ``moments``, camera"""
    backgrounds: tuple[str, ...]
    warnings: Sequence[str]
    own: Backgrounds | None = None
    name: str = "hanco"
    tip_vertices: tuple[int, int, int, int, int] = TIP_VERTICES

    def __len__(self) -> int:
        return len(self.samples)

    def hand(self, index: int) -> AnnotatedHand:
        _, row, camera = self.samples[index]
        camera_from_world = self.timed_results.camera_from_world[row, camera]
        intrinsics = intrinsics_from(self.timed_results.matrices[row, camera])
        keypoints_m = moved(self.timed_results.keypoints_m[row], camera_from_world)
        mask = self.folders.masks / self._place(row, camera)
        return AnnotatedHand(
            name=f"{IMAGE_FOLDERS[self._background(index)]}/{self._place(row, camera).with_suffix('').as_posix()}",
            image=self._image(index),
            handedness="right",
            intrinsics=intrinsics,
            keypoints_px=project_points(keypoints_m, intrinsics),
            keypoints_m=keypoints_m,
            mano=mano_in_camera(self.timed_results.mano[row], self.timed_results.knuckles_m[row], camera_from_world),
            mask=mask if self.folders.has_masks else None,
        )

    def image(self, index: int) -> NDArray[np.uint8]:
        image = read_image(self._image(index), IMAGE_SIZE)
        return image if self.own is None else self.own.behind(self.hand(index), image)

    def views(self, index: int) -> NDArray[np.intp]:
        """(1 to 8,) samples of the same moment before the same background, this one among them, by camera."""
        background, row, _ = self.samples[index]
        start = max(0, index - CAMERAS)
        near = self.samples[start : index + CAMERAS]
        return start + np.flatnonzero((near[:, 0] == background) & (near[:, 1] == row))

    def camera(self, index: int) -> int:
        """Which of the eight cameras took the image."""
        return int(self.samples[index, 2])

    def camera_from_world(self, index: int) -> FloatArray:
        """(4, 4) of the sample's camera, metres: with ``views``, the cameras of a moment relative to each other."""
        return np.asarray(self.timed_results.camera_from_world[self.samples[index, 1], self.camera(index)])

    def _background(self, index: int) -> str:
        return self.backgrounds[self.samples[index, 0]]

    def _image(self, index: int) -> Path:
        _, row, camera = self.samples[index]
        return self.folders.images[IMAGE_FOLDERS[self._background(index)]] / self._place(row, camera)

    def _place(self, row: int, camera: int) -> Path:
        return (
            Path(f"{self.timed_results.sequence[row]:04d}")
            / f"cam{camera}"
            / f"{self.timed_results.frame[row]:08d}.jpg"
        )


def open_split(name: str, root: Path, split: str) -> HanCo:
    """A split of HanCo; HandvizError says what is missing. The many small files are read once and kept."""
    if split not in SPLITS[name]:
        raise HandvizError(
            f"HanCo has no split {split!r}: there are {', '.join(SPLITS[name])}.", ErrorCode.UNKNOWN_NAME
        )
    part, _, choice = split.partition("_")
    backgrounds = (choice,) if choice in IMAGE_FOLDERS else ("gs",) if choice == OWN else BACKGROUNDS[part]
    own = find_backgrounds(root) if choice == OWN else None
    folders = found_folders(root, [IMAGE_FOLDERS[background] for background in backgrounds])
    timed_results = read_timed_results(folders, is_train=part == "train", only_valid=choice == "valid")
    samples, problems = _samples(folders, timed_results, backgrounds)
    warnings = (*timed_results.warnings, *messages_on(problems))
    if not len(samples):
        raise HandvizError(
            f"No image of HanCo's {split} is usable. {' '.join(warnings)} Download {PAGE} anew.", ErrorCode.EMPTY_INPUT
        )
    if own is not None and not folders.has_masks:
        raise HandvizError(
            f"{folders.masks} is missing: download the masks of the hands from {PAGE} and unpack them there.",
            ErrorCode.FILE_MISSING,
        )
    return HanCo(split, folders, timed_results, samples, backgrounds, warnings, own)


def mano_in_camera(numbers: FloatArray, knuckle_world_m: FloatArray, camera_from_world: FloatArray) -> ManoParameters:
    """58 numbers (58,) and the knuckle (3,) of the world as the camera (4, 4) sees them."""
    turned = camera_from_world[:3, :3] @ rotation_from_axis_angle(numbers[:3])
    seen = np.concatenate([axis_angle_from_rotation(turned), numbers[3:]])
    has_knuckle = bool(np.isfinite(knuckle_world_m).all())
    return mano_from(seen, moved(knuckle_world_m, camera_from_world) if has_knuckle else None)


def moved(points_m: FloatArray, transform: FloatArray) -> FloatArray:
    """Points (..., 3) under a rigid transform (4, 4)."""
    return np.asarray(points_m @ transform[:3, :3].T + transform[:3, 3])


def _samples(
    folders: Folders, timed_results: Moments, backgrounds: Sequence[str]
) -> tuple[NDArray[np.intp], list[str]]:
    """Which images (N, 3) show an annotated hand, by background, moment and camera, and why the others do not."""
    rows, problems = [], []
    for number, background in enumerate(backgrounds):
        folder = folders.images[IMAGE_FOLDERS[background]]
        for row, camera, is_there in _listed(folder, timed_results):
            where = f"{folder.name}/{timed_results.sequence[row]:04d}/cam{camera}/{timed_results.frame[row]:08d}.jpg"
            if not is_there:
                problems.append(f"the image is missing: {where}")
            elif not timed_results.seen[row, camera]:
                problems.append(f"the hand is outside the image or behind the camera: {where}")
            else:
                rows.append((number, row, camera))
    return np.array(rows, np.intp).reshape(-1, 3), problems


def _listed(folder: Path, timed_results: Moments) -> Iterator[tuple[int, int, bool]]:
    """(row, camera, whether its image is there) of every moment and camera."""
    for sequence in np.unique(timed_results.sequence):
        rows = np.flatnonzero(timed_results.sequence == sequence)
        there = [file_names(folder / f"{sequence:04d}" / f"cam{camera}") for camera in range(CAMERAS)]
        for row in rows.tolist():
            name = f"{timed_results.frame[row]:08d}.jpg"
            for camera in range(CAMERAS):
                yield row, camera, name in there[camera]
