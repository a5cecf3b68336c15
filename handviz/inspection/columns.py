"""The columns of an inspection, the same in the window, in CSV files and in reports."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from handviz.core.camera_model import ASSUMED_CAMERA, UNMEASURED, CameraModel, HandSize
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import MODELS, cache_folder
from handviz.core.records import DetectorChoice, Handedness, HandednessSetting, ModelId, left_out_text
from handviz.core.shape_posterior import CONTRADICTION
from handviz.rendering.colormap import DEFAULT_RANGE_MM

ImageState = Literal["waiting", "done", "failed"]
FOLDER_NAME = "inspections"
GROUND_TRUTH_NAME = "ground_truth.json"
NOTHING = "–"
LOW_PERCENTILE, HIGH_PERCENTILE = 10.0, 75.0
Value = float | str | None
Key = tuple[str, int]
"""File and number of the hand, -1 without one."""


@dataclass(frozen=True)
class InspectionRequest:
    """The options that determine a folder's results; each combination has results of its own."""

    folder: Path
    model: ModelId = "final"
    camera_model: CameraModel = ASSUMED_CAMERA
    """Of the camera that took the images."""
    hand_size: HandSize = UNMEASURED
    side: HandednessSetting = "detected"
    model_dir: Path = MODELS
    detector: DetectorChoice = "handviz"


@dataclass(frozen=True)
class HandRow:
    """One hand of an image."""

    number: int
    """Its index among the hands of the image."""
    handedness: Handedness
    score: float
    mean_std_mm: float | None
    """Over the vertices; None if the model predicts no uncertainty."""
    max_std_mm: float | None
    visible_fraction: float
    """Of the vertices, those inside the image that the hand does not occlude itself."""
    contradicts: bool = False
    """Whether the network and MediaPipe's landmarks contradict each other."""
    error_mm: float | None = None
    """Mean distance of the 21 keypoints from the ground truth, both with the wrist at the origin."""
    aligned_error_mm: float | None = None
    """The same after the best rotation, scale and translation (PA-MPJPE)."""


@dataclass(frozen=True)
class ImageRow:
    """One image and its hands."""

    file: str
    state: ImageState = "waiting"
    hands: tuple[HandRow, ...] = ()
    reason: str = ""
    """Why an image failed."""
    width: int = 0
    height: int = 0
    left_out: int = 0
    """Hands found beyond the most of one image."""


@dataclass(frozen=True)
class Listing:
    """The images of a folder by name, with the results of those done in an earlier run."""

    rows: tuple[ImageRow, ...]
    has_ground_truth: bool
    results_path: Path
    """The file with the results."""
    note: str = ""
    """A message about the folder, such as a ground truth that cannot be used."""


def inspections_folder() -> Path:
    """Return the folder of results: in the user's cache folder, or ``inspections`` in ``HANDVIZ_CONFIG_DIR``."""
    return cache_folder() / FOLDER_NAME


def checked_folder(path: Path) -> Path:
    """Return the folder's full path; HandvizError if it is none."""
    try:
        whole = path.expanduser().resolve()
        is_folder = whole.is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise HandvizError(f"{path} cannot be opened ({error}).", ErrorCode.FILE_UNREADABLE) from error
    if not is_folder:
        raise HandvizError(f"{path} is not a folder, or is not there any more.", ErrorCode.FILE_MISSING)
    return whole


@dataclass(frozen=True)
class TableRow:
    """A hand, or an image without one."""

    image: ImageRow
    hand: HandRow | None

    @property
    def key(self) -> Key:
        """The row's identity in any order."""
        return self.image.file, self.hand.number if self.hand is not None else -1


def rows_of(image: ImageRow) -> tuple[TableRow, ...]:
    """Return a row for each hand, at least one."""
    return tuple(TableRow(image, hand) for hand in image.hands) or (TableRow(image, None),)


@dataclass(frozen=True)
class Column:
    """One column: heading, description, and value of a row."""

    title: str
    meaning: str
    value: Callable[[TableRow], Value]
    form: str = ""

    def text(self, row: TableRow) -> str:
        """Return the value as text; empty for none."""
        value = self.value(row)
        return "" if value is None else format(value, self.form)


def _of_hand(name: str) -> Callable[[TableRow], Value]:
    return lambda row: getattr(row.hand, name) if row.hand is not None else None


NO_UNCERTAINTY = "the model predicts no uncertainty"
ONE_FOR_ALL = "one standard deviation for all vertices"


def note_of(row: TableRow) -> str:
    """Return the row's messages: failure, or other text beside the numbers."""
    if row.image.state == "failed":
        return row.image.reason
    if row.image.state == "waiting":
        return "pending"
    if row.hand is None:
        return "no hand found"
    is_one = row.hand.mean_std_mm == row.hand.max_std_mm
    uncertainty = NO_UNCERTAINTY if row.hand.mean_std_mm is None else ONE_FOR_ALL if is_one else ""
    contradiction = CONTRADICTION if row.hand.contradicts else ""
    left_out = left_out_text(len(row.image.hands), row.image.left_out)
    return "; ".join(filter(None, (left_out, uncertainty, contradiction)))


COLUMNS = (
    Column("Image", "Name of the file", lambda row: row.image.file),
    Column("Hand", "Left or right hand of the person", _of_hand("handedness")),
    Column("Score", "Score of the detector, 0 to 1", _of_hand("score"), ".2f"),
    Column("Sigma mean (mm)", "Mean standard deviation over the vertices", _of_hand("mean_std_mm"), ".1f"),
    Column("Sigma max (mm)", "Largest standard deviation of a vertex", _of_hand("max_std_mm"), ".1f"),
    Column("Visible", "Fraction of the vertices that the image shows", _of_hand("visible_fraction"), ".0%"),
    Column(
        "Error (mm)",
        "Mean distance of the keypoints from the ground truth, wrist-aligned",
        _of_hand("error_mm"),
        ".1f",
    ),
    Column(
        "Aligned (mm)",
        "The same after the best rotation, scale and translation (PA-MPJPE)",
        _of_hand("aligned_error_mm"),
        ".1f",
    ),
    Column("Note", "Why there are no numbers, or what to know of them", note_of),
)


def common_range_mm(images: Iterable[ImageRow]) -> tuple[float, float]:
    """Return one colour range for all hands, so that images can be compared; whole millimetres, the default without
    hands.

    A quarter of the hands have a point beyond its upper end: a range up to the largest of thousands would show the
    others in one colour.
    """
    hands = [hand for image in images for hand in image.hands]
    means_mm = [hand.mean_std_mm for hand in hands if hand.mean_std_mm is not None]
    largest_mm = [hand.max_std_mm for hand in hands if hand.max_std_mm is not None]
    if not means_mm or not largest_mm:
        return DEFAULT_RANGE_MM
    low_mm = math.floor(np.percentile(means_mm, LOW_PERCENTILE) / 2)
    high_mm = math.ceil(np.percentile(largest_mm, HIGH_PERCENTILE))
    return float(low_mm), float(max(high_mm, low_mm + 2))
