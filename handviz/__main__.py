"""``python -m handviz COMMAND``: find the command's module and load nothing else."""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from typing import Protocol

from handviz import __version__
from handviz.core.errors import HandvizError
from handviz.core.extras import exits_with_message
from handviz.core.options import Parser, current_arguments
from handviz.core.termination import INTERRUPTED_STATUS, interrupt_status, terminations_as_interrupt

COMMANDS = {
    "reconstruct": "hands of an image, a folder or a clip -> overlays, meshes, hands.json",
    "cluster": "a folder of any size -> shards of hands.json, by many processes or machines (Ray)",
    "inspect": "inspect a folder as the window does, and measure how fast that goes",
    "animate": "a recording of app.py -> animated GLB, BVH skeletons, CSV",
    "synthesize": "render hands with ground truth for training",
    "train": "train prior, amvur or final",
    "evaluate": "print the model card: errors, likelihood and coverage on held-out crops",
    "texture": "train, evaluate and export the texture net",
    "reproduce": "train and test a row of the paper's tables, on a downloaded dataset or on rendered hands",
    "tables": "the paper's tables with your own runs' numbers beside the paper's",
    "adapt": "a network learns your camera from a clip without labels, if held-out frames say that it helps",
    "calibrate": "fit one factor to a checkpoint's variances on validation crops",
    "export": "write a checkpoint as ONNX and compare the two",
    "mano": "MANO parameters: from hands, meshes and recordings, and from one convention into another",
    "benchmark": "measure every stage of the live program on this machine",
    "doctor": "check this machine and the model files, and say what to do",
}

MOVED = {
    "jitter": "python -m tools.crop_jitter",
    "place": "python -m tools.wrist_position",
    "marking": "python -m tools.landmark_offsets",
    "curve": "python -m tools.plot_training",
    "smoothing": "python -m tools.smoothing",
    "tiny": "python -m tools.fake_datasets",
    "build": "python -m tools.build",
    "texture baseline": "python -m tools.texture_baseline train",
    "texture sheet": "python -m tools.texture_sheet",
    "adapt --demonstrate": "python -m tools.adaptation_demo",
    "ablate": "handviz reproduce NAME --rendered --data DIR... --test DIR",
}
"""Commands of version 0.1: their replacements. Tools are run from a clone of the repository."""


class Command(Protocol):
    """A module that is a command: it adds its arguments to a parser and runs with their values."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments to the parser."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do the work; return the exit status."""


def run_module(program: str, module: Command, description: str, arguments: Sequence[str]) -> int:
    """Run a module as a program; a HandvizError becomes one line on stderr. Return the exit status."""
    parser = Parser(prog=program, description=description)
    module.add_arguments(parser)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        with terminations_as_interrupt():
            return int(module.run(parser.parse_args(current_arguments(program, arguments))))
    except HandvizError as error:
        sys.stderr.write(f"{program}: {error}\n")
        return 1
    except KeyboardInterrupt as stop:
        sys.stderr.write(f"{program}: stopped\n")
        return interrupt_status(stop)


@exits_with_message
def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for words in (" ".join(arguments[:1]), " ".join(arguments[:2])):
        if words in MOVED:
            sys.stderr.write(f"handviz {words} moved: {MOVED[words]}\n")
            return 2
    overview = "\n".join(f"  {name:12} {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="handviz",
        description=f"commands:\n{overview}\n\n'handviz COMMAND --help' explains one.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    chosen = parser.parse_args(arguments[:1]).command
    module = importlib.import_module(f"handviz.cli.{chosen}")
    return run_module(f"handviz {chosen}", module, COMMANDS[chosen], arguments[1:])


@exits_with_message
def start_window() -> int:
    """Start the window, as the console script ``handviz-gui``; return the exit status."""
    try:
        from handviz.gui.app import main as run_window

        return run_window()
    except KeyboardInterrupt:  # While libraries load, too.
        return INTERRUPTED_STATUS


if __name__ == "__main__":
    sys.exit(main())
