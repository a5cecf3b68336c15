"""The arm of a random hand, posed in the canonical frame."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from handviz.core.records import FloatArray
from handviz.data.synthetic import pose
from handviz.data.synthetic.rig_poser import RigPoser
from handviz.hand_models.open_hand import load_arm_mesh, load_open_hand
from handviz.hand_models.skinning import joint_transforms, skin
from handviz.rendering.hand_shape import VertexNormals

Truth = Literal["rig", "model"]
"""Space of the hands: the full rig with soft tissue, which no hand model contains, or the open hand's own."""


@dataclass(frozen=True, eq=False)
class PosedArm:
    """An arm in the canonical frame."""

    pose: FloatArray
    """(45,) of the finger joints; of a hand of the full rig those of its palm's frame"""
    shape: FloatArray
    """(10,) of a hand of the full rig those that its person departs from"""
    vertices_m: FloatArray
    """(Va, 3), wrist joint at the origin"""
    normals: FloatArray
    keypoints_m: FloatArray
    """(21, 3)"""


class ArmPoser:
    """Poses the arm mesh of the open hand in batches."""

    def __init__(self, truth: Truth = "model") -> None:
        self.template, self.arm = load_open_hand(), load_arm_mesh()
        self._rig = RigPoser(self.template, self.arm) if truth == "rig" else None
        self._sampler = pose.PoseSampler(self.template)
        self._normals = VertexNormals(self.arm.faces, len(self.arm.vertices_m))
        self._joint_regressor = self.template.joint_regressor.astype(np.float32)

    def sample(self, rng: np.random.Generator, count: int) -> list[PosedArm]:
        """Draw random arms."""
        poses, shapes = self._sampler.sample(rng, count), pose.sample_shape(rng, count)
        wrists = np.stack([pose.sample_wrist(rng) for _ in range(count)])
        if self._rig is None:
            return self.posed(poses, shapes, wrists)
        return self._arms(poses, shapes, self._rig.sample(rng, poses, shapes, wrists).astype(np.float32))

    def posed(self, poses: FloatArray, shapes: FloatArray, wrists: FloatArray) -> list[PosedArm]:
        """Return arms of the open hand of given poses (N, 45), shapes (N, 10) and forearm rotations (N, 3, 3)."""
        arm = self.arm
        rest = arm.vertices_m + np.einsum("vcs,ns->nvc", arm.shape_basis, shapes.astype(np.float32))
        joints = np.einsum("jv,nvc->njc", self._joint_regressor, rest[:, arm.hand_ids])
        rest, joints = rest - joints[:, :1], joints - joints[:, :1]
        transforms = joint_transforms(poses, joints, self.template.parents)
        forearm = np.concatenate([wrists, np.zeros((len(wrists), 3, 1))], axis=2)[:, None]
        transforms = np.concatenate([transforms, forearm], axis=1).astype(np.float32)
        return self._arms(poses, shapes, skin(rest, arm.skinning_weights, transforms))

    def _arms(self, poses: FloatArray, shapes: FloatArray, vertices: FloatArray) -> list[PosedArm]:
        arm = self.arm
        keypoints = np.einsum("kv,nvc->nkc", self.template.keypoint_regressor, vertices[:, arm.hand_ids])
        return [
            PosedArm(poses[i], shapes[i], vertices[i], self._normals(vertices[i]), keypoints[i])
            for i in range(len(poses))
        ]


def object_transform(rotation: FloatArray, scale: FloatArray, position: FloatArray) -> FloatArray:
    """Return the transform (4, 4) from a body's own frame to the camera's."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * scale
    matrix[:3, 3] = position
    return matrix
