"""Hands, detections and a detector made up for tests."""

import dataclasses
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from handviz.core.records import Detection, DetectorChoice, Frame, Handedness, HandMesh, HandTexture, Intrinsics
from handviz.hand_models.open_hand import load_open_hand
from handviz.rendering.hand_shape import VertexNormals

INTRINSICS = Intrinsics(focal_px=500.0, centre_x_px=320.0, centre_y_px=240.0)
PIXELS_PER_M = 1000.0
TIPS = [4, 8, 12, 16, 20]


def made_up_hand(
    *,
    wrist_px: tuple[float, float] = (300.0, 200.0),
    handedness: Handedness = "right",
    std_mm: float = 5.0,
    track_id: int = 1,
) -> HandMesh:
    """Return a hand of random points within 10 cm of the wrist, which projects to ``wrist_px``."""
    random = np.random.default_rng(0)
    vertices_m, keypoints_m = random.uniform(-0.05, 0.05, (30, 3)), random.uniform(-0.05, 0.05, (21, 3))
    keypoints_m[0] = 0
    return HandMesh(
        handedness=handedness,
        detection_score=0.9,
        model="final",
        vertices_m=vertices_m,
        vertex_std_mm=np.full(30, std_mm),
        keypoints_m=keypoints_m,
        keypoint_std_mm=np.full(21, std_mm),
        camera_from_wrist=np.eye(3),
        wrist_camera_m=np.array([(wrist_px[0] - 320) / 1000, (wrist_px[1] - 240) / 1000, 0.5]),
        intrinsics=INTRINSICS,
        track_id=track_id,
    )


def textured_hand(*, handedness: Handedness = "right", wrist_px: tuple[float, float] = (150.0, 220.0)) -> HandMesh:
    """Return the open hand at rest, palm to the camera, coloured by position, visible where it faces the camera."""
    template = load_open_hand()
    mirror = np.array([-1.0 if handedness == "left" else 1.0, 1.0, 1.0])
    vertices_m = template.vertices_m * mirror
    keypoints_m = template.keypoint_regressor @ vertices_m
    rgb = (vertices_m - vertices_m.min(axis=0)) / np.ptp(vertices_m, axis=0)
    towards_camera = -VertexNormals(template.faces, len(vertices_m))(template.vertices_m)[:, 2]
    visible = np.clip(towards_camera * 4, 0, 1)
    hand = made_up_hand(handedness=handedness, wrist_px=wrist_px)
    return dataclasses.replace(
        hand,
        vertices_m=vertices_m,
        vertex_std_mm=np.linspace(2.0, 12.0, len(vertices_m)),
        keypoints_m=keypoints_m - keypoints_m[0],
        texture=HandTexture(rgb=rgb, albedo=rgb, visible=visible, seen=visible),
    )


def shaken(hand: HandMesh, offset_m: np.ndarray) -> HandMesh:
    """Return the hand with its vertices displaced by (30, 3) metres."""
    return dataclasses.replace(hand, vertices_m=hand.vertices_m + offset_m)


def shifted(hand: HandMesh, right_px: float, down_px: float = 0.0) -> HandMesh:
    """Return the hand moved across the image by as many pixels at the depth of its keypoints."""
    away_m = np.array([right_px, down_px, 0.0]) / hand.pixels_per_m
    return dataclasses.replace(hand, wrist_camera_m=hand.wrist_camera_m + away_m)


def made_up_detection(handedness: Handedness = "right", *, size: float = 100.0, x: float = 100.0) -> Detection:
    """Return an upright hand of ``size`` pixels: wrist below, fingers as five columns."""
    fingers = [(size * (0.2 * finger - 0.4), -size * (0.4 + 0.15 * joint)) for finger in range(5) for joint in range(4)]
    keypoints = np.array([(0.0, 0.0), *fingers])
    return Detection(handedness, 0.95, keypoints + np.array([x, 140.0]))


class FakeLandmarker:
    """A detector of the same right hand in every image that is not black; records its options."""

    made: list["FakeLandmarker"] = []  # noqa: RUF012 - the test's own record, cleared by its fixture

    def __init__(self, choice: DetectorChoice, _: Path, *, max_hands: int, video: bool, **_others: object) -> None:
        self.choice, self.max_hands, self.video, self.closed = choice, max_hands, video, False
        self.made.append(self)

    def detect(self, frame: Frame) -> tuple[Detection, ...]:
        return (made_up_detection(),) if frame.image.any() else ()

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
