"""``python -m handviz COMMAND``: find the command's module and load nothing else."""

import difflib
import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn, Protocol, cast

from handviz import __version__
from handviz.core.errors import HandvizError
from handviz.core.extras import exits_with_message
from handviz.core.options import parsed
from handviz.core.output import (
    VERBOSE,
    VERBOSE_HELP,
    flush_results,
    open_closed_streams,
    print_text,
    silence_libraries,
)
from handviz.core.termination import INTERRUPTED_STATUS, interrupt_status, terminations_as_interrupt

COMMANDS = {
    "reconstruct": "hands of an image, a folder or a clip -> overlays, meshes, hands.json",
    "cluster": "a folder of any size -> shards of hands.json, by many processes or machines (Ray)",
    "landmarks": "MediaPipe's own landmarks of an image, a folder or a clip -> hands.json, to compare with",
    "inspect": "inspect a folder as the window does, and measure how fast that goes",
    "animate": "a recording of app.py -> animated GLB, BVH skeletons, CSV",
    "synthesize": "render hands with ground truth for training",
    "train": "train a model of a family, such as prior, amvur or final of AMVUR",
    "evaluate": "print the model card: errors, likelihood and coverage on held-out crops",
    "texture": "train, evaluate and export the texture net",
    "reproduce": "train and test a row of the paper's tables, on a downloaded dataset or on rendered hands",
    "tables": "the paper's tables with your own runs' numbers beside the paper's",
    "adapt": "a network learns your camera from a clip without labels, if held-out frames say that it helps",
    "calibrate": "fit a checkpoint's variances, measure the shown standard deviations, or fit the posterior's errors",
    "rig": "recordings of a checkerboard by several cameras -> RIG.json, for reconstruct --views",
    "export": "write a checkpoint as ONNX and compare the two",
    "mano": "MANO parameters: from hands, meshes and recordings, and from one convention into another",
    "benchmark": "measure the window's own loop on this machine, beside MediaPipe alone",
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


SHELLS = ("bash", "zsh", "fish")
READER_GONE_STATUS = 141
"""As of a program that SIGPIPE ends: the reader of its output, such as ``head``, has had enough."""


class Command(Protocol):
    """A module that is a command: the dataclass of its arguments, and what runs with one.

    A command whose options depend on the words has also ``arguments_for(words)``, which returns the dataclass for them.
    """

    @property
    def Arguments(self) -> Any:  # noqa: N802
        """The dataclass that a command line is read into, or a union of several, one an action."""

    def run(self, arguments: Any) -> int:
        """Do the work; return the exit status."""


def run_module(program: str, module: Command, description: str, arguments: Sequence[str]) -> int:
    """Run a module as a program; a HandvizError becomes one line on stderr. Return the exit status."""
    words = [word for word in arguments if word != VERBOSE]
    open_closed_streams()
    if len(words) == len(arguments):
        silence_libraries()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    def run() -> int:
        with terminations_as_interrupt():
            of_words = getattr(module, "arguments_for", None)
            kind = module.Arguments if of_words is None else of_words(words)
            return int(module.run(parsed(kind, program, f"{description}\n\n{VERBOSE_HELP}", words)))

    return exit_status(program, run)


def exit_status(program: str, run: Callable[[], int]) -> int:
    """Run a program; return its exit status, after a line on stderr for an error that lies outside of the program."""
    try:
        try:
            return run()
        finally:
            flush_results()  # here, where a full disk still gets a message
    except HandvizError as error:
        sys.stderr.write(f"{program}: {error}\n")
        return 1
    except KeyboardInterrupt as stop:
        sys.stderr.write(f"{program}: stopped\n")
        return interrupt_status(stop)
    except BrokenPipeError:
        return READER_GONE_STATUS
    except OSError as error:
        from handviz.core.files import disk_message  # loads numpy

        message = disk_message(error)
        if not message:
            raise
        sys.stderr.write(f"{program}: {message}\n")
        return 1


@exits_with_message
def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status. Exits with 2 if the command line is wrong, with 0 after a help text."""
    open_closed_streams()
    arguments = sys.argv[1:] if arguments is None else arguments
    for words in (" ".join(arguments[:1]), " ".join(arguments[:2])):
        if words in MOVED:
            sys.stderr.write(f"handviz {words} moved: {MOVED[words]}\n")
            return 2
    if arguments[:1] == [VERBOSE]:
        arguments = [*arguments[1:], VERBOSE]
    command, *rest = arguments or [""]
    if command in COMMANDS:
        return run_module(f"handviz {command}", _module_of(command), COMMANDS[command], rest)
    if command in ("-h", "--help", "--version"):
        text = f"{__version__}\n" if command == "--version" else overview()
        sys.exit(exit_status("handviz", partial(_print, text)))
    if command == "--completion" and rest and rest[0] in SHELLS:
        print_completion(rest[0])
    near = difflib.get_close_matches(command, COMMANDS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    problem = f"{command} is no COMMAND{hint}" if command else "COMMAND is missing"
    sys.stderr.write(f"handviz: {problem} (handviz --help)\n")
    sys.exit(2)


def _print(text: str) -> int:
    print_text(text)
    return 0


def overview() -> str:
    """Return what ``handviz --help`` prints."""
    commands = "\n".join(f"  {name:12} {text}" for name, text in COMMANDS.items())
    usage = "usage: handviz [-h] [--version] [--completion {bash,zsh,fish}] COMMAND ..."
    return f"{usage}\n\ncommands:\n{commands}\n\n'handviz COMMAND --help' explains one.\n"


def print_completion(shell: str) -> NoReturn:
    """Print the script by which a shell completes commands and options, and exit."""
    from handviz.core.option_rules import completion

    kinds: dict[str, Any] = {}
    for command in COMMANDS:
        try:
            kinds[command] = _module_of(command).Arguments
        except ImportError:  # of an extra that is not installed
            continue
    completion(kinds, "handviz", shell)


def _module_of(command: str) -> Command:
    return cast(Command, importlib.import_module(f"handviz.cli.{command}"))


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
