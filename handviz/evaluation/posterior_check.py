"""What an error model of ``posterior_fit`` is worth, on rendered hands that were not fitted.

Beside errors and coverage these are measures of hands drawn from a posterior: bones, thickness and angles, beside those
of people.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.stats import chi

from handviz.core import metrics
from handviz.core.records import FloatArray
from handviz.evaluation.posterior_fit import FoundHand, aligned_errors_m, followers, fused_hand
from handviz.hand_models.open_hand import load_open_hand
from handviz.pipeline import posterior
from handviz.pipeline.error_model import ErrorModel

DRAWN = 20
"""Hands drawn from every posterior."""
PROBABILITIES = (0.5, 0.68, 0.9, 0.95)
ANGLE_PERCENTILES = (1, 99)


def table(hands: Sequence[FoundHand], errors: ErrorModel) -> list[str]:
    """Return lines with errors, order and coverage of hands that were not fitted."""
    shown = [fused_hand(one, errors) for one in hands]
    lines = []
    regressor = load_open_hand().keypoint_regressor
    network_m = [aligned_errors_m(one.hand.keypoints_m, regressor @ one.true_m) for one in hands]
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


def _samples_lines(hands: Sequence[FoundHand], errors: ErrorModel) -> list[str]:
    """Return how far hands drawn from a posterior vary in bones, thickness and angles, beside people."""
    generator = np.random.default_rng(0)
    drawn = []
    for one in hands:
        placed = posterior.fused(one.hand, one.crop, one.view, followers(), errors)
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
    keypoints_m = load_open_hand().keypoint_regressor @ vertices_m
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
    starts_m = (load_open_hand().keypoint_regressor @ vertices_m)[..., posterior.PARENTS, :]
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
    template = load_open_hand()
    vertices_m = template.vertices_m
    starts_m, bones_m = (template.keypoint_regressor @ vertices_m)[posterior.PARENTS], _bones_m(vertices_m)
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
