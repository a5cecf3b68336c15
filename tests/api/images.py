"""Images for the API, and what hands of them are compared by."""

import numpy as np
from numpy.typing import NDArray

import handviz
from handviz.core.paths import CLIP_FILE
from handviz.sources.clips import ClipSource

GREY = np.full((240, 320, 3), 90, np.uint8)
FLOATS: dict[str, tuple[int, ...]] = {
    "vertices_m": (778, 3),
    "keypoints_m": (21, 3),
    "vertex_std_mm": (778,),
    "keypoint_std_mm": (21,),
    "keypoints_px": (21, 2),
    "wrist_camera_m": (3,),
    "wrist_std_m": (3,),
    "camera_from_wrist": (3, 3),
}


def clip_frame() -> NDArray[np.uint8]:
    """Return the first frame of the bundled clip: one hand."""
    clip = ClipSource(CLIP_FILE)
    frame = clip.read()
    clip.close()
    assert frame is not None
    return frame.image


def assert_same(found: list[handviz.Hand], expected: list[handviz.Hand]) -> None:
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        for name in FLOATS:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def volume_m3(vertices_m: NDArray[np.float64], faces: NDArray[np.int32]) -> float:
    """Return the signed volume: positive if faces are counter-clockwise seen from outside."""
    corners = (vertices_m - vertices_m.mean(axis=0))[faces]
    return float(np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)
