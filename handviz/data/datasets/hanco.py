"""HanCo as it is downloaded (Zimmermann, Argus, Brox, GCPR 2021): 1,518 sequences seen by eight calibrated cameras.

Facts from its own code (github.com/lmb-freiburg/contra-hand): ``show_dataset.py``: ``meta.json`` holds lists of
sequences of frames; keypoints (``xyz``) in metres in the world's axes and our order; ``calib`` has K and M (camera from
world) of every camera; ``shape/SEQUENCE/FRAME.json`` MANO's numbers in the world, ``shape/SEQUENCE/camN/FRAME.json`` 61
of them in the camera; flat_hand_mean=False. ``manolayer.py``: fingertips are vertices 745, 317, 444, 556, 673.
Its author states (issue 14) that the keypoints are those of the network that the shapes were fitted to: they are not
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
from handviz.data.datasets.hanco_files import CAMERAS, PAGE, Folders, FrameAnnotations, found_folders, read_annotations
from handviz.data.datasets.images import file_names, messages_on, read_image, read_mask
from handviz.hand_models.mano.parameters import ManoParameters

IMAGE_FOLDERS = {
    "gs": "rgb",
    "merged": "rgb_merged",
    "homo": "rgb_homo",
    "color_auto": "rgb_color_auto",
    "color_sample": "rgb_color_sample",
}
"""Folders of the images with each background: the green screen, a random photograph, three recolourings."""
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
MASK_THRESHOLD = 127
"""Masks are JPEG files of black and white."""


@dataclass(frozen=True, eq=False)
class HanCo:
    """One split; see ``HandDataset``. All views of a frame are adjacent."""

    split: str
    folders: Folders
    annotations: FrameAnnotations
    samples: NDArray[np.intp]
    """(N, 3) which of ``backgrounds``, row of ``annotations``, camera"""
    backgrounds: tuple[str, ...]
    warnings: Sequence[str]
    own: Backgrounds | None = None
    name: str = "hanco"
    tip_vertices: tuple[int, int, int, int, int] = TIP_VERTICES

    def __len__(self) -> int:
        return len(self.samples)

    def hand(self, index: int) -> AnnotatedHand:
        _, row, camera = self.samples[index]
        camera_from_world = self.annotations.camera_from_world[row, camera]
        intrinsics = intrinsics_from(self.annotations.matrices[row, camera])
        keypoints_m = transformed(self.annotations.keypoints_m[row], camera_from_world)
        mask = self.folders.masks / self._file(row, camera)
        return AnnotatedHand(
            name=f"{IMAGE_FOLDERS[self._background(index)]}/{self._file(row, camera).with_suffix('').as_posix()}",
            image=self._image(index),
            handedness="right",
            intrinsics=intrinsics,
            keypoints_px=project_points(keypoints_m, intrinsics),
            keypoints_m=keypoints_m,
            mano=mano_in_camera(self.annotations.mano[row], self.annotations.knuckles_m[row], camera_from_world),
            mask=mask if self.folders.has_masks else None,
        )

    def image(self, index: int) -> NDArray[np.uint8]:
        image = read_image(self._image(index), IMAGE_SIZE)
        return image if self.own is None else self.own.behind(self.hand(index), image)

    def moments(self) -> NDArray[np.intp]:
        """Return the number of the moment (N,) of every sample: one for each frame and background."""
        return np.unique(self.samples[:, :2], axis=0, return_inverse=True)[1].reshape(-1)

    def views(self, index: int) -> NDArray[np.intp]:
        """Return the samples (1 to 8,) of the same frame and background, this one among them, by camera."""
        background, row, _ = self.samples[index]
        start = max(0, index - CAMERAS)
        near = self.samples[start : index + CAMERAS]
        return start + np.flatnonzero((near[:, 0] == background) & (near[:, 1] == row))

    def camera(self, index: int) -> int:
        """Return the number of the camera, of eight, that took the image."""
        return int(self.samples[index, 2])

    def camera_from_world(self, index: int) -> FloatArray:
        """Return the transform (4, 4) to the sample's camera, metres; with ``views``, of all a frame's cameras."""
        return np.asarray(self.annotations.camera_from_world[self.samples[index, 1], self.camera(index)])

    def hand_mask(self, index: int) -> NDArray[np.bool_]:
        """Return where the image shows the hand (224, 224); HandvizError for a mask that is missing or damaged."""
        _, row, camera = self.samples[index]
        return np.asarray(read_mask(self.folders.masks / self._file(row, camera), IMAGE_SIZE) > MASK_THRESHOLD)

    def _background(self, index: int) -> str:
        return self.backgrounds[self.samples[index, 0]]

    def _image(self, index: int) -> Path:
        _, row, camera = self.samples[index]
        return self.folders.images[IMAGE_FOLDERS[self._background(index)]] / self._file(row, camera)

    def _file(self, row: int, camera: int) -> Path:
        return Path(f"{self.annotations.sequence[row]:04d}") / f"cam{camera}" / f"{self.annotations.frame[row]:08d}.jpg"


def open_split(name: str, root: Path, split: str) -> HanCo:
    """Open a split of HanCo; HandvizError names what is missing. The many small files are read once and cached."""
    if split not in SPLITS[name]:
        raise HandvizError(
            f"HanCo has no split {split!r}: there are {', '.join(SPLITS[name])}.", ErrorCode.UNKNOWN_NAME
        )
    part, _, choice = split.partition("_")
    backgrounds = (choice,) if choice in IMAGE_FOLDERS else ("gs",) if choice == OWN else BACKGROUNDS[part]
    own = find_backgrounds(root) if choice == OWN else None
    folders = found_folders(root, [IMAGE_FOLDERS[background] for background in backgrounds])
    annotations = read_annotations(folders, is_train=part == "train", only_valid=choice == "valid")
    samples, problems = _samples(folders, annotations, backgrounds)
    warnings = (*annotations.warnings, *messages_on(problems))
    if not len(samples):
        raise HandvizError(
            f"No image of HanCo's {split} is usable. {' '.join(warnings)} Download {PAGE} again.", ErrorCode.EMPTY_INPUT
        )
    if own is not None and not folders.has_masks:
        raise HandvizError(
            f"{folders.masks} is missing: download the masks of the hands from {PAGE} and unpack them there.",
            ErrorCode.FILE_MISSING,
        )
    return HanCo(split, folders, annotations, samples, backgrounds, warnings, own)


def mano_in_camera(numbers: FloatArray, knuckle_world_m: FloatArray, camera_from_world: FloatArray) -> ManoParameters:
    """Convert the world's 58 numbers (58,) and knuckle (3,) to the frame of a camera (4, 4)."""
    rotation = camera_from_world[:3, :3] @ rotation_from_axis_angle(numbers[:3])
    seen = np.concatenate([axis_angle_from_rotation(rotation), numbers[3:]])
    has_knuckle = bool(np.isfinite(knuckle_world_m).all())
    return mano_from(seen, transformed(knuckle_world_m, camera_from_world) if has_knuckle else None)


