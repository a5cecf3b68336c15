"""The common form of all hand models: read-only arrays."""

import hashlib
from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import KEYPOINT_COUNT, FloatArray

JOINT_COUNT = 16
POSE_SIZE = 45
SHAPE_SIZE = 10


@dataclass(frozen=True, eq=False)
class HandTemplate:
    """A right hand as linear blend skinning arrays (the field's MANO layout); metres, wrist joint at the origin.

    Joints: wrist, then three per finger; pose is 15 axis-angle rotations relative to ``pose_mean``'s rest.
    """

    name: str
    vertices_m: FloatArray
    """(V, 3) rest shape."""
    faces: NDArray[np.int32]
    """(F, 3), counter-clockwise seen from outside."""
    shape_basis: FloatArray
    """(V, 3, 10) metres per standard deviation."""
    pose_basis: FloatArray
    """(V, 3, 135) pose correctives, metres; zeros where the model has none."""
    skinning_weights: FloatArray
    """(V, 16), rows sum to 1."""
    joint_regressor: FloatArray
    """(16, V), rows sum to 1."""
    keypoint_regressor: FloatArray
    """(21, V) B of the paper: posed vertices -> keypoints; rows sum to 1."""
    parents: tuple[int, ...]
    """16 parents, -1 for the wrist."""
    pose_mean: FloatArray
    """(45,) axis-angle, radians: added to every pose."""
    pose_components: FloatArray
    """(45, 45) principal components of pose, rows."""
    uv: FloatArray
    """(V, 2) in [0, 1]."""
    coarse_ids: NDArray[np.int32]
    """(T,) nested subset of vertices that serve as coarse attention tokens."""
    full_from_coarse: FloatArray
    """(V, T) rows sum to 1: lifts values at the coarse vertices to all."""
    wrist_m: FloatArray = field(default_factory=lambda: np.zeros(3, np.float32), metadata={"identity": False})
    """(3,) wrist joint of the mean shape in the file's coordinates, the centre of its layer's rotation. Networks do not
    depend on it, so it is not part of the fingerprint."""

    @property
    def vertex_count(self) -> int:
        return len(self.vertices_m)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of all arrays: checkpoints store it, so that they are never used with another hand."""
        digest = hashlib.sha256()
        for item in fields(self):
            if not item.metadata.get("identity", True):
                continue
            value = getattr(self, item.name)
            digest.update(item.name.encode())
            if isinstance(value, np.ndarray):
                digest.update(str(value.shape).encode() + str(value.dtype).encode() + value.tobytes())
            else:
                digest.update(repr(value).encode())
        return digest.hexdigest()


def joint_keypoints(template: HandTemplate) -> tuple[int, ...]:
    """Return the keypoint, of 21, at each of the 16 joints: hand models order their fingers differently."""
    joints, keypoints = (
        regressor @ template.vertices_m for regressor in (template.joint_regressor, template.keypoint_regressor)
    )
    distances = np.linalg.norm(joints[:, None] - keypoints[None], axis=2)
    distances[:, 4::4] = np.inf  # fingertips
    return tuple(int(keypoint) for keypoint in distances.argmin(axis=1))


def checked(template: HandTemplate) -> HandTemplate:
    """Make the template's arrays read-only; raises HandvizError naming the first invalid array."""
    vertex_count, token_count = len(template.vertices_m), len(template.coarse_ids)
    shapes = {
        "vertices_m": (vertex_count, 3),
        "faces": (len(template.faces), 3),
        "shape_basis": (vertex_count, 3, SHAPE_SIZE),
        "pose_basis": (vertex_count, 3, 9 * (JOINT_COUNT - 1)),
        "skinning_weights": (vertex_count, JOINT_COUNT),
        "joint_regressor": (JOINT_COUNT, vertex_count),
        "keypoint_regressor": (KEYPOINT_COUNT, vertex_count),
        "pose_mean": (POSE_SIZE,),
        "pose_components": (POSE_SIZE, POSE_SIZE),
        "uv": (vertex_count, 2),
        "coarse_ids": (token_count,),
        "full_from_coarse": (vertex_count, token_count),
        "wrist_m": (3,),
    }
    for name, shape in shapes.items():
        array = getattr(template, name)
        if array.shape != shape:
            raise HandvizError(
                f"hand model {template.name}: {name} has shape {array.shape}, expected {shape}", ErrorCode.WRONG_SHAPE
            )
        if not np.isfinite(array).all():
            raise HandvizError(
                f"hand model {template.name}: {name} contains values that are not finite", ErrorCode.NOT_FINITE
            )
        array.flags.writeable = False
    for name in ("skinning_weights", "joint_regressor", "keypoint_regressor", "full_from_coarse"):
        if not np.allclose(getattr(template, name).sum(axis=1), 1.0, atol=1e-3):
            raise HandvizError(f"hand model {template.name}: rows of {name} do not sum to 1", ErrorCode.MODEL_DAMAGED)
    for name in ("faces", "coarse_ids"):
        array = getattr(template, name)
        if array.size and (array.min() < 0 or array.max() >= vertex_count):
            raise HandvizError(
                f"hand model {template.name}: {name} has indices outside the {vertex_count} vertices",
                ErrorCode.MODEL_DAMAGED,
            )
    if len(template.parents) != JOINT_COUNT:
        raise HandvizError(
            f"hand model {template.name}: {len(template.parents)} parents, expected {JOINT_COUNT}",
            ErrorCode.MODEL_DAMAGED,
        )
    return template
