"""Poses the full rig: cupped palms, people beyond the shape components, soft tissue; no hand model has these."""

from typing import NamedTuple

import numpy as np

from handviz.core.geometry import rotation_from_axis_angle
from handviz.core.records import FloatArray
from handviz.data.synthetic.individual import Individuals, sample_individuals
from handviz.data.synthetic.soft_tissue import Contact, Cupping, RestHand, SoftTissue, cupping
from handviz.hand_models.anatomy import joint_axes
from handviz.hand_models.full_rig import (
    BONE_COUNT,
    FIRST_BONES,
    FOREARM,
    LAST_BONES,
    METACARPALS,
    ORDER,
    PARENTS,
    load_full_rig,
)
from handviz.hand_models.open_hand import ArmMesh
from handviz.hand_models.skinning import skin
from handviz.hand_models.template import HandTemplate
from handviz.rendering.hand_shape import VertexNormals


class Rest(NamedTuple):
    """Rest shapes of N hands, wrist joint at the origin."""

    vertices_m: FloatArray
    """(N, Va, 3)"""
    joints_m: FloatArray
    """(N, 21, 3) of the full rig"""


class RigPoser:
    """Poses the arm mesh by the full rig."""

    def __init__(self, template: HandTemplate, arm: ArmMesh) -> None:
        self._template, self._arm, self._rig = template, arm, load_full_rig()
        tips = template.keypoint_regressor[[4, 8, 12, 16, 20]].argmax(1)
        self._tip_ids = arm.hand_ids[tips]
        rest = self.rest(np.zeros((1, 10)))
        vertices, joints = rest.vertices_m[0], rest.joints_m[0]
        axes = joint_axes(joints[:16], vertices[self._tip_ids])
        normals = VertexNormals(arm.faces, len(vertices))(vertices)
        weights = self._rig.skinning_weights
        self._mean = RestHand(vertices, normals, weights, joints, self._ends(rest)[0], axes)
        self._tissue, self._contact = SoftTissue(self._mean), Contact(self._mean)
        self._frames = self._bone_frames()

    def _bone_frames(self) -> FloatArray:
        """Return axes (21, 3, 3) along, across and in depth of every bone, as columns."""
        frames = np.zeros((BONE_COUNT, 3, 3))
        frames[:] = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
        axes = self._mean.axes
        frames[1:16] = np.stack([axes.twist, axes.flexion, np.cross(axes.flexion, axes.twist)], axis=2)
        return frames

    def rest(self, shapes: FloatArray) -> Rest:
        """Return the rest shapes of the ten components (N, 10)."""
        arm, rig = self._arm, self._rig
        vertices = arm.vertices_m + np.einsum("vcs,ns->nvc", arm.shape_basis, shapes.astype(np.float32))
        joints = np.einsum("jv,nvc->njc", self._template.joint_regressor, vertices[:, arm.hand_ids])
        metacarpals = rig.metacarpals_m + np.einsum("jcs,ns->njc", rig.metacarpal_basis, shapes)
        wrist = joints[:, :1]
        return Rest(vertices - wrist, np.concatenate([joints, wrist, metacarpals], axis=1) - wrist)

    def _ends(self, rest: Rest) -> FloatArray:
        """Return the ends (N, 21, 3) of all bones: the next joint of the chain, or the fingertip."""
        ends = rest.joints_m.copy()
        for bone, parent in enumerate(PARENTS):
            if parent > 0:
                ends[:, parent] = rest.joints_m[:, bone]
        ends[:, LAST_BONES] = rest.vertices_m[:, self._tip_ids]
        ends[:, 0] = rest.joints_m[:, 7]
        return ends

    def sample(self, rng: np.random.Generator, poses: FloatArray, shapes: FloatArray, wrists: FloatArray) -> FloatArray:
        """Return vertices (N, Va, 3) of random people in these poses (N, 45), shapes (N, 10), wrists (N, 3, 3)."""
        axes = self._mean.axes
        flexion = np.einsum("njc,jc->nj", poses.reshape(len(poses), 15, 3)[:, 3:], axes.flexion[3:])
        people = sample_individuals(rng, len(poses))
        return self.posed(people, poses, shapes, wrists, cupping(rng, np.clip(flexion.mean(1), 0, 1.2)))

    def posed(
        self, people: Individuals, poses: FloatArray, shapes: FloatArray, wrists: FloatArray, palms: Cupping
    ) -> FloatArray:
        """Return vertices (N, Va, 3) of people in poses (N, 45), shapes (N, 10), wrists (N, 3, 3), cupped palms."""
        rest = self.rest(shapes)
        local = np.tile(np.eye(3), (len(poses), BONE_COUNT, 1, 1))
        local[:, 1:16] = rotation_from_axis_angle(poses.reshape(len(poses), 15, 3))
        local[:, FOREARM], local[:, METACARPALS] = wrists, palms.metacarpals
        # The sampled direction of a finger is that against the palm, whose metacarpals have moved.
        local[:, FIRST_BONES] = palms.metacarpals.transpose(0, 1, 3, 2) @ local[:, FIRST_BONES]
        transforms = self._transforms(rest.joints_m, local, people.bone_scale)
        moved = self._tissue.displacements(people, poses, palms.amount, self._web_closing_m(rest, transforms))
        vertices = skin(rest.vertices_m + moved, self._mean.weights, transforms)
        return self._in_contact(vertices, rest, transforms, people)

    def _transforms(self, joints: FloatArray, local: FloatArray, scale: FloatArray) -> FloatArray:
        """Return transforms (N, 21, 3, 4) of rest points: scaled along the bones' axes, then posed."""
        scales = np.einsum("jab,njb,jcb->njac", self._frames, scale, self._frames)
        rotation, position = np.empty_like(local), np.empty_like(joints)
        for bone in ORDER:
            parent = PARENTS[bone]
            if parent < 0:
                rotation[:, bone], position[:, bone] = local[:, bone], joints[:, bone]
                continue
            rotation[:, bone] = rotation[:, parent] @ local[:, bone]
            reach = rotation[:, parent] @ scales[:, parent]
            step = np.einsum("nab,nb->na", reach, joints[:, bone] - joints[:, parent])
            position[:, bone] = position[:, parent] + step
        linear = rotation @ scales
        shift = position - np.einsum("njab,njb->nja", linear, joints)
        return np.concatenate([linear, shift[..., None]], axis=-1)

    def _web_closing_m(self, rest: Rest, transforms: FloatArray) -> FloatArray:
        """Return how much nearer (N,) the thumb's knuckle is to the index finger's metacarpal than in the rest pose."""
        index = METACARPALS[0]
        centre = (rest.joints_m[:, index] + rest.joints_m[:, 4]) / 2
        thumb, bone = rest.joints_m[:, 2], _moved(transforms[:, index], centre)
        posed = np.linalg.norm(_moved(transforms[:, 1], thumb) - bone, axis=1)
        return np.asarray(np.linalg.norm(thumb - centre, axis=1) - posed)

    def _in_contact(self, vertices: FloatArray, rest: Rest, transforms: FloatArray, people: Individuals) -> FloatArray:
        """Return posed vertices (N, Va, 3) whose parts flatten where they touch."""
        bones = self._contact.bones
        starts = _moved(transforms[:, bones], rest.joints_m[:, bones])
        ends = _moved(transforms[:, bones], self._ends(rest)[:, bones])
        thickness = people.bone_scale[:, bones, 1:].mean(2)
        return np.stack([self._contact.flattened(*one) for one in zip(vertices, starts, ends, thickness, strict=True)])


def _moved(transforms: FloatArray, points: FloatArray) -> FloatArray:
    """Apply transforms (..., 3, 4) to points (..., 3)."""
    return np.asarray(np.einsum("...ab,...b->...a", transforms[..., :3], points) + transforms[..., 3])
