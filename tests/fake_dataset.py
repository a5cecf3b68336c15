"""Rendered hands behind the interface of a dataset, and a network that knows the truth."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from handviz.core.geometry import project_points, rotation_from_axis_angle
from handviz.core.records import NetworkOutput
from handviz.data.datasets.annotated import AnnotatedHand
from handviz.detection.crop import camera_from_crop, crop_from_image_affine
from handviz.hand_models.mano.parameters import MIRROR
from tests.fake_datasets.hands import TinyHand, tiny_hands
from tests.fake_datasets.stand_in_mano import stand_in_template

TIPS = (744, 320, 443, 555, 672)
FINGERS = (13, 14, 15, 1, 2, 3, 4, 5, 6, 10, 11, 12, 7, 8, 9)


def annotated(hand: TinyHand, name: str) -> AnnotatedHand:
    """Return a dataset reader's record of a hand."""
    chains = [[*FINGERS[3 * finger : 3 * finger + 3]] for finger in range(5)]
    fingers = [np.vstack([hand.joints_m[chain], hand.vertices_m[tip]]) for chain, tip in zip(chains, TIPS, strict=True)]
    keypoints = np.vstack([hand.joints_m[:1], *fingers])
    return AnnotatedHand(
        name=name,
        image=Path(name),
        handedness=hand.handedness,
        intrinsics=hand.intrinsics,
        keypoints_px=project_points(keypoints, hand.intrinsics),
        keypoints_m=keypoints,
        vertices_m=hand.vertices_m,
    )


@dataclass
class FakeDataset:
    """A ``HandDataset`` of tiny hands."""

    hands: list[TinyHand]
    annotations: list[AnnotatedHand]
    name: str = "freihand"
    split: str = "evaluation"
    tip_vertices: tuple[int, int, int, int, int] | None = TIPS
    warnings: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.hands)

    def hand(self, index: int) -> AnnotatedHand:
        return self.annotations[index]

    def image(self, index: int) -> np.ndarray:
        return self.hands[index].image


def fake_dataset(count: int, *, seed: int = 3) -> FakeDataset:
    """Return right and left hands alternately, two sequences of one camera each."""
    hands = list(tiny_hands(count, seed=seed, size=(320, 240), sides=("right", "left")))
    names = [f"S{number % 2}/{number // 2:04d}" for number in range(count)]
    return FakeDataset(hands, [annotated(hand, name) for hand, name in zip(hands, names, strict=True)])


def true_answer(hand: TinyHand, noise_m: float = 0.0, random: np.random.Generator | None = None) -> NetworkOutput:
    """Return the output of a perfect network, plus noise, for the crop of the true keypoints."""
    template = stand_in_template()
    note = annotated(hand, "")
    to_camera = camera_from_crop(crop_from_image_affine(note.keypoints_px, hand.handedness), hand.intrinsics)
    mirror = MIRROR if hand.handedness == "left" else np.ones(3)
    turn = rotation_from_axis_angle(hand.global_rotation) @ np.diag(mirror)
    vertices = (hand.vertices_m - hand.wrist_m) @ turn
    if random is not None:
        vertices = vertices + random.normal(scale=noise_m, size=vertices.shape)
    # The joints lie where the posed skeleton has them, which the regressor does not know.
    keypoints = (note.keypoints_m - hand.wrist_m) @ turn if random is None else template.keypoint_regressor @ vertices
    rotation = to_camera.T @ turn
    middle_m = float(hand.vertices_m[:, 2].mean())
    crop_per_image = np.sqrt(abs(np.linalg.det(crop_from_image_affine(note.keypoints_px, hand.handedness)[:, :2])))
    scale = hand.intrinsics.focal_px * crop_per_image / 112 / middle_m
    wrist_crop = crop_from_image_affine(note.keypoints_px, hand.handedness) @ np.append(note.keypoints_px[0], 1)
    return NetworkOutput(
        vertices_m=vertices,
        vertex_std_m=np.full(vertices.shape, 0.005),
        keypoints_m=keypoints,
        keypoint_std_m=np.full((21, 3), 0.005),
        rotation=rotation,
        scale=float(scale),
        translation=wrist_crop / 112 - 1,
    )


def says(answers):
    """Return a predictor that returns these hands one after the other."""
    left = iter(answers)
    return lambda images: [next(left) for _ in images]


def moved(answer: NetworkOutput, **changes) -> NetworkOutput:
    """Return the same output with other fields."""
    return replace(answer, **changes)
