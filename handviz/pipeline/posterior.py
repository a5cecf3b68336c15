"""One posterior of a hand: a network and MediaPipe's landmarks are Gaussian observations of it.

What is unknown: the displacements of the 21 keypoints from the network's, as far as no rotation, scaling or translation
of the whole hand explains them (the *shape*, 56 of 63 numbers), and the camera (rotation, ln depth, shift). The network
is the prior of both: its covariance is for a quarter its own, where it predicts one, and else that of all hands. The
world landmarks, after their best rotation, scale and translation, and the 2D landmarks are linear functions of them
with errors of their own. All errors are counted in the network's own standard deviations, so that a bent or hidden
finger is uncertain for everyone; their covariances were fitted on rendered hands through the whole pipeline
(``error_model.py``). Derivation: docs/research/method.md, section 7.
"""

from dataclasses import dataclass, replace

import numpy as np

from handviz.core.geometry import apply_affine, cross_matrix, procrustes_aligned, rotation_from_axis_angle
from handviz.core.records import (
    KEYPOINT_COUNT,
    KEYPOINT_PARENTS,
    FloatArray,
    HandCrop,
    NetworkOutput,
    PlacedHand,
    uncertainty_kind,
)
from handviz.core.shape_posterior import ShapePosterior, turned_covariance
from handviz.detection.crop import (
    CropView,
    as_the_detector_marks_them,
    in_front,
    position_covariance,
    wrist_from_network,
)
from handviz.pipeline.error_model import SIZE, ErrorModel, error_model

KNUCKLES = (5, 9, 13, 17)
CHILDREN, PARENTS = np.arange(1, KEYPOINT_COUNT), np.array(KEYPOINT_PARENTS[1:])
"""Ends of the 20 bones."""
FREE = 7
"""Rotation, scaling and translation of the whole hand: no part of its shape."""
SMALLEST_MOTION = 1e-12
"""Square of a motion that is none, as a fraction of the largest one's."""
LEAST_STD_M = 0.001
"""Of a keypoint before the fusion: no network is surer than a millimetre."""
LEAST_PRESENCE = 0.05
ROUNDING_M2 = 1e-10
"""On the diagonal of the world landmarks' covariance, which is singular along the whole hand's motions."""
STEPS, SETTLED = 4, 0.03
"""At most so many steps of Gauss-Newton; after the second one none more if it moved the camera by less (radians, ln
depth, crop half-sides)."""
NETWORK_WEIGHT = 0.25
"""Of a network's own covariance in that of its errors."""
OUTLIER_DEGREES = 4.0
"""Degrees of freedom of a single 2D landmark's error."""
MARKED: FloatArray = as_the_detector_marks_them(np.eye(KEYPOINT_COUNT)[:, :, None])[:, :, 0].T
"""(21, 21) from keypoints to where MediaPipe marks them."""
MARKED_COORDINATES = np.kron(MARKED, np.eye(3))
"""(63, 63) the same of all coordinates."""


def keypoint_scales(hand: NetworkOutput, errors: ErrorModel) -> FloatArray:
    """Return (21,) metres: the root mean square of a keypoint's standard deviations; the wrist has its knuckles'.

    They are those of the shape alone. One number for all three directions: which of them is the least certain, a
    network trained on rendered hands does not know of photographs.
    """
    if hand.keypoint_std_m is None or hand.vertex_std_m is None:
        return errors.usual_std_m
    if hand.keypoint_covariance_m2 is not None:
        variances = np.diag(hand.keypoint_covariance_m2).astype(np.float64).reshape(KEYPOINT_COUNT, 3)
        scales = np.sqrt(variances.mean(axis=1))
    else:
        scales = errors.of_shape * np.sqrt(np.square(hand.keypoint_std_m.astype(np.float64)).mean(axis=1))
    if uncertainty_kind(hand.vertex_std_m.ravel()) == "constant":
        # A network that does not tell keypoints apart says how well it knows the hand, not which part.
        scales = errors.usual_std_m * (scales[1:].mean() / np.sqrt(np.square(errors.usual_std_m).mean()))
    scales[0] = scales[list(KNUCKLES)].mean()
    return np.maximum(scales, LEAST_STD_M)


