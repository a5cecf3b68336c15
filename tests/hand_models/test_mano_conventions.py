"""MANO's conventions, against a slow layer written from the paper."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handviz.core.errors import ErrorCode
from handviz.core.records import FloatArray, Handedness
from handviz.hand_models.mano.conventions import (
    as_parameters,
    canonical,
    converted,
    mano_vertices,
    matrices,
    parameters_from_matrices,
    rotations_from_six,
    six_numbers,
    split_48,
)
from handviz.hand_models.mano.model import load_mano
from handviz.hand_models.mano.parameters import ManoParameters, PoseKind
from handviz.hand_models.template import HandTemplate
from tests.errors import raises
from tests.fake_datasets.stand_in_mano import left_arrays, right_arrays
from tests.mano_hands import write_arrays

SIDES: tuple[Handedness, ...] = ("right", "left")
KINDS: tuple[PoseKind, ...] = ("absolute", "relative", "components")
Arrays = dict[str, Any]


@pytest.fixture(scope="module")
def arrays() -> dict[str, Arrays]:
    """Write both files with pose correctives, the left ones the right ones' mirror image."""
    random = np.random.default_rng(1)
    correctives = random.normal(scale=3e-4, size=(778, 3, 15, 3, 3))
    mirror = np.array([-1.0, 1, 1])
    mirrored = correctives * mirror[:, None, None, None] * mirror[:, None] * mirror
    left = left_arrays()
    return {
        "right": right_arrays() | {"posedirs": correctives.reshape(778, 3, 135)},
        "left": left | {"posedirs": mirrored.reshape(778, 3, 135), "shapedirs": left["shapedirs"] * mirror[:, None]},
    }


@pytest.fixture(scope="module")
def mano(arrays: dict[str, Arrays], tmp_path_factory: pytest.TempPathFactory) -> HandTemplate:
    return load_mano(write_arrays(arrays["right"], tmp_path_factory.mktemp("mano") / "MANO_RIGHT.pkl"))


def layer(
    arrays: Arrays, rotation: FloatArray, fingers: FloatArray, shape: FloatArray, position_m: FloatArray
) -> FloatArray:
    """Return vertices (778, 3) by Romero et al. 2017, eqs. 1 to 4; ``fingers`` (15, 3) from the flat hand."""
    shaped = arrays["v_template"] + arrays["shapedirs"] @ shape
    joints = np.asarray(arrays["J_regressor"] @ shaped)
    rotations = Rotation.from_rotvec(np.vstack([rotation, fingers])).as_matrix()
    posed = shaped + arrays["posedirs"] @ (rotations[1:] - np.eye(3)).ravel()
    transforms: list[FloatArray] = []
    for joint in range(16):
        parent = int(arrays["kintree_table"][0, joint])
        local = np.eye(4)
        local[:3, :3] = rotations[joint]
        local[:3, 3] = joints[joint] - (joints[parent] if joint else 0)
        transforms.append(transforms[parent] @ local if joint else local)
    vertices = np.zeros((778, 3))
    for joint, transform in enumerate(transforms):
        moved = (posed - joints[joint]) @ transform[:3, :3].T + transform[:3, 3]
        vertices += arrays["weights"][:, joint, None] * moved
    return vertices + position_m


def numbers(side: Handedness) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    random = np.random.default_rng(4 if side == "left" else 5)
    return (
        random.normal(size=3),
        random.normal(scale=0.4, size=(15, 3)),
        random.normal(size=10),
        random.normal(scale=0.3, size=3),
    )


@pytest.mark.parametrize("side", SIDES)
def test_each_convention_gives_the_vertices_of_its_own_sides_layer(
    arrays: dict[str, Arrays], mano: HandTemplate, side: Handedness
) -> None:
    rotation, fingers, shape, position_m = numbers(side)
    expected, mean = layer(arrays[side], rotation, fingers, shape, position_m), arrays[side]["hands_mean"]
    stored = {
        "absolute": fingers.ravel(),
        "relative": fingers.ravel() - mean,
        "components": np.linalg.solve(arrays[side]["hands_components"].T, fingers.ravel() - mean),
    }
    for kind in KINDS:
        parameters = ManoParameters(side, kind, stored[kind], shape, rotation, position_m)
        np.testing.assert_allclose(mano_vertices(parameters, mano), expected, atol=2e-7, err_msg=kind)
        for other in KINDS:
            np.testing.assert_allclose(converted(parameters, mano, other).pose, stored[other], atol=1e-6)


