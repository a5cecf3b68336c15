"""The errors of network and landmarks, fitted for the posterior of a hand (``handviz/pipeline/posterior.py``).

Hands are rendered with known K, put back into whole images and found there by the whole pipeline, as a stream does it:
every image twice, so that the second crop comes from the first one's landmarks. Two thirds of the hands are fitted, the
others tested (``posterior_check``). What one cannot measure on rendered hands is how well MediaPipe's landmarks fit
photographs, which its networks were trained on: the covariances of the landmarks are reduced, so that their median
error becomes the one that training assumes of photographs (``LandmarkNoise``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.stats import chi2
from tqdm import tqdm

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import procrustes_aligned
from handviz.core.records import KEYPOINT_COUNT, FloatArray, Frame, HandCrop, Intrinsics, ModelId, NetworkOutput
from handviz.core.shape_posterior import turned_covariance
from handviz.core.units import MILLIMETRES_PER_METRE
from handviz.detection.crop import CropView, as_the_detector_marks_them, hand_mesh_from_crop, wrist_from_network
from handviz.evaluation.rendered_scenes import SAME_HAND, scenes
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.skinning import vertices_from_keypoint_displacements
from handviz.models.base import LoadContext
from handviz.models.reconstructor import LoadedModel
from handviz.models.registry import model_spec
from handviz.pipeline import posterior
from handviz.pipeline.error_model import SIZE, ErrorModel
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from handviz.training.augmentation import LandmarkNoise

MIN_HANDS = 3 * KEYPOINT_COUNT
"""Of which anything is fitted."""
SHRINK = 0.3
"""Of covariances towards their diagonal: there are more pairs of numbers than hands."""
DEGREES_OF_FIT = 8.0
"""Of the multivariate t by which covariances are fitted, so that a few wild hands do not stand for all."""
ROUNDS = 30
"""Of that fit."""
DEGREES = (10.0, 20.0, 30.0, 60.0, 120.0)
"""That fit about equally well; under more, a contradiction would hardly make a hand wider."""
CALIBRATED = (0.68, 0.9, 0.95)
"""Intervals of the fused keypoints that the level of variances is fitted to."""
NORMAL_PERCENT = 68.27
"""Of a normal distribution within a standard deviation."""


@cache
def followers() -> FloatArray:
    """Return how the open hand's vertices follow its keypoints (V, 21), in single precision as in the pipeline."""
    return np.asarray(vertices_from_keypoint_displacements(load_open_hand()).astype(np.float32))


class FoundHand(NamedTuple):
    """A hand that the pipeline found: the network's answer, and the truth."""

    hand: NetworkOutput
    crop: HandCrop
    camera: Intrinsics
    true_m: FloatArray
    """(V, 3) canonical"""
    camera_from_wrist: FloatArray
    """(3, 3)"""
    wrist_m: FloatArray
    """(3,) camera frame"""

    @property
    def view(self) -> CropView:
        """The projection into the crop."""
        return CropView.of(self.crop, self.camera)

    @property
    def true_keypoints_m(self) -> FloatArray:
        """(21, 3) from the wrist, in the crop's axes."""
        keypoints_m = load_open_hand().keypoint_regressor @ self.true_m
        return (keypoints_m - keypoints_m[0]) @ (self.view.camera_from_crop.T @ self.camera_from_wrist).T


@dataclass(frozen=True)
class FitPlan:
    """What is rendered, and the model whose errors are fitted."""

    model: ModelId = "final"
    count: int = 1400
    """Rendered hands; not all are found."""
    seed: int = 503
    config: PipelineConfig = field(default_factory=lambda: PipelineConfig(preload_others=False))


def found_hands(plan: FitPlan) -> list[FoundHand]:
    """Return the right hands that the pipeline finds in rendered images, in the order in which they are rendered."""
    model = LoadedModel(model_spec(plan.model), LoadContext(plan.config.model_dir))
    found = []
    with Pipeline(PipelineSettings(plan.model), plan.config) as pipeline:
        progress = tqdm(scenes(plan.seed, plan.count), total=plan.count, unit="hand")
        for number, scene in enumerate(progress):
            pipeline.reset()
            for again in range(2):
                frame = Frame(2 * number + again, scene.image.copy(), 20.0 * number + 10 * again)
                result = pipeline.process_with(frame, scene.camera)
            extent = float(np.ptp(scene.keypoints_px, axis=0).max())
            away = [np.linalg.norm(hand.keypoints_px - scene.keypoints_px, axis=1).mean() for hand in result.hands]
            near = [
                crop
                for crop, hand, distance in zip(result.crops, result.hands, away, strict=True)
                if hand.handedness == "right" and distance < SAME_HAND * extent
            ]
            for crop, hand in zip(near[:1], model.reconstruct(near[:1]), strict=True):
                truth = scene.true_m, scene.camera_from_wrist, scene.wrist_m
                found.append(FoundHand(hand, crop, scene.camera, *truth))
    return found


