"""One training sample: a posed arm before a pinhole camera, things around it, and everything that is known of it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.data.synthetic import look, pose, props
from handviz.data.synthetic.viewpoint import Camera, project
from handviz.detect.crop import camera_from_crop
from handviz.geometry import apply_affine
from handviz.hand_model.open_hand import ArmMesh, load_arm_mesh, load_open_hand
from handviz.hand_model.skinning import joint_transforms, skin
from handviz.records import CROP_SIZE, FloatArray
from handviz.render.studio import (
    BEHIND,
    OCCLUDER,
    SUPERSAMPLING,
    TARGET,
    HandStudio,
    Lights,
    Mesh,
    StudioPicture,
    Surface,
    clip_from_camera,
)
from handviz.render.surface import VertexNormals

VISIBLE_TOLERANCE_M = 0.004


@dataclass(frozen=True, eq=False)
class PosedArm:
    """An arm in the canonical frame."""

    pose: FloatArray
    shape: FloatArray
    vertices_m: FloatArray
    """(Va, 3), wrist joint at the origin"""
    normals: FloatArray
    keypoints_m: FloatArray
    """(21, 3)"""


def weak_perspective(points_m: FloatArray, rotation: FloatArray, in_crop: FloatArray) -> tuple[float, FloatArray]:
    """Scale and translation (2,) that best take rotated points (21, 3) to the crop's points (21, 2) in [-1, 1]."""
    flat = (points_m @ rotation.T)[:, :2]
    flat_mean, crop_mean = flat.mean(0), in_crop.mean(0)
    centred = flat - flat_mean
    scale = float((centred * (in_crop - crop_mean)).sum() / max((centred**2).sum(), 1e-12))
    return scale, crop_mean - scale * flat_mean


class ArmPoser:
    """Poses the arm mesh of the open hand in batches."""

    def __init__(self) -> None:
        self.template, self.arm = load_open_hand(), load_arm_mesh()
        self._sampler = pose.PoseSampler(self.template)
        self._normals = VertexNormals(self.arm.faces, len(self.arm.vertices_m))
        self._joint_regressor = self.template.joint_regressor.astype(np.float32)

    def sample(self, rng: np.random.Generator, count: int) -> list[PosedArm]:
        """Random arms."""
        poses, shapes = self._sampler.sample(rng, count), pose.sample_shape(rng, count)
        wrists = np.stack([pose.sample_wrist(rng) for _ in range(count)])
        return self.posed(poses, shapes, wrists)

    def posed(self, poses: FloatArray, shapes: FloatArray, wrists: FloatArray) -> list[PosedArm]:
        """Arms of given poses (N, 45), shapes (N, 10) and forearm rotations (N, 3, 3)."""
        arm = self.arm
        rest = arm.vertices_m + np.einsum("vcs,ns->nvc", arm.shape_basis, shapes.astype(np.float32))
        joints = np.einsum("jv,nvc->njc", self._joint_regressor, rest[:, arm.hand_ids])
        rest, joints = rest - joints[:, :1], joints - joints[:, :1]
        transforms = joint_transforms(poses, joints, self.template.parents)
        forearm = np.concatenate([wrists, np.zeros((len(wrists), 3, 1))], axis=2)[:, None]
        transforms = np.concatenate([transforms, forearm], axis=1).astype(np.float32)
        vertices = skin(rest, arm.skinning_weights, transforms)
        keypoints = np.einsum("kv,nvc->nkc", self.template.keypoint_regressor, vertices[:, arm.hand_ids])
        return [
            PosedArm(poses[i], shapes[i], vertices[i], self._normals(vertices[i]), keypoints[i])
            for i in range(len(poses))
        ]


