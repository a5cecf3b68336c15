"""FreiHAND v2 as it is downloaded (Zimmermann et al., ICCV 2019), training and evaluation with its released truth.

Facts from its own toolbox (github.com/lmb-freiburg/freihand): ``fh_utils.py``: 32,560 hands, each in four images, the
green screen's (``gs``) and three post-processed ones (``hom``, ``sample``, ``auto``), numbered one block of 32,560
after the other; keypoints in our order, metres, camera axes x right, y down, z forward; ``uv = K xyz`` drawn with pixel
centres at whole numbers. ``model.py``: 61 MANO numbers, pose relative to the file's mean (flat_hand_mean=False),
without principal components, and of the position only the middle knuckle's pixel and scale. ``mano_utils.py``:
fingertips are vertices 744, 320, 443, 555, 672. All hands are right hands.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import project_points
from handviz.core.records import FloatArray
from handviz.data.datasets.annotated import AnnotatedHand
from handviz.data.datasets.backgrounds import Backgrounds, find_backgrounds
from handviz.data.datasets.freiburg import MANO_SIZE, camera_matrices, intrinsics_from, mano_from, placed, plausible
from handviz.data.datasets.images import file_names, read_image
from handviz.data.datasets.json_arrays import number_lists

VERSIONS = ("gs", "hom", "sample", "auto")
"""Of a training image, in the order of their numbers."""
OWN = "own"
"""The green screen's images with the user's own backgrounds."""
SPLITS = {"freihand": ("training", *(f"training_{version}" for version in (*VERSIONS, OWN)), "evaluation")}
HANDS = 32_560
OFFICIAL_COUNTS = {
    ("freihand", "training"): len(VERSIONS) * HANDS,
    **{("freihand", f"training_{version}"): HANDS for version in VERSIONS},
    ("freihand", "evaluation"): 3_960,
}
"""``db_size`` of its ``fh_utils.py``"""
TIP_VERTICES = (744, 320, 443, 555, 672)
TIP_KEYPOINTS = (4, 8, 12, 16, 20)
FARTHEST_TIP_M = 0.005
SAMPLED_TIPS = 500
IMAGE_SIZE = (224, 224)
IMAGE_NAME = re.compile(r"\d{8}\.jpg")
FOLDERS = ("FreiHAND_pub_v2", "FreiHAND_pub_v2_eval")
ARCHIVES = {"training": "FreiHAND_pub_v2.zip", "evaluation": "FreiHAND_pub_v2_eval.zip"}
PAGE = "lmb.informatik.uni-freiburg.de/resources/datasets/FreiHAND.en.html"


@dataclass(frozen=True, eq=False)
class Truth:
    """The annotation files of training or evaluation, one row per hand."""

    matrices: FloatArray
    """(N, 3, 3) K as it is stored"""
    keypoints_m: FloatArray
    """(N, 21, 3)"""
    vertices_m: FloatArray
    """(N, 778, 3)"""
    mano: FloatArray | None
    """(N, 61); None for an evaluation without the file"""

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Rows (N,) whose numbers can all be those of a hand before a camera."""
        good = camera_matrices(self.matrices) & placed(self.keypoints_m) & placed(self.vertices_m)
        return good if self.mano is None else good & plausible(self.mano[:, 0])


@dataclass(frozen=True, eq=False)
class FreiHand:
    """One split; see ``HandDataset``."""

    split: str
    images: Path
    masks: Path | None
    truth: Truth
    numbers: NDArray[np.intp]
    """Numbers of the images, in order; modulo the count of hands they are the hands' rows."""
    warnings: Sequence[str]
    backgrounds: Backgrounds | None = None
    name: str = "freihand"
    tip_vertices: tuple[int, int, int, int, int] = TIP_VERTICES

    def __len__(self) -> int:
        return len(self.numbers)

    def hand(self, index: int) -> AnnotatedHand:
        number = int(self.numbers[index])
        row = number % len(self.truth.matrices)
        intrinsics = intrinsics_from(self.truth.matrices[row])
        keypoints_m = self.truth.keypoints_m[row]
        return AnnotatedHand(
            name=f"{number:08d}",
            image=self.images / _file(number),
            handedness="right",
            intrinsics=intrinsics,
            keypoints_px=project_points(keypoints_m, intrinsics),
            keypoints_m=keypoints_m,
            vertices_m=np.asarray(self.truth.vertices_m[row], np.float64),
            mano=None if self.truth.mano is None else mano_from(self.truth.mano[row, 0]),
            mask=None if self.masks is None else self.masks / _file(row),
        )

    def image(self, index: int) -> NDArray[np.uint8]:
        image = read_image(self.images / _file(int(self.numbers[index])), IMAGE_SIZE)
        return image if self.backgrounds is None else self.backgrounds.behind(self.hand(index), image)


def open_split(name: str, root: Path, split: str) -> FreiHand:
    """Open a split of FreiHAND; HandvizError names what is missing. The vertices' text is read once, then cached."""
    if split not in SPLITS[name]:
        raise HandvizError(
            f"FreiHAND has no split {split!r}: there are {', '.join(SPLITS[name])}.", ErrorCode.UNKNOWN_NAME
        )
    part = split.partition("_")[0]
    truth = read_truth(root, part)
    images = _found(root, f"{part}/rgb", part)
    masks = images.parent / "mask"
    numbers, warnings = _numbers(truth, images, split)
    if truth.mano is None:
        warnings.append(f"MANO's parameters are not there: evaluation_mano.json of {ARCHIVES[part]} is missing.")
    warnings += _tip_warning(truth)
    backgrounds = find_backgrounds(root) if split.endswith(f"_{OWN}") else None
    if backgrounds is not None and not masks.is_dir():
        raise HandvizError(f"{masks} is missing: unpack {ARCHIVES[part]} ({PAGE}) again.", ErrorCode.FILE_MISSING)
    return FreiHand(split, images, masks if masks.is_dir() else None, truth, numbers, tuple(warnings), backgrounds)