def parted(hands: Sequence[FoundHand], rendered: int) -> tuple[Sequence[FoundHand], Sequence[FoundHand]]:
    """Return the two thirds of hands that are fitted and the others; HandvizError if there are fewer than MIN_HANDS."""
    if len(hands) < MIN_HANDS:
        raise HandvizError(f"{len(hands)} of {rendered} hands were found: choose a larger --count", ErrorCode.NO_HANDS)
    first = 2 * len(hands) // 3
    return hands[:first], hands[first:]


def photograph_factor(hands: Sequence[FoundHand]) -> float:
    """Return the landmarks' median error on photographs, as training assumes it, over that on these hands."""
    errors_m = np.reshape([_world_error_m(one) for one in hands], (-1, KEYPOINT_COUNT, 3))
    each_m = np.linalg.norm(errors_m, axis=2).mean(axis=1)
    return LandmarkNoise().median_mm / MILLIMETRES_PER_METRE / float(np.median(each_m))


def fitted(hands: Sequence[FoundHand]) -> ErrorModel:
    """Return the error model of hands."""
    scales = [_scales_m(one.hand) for one in hands]
    usual_std_m = np.median(scales, axis=0)
    pairs = list(zip(hands, scales, strict=True))
    shape = np.array([_shape_error_m(one) / np.repeat(scale, 3) for one, scale in pairs])
    world = np.array([_world_error_m(one) / np.repeat(scale, 3) for one, scale in pairs])
    image = np.array([_image_error(one) / np.repeat(scale * _half_sides(one), 2) for one, scale in pairs])
    reduced = photograph_factor(hands)
    raw = ErrorModel(
        shape=robust_covariance(shape),
        world=robust_covariance(world) * reduced**2,
        image=robust_covariance(image) * reduced**2,
        camera_std=_camera_std(hands),
        usual_std_m=usual_std_m,
        of_shape=_of_shape(hands, scales),
        network_scale=_network_scale(hands),
        bone_std=_bone_std(hands),
        scale=1.0,
        degrees=1e9,
        own_fraction=0.0,
    )
    return _calibrated(hands, raw)


def _calibrated(hands: Sequence[FoundHand], raw: ErrorModel) -> ErrorModel:
    """Return the model with the level, the degrees of freedom and the vertices' own part that fit these hands best.

    The lengths of bones have variances of their own, so the level changes the fusion: it is fitted twice.
    """
    fitted = raw
    for _ in range(2):
        shown = [fused_hand(one, replace(fitted, degrees=1e9)) for one in hands]
        # The distances' expectation is their count, by a factor of all covariances, which leaves the means as they are.
        ratio = float(np.median([one.distance / one.observed for one in shown]))
        fitted = replace(
            fitted,
            shape=fitted.shape * ratio,
            network_scale=fitted.network_scale * ratio,
            world=fitted.world * ratio,
            image=fitted.image * ratio,
            scale=fitted.scale / ratio,
        )
        distances, counts = (np.array([getattr(one, name) for one in shown]) for name in ("distance", "observed"))
        errors_m = np.array([one.error_m for one in shown])[:, 1:]
        variances = np.array([one.variance_m2 for one in shown])[:, 1:]
        best = (np.inf, 0.0, 0.0)
        for degrees in DEGREES:
            wide = variances * ((degrees + distances / ratio) / (degrees + counts))[:, None]
            scale = _level(np.square(errors_m) / wide)
            nll = float((1.5 * np.log(wide * scale) + 1.5 * errors_m**2 / (wide * scale)).mean())
            best = min(best, (nll, degrees, scale))
        fitted = replace(fitted, degrees=best[1], scale=fitted.scale * best[2])
    again = [fused_hand(one, fitted) for one in hands]
    squares = np.array([np.square(one.vertex_error_m).mean() for one in again])
    moved = np.array([one.vertex_variance_m2.mean() for one in again])
    stds_m = [one.hand.vertex_std_m for one in hands if one.hand.vertex_std_m is not None]
    own = np.array([np.square(std_m).sum(axis=1).mean() for std_m in stds_m])
    return replace(fitted, own_fraction=float(np.clip(np.median(squares - moved) / np.median(own), 0.01, 1.0)))


