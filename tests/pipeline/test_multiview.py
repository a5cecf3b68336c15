"""Hands of several views: matched, left out with a reason, and one view alone where no two fit."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from handviz.core.geometry import apply_affine
from handviz.core.multiview import CalibratedView, ViewHand
from handviz.core.records import Detection, FloatArray, Frame, FrameResult, Intrinsics
from handviz.detection.detectors import make_detector
from handviz.pipeline.multiview import MultiViewPipeline
from handviz.sources.rig_moments import Moment, MomentView
from tests.core.test_multiview import NAMES, keypoints_m, seen
from tests.fake_multiview import KnowingDetector, TriangulatingModel
from tests.hands import made_up_hand


def detection(hand: ViewHand) -> Detection:
    """Return what a detector says of it."""
    return Detection(hand.handedness, hand.score, hand.keypoints_px)


def moment(count: int = 4) -> Moment:
    """Return a moment whose images have their number in the first pixel."""
    views = []
    for number, hand in enumerate(seen(keypoints_m(), count=count)):
        image = np.full((480, 640, 3), number + 1, np.uint8)
        views.append(MomentView(NAMES[number], f"{number}.png", Frame(0, image, 0.0), hand.camera))
    return Moment(0, tuple(views))


class Alone:
    """Records the frames that a model of one view gets."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def __call__(self, frame: Frame, intrinsics: Intrinsics) -> FrameResult:
        self.numbers.append(int(frame.image[0, 0, 0]) - 1)
        hand = made_up_hand()
        return FrameResult(frame, "final", (Detection("right", 0.9, hand.keypoints_px),), (hand,))


def pipeline_of(
    hands: Sequence[Sequence[ViewHand]], *, is_clip: bool = False
) -> tuple[MultiViewPipeline, TriangulatingModel, Alone, list[KnowingDetector]]:
    """Return the pipeline for hands of each view, and what it uses."""
    model, alone, made = TriangulatingModel(), Alone(), list[KnowingDetector]()

    def detector() -> KnowingDetector:
        made.append(KnowingDetector({at + 1: tuple(map(detection, of)) for at, of in enumerate(hands)}))
        return made[-1]

    return MultiViewPipeline(model, detector, alone, is_clip=is_clip, max_hands=2), model, alone, made


def test_a_hand_is_reconstructed_from_all_views_in_the_first_one_s_frame() -> None:
    hands = seen(keypoints_m(), noise_px=1.0)
    pipeline, model, alone, made = pipeline_of([[hand] for hand in hands])
    (found,) = pipeline.process(moment())
    assert (found.views, found.left_out, alone.numbers) == (NAMES, (), [])
    in_camera = hands[0].camera.in_camera(keypoints_m())
    assert np.linalg.norm(found.hand.keypoints_m + found.hand.wrist_camera_m - in_camera, axis=1).max() < 0.005
    assert [view.crop.size_px for view in model.seen[0]] == [64] * 4
    assert len(made) == 1
    pipeline.close()
    assert made[0].is_closed


def test_clips_have_a_detector_for_each_view() -> None:
    pipeline, _, _, made = pipeline_of([[hand] for hand in seen(keypoints_m())], is_clip=True)
    for _ in range(2):
        pipeline.process(moment())
    assert len(made) == 4
    pipeline.close()


def test_all_crops_have_the_side_that_most_views_see() -> None:
    hands = seen(keypoints_m())
    hands[1] = replace(hands[1], handedness="left")
    pipeline, model, _, _ = pipeline_of([[hand] for hand in hands])
    (found,) = pipeline.process(moment())
    assert found.views == NAMES
    assert {view.crop.detection.handedness for view in model.seen[0]} == {"right"}
    assert found.detection.handedness == "right"


def test_two_hands_and_views_that_lack_one() -> None:
    near, far = seen(keypoints_m()), seen(keypoints_m(50) + np.array([0.12, 0.02, 0.1]))
    pipeline, _, _, _ = pipeline_of([[near[0], far[0]], [far[1], near[1]], [near[2]], []])
    first, second = pipeline.process(moment())
    assert (first.views, second.views) == (("left", "right", "top"), ("left", "right"))
    assert [(left.name, left.kind) for left in first.left_out] == [("back", "no hand")]
    assert sorted((left.name, left.kind) for left in second.left_out) == [("back", "no hand"), ("top", "no hand")]


