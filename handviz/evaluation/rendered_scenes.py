"""Rendered hands in whole images with their truth: single images, and clips of moving hands."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import apply_affine, invert_affine
from handviz.core.records import CROP_SIZE, FloatArray, Handedness, HandMesh, Intrinsics
from handviz.data.synthetic import look
from handviz.data.synthetic.motion import GRAIN, HandMotion, MotionPoser
from handviz.data.synthetic.sample import Sample, render_samples
from handviz.data.synthetic.scene import VISIBLE_TOLERANCE_M
from handviz.data.synthetic.stage import Stage, open_stage, photograph, sample_decor
from handviz.hand_models.open_hand import load_open_hand
from handviz.pipeline.refinement import length_m

SAME_HAND = 0.35
"""Maximum distance of a detection from the true keypoints, in extents of the hand."""
MAX_HIDDEN_OF_SCENES = 0.9
FRAMES_PER_SECOND = 30


class RenderedScene(NamedTuple):
    """An image and the ground truth of its hand."""

    image: NDArray[np.uint8]
    camera: Intrinsics
    handedness: Handedness
    wrist_m: FloatArray
    """(3,) camera frame"""
    camera_from_wrist: FloatArray
    """(3, 3) rotation as in HandMesh"""
    true_m: FloatArray
    """(V, 3) canonical; of a left hand in the frame of ``camera_from_wrist``, un-mirrored"""
    length_m: float
    keypoints_px: FloatArray
    """(21, 2)"""
    visible: NDArray[np.bool_]
    """(V,)"""
    visible_alone: NDArray[np.bool_]
    """(V,) without the objects in front of the hand"""
    hidden_fraction: float
    """of the otherwise visible vertices, those that objects hide"""

    @property
    def vertices_m(self) -> FloatArray:
        """(V, 3) in the camera's axes, from the wrist."""
        return np.asarray(self.true_m @ self.camera_from_wrist.T)

    def mirrored(self) -> "RenderedScene":
        """Return the mirror image: that of the other hand, and of a camera with its centre on the other side."""
        mirror, width = np.diag([-1.0, 1.0, 1.0]), self.image.shape[1]
        keypoints_px = self.keypoints_px * [-1, 1] + [width, 0]
        return self._replace(
            image=np.ascontiguousarray(self.image[:, ::-1]),
            camera=Intrinsics(self.camera.focal_px, width - self.camera.centre_x_px, self.camera.centre_y_px),
            handedness="left" if self.handedness == "right" else "right",
            wrist_m=self.wrist_m @ mirror,
            camera_from_wrist=mirror @ self.camera_from_wrist @ mirror,
            true_m=self.true_m @ mirror,
            keypoints_px=keypoints_px,
        )


def scenes(
    seed: int | Sequence[int], count: int, most_hidden: float = MAX_HIDDEN_OF_SCENES, *, least_hidden: float = 0.0
) -> Iterator[RenderedScene]:
    """Yield rendered right hands of the full rig, each in a whole image before a blur of itself."""
    hidden = least_hidden, most_hidden
    for sample in render_samples(np.random.default_rng(seed), count, hidden, truth="rig"):
        yield _in_whole_image(sample)


def _in_whole_image(sample: Sample) -> RenderedScene:
    labels = sample.labels
    matrix, crop_from_image = labels["camera_matrix"], labels["crop_from_image"]
    camera = Intrinsics(float(matrix[0, 0]), float(matrix[0, 2]), float(matrix[1, 2]))
    size = (round(2 * camera.centre_x_px), round(2 * camera.centre_y_px))
    image_from_crop = invert_affine(crop_from_image)
    behind = cv2.resize(cv2.GaussianBlur(sample.image, (0, 0), 30), size)
    # OpenCV's pixel centres lie at whole numbers, ours at halves.
    shifted = image_from_crop.copy()
    shifted[:, 2] += image_from_crop[:, :2] @ np.full(2, 0.5) - 0.5
    image = cv2.warpAffine(sample.image, shifted, size, dst=behind, borderMode=cv2.BORDER_TRANSPARENT)
    return RenderedScene(
        image=np.asarray(image, dtype=np.uint8),
        camera=camera,
        handedness="right",
        wrist_m=labels["wrist_camera_m"],
        camera_from_wrist=labels["camera_from_wrist"],
        true_m=labels["vertices"],
        length_m=_length_m(labels["vertices"]),
        keypoints_px=apply_affine(image_from_crop, (labels["keypoints_crop"] + 1) * CROP_SIZE / 2),
        visible=sample.visible,
        visible_alone=sample.visible_alone,
        hidden_fraction=float(labels["hidden_share"]),
    )


def _length_m(vertices_m: FloatArray) -> float:
    return length_m(load_open_hand().keypoint_regressor @ vertices_m)


def clips(seeds: Iterable[int], frame_count: int) -> Iterator[Iterator[RenderedScene]]:
    """Yield the frames of one clip a seed: a moving hand, left of odd seeds, in a room and light of its own.

    The hands lie in the open hand's space, no objects are before them, and 30 frames are a second.
    """
    poser = MotionPoser()
    with open_stage() as stage:
        for seed in seeds:
            yield _frames(stage, HandMotion(seed, frame_count / FRAMES_PER_SECOND, poser), seed, frame_count)


def _frames(stage: Stage, motion: HandMotion, seed: int, frame_count: int) -> Iterator[RenderedScene]:
    rng = np.random.default_rng(seed)
    material, decor = look.skin_material(rng), None
    for number in range(frame_count):
        true = motion.at(number / FRAMES_PER_SECOND)
        surface = stage.arm(material, true.arm, true.from_canonical, true.position_m)
        decor = decor or sample_decor(rng, stage, [surface])
        drawn = stage.draw([surface], decor)
        wrist_m = true.keypoints_m[0]
        true_m = (true.vertices_m - wrist_m) @ true.camera_from_wrist
        visible = stage.visible(drawn, true.vertices_m, within_m=VISIBLE_TOLERANCE_M)
        yield RenderedScene(
            image=photograph(drawn, decor, number, grain=GRAIN),
            camera=stage.intrinsics,
            handedness=motion.handedness,
            wrist_m=wrist_m,
            camera_from_wrist=true.camera_from_wrist,
            true_m=true_m,
            length_m=_length_m(true_m),
            keypoints_px=stage.intrinsics.project(true.keypoints_m),
            visible=visible,
            visible_alone=visible,
            hidden_fraction=0.0,
        )


def distance(hand: HandMesh, scene: RenderedScene) -> float:
    """Return the mean distance of projected keypoints from the true ones, in extents of the hand."""
    extent = float(np.ptp(scene.keypoints_px, axis=0).max())
    return float(np.linalg.norm(hand.keypoints_px - scene.keypoints_px, axis=1).mean()) / extent


def found_index(hands: Sequence[HandMesh], scene: RenderedScene) -> int | None:
    """Return which of the hands found is the scene's: of the same side, and nearer than ``SAME_HAND``."""
    matching = [
        (distance(hand, scene), index) for index, hand in enumerate(hands) if hand.handedness == scene.handedness
    ]
    away, index = min(matching, default=(np.inf, 0))
    return index if away < SAME_HAND else None