def _level(ratios: FloatArray) -> float:
    """Return the factor of variances under which the 68, 90 and 95 % intervals cover nearest to that.

    Of squared errors over variances. Errors have longer tails than a normal distribution: no factor fits both.
    """
    ordered = np.sort(ratios.ravel())
    factors = np.geomspace(0.05, 20, 400)
    inside = np.searchsorted(ordered, factors[:, None] * chi2(3).ppf(CALIBRATED) / 3) / ordered.size
    return float(factors[np.square(inside - CALIBRATED).sum(axis=1).argmin()])


def _bone_std(hands: Sequence[FoundHand]) -> FloatArray:
    """Return (20,) how far the network's lengths of bones are off, as fractions, after the best size."""
    rows = []
    for one in hands:
        network_m = _network_m(one)
        aligned_m = procrustes_aligned(one.true_keypoints_m[None], network_m[None])[0]
        lengths = [np.linalg.norm(part[posterior.CHILDREN] - part[posterior.PARENTS], axis=1)
                   for part in (aligned_m, network_m)]  # fmt: skip
        rows.append(np.log(lengths[0] / lengths[1]))
    return np.asarray(np.percentile(np.abs(rows), NORMAL_PERCENT, axis=0))


class FusedHand(NamedTuple):
    """A hand after fusion, with its errors after the best rotation, scale and translation."""

    error_m: FloatArray
    """(21,)"""
    variance_m2: FloatArray
    """(21,) sum over axes"""
    vertex_error_m: FloatArray
    """(V,)"""
    vertex_variance_m2: FloatArray
    """(V,) sum over axes"""
    distance: float
    observed: int
    wrist_error_m: FloatArray
    """(3,) with the size of the true hand"""
    wrist_std_m: FloatArray
    """(3,)"""


def fused_hand(one: FoundHand, errors: ErrorModel) -> FusedHand:
    """Fuse a hand as the pipeline does it, and compare it with the truth."""
    template = load_open_hand()
    placed = posterior.fused(one.hand, one.crop, one.view, followers(), errors)
    mesh = hand_mesh_from_crop(placed, one.crop, intrinsics=one.camera, model="final")
    assert mesh.shape is not None
    assert mesh.vertex_std_mm is not None
    assert mesh.position_uncertainty is not None
    true_m = one.true_m @ one.camera_from_wrist.T
    true_keypoints_m = template.keypoint_regressor @ true_m
    size = np.linalg.norm(true_keypoints_m - true_keypoints_m.mean(0)) / np.linalg.norm(
        mesh.keypoints_m - mesh.keypoints_m.mean(0)
    )
    return FusedHand(
        error_m=aligned_errors_m(mesh.keypoints_m, true_keypoints_m),
        variance_m2=np.diag(mesh.shape.covariance_m2).reshape(-1, 3).sum(axis=1),
        vertex_error_m=aligned_errors_m(mesh.vertices_m, true_m),
        vertex_variance_m2=np.square(mesh.vertex_std_mm / MILLIMETRES_PER_METRE),
        distance=mesh.shape.distance,
        observed=mesh.shape.count,
        wrist_error_m=mesh.wrist_camera_m * size - one.wrist_m,
        wrist_std_m=np.sqrt(np.diag(mesh.position_uncertainty.fit_covariance_m2)),
    )


def robust_covariance(rows: FloatArray) -> FloatArray:
    """Return the scale matrix (N, N) of a multivariate t of mean 0 (EM), shrunk towards its diagonal."""
    count, size = rows.shape
    covariance = np.cov(rows.T) + 1e-6 * np.eye(size)
    for _ in range(ROUNDS):
        shrunk = _shrunk(covariance)
        distances = np.einsum("ni,ni->n", rows, np.linalg.solve(shrunk, rows.T).T)
        weights = (DEGREES_OF_FIT + size) / (DEGREES_OF_FIT + distances)
        covariance = (rows * weights[:, None]).T @ rows / count
    return _shrunk(covariance)


def _shrunk(covariance: FloatArray) -> FloatArray:
    diagonal = np.diag(np.diag(covariance))
    return (
        (1 - SHRINK) * covariance
        + SHRINK * diagonal
        + 1e-4 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    )


def _scales_m(hand: NetworkOutput) -> FloatArray:
    none = np.zeros(KEYPOINT_COUNT)
    empty = ErrorModel(none, none, none, none, none, np.ones(KEYPOINT_COUNT), 1.0, none, 1.0, 1.0, 0.0)
    return posterior.keypoint_scales(hand, empty)


