"""One training sample: a posed arm before a pinhole camera, objects around it, and its labels."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import apply_affine, project_points
from handviz.core.records import CROP_SIZE, FloatArray
from handviz.data.labels import PlacedHand, placed_labels
from handviz.data.synthetic import look, pose
from handviz.data.synthetic.arm import ArmPoser, PosedArm, Truth, object_transform
from handviz.data.synthetic.things import ThingMaker
from handviz.data.synthetic.viewpoint import Camera
from handviz.rendering.studio import HandStudio, clip_from_camera
from handviz.rendering.studio_parts import OCCLUDER, TARGET, Lights, Mesh, StudioImage, Surface

__all__ = ["ArmPoser", "PosedArm", "SceneMaker", "inside_image", "labels", "object_transform", "visible_vertices"]
VISIBLE_TOLERANCE_M = 0.004
HELD, PASSING, OTHER_HAND, RING, WATCH, CLUTTER = 0.27, 0.13, 0.13, 0.16, 0.16, 0.25
"""How often a scene has each of them."""


class SceneMaker:
    """Maker of scenes of arms, objects and light; draws with one studio."""

    def __init__(self, studio: HandStudio, truth: Truth = "model") -> None:
        self.studio, self.truth = studio, truth
        self.poser = ArmPoser(truth)
        self._things = ThingMaker(self.poser)
        arm = self.poser.arm
        self._along_arm = arm.vertices_m[:, 1]
        self._forearm = arm.skinning_weights[:, 16]

    def arm_surface(self, hand: PosedArm, rng: np.random.Generator, label: float, transform: FloatArray) -> Surface:
        """Return the arm with skin, sometimes a sleeve, rarely a glove."""
        arm = self.poser.arm
        sleeve: NDArray[np.float64 | np.bool_] = np.zeros(len(self._along_arm))
        if rng.random() < 0.5:
            sleeve = (self._along_arm > rng.uniform(0.0, 0.06)) * (self._forearm > 0.4)
        material = look.glove_material(rng) if rng.random() < 0.02 else look.skin_material(rng)
        marks = np.stack([arm.palm, arm.nail, sleeve], axis=1)
        mesh = Mesh(hand.vertices_m, hand.normals, arm.vertices_m, marks, arm.faces)
        return Surface(mesh, material, label, transform)

    def _other_hand(self, rng: np.random.Generator, hand: PosedArm, camera: Camera) -> Surface:
        """Return a second arm, mirrored as a left hand, close to the first."""
        other = self.poser.sample(rng, 1)[0]
        rotation = pose.sample_view(rng) @ np.diag([-1.0, 1, 1])
        aim = hand.keypoints_m[rng.integers(0, 21)] @ camera.camera_from_wrist.T + camera.wrist_camera_m
        side = rng.normal(0, 1, 3) * [0.07, 0.07, 0.05]
        position = aim + side - rotation @ other.keypoints_m[rng.integers(0, 21)]
        return self.arm_surface(other, rng, OCCLUDER, object_transform(rotation, np.ones(3), position))

    def hand_surface(self, rng: np.random.Generator, hand: PosedArm, camera: Camera) -> Surface:
        """Return the labelled hand."""
        return self.arm_surface(hand, rng, TARGET, camera_from_wrist(camera))

    def things(self, rng: np.random.Generator, hand: PosedArm, camera: Camera, *, cover: bool = False) -> list[Surface]:
        """Return everything but the hand; with ``cover`` something large is always in front of it."""
        to_camera = camera_from_wrist(camera)
        make, found = self._things, []
        if rng.random() < HELD:
            found.append(make.held(rng, hand, camera))
        if cover or rng.random() < PASSING:
            found += [make.passing(rng, hand, camera, large=cover) for _ in range(rng.integers(1, 3))]
        if rng.random() < OTHER_HAND:
            found.append(self._other_hand(rng, hand, camera))
        if rng.random() < RING:
            found += make.rings(rng, hand, to_camera)
        if rng.random() < WATCH:
            found += make.watch(rng, hand, to_camera)
        if rng.random() < CLUTTER:
            found += make.clutter(rng, camera)
        return found

    def room(self, rng: np.random.Generator, hand: PosedArm, cameras: Sequence[Camera]) -> list[Surface]:
        """Return the hand and what is around it for all cameras of a rig, in the wrist frame."""
        at_wrist = replace(cameras[0], camera_from_wrist=np.eye(3), wrist_camera_m=np.zeros(3))
        make, found = self._things, [self.hand_surface(rng, hand, at_wrist)]
        if rng.random() < HELD:
            found.append(make.held(rng, hand, at_wrist))
        if rng.random() < OTHER_HAND:
            found.append(self._other_hand(rng, hand, at_wrist))
        if rng.random() < RING:
            found += make.rings(rng, hand, np.eye(4))
        if rng.random() < WATCH:
            found += make.watch(rng, hand, np.eye(4))
        if rng.random() < CLUTTER:
            found += make.clutter_around(rng, hand, cameras)
        return found

    def passing(self, rng: np.random.Generator, hand: PosedArm, camera: Camera, *, large: bool) -> Surface:
        """Return a body that covers a part of the hand for one camera, in the wrist frame."""
        return seen_from(np.linalg.inv(camera_from_wrist(camera)), self._things.passing(rng, hand, camera, large=large))

    def body(
        self, rng: np.random.Generator, position: FloatArray, size_m: tuple[float, float], label: float
    ) -> Surface:
        """Return any body with a random rotation at a position (3,) in camera axes."""
        return self._things.body(rng, position, size_m, label)

    def clutter(self, rng: np.random.Generator, camera: Camera) -> list[Surface]:
        """Return bodies behind the hand."""
        return self._things.clutter(rng, camera)

    def draw(self, surfaces: list[Surface], lights: Lights, camera: Camera) -> StudioImage:
        """Draw through the crop's camera."""
        return self.studio.draw(surfaces, lights, clip_from_camera(camera.crop_from_image, camera.matrix))

    def depth_m(self, surfaces: list[Surface], camera: Camera) -> NDArray[np.float32]:
        """Return the depth map (224, 224) alone."""
        return self.studio.depth(surfaces, clip_from_camera(camera.crop_from_image, camera.matrix))


