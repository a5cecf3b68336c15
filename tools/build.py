"""Rebuild a committed file from its public sources (needs requirements-dev.txt)."""

import argparse
import importlib
import logging
import sys

import tools
from handviz.core.errors import HandvizError

BUILDERS = {
    "open-hand": "tools.build_open_hand",
    "landmarker": "tools.build_landmarker",
    "backbone": "tools.build_backbone",
    "clip": "tools.build_clip",
}
logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to build."""
    parser.add_argument("what", choices=BUILDERS)


def run(arguments: argparse.Namespace) -> int:
    """Each builder module offers ``build() -> Path`` of the file that it wrote."""
    try:
        builder = importlib.import_module(BUILDERS[arguments.what])
    except ImportError as error:
        raise HandvizError(f"{error}; first type: pip install -r requirements-dev.txt") from error
    path = builder.build()
    logger.info("wrote %s", path)
    return 0


if __name__ == "__main__":
    sys.exit(tools.run("build"))
