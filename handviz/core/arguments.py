"""Annotations of dataclass fields that are options of a command line, where name, type and docstring do not say enough.

Configurations of all rooms use them. They know nothing of the parser, which is loaded only where a command line is read
(``core/options.py``).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from handviz.core.paths import MANO_FOLDER

T = TypeVar("T")
MAX_SHOWN = 60
"""Characters of a wrong value that a message repeats."""


@dataclass(frozen=True)
class Option:
    """How one field is given."""

    name: str | None = None
    """Instead of the field's own."""
    help: str | None = None
    """Instead of the field's docstring: for types that many commands share."""
    metavar: str | None = None
    """What the help puts in the place of the value."""
    is_positional: bool = False
    """Given by its place instead of by ``--name``."""
    group: str | None = None
    """Title of a group of options of which at most one may be given."""
    read: Callable[[Sequence[str]], object] | None = None
    """The value of the words; ValueError says what is wrong with them."""
    words: Literal[1, "*"] = 1
    """How many words ``read`` gets."""
    limits: tuple[float, float] | None = None
    """Smallest and largest value of a number."""
    choices: tuple[str, ...] | Callable[[], tuple[str, ...]] = ()
    """All words that are allowed, where the type does not list them; a function is called when they are needed."""

    def allowed(self) -> tuple[str, ...]:
        """Return the words that are allowed; none if there is no such list."""
        return self.choices() if callable(self.choices) else self.choices


class Only:
    """Mark of a nested dataclass: only these fields of it are options, all others keep their values."""

    def __init__(self, *names: str) -> None:
        self.names = names


def between(low: float, high: float, metavar: str = "NUMBER") -> Option:
    """Return the option for a number within these bounds, which belong to it."""
    return Option(metavar=metavar, read=lambda words: number(words[0], low, high), limits=(low, high))


def limits_of(kind: object) -> tuple[float, float] | None:
    """Return the smallest and largest value of a field of this type, None if it states none."""
    notes = getattr(kind, "__metadata__", ())
    return next((note.limits for note in notes if isinstance(note, Option)), None)


def whole(low: int, high: int | None = None, metavar: str = "N") -> Option:
    """Return the option for a whole number within these bounds, which belong to it."""
    limits = None if high is None else (low, high)
    return Option(metavar=metavar, read=lambda words: whole_number(words[0], low, high), limits=limits)


def number(text: str, low: float = -math.inf, high: float = math.inf) -> float:
    """Return the finite number that a text is; ValueError if it is none, or out of bounds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{_shown(text)} is not a number{_bounds(low, high)}")
    return value


def whole_number(text: str, low: float = -math.inf, high: float | None = None) -> int:
    """Return the whole number that a text is; ValueError if it is none, or out of bounds."""
    high = math.inf if high is None else high
    try:
        value = int(text) if text.strip().lstrip("+-").isdecimal() else None
    except ValueError:  # thousands of digits
        value = None
    if value is None or not low <= value <= high:
        raise ValueError(f"{_shown(text)} is not a whole number{_bounds(low, high)}")
    return value


def some_words(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words of a list; ValueError if there is none."""
    if not words:
        raise ValueError("at least one is needed")
    return tuple(words)


def _shown(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _bounds(low: float, high: float) -> str:
    if math.isinf(high):
        return "" if math.isinf(low) else f" from {low:.12g} on"
    return f" from {low:.12g} to {high:.12g}"


Positional = Annotated[T, Option(is_positional=True)]
Count = Annotated[int, whole(1)]
Seed = Annotated[
    int, Option(metavar="N", help="Seed of all random numbers.", read=lambda words: whole_number(words[0], 0))
]
Fraction = Annotated[float, between(0, 1)]
AsJson = Annotated[bool, Option(name="json", help="Print the results as JSON, for programs.")]
ModelFolder = Annotated[Path, Option(help="Folder of the ONNX files.")]
HandModelFile = Annotated[
    Path | None,
    Option(
        metavar="FILE",
        help=f"Your MANO_RIGHT.pkl instead of the hand that handviz ships; files in {MANO_FOLDER} are found without.",
    ),
]
HeldOutFolder = Annotated[Path | None, Option(metavar="DIR", help="Folder of the rendered held-out set.")]
