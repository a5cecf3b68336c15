"""Measure the positions of MediaPipe's keypoints relative to the hand model's joints."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import tools
from handviz.core.arguments import Count
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.output import print_text
from handviz.core.records import CROP_SIZE, KEYPOINT_COUNT, KEYPOINT_PARENTS, FloatArray
from handviz.data.synthetic.dataset import Shard, read_shard, shard_numbers
from handviz.detection.crop import MARKED_TOWARDS
from handviz.models.backbones.mediapipe_hand import MediaPipeLandmarkNet, load_mediapipe_landmark_net
from handviz.training.samples import image_batch

BATCH = 32
MAX_ERROR, MIN_PRESENCE, MAX_HIDDEN = 0.06, 0.97, 0.05
"""Hands that count: mean distance in fractions of the hand's extent, MediaPipe's presence, share that things hide."""
SHORTEST_BONE = 0.12
"""of the extent: shorter ones are foreshortened too much"""


def marks_of_clear_hands(directory: Path, count: int) -> tuple[FloatArray, FloatArray]:
    """Return MediaPipe's and the true keypoints (N, 21, 2) of the first crops of a rendered folder, whole shards."""
    network, left = load_mediapipe_landmark_net().eval(), count
    found = []
    for number in shard_numbers(directory):
        if left <= 0:
            break
        shard = read_shard(directory, number)
        found.append(clear_hands(shard.of_hands(), network))
        left -= len(shard.images)
    marks, true = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if not len(true):
        raise HandvizError(f"{directory}: MediaPipe sees none of these hands clearly", ErrorCode.NO_HANDS)
    return marks, true


@torch.no_grad()
def clear_hands(shard: Shard, network: MediaPipeLandmarkNet) -> tuple[FloatArray, FloatArray]:
    """Return MediaPipe's and the true keypoints (N, 21, 2) in crop half-sides, of clearly visible hands."""
    batches = (shard.images[start : start + BATCH] for start in range(0, len(shard.images), BATCH))
    answers = [network(image_batch(batch)) for batch in batches]
    marks = torch.cat([answer.screen_px[..., :2] for answer in answers]).numpy() / (CROP_SIZE / 2) - 1
    presence = torch.cat([answer.presence for answer in answers]).numpy()
    true = shard.labels["keypoints_crop"]
    extent = np.ptp(true, axis=1).max(axis=1)
    error = np.linalg.norm(marks - true, axis=2).mean(axis=1) / extent
    clear = (error < MAX_ERROR) & (presence > MIN_PRESENCE) & (shard.labels["hidden_share"] < MAX_HIDDEN)
    return marks[clear], true[clear]


def fraction_of_the_way(marks: FloatArray, true: FloatArray, keypoint: int, other: int) -> float:
    """Return the median fraction of the way from a true keypoint to another, of (N, 21, 2), or nan."""
    way, moved = true[:, other] - true[:, keypoint], marks[:, keypoint] - true[:, keypoint]
    squared = np.square(way).sum(axis=1)
    long = squared > np.square(SHORTEST_BONE * np.ptp(true, axis=1).max(axis=1))
    fractions = (moved * way).sum(axis=1)[long] / squared[long]
    return float(np.median(fractions)) if len(fractions) else float("nan")


def table(marks: FloatArray, true: FloatArray) -> str:
    """Return Markdown: measured fractions beside those in use."""
    lines = [
        f"{len(true)} clear hands",
        "",
        "| keypoint | to its parent | to the wrist | in use |",
        "|---|---|---|---|",
    ]
    for keypoint in range(KEYPOINT_COUNT):
        parent = max(KEYPOINT_PARENTS[keypoint], 0) if keypoint else 9
        fractions = [fraction_of_the_way(marks, true, keypoint, other) for other in (parent, 0 if keypoint else 9)]
        other, fraction = MARKED_TOWARDS.get(keypoint, (parent, 0.0))
        lines.append(f"| {keypoint} | {fractions[0]:.2f} | {fractions[1]:.2f} | {fraction:.2f} to {other} |")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The hands."""

    data: Path
    """Folder written by 'handviz synthesize'."""
    count: Count = 4096
    """Crops to evaluate."""


def run(arguments: Arguments) -> int:
    """Print the fraction of the way from each keypoint to its parent, and to the wrist, of MediaPipe's keypoint."""
    print_text(table(*marks_of_clear_hands(arguments.data, arguments.count)))
    return 0


if __name__ == "__main__":
    sys.exit(tools.run("landmark_offsets"))
