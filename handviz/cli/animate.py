"""``handviz animate``: a recording -> animated GLB, BVH, CSV."""

import argparse
import logging
from pathlib import Path

from handviz.core.errors import ErrorCode, HandvizError
from handviz.hand_models.choice import add_hand_model_option, hand_model
from handviz.io.recording.animate import KINDS, animate

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the recording and the files to write."""
    parser.epilog = "Without a choice: GLB (metres) and BVH (centimetres); docs/guide/export.md describes both."
    parser.add_argument("recording", type=Path, help="folder that app.py recorded")
    parser.add_argument("--glb", action="store_true", help="one animated glTF file with every hand, skinned")
    parser.add_argument("--bvh", action="store_true", help="a skeleton with its rotations, one file per hand")
    parser.add_argument("--csv", action="store_true", help="the table of keypoints, anew from hands.jsonl")
    add_hand_model_option(parser)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to (the recording's own folder)")
    parser.add_argument(
        "--colour",
        choices=("plain", "uncertainty"),
        default="plain",
        help="of the GLB: skin, or the mean standard deviation",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the requested files."""
    hand_model(arguments.hand_model)  # known from now on, so that the recording finds it
    kinds = [kind for kind in KINDS if getattr(arguments, kind)] or ["glb", "bvh"]
    if arguments.out is not None:
        try:
            arguments.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HandvizError(
                f"the folder {arguments.out} cannot be made: {error.strerror}", ErrorCode.NOT_WRITABLE
            ) from error
    for made in animate(arguments.recording, kinds, arguments.out, colour=arguments.colour):
        logger.info("%s: %s", made.path, made.message)
    return 0
