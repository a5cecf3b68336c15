"""``handviz synthesize``: render hands with ground truth."""

import argparse
import logging
import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import atomic_path
from handviz.core.records import CROP_SIZE, KEYPOINT_PARENTS, FloatArray
from handviz.data.synthetic.dataset import read_shard
from handviz.data.synthetic.generator import Plan, render
from handviz.evaluation.held_out import read_held_out

COLUMNS, ROWS = 8, 3
logger = logging.getLogger(__name__)


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
    """Write the sheet of the folder's first shard: rows of images, each followed by a row with keypoints."""
    shard = read_shard(directory, 0)
    rows = []
    for row in range(ROWS):
        chosen = range(row * COLUMNS, min((row + 1) * COLUMNS, len(shard.images)))
        if not len(chosen):
            break
        plain = [shard.images[i] for i in chosen]
        marked = [
            draw_skeleton(shard.images[i], (shard.labels["keypoints_crop"][i] + 1) * CROP_SIZE / 2) for i in chosen
        ]
        empty = [np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)] * (COLUMNS - len(plain))
        rows += [np.hstack(plain + empty), np.hstack(marked + empty)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as part:
        cv2.imwrite(str(part), np.vstack(rows)[..., ::-1])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add count, seed and folder."""
    parser.add_argument("--count", type=int, default=1024, help="samples in the folder when done")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random numbers")
    parser.add_argument("--out", type=Path, required=True, help="folder of shards; started work is continued")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument(
        "--hidden",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="only hands of which things hide LOW to HIGH (0..1) of what would be seen",
    )
    parser.add_argument("--preview", type=Path, help="also write a contact sheet (PNG) of the first samples")


def run(arguments: argparse.Namespace) -> int:
    """Render what is missing; an interrupted run continues at the next call."""
    if arguments.count < 1 or arguments.seed < 0 or arguments.workers < 1:
        raise HandvizError("--count and --workers must be at least 1, --seed at least 0", ErrorCode.BAD_VALUE)
    hidden = tuple(arguments.hidden) if arguments.hidden else None
    if hidden and not 0 <= hidden[0] < hidden[1] <= 1:
        raise HandvizError("--hidden takes two numbers in 0..1, the lower one first", ErrorCode.BAD_VALUE)
    frozen = {part.seed: part.name for part in read_held_out().parts}
    if arguments.seed in frozen:
        raise HandvizError(
            f"seed {arguments.seed} is that of the held-out {frozen[arguments.seed]}: choose another, "
            "or results would be those of hands that were trained or decided on",
            ErrorCode.OPTION_CONFLICT,
        )
    plan = Plan(arguments.out, arguments.seed, arguments.count, hidden)
    with tqdm(total=plan.count, unit="hand", smoothing=0.1) as bar:
        for done in render(plan, arguments.workers):
            bar.update(done)
    logger.info("%d hands in %s", plan.count, plan.directory)
    if arguments.preview:
        write_preview(plan.directory, arguments.preview)
        logger.info("contact sheet: %s", arguments.preview)
    return 0