def camera_from_wrist(camera: Camera) -> FloatArray:
    """Return the transform (4, 4) from the wrist frame to the camera's."""
    return object_transform(camera.camera_from_wrist, np.ones(3), camera.wrist_camera_m)


def seen_from(transform: FloatArray, surface: Surface) -> Surface:
    """Return a surface in other axes, into which ``transform`` (4, 4) takes those that it has."""
    return replace(surface, camera_from_object=transform @ surface.camera_from_object)


def inside_image(camera: Camera) -> NDArray[np.float32] | None:
    """Return a mask (224, 224), 1 where the crop lies inside the image, or None where all of it does."""
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
    depth_m: NDArray[np.float32], vertices_camera_m: FloatArray, camera: Camera, inside: NDArray[np.float32] | None
) -> NDArray[np.bool_]:
    """Return whether each vertex (V,) is nearest in the crop's depth map (H, W) and inside crop and image."""
    size = len(depth_m)
    in_crop = apply_affine(camera.crop_from_image, project_points(vertices_camera_m, camera.intrinsics))
    cells = np.floor(in_crop * (size / CROP_SIZE)).astype(int)
    within = ((cells >= 0) & (cells < size)).all(axis=1)
    x, y = np.clip(cells, 0, size - 1).T
    seen = within & (vertices_camera_m[:, 2] < depth_m[y, x] + VISIBLE_TOLERANCE_M)
    if inside is not None:
        seen &= inside[y * CROP_SIZE // size, x * CROP_SIZE // size] > 0
    return seen


def hidden_fraction(visible: NDArray[np.bool_], visible_alone: NDArray[np.bool_]) -> float:
    """Return the fraction of the vertices (V,) visible of the hand alone that objects hide; 0 if none is visible."""
    seen = int(visible_alone.sum())
    return float((visible_alone & ~visible).sum() / seen) if seen else 0.0


def labels(hand: PosedArm, camera: Camera, hand_ids: NDArray[np.int32]) -> dict[str, FloatArray]:
    """Return the labels that need no image (see generator.LABELS and RIG_LABELS); ``hand_ids`` (V,) of the arm."""
    placed = PlacedHand(hand.keypoints_m, camera.camera_from_wrist, camera.wrist_camera_m)
    known = placed_labels(placed, camera.intrinsics, camera.crop_from_image)
    vertices = hand.vertices_m[hand_ids]
    return {"pose": hand.pose, "shape": hand.shape, "vertices": vertices, "is_hand": np.ones(())} | known
