"""``python -m handviz COMMAND``: finds the command's module and loads nothing else."""

import argparse
import importlib
import logging
import sys

from handviz import __version__
from handviz.core.errors import HandvizError

COMMANDS = {
    "reconstruct": "hands of an image, a folder or a clip -> overlays, meshes, hands.json",
    "cluster": "a folder of any size -> shards of hands.json, by many processes or machines (Ray)",
    "inspect": "inspect a folder as the window does, and measure how fast that goes",
    "animate": "a recording of app.py -> animated GLB, BVH skeletons, CSV",
    "synthesize": "render hands with ground truth for training",
    "jitter": "measure how the detector's crops differ from those of true keypoints",
    "place": "measure how far wrists are from their true place, and whether deviations cover it",
    "marking": "measure where MediaPipe marks keypoints, against the hand model's joints",
    "train": "train prior, amvur or final",
    "curve": "draw how runs learned: error against training crops seen",
    "evaluate": "print the model card: errors, likelihood and coverage on held-out crops",
    "texture": "train, judge and export the texture net",
    "reproduce": "train and test a row of the paper's tables, on a downloaded dataset or on rendered hands",
    "tables": "the paper's tables with your own runs' numbers beside the paper's",
    "adapt": "a network learns your camera from a clip without labels, if held-out frames say that it helps",
    "calibrate": "fit one factor to a checkpoint's variances on validation crops",
    "export": "write a checkpoint as ONNX and compare the two",
    "mano": "MANO parameters: from hands, meshes and recordings, and from one convention into another",
    "smoothing": "compare Kalman and One Euro on hands whose true motion is known",
    "benchmark": "measure every stage of the live program on this machine",
    "doctor": "check this machine and the model files, and say what to do",
    "tiny": "write a few rendered hands in the files of a dataset, or files like MANO's",
    "build": "rebuild committed files: the open hand, the detector, the backbone, the clip",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
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
    command_parser = argparse.ArgumentParser(prog=f"handviz {chosen}", description=COMMANDS[chosen])
    module.add_arguments(command_parser)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        return int(module.run(command_parser.parse_args(arguments[1:])))
    except HandvizError as error:
        sys.stderr.write(f"handviz {chosen}: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"handviz {chosen}: stopped\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
