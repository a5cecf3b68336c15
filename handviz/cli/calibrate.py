"""``handviz calibrate``: fit one factor to a checkpoint's variances on crops that it was not trained on."""

import argparse
import logging
from pathlib import Path

from handviz.core.errors import ErrorCode, HandvizError
from handviz.evaluation.calibration import fit_variance_scale
from handviz.evaluation.evaluate import Crops, checkpoint_predictor, collect
from handviz.hand_models.choice import add_hand_model_option, hand_model_or_named
from handviz.training.checkpoint import (
    VARIANCE_SCALES,
    add_metadata,
    calibration_metadata,
    load_checkpoint,
    read_metadata,
)

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add checkpoint and crops."""
    parser.add_argument("checkpoint", type=Path, help="folder of a checkpoint, such as runs/final/last")
    parser.add_argument("--data", type=Path, required=True, help="rendered validation crops, never the held-out ones")
    parser.add_argument("--count", type=int, help="use only the first crops")
    add_hand_model_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Fit the factors and store them in the checkpoint; ``export`` writes them into the ONNX file."""
    if arguments.count is not None and arguments.count < 1:
        raise HandvizError("--count must be at least 1", ErrorCode.BAD_VALUE)
    template = hand_model_or_named(arguments.hand_model, read_metadata(arguments.checkpoint)["fingerprint"])
    # Fitted anew, not on top of an earlier fit.
    std = calibration_metadata(load_checkpoint(arguments.checkpoint, template)[2])
    before = [getattr(std, name) for name in VARIANCE_SCALES]
    answers = collect(
        [Crops(arguments.data, arguments.count)], checkpoint_predictor(arguments.checkpoint, template), template
    )
    factors = [factor * old for factor, old in zip(fit_variance_scale(answers), before, strict=True)]
    add_metadata(arguments.checkpoint, dict(zip(VARIANCE_SCALES, factors, strict=True)))
    logger.info("variances x %.3f (vertices), x %.3f (keypoints), saved in %s", *factors, arguments.checkpoint)
    return 0
