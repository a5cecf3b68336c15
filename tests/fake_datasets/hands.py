"""Rendered hands as a dataset knows them: images, cameras and MANO parameters that belong together exactly."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import axis_angle_from_rotation, project_points
from handviz.core.records import CROP_SIZE, FloatArray, Handedness, Intrinsics
from handviz.data.synthetic.sample import Sample, render_samples
from handviz.hand_models.mano.parameters import MIRROR, ROTATION_MIRROR, posed
from handviz.hand_models.skinning import joint_transforms
from tests.fake_datasets.stand_in_mano import MANO_FROM_OPEN, mano_pose, stand_in_template


@dataclass(frozen=True, eq=False)
class TinyHand:
    """An image of one hand with its labels; MANO's numbers are those of the stand-in file of its side."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB"""
    mask: NDArray[np.uint8]
    """(H, W) 255 where the hand or its arm is seen"""
    intrinsics: Intrinsics
    handedness: Handedness
    pose: FloatArray
    """(45,) axis-angle from the flat hand"""
    shape: FloatArray
    """(10,)"""
    global_rotation: FloatArray
    """(3,) axis-angle about the wrist joint"""
    wrist_m: FloatArray
    """(3,) wrist joint in the camera's frame"""
    vertices_m: FloatArray
    """(778, 3) in the camera's frame"""
    joints_m: FloatArray
    """(16, 3) MANO's joints in MANO's order, in the camera's frame"""

    @property
    def vertices_px(self) -> FloatArray:
        """Vertices (778, 2) in the image."""
        return project_points(self.vertices_m, self.intrinsics)


def tiny_hands(
    count: int, *, seed: int, size: tuple[int, int], sides: Sequence[Handedness] = ("right",), reach: float = 1.0
) -> Iterator[TinyHand]:
    """Yield hands in images of this width and height, alternating sides; the rendered square has ``reach`` times the
    shorter side."""
    rng = np.random.default_rng(seed)
    for number, sample in enumerate(render_samples(rng, count)):
        hand = _placed(sample, rng, size, reach)
        yield hand if sides[number % len(sides)] == "right" else in_a_mirror(hand)


def _placed(sample: Sample, rng: np.random.Generator, size: tuple[int, int], reach: float) -> TinyHand:
    """Return a right hand: the rendered crop somewhere in a larger image, seen by a camera rotated as the crop."""
    labels = sample.labels
    scale = min(size) * reach / CROP_SIZE
    shift = (np.array(size) - scale * CROP_SIZE) * rng.uniform(0.2, 0.8, 2)
    to_crop = labels["crop_from_image"]
    zoom = float(np.sqrt(np.linalg.det(to_crop[:, :2])))
    in_plane = np.eye(3)
    in_plane[:2, :2] = to_crop[:, :2] / zoom
    focal = labels["camera_matrix"][0, 0] * zoom * scale
    centre = scale * (to_crop[:, :2] @ labels["camera_matrix"][:2, 2] + to_crop[:, 2]) + shift
    template = stand_in_template()
    canonical = posed(template, (mano_pose(labels["pose"]) - template.pose_mean)[None], labels["shape"][None])[0]
    rotation = in_plane @ labels["camera_from_wrist"] @ MANO_FROM_OPEN.T
    wrist_m = in_plane @ labels["wrist_camera_m"]
    vertices_m = canonical @ rotation.T + wrist_m
    return TinyHand(
        image=_pasted(sample.image, scale, shift, size, cv2.BORDER_REFLECT),
        mask=_pasted(sample.mask * 255, scale, shift, size, cv2.BORDER_CONSTANT),
        intrinsics=Intrinsics(focal, *centre),
        handedness="right",
        pose=mano_pose(labels["pose"]),
        shape=labels["shape"],
        global_rotation=axis_angle_from_rotation(rotation),
        wrist_m=wrist_m,
        vertices_m=vertices_m,
        joints_m=_joints(labels, rotation, wrist_m),
    )


def _joints(labels: dict[str, FloatArray], rotation: FloatArray, wrist_m: FloatArray) -> FloatArray:
    """Return joints (16, 3) by the kinematic chain, as the regressor holds for the rest pose alone."""
    template = stand_in_template()
    rest = template.joint_regressor @ (template.vertices_m + template.shape_basis @ labels["shape"])
    rest = rest - rest[0]
    transforms = joint_transforms(mano_pose(labels["pose"])[None], rest[None], template.parents)[0]
    joints = np.einsum("jab,jb->ja", transforms[..., :3], rest) + transforms[..., 3]
    return np.asarray(joints @ rotation.T + wrist_m)


def _pasted(
    image: NDArray[np.uint8], scale: float, shift: FloatArray, size: tuple[int, int], border: int
) -> NDArray[np.uint8]:
    """Paste the crop under ``scale * x + shift``; pixel centres are at halves here, at whole numbers in OpenCV."""
    affine = np.array([[scale, 0, shift[0] + 0.5 * (scale - 1)], [0, scale, shift[1] + 0.5 * (scale - 1)]])
    pasted = cv2.warpAffine(image, affine, size, flags=cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(pasted, np.uint8)


def in_a_mirror(hand: TinyHand) -> TinyHand:
    """Return the other hand of the same pose, in the mirrored image."""
    intrinsics = Intrinsics(
        hand.intrinsics.focal_px, hand.image.shape[1] - hand.intrinsics.centre_x_px, hand.intrinsics.centre_y_px
    )
    return TinyHand(
        image=np.ascontiguousarray(hand.image[:, ::-1]),
        mask=np.ascontiguousarray(hand.mask[:, ::-1]),
        intrinsics=intrinsics,
        handedness="left",
        pose=(hand.pose.reshape(-1, 3) * ROTATION_MIRROR).ravel(),
        shape=hand.shape,
        global_rotation=hand.global_rotation * ROTATION_MIRROR,
        wrist_m=hand.wrist_m * MIRROR,
        vertices_m=hand.vertices_m * MIRROR,
        joints_m=hand.joints_m * MIRROR,
    )