def test_a_view_that_misfits_is_left_out_with_the_reason() -> None:
    hands = seen(keypoints_m())
    pixels = hands[2].keypoints_px * [-1, 1] + [2 * hands[2].camera.intrinsics.centre_x_px, 0]
    hands[2] = replace(hands[2], keypoints_px=pixels, handedness="left")
    pipeline, _, _, _ = pipeline_of([[hand] for hand in hands])
    (found,) = pipeline.process(moment())
    assert found.views == ("left", "right", "back")
    assert [(left.name, left.kind) for left in found.left_out] == [("top", "mirrored")]


def test_one_view_is_reconstructed_by_itself_and_none_gives_no_hands() -> None:
    first, second = seen(keypoints_m(), count=2)
    second = replace(second, keypoints_px=second.keypoints_px + np.array([0, 150]), score=0.99)
    pipeline, model, alone, _ = pipeline_of([[first], [second]])
    (found,) = pipeline.process(moment(2))
    assert (found.views, alone.numbers, model.seen) == (("right",), [1], [])
    assert [left.name for left in found.left_out] == ["left"]
    pipeline, _, alone, _ = pipeline_of([[], [second]])
    (found,) = pipeline.process(moment(2))
    assert [(left.name, left.kind) for left in found.left_out] == [("left", "no hand")]
    pipeline, _, alone, _ = pipeline_of([])
    assert pipeline.process(moment(2)) == []
    assert alone.numbers == []


PAD_PX = 60


def rendered_view(labels: dict[str, np.ndarray], name: str, image: np.ndarray) -> tuple[MomentView, FloatArray]:
    """Return a crop with a border as a pinhole's image: its affine's rotation goes into the camera's pose."""
    affine, matrix = labels["crop_from_image"].astype(float), labels["camera_matrix"].astype(float)
    scale = float(np.sqrt(np.linalg.det(affine[:, :2])))
    centre = apply_affine(affine, matrix[:2, 2]) + PAD_PX
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = labels["camera_from_wrist"], labels["wrist_camera_m"]
    turn = np.eye(4)
    turn[:2, :2] = affine[:, :2] / scale
    camera = CalibratedView(
        Intrinsics(scale * matrix[0, 0], float(centre[0]), float(centre[1]), scale * matrix[1, 1]), turn @ pose
    )
    padded = np.pad(image, ((PAD_PX, PAD_PX), (PAD_PX, PAD_PX), (0, 0)))
    truth_px = (labels["keypoints_crop"].astype(float) + 1) * 112 + PAD_PX
    return MomentView(name, f"{name}.png", Frame(0, padded, 0.0), camera), truth_px


@pytest.mark.slow
def test_the_detector_s_hands_of_a_rendered_moment_belong_together() -> None:
    """Things hide most of the hand in view 1: what the detector takes for one there is left out."""
    from handviz.data.synthetic.moments import render_moments

    samples = next(render_moments(np.random.default_rng(5), 4, 4))
    views, truths = zip(
        *(rendered_view(sample.labels, f"cam{number}", sample.image) for number, sample in enumerate(samples)),
        strict=True,
    )
    points_m = samples[0].labels["vertices"]
    model = TriangulatingModel()
    for view, truth_px in zip(views, truths, strict=True):
        keypoints = model.template.keypoint_regressor @ points_m
        projected = view.camera.intrinsics.project(view.camera.in_camera(keypoints))
        np.testing.assert_allclose(projected, truth_px, atol=0.1)
    pipeline = MultiViewPipeline(
        model, lambda: make_detector(max_hands=2, video=False), Alone(), is_clip=False, max_hands=2
    )
    found = pipeline.process(Moment(0, views))
    pipeline.close()
    assert len(found) == 1
    assert found[0].views == ("cam0", "cam2", "cam3")
    assert [left.name for left in found[0].left_out] == ["cam1"]
    error_px = np.linalg.norm(found[0].hand.keypoints_px - truths[0], axis=1)
    assert np.median(error_px) < 8
