"""Measure the errors of wrist positions, and whether the standard deviations cover them.

Hands are rendered with known K, put back into whole images and found there by the whole pipeline.
"""

import sys
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

import tools
from handviz.core.arguments import Count, ModelFolder, Seed
from handviz.core.camera_model import ASSUMED_CAMERA
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.output import print_result
from handviz.core.paths import MODELS
from handviz.core.records import FloatArray, Frame, HandMesh
from handviz.evaluation.rendered_scenes import RenderedScene, distance, found_index, scenes
from handviz.models.registry import ModelChoice
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.refinement import length_m
from handviz.pipeline.settings import PipelineConfig, PipelineSettings

MAX_HIDDEN = 0.5
INTERVALS = (("68 %", 0.99446), ("95 %", 1.95996))


@dataclass(frozen=True, eq=False)
class Found:
    """One detected hand: errors and standard deviations of its wrist (3,), in metres."""

    error_m: FloatArray
    std_m: FloatArray
    error_of_known_size_m: FloatArray
    fit_std_m: FloatArray
    assumed_error_m: FloatArray
    assumed_std_m: FloatArray
    log_size: float
    """ln(true / found)"""
    distance: float
    """Mean distance of projected keypoints from the true ones, in extents."""
    depth_m: float


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Count, seed and network."""

    count: Count = 300
    """Rendered hands to search."""
    seed: Seed = 77
    model: ModelChoice = "final"
    model_dir: ModelFolder = MODELS


def run(arguments: Arguments) -> int:
    """Render, find, compare; print errors and coverage."""
    config = PipelineConfig(arguments.model_dir, video=False, preload_others=False)
    found = []
    with Pipeline(PipelineSettings(arguments.model), config) as pipeline:
        for truth in tqdm(scenes(arguments.seed, arguments.count, MAX_HIDDEN), total=arguments.count, unit="hand"):
            one = _found(pipeline, truth)
            found += [one] if one is not None else []
    if len(found) < 2:
        raise HandvizError(
            f"{len(found)} of {arguments.count} hands were found: choose a larger --count", ErrorCode.NO_HANDS
        )
    for line in table(found, arguments.count):
        print_result("%s", line)
    return 0


def _found(pipeline: Pipeline, truth: RenderedScene) -> Found | None:
    height, width = truth.image.shape[:2]
    frame = Frame(0, truth.image, 0.0)
    hand = _right_hand(pipeline.process_with(frame, truth.camera).hands, truth)
    assumed = _right_hand(pipeline.process_with(frame, ASSUMED_CAMERA.intrinsics_for(width, height)).hands, truth)
    if hand is None or assumed is None or hand.position_uncertainty is None:
        return None
    std_m, assumed_std_m = hand.wrist_std_m, assumed.wrist_std_m
    assert std_m is not None
    assert assumed_std_m is not None
    size_ratio = truth.length_m / length_m(hand.keypoints_m)
    return Found(
        error_m=hand.wrist_camera_m - truth.wrist_m,
        std_m=std_m,
        error_of_known_size_m=hand.wrist_camera_m * size_ratio - truth.wrist_m,
        fit_std_m=np.sqrt(np.diag(hand.position_uncertainty.fit_covariance_m2)),
        assumed_error_m=assumed.wrist_camera_m - truth.wrist_m,
        assumed_std_m=assumed_std_m,
        log_size=float(np.log(size_ratio)),
        distance=distance(hand, truth),
        depth_m=float(truth.wrist_m[2]),
    )


def _right_hand(hands: tuple[HandMesh, ...], truth: RenderedScene) -> HandMesh | None:
    index = found_index(hands, truth)
    return None if index is None else hands[index]


def table(found: list[Found], searched: int) -> list[str]:
    """Return lines with errors and coverage."""
    sizes, depths = np.array([one.log_size for one in found]), np.array([one.depth_m for one in found])
    distances = 100 * np.array([one.distance for one in found])
    lines = [
        f"{len(found)} right hands found in {searched}, {depths.min():.2f} to {depths.max():.2f} m away",
        f"projected keypoints lie {distances.mean():.2f} % of the hand's box from the true ones, "
        f"median {np.median(distances):.2f} %",
        f"size, true against found: mean {100 * sizes.mean():+.1f} %, standard deviation {100 * sizes.std():.1f} %",
        f"{'':34}{'RMS error x, y, z [mm]':>26}" + "".join(f"{name:>22}" for name, _ in INTERVALS),
    ]
    kinds = (
        ("K and size known", "error_of_known_size_m", "fit_std_m"),
        ("K known, size believed", "error_m", "std_m"),
        ("60 degrees assumed, size believed", "assumed_error_m", "assumed_std_m"),
    )
    for name, error_name, std_name in kinds:
        errors, stds = (np.array([getattr(one, field) for one in found]) for field in (error_name, std_name))
        rms_mm = 1000 * np.sqrt((errors**2).mean(axis=0))
        covered = [100 * (np.abs(errors) <= width * stds).mean(axis=0) for _, width in INTERVALS]
        lines.append(
            f"{name:34}{'  '.join(f'{value:.0f}' for value in rms_mm):>26}"
            + "".join(f"{'  '.join(f'{value:.0f}' for value in part):>22}" for part in covered)
        )
    return lines


if __name__ == "__main__":
    sys.exit(tools.run("wrist_position"))
