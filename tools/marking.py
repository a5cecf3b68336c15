"""``handviz marking``: where MediaPipe marks keypoints, against the hand model's joints."""

import argparse
import sys
from pathlib import Path

from handviz.core.errors import HandvizError
from tools.marking_of_hands import marks_of_clear_hands, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which hands."""
    parser.add_argument("--data", type=Path, required=True, help="folder written by 'handviz synthesize'")
    parser.add_argument("--count", type=int, default=4096, help="crops to look at")


def run(arguments: argparse.Namespace) -> int:
    """Print at which share of the way from each keypoint to its parent, and to the wrist, MediaPipe marks it."""
    if arguments.count < 1:
        raise HandvizError("--count must be at least 1")
    sys.stdout.write(table(*marks_of_clear_hands(arguments.data, arguments.count)))
    return 0
