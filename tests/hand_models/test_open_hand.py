"""The committed open hand: intact, oriented as the records state, and dense for drawing."""

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from handviz.core.errors import ErrorCode
from handviz.core.paths import OPEN_HAND_FILE
from handviz.hand_models.anatomy import pose_from_angles, sample_angles
from handviz.hand_models.open_hand import (
    HOW_TO_GET,
    TEMPLATE_ARRAYS,
    load_arm_mesh,
    load_display_mesh,
    load_open_hand,
)
from handviz.hand_models.skinning import joint_transforms, skin
from handviz.hand_models.template import checked
from tests.errors import raises
from tests.hands import TIPS


@pytest.fixture(scope="module")
def keypoints(template):
    return template.keypoint_regressor @ template.vertices_m


@pytest.fixture(scope="module")
def arrays():
    with np.load(OPEN_HAND_FILE) as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def posed(template, axes, rest_joints):
    """Return hands (12, 778, 3) in random poses."""
    angles = sample_angles(np.random.default_rng(0), 12)
    poses = pose_from_angles(angles, axes)
    transforms = joint_transforms(poses, np.repeat(rest_joints[None], 12, axis=0), template.parents)
    return skin(np.repeat(template.vertices_m[None], 12, axis=0), template.skinning_weights, transforms)


def test_it_is_what_every_hand_model_offers(template, arrays):
    assert checked(template) is template
    assert (template.vertex_count, len(template.coarse_ids)) == (778, 195)
    assert template.fingerprint == str(arrays["fingerprint"])


def test_nobody_can_change_it(template):
    for name in TEMPLATE_ARRAYS:
        with pytest.raises(ValueError, match="read-only"):
            getattr(template, name)[0] = 0


def test_a_missing_file_is_named_with_the_way_to_get_it(tmp_path):
    for load in (load_open_hand, load_display_mesh, load_arm_mesh):
        with raises(ErrorCode.FILE_MISSING) as caught:
            load(tmp_path / "open_hand.npz")
        assert str(tmp_path / "open_hand.npz") in str(caught.value)
        assert HOW_TO_GET in str(caught.value)


@pytest.mark.parametrize("kept", [0, 100, 40_000, -100])
def test_a_truncated_file_is_named(tmp_path, kept):
    path = tmp_path / "open_hand.npz"
    path.write_bytes(OPEN_HAND_FILE.read_bytes()[:kept])
    for load in (load_open_hand, load_display_mesh, load_arm_mesh):
        with raises(ErrorCode.FILE_DAMAGED, match=r"open_hand.npz is damaged.*build open-hand"):
            load(path)


def test_a_flipped_bit_is_found(tmp_path):
    path, content = tmp_path / "open_hand.npz", bytearray(OPEN_HAND_FILE.read_bytes())
    content[2000] ^= 4
    path.write_bytes(content)
    with raises(ErrorCode.FILE_DAMAGED, match=r"open_hand.npz is damaged.*build open-hand"):
        load_open_hand(path)


@pytest.mark.parametrize("name", TEMPLATE_ARRAYS)
def test_an_altered_array_does_not_match_the_fingerprint(tmp_path, arrays, name):
    altered = arrays[name].copy()
    altered.flat[5] += 1
    np.savez(tmp_path / "open_hand.npz", **{**arrays, name: altered})
    with raises(ErrorCode.CHECKSUM, match=r"open_hand.npz does not match its own fingerprint.*build open-hand"):
        load_open_hand(tmp_path / "open_hand.npz")


@pytest.mark.parametrize(
    ("load", "name"),
    [(load_open_hand, "uv"), (load_display_mesh, "display_token_ids"), (load_arm_mesh, "arm_nail")],
)
def test_an_array_that_is_not_there_is_named(tmp_path, arrays, load, name):
    np.savez(tmp_path / "open_hand.npz", **{key: value for key, value in arrays.items() if key != name})
    with raises(ErrorCode.FILE_DAMAGED, match=f"open_hand.npz is damaged.*{name}"):
        load(tmp_path / "open_hand.npz")


def test_keypoints_are_local_averages_of_vertices(template):
    regressor = template.keypoint_regressor
    assert (regressor >= 0).all()
    np.testing.assert_allclose(regressor.sum(axis=1), 1, atol=1e-5)
    assert ((regressor > 0).sum(axis=1) <= 30).all()
    assert ((regressor[TIPS] > 0).sum(axis=1) == 1).all()