def _of_shape(hands: Sequence[FoundHand], scales: Sequence[FloatArray]) -> FloatArray:
    """Return (21,) how much smaller a network's ``keypoint_scales`` are by its covariance; 1 without one."""
    ratios = [
        scale / _scales_m(replace(one.hand, keypoint_covariance_m2=None))
        for one, scale in zip(hands, scales, strict=True)
    ]
    return np.asarray(np.median(ratios, axis=0))


def _network_scale(hands: Sequence[FoundHand]) -> float:
    """Return the factor of the networks' covariances under which their errors' median distance is its expectation."""
    ratios = []
    for one in hands:
        own_m2 = one.hand.keypoint_covariance_m2
        if own_m2 is None:
            return 1.0
        projection = posterior.without_motion(_network_m(one))
        turned_m2 = turned_covariance(own_m2.astype(np.float64), one.hand.rotation.astype(np.float64))
        inverse = np.linalg.pinv(projection @ turned_m2 @ projection, rcond=1e-6, hermitian=True)
        error_m = _shape_error_m(one)
        ratios.append(error_m @ inverse @ error_m / (SIZE - posterior.FREE))
    return float(np.median(ratios))


def _network_m(one: FoundHand) -> FloatArray:
    keypoints_m = one.hand.keypoints_m.astype(np.float64)
    return np.asarray((keypoints_m - keypoints_m[0]) @ one.hand.rotation.astype(np.float64).T)


def _shape_error_m(one: FoundHand) -> FloatArray:
    """Return (63,) truth less network, after the best rotation, scale and translation."""
    network_m = _network_m(one)
    aligned = procrustes_aligned(one.true_keypoints_m[None], network_m[None])[0]
    return np.asarray(posterior.without_motion(network_m) @ (aligned - network_m).ravel())


def _world_error_m(one: FoundHand) -> FloatArray:
    """Return (63,) world landmarks less truth, both after the best rotation, scale and translation."""
    assert one.hand.landmarks_m is not None
    marked = posterior.MARKED @ _network_m(one)
    projection = posterior.without_motion(marked)
    landmarks = procrustes_aligned(one.hand.landmarks_m[None].astype(np.float64), marked[None])[0]
    true = _network_m(one) + _shape_error_m(one).reshape(KEYPOINT_COUNT, 3)
    return np.asarray(projection @ (landmarks - as_the_detector_marks_them(true)).ravel())


def _image_error(one: FoundHand) -> FloatArray:
    """Return (42,) the detector's landmarks less the truth, crop half-sides."""
    in_camera = as_the_detector_marks_them(one.true_keypoints_m) @ one.view.camera_from_crop.T + one.wrist_m
    return (posterior.keypoints_in_crop(one.crop) - one.view.in_crop(in_camera)).ravel()


def _half_sides(one: FoundHand) -> float:
    start = posterior.Camera(one.view.camera_from_crop @ one.hand.rotation, wrist_from_network(one.hand, one.view))
    return posterior.half_sides_per_m(_network_m(one), start, one.view)


def _camera_std(hands: Sequence[FoundHand]) -> FloatArray:
    """Return (6,) the network's errors of rotation about the crop's axes, ln depth given its size, and shift."""
    rows = []
    for one in hands:
        network_m, true_m = _network_m(one), one.true_keypoints_m
        centred = network_m - network_m.mean(0), true_m - true_m.mean(0)
        turn, _ = Rotation.align_vectors(centred[1], centred[0])
        size = np.log(np.linalg.norm(centred[1]) / np.linalg.norm(centred[0]))
        wrist_m = wrist_from_network(one.hand, one.view)
        depth = np.log(one.wrist_m[2] / wrist_m[2]) - size
        shift = one.view.in_crop(np.stack([one.wrist_m, wrist_m]))
        rows.append(np.concatenate([turn.as_rotvec(), [depth], shift[0] - shift[1]]))
    return np.asarray(np.percentile(np.abs(rows), NORMAL_PERCENT, axis=0))


def aligned_errors_m(points_m: FloatArray, true_m: FloatArray) -> FloatArray:
    """Return the distances (P,) of points (P, 3) from the true ones after the best rotation, scale and translation."""
    aligned = procrustes_aligned(points_m[None].astype(np.float64), true_m[None])[0]
    return np.asarray(np.linalg.norm(aligned - true_m, axis=1))
