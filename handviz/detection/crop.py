"""Image -> square crop of a right hand, and the network's answer back to the image. Nobody else mirrors."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import NEAREST_M, apply_affine, camera_from_ray, invert_affine, projected
from handviz.core.records import (
    CROP_SIZE,
    CanonicalHand,
    Detection,
    FloatArray,
    HandCrop,
    Handedness,
    HandMesh,
    Intrinsics,
    PlaceDoubt,
    VariantName,
)
from handviz.core.units import MILLIMETRES_PER_METRE
from handviz.detection.placement import CropView, in_front, network_covariance, place_in_perspective, widened

WRIST, MIDDLE_KNUCKLE = 0, 9
CROP_SIDE_PER_EXTENT = 1.8
SMALLEST_EXTENT_PX = 4.0
UNMEASURED_SIZE_STD_SHARE = 0.08
"""Of a hand whose size nobody measured, around what the network believes, as tools/wrist_position.py measures it."""


def crop_from_image_affine(
    keypoints_px: FloatArray,
    handedness: Handedness,
    *,
    side_per_extent: float = CROP_SIDE_PER_EXTENT,
    turn_rad: float = 0.0,
    shift: FloatArray | None = None,
) -> FloatArray:
    """Affine (2, 3) image pixels -> crop pixels; wrist -> middle knuckle points up, lefts are mirrored.

    ``keypoints_px`` (21, 2). ``turn_rad`` and ``shift`` ((2,), in crop sides) are the jitter that training adds.
    """
    direction = keypoints_px[MIDDLE_KNUCKLE] - keypoints_px[WRIST]
    angle = math.atan2(direction[0], -direction[1]) + turn_rad
    cosine, sine = math.cos(angle), math.sin(angle)
    upright = np.array([[cosine, sine], [-sine, cosine]])
    turned = keypoints_px @ upright.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    side = max(float((high - low).max()), SMALLEST_EXTENT_PX) * side_per_extent
    middle = (low + high) / 2
    if shift is not None:
        middle = middle + shift * side
    scale = CROP_SIZE / side
    affine = np.concatenate([upright * scale, (CROP_SIZE / 2 - scale * middle)[:, None]], axis=1)
    if handedness == "left":
        affine[0] *= -1
        affine[0, 2] += CROP_SIZE
    return affine


def cut_out(image: NDArray[np.uint8], crop_from_image: FloatArray) -> NDArray[np.uint8]:
    """Resample the crop (224, 224, 3) from an image (H, W, 3); black outside the image.

    The border is constant, as in MediaPipe, so that nothing is invented beyond the picture's edge. Large hands are
    first reduced with area averaging, because a bilinear look-up alone would alias.
    """
    affine = crop_from_image.copy()
    scale = math.sqrt(abs(np.linalg.det(affine[:, :2])))
    reduce = min(int(0.75 / scale), *image.shape[:2])
    if reduce >= 2:
        height, width = image.shape[0] // reduce, image.shape[1] // reduce
        reduced = cv2.resize(image[: height * reduce, : width * reduce], (width, height), interpolation=cv2.INTER_AREA)
        image = reduced.astype(np.uint8, copy=False)
        affine[:, :2] *= reduce
    # OpenCV's pixel centres lie at whole numbers, ours at halves.
    half = np.full(2, 0.5)
    affine[:, 2] += affine[:, :2] @ half - half
    crop = cv2.warpAffine(image, affine, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR)
    return crop.astype(np.uint8, copy=False)


def crop_hand(image: NDArray[np.uint8], detection: Detection) -> HandCrop:
    """Cut the detected hand out of an RGB image (H, W, 3)."""
    affine = crop_from_image_affine(detection.keypoints_px, detection.handedness)
    picture = cut_out(image, affine).astype(np.float32) / 255.0
    return HandCrop(image=picture, crop_from_image=affine, detection=detection)


def camera_from_crop(crop_from_image: FloatArray, intrinsics: Intrinsics) -> FloatArray:
    """Orthogonal (3, 3) from the crop's axes to the camera's: in-plane turn, mirror for lefts, and the ray's tilt."""
    image_from_crop = invert_affine(crop_from_image)
    middle_px = apply_affine(image_from_crop, np.full(2, CROP_SIZE / 2))
    in_plane = np.eye(3)
    in_plane[:2, :2] = image_from_crop[:, :2] / math.sqrt(abs(np.linalg.det(image_from_crop[:, :2])))
    return camera_from_ray(middle_px, intrinsics) @ in_plane


def points_in_crop(points_m: FloatArray, canonical: CanonicalHand) -> FloatArray:
    """Canonical points (N, 3) of a hand -> where its network says that they lie in its crop (N, 3), in weak
    perspective: crop half-sides, x right, y down, depth from the wrist."""
    shift = np.append(canonical.translation, 0.0)
    return np.asarray(canonical.scale * (points_m @ canonical.rotation.T) + shift)