def object_transform(rotation: FloatArray, scale: FloatArray, position: FloatArray) -> FloatArray:
    """(4, 4) from a body's own frame to the camera's."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * scale
    matrix[:3, 3] = position
    return matrix


class SceneMaker:
    """Puts arms, objects and light together; draws with one studio."""

    def __init__(self, studio: HandStudio) -> None:
        self._studio = studio
        self.poser = ArmPoser()
        self._bodies: tuple[Mesh, ...] = (props.box(), props.ball(), props.cylinder())
        arm: ArmMesh = self.poser.arm
        self._along_arm = arm.vertices_m[:, 1]
        self._forearm = arm.skinning_weights[:, 16]

    def arm_surface(self, hand: PosedArm, rng: np.random.Generator, label: float, transform: FloatArray) -> Surface:
        """The arm with skin, sometimes a sleeve, rarely a glove."""
        arm = self.poser.arm
        sleeve: NDArray[np.float64 | np.bool_] = np.zeros(len(self._along_arm))
        if rng.random() < 0.5:
            sleeve = (self._along_arm > rng.uniform(0.0, 0.06)) * (self._forearm > 0.4)
        material = look.glove_material(rng) if rng.random() < 0.03 else look.skin_material(rng)
        marks = np.stack([arm.palm, arm.nail, sleeve], axis=1)
        mesh = Mesh(hand.vertices_m, hand.normals, arm.vertices_m, marks, arm.faces)
        return Surface(mesh, material, label, transform)

    def _body(
        self, rng: np.random.Generator, position: FloatArray, size_m: tuple[float, float], label: float
    ) -> Surface:
        mesh = self._bodies[rng.integers(0, len(self._bodies))]
        size = rng.uniform(*size_m) * rng.uniform(0.25, 1.0, 3)
        transform = object_transform(pose.sample_view(rng), size, position)
        return Surface(mesh, look.thing_material(rng), label, transform)

    def _held(self, rng: np.random.Generator, hand: PosedArm, camera: Camera) -> Surface:
        """A stick or ball in the hand's hollow, in front of the palm."""
        palm = hand.keypoints_m[[5, 9, 13, 17]].mean(0)
        hollow = palm * 0.9 + np.array([0, -0.01, -1.0]) * rng.uniform(0.015, 0.05)
        radius = rng.uniform(0.012, 0.045)
        long = rng.random() < 0.6
        size = np.array([radius, rng.uniform(0.08, 0.3) if long else radius, radius]) * np.array([2, 1, 2])
        across = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1.0]])
        turn = camera.camera_from_wrist @ across @ pose.rotation_about_z(rng.normal(0, 0.4))
        position = camera.camera_from_wrist @ hollow + camera.wrist_camera_m
        mesh = self._bodies[2 if long else rng.integers(0, 3)]
        return Surface(mesh, look.thing_material(rng), OCCLUDER, object_transform(turn, size, position))

    def _passing(self, rng: np.random.Generator, hand: PosedArm, camera: Camera) -> Surface:
        """Something between camera and hand that covers a part of it."""
        aim = hand.keypoints_m[rng.integers(0, 21)] @ camera.camera_from_wrist.T + camera.wrist_camera_m
        nearer = rng.uniform(0.6, 0.9)
        shift = rng.normal(0, 0.03, 3) * [1, 1, 0]
        return self._body(rng, (aim + shift) * nearer, (0.02, 0.11), OCCLUDER)

    def _other_hand(self, rng: np.random.Generator, hand: PosedArm, camera: Camera) -> Surface:
        """A second arm, mirrored as a left hand is, close to the first."""
        other = self.poser.sample(rng, 1)[0]
        turn = pose.sample_view(rng) @ np.diag([-1.0, 1, 1])
        aim = hand.keypoints_m[rng.integers(0, 21)] @ camera.camera_from_wrist.T + camera.wrist_camera_m
        side = rng.normal(0, 1, 3) * [0.07, 0.07, 0.05]
        position = aim + side - turn @ other.keypoints_m[rng.integers(0, 21)]
        label = OCCLUDER if side[2] < 0 else BEHIND
        return self.arm_surface(other, rng, label, object_transform(turn, np.ones(3), position))

    def _clutter(self, rng: np.random.Generator, camera: Camera) -> list[Surface]:
        """Bodies behind the hand, one in four the size and colour of a face."""
        surfaces = []
        depth = camera.wrist_camera_m[2]
        for _ in range(rng.integers(0, 9)):
            away = depth + rng.uniform(0.25, 1.5)
            sideways = rng.normal(0, 0.35, 2) * away
            position = camera.wrist_camera_m / depth * away + np.array([*sideways, 0])
            surfaces.append(self._body(rng, position, (0.1, 0.7), BEHIND))
        return surfaces

    def surfaces(self, rng: np.random.Generator, hand: PosedArm, camera: Camera) -> list[Surface]:
        """Everything in the picture."""
        to_camera = object_transform(camera.camera_from_wrist, np.ones(3), camera.wrist_camera_m)
        surfaces = [self.arm_surface(hand, rng, TARGET, to_camera)]
        if rng.random() < 0.16:
            surfaces.append(self._held(rng, hand, camera))
        if rng.random() < 0.16:
            surfaces += [self._passing(rng, hand, camera) for _ in range(rng.integers(1, 3))]
        if rng.random() < 0.12:
            surfaces.append(self._other_hand(rng, hand, camera))
        if rng.random() < 0.5:
            surfaces += self._clutter(rng, camera)
        return surfaces

    def picture(self, rng: np.random.Generator, hand: PosedArm, camera: Camera) -> tuple[StudioPicture, Lights]:
        """Draw the scene through the crop's camera."""
        lights = look.sample_lights(rng)
        projection = clip_from_camera(camera.crop_from_image, camera.matrix)
        return self._studio.draw(self.surfaces(rng, hand, camera), lights, projection), lights


