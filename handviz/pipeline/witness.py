"""One pose of two witnesses: the mesh leans towards what MediaPipe says of the joints, in space and in the picture.

The networks were trained on rendered hands alone. On photographs their keypoints and MediaPipe's err in different
ways; between two answers whose errors e and w differ by d, all RMS, the best place is the share
(e^2 + d^2 - w^2) / (2 d^2) of the way (docs/method.md). In the picture MediaPipe errs less than in depth.
"""

from dataclasses import replace

import numpy as np

from handviz.core.metrics import procrustes_aligned
from handviz.core.records import CanonicalHand, FloatArray, HandCrop, Intrinsics
from handviz.detection.crop import camera_from_crop
from handviz.detection.marking import as_the_detector_marks_them
from handviz.detection.placement import CropView
from handviz.pipeline.alignment import DEFAULT_PRIOR, huber_weight, keypoints_in_crop

SHARE = 0.35
"""Of the way in space, to heads that are sure to see a hand."""
PRESENCE_POWER = 3
"""How fast less sure ones lose it."""
SHARE_IN_PICTURE = 0.6
"""Of the way across the line of sight, to the detector's keypoints."""


def leaning_on_witness(canonical: CanonicalHand, vertices_from_moves: FloatArray) -> CanonicalHand:
    """The hand with its keypoints moved part of the way to those of MediaPipe's heads in space; its deviations stay.

    ``vertices_from_moves`` (V, 21) comes from ``hand_model.handles``. A hand whose network has no such heads stays.
    """
    if canonical.witness_m is None or not canonical.presence:
        return canonical
    marked = as_the_detector_marks_them(canonical.keypoints_m.astype(np.float64))
    said = procrustes_aligned(canonical.witness_m[None].astype(np.float64), marked[None])[0]
    moves = SHARE * canonical.presence**PRESENCE_POWER * (said - marked)
    return _moved(canonical, moves, vertices_from_moves)


def drawn_to_detector(
    canonical: CanonicalHand, crop: HandCrop, intrinsics: Intrinsics, vertices_from_moves: FloatArray
) -> CanonicalHand:
    """The hand with its keypoints moved across their lines of sight, part of the way to the detector's; depths stay.

    It has to be ``aligned_to_detector`` before: what is left then is the pose. Far outliers move it less.
    """
    place_m = canonical.wrist_camera_m
    assert place_m is not None
    view = CropView(crop.crop_from_image, intrinsics)
    turn = camera_from_crop(crop.crop_from_image, intrinsics) @ canonical.rotation.astype(np.float64)
    keypoints_m = canonical.keypoints_m.astype(np.float64)
    points_m = as_the_detector_marks_them(keypoints_m - keypoints_m[0]) @ turn.T + place_m
    missing = keypoints_in_crop(crop) - view.in_crop(points_m)
    missing *= SHARE_IN_PICTURE * huber_weight(missing / DEFAULT_PRIOR.keypoint)[:, None]
    # The shortest motion that does it is across the line of sight.
    moves = np.einsum("kij,kj->ki", np.linalg.pinv(view.slopes(points_m)), missing)
    moved = _moved(canonical, moves @ turn, vertices_from_moves)
    translation = canonical.translation + missing[0]
    return replace(
        moved, translation=translation.astype(canonical.translation.dtype), wrist_camera_m=place_m + moves[0]
    )


def _moved(canonical: CanonicalHand, moves: FloatArray, vertices_from_moves: FloatArray) -> CanonicalHand:
    """The hand with its keypoints moved by (21, 3) against the wrist, which stays the origin."""
    moves = moves - moves[0]
    vertices_m = canonical.vertices_m + vertices_from_moves @ moves
    return replace(
        canonical,
        vertices_m=vertices_m.astype(canonical.vertices_m.dtype),
        keypoints_m=(canonical.keypoints_m + moves).astype(canonical.keypoints_m.dtype),
    )
