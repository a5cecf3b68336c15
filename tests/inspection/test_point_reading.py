"""Numbers and names of a picked point."""

from dataclasses import replace

import numpy as np
import pytest

from handviz.core.records import Handedness, HandMesh
from handviz.core.shape_posterior import ShapePosterior
from handviz.hand_models.skinning import vertices_from_keypoint_displacements
from handviz.hand_models.template import HandTemplate
from handviz.inspection.point_reading import hand_self_visible, joint_name, point_name, read_point
from handviz.rendering.highlight import Pick
from tests.hands import TIPS, textured_hand


def hand_with_covariance(handedness: Handedness = "right") -> HandMesh:
    covariance = np.array([[9.0, 2.0, 0.0], [2.0, 16.0, 1.0], [0.0, 1.0, 4.0]])
    return replace(
        textured_hand(handedness=handedness),
        keypoint_covariance_mm2=np.tile(covariance, (21, 1, 1)),
        vertex_covariance_mm2=np.tile(covariance, (778, 1, 1)),
    )


def test_a_vertex_is_read_in_millimetres(template: HandTemplate) -> None:
    hand = hand_with_covariance()
    reading = read_point(hand, Pick(0, vertex=300), template)
    np.testing.assert_allclose(reading.from_wrist_mm, hand.vertices_m[300] * 1000)
    np.testing.assert_allclose(reading.in_camera_mm - reading.from_wrist_mm, hand.wrist_camera_m * 1000)
    assert reading.std_mm == hand.vertex_std_mm[300]
    assert reading.axis_std_mm is not None
    assert reading.principal_std_mm is not None
    np.testing.assert_allclose(reading.axis_std_mm, [3, 4, 2])
    assert np.square(reading.principal_std_mm).sum() == pytest.approx(29.0)
    assert list(reading.principal_std_mm) == sorted(reading.principal_std_mm, reverse=True)
    assert hand.texture is not None
    assert (reading.visible, reading.seen) == (hand.texture.visible[300], hand.texture.seen[300])


def test_the_share_of_the_landmarks_is_the_variance_that_they_took_away(template: HandTemplate) -> None:
    follow = vertices_from_keypoint_displacements(template)
    after = np.eye(63)
    after[24:27, 24:27] *= 0.25  # keypoint 8
    hand = replace(textured_hand(), shape=ShapePosterior(after, np.eye(63), follow, 90.0, 98))
    tip, wrist = (read_point(hand, Pick(0, joint=joint), template).landmark_share for joint in (8, 0))
    assert tip == pytest.approx(0.75)
    assert wrist == 0
    vertex = int(follow[:, 8].argmax())
    share = read_point(hand, Pick(0, vertex=vertex), template).landmark_share
    variances = np.where(np.arange(21) == 8, 0.25, 1.0)
    assert share == pytest.approx(1 - follow[vertex] ** 2 @ variances / (follow[vertex] ** 2).sum())
    assert read_point(textured_hand(), Pick(0, vertex=3), template).landmark_share is None


def test_without_covariance_and_texture_less_is_known(template: HandTemplate) -> None:
    bare = replace(textured_hand(), texture=None)
    reading = read_point(bare, Pick(0, joint=8), template)
    assert (reading.axis_std_mm, reading.principal_std_mm, reading.seen) == (None, None, None)
    assert reading.name == "Index tip"
    np.testing.assert_allclose(reading.from_wrist_mm, bare.keypoints_m[8] * 1000)
    assert 0 < read_point(bare, Pick(0, joint=0), template).visible < 1


@pytest.mark.parametrize("handedness", ["right", "left"])
def test_the_camera_sees_the_palm_of_a_hand_that_shows_it(template: HandTemplate, handedness: Handedness) -> None:
    seen = hand_self_visible(textured_hand(handedness=handedness), template.faces)
    names = np.array([point_name(Pick(0, vertex=vertex), template) for vertex in range(778)])
    palm, back = (np.char.startswith(names, start) for start in ("Palm", "Back of the hand"))
    assert seen[palm].mean() > 0.8
    assert seen[back].mean() < 0.15


def test_names_are_those_of_the_fingers(template: HandTemplate) -> None:
    keypoints = template.keypoint_regressor @ template.vertices_m
    for tip, finger in zip(TIPS, ("Thumb", "Index", "Middle", "Ring", "Little"), strict=True):
        nearest = int(np.linalg.norm(template.vertices_m - keypoints[tip], axis=1).argmin())
        name = point_name(Pick(0, vertex=nearest), template)
        assert name.startswith(finger)
        assert "distal phalanx" in name
        assert joint_name(tip) == f"{finger} tip"
    assert [joint_name(joint) for joint in (0, 1, 3, 5, 19)] == [
        "Wrist",
        "Thumb CMC",
        "Thumb IP",
        "Index MCP",
        "Little DIP",
    ]


def test_a_strange_hand_model_has_numbers_but_no_names() -> None:
    reading = read_point(replace(textured_hand(), texture=None), Pick(0, vertex=5), None)
    assert (reading.name, reading.visible) == ("Vertex 5", 1.0)
