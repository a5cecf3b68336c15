"""What an inspection says about pictures, in plain numbers: light enough for tables of ten thousand."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from handviz.core.errors import HandvizError
from handviz.core.lens import ASSUMED_LENS, UNMEASURED, HandSize, Lens
from handviz.core.paths import MODELS
from handviz.core.records import Handedness, SideChoice, VariantName

PictureState = Literal["waiting", "done", "failed"]
FOLDER_VARIABLE = "HANDVIZ_CONFIG_DIR"
FOLDER_NAME = "inspections"
GROUND_TRUTH_NAME = "ground_truth.json"


@dataclass(frozen=True)
class InspectionOrder:
    """What decides the results of a folder: another order has results of its own."""

    folder: Path
    variant: VariantName = "final"
    lens: Lens = ASSUMED_LENS
    """Of the camera that took the pictures."""
    hand_size: HandSize = UNMEASURED
    side: SideChoice = "detected"
    model_dir: Path = MODELS


@dataclass(frozen=True)
class HandRow:
    """One hand of a picture."""

    number: int
    """Its place among the hands of the picture."""
    handedness: Handedness
    score: float
    mean_std_mm: float
    max_std_mm: float
    visible_share: float
    """Of the vertices, those that lie inside the picture and that the hand does not hide itself."""
    error_mm: float | None = None
    """Mean distance of the 21 keypoints from the ground truth, both with the wrist at the origin."""
    aligned_error_mm: float | None = None
    """The same after the best rotation, scale and shift (PA-MPJPE)."""


@dataclass(frozen=True)
class PictureRow:
    """One picture and its hands."""

    file: str
    state: PictureState = "waiting"
    hands: tuple[HandRow, ...] = ()
    reason: str = ""
    """Why a picture could not be done."""
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class Listing:
    """The pictures of a folder by name, those that were done in an earlier run with their results."""

    rows: tuple[PictureRow, ...]
    has_ground_truth: bool
    kept: Path
    """The file with the results."""
    note: str = ""
    """A sentence about what was found, such as a ground truth that cannot be used."""


def inspections_folder() -> Path:
    """Where results are kept: the user's cache folder, or ``inspections`` in ``HANDVIZ_CONFIG_DIR``."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return (Path(chosen) if chosen else platformdirs.user_cache_path("handviz")) / FOLDER_NAME


def checked_folder(path: Path) -> Path:
    """The folder in full; raises HandvizError if it is none."""
    try:
        whole = path.expanduser().resolve()
        is_folder = whole.is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise HandvizError(f"{path} cannot be opened ({error}).") from error
    if not is_folder:
        raise HandvizError(f"{path} is not a folder, or is not there any more.")
    return whole
