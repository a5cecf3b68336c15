"""Where MediaPipe marks a hand whose joints are known: its points are not the hand model's."""

from handviz.core.records import FloatArray

MARKED_TOWARDS = {
    0: (9, 0.03),
    1: (0, 0.08),
    2: (1, -0.17),
    4: (3, 0.27),
    5: (0, 0.09),
    8: (7, 0.26),
    9: (0, 0.07),
    12: (11, 0.29),
    13: (0, 0.07),
    16: (15, 0.28),
    17: (0, 0.09),
    20: (19, 0.28),
}
"""Keypoint -> (towards which other, by which share of the way), as ``python -m handviz marking`` measures it.

MediaPipe's knuckles are nearer to the wrist than the hand model's joints, and its fingertips lie under the nail, a
quarter of the last bone short of the end."""


def as_the_detector_marks_them(keypoints: FloatArray) -> FloatArray:
    """Keypoints (..., 21, C) of the hand model, in any frame -> where MediaPipe would mark the same hand."""
    marked = keypoints.copy()
    for keypoint, (other, share) in MARKED_TOWARDS.items():
        marked[..., keypoint, :] += share * (keypoints[..., other, :] - keypoints[..., keypoint, :])
    return marked
