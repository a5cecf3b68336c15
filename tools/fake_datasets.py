"""Write a few rendered hands in a dataset's own files, or files like MANO's: to try commands without a download."""

import argparse
import importlib
import logging
import sys
from pathlib import Path
from types import ModuleType

import tools
from handviz.core.errors import ErrorCode, HandvizError
from handviz.data.datasets.registry import READERS, splits
from tests.fake_datasets.stand_in_mano import write_stand_in_mano

logger = logging.getLogger(__name__)
MANO = "mano"
COUNT = 8


def writer(name: str) -> ModuleType:
    """Return the module that writes a few hands in a dataset's files."""
    return importlib.import_module(f"tests.fake_datasets.{READERS[name]}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the dataset, the folder and the number of hands."""
    parser.add_argument("name", choices=(*READERS, MANO), help="mano: files that stand in for MANO_RIGHT and MANO_LEFT")
    parser.add_argument("--root", type=Path, required=True, help="folder to write; it must be empty or not there")
    parser.add_argument("--count", type=int, default=COUNT, help="hands in each split (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random numbers")


def run(arguments: argparse.Namespace) -> int:
    """Write the files, and print how to use them."""
    name, root = arguments.name, arguments.root
    if arguments.count < 1:
        raise HandvizError("--count must be at least 1", ErrorCode.BAD_VALUE)
    if root.exists() and (root.is_file() or any(root.iterdir())):
        raise HandvizError(f"{root} is not an empty folder: choose another one", ErrorCode.FOLDER_TAKEN)
    if name == MANO:
        right, _ = write_stand_in_mano(root)
        logger.info("wrote files like MANO's, made from the open hand: --hand-model %s", right)
        return 0
    writer(name).write(name, root, arguments.count, seed=arguments.seed)
    logger.info("wrote %s: python -m handviz doctor --dataset %s --root %s", root, name, root)
    for split in splits(name):
        logger.info("  %s/%s:%s", name, split, root)
    return 0


if __name__ == "__main__":
    sys.exit(tools.run("fake_datasets"))
