"""Where MediaPipe marks a hand whose joints are known: its knuckles are not the hand model's."""

from handviz.records import FloatArray

TOWARDS_WRIST = {1: 0.33, 5: 0.10, 9: 0.07, 13: 0.075, 17: 0.085}
"""Knuckles and thumb base lie nearer to the wrist than the hand model's joints, by these shares of the way: the medians
over clearly visible rendered crops whose joints are known (docs/experiments.md)."""


def as_the_detector_marks_them(keypoints: FloatArray) -> FloatArray:
    """Keypoints (..., 21, C) of the hand model, in any frame -> where MediaPipe would mark the same hand."""
    marked = keypoints.copy()
    for keypoint, share in TOWARDS_WRIST.items():
        marked[..., keypoint, :] += share * (keypoints[..., 0, :] - keypoints[..., keypoint, :])
    return marked
