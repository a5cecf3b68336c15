"""``handviz curve``: how runs learned, as a picture."""

import argparse
import logging
from pathlib import Path

from handviz.evaluation.plots import check_ending, draw_learning_curve, read_log

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, and where the picture goes."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of runs with their log.csv")
    parser.add_argument("--out", type=Path, required=True, help="picture to write, .png or .svg")


def run(arguments: argparse.Namespace) -> int:
    """Draw validation error over crops seen."""
    check_ending(arguments.out)
    logger.info("wrote %s", draw_learning_curve([read_log(run) for run in arguments.runs], arguments.out))
    return 0
