"""Measure the errors of weak training's camera priors on rendered crops against their stated standard deviations.

The 3D truth of the crops is read to measure, never to compute a prior.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import tools
from handviz.core.arguments import Count, Positional
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.gaussian import Gaussian, rotation_from_6d
from handviz.core.output import print_text
from handviz.core.records import FloatArray
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.amvur.model import ModelConfig, build_model
from handviz.models.amvur.network import camera_vector
from handviz.models.amvur.training_cache import load_cached
from handviz.models.amvur.training_camera_prior import LANDMARKS, load_camera_prior
from handviz.models.amvur.training_config import TrainConfig
from handviz.models.landmark_numbers import PRESENCE_NUMBER
from handviz.models.truth import Truth
from handviz.training.distributed import ALONE

CERTAIN = 0.95
"""MediaPipe's presence score of the hands in the second row."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The crops and the priors."""

    data: Positional[Path]
    """Folder written by 'handviz synthesize'."""
    prior: tuple[Path, ...] = (LANDMARKS,)
    """Checkpoints, or landmarks."""
    count: Count = 2048
    """Crops at most."""


@dataclass(frozen=True, eq=False)
class CameraErrors:
    """Errors of the cameras of N crops."""

    rotation_deg: FloatArray
    """(N,) angle between prior and truth"""
    numbers: FloatArray
    """(N, 9) prior minus truth of ``camera_vector``"""
    std: FloatArray
    """(N, 9) stated"""


def camera_errors(prior: Gaussian, truth: Truth) -> CameraErrors:
    """Return the errors of camera priors (N, 9) against the truth."""
    between = rotation_from_6d(prior.mean[:, :6]).transpose(1, 2) @ truth.rotation
    cosine = (between.diagonal(dim1=1, dim2=2).sum(dim=1) - 1) / 2
    true = camera_vector(truth.rotation, truth.scale_per_cm, truth.translation)
    return CameraErrors(
        np.degrees(np.arccos(cosine.clamp(-1, 1).numpy())),
        (prior.mean - true).numpy(),
        torch.exp(0.5 * prior.log_variance).numpy(),
    )


def row(name: str, errors: CameraErrors, chosen: NDArray[np.bool_]) -> str:
    """Return a table's row of some of the hands (N,)."""
    angle, numbers, std = (part[chosen] for part in (errors.rotation_deg, errors.numbers, errors.std))
    if not len(angle):
        return f"| {name} | 0 |" + " |" * 6
    median, high = np.percentile(angle, [50, 90])
    log_scale, translation = numbers[:, 6], np.sqrt(np.square(numbers[:, 7:]).mean())
    squares = np.square(numbers / std)
    ratios = ", ".join(f"{np.sqrt(squares[:, part].mean()):.1f}" for part in (slice(6), slice(6, 7), slice(7, 9)))
    figures = (
        f"{median:.1f} | {angle.mean():.1f} | {high:.1f} | {log_scale.mean():+.2f}, {log_scale.std():.2f} | "
        f"{translation:.2f}"
    )
    return f"| {name} | {len(angle)} | {figures} | {ratios} |"


def table(errors: CameraErrors, presence: FloatArray) -> str:
    """Return Markdown: all hands, and those of which MediaPipe is certain; the last column is the root mean square of
    error / standard deviation of rotation, ln s and T."""
    lines = [
        "| hands | number | rotation, median | mean | 90 % | ln s: mean, std | T, RMS | error / stated |",
        "|---|---|---|---|---|---|---|---|",
        row("all", errors, np.ones(len(presence), bool)),
        row(f"presence over {CERTAIN}", errors, presence > CERTAIN),
    ]
    return "\n".join(lines) + "\n"


def run(arguments: Arguments) -> int:
    """Print a table for every prior."""
    template, config = load_open_hand(), ModelConfig(variant="prior")
    samples = load_cached((arguments.data,), build_model(config, template), config.backbone, template, arguments.count)
    assert samples.landmarks is not None
    for path in arguments.prior:
        asked = TrainConfig.from_options(
            data=(arguments.data,), run=Path(), model=config, supervision="weak", camera_prior=path,
            end_to_end=False, limit=arguments.count,
        )  # fmt: skip
        prior = load_camera_prior(asked, samples, template, ALONE.device)
        if prior is None or prior.table is None:
            raise HandvizError(f"{path} gives no camera: choose another prior", ErrorCode.BAD_VALUE)
        print_text(f"{path}, degrees and crop half-sides\n\n")
        presence = samples.landmarks[:, PRESENCE_NUMBER].numpy()
        print_text(table(camera_errors(prior.table, samples.truth), presence))
    return 0


if __name__ == "__main__":
    sys.exit(tools.run("camera_prior"))
