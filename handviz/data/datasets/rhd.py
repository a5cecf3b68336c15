"""RHD, the Rendered Hand pose Dataset (Zimmermann and Brox, ICCV 2017), as it is downloaded: one hand of each image.

Facts and where they come from (``lmb-freiburg/hand3d`` on GitHub unless said otherwise):
- folders, names of files, ``uv_vis`` (42, 3), ``xyz`` (42, 3) in metres and ``K`` (3, 3) of each image:
  ``create_binary_db.py``;
- 41,258 and 2,728 images of 320 x 320 pixels; left hand in rows 0 to 20, right hand in 21 to 41; masks 2 to 17 and
  18 to 33; of the two hands the one with more pixels in the mask, the right one if they have the same number:
  ``data/BinaryDbReader.py``;
- wrist, then thumb to little finger, each from its tip to the palm: README of the download, as cited by the loader
  ``rhd2d`` of ``open-mmlab/mmpose``;
- ``uv = K xyz`` in the camera's axes x right, y down, z forward: the viewing script of the download, which also draws
  with pixel centres at whole numbers.

Open points: that ``K`` means such pixel centres is nowhere stated, and a renderer's might lie at halves. The authors
count visible keypoints alone in their errors; here all 21 count, since hidden ones are exact too. There is no mesh, and
fingertips are no vertices of MANO.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import project_points
from handviz.core.records import KEYPOINT_COUNT
from handviz.data.datasets.annotated import AnnotatedHand
from handviz.data.datasets.freiburg import MAX_PX, PIXEL_CENTRE, camera_matrices, intrinsics_from, placed
from handviz.data.datasets.images import file_names, messages_on, read_image, read_mask
from handviz.data.datasets.index import Arrays, Part, parts_folder, read_parts, stamp_of
from handviz.hand_models.mano.inert_pickle import PickleLimits, array_from, load_records

NAME = "rhd"
SPLITS = {NAME: ("training", "evaluation")}
OFFICIAL_COUNTS = {(NAME, "training"): 41_258, (NAME, "evaluation"): 2_728}
SIZE = (320, 320)
FOLDER = "RHD_published_v2"
PAGE = "lmb.informatik.uni-freiburg.de/resources/datasets/RenderedHandposeDataset.en.html"
REMEDY = f"unpack RHD_v1-1.zip ({PAGE}) again."
FORMAT = 1
"""Goes up whenever the cached content of a split changes."""
LIMITS = PickleLimits(file_bytes=256 * 2**20, opcodes=8_000_000, nodes=50_000_000)
"""Arrays of 41,258 images in double precision are 144 MB of 4 million opcodes."""
MAX_IMAGES = 100_000
"""Numbers of images have five digits."""
KEYPOINTS_FROM_RHD = (0, 4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17)
LEFT_MASK, RIGHT_MASK = (2, 17), (18, 33)
"""First and last number of the parts of each hand."""
SHAPES = {"uv_vis": (2 * KEYPOINT_COUNT, 3), "xyz": (2 * KEYPOINT_COUNT, 3), "K": (3, 3)}
MAX_DRIFT_PX = 2.0
MAX_ERROR_TEXT = 200
THREADS = 8


@dataclass(frozen=True, eq=False)
class Rhd:
    """One split; see ``HandDataset``."""

    split: str
    folder: Path
    arrays: Arrays
    """(N, ...) of the usable images: ``number``, ``is_left``, ``keypoints_m``, ``visible``, ``matrix``"""
    warnings: Sequence[str]
    name: str = NAME
    tip_vertices: tuple[int, int, int, int, int] | None = None

    def __len__(self) -> int:
        return len(self.arrays["number"])

    def hand(self, index: int) -> AnnotatedHand:
        intrinsics = intrinsics_from(self.arrays["matrix"][index])
        keypoints_m = self.arrays["keypoints_m"][index]
        return AnnotatedHand(
            name=f"{self.arrays['number'][index]:05d}",
            image=self._image(index),
            handedness="left" if self.arrays["is_left"][index] else "right",
            intrinsics=intrinsics,
            keypoints_px=project_points(keypoints_m, intrinsics),
            keypoints_m=keypoints_m,
            keypoint_visible=self.arrays["visible"][index],
        )

    def image(self, index: int) -> NDArray[np.uint8]:
        return read_image(self._image(index), SIZE)

    def _image(self, index: int) -> Path:
        return self.folder / "color" / _file(int(self.arrays["number"][index]))


def open_split(name: str, root: Path, split: str) -> Rhd:
    """Open a split of RHD; HandvizError names what is missing. Annotations and masks are read once and cached."""
    if split not in SPLITS[name]:
        raise HandvizError(f"RHD has no split {split!r}: there are {', '.join(SPLITS[name])}.", ErrorCode.UNKNOWN_NAME)
    folder, annotations = _found(root, split)
    sources = [annotations, folder / "color", folder / "mask"]
    stamp = stamp_of(FORMAT, split, annotations.stat().st_size, *sources)
    part = Part(split, stamp, partial(_read_split, folder, annotations))
    (arrays,) = read_parts([part], parts_folder(NAME, folder), f"RHD/{split}")
    problems = arrays["problem"]
    warnings = messages_on(str(problem) for problem in problems)
    usable = problems == ""
    if not usable.any():
        raise HandvizError(f"No image of RHD's {split} is usable. {' '.join(warnings)} {REMEDY}", ErrorCode.EMPTY_INPUT)
    kept = {key: array[usable] for key, array in arrays.items() if key != "problem"}
    return Rhd(split, folder, kept, (*warnings, *_drift_warning(kept)))


def _found(root: Path, split: str) -> tuple[Path, Path]:
    """Return the split's folder and its annotations, in the root or where the archive puts them."""
    for folder in (root / split, root / FOLDER / split):
        annotations = folder / f"anno_{split}.pickle"
        if annotations.is_file():
            missing = next((path for path in (folder / "color", folder / "mask") if not path.is_dir()), None)
            if missing is None:
                return folder, annotations
            raise HandvizError(f"{missing} is missing: {REMEDY}", ErrorCode.FILE_MISSING)
    raise HandvizError(
        f"{root / split / f'anno_{split}.pickle'} is missing: give the folder {FOLDER} into which RHD_v1-1.zip "
        f"({PAGE}) was unpacked.",
        ErrorCode.FILE_MISSING,
    )


