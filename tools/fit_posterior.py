"""Fit the errors of network and landmarks for the posterior of a hand (``handviz/pipeline/posterior.py``), and test it.

Hands are rendered with known K, put back into whole images and found there by the whole pipeline, as a stream does it:
every image twice, so that the second crop comes from the first one's landmarks. Two thirds of the hands are fitted, the
others tested. What one cannot measure on rendered hands is how well MediaPipe's landmarks fit photographs, which its
networks were trained on: the covariances of the landmarks are reduced, so that their median error becomes the one
that training assumes of photographs (``LandmarkNoise``).
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.stats import chi, chi2
from tqdm import tqdm

import tools
from handviz.core import metrics
from handviz.core.arguments import Count, ModelFolder, Seed
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import make_folder, write_arrays
from handviz.core.geometry import procrustes_aligned
from handviz.core.output import print_result
from handviz.core.paths import MODELS, POSTERIOR_FILE
from handviz.core.records import KEYPOINT_COUNT, FloatArray, Frame, HandCrop, Intrinsics, NetworkOutput
from handviz.core.shape_posterior import turned_covariance
from handviz.core.units import MILLIMETRES_PER_METRE
from handviz.detection.crop import CropView, as_the_detector_marks_them, hand_mesh_from_crop, wrist_from_network
from handviz.evaluation.rendered_scenes import SAME_HAND, scenes
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.skinning import vertices_from_keypoint_displacements
from handviz.models.base import LoadContext
from handviz.models.reconstructor import LoadedModel
from handviz.models.registry import ModelChoice, model_spec
from handviz.pipeline import posterior
from handviz.pipeline.error_model import FIELDS, SIZE, ErrorModel
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from handviz.training.augmentation import LandmarkNoise

SHRINK = 0.3
"""Of covariances towards their diagonal: there are more pairs of numbers than hands."""
DEGREES_OF_FIT = 8.0
"""Of the multivariate t by which covariances are fitted, so that a few wild hands do not stand for all."""
ROUNDS, DRAWN = 30, 20
DEGREES = (10.0, 20.0, 30.0, 60.0, 120.0)
"""That fit about equally well; under more, a contradiction would hardly make a hand wider."""
PROBABILITIES, CALIBRATED = (0.5, 0.68, 0.9, 0.95), (0.68, 0.9, 0.95)
ANGLE_PERCENTILES = (1, 99)
NORMAL_PERCENT = 68.27
"""Of a normal distribution within a standard deviation."""
TEMPLATE = load_open_hand()
LIFT = vertices_from_keypoint_displacements(TEMPLATE).astype(np.float32)


class Seen(NamedTuple):
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
        keypoints_m = TEMPLATE.keypoint_regressor @ self.true_m
        return (keypoints_m - keypoints_m[0]) @ (self.view.camera_from_crop.T @ self.camera_from_wrist).T


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Hands to render, and the file to write."""

    out: Path = POSTERIOR_FILE
    """The error model."""
    count: Count = 1400
    """Rendered hands; not all are found."""
    seed: Seed = 503
    model: ModelChoice = "final"
    model_dir: ModelFolder = MODELS


