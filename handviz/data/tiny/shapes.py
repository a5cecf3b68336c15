"""What several tiny datasets do with a rendered hand: keypoints of their order, a camera with two focal lengths."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.data.tiny.hands import TinyHand
from handviz.hand_model.mano import FINGERS
from handviz.records import KEYPOINT_COUNT, FloatArray


def keypoints_from_joints(hand: TinyHand, tips: Sequence[int]) -> FloatArray:
    """(21, 3) in our order, in the camera's frame: MANO's joints, and these vertices (thumb to little) as tips."""
    keypoints_m = np.empty((KEYPOINT_COUNT, 3))
    keypoints_m[0] = hand.joints_m[0]
    for finger, ((*joints, _), tip) in enumerate(zip(FINGERS, tips, strict=True)):
        first = 1 + 4 * finger
        keypoints_m[first : first + 3] = hand.joints_m[joints]
        keypoints_m[first + 3] = hand.vertices_m[tip]
    return keypoints_m


def stretched(hand: TinyHand, factor: float) -> TinyHand:
    """The hand as a camera sees it whose pixels are lower by ``factor``: rows about the picture's middle."""
    height = hand.picture.shape[0]
    shift = 0.5 * height * (1 - factor)
    camera = hand.intrinsics
    intrinsics = replace(
        camera, focal_y_px=camera.focals_px[1] * factor, centre_y_px=camera.centre_y_px * factor + shift
    )
    picture = _stretched(hand.picture, factor, shift, cv2.BORDER_REFLECT)
    mask = _stretched(hand.mask, factor, shift, cv2.BORDER_CONSTANT)
    return replace(hand, picture=picture, mask=mask, intrinsics=intrinsics)


def _stretched(picture: NDArray[np.uint8], factor: float, shift: float, border: int) -> NDArray[np.uint8]:
    """Rows under ``factor * y + shift``; pixel centres lie at halves here, at whole numbers in OpenCV."""
    affine = np.array([[1.0, 0.0, 0.0], [0.0, factor, shift + 0.5 * (factor - 1)]])
    size = (picture.shape[1], picture.shape[0])
    return np.asarray(cv2.warpAffine(picture, affine, size, flags=cv2.INTER_LINEAR, borderMode=border), np.uint8)
