"""Command lines: one parser for all programs, and the renamed options of version 0.1."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

FORMER_OPTIONS = {
    "--variant": "--model",
    "--bad-pictures": "--bad-images",
    "--pictures": "--images",
    "--hand-breadth": "--hand-width",
    "--evidence": "--features",
}
FORMER_VALUES = {("--colour", "deviation"): "uncertainty"}


class HelpFormatter(argparse.HelpFormatter):
    """Help texts with an option's default, unless the text names it itself."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        names_default = "%(default)" in text or action.default in (None, False, argparse.SUPPRESS, [], ())
        return text if names_default else f"{text} (%(default)s)"


class Parser(argparse.ArgumentParser):
    """A parser, also for subcommands, of unabbreviated options whose help states their defaults."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("allow_abbrev", False)
        settings.setdefault("formatter_class", HelpFormatter)
        super().__init__(**settings)


def current_arguments(program: str, arguments: Sequence[str]) -> list[str]:
    """Return the arguments with former options and values replaced; each gets one line on stderr."""
    current: list[str] = []
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if option in FORMER_OPTIONS:
            _hint(program, option, FORMER_OPTIONS[option])
            option = FORMER_OPTIONS[option]
        if equals:
            current.append(f"{option}={_current_value(program, option, value)}")
        else:
            current.append(_current_value(program, current[-1], option) if current else option)
    return current


def _current_value(program: str, option: str, value: str) -> str:
    current = FORMER_VALUES.get((option, value), value)
    if current != value:
        _hint(program, f"{option} {value}", f"{option} {current}")
    return current


def _hint(program: str, former: str, current: str) -> None:
    sys.stderr.write(f"{program}: {former} is called {current} now; the old name goes with the next version\n")
