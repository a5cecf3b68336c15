"""A user's own MANO_RIGHT.pkl or MANO_LEFT.pkl as a hand template (Romero et al. 2017).

The files are licensed by their authors to each user and never shipped; they are read without running any of them.
"""

from pathlib import Path

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import KEYPOINT_COUNT, FloatArray, Handedness
from handviz.hand_models.coarse import coarse_tokens
from handviz.hand_models.mano.inert_pickle import array_from, load_records
from handviz.hand_models.mano.parameters import MIRROR, ROTATION_MIRROR
from handviz.hand_models.skinning import joint_transforms, skin
from handviz.hand_models.template import JOINT_COUNT, POSE_SIZE, SHAPE_SIZE, HandTemplate, checked

VERTEX_COUNT = 778
SHAPES: dict[str, tuple[int, ...]] = {
    "v_template": (VERTEX_COUNT, 3),
    "f": (1538, 3),
    "shapedirs": (VERTEX_COUNT, 3, SHAPE_SIZE),
    "posedirs": (VERTEX_COUNT, 3, 9 * (JOINT_COUNT - 1)),
    "weights": (VERTEX_COUNT, JOINT_COUNT),
    "J_regressor": (JOINT_COUNT, VERTEX_COUNT),
    "kintree_table": (2, JOINT_COUNT),
    "hands_mean": (POSE_SIZE,),
    "hands_components": (POSE_SIZE, POSE_SIZE),
}
FINGERS = ((13, 14, 15, 744), (1, 2, 3, 320), (4, 5, 6, 443), (10, 11, 12, 554), (7, 8, 9, 671))
"""Three joints and the tip's vertex for thumb, index, middle, ring, little; MANO's joints go index, middle, little,
ring, thumb, and it has none for the tips: these vertices are the usual choice."""
WRONG_SIDE = "{path} is MANO's {found} hand where the {side} one is expected: give {name}"
BODY_MODELS = {"lmk_faces_idx": "SMPL-X", "hands_meanl": "SMPL+H", "J_regressor_prior": "SMPL"}
"""Arrays that identify body models of the same authors; the first that is found counts."""
MAX_NUMBER = 1e10
"""Above the largest number of a MANO file (4294967295, the wrist's parent); squares of it are finite."""
SAMPLE_POSES = 24
SAMPLE_POSE_STD_RAD = 0.4


def load_mano(
    path: Path, *, side: Handedness | None = None, flat_hand_mean: bool = False, left_shapes_repaired: bool = False
) -> HandTemplate:
    """Load the hand model in the file; a left hand is mirrored, because templates are right hands.

    ``side``: the expected hand; None accepts either. ``flat_hand_mean`` True: pose zero is the flat hand; False: the
    file's mean pose, as in MANO itself. Published left files contain the right hand's shape directions (smplx#48),
    as the mirrored hand needs; ``left_shapes_repaired`` states that the file's have been corrected. HandvizError
    names the first array that is not MANO's.
    """
    arrays = _read(path)
    found: Handedness = "left" if _is_left(arrays) else "right"
    if side not in (None, found):
        raise HandvizError(
            WRONG_SIDE.format(path=path, found=found, side=side, name=f"MANO_{str(side).upper()}.pkl"),
            ErrorCode.MODEL_MISMATCH,
        )
    if found == "left":
        arrays = _mirrored(arrays, left_shapes_repaired=left_shapes_repaired)
    if flat_hand_mean:
        arrays["hands_mean"] = np.zeros(POSE_SIZE)
    return checked(_template(arrays, _parents(arrays["kintree_table"], path)))


def _template(arrays: dict[str, FloatArray], parents: tuple[int, ...]) -> HandTemplate:
    """Make a template of a right hand's arrays in single precision, wrist joint at the origin."""
    regressor = arrays["J_regressor"] / arrays["J_regressor"].sum(axis=1, keepdims=True)
    wrist = regressor[0] @ arrays["v_template"]
    vertices = arrays["v_template"] - wrist
    coarse_ids, full_from_coarse = coarse_tokens(_sample_poses(vertices, arrays, regressor, parents))
    return HandTemplate(
        name="mano",
        vertices_m=_single(vertices),
        faces=np.ascontiguousarray(arrays["f"].clip(-1, VERTEX_COUNT), dtype=np.int32),
        shape_basis=_single(arrays["shapedirs"]),
        pose_basis=_single(arrays["posedirs"]),
        skinning_weights=_single(arrays["weights"]),
        joint_regressor=_single(regressor),
        keypoint_regressor=_single(keypoint_regressor(regressor)),
        parents=parents,
        pose_mean=_single(arrays["hands_mean"]),
        pose_components=_single(arrays["hands_components"]),
        uv=np.zeros((VERTEX_COUNT, 2), np.float32),
        coarse_ids=coarse_ids,
        full_from_coarse=_single(full_from_coarse),
        wrist_m=_single(wrist),
    )


