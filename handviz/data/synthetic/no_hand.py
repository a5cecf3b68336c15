"""Crops without a hand, as false detections cut them: forearms, things of the colour of skin, backgrounds alone."""

from dataclasses import replace

import numpy as np

from handviz.core.geometry import apply_affine, project_points
from handviz.core.records import CROP_SIZE, FloatArray
from handviz.data.synthetic import look
from handviz.data.synthetic.arm import PosedArm
from handviz.data.synthetic.scene import SceneMaker
from handviz.data.synthetic.viewpoint import Camera
from handviz.hand_models.full_rig import FOREARM
from handviz.rendering.studio_parts import OCCLUDER, TARGET, Surface

ARM, THINGS, EMPTY = range(3)
KIND_FRACTIONS = (0.4, 0.45, 0.15)
"""Of the crops without a hand: a forearm, things where the hand would be, a background alone."""
FOREARM_TRIES = 8
SKIN_COLOURED = 0.5
"""Fraction of things with the material of skin."""
ALONG_FOREARM = (0.4, 0.95)
"""Range of the crop's centre on the way from the wrist to the forearm's end."""
MAX_HAND_INSIDE = 0.02
"""Fraction of the hand's vertices that a crop of a forearm may contain."""


def surfaces_without_hand(
    rng: np.random.Generator, maker: SceneMaker, hand: PosedArm, camera: Camera
) -> tuple[list[Surface], Camera]:
    """Return what a crop without a hand shows, and its camera; ``hand`` is where one would be."""
    kind = rng.choice(len(KIND_FRACTIONS), p=KIND_FRACTIONS)
    clutter = maker.clutter(rng, camera)
    if kind == ARM:
        beside = forearm_camera(rng, maker, hand, camera)
        if beside is not None:
            return [maker.hand_surface(rng, hand, camera), *clutter], beside
    return ([] if kind == EMPTY else _things(rng, maker, hand, camera)) + clutter, camera


def _things(rng: np.random.Generator, maker: SceneMaker, hand: PosedArm, camera: Camera) -> list[Surface]:
    """Return one to four things where the hand would be; the first counts as the target of the exposure."""
    centre = camera.camera_from_wrist @ (0.9 * hand.keypoints_m[9]) + camera.wrist_camera_m
    found = []
    for number in range(rng.integers(1, 5)):
        position = centre + rng.normal(0, 0.045, 3)
        thing = maker.body(rng, position, (0.03, 0.14), OCCLUDER if number else TARGET)
        material = look.skin_material(rng) if rng.random() < SKIN_COLOURED else thing.material
        found.append(replace(thing, material=material))
    return found


def forearm_camera(rng: np.random.Generator, maker: SceneMaker, hand: PosedArm, camera: Camera) -> Camera | None:
    """Return the camera with a crop of the forearm without the hand; None where there is none in the image."""
    forearm = maker.poser.arm.skinning_weights[:, FOREARM] > 0.5
    in_crop = _in_crop(hand.vertices_m, camera)
    wrist, centre_of_forearm = _in_crop(np.zeros((1, 3)), camera)[0], in_crop[forearm].mean(0)
    to_end = 2 * (centre_of_forearm - wrist)
    for _ in range(FOREARM_TRIES):
        centre = wrist + rng.uniform(*ALONG_FOREARM) * to_end
        side = rng.uniform(0.35, 1.1) * CROP_SIZE
        moved = replace(camera, crop_from_image=_cut(camera.crop_from_image, centre, side, rng.uniform(-np.pi, np.pi)))
        points = _in_crop(hand.vertices_m, moved)
        inside = np.abs(points - CROP_SIZE / 2).max(axis=1) < CROP_SIZE / 2
        if inside[~forearm].mean() < MAX_HAND_INSIDE and inside[forearm].mean() > 0.2:
            return moved
    return None


def _in_crop(points_m: FloatArray, camera: Camera) -> FloatArray:
    """Return points (V, 3) of the wrist frame in the crop's pixels (V, 2)."""
    in_camera = points_m @ camera.camera_from_wrist.T + camera.wrist_camera_m
    return apply_affine(camera.crop_from_image, project_points(in_camera, camera.intrinsics))


def _cut(crop_from_image: FloatArray, centre: FloatArray, side: float, angle_rad: float) -> FloatArray:
    """Return the map (2, 3) to a square of ``side`` pixels around a point (2,) of the former crop, rotated."""
    factor = CROP_SIZE / side
    linear = factor * np.array([[np.cos(angle_rad), -np.sin(angle_rad)], [np.sin(angle_rad), np.cos(angle_rad)]])
    shift = CROP_SIZE / 2 - linear @ centre
    return np.concatenate([linear @ crop_from_image[:, :2], (linear @ crop_from_image[:, 2] + shift)[:, None]], axis=1)
