"""Rendered scenes: their truth, also of mirrored ones, lies where the image shows the hand."""

import numpy as np
import pytest

from handviz.core.records import FloatArray, Frame
from handviz.evaluation import rendered_scenes
from handviz.evaluation.rendered_scenes import RenderedScene, clips, found_index, scenes
from handviz.hand_models.open_hand import load_open_hand
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings


@pytest.fixture(scope="module")
def rendered() -> list[RenderedScene]:
    return list(scenes(7, 3, 0.2))


def projected_px(scene: RenderedScene) -> FloatArray:
    keypoints_m = load_open_hand().keypoint_regressor @ scene.vertices_m
    return scene.camera.project(keypoints_m + scene.wrist_m)


def test_true_points_are_projected_onto_the_true_pixels_mirrored_too(rendered: list[RenderedScene]) -> None:
    for scene in rendered:
        mirrored = scene.mirrored()
        assert (scene.handedness, mirrored.handedness) == ("right", "left")
        assert np.linalg.det(mirrored.camera_from_wrist) == pytest.approx(1, abs=1e-5)
        for one in (scene, mirrored):
            np.testing.assert_allclose(projected_px(one), one.keypoints_px, atol=0.05)
        np.testing.assert_array_equal(mirrored.image[:, 0], scene.image[:, -1])
        np.testing.assert_allclose(mirrored.vertices_m, scene.vertices_m * [-1, 1, 1], atol=1e-6)


def test_mirrored_twice_is_the_scene_again(rendered: list[RenderedScene]) -> None:
    again = rendered[0].mirrored().mirrored()
    for name in ("image", "wrist_m", "camera_from_wrist", "true_m", "keypoints_px"):
        np.testing.assert_allclose(getattr(again, name), getattr(rendered[0], name), atol=1e-9)
    assert again.camera == rendered[0].camera


def test_the_fraction_that_objects_hide_is_within_its_bounds() -> None:
    for scene in scenes([7, 1], 2, least_hidden=0.5):
        assert 0.5 <= scene.hidden_fraction < 0.9
        hidden = scene.visible_alone & ~scene.visible
        assert hidden.sum() / scene.visible_alone.sum() == pytest.approx(scene.hidden_fraction, abs=1e-6)


def test_clips_show_hands_of_both_sides_that_move(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendered_scenes, "FRAMES_PER_SECOND", 1)
    sides = []
    for clip in clips((20, 21), 3):
        frames = list(clip)
        sides.append(frames[0].handedness)
        for one in frames:
            np.testing.assert_allclose(projected_px(one), one.keypoints_px, atol=0.05)
            assert 0.1 < one.visible.mean() < 0.9
            assert one.image.shape == (480, 640, 3)
        assert np.abs(frames[2].keypoints_px - frames[0].keypoints_px).max() > 3
    assert sides == ["right", "left"]


@pytest.mark.slow
def test_detected_keypoints_lie_on_the_true_ones_of_right_and_left_hands(rendered: list[RenderedScene]) -> None:
    found = {"right": 0, "left": 0}
    with Pipeline(PipelineSettings("final"), PipelineConfig(preload_others=False)) as pipeline:
        for number, scene in enumerate(rendered):
            for one in (scene, scene.mirrored()):
                pipeline.reset()
                hands = pipeline.process_with(Frame(number, one.image, 0.0), one.camera).hands
                index = found_index(hands, one)
                if index is not None:
                    found[one.handedness] += 1
                    away = np.linalg.norm(hands[index].keypoints_px - one.keypoints_px, axis=1).mean()
                    assert away < 0.15 * np.ptp(one.keypoints_px, axis=0).max()
    assert min(found.values()) >= 2
