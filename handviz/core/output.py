"""Output of programs: results on stdout, progress and log on stderr, and what libraries say on neither.

A command prints its results by ``print_result`` or ``print_json``; all else is logged. Libraries written in C++
(MediaPipe, TensorFlow Lite, glog) write to file descriptor 2 themselves, and no setting silences them all. So a
program's own messages get a file descriptor of their own, and ``libraries_silenced`` leads the shared one nowhere for a
while.
"""

import io
import json
import math
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from handviz.core.errors import HandvizError, write_error_code

STDERR = 2
VERBOSE = "--verbose"
VERBOSE_HELP = f"{VERBOSE}, anywhere among the options, also shows the messages of libraries."


def print_result(message: str, *values: object) -> None:
    """Write a line of a command's result to stdout, formatted as a message of ``logging`` is."""
    print_text((message % values if values else message) + "\n")


def print_json(value: object) -> None:
    """Write a result as JSON to stdout; numbers that are not finite become null."""
    print_text(json.dumps(plain(value), indent=1, allow_nan=False) + "\n")


def print_text(text: str) -> None:
    """Write a text of a command's result to stdout as it is; what its encoding lacks is escaped.

    Raises HandvizError at a full disk, BrokenPipeError if the reader has gone.
    """
    stdout: Any = sys.stdout
    with _stdout_named():
        try:
            stdout.write(text)
        except UnicodeEncodeError:
            encoding = stdout.encoding or "ascii"
            stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))


def flush_results() -> None:
    """Write what is left in the buffer of stdout; raises as ``print_text`` does."""
    stdout: Any = sys.stdout
    with _stdout_named():
        stdout.flush()


@contextmanager
def _stdout_named() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        _discard_stdout()
        raise
    except OSError as error:
        _discard_stdout()
        raise HandvizError(
            f"the results cannot be printed ({error.strerror or error}): lead the output elsewhere",
            write_error_code(error),
        ) from error


def plain(value: object) -> Any:
    """Return dataclasses, mappings, sequences, arrays and paths as values of JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # arrays and numbers of numpy, which is not imported here
        return plain(value.tolist())
    if isinstance(value, Enum | Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def open_closed_streams() -> None:
    """Lead standard streams that the caller closed nowhere; else the next file that opens would get their output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is the closed one.
            opened = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(opened, "r" if number == 0 else "w", encoding="utf-8", closefd=False))


class _Silence:
    """Whether this process may silence file descriptor 2, and how many blocks ask for it now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: int | None = None
        """Another descriptor of the same stream, which own messages go to."""
        self._blocks = 0
        self.is_wanted = False
        """Whether ``silence_libraries`` was called."""

    def enable(self) -> None:
        """Give own messages a descriptor of their own; nothing where stderr is replaced, as in tests and notebooks."""
        current: Any = sys.stderr
        is_own = current is sys.__stderr__ and _is_stderr(current)
        if self._kept is not None or not is_own:
            return
        current.flush()
        self._kept = os.dup(STDERR)
        sys.stderr = io.TextIOWrapper(
            os.fdopen(self._kept, "wb", closefd=False), current.encoding, "backslashreplace", line_buffering=True
        )

    def begin(self) -> None:
        """Lead the shared descriptor nowhere."""
        with self._lock:
            self._blocks += 1
            if self._blocks == 1 and self._kept is not None:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, STDERR)
                os.close(nowhere)

    def end(self) -> None:
        """Lead it back, after the last block."""
        with self._lock:
            self._blocks -= 1
            if self._blocks == 0 and self._kept is not None:
                os.dup2(self._kept, STDERR)


_SILENCE = _Silence()


def _is_stderr(stream: Any) -> bool:
    try:
        return stream.fileno() == STDERR
    except (OSError, ValueError, AttributeError):
        return False


def silence_libraries() -> None:
    """Let ``libraries_silenced`` work in this process, whose stderr is its own; call it before logging is set up."""
    _SILENCE.is_wanted = True
    _SILENCE.enable()


def wants_silent_libraries() -> bool:
    """Return whether this program silences its libraries: not where handviz is a library itself, nor when verbose."""
    return _SILENCE.is_wanted


@contextmanager
def libraries_silenced() -> Iterator[None]:
    """Drop what C++ libraries write to stderr in this block; Python's messages, also of other threads, come through."""
    _SILENCE.begin()
    try:
        yield
    finally:
        _SILENCE.end()


def _discard_stdout() -> None:
    """Drop what is left of the output, for a reader that has gone or a disk that is full."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        return
