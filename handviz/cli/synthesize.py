"""``handviz synthesize``: render hands with ground truth."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from handviz.core.arguments import Count, Fraction, Option, Seed, number, whole
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import atomic_path, make_folder
from handviz.core.output import print_result
from handviz.core.records import CROP_SIZE, KEYPOINT_PARENTS, FloatArray
from handviz.data.synthetic.dataset import read_shard
from handviz.data.synthetic.generator import (
    GENERATOR_VERSION,
    MAX_VIEWS,
    MODEL_SPACE_VERSION,
    NO_HAND,
    GeneratorVersion,
    Plan,
    render,
)
from handviz.evaluation.held_out import held_out_seeds

COLUMNS, ROWS = 8, 3


# A contact sheet of rendered hands for a person to judge: images, and the same with their keypoints.


def draw_skeleton(image: NDArray[np.uint8], keypoints_px: FloatArray) -> NDArray[np.uint8]:
    """Return a copy of the image with bones (keypoints (21, 2) in pixels), one colour a finger."""
    image = image.copy()
    colours = ((255, 99, 71), (255, 200, 0), (80, 220, 100), (70, 170, 255), (200, 120, 255))
    for child, parent in enumerate(KEYPOINT_PARENTS):
        if parent >= 0:
            ends = [tuple(int(v) for v in np.round(keypoints_px[point])) for point in (parent, child)]
            cv2.line(image, ends[0], ends[1], colours[(child - 1) // 4], 2, cv2.LINE_AA)
    return image


def write_preview(directory: Path, path: Path) -> None:
    """Write the sheet of the folder's first shard: rows of images, each followed by a row with keypoints.

    Of moments that several cameras see, a row is a moment and a column a view.
    """
    shard = read_shard(directory, 0)
    columns = 1 + int(shard.labels["view"].max()) if "view" in shard.labels else COLUMNS
    rows = []
    for row in range(ROWS):
        chosen = range(row * columns, min((row + 1) * columns, len(shard.images)))
        if not len(chosen):
            break
        plain = [shard.images[i] for i in chosen]
        marked = [
            draw_skeleton(shard.images[i], (shard.labels["keypoints_crop"][i] + 1) * CROP_SIZE / 2) for i in chosen
        ]
        empty = [np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)] * (columns - len(plain))
        rows += [np.hstack(plain + empty), np.hstack(marked + empty)]
    make_folder(path.parent)
    with atomic_path(path) as part:
        cv2.imwrite(str(part), np.vstack(rows)[..., ::-1])


def _read_bounds(words: Sequence[str]) -> tuple[float, float]:
    """Return the two fractions, the lower one first; ValueError if they are none."""
    low, high = (number(word, 0, 1) for word in words) if len(words) == 2 else (0.0, 0.0)
    if not low < high:
        raise ValueError("it takes two numbers in 0..1, the lower one first")
    return low, high


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Count, seed and folder."""

    count: Count = 1024
    """Samples in the folder when done; with --views, moments."""
    seed: Seed = 0
    out: Path
    """Folder of shards; started work is continued."""
    workers: Count = os.cpu_count() or 1
    """Processes."""
    hidden: Annotated[tuple[float, float] | None, Option(metavar="LOW HIGH", read=_read_bounds, words="*")] = None
    """Only hands of which things hide LOW to HIGH (0..1) of what would be seen."""
    no_hand: Fraction | None = None
    """Fraction of crops without a hand, 0 to 1; without it a tenth, none by version 2."""
    generator: GeneratorVersion = GENERATOR_VERSION
    """Version of the generator; version 2 renders hands of the open hand's space alone, and no crops without a hand."""
    views: Annotated[int, whole(1, MAX_VIEWS)] = 1
    """Cameras around each hand at one moment; of some of them things hide the hand."""
    preview: Path | None = None
    """Also write a contact sheet (PNG) of the first samples."""


def _no_hand(arguments: Arguments) -> float:
    """Return the fraction of crops without a hand; HandvizError if version 2 of the generator is asked for some."""
    if arguments.views > 1:
        return arguments.no_hand or 0.0
    if arguments.generator != MODEL_SPACE_VERSION:
        return NO_HAND if arguments.no_hand is None else arguments.no_hand
    if arguments.no_hand:
        raise HandvizError(
            f"--no-hand {arguments.no_hand:g} is for version {GENERATOR_VERSION} of the generator: leave it out with "
            f"--generator {MODEL_SPACE_VERSION}",
            ErrorCode.OPTION_CONFLICT,
        )
    return 0.0


def run(arguments: Arguments) -> int:
    """Render what is missing; an interrupted run continues at the next call."""
    frozen = held_out_seeds()
    if arguments.seed in frozen:
        raise HandvizError(
            f"seed {arguments.seed} is that of the held-out {frozen[arguments.seed]}: choose another, "
            "or results would be those of hands that were trained or decided on",
            ErrorCode.OPTION_CONFLICT,
        )
    no_hand, version = _no_hand(arguments), arguments.generator
    views, crops = arguments.views, arguments.count * arguments.views
    plan = Plan(arguments.out, arguments.seed, crops, arguments.hidden, no_hand, version, views)
    with tqdm(total=plan.count, unit="hand", smoothing=0.1) as bar:
        for done in render(plan, arguments.workers):
            bar.update(done)
    if views == 1:
        print_result("%d hands in %s", plan.count, plan.directory)
    else:
        print_result("%d moments of %d views in %s", arguments.count, views, plan.directory)
    if arguments.preview:
        write_preview(plan.directory, arguments.preview)
        print_result("contact sheet: %s", arguments.preview)
    return 0
