"""How many crops per second a dataset delivers to training, and what of it costs how much."""

import logging
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import torch

from handviz.data.datasets.cut import crop_affine
from handviz.detection.crop import cut_out
from handviz.training.dataset_samples import DatasetSamples
from handviz.training.samples import DECODERS

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")
BATCH_SIZE = 32
WARM_UP_BATCHES = 2
STAGE_SAMPLES = 64
STAGES = ("annotate", "read", "decode", "cut")


@dataclass(frozen=True)
class Throughput:
    """What was measured of one source."""

    batch_s: tuple[float, ...]
    """Wall clock of every batch of BATCH_SIZE"""
    core_s: float
    """Seconds of cores in a batch, the mean: they hardly grow on a machine that is busy with other things"""
    stage_core_ms: dict[str, float]
    """Milliseconds of a core for one crop, the median, nothing beside it"""
    size: str
    """Of the images"""

    @property
    def crops_per_s(self) -> float:
        """By the median batch."""
        return BATCH_SIZE / statistics.median(self.batch_s)

    @property
    def crops_per_core_s(self) -> float:
        """What one core delivers."""
        return BATCH_SIZE / self.core_s


def measured(samples: DatasetSamples, batches: int) -> Throughput:
    """Random batches of a split in jittered crops, as training draws them; then each stage alone."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(len(samples), (WARM_UP_BATCHES + batches, BATCH_SIZE), generator=generator)
    walls, cores = [], []
    for step, ids in enumerate(drawn):
        wall, core = time.perf_counter(), time.process_time()
        samples.at_step(step).batch(ids)
        walls.append(time.perf_counter() - wall)
        cores.append(time.process_time() - core)
    rows = samples.rows[drawn.flatten()[:STAGE_SAMPLES].numpy()].tolist()
    height, width = samples.dataset.image(rows[0]).shape[:2]
    return Throughput(
        batch_s=tuple(walls[WARM_UP_BATCHES:]),
        core_s=statistics.mean(cores[WARM_UP_BATCHES:]),
        stage_core_ms=_stages(samples, rows),
        size=f"{width} x {height}",
    )


def _stages(samples: DatasetSamples, rows: Sequence[int]) -> dict[str, float]:
    """Milliseconds of a core; "decode" is what is left of opening an image once its bytes are there."""
    columns = zip(*(_of_one(samples, row) for row in rows), strict=True)
    stages = {name: statistics.median(column) for name, column in zip(STAGES, columns, strict=True)}
    stages["decode"] = max(0.0, stages["decode"] - stages["read"])
    hands = [samples.dataset.hand(row) for row in rows[:BATCH_SIZE]]
    affines = [crop_affine(hand) for hand in hands]
    stages["truth"] = statistics.median(_core_ms(lambda: samples.truth_of(hands, affines))[0] for _ in range(3))
    return stages | {"truth": stages["truth"] / len(hands)}


def _of_one(samples: DatasetSamples, row: int) -> tuple[float, ...]:
    annotate_ms, hand = _core_ms(lambda: samples.dataset.hand(row))
    affine = crop_affine(hand)
    read_ms, _ = _core_ms(hand.image.read_bytes)
    open_ms, image = _core_ms(lambda: samples.dataset.image(row))
    cut_ms, _ = _core_ms(lambda: cut_out(image, affine))
    return annotate_ms, read_ms, open_ms, cut_ms


def _core_ms(call: Callable[[], Answer]) -> tuple[float, Answer]:
    start = time.process_time()
    answer = call()
    return (time.process_time() - start) * 1000, answer


def report(source: str, found: Throughput) -> str:
    """Some lines on one source."""
    of_all = sum(found.stage_core_ms.values())
    stages = ", ".join(f"{name} {ms:.2f} ({ms / of_all:.0%})" for name, ms in found.stage_core_ms.items())
    return (
        f"{source}, images of {found.size}: {found.crops_per_s:.0f} crops/s in batches of {BATCH_SIZE} "
        f"({DECODERS} threads), {found.crops_per_core_s:.0f} crops in a second of a core\n"
        f"  ms of a core for a crop: {stages}"
    )


def measure(samples: dict[str, DatasetSamples], batches: int) -> None:
    """Log what every source delivers, one after the other, in this process, which has no other work."""
    cv2.setNumThreads(1)
    # PyTorch's threads wait busily for each other, which counts as work.
    torch.set_num_threads(1)
    for source, part in samples.items():
        logger.info("%s", report(source, measured(part, batches)))
