"""A door: one kind of foreign file, with whole files of it, its reader, and what an answer must be."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


class WrongAnswerError(Exception):
    """A damaged file was read without an error, to what no file may become."""


@dataclass(frozen=True)
class Door:
    """A reader of foreign files."""

    name: str
    build: Callable[[Path], object]
    """Writes whole files into an empty folder, always the same."""
    read: Callable[[Path], object]
    """Reads a file, or the folder; raises HandvizError if it is refused, WrongAnswerError for what must not be."""
    damaged: str = "*"
    """Which of the files may be damaged."""
    is_folder: bool = False
    """Whether the files belong together, and one of them at a time is damaged."""
    whole: str = "fine"
    """The verdict of the whole files, where no small ones are accepted."""
    splices_all: bool = False
    """Whether files are spliced with those of other suffixes."""


def check(is_right: object, what: str) -> None:
    """Raise WrongAnswerError unless the condition holds."""
    if not is_right:
        raise WrongAnswerError(what)


def check_finite(values: Any, what: str) -> None:
    """Raise WrongAnswerError unless all numbers are finite."""
    check(np.isfinite(np.asarray(values, np.float64)).all(), f"{what} is not finite")


def check_rgb(image: Any) -> None:
    """Raise WrongAnswerError unless this is an RGB image (H, W, 3) of bytes."""
    is_image = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    check(is_image and image.size, f"no RGB image: {getattr(image, 'shape', image)}")