def test_the_wrist_is_the_origin(template, keypoints):
    np.testing.assert_allclose(template.joint_regressor[0] @ template.vertices_m, 0, atol=1e-6)
    np.testing.assert_allclose(keypoints[0], 0, atol=1e-3)


def test_fingers_point_up_the_thumb_lies_at_positive_x_and_the_palm_looks_to_negative_z(template, keypoints):
    for finger in range(4):
        along = keypoints[8 + 4 * finger] - keypoints[5 + 4 * finger]
        assert along[1] < -0.6 * np.linalg.norm(along)
    assert (np.diff(keypoints[[5, 9, 13, 17], 0]) < 0).all()
    assert keypoints[1:5, 0].min() > 0.02
    # The thumb and bent fingers lie on the side of the palm.
    assert (keypoints[TIPS, 2] < -0.015).all()
    assert (keypoints[1:5, 2] < 0).all()
    assert 0.16 < np.ptp(template.vertices_m[:, 1]) < 0.25


def border_edges(faces):
    """Return the edges that only one face has: the open end at the wrist."""
    edges = {(face[corner], face[(corner + 1) % 3]) for face in faces.tolist() for corner in range(3)}
    return [(start, end) for start, end in edges if (end, start) not in edges]


@pytest.mark.parametrize("mesh", ["template", "display"])
def test_faces_wind_outwards(template, mesh):
    points, faces = template.vertices_m, template.faces
    if mesh == "display":
        points, faces = load_display_mesh().lift(points), load_display_mesh().faces
    border = border_edges(faces)
    assert len(border) == 20
    lid = [(end, start, len(points)) for start, end in border]
    middle = points[[start for start, _ in border]].mean(axis=0)
    hand = trimesh.Trimesh(np.vstack([points, middle]), np.vstack([faces, lid]), process=False)
    assert hand.is_watertight
    assert hand.is_winding_consistent
    assert 250e-6 < hand.volume < 500e-6


def test_coarse_vertices_carry_the_others(template, posed):
    lifted = template.full_from_coarse @ posed[:, template.coarse_ids]
    error_mm = 1000 * np.linalg.norm(lifted - posed, axis=-1)
    assert error_mm.mean() < 1.0
    np.testing.assert_allclose(error_mm[:, template.coarse_ids], 0, atol=1e-3)


def test_a_constant_is_lifted_to_itself():
    display = load_display_mesh()
    np.testing.assert_allclose(display.lift(np.full((778, 3), 0.25)), 0.25, rtol=1e-5)
    assert display.lift(np.ones(778)).shape == (display.vertex_count,)
    assert display.lift(np.ones((778, 2, 4))).shape == (display.vertex_count, 2, 4)


def test_lifting_is_a_weighted_sum_of_few_vertices():
    display, values = load_display_mesh(), np.random.default_rng(1).normal(size=(778, 2))
    lifted = display.lift(values)
    for row in (0, 700, display.vertex_count - 1):
        pairs = zip(display.token_weights[row], display.token_ids[row], strict=True)
        np.testing.assert_allclose(lifted[row], sum(weight * values[token] for weight, token in pairs), rtol=1e-5)


def test_the_lifted_hand_is_the_dense_hand(template, posed):
    """The generator's arm contains the dense hand's vertices."""
    arm, display = load_arm_mesh(), load_display_mesh()
    np.testing.assert_array_equal(arm.vertices_m[arm.hand_ids], template.vertices_m)
    to_dense, _ = cKDTree(arm.vertices_m).query(display.lift(template.vertices_m))
    assert to_dense.mean() < 0.001
    for hand in posed[:4]:
        to_token, _ = cKDTree(display.lift(hand)).query(hand)
        assert to_token.mean() < 0.001


def test_the_arm_is_marked_where_palm_and_nails_are(keypoints):
    arm = load_arm_mesh()
    np.testing.assert_allclose(arm.skinning_weights.sum(axis=1), 1, atol=1e-5)
    palm_middle, back_middle = (
        np.linalg.norm(arm.vertices_m - keypoints[[0, 9]].mean(axis=0) - np.array([0, 0, side]), axis=1).argmin()
        for side in (-0.03, 0.03)
    )
    assert arm.palm[palm_middle] > 0.9
    assert arm.palm[back_middle] < 0.1
    nails = arm.vertices_m[arm.nail > 0.5]
    assert cKDTree(keypoints[TIPS]).query(nails)[0].max() < 0.03
    assert set(cKDTree(keypoints[TIPS]).query(nails)[1]) == set(range(5))