def inside_image(camera: Camera) -> NDArray[np.float32] | None:
    """(224, 224) 1 where the crop lies inside the picture, None where all of it does."""
    width, height = camera.image_size
    corners = apply_affine(
        np.linalg.inv(np.vstack([camera.crop_from_image, [0, 0, 1]]))[:2],
        np.array([[0, 0], [CROP_SIZE, 0], [CROP_SIZE, CROP_SIZE], [0, CROP_SIZE]], dtype=float),
    )
    if (corners >= 0).all() and (corners <= [width, height]).all():
        return None
    edge = apply_affine(camera.crop_from_image, np.array([[0, 0], [width, 0], [width, height], [0, height]], float))
    inside = np.zeros((CROP_SIZE, CROP_SIZE), np.float32)
    cv2.fillConvexPoly(inside, edge.round().astype(np.int32), 1.0)
    return inside


def visible_vertices(
    picture: StudioPicture, vertices_camera_m: FloatArray, camera: Camera, inside: NDArray[np.float32] | None
) -> NDArray[np.bool_]:
    """(V,) whether each vertex is seen: nothing nearer in the depth map, and inside crop and picture."""
    in_crop = apply_affine(camera.crop_from_image, project(vertices_camera_m, camera.intrinsics))
    cells = np.floor(in_crop * SUPERSAMPLING).astype(int)
    size = CROP_SIZE * SUPERSAMPLING
    within = ((cells >= 0) & (cells < size)).all(axis=1)
    x, y = np.clip(cells, 0, size - 1).T
    seen = within & (vertices_camera_m[:, 2] < picture.depth_m[y, x] + VISIBLE_TOLERANCE_M)
    if inside is not None:
        seen &= inside[y // SUPERSAMPLING, x // SUPERSAMPLING] > 0
    return seen


def labels(hand: PosedArm, camera: Camera) -> dict[str, FloatArray]:
    """What is known of a sample without looking at its picture (see generator.LABELS)."""
    to_camera = camera_from_crop(camera.crop_from_image, camera.intrinsics)
    rotation = to_camera.T @ camera.camera_from_wrist
    in_camera = hand.keypoints_m @ camera.camera_from_wrist.T + camera.wrist_camera_m
    crop_px = apply_affine(camera.crop_from_image, project(in_camera, camera.intrinsics))
    in_crop = crop_px / (CROP_SIZE / 2) - 1
    scale, translation = weak_perspective(hand.keypoints_m, rotation, in_crop)
    return {
        "pose": hand.pose,
        "shape": hand.shape,
        "rotation": rotation,
        "scale": np.array(scale),
        "translation": translation,
        "keypoints_crop": in_crop,
        "camera_from_wrist": camera.camera_from_wrist,
        "wrist_camera_m": camera.wrist_camera_m,
        "camera_matrix": camera.matrix,
        "crop_from_image": camera.crop_from_image,
    }
