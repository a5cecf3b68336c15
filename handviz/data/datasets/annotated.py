"""The annotation of one hand in one image, independent of a dataset's format, joint order, unit and axes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray, Handedness, Intrinsics
from handviz.hand_models.mano.parameters import ManoParameters


@dataclass(frozen=True, eq=False)
class AnnotatedHand:
    """One annotated hand; metres, camera axes, pixel centres and keypoint order are those of ``records``."""

    name: str
    """Of the sample within its split, the same on every machine: no two samples share it."""
    image: Path
    handedness: Handedness
    intrinsics: Intrinsics
    keypoints_px: FloatArray
    """(21, 2) in the image; the projection of ``keypoints_m`` where the dataset has that"""
    keypoints_m: FloatArray | None = None
    """(21, 3) in the camera's frame, as the dataset gives them (its fingertips may be other vertices than ours)"""
    vertices_m: FloatArray | None = None
    """(778, 3) MANO's vertices in the camera's frame"""
    mano: ManoParameters | None = None
    mask: Path | None = None
    """An image of the hand's mask, where the dataset has one"""
    keypoint_visible: NDArray[np.bool_] | None = None
    """(21,) where the dataset has it"""


class HandDataset(Protocol):
    """A split of a dataset: annotations in memory (or memory-mapped), images on the disk."""

    name: str
    """freihand, ho3d_v2, ho3d_v3, dexycb, hanco, rhd, stb"""
    split: str
    tip_vertices: tuple[int, int, int, int, int] | None
    """MANO's vertices that this dataset calls fingertips: thumb, index, middle, ring, little; None: they are none"""

    def __len__(self) -> int: ...

    def hand(self, index: int) -> AnnotatedHand:
        """Return the annotation of a sample; the image is not opened."""
        ...

    def image(self, index: int) -> NDArray[np.uint8]:
        """Return RGB (H, W, 3); HandvizError names a file that is missing or damaged."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """Messages on what was left out and why, with counts; empty if nothing was."""
        ...


@runtime_checkable
class MultiViewDataset(HandDataset, Protocol):
    """A split whose moments several calibrated cameras saw at once."""

    def moments(self) -> NDArray[np.intp]:
        """Return the number of the moment (N,) of every sample; those of one moment stand in the cameras' order."""
        ...

    def camera(self, index: int) -> int:
        """Return the number of the camera that took the image."""
        ...

    def camera_from_world(self, index: int) -> FloatArray:
        """Return the transform (4, 4) to the sample's camera, metres; all cameras of a moment share the world."""
        ...

    def views(self, index: int) -> NDArray[np.intp]:
        """Return the samples of the same moment, this one among them, by camera."""
        ...

    def hand_mask(self, index: int) -> NDArray[np.bool_]:
        """Return where the image shows the hand (H, W); HandvizError if that is missing or damaged."""
        ...
