"""Rebuild a committed file from its public sources (needs requirements-dev.txt)."""

import importlib
import sys
from dataclasses import dataclass
from typing import Annotated

import tools
from handviz.core.arguments import Option
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.output import print_result

BUILDERS = {
    "open-hand": ("tools.build_open_hand", "build"),
    "full-rig": ("tools.build_full_rig", "build"),
    "landmarker": ("tools.build_landmarker", "build"),
    "detector": ("tools.build_detector", "build"),
    "split": ("tools.build_split", "build"),
    "clip": ("tools.build_clip", "build"),
    "rig-clip": ("tools.build_rig_clip", "build"),
    "backbone-reference": ("tools.build_backbone", "build_reference"),
}
"""Module and function that writes the file and returns its path."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The file to build."""

    what: Annotated[str, Option(is_positional=True, choices=tuple(BUILDERS))]
    """The committed file to make anew."""


def run(arguments: Arguments) -> int:
    """Load the builder, with the packages that only it needs, and build."""
    module, function = BUILDERS[arguments.what]
    try:
        builder = importlib.import_module(module)
    except ImportError as error:
        raise HandvizError(
            f"{error}; first type: pip install -r requirements-dev.txt", ErrorCode.PACKAGE_MISSING
        ) from error
    path = getattr(builder, function)()
    print_result("wrote %s", path)
    return 0


if __name__ == "__main__":
    sys.exit(tools.run("build"))
