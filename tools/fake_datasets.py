"""Write a few rendered hands in a dataset's own files, or files like MANO's: to try commands without a download."""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated

import tools
from handviz.core.arguments import Count, Option, Seed
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.output import print_result
from handviz.data.datasets.registry import READERS, splits
from tests.fake_datasets.stand_in_mano import write_stand_in_mano

MANO = "mano"
COUNT = 8


def writer(name: str) -> ModuleType:
    """Return the module that writes a few hands in a dataset's files."""
    return importlib.import_module(f"tests.fake_datasets.{READERS[name]}")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Dataset, folder, count and seed."""

    name: Annotated[str, Option(is_positional=True, choices=(*READERS, MANO))]
    """mano: files that stand in for MANO_RIGHT and MANO_LEFT."""
    root: Path
    """Folder to write; it must be empty or not there."""
    count: Count = COUNT
    """Hands in each split."""
    seed: Seed = 0


def run(arguments: Arguments) -> int:
    """Write the files, and print how to use them."""
    name, root = arguments.name, arguments.root
    if arguments.count < 1:
        raise HandvizError("--count must be at least 1", ErrorCode.BAD_VALUE)
    if root.exists() and (root.is_file() or any(root.iterdir())):
        raise HandvizError(f"{root} is not an empty folder: choose another one", ErrorCode.FOLDER_TAKEN)
    if name == MANO:
        right, _ = write_stand_in_mano(root)
        print_result("wrote files like MANO's, made from the open hand: --hand-model %s", right)
        return 0
    writer(name).write(name, root, arguments.count, seed=arguments.seed)
    print_result("wrote %s: python -m handviz doctor --dataset %s --root %s", root, name, root)
    for split in splits(name):
        print_result("  %s/%s:%s", name, split, root)
    return 0


if __name__ == "__main__":
    sys.exit(tools.run("fake_datasets"))