def without_motion(points: FloatArray) -> FloatArray:
    """Return the projection (3N, 3N) of displacements of points (N, 3) to what no motion of all of them explains.

    A motion is a small rotation, scaling and translation.
    """
    centred = points - points.mean(axis=0)
    motions = np.zeros((len(points), 3, FREE))
    motions[:, :, :3] = np.eye(3)
    motions[:, :, 3:6] = cross_matrix(centred)
    motions[:, :, 6] = centred
    columns = motions.reshape(-1, FREE)
    squares, directions = np.linalg.eigh(columns.T @ columns)
    # Points on a line or in one place have fewer motions.
    real = squares > SMALLEST_MOTION * squares[-1]
    basis = columns @ (directions[:, real] / np.sqrt(squares[real]))
    return np.eye(3 * len(points)) - basis @ basis.T


@dataclass(frozen=True, eq=False)
class Shape:
    """A hand's shape under fusion: its mean is the hand's, what is left unknown a covariance."""

    hand: NetworkOutput
    covariance_m2: FloatArray
    """(63, 63) of the keypoints in the axes of ``rotation``, before the scale of all errors."""
    prior_m2: FloatArray
    """(63, 63) that of the network alone."""
    scales_m: FloatArray
    """(21,) ``keypoint_scales``"""
    rotation: FloatArray
    """(3, 3) axes_from_canonical: that to the crop's axes, before the camera was refined."""
    distance: float = 0.0
    """Squared distance of the observations from what was expected of them, in their standard deviations."""
    count: int = 0
    """Of the numbers observed: the expectation of ``distance``."""


def network_shape(hand: NetworkOutput, errors: ErrorModel) -> Shape:
    """Return what the network alone says.

    The covariance of its errors is that of all hands, in its own scales, and for a quarter its own for this hand, if it
    predicts one: a network trained on rendered hands is too sure of what hangs together in photographs. It
    knows the lengths of bones better than the pose: its errors are given that these are right but for ``bone_std``.
    """
    scales_m = keypoint_scales(hand, errors)
    each, points_m = np.repeat(scales_m, 3), _in_crop_axes(hand)
    projection = without_motion(points_m)
    raw_m2 = errors.shape * np.outer(each, each)
    if hand.keypoint_covariance_m2 is not None:
        own_m2 = turned_covariance(hand.keypoint_covariance_m2.astype(np.float64), hand.rotation.astype(np.float64))
        raw_m2 = (1 - NETWORK_WEIGHT) * raw_m2 + NETWORK_WEIGHT * errors.network_scale * own_m2
    prior_m2 = projection @ raw_m2 @ projection
    by_length, lengths_m = _lengths(points_m)
    gained = by_length @ prior_m2
    # Posterior variances are multiplied by the scale, these are true ones.
    noise = np.square(errors.bone_std * np.maximum(lengths_m, LEAST_STD_M)) / errors.scale
    prior_m2 = _symmetric(prior_m2 - gained.T @ np.linalg.solve(gained @ by_length.T + np.diag(noise), gained))
    return Shape(hand, prior_m2, prior_m2, scales_m, hand.rotation.astype(np.float64))