def read_truth(root: Path, part: str) -> Truth:
    """Read the annotation files of ``part``, training or evaluation, of one folder; HandvizError if they disagree."""
    folder = _found(root, f"{part}_xyz.json", part).parent
    remedy = f"unpack {ARCHIVES[part]} ({PAGE}) there."
    paths = {kind: folder / f"{part}_{kind}.json" for kind in ("K", "xyz", "verts", "mano")}
    has_mano = part == "training" or paths["mano"].exists()
    truth = Truth(
        matrices=number_lists(paths["K"], (3, 3), remedy),
        keypoints_m=number_lists(paths["xyz"], (21, 3), remedy),
        vertices_m=number_lists(paths["verts"], (778, 3), remedy, dtype=np.float32),
        mano=number_lists(paths["mano"], (1, MANO_SIZE), remedy) if has_mano else None,
    )
    arrays = (truth.matrices, truth.keypoints_m, truth.vertices_m, truth.mano)
    lengths = {path.name: len(array) for path, array in zip(paths.values(), arrays, strict=True) if array is not None}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{file} {length:,}" for file, length in lengths.items())
        raise HandvizError(
            f"The lists in {folder} do not belong together ({counts} hands): {remedy}", ErrorCode.FILES_DISAGREE
        )
    return truth


def _numbers(truth: Truth, images: Path, split: str) -> tuple[NDArray[np.intp], list[str]]:
    """Return numbers of the split's images that exist and are annotated, and warnings about the others."""
    hands, versions = len(truth.matrices), _versions(split)
    there = file_names(images)
    _check_belong(images, there, hands * (1 if split == "evaluation" else len(VERSIONS)), hands)
    wanted = np.concatenate([np.arange(hands) + version * hands for version in versions])
    found = np.array([_file(number) in there for number in wanted])
    usable = np.tile(truth.usable, len(versions))
    warnings = []
    if not usable.all():
        first = images / _file(wanted[~usable][0])
        count = f"{np.count_nonzero(~usable):,}"
        warnings.append(
            f"{count} images are left out, the first is {first}: their annotation cannot be of a hand in metres."
        )
    if not (found | ~usable).all():
        missing = wanted[usable & ~found]
        warnings.append(f"{len(missing):,} images are missing, the first is {images / _file(missing[0])}.")
    numbers = wanted[usable & found]
    if not len(numbers):
        raise HandvizError(
            f"No image of FreiHAND's {split} is usable. {' '.join(warnings)} Download {PAGE} again.",
            ErrorCode.EMPTY_INPUT,
        )
    return numbers, warnings


def _check_belong(images: Path, names: frozenset[str], count: int, hands: int) -> None:
    """Raise HandvizError if images have no annotation: with shortened lists numbers would mean other images."""
    last = max((name for name in names if IMAGE_NAME.fullmatch(name)), default="")
    if last and int(last[:8]) >= count:
        raise HandvizError(
            f"{images / last} has no annotation, for the lists hold {hands:,} hands: images and lists are not of "
            f"one download of {PAGE}.",
            ErrorCode.FILES_DISAGREE,
        )


def _tip_warning(truth: Truth) -> list[str]:
    """Return a warning if fingertips do not lie on FreiHAND's vertices for them: the lists' orders differ."""
    rows = np.flatnonzero(truth.usable)[:: max(len(truth.matrices) // SAMPLED_TIPS, 1)]
    if not len(rows):
        return []
    offsets_m = truth.keypoints_m[rows][:, TIP_KEYPOINTS] - truth.vertices_m[rows][:, TIP_VERTICES]
    worst_m = float(np.median(np.linalg.norm(offsets_m, axis=-1), axis=0).max())
    if worst_m < FARTHEST_TIP_M:
        return []
    return [
        f"A fingertip lies {1e3 * worst_m:.0f} mm from its vertex (median of {len(rows)} hands): the lists of "
        "keypoints and vertices are not in the same order."
    ]


def _versions(split: str) -> tuple[int, ...]:
    """Return the blocks of images that belong to the split."""
    _, _, version = split.partition("_")
    if version in VERSIONS:
        return (VERSIONS.index(version),)
    return tuple(range(len(VERSIONS))) if split == "training" else (0,)


def _found(root: Path, relative: str, part: str) -> Path:
    """Return the file or folder in the root or where one of the two archives puts it; both layouts are in use."""
    if not root.is_dir():
        raise HandvizError(
            f"{root} is not a folder: give the one into which {ARCHIVES[part]} was unpacked.", ErrorCode.FILE_MISSING
        )
    own_name = ARCHIVES[part].removesuffix(".zip")
    folders = [root / own_name, root, root.parent / own_name, root / FOLDERS[0], root.parent / FOLDERS[0]]
    for folder in folders:
        if (folder / relative).exists():
            return folder / relative
    raise HandvizError(
        f"{root / relative} is missing: download {ARCHIVES[part]} from {PAGE} and unpack it there.",
        ErrorCode.FILE_MISSING,
    )


def _file(number: int) -> str:
    return f"{number:08d}.jpg"
