"""Command lines: dataclasses as options of all programs, and the renamed options of version 0.1."""

import inspect
import io
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import TypeVar

T = TypeVar("T")
FORMER_OPTIONS = {
    "--variant": "--model",
    "--bad-pictures": "--bad-images",
    "--pictures": "--images",
    "--hand-breadth": "--hand-width",
    "--evidence": "--features",
}
FORMER_VALUES = {("--colour", "deviation"): "uncertainty"}
NO_DEFAULT = re.compile(r"\s*\(default:(\s+(None|False))?\s*\)")
"""What the help says of an option that is off unless it is given."""
RULE = re.compile(r"^\s*-{4,}\s*$", re.MULTILINE)
MAX_MESSAGE = 1500
"""Characters; the parser repeats wrong values, however long they are."""
END_OF_MESSAGE = re.compile(r"\s*(Argument helptext:|For full helptext, ).*", re.DOTALL)


def parsed(kind: Callable[..., T], program: str, description: str, arguments: Sequence[str]) -> T:
    """Return the dataclass, or the one of a union of dataclasses, that a command line describes.

    Field docstrings are the help. Paragraphs after the first of the class's own docstring follow the description. Exits
    with status 2 after a line on stderr if the command line is wrong, with 0 after ``--help``; HandvizError from a
    ``__post_init__`` passes.
    """
    from handviz.core.option_rules import read  # not before a command line is read: it takes 60 ms

    words = current_arguments(program, arguments)
    _refuse_empty(program, words)
    _, _, more = (inspect.getdoc(kind) or "").partition("\n\n") if inspect.isclass(kind) else ("", "", "")
    output, errors = io.StringIO(), io.StringIO()  # neither is a terminal: no colours, no boxes
    try:
        with redirect_stdout(output), redirect_stderr(errors):
            return read(kind, program, f"{description}\n\n{more}".rstrip(), words)
    except SystemExit:
        sys.stdout.write(_help(output.getvalue()))
        sys.stderr.write(_message(program, errors.getvalue()))
        raise


def _refuse_empty(program: str, words: Sequence[str]) -> None:
    """Exit with status 2 at an argument without text, which would mean the current folder where a path is expected."""
    for number, word in enumerate(words):
        if not word or (word.startswith("--") and word.endswith("=")):
            place = f"after {words[number - 1]}" if number and not word else word or "the first one"
            hint = "is the variable that it comes from not set?"
            sys.stderr.write(f"{program}: an argument is empty ({place}): {hint} ({program} --help)\n")
            sys.exit(2)


def _help(text: str) -> str:
    """Return a help without its padding and without defaults that say nothing; a completion script as it is."""
    if not text.startswith("usage:"):
        return text
    width = shutil.get_terminal_size().columns
    lines = NO_DEFAULT.sub("", text).replace("At most one argument can be overridden.", "At most one of these.")
    wrapped = [line.rstrip() if line.startswith(" ") else textwrap.fill(line, width) for line in lines.splitlines()]
    return "\n".join(wrapped).rstrip() + "\n"


def _message(program: str, text: str) -> str:
    """Return the parser's message as one line."""
    if not text:
        return ""
    _, _, body = END_OF_MESSAGE.sub("", text).partition("\n")  # without the title
    message = " ".join(RULE.sub("", NO_DEFAULT.sub("", body)).split()).removeprefix("Error parsing ")
    for words, fewer in (
        (f"Missing from {program}:", "missing:"),
        (" (required)", ""),
        (" Perhaps you", ". Perhaps you"),
    ):
        message = message.replace(words, fewer)
    message = message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]}…"
    return f"{program}: {message} ({program} --help)\n"


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
