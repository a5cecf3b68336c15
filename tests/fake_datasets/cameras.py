"""Rendered hands before another camera: datasets have one for many images, rendered hands each their own."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import axis_angle_from_rotation, camera_from_ray, rotation_from_axis_angle
from handviz.core.records import FloatArray, Intrinsics
from tests.fake_datasets.hands import TinyHand


def seen_by(hand: TinyHand, camera: Intrinsics, towards_px: FloatArray) -> TinyHand:
    """Return the hand seen by a rotated ``camera`` of the same position, its centre at ``towards_px`` (2,).

    A camera that only rotates sees the same points: the image is warped exactly.
    """
    centre = hand.vertices_m.mean(axis=0)
    old_ray = hand.intrinsics.matrix @ centre
    rotation = camera_from_ray(towards_px, camera) @ camera_from_ray(old_ray[:2] / old_ray[2], hand.intrinsics).T
    homography = camera.matrix @ rotation @ np.linalg.inv(hand.intrinsics.matrix)
    return replace(
        hand,
        image=_warped(hand.image, homography, cv2.BORDER_REPLICATE),
        mask=_warped(hand.mask, homography, cv2.BORDER_CONSTANT),
        intrinsics=camera,
        global_rotation=axis_angle_from_rotation(rotation @ rotation_from_axis_angle(hand.global_rotation)),
        wrist_m=rotation @ hand.wrist_m,
        vertices_m=hand.vertices_m @ rotation.T,
        joints_m=hand.joints_m @ rotation.T,
    )


def _warped(image: NDArray[np.uint8], homography: FloatArray, border: int) -> NDArray[np.uint8]:
    """Warp an image; pixel centres are at halves here, at whole numbers in OpenCV."""
    half = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
    matrix = np.linalg.inv(half) @ homography @ half
    size = (image.shape[1], image.shape[0])
    return np.asarray(cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_AREA, borderMode=border), np.uint8)