def keypoint_regressor(joint_regressor: FloatArray) -> FloatArray:
    """Return the paper's B (21, 778) in handviz's order: MANO's joint regressor (16, 778) and five tip vertices."""
    rows = np.zeros((KEYPOINT_COUNT, VERTEX_COUNT))
    rows[0] = joint_regressor[0]
    for finger, (*joints, tip) in enumerate(FINGERS):
        first = 1 + 4 * finger
        rows[first : first + 3] = joint_regressor[joints]
        rows[first + 3, tip] = 1.0
    return rows


def _read(path: Path) -> dict[str, FloatArray]:
    """Read the required arrays in double precision, or raise HandvizError."""
    records = load_records(path)
    body = next((model for name, model in BODY_MODELS.items() if name in records), None)
    if body is not None:
        raise HandvizError(
            f"{path} is the body model {body}: give MANO_RIGHT.pkl of mano_v1_2.zip, folder models",
            ErrorCode.MODEL_MISMATCH,
        )
    arrays: dict[str, FloatArray] = {}
    for name, shape in SHAPES.items():
        if name not in records:
            raise HandvizError(
                f"{path} has no {name!r}: not a MANO file (MANO_RIGHT.pkl of mano_v1_2.zip is one)",
                ErrorCode.FILE_DAMAGED,
            )
        try:
            arrays[name] = array_from(records[name], shape).astype(np.float64)
        except ValueError as error:
            raise HandvizError(f"{path}: {name!r} is not MANO's: {error}", ErrorCode.FILE_DAMAGED) from error
        if not (np.abs(arrays[name]) < MAX_NUMBER).all():
            raise HandvizError(
                f"{path}: {name!r} is not MANO's: it contains values that are not finite or too large",
                ErrorCode.NOT_FINITE,
            )
    if not (arrays["J_regressor"].sum(axis=1) > 0).all():
        raise HandvizError(f"{path}: 'J_regressor' is not MANO's: a row does not sum to 1", ErrorCode.FILE_DAMAGED)
    return arrays


def _parents(tree: FloatArray, path: Path) -> tuple[int, ...]:
    parents = (-1, *(int(parent) for parent in tree[0, 1:]))
    if any(not 0 <= parent < joint for joint, parent in enumerate(parents) if joint):
        raise HandvizError(f"{path}: 'kintree_table' is not MANO's: {parents}", ErrorCode.FILE_DAMAGED)
    return parents


def _is_left(arrays: dict[str, FloatArray]) -> bool:
    """Return whether the fingers point to positive x, as in MANO's left hand; the right one's point to negative x."""
    joints = arrays["J_regressor"] @ arrays["v_template"]
    return bool(joints[1:, 0].mean() > joints[0, 0])


def _mirrored(arrays: dict[str, FloatArray], *, left_shapes_repaired: bool) -> dict[str, FloatArray]:
    """Mirror a left hand to a right hand."""
    rotation_mirror = np.tile(ROTATION_MIRROR, JOINT_COUNT - 1)
    matrix_entries = np.tile(np.outer(MIRROR, MIRROR).ravel(), JOINT_COUNT - 1)
    mirrored = dict(arrays)
    mirrored["v_template"] = arrays["v_template"] * MIRROR
    mirrored["f"] = arrays["f"][:, ::-1]
    mirrored["posedirs"] = arrays["posedirs"] * MIRROR[:, None] * matrix_entries
    mirrored["hands_mean"] = arrays["hands_mean"] * rotation_mirror
    mirrored["hands_components"] = arrays["hands_components"] * rotation_mirror
    if left_shapes_repaired:
        mirrored["shapedirs"] = arrays["shapedirs"] * MIRROR[:, None]
    return mirrored


def _sample_poses(
    vertices: FloatArray, arrays: dict[str, FloatArray], regressor: FloatArray, parents: tuple[int, ...]
) -> FloatArray:
    """Return hands (24, 778, 3) of random pose and shape, the first at rest, to fit the coarse tokens on."""
    random = np.random.default_rng(0)
    shapes = random.normal(size=(SAMPLE_POSES, SHAPE_SIZE))
    poses = random.normal(scale=SAMPLE_POSE_STD_RAD, size=(SAMPLE_POSES, POSE_SIZE))
    shapes[0], poses[0] = 0.0, 0.0
    rest = vertices + np.einsum("vcs,ns->nvc", arrays["shapedirs"], shapes)
    transforms = joint_transforms(poses, regressor @ rest, parents)
    return skin(rest, arrays["weights"], transforms)


def _single(array: FloatArray) -> FloatArray:
    return np.ascontiguousarray(array, dtype=np.float32)
