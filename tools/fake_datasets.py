"""``handviz tiny``: a few rendered hands in a dataset's own files, to try every command without a download."""

import argparse
import logging
from pathlib import Path

from handviz.core.errors import HandvizError
from handviz.data.datasets.registry import READERS, splits, tiny_writer
from tests.fake_datasets.stand_in_mano import write_stand_in_mano

logger = logging.getLogger(__name__)
MANO = "mano"
COUNT = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which dataset, where, how many hands."""
    parser.add_argument("name", choices=(*READERS, MANO), help="mano: files that stand in for MANO_RIGHT and MANO_LEFT")
    parser.add_argument("--root", type=Path, required=True, help="folder to write; it must be empty or not there")
    parser.add_argument("--count", type=int, default=COUNT, help="hands in each split (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> int:
    """Write, and say how to use it."""
    name, root = arguments.name, arguments.root
    if arguments.count < 1:
        raise HandvizError("--count must be at least 1")
    if root.exists() and (root.is_file() or any(root.iterdir())):
        raise HandvizError(f"{root} is not an empty folder: choose another one")
    if name == MANO:
        right, _ = write_stand_in_mano(root)
        logger.info("wrote files like MANO's, made from the open hand: --hand-model %s", right)
        return 0
    tiny_writer(name).write(name, root, arguments.count, seed=arguments.seed)
    logger.info("wrote %s: python -m handviz doctor --dataset %s --root %s", root, name, root)
    for split in splits(name):
        logger.info("  %s/%s:%s", name, split, root)
    return 0