def _lengths(points_m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the derivative (20, 63) of the bones' lengths by points (21, 3), and the lengths (20,)."""
    bones_m = points_m[CHILDREN] - points_m[PARENTS]
    lengths_m = np.linalg.norm(bones_m, axis=1)
    directions = bones_m / np.maximum(lengths_m, 1e-9)[:, None]
    derivative = np.zeros((len(bones_m), len(points_m), 3))
    rows = np.arange(len(bones_m))
    derivative[rows, CHILDREN] = directions
    derivative[rows, PARENTS] = -directions
    return derivative.reshape(len(bones_m), -1), lengths_m


def with_world_landmarks(shape: Shape, errors: ErrorModel, vertices_from_displacements: FloatArray) -> Shape:
    """Observe MediaPipe's world landmarks, after their best rotation, scale and translation; without any it stays."""
    hand = shape.hand
    if hand.landmarks_m is None or not hand.presence:
        return shape
    marked = MARKED @ _in_crop_axes(hand)
    landmarks_m = hand.landmarks_m[None].astype(np.float64)
    aligned = procrustes_aligned(landmarks_m, marked[None])[0]
    projection = without_motion(marked)
    seen = projection @ (aligned - marked).ravel()
    each = np.repeat(shape.scales_m, 3) / max(hand.presence, LEAST_PRESENCE)
    noise = projection @ (errors.world * np.outer(each, each)) @ projection + ROUNDING_M2 * np.eye(SIZE)
    response = projection @ MARKED_COORDINATES
    gained = response @ shape.covariance_m2
    solved = np.linalg.solve(gained @ response.T + noise, np.concatenate([gained, seen[:, None]], axis=1))
    displacements = (gained.T @ solved[:, -1]).reshape(KEYPOINT_COUNT, 3)
    return replace(
        shape,
        hand=displaced(hand, displacements, vertices_from_displacements),
        covariance_m2=_symmetric(shape.covariance_m2 - gained.T @ solved[:, :-1]),
        distance=shape.distance + float(seen @ solved[:, -1]),
        count=shape.count + SIZE - FREE,
    )


@dataclass(frozen=True, eq=False)
class Camera:
    """A camera under fusion: rotation of the hand's axes, and the wrist's position."""

    rotation: FloatArray
    """(3, 3) camera_from_canonical; a reflection for left hands."""
    position_m: FloatArray
    """(3,)"""

    def moved(self, by: FloatArray, view: CropView) -> "Camera":
        """Return the view after a rotation (3,) in radians, a step of ln depth and a shift (2,) in crop half-sides."""
        depth_m = float(self.position_m[2])
        position_m = (self.position_m + depth_m * (view.ray_slopes @ by[4:])) * np.exp(by[3])
        return Camera(rotation_from_axis_angle(by[:3]) @ self.rotation, position_m)


@dataclass(frozen=True, eq=False)
class Linear:
    """The 2D landmarks as a linear function of the shape's displacement (63,) and the camera's motion (6,)."""

    residual: FloatArray
    """(42,) landmarks less their prediction, crop half-sides."""
    by_shape: FloatArray
    """(42, 63)"""
    by_camera: FloatArray
    """(42, 6)"""


def linearised(
    points_m: FloatArray, camera: Camera, camera_from_points: FloatArray, marks: FloatArray, view: CropView
) -> Linear:
    """Return the landmarks (21, 2), in the crop, of marked points (21, 3) near a camera.

    ``camera_from_points`` (3, 3) rotates the points, whose origin is the wrist, to the camera's axes.
    """
    turned = points_m @ camera_from_points.T
    in_crop, slopes = view.in_crop_with_slopes(turned + camera.position_m)
    by_camera = np.empty((len(points_m), 2, 6))
    by_camera[:, :, :3] = slopes @ cross_matrix(-turned)
    by_camera[:, :, 3] = slopes @ camera.position_m
    by_camera[:, :, 4:] = slopes @ (camera.position_m[2] * view.ray_slopes)
    by_point = slopes @ camera_from_points
    by_shape = MARKED[:, None, :, None] * by_point[:, :, None, :]
    size = 2 * len(points_m)
    return Linear((marks - in_crop).ravel(), by_shape.reshape(size, -1), by_camera.reshape(size, 6))


class _ImageFit:
    """Shape and camera given the 2D landmarks: Gauss-Newton, far outliers count less."""

    def __init__(self, shape: Shape, crop: HandCrop, view: CropView, errors: ErrorModel, *, moves_shape: bool) -> None:
        self.shape, self.view, self.moves_shape = shape, view, moves_shape
        self.marks = keypoints_in_crop(crop)
        self.start = Camera(view.camera_from_crop @ shape.hand.rotation, wrist_from_network(shape.hand, view))
        self.camera = self.start
        self.displacement: FloatArray = np.zeros(SIZE)
        self.motion: FloatArray = np.zeros(6)
        self._points_m = _in_crop_axes(shape.hand)
        self._prior = np.diag(1 / errors.camera_std**2)
        half_sides = half_sides_per_m(self._points_m, self.start, view)
        each = np.repeat(shape.scales_m * half_sides, 2)
        self._noise, self._std = errors.image * np.outer(each, each), each * np.sqrt(np.diag(errors.image))
        self._weights: FloatArray = np.ones(KEYPOINT_COUNT)

    def step(self) -> None:
        """Do one step of Gauss-Newton."""
        self.linear = linear = self._linear()
        wide = np.repeat(1 / np.sqrt(self._weights), 2)
        self.gained = linear.by_shape @ self.shape.covariance_m2
        self.inverse = np.linalg.inv(self.gained @ linear.by_shape.T + self._noise * np.outer(wide, wide))
        self.seen = linear.residual + linear.by_shape @ self.displacement + linear.by_camera @ self.motion
        solved = self.inverse @ np.concatenate([linear.by_camera, self.seen[:, None]], axis=1)
        self.information = linear.by_camera.T @ solved[:, :-1] + self._prior
        self.motion = np.linalg.solve(self.information, linear.by_camera.T @ solved[:, -1])
        left = solved[:, -1] - solved[:, :-1] @ self.motion
        self.distance = float(self.seen @ left)
        if self.moves_shape:
            self.displacement = self.gained.T @ left
        camera = self.start.moved(self.motion, self.view)
        turned = self._marked() @ self._camera_from_points(camera).T
        self.camera = replace(camera, position_m=in_front(camera.position_m, turned))
        errors = wide * (self._noise @ (wide * left)) / self._std
        self._weights = outlier_weights(errors.reshape(-1, 2))

    def covariance_m2(self) -> FloatArray:
        """Return the covariance (63, 63) of the shape after the last step, whatever the camera is."""
        linear = self.linear
        across = self.gained.T @ self.inverse @ linear.by_camera
        taken = self.gained.T @ self.inverse @ self.gained - across @ np.linalg.solve(self.information, across.T)
        return _symmetric(self.shape.covariance_m2 - taken)

    def _marked(self) -> FloatArray:
        return MARKED @ (self._points_m + self.displacement.reshape(KEYPOINT_COUNT, 3))

    def _camera_from_points(self, camera: Camera) -> FloatArray:
        return np.asarray(camera.rotation @ self.shape.hand.rotation.astype(np.float64).T)

    def _linear(self) -> Linear:
        from_points = self._camera_from_points(self.camera)
        return linearised(self._marked(), self.camera, from_points, self.marks, self.view)


def half_sides_per_m(points_m: FloatArray, camera: Camera, view: CropView) -> float:
    """Return how far a point moves in the crop by a move of the hand, root mean square over directions across."""
    slopes = view.slopes(points_m @ view.camera_from_crop.T + camera.position_m)
    return float(np.sqrt(np.square(slopes).sum(axis=(1, 2)).mean() / 2))


def with_image_landmarks(
    shape: Shape,
    placed: PlacedHand,
    crop: HandCrop,
    view: CropView,
    vertices_from_displacements: FloatArray,
    *,
    moves_shape: bool = True,
    errors: ErrorModel | None = None,
) -> tuple[Shape, PlacedHand]:
    """Observe the detector's 2D keypoints in true perspective; they place the hand too.

    ``moves_shape`` false: the shape stays the network's, and only the camera changes.
    """
    errors = errors or error_model()
    fit = _ImageFit(shape, crop, view, errors, moves_shape=moves_shape)
    for number in range(STEPS):
        before = fit.motion
        fit.step()
        if number and np.abs(fit.motion - before).max() < SETTLED:
            break
    hand, motion = shape.hand, fit.motion
    turn = view.camera_from_crop.T @ fit.camera.rotation @ hand.rotation.astype(np.float64).T
    displacements = fit.displacement.reshape(KEYPOINT_COUNT, 3)
    wrist_m = fit.camera.rotation @ hand.rotation.astype(np.float64).T @ displacements[0]
    refined = replace(
        hand,
        rotation=(turn @ hand.rotation).astype(hand.rotation.dtype),
        scale=float(hand.scale * np.exp(-motion[3])),
        translation=(hand.translation + motion[4:]).astype(hand.translation.dtype),
    )
    # Displacements turn with the hand.
    refined = displaced(refined, displacements @ turn.T, vertices_from_displacements)
    uncertainty = np.linalg.inv(fit.information)[3:, 3:]
    position_m = fit.camera.position_m + wrist_m
    placed = replace(
        placed,
        hand=refined,
        wrist_camera_m=position_m,
        wrist_covariance_m2=position_covariance(fit.camera.position_m, view, uncertainty),
    )
    covariance_m2 = fit.covariance_m2() if moves_shape else shape.covariance_m2
    shape = replace(
        shape,
        hand=refined,
        covariance_m2=covariance_m2,
        distance=shape.distance + fit.distance,
        count=shape.count + 2 * KEYPOINT_COUNT,
    )
    return shape, placed


def with_posterior(
    placed: PlacedHand, shape: Shape, vertices_from_displacements: FloatArray, errors: ErrorModel | None = None
) -> PlacedHand:
    """Give a hand the standard deviations and the covariance of what was observed of it.

    The errors of a hand share an unknown factor (multivariate t): the further observations lie from what was expected
    of them, the wider is what is left, ``(degrees + distance) / (degrees + count)``. Networks without standard
    deviations get none, and those with one for all points get one.
    """
    errors = errors or error_model()
    hand = placed.hand
    if hand.keypoint_std_m is None or hand.vertex_std_m is None:
        return placed
    factor = errors.scale * (errors.degrees + shape.distance) / (errors.degrees + shape.count)
    # To canonical axes.
    axes = shape.rotation.T
    covariance_m2 = factor * turned_covariance(shape.covariance_m2, axes)
    prior_m2 = errors.scale * turned_covariance(shape.prior_m2, axes)
    found = ShapePosterior(covariance_m2, prior_m2, vertices_from_displacements, shape.distance, shape.count)
    if uncertainty_kind(hand.vertex_std_m.ravel()) == "constant":
        return _with_one_std(placed, found)
    blocks = covariance_m2.reshape(KEYPOINT_COUNT, 3, KEYPOINT_COUNT, 3)
    along_axes = np.stack([blocks[:, axis, :, axis] for axis in range(3)])
    lift = vertices_from_displacements.astype(np.float64)
    moved = np.einsum("avk,vk->va", lift @ along_axes, lift)
    vertex_variance = np.maximum(moved, 0) + errors.own_fraction * np.square(hand.vertex_std_m.astype(np.float64))
    variances = np.maximum(np.diag(covariance_m2), 0).reshape(KEYPOINT_COUNT, 3)
    kind = hand.keypoint_std_m.dtype
    refined = replace(
        hand, keypoint_std_m=np.sqrt(variances).astype(kind), vertex_std_m=np.sqrt(vertex_variance).astype(kind)
    )
    return replace(placed, hand=refined, shape=found)


def _with_one_std(placed: PlacedHand, found: ShapePosterior) -> PlacedHand:
    """Give a hand of a network with one standard deviation for all points one again: the root mean square."""
    hand = placed.hand
    assert hand.keypoint_std_m is not None
    assert hand.vertex_std_m is not None
    variances = np.diag(found.covariance_m2).reshape(KEYPOINT_COUNT, 3).sum(axis=1)
    std_m = float(np.sqrt(variances.mean()))
    refined = replace(
        hand,
        keypoint_std_m=np.full_like(hand.keypoint_std_m, std_m / np.sqrt(3)),
        vertex_std_m=np.full_like(hand.vertex_std_m, std_m / np.sqrt(3)),
    )
    return replace(placed, hand=refined, shape=found.resized(std_m / np.sqrt(np.maximum(variances, ROUNDING_M2))))


def fused(
    hand: NetworkOutput,
    crop: HandCrop,
    view: CropView,
    vertices_from_displacements: FloatArray,
    errors: ErrorModel | None = None,
) -> PlacedHand:
    """Return a hand of unmeasured size after all observations."""
    errors = errors or error_model()
    shape = with_world_landmarks(network_shape(hand, errors), errors, vertices_from_displacements)
    shape, placed = with_image_landmarks(
        shape, PlacedHand(shape.hand), crop, view, vertices_from_displacements, errors=errors
    )
    return with_posterior(placed, shape, vertices_from_displacements, errors)


def displaced(hand: NetworkOutput, displacements: FloatArray, vertices_from_displacements: FloatArray) -> NetworkOutput:
    """Move the keypoints by displacements (21, 3) in the crop's axes; vertices follow smoothly, the wrist stays 0.

    The translation takes the wrist's own displacement.
    """
    canonical = (displacements - displacements[0]) @ hand.rotation.astype(np.float64)
    moved = vertices_from_displacements @ canonical.astype(vertices_from_displacements.dtype)
    return replace(
        hand,
        vertices_m=(hand.vertices_m + moved).astype(hand.vertices_m.dtype, copy=False),
        keypoints_m=(hand.keypoints_m + canonical).astype(hand.keypoints_m.dtype),
        translation=(hand.translation + hand.scale * displacements[0, :2]).astype(hand.translation.dtype),
    )


def keypoints_in_crop(crop: HandCrop) -> FloatArray:
    """Return the detector's keypoints (21, 2) in the crop's [-1, 1]."""
    return apply_affine(crop.crop_from_image, crop.detection.keypoints_px) / crop.half_px - 1


def outlier_weights(errors: FloatArray) -> FloatArray:
    """Return the precisions (N,), 0 to 1, of landmarks with such errors (N, 2), in their standard deviations.

    Those of a bivariate t: (nu + 2) / (nu + r^2), at most 1.
    """
    squares = np.einsum("nc,nc->n", errors, errors)
    return np.minimum(1, (OUTLIER_DEGREES + 2) / (OUTLIER_DEGREES + squares))


def _in_crop_axes(hand: NetworkOutput) -> FloatArray:
    """Return the keypoints (21, 3) from the wrist, in the crop's axes."""
    keypoints_m = hand.keypoints_m.astype(np.float64)
    return np.asarray((keypoints_m - keypoints_m[0]) @ hand.rotation.astype(np.float64).T)


def _symmetric(matrix: FloatArray) -> FloatArray:
    return (matrix + matrix.T) / 2