def transformed(points_m: FloatArray, transform: FloatArray) -> FloatArray:
    """Apply a rigid transform (4, 4) to points (..., 3)."""
    return np.asarray(points_m @ transform[:3, :3].T + transform[:3, 3])


def _samples(
    folders: Folders, annotations: FrameAnnotations, backgrounds: Sequence[str]
) -> tuple[NDArray[np.intp], list[str]]:
    """Return the images (N, 3) that show an annotated hand, by background, frame and camera, and all problems."""
    rows, problems = [], []
    for number, background in enumerate(backgrounds):
        folder = folders.images[IMAGE_FOLDERS[background]]
        for row, camera, is_there in _listed(folder, annotations):
            where = f"{folder.name}/{annotations.sequence[row]:04d}/cam{camera}/{annotations.frame[row]:08d}.jpg"
            if not is_there:
                problems.append(f"the image is missing: {where}")
            elif not annotations.seen[row, camera]:
                problems.append(f"the hand is outside the image or behind the camera: {where}")
            else:
                rows.append((number, row, camera))
    return np.array(rows, np.intp).reshape(-1, 3), problems


def _listed(folder: Path, annotations: FrameAnnotations) -> Iterator[tuple[int, int, bool]]:
    """Yield (row, camera, whether its image exists) for every frame and camera."""
    for sequence in np.unique(annotations.sequence):
        rows = np.flatnonzero(annotations.sequence == sequence)
        there = [file_names(folder / f"{sequence:04d}" / f"cam{camera}") for camera in range(CAMERAS)]
        for row in rows.tolist():
            name = f"{annotations.frame[row]:08d}.jpg"
            for camera in range(CAMERAS):
                yield row, camera, name in there[camera]
