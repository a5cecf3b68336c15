"""``hands.npz``: the covariances of all hands of a run, for programs that need more than standard deviations."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from handviz.core.files import make_folder, not_writable, write_arrays
from handviz.core.records import KEYPOINT_COUNT, HandMesh
from handviz.core.units import MILLIMETRES_PER_METRE

NAME = "hands.npz"


class HandRow(NamedTuple):
    """A hand of an image."""

    file: str
    """As in ``hands.json``."""
    number: int
    """Of the hand in its image, from 0."""
    hand: HandMesh


def write_covariances(path: Path, rows: Sequence[HandRow]) -> None:
    """Write the hands that have a posterior; HandvizError if the file cannot be written.

    Arrays, N hands: ``image`` (N,), the file of ``hands.json``, and ``hand`` (N,), its number there, from 0;
    ``keypoints_m`` (N, 21, 3), metres, the camera's axes, wrist at 0; ``keypoint_covariance_mm2`` (N, 63, 63) of x, y
    and z of one keypoint after the other, in the same axes; ``vertices_from_displacements`` (V, 21) how vertices follow
    displacements of the keypoints, of the first hand's model (``hand_model`` (N,) names each one's).
    """
    known = [row for row in rows if row.hand.shape is not None]
    shapes = [row.hand.shape for row in known if row.hand.shape is not None]
    size = 3 * KEYPOINT_COUNT
    covariances = [shape.covariance_m2 * MILLIMETRES_PER_METRE**2 for shape in shapes]
    follow = shapes[0].vertices_from_displacements if shapes else np.zeros((0, KEYPOINT_COUNT))
    try:
        make_folder(path.parent)
        write_arrays(
            path,
            {
                "image": np.array([row.file for row in known], dtype=np.str_),
                "hand": np.array([row.number for row in known], dtype=np.int64),
                "hand_model": np.array([row.hand.hand_model for row in known], dtype=np.str_),
                "keypoints_m": np.reshape([row.hand.keypoints_m for row in known], (-1, KEYPOINT_COUNT, 3)),
                "keypoint_covariance_mm2": np.reshape(covariances, (-1, size, size)).astype(np.float32),
                "vertices_from_displacements": follow.astype(np.float32),
            },
        )
    except OSError as error:
        raise not_writable(path, error) from error