def wrist_from_network(canonical: CanonicalHand, crop: HandCrop, intrinsics: Intrinsics) -> FloatArray:
    """(3,) where the wrist is, so that the hand's true perspective comes nearest to the network's weak one."""
    to_camera = camera_from_crop(crop.crop_from_image, intrinsics)
    view = CropView(crop.crop_from_image, intrinsics)
    wrist = canonical.keypoints_m[WRIST]
    turned_m = (canonical.keypoints_m - wrist).astype(np.float64) @ (to_camera @ canonical.rotation).T
    in_crop = points_in_crop(canonical.keypoints_m, canonical)[:, :2]
    # Off the axis a pinhole stretches pictures by 1 / cosine along the radius; the scale is the mean of both ways.
    off_axis_stretch = (1 + 1 / to_camera[2, 2]) / 2
    crop_per_image = math.sqrt(abs(np.linalg.det(crop.crop_from_image[:, :2] * intrinsics.focals_px)))
    depth_m = crop_per_image / (canonical.scale * CROP_SIZE / 2) * off_axis_stretch - float(turned_m[:, 2].mean())
    start_m = view.ray(in_crop[WRIST]) * max(depth_m, NEAREST_M)
    return place_in_perspective(turned_m, in_crop, view, in_front(start_m, turned_m))


def hand_mesh_from_crop(
    canonical: CanonicalHand, crop: HandCrop, *, intrinsics: Intrinsics, variant: VariantName, hand_model: str = ""
) -> HandMesh:
    """Take a network's answer out of the crop: camera axes, image pixels, the person's true hand.

    ``hand_model``: fingerprint of the network's hand model; empty: the open hand.
    """
    to_camera = camera_from_crop(crop.crop_from_image, intrinsics)
    mirror = np.diag([-1.0, 1.0, 1.0]) if crop.detection.handedness == "left" else np.eye(3)
    wrist, turn = canonical.keypoints_m[WRIST], to_camera @ canonical.rotation
    place_m, covariance_m2 = canonical.wrist_camera_m, canonical.wrist_covariance_m2
    if place_m is None:
        place_m = wrist_from_network(canonical, crop, intrinsics)
    if covariance_m2 is None:
        covariance_m2 = network_covariance(place_m, CropView(crop.crop_from_image, intrinsics))
    else:
        covariance_m2 = widened(covariance_m2, place_m)
    size_std_share = canonical.size_std_share
    unprojected = HandMesh(
        handedness=crop.detection.handedness,
        detection_score=crop.detection.score,
        variant=variant,
        vertices_m=(canonical.vertices_m - wrist) @ turn.T,
        vertex_std_mm=np.linalg.norm(canonical.vertex_std_m, axis=1) * MILLIMETRES_PER_METRE,
        keypoints_m=(canonical.keypoints_m - wrist) @ turn.T,
        keypoint_std_mm=np.linalg.norm(canonical.keypoint_std_m, axis=1) * MILLIMETRES_PER_METRE,
        vertices_px=np.zeros((len(canonical.vertices_m), 2)),
        keypoints_px=np.zeros((len(canonical.keypoints_m), 2)),
        pixels_per_m=1.0,
        camera_from_wrist=turn @ mirror,
        wrist_camera_m=place_m,
        intrinsics=intrinsics,
        keypoint_covariance_mm2=covariances_mm2(canonical.keypoint_std_m, turn),
        vertex_covariance_mm2=covariances_mm2(canonical.vertex_std_m, turn),
        place_doubt=PlaceDoubt(
            covariance_m2,
            UNMEASURED_SIZE_STD_SHARE if size_std_share is None else size_std_share,
            size_is_measured=size_std_share is not None,
        ),
        hand_model=hand_model,
    )
    return projected(unprojected)


def mesh_in_crop(hand: HandMesh, crop: HandCrop) -> FloatArray:
    """The vertices (V, 3) in the crop that the hand was found in: half-sides, x right, y down, depth from the wrist."""
    in_crop = apply_affine(crop.crop_from_image, hand.vertices_px) / (CROP_SIZE / 2) - 1
    ray = camera_from_crop(crop.crop_from_image, hand.intrinsics)[:, 2]
    crop_per_image = math.sqrt(abs(np.linalg.det(crop.crop_from_image[:, :2])))
    depth = hand.vertices_m @ ray * (hand.pixels_per_m * crop_per_image / (CROP_SIZE / 2))
    return np.concatenate([in_crop, depth[:, None]], axis=1)


def covariances_mm2(std_m: FloatArray, turn: FloatArray) -> FloatArray:
    """Deviations (N, 3) along canonical axes -> covariances (N, 3, 3) in the axes that ``turn`` (3, 3) leads to.

    ``turn`` may mirror.
    """
    variance_mm2 = np.square(std_m.astype(np.float64) * MILLIMETRES_PER_METRE)
    return np.asarray((turn * variance_mm2[:, None, :]) @ turn.T)