def _read_split(folder: Path, annotations: Path) -> Arrays:
    """Read the shown hand of every image; ``problem`` (N,) is empty for those that can be used, else KIND: DETAIL."""
    records = load_records(annotations, LIMITS)
    numbers = sorted(number for number in records if type(number) is int and 0 <= number < MAX_IMAGES)
    if not records or len(numbers) != len(records):
        raise HandvizError(
            f"{annotations} is not RHD's: it should hold an annotation for each number of an image: {REMEDY}",
            ErrorCode.FILE_DAMAGED,
        )
    images, masks = file_names(folder / "color"), file_names(folder / "mask")
    with ThreadPoolExecutor(THREADS) as pool:
        sides = list(pool.map(lambda number: _shown_side(folder, number, images, masks), numbers))
    rows = [_read_hand(records[number], number, *side) for number, side in zip(numbers, sides, strict=True)]
    for name in sorted(images.difference(map(_file, numbers))):
        if name.endswith(".png"):
            rows.append(_blank(f"the image has no annotation: {folder / 'color' / name}"))
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def _shown_side(folder: Path, number: int, images: frozenset[str], masks: frozenset[str]) -> tuple[bool, str]:
    """Return whether an image shows more of the left hand than of the right one, and why it cannot be used."""
    file = _file(number)
    if file not in images:
        return False, f"the image is missing: {folder / 'color' / file}"
    if file not in masks:
        return False, f"the mask is missing: {folder / 'mask' / file}"
    try:
        parts = read_mask(folder / "mask" / file, SIZE)
    except HandvizError as error:
        return False, f"the mask cannot be read: {error}"
    left, right = (int(np.count_nonzero((parts >= first) & (parts <= last))) for first, last in (LEFT_MASK, RIGHT_MASK))
    if parts.max() > RIGHT_MASK[1]:
        return False, f"the mask has other numbers than those of parts: {folder / 'mask' / file}"
    return left > right, "" if left or right else f"no hand is to be seen in the mask: {folder / 'mask' / file}"


def _read_hand(record: Any, number: int, is_left: bool, problem: str) -> Arrays:
    """Return the arrays of ``Rhd`` for one image, and ``problem``."""
    if problem:
        return _blank(problem)
    try:
        values = {key: np.asarray(array_from(record[key], shape), np.float64) for key, shape in SHAPES.items()}
    except (KeyError, TypeError, ValueError) as error:
        return _blank(f"the annotation is not RHD's: {number} ({_brief(error)})")
    rows = np.array(KEYPOINTS_FROM_RHD) + (0 if is_left else KEYPOINT_COUNT)
    annotated_px, keypoints_m = values["uv_vis"][rows], values["xyz"][rows]
    if not camera_matrices(values["K"][None]).all():
        return _blank(f"K is not a camera's: {number}")
    # Comparisons with nan are false.
    if not placed(keypoints_m[None]).all() or not (np.abs(annotated_px) < MAX_PX).all():
        return _blank(f"the annotation cannot be of a hand in metres: {number}")
    pixels = project_points(keypoints_m, intrinsics_from(values["K"]))
    if not ((pixels >= 0) & (pixels <= SIZE)).all(1).any():
        return _blank(f"the hand is outside the image: {number}")
    drift_px = float(np.median(np.linalg.norm(pixels - PIXEL_CENTRE - annotated_px[:, :2], axis=1)))
    return {
        "number": np.array(number),
        "is_left": np.array(is_left),
        "keypoints_m": keypoints_m,
        "visible": annotated_px[:, 2] == 1,
        "matrix": values["K"],
        "drift_px": np.array(drift_px),
        "problem": np.array(""),
    }


def _blank(problem: str) -> Arrays:
    """Return the arrays of an image that cannot be used."""
    return {
        "number": np.array(-1),
        "is_left": np.array(False),
        "keypoints_m": np.full((KEYPOINT_COUNT, 3), np.nan),
        "visible": np.zeros(KEYPOINT_COUNT, bool),
        "matrix": np.full((3, 3), np.nan),
        "drift_px": np.array(np.nan),
        "problem": np.array(problem),
    }


def _brief(error: Exception) -> str:
    """Return an error's text without most of what a damaged file may have put into it."""
    text = str(error) or type(error).__name__
    return text[:MAX_ERROR_TEXT]


def _drift_warning(arrays: Arrays) -> list[str]:
    """Return a warning if projected metres do not lie where the annotated pixels do."""
    drift_px = float(np.median(arrays["drift_px"]))
    if drift_px <= MAX_DRIFT_PX:
        return []
    return [
        f"The cameras put keypoints {drift_px:.1f} pixels from where the annotations have them (median of "
        f"{len(arrays['drift_px']):,} images): xyz, K and uv_vis do not belong together."
    ]


def _file(number: int) -> str:
    return f"{number:05d}.png"
