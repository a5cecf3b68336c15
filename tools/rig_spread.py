"""Fit how the spread of a hand over views that are left out becomes its standard deviation, and measure coverage.

Of rendered moments some views are drawn; the multi-view network's mesh is compared with the truth after the best
rotation, scaling and translation, and with its meshes without each of the views (``sima_hand.multi_view.Spread``).
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from tqdm import tqdm

import tools
from handviz.core.arguments import ModelFolder
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import procrustes_aligned
from handviz.core.output import print_text
from handviz.core.paths import MODELS
from handviz.core.records import FloatArray
from handviz.core.units import METRES_PER_CENTIMETRE, MILLIMETRES_PER_METRE
from handviz.detection.landmark_network import LandmarkNetwork
from handviz.models.base import LoadContext
from handviz.models.landmark_numbers import landmark_arrays
from handviz.models.sima_hand.multi_view import SPREAD, SimaMultiView, Spread, jackknife_variance, load
from handviz.models.sima_hand.samples import inputs_of_batch
from handviz.training.moments import load_moments

COUNTS = (2, 3, 4, 8)
"""Views of a hand."""
LEVELS = {"68 %": 1.0, "95 %": 1.96}
START = (3.0, 1.0)


class Sample(NamedTuple):
    """Of one hand by some views: errors and jackknife variances (V, 3), mm and mm^2."""

    views: int
    error_mm: FloatArray
    variance_mm2: FloatArray


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Moments and network."""

    data: Path
    """Folder of moments that nothing was trained on."""
    model_dir: ModelFolder = MODELS


def run(arguments: Arguments) -> int:
    """Fit on the even moments, measure on the odd ones; print both."""
    network = load(LoadContext(arguments.model_dir))
    found = list(samples(network, arguments.data))
    fitted, others = [one for one, is_even in found if is_even], [one for one, is_even in found if not is_even]
    if not fitted or not others:
        raise HandvizError(f"{arguments.data} has fewer than two moments", ErrorCode.EMPTY_INPUT)
    spread = fit(fitted)
    lines = [f"fitted on {len(fitted):,} hands: floor {spread.floor_mm:.2f} mm, factor {spread.factor:.3f}"]
    for name, of in (("fitted", spread), ("in use", SPREAD)):
        lines += table(name, of, others)
    print_text("\n".join(lines) + "\n")
    return 0


def samples(network: SimaMultiView, folder: Path) -> Iterator[tuple[Sample, bool]]:
    """Yield every moment by each of ``COUNTS`` views, and whether the moment's number is even."""
    moments = load_moments((folder,), network.template)
    landmarks, random = LandmarkNetwork(device="cpu"), np.random.default_rng(0)
    for number in tqdm(range(len(moments)), unit="moment"):
        images, truth = moments.batch(torch.tensor([number]))
        inputs = inputs_of_batch(landmarks, images.flatten(0, 1))
        assert inputs.middle_map is not None
        assert inputs.landmarks is not None
        arrays = {"middle_map": inputs.middle_map.numpy(), **landmark_arrays(inputs.landmarks.numpy())}
        true_m = truth.vertices_cm[0].double().numpy() * METRES_PER_CENTIMETRE
        for count in (count for count in COUNTS if count <= moments.views):
            chosen = random.choice(moments.views, count, replace=False)
            of_views = {name: value[chosen][None] for name, value in arrays.items()}
            yield sample(network, of_views, true_m), number % 2 == 0


def sample(network: SimaMultiView, inputs: Mapping[str, FloatArray], true_m: FloatArray) -> Sample:
    """Return errors and spread of a hand (1, N, ...) whose vertices (V, 3) are known."""
    mesh_m = network.run(inputs)["vertices_m"].astype(np.float64)
    error_m = procrustes_aligned(mesh_m, true_m[None])[0] - true_m
    without_m = network.left_out(inputs)["vertices_m"].astype(np.float64)
    return Sample(len(without_m), error_m * MILLIMETRES_PER_METRE,
                  jackknife_variance(without_m) * MILLIMETRES_PER_METRE**2)  # fmt: skip


def fit(found: Sequence[Sample]) -> Spread:
    """Return the spread under which the errors are most likely, as those of normal distributions."""
    square = np.concatenate([np.square(one.error_mm).ravel() for one in found])
    jackknife = np.concatenate([one.variance_mm2.ravel() for one in found])

    def loss(logs: FloatArray) -> float:
        variance = np.exp(2 * logs[0]) + np.exp(logs[1]) * jackknife
        return float(np.mean(np.log(variance) + square / variance))

    best = minimize(loss, np.log(START), method="Nelder-Mead").x
    return Spread(float(np.exp(best[0])), float(np.exp(best[1])))


def table(name: str, spread: Spread, found: Sequence[Sample]) -> Iterable[str]:
    """Yield, for each number of views, the root mean square error and deviation of an axis, and coverage."""
    yield f"{name}: floor {spread.floor_mm:.2f} mm, factor {spread.factor:.3f}; on {len(found):,} other hands"
    yield f"| views | hands | RMS error mm | RMS std. dev. mm | {' | '.join(LEVELS)} |"
    yield "|---" * (4 + len(LEVELS)) + "|"
    for count in sorted({one.views for one in found}):
        rows = [one for one in found if one.views == count]
        errors = np.stack([one.error_mm for one in rows])
        stds = np.sqrt(spread.floor_mm**2 + spread.factor * np.stack([one.variance_mm2 for one in rows]))
        covered = [f"{100 * np.mean(np.abs(errors) <= times * stds):.1f}" for times in LEVELS.values()]
        cells = [str(count), str(len(rows)), f"{_rms(errors):.2f}", f"{_rms(stds):.2f}", *covered]
        yield f"| {' | '.join(cells)} |"


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


if __name__ == "__main__":
    sys.exit(tools.run("rig_spread"))
