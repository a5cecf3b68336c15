"""What several tiny datasets do with a hand: keypoints of their order, two focal lengths, drawings, files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.records import KEYPOINT_COUNT, FloatArray
from handviz.data.datasets.backgrounds import FOLDER
from handviz.hand_models.mano.model import FINGERS
from handviz.hand_models.skinning import joint_transforms
from tests.fake_datasets.hands import TinyHand
from tests.fake_datasets.stand_in_mano import stand_in_template

JPEG_QUALITY = 95
FRACTION_BITS = 4


def keypoints_from_joints(joints_m: FloatArray, vertices_m: FloatArray, tips: Sequence[int]) -> FloatArray:
    """Return (21, 3) in our order: MANO's joints (16, 3) in its order, and these of the vertices (778, 3), thumb
    first."""
    keypoints_m = np.empty((KEYPOINT_COUNT, 3))
    keypoints_m[0] = joints_m[0]
    for finger, ((*joints, _), tip) in enumerate(zip(FINGERS, tips, strict=True)):
        first = 1 + 4 * finger
        keypoints_m[first : first + 3] = joints_m[joints]
        keypoints_m[first + 3] = vertices_m[tip]
    return keypoints_m


def stretched(hand: TinyHand, factor: float) -> TinyHand:
    """Return the hand seen by a camera whose pixels are lower by ``factor``: rows about the image's centre."""
    height = hand.image.shape[0]
    shift = 0.5 * height * (1 - factor)
    camera = hand.intrinsics
    intrinsics = replace(
        camera, focal_y_px=camera.focals_px[1] * factor, centre_y_px=camera.centre_y_px * factor + shift
    )
    image = _stretched(hand.image, factor, shift, cv2.BORDER_REFLECT)
    mask = _stretched(hand.mask, factor, shift, cv2.BORDER_CONSTANT)
    return replace(hand, image=image, mask=mask, intrinsics=intrinsics)


def _stretched(image: NDArray[np.uint8], factor: float, shift: float, border: int) -> NDArray[np.uint8]:
    """Move rows by ``factor * y + shift``; pixel centres are at halves here, at whole numbers in OpenCV."""
    affine = np.array([[1.0, 0.0, 0.0], [0.0, factor, shift + 0.5 * (factor - 1)]])
    size = (image.shape[1], image.shape[0])
    return np.asarray(cv2.warpAffine(image, affine, size, flags=cv2.INTER_LINEAR, borderMode=border), np.uint8)


def drawn(vertices_m: FloatArray, matrix: FloatArray, size: tuple[int, int], skin: FloatArray) -> NDArray[np.uint8]:
    """Draw MANO's mesh (778, 3) as the camera K (3, 3) sees it, pixel centres at whole numbers: RGB (H, W, 3), else
    0."""
    faces = stand_in_template().faces
    corners_m = vertices_m[faces]
    normals = np.cross(corners_m[:, 1] - corners_m[:, 0], corners_m[:, 2] - corners_m[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    light = 0.25 + 0.75 * np.abs(normals[:, 2]) / np.maximum(lengths, 1e-12)
    pixels = corners_m @ matrix.T
    corners_px = np.rint(pixels[..., :2] / pixels[..., 2:] * 2**FRACTION_BITS).astype(np.int32)
    image = np.zeros((size[1], size[0], 3), np.uint8)
    # The nearest last: what it covers is painted over.
    for face in np.argsort(-corners_m[..., 2].mean(1)):
        if lengths[face] > 0:
            cv2.fillConvexPoly(image, corners_px[face], (skin * light[face]).tolist(), shift=FRACTION_BITS)
    return image


def chain_joints_m(pose: FloatArray, shape: FloatArray) -> FloatArray:
    """Return MANO's joints (16, 3) of the stand-in, wrist at the origin; pose (45,) from the flat hand, shape (10,)."""
    template = stand_in_template()
    rest = template.joint_regressor @ (template.vertices_m + template.shape_basis @ shape)
    rest = (rest - rest[0]).astype(np.float64)
    transforms = joint_transforms(pose[None], rest[None], template.parents)[0]
    return np.asarray(np.einsum("jab,jb->ja", transforms[..., :3], rest) + transforms[..., 3])


def write_jpeg(path: Path, image: NDArray[np.uint8]) -> None:
    """Write RGB (H, W, 3) or grey (H, W); folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    _, data = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    path.write_bytes(data.tobytes())


def write_backgrounds(root: Path, rng: np.random.Generator) -> None:
    """Write two images without hands, where a user puts theirs."""
    for number in range(2):
        coarse = np.asarray(rng.integers(30, 220, (6, 8, 3)), np.uint8)
        write_jpeg(root / FOLDER / f"{number}.jpg", np.asarray(cv2.resize(coarse, (480, 360)), np.uint8))