def run(arguments: Arguments) -> int:
    """Render, find, fit, test and write."""
    hands = found_hands(arguments)
    if len(hands) < 3 * KEYPOINT_COUNT:
        raise HandvizError(
            f"{len(hands)} of {arguments.count} hands were found: choose a larger --count", ErrorCode.NO_HANDS
        )
    first, rest = hands[: 2 * len(hands) // 3], hands[2 * len(hands) // 3 :]
    errors = fitted(first)
    print_result("%s", f"{len(hands)} of {arguments.count} hands were found, {len(first)} fitted, {len(rest)} tested")
    for line in table(rest, errors):
        print_result("%s", line)
    make_folder(arguments.out.parent)
    write_arrays(arguments.out, {name: np.asarray(getattr(errors, name)) for name in FIELDS})
    print_result("wrote %s", arguments.out)
    return 0


def found_hands(arguments: Arguments) -> list[Seen]:
    """Return the right hands that the pipeline finds in rendered images."""
    model = LoadedModel(model_spec(arguments.model), LoadContext(arguments.model_dir))
    config = PipelineConfig(arguments.model_dir, preload_others=False)
    found = []
    with Pipeline(PipelineSettings(arguments.model), config) as pipeline:
        progress = tqdm(scenes(arguments.seed, arguments.count), total=arguments.count, unit="hand")
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
                found.append(Seen(hand, crop, scene.camera, *truth))
    return found


def fitted(hands: Sequence[Seen]) -> ErrorModel:
    """Return the error model of hands."""
    scales = [_scales_m(one.hand) for one in hands]
    usual_std_m = np.median(scales, axis=0)
    pairs = list(zip(hands, scales, strict=True))
    shape = np.array([_shape_error_m(one) / np.repeat(scale, 3) for one, scale in pairs])
    world_m = [_world_error_m(one) for one in hands]
    world = np.array([error / np.repeat(scale, 3) for error, scale in zip(world_m, scales, strict=True)])
    image = np.array([_image_error(one) / np.repeat(scale * _half_sides(one), 2) for one, scale in pairs])
    # Median error of the landmarks, on photographs as training assumes it and here.
    each_m = np.linalg.norm(np.reshape(world_m, (-1, KEYPOINT_COUNT, 3)), axis=2).mean(axis=1)
    reduced = LandmarkNoise().median_mm / MILLIMETRES_PER_METRE / float(np.median(each_m))
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
    print_result("%s", f"landmarks' errors, standard deviations on photographs against here: {reduced:.2f}")
    return _calibrated(hands, raw)


def _calibrated(hands: Sequence[Seen], raw: ErrorModel) -> ErrorModel:
    """Return the model with the level, the degrees of freedom and the vertices' own part that fit these hands best.

    The lengths of bones have variances of their own, so the level changes the fusion: it is fitted twice.
    """
    fitted = raw
    for _ in range(2):
        shown = [fused(one, replace(fitted, degrees=1e9)) for one in hands]
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
    again = [fused(one, fitted) for one in hands]
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


def _bone_std(hands: Sequence[Seen]) -> FloatArray:
    """Return (20,) how far the network's lengths of bones are off, as fractions, after the best size."""
    rows = []
    for one in hands:
        network_m = _network_m(one)
        aligned_m = procrustes_aligned(one.true_keypoints_m[None], network_m[None])[0]
        lengths = [np.linalg.norm(part[posterior.CHILDREN] - part[posterior.PARENTS], axis=1)
                   for part in (aligned_m, network_m)]  # fmt: skip
        rows.append(np.log(lengths[0] / lengths[1]))
    return np.asarray(np.percentile(np.abs(rows), NORMAL_PERCENT, axis=0))


class Fused(NamedTuple):
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


def fused(one: Seen, errors: ErrorModel) -> Fused:
    """Fuse a hand as the pipeline does it, and compare it with the truth."""
    placed = posterior.fused(one.hand, one.crop, one.view, LIFT, errors)
    mesh = hand_mesh_from_crop(placed, one.crop, intrinsics=one.camera, model="final")
    assert mesh.shape is not None
    assert mesh.vertex_std_mm is not None
    assert mesh.position_uncertainty is not None
    true_m = one.true_m @ one.camera_from_wrist.T
    true_keypoints_m = TEMPLATE.keypoint_regressor @ true_m
    size = np.linalg.norm(true_keypoints_m - true_keypoints_m.mean(0)) / np.linalg.norm(
        mesh.keypoints_m - mesh.keypoints_m.mean(0)
    )
    return Fused(
        error_m=_aligned_errors_m(mesh.keypoints_m, true_keypoints_m),
        variance_m2=np.diag(mesh.shape.covariance_m2).reshape(-1, 3).sum(axis=1),
        vertex_error_m=_aligned_errors_m(mesh.vertices_m, true_m),
        vertex_variance_m2=np.square(mesh.vertex_std_mm / MILLIMETRES_PER_METRE),
        distance=mesh.shape.distance,
        observed=mesh.shape.count,
        wrist_error_m=mesh.wrist_camera_m * size - one.wrist_m,
        wrist_std_m=np.sqrt(np.diag(mesh.position_uncertainty.fit_covariance_m2)),
    )


def table(hands: Sequence[Seen], errors: ErrorModel) -> list[str]:
    """Return lines with errors, order and coverage of hands that were not fitted."""
    shown = [fused(one, errors) for one in hands]
    lines = []
    network_m = [_aligned_errors_m(one.hand.keypoints_m, TEMPLATE.keypoint_regressor @ one.true_m) for one in hands]
    fused_m = np.array([one.error_m for one in shown])
    lines.append(
        f"PA-MPJPE, mm: network {1000 * np.mean(network_m):.2f}, fused {1000 * fused_m.mean():.2f}; "
        f"degrees {errors.degrees:.0f}, own fraction of vertices {errors.own_fraction:.3f}"
    )
    for name, errors_m, variances in (
        ("keypoints", fused_m[:, 1:], np.array([one.variance_m2 for one in shown])[:, 1:]),
        (
            "vertices",
            np.array([one.vertex_error_m for one in shown]),
            np.array([one.vertex_variance_m2 for one in shown]),
        ),
    ):
        stds = np.sqrt(variances)
        inside = [100 * (errors_m < stds / np.sqrt(3) * chi(3).ppf(p)).mean() for p in PROBABILITIES]
        kept = [metrics.means_of_kept(errors_m, order) for order in (stds, errors_m)]
        lines.append(
            f"{name}: Spearman {metrics.spearman(errors_m, stds):.2f}, of hands "
            f"{metrics.spearman(errors_m.mean(axis=1), stds.mean(axis=1)):.2f}; AUSE {metrics.excess_area(*kept):.3f}; "
            + "covered "
            + ", ".join(f"{p:.0%}: {value:.1f}" for p, value in zip(PROBABILITIES, inside, strict=True))
        )
    lines += _samples_lines(hands, errors)
    ratios = np.array([one.distance / one.observed for one in shown])
    lines.append(
        "distance / count, 5, 50, 95, 99 %: " + ", ".join(f"{v:.2f}" for v in np.percentile(ratios, (5, 50, 95, 99)))
    )
    standardised = np.array([np.abs(one.wrist_error_m) / one.wrist_std_m for one in shown])
    lines.append(
        "wrist, K and size known: within 1 and 1.96 standard deviations, x, y, z, %: "
        + ", ".join(f"{100 * (standardised < width).mean(axis=0).round(3)}" for width in (1, 1.96))
    )
    return lines


def _samples_lines(hands: Sequence[Seen], errors: ErrorModel) -> list[str]:
    """Return how far hands drawn from a posterior vary in bones, thickness and angles, beside people."""
    generator = np.random.default_rng(0)
    drawn = []
    for one in hands:
        placed = posterior.fused(one.hand, one.crop, one.view, LIFT, errors)
        assert placed.shape is not None
        hand = placed.hand
        drawn.append(placed.shape.sampled(hand.vertices_m, hand.keypoints_m, DRAWN, generator))
    true_m = np.array([one.true_m for one in hands])
    lines = []
    for name, measure in (("bones' lengths", bone_lengths), ("thickness at bones", thickness)):
        parts = np.array([measure(vertices_m) for vertices_m in drawn])
        of_drawn = parts / parts.mean(axis=1, keepdims=True) - 1
        true = measure(true_m)
        among = np.sqrt(np.square(of_drawn).mean(axis=(0, 1))), true.std(axis=0) / true.mean(axis=0)
        texts = [f"median {100 * np.median(part):.1f}, largest {100 * part.max():.1f}" for part in among]
        lines.append(
            f"{name}, fractions of all bones' sum, standard deviation, %: drawn hands {texts[0]}; people {texts[1]}"
        )
    low, high = np.percentile(joint_angles(true_m), ANGLE_PERCENTILES, axis=0)
    outside = np.mean([(angles < low) | (angles > high) for angles in map(joint_angles, drawn)])
    lines.append(f"angles of joints outside 98 % of the true hands': {100 * outside:.1f} % of drawn hands'")
    return lines


def _bones_m(vertices_m: FloatArray) -> FloatArray:
    """Return the bones (..., 20, 3) of meshes (..., V, 3)."""
    keypoints_m = TEMPLATE.keypoint_regressor @ vertices_m
    return np.asarray(keypoints_m[..., posterior.CHILDREN, :] - keypoints_m[..., posterior.PARENTS, :])


def bone_lengths(vertices_m: FloatArray) -> FloatArray:
    """Return the lengths (..., 20) of the bones of meshes (..., V, 3) as fractions of their sum."""
    lengths_m = np.linalg.norm(_bones_m(vertices_m), axis=-1)
    return np.asarray(lengths_m / lengths_m.sum(axis=-1, keepdims=True))


def thickness(vertices_m: FloatArray) -> FloatArray:
    """Return the root mean square distance (..., 20) of the vertices at each bone from its line.

    As fractions of the sum of all bones' lengths.
    """
    bones_m = _bones_m(vertices_m)
    lengths_m = np.linalg.norm(bones_m, axis=-1)
    starts_m = (TEMPLATE.keypoint_regressor @ vertices_m)[..., posterior.PARENTS, :]
    found = []
    for bone in range(len(posterior.CHILDREN)):
        at_bone = _nearest_bones() == bone
        offsets_m = vertices_m[..., at_bone, :] - starts_m[..., bone, None, :]
        direction = (bones_m[..., bone, :] / lengths_m[..., bone, None])[..., None, :]
        across_m = offsets_m - (offsets_m * direction).sum(axis=-1, keepdims=True) * direction
        found.append(np.sqrt(np.square(across_m).sum(axis=-1).mean(axis=-1)))
    return np.asarray(np.stack(found, axis=-1) / lengths_m.sum(axis=-1, keepdims=True))


@cache
def _nearest_bones() -> FloatArray:
    """Return (V,) the bone nearest to every vertex in the rest pose."""
    vertices_m = TEMPLATE.vertices_m
    starts_m, bones_m = (TEMPLATE.keypoint_regressor @ vertices_m)[posterior.PARENTS], _bones_m(vertices_m)
    offsets_m = vertices_m[:, None] - starts_m
    along = np.clip((offsets_m * bones_m).sum(axis=2) / np.square(bones_m).sum(axis=1), 0, 1)
    return np.asarray(np.linalg.norm(offsets_m - along[:, :, None] * bones_m, axis=2).argmin(axis=1))


def joint_angles(vertices_m: FloatArray) -> FloatArray:
    """Return the angles (..., 15) between consecutive bones of the fingers of meshes (..., V, 3), degrees."""
    bones_m = _bones_m(vertices_m)
    directions = bones_m / np.linalg.norm(bones_m, axis=-1, keepdims=True)
    inner = np.flatnonzero(posterior.PARENTS > 0)
    cosines = (directions[..., inner, :] * directions[..., inner - 1, :]).sum(axis=-1)
    return np.asarray(np.degrees(np.arccos(np.clip(cosines, -1, 1))))


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


def _of_shape(hands: Sequence[Seen], scales: Sequence[FloatArray]) -> FloatArray:
    """Return (21,) how much smaller a network's ``keypoint_scales`` are by its covariance; 1 without one."""
    ratios = [
        scale / _scales_m(replace(one.hand, keypoint_covariance_m2=None))
        for one, scale in zip(hands, scales, strict=True)
    ]
    return np.asarray(np.median(ratios, axis=0))


def _network_scale(hands: Sequence[Seen]) -> float:
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


def _network_m(one: Seen) -> FloatArray:
    keypoints_m = one.hand.keypoints_m.astype(np.float64)
    return np.asarray((keypoints_m - keypoints_m[0]) @ one.hand.rotation.astype(np.float64).T)


def _shape_error_m(one: Seen) -> FloatArray:
    """Return (63,) truth less network, after the best rotation, scale and translation."""
    network_m = _network_m(one)
    aligned = procrustes_aligned(one.true_keypoints_m[None], network_m[None])[0]
    return np.asarray(posterior.without_motion(network_m) @ (aligned - network_m).ravel())


def _world_error_m(one: Seen) -> FloatArray:
    """Return (63,) world landmarks less truth, both after the best rotation, scale and translation."""
    assert one.hand.landmarks_m is not None
    marked = posterior.MARKED @ _network_m(one)
    projection = posterior.without_motion(marked)
    landmarks = procrustes_aligned(one.hand.landmarks_m[None].astype(np.float64), marked[None])[0]
    true = _network_m(one) + _shape_error_m(one).reshape(KEYPOINT_COUNT, 3)
    return np.asarray(projection @ (landmarks - as_the_detector_marks_them(true)).ravel())


def _image_error(one: Seen) -> FloatArray:
    """Return (42,) the detector's landmarks less the truth, crop half-sides."""
    in_camera = as_the_detector_marks_them(one.true_keypoints_m) @ one.view.camera_from_crop.T + one.wrist_m
    return (posterior.keypoints_in_crop(one.crop) - one.view.in_crop(in_camera)).ravel()


def _half_sides(one: Seen) -> float:
    start = posterior.Camera(one.view.camera_from_crop @ one.hand.rotation, wrist_from_network(one.hand, one.view))
    return posterior.half_sides_per_m(_network_m(one), start, one.view)


def _camera_std(hands: Sequence[Seen]) -> FloatArray:
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


def _aligned_errors_m(points_m: FloatArray, true_m: FloatArray) -> FloatArray:
    aligned = procrustes_aligned(points_m[None].astype(np.float64), true_m[None])[0]
    return np.asarray(np.linalg.norm(aligned - true_m, axis=1))


if __name__ == "__main__":
    sys.exit(tools.run("fit_posterior"))
