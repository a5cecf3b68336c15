"""``handviz adapt``: adapt a network to a camera from a clip or folder without labels, if that helps."""

import argparse
import logging
from pathlib import Path
from typing import get_args

from handviz.adaptation.adapt import Outcome, adapt, check_out, start_from, write_outcome
from handviz.adaptation.clip_crops import crops_of
from handviz.adaptation.training import AdaptConfig
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import ADAPTED, WINDOW_COMMAND, variant_file
from handviz.core.records import VARIANTS, HandednessSetting
from handviz.hand_models.choice import add_hand_model_option, hand_model_for
from handviz.sources.source import open_source

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add input, starting network and output folder."""
    default = AdaptConfig()
    parser.epilog = (
        "Exit status 0 if the adapted network was written, 2 if adaptation did not help and nothing was written."
    )
    parser.add_argument("input", help="clip or folder of images, with one visible hand")
    parser.add_argument("--out", type=Path, default=ADAPTED, help="folder of the adapted network (%(default)s)")
    parser.add_argument("--model", dest="variant", choices=VARIANTS, default="final", help="the model to use")
    parser.add_argument("--start-from", type=Path, help="checkpoint folder or ONNX file instead of the shipped network")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="of a clip, every N-th frame")
    parser.add_argument("--limit", type=int, default=600, help="images at most (%(default)s)")
    parser.add_argument("--side", choices=get_args(HandednessSetting), default="detected", help="which hand it is")
    parser.add_argument("--epochs", type=int, default=default.epochs, help="passes over the samples")
    parser.add_argument("--seed", type=int, default=default.seed, help="seed of all random numbers")
    add_hand_model_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Adapt, compare, and write the network or report that it did not improve."""
    if min(arguments.every, arguments.limit, arguments.epochs) < 1 or arguments.seed < 0:
        raise HandvizError("--every, --limit and --epochs must be at least 1, --seed at least 0", ErrorCode.BAD_VALUE)
    check_out(arguments.out)
    path = arguments.start_from or variant_file(arguments.variant)
    template = hand_model_for(arguments.hand_model, path.parent)
    start = start_from(path, template)
    source = open_source(arguments.input)
    try:
        if source.is_live:
            raise HandvizError("adapt reads images and clips: record the camera first", ErrorCode.OPTION_CONFLICT)
        crops = crops_of(source, every=arguments.every, limit=arguments.limit, side=arguments.side)
    finally:
        source.close()
    config = AdaptConfig(epochs=arguments.epochs, seed=arguments.seed)
    outcome = adapt(start, crops, template, config)
    logger.info("%s", report(outcome))
    if not outcome.kept:
        logger.info("It did not help: nothing was written, keep using your present network.")
        return 2
    notes: dict[str, object] = {"input": arguments.input, "start": path.name, "frames": crops.frames,
                                "hands": len(crops), "epochs": outcome.epochs, "seed": arguments.seed}  # fmt: skip
    written = write_outcome(outcome, start, template, arguments.out, notes)
    logger.info("%s; use it with: %s --model-dir %s", written, WINDOW_COMMAND, arguments.out)
    return 0


def report(outcome: Outcome) -> str:
    """Return the errors on held-out frames before and after as text."""
    before, after, parts = outcome.before, outcome.after, outcome.parts
    return (
        f"{len(parts.fit)} hands to learn from, {len(parts.watch)} watched, {len(parts.held_out)} held out; on these:\n"
        f"2D distance from the detector {before.distance:.2f} % of the hand -> {after.distance:.2f} %; "
        f"squared standardised error {before.standardised:.2f} -> {after.standardised:.2f}"
    )