@pytest.mark.parametrize("side", SIDES)
def test_matrices_and_six_numbers_are_absolute_and_of_the_hands_own_side(
    arrays: dict[str, Arrays], mano: HandTemplate, side: Handedness
) -> None:
    rotation, fingers, shape, position_m = numbers(side)
    relative = ManoParameters(
        side, "relative", fingers.ravel() - arrays[side]["hands_mean"], shape, rotation, position_m
    )
    found = matrices(relative, mano)
    np.testing.assert_allclose(found, Rotation.from_rotvec(np.vstack([rotation, fingers])).as_matrix(), atol=1e-6)
    six = six_numbers(found)
    np.testing.assert_array_equal(six[:, :3], found[:, :, 0])
    back = parameters_from_matrices(rotations_from_six(six), shape, position_m, side)
    expected = layer(arrays[side], rotation, fingers, shape, position_m)
    np.testing.assert_allclose(mano_vertices(back, mano), expected, atol=2e-7)


def test_the_wrist_lies_at_the_files_own_joint_and_not_at_the_translation(
    arrays: dict[str, Arrays], mano: HandTemplate
) -> None:
    for side in SIDES:
        rotation, fingers, shape, position_m = numbers(side)
        parameters = ManoParameters(side, "absolute", fingers.ravel(), shape, rotation, position_m)
        joints = arrays[side]["J_regressor"] @ (arrays[side]["v_template"] + arrays[side]["shapedirs"] @ shape)
        hand = canonical(parameters, mano)
        np.testing.assert_allclose(hand.wrist_m, position_m + joints[0], atol=1e-7)
        again = as_parameters(hand, mano, "absolute")
        np.testing.assert_allclose(again.translation_m, position_m, atol=1e-7)
        np.testing.assert_allclose(again.global_rotation, rotation, atol=1e-7)


def test_published_left_files_are_followed_to_the_letter_on_demand(
    arrays: dict[str, Arrays], tmp_path: Path, mano: HandTemplate
) -> None:
    """smplx#48: DexYCB's left hands were annotated with the file as it was published."""
    published = arrays["left"] | {"shapedirs": arrays["right"]["shapedirs"]}
    path = write_arrays(published, tmp_path / "MANO_LEFT.pkl")
    rotation, fingers, shape, position_m = numbers("left")
    parameters = ManoParameters("left", "absolute", fingers.ravel(), shape, rotation, position_m)
    literal = load_mano(path, side="left", left_shapes_repaired=True)
    as_published = layer(published, rotation, fingers, shape, position_m)
    of_dataset = replace(parameters, shape_is_published_left=True)
    np.testing.assert_allclose(mano_vertices(of_dataset, mano), as_published, atol=2e-7)
    np.testing.assert_allclose(mano_vertices(converted(of_dataset, mano, "relative"), mano), as_published, atol=2e-7)
    np.testing.assert_allclose(mano_vertices(parameters, literal), as_published, atol=2e-7)
    repaired = mano_vertices(parameters, load_mano(path, side="left"))
    np.testing.assert_allclose(repaired, mano_vertices(parameters, mano), atol=2e-7)
    assert np.linalg.norm(repaired - as_published, axis=1).max() > 1e-3


def test_few_components_are_the_first_ones(mano: HandTemplate) -> None:
    coefficients = np.random.default_rng(0).normal(size=12)
    few = ManoParameters("right", "components", coefficients, np.zeros(10), np.zeros(3), np.zeros(3))
    again = as_parameters(canonical(few, mano), mano, "components", component_count=12)
    np.testing.assert_allclose(again.pose, coefficients, atol=1e-6)


SPOILED: dict[str, Callable[[FloatArray], FloatArray]] = {
    "a mirror": lambda rotations: rotations * np.array([-1.0, 1, 1]),
    "a scale": lambda rotations: rotations * 1.1,
    "no number": lambda rotations: rotations * np.nan,
}


@pytest.mark.parametrize("how", SPOILED)
def test_matrices_that_are_no_rotations_are_refused(how: str) -> None:
    rotations = Rotation.random(16, rng=np.random.default_rng(0)).as_matrix()
    with raises(ErrorCode.BAD_VALUE):
        parameters_from_matrices(SPOILED[how](rotations), np.zeros(10), np.zeros(3), "right")


def test_six_zeros_are_no_rotation() -> None:
    with raises(ErrorCode.BAD_VALUE):
        rotations_from_six(np.zeros((16, 6)))


def test_a_row_of_58_numbers_is_turn_pose_and_shape() -> None:
    rotation, pose, shape = split_48(np.arange(58.0))
    assert (rotation[0], pose[0], shape[0], len(pose), len(shape)) == (0, 3, 48, 45, 10)
    with raises(ErrorCode.WRONG_SHAPE):
        split_48(np.zeros(61))
