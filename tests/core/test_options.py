"""Options: no abbreviations, defaults in the help, former names with a hint."""

import argparse
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import tools
from handviz.__main__ import COMMANDS
from handviz.core.options import FORMER_OPTIONS, Parser, current_arguments
from handviz.gui.app import parse

# Their packages are those of requirements-dev.txt.
NOT_LOADED = ("build_open_hand", "build_backbone")


def programs() -> list[str]:
    """Return the modules of all commands and tools that take options."""
    names = [module.name for module in pkgutil.iter_modules(tools.__path__) if module.name not in NOT_LOADED]
    commands = [f"handviz.cli.{name}" for name in COMMANDS] + [f"tools.{name}" for name in names]
    return [name for name in commands if hasattr(importlib.import_module(name), "add_arguments")]


def actions_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield every option of a parser and of its subcommands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from actions_of(inner)
        else:
            yield action


@pytest.mark.parametrize("module", programs())
def test_every_option_has_a_help_text_with_its_default(module: str) -> None:
    parser = Parser(prog=module)
    importlib.import_module(module).add_arguments(parser)
    lacking = [action.option_strings or action.dest for action in actions_of(parser) if not action.help]
    assert lacking == []
    assert all(name not in FORMER_OPTIONS for action in actions_of(parser) for name in action.option_strings)


def test_the_help_tells_a_default_once(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="program")
    parser.add_argument("--count", type=int, default=7, help="how many")
    parser.add_argument("--limit", type=int, default=9, help="at most (%(default)s)")
    parser.add_argument("--all", action="store_true", help="every one")
    parser.add_subparsers().add_parser("inner").add_argument("--seed", default=3, help="of it")
    text = parser.format_help()
    assert ("how many (7)" in text, text.count("(9)"), "(False)" in text) == (True, 1, False)
    with pytest.raises(SystemExit):
        parser.parse_args(["inner", "--help"])
    assert "of it (3)" in capsys.readouterr().out


def test_options_are_not_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="program")
    parser.add_argument("--model-dir", help="folder")
    with pytest.raises(SystemExit):
        parser.parse_args(["--model", "final"])
    assert "unrecognized arguments" in capsys.readouterr().err


def test_former_options_work_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["clip.mp4", "--variant", "prior", "--colour", "deviation", "--hand-breadth=84", "--colour=deviation"]
    assert current_arguments("handviz reconstruct", given) == [
        "clip.mp4", "--model", "prior", "--colour", "uncertainty", "--hand-width=84", "--colour=uncertainty",
    ]  # fmt: skip
    hints = capsys.readouterr().err.splitlines()
    assert hints[0] == "handviz reconstruct: --variant is called --model now; the old name goes with the next version"
    assert len(hints) == 4


def test_present_options_pass_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["deviation", "--out", "deviation", "--model", "final"]
    assert current_arguments("handviz", given) == given
    assert capsys.readouterr().err == ""


def test_the_window_takes_former_options_too() -> None:
    options = parse(["--variant", "prior", "--colour", "deviation"])
    assert (options.variant, options.colour) == ("prior", "uncertainty")
