"""Measure how many crops per second datasets deliver to training, and the cost of each stage."""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import cv2
import torch

import tools
from handviz.core.arguments import Count, HandModelFile, Option
from handviz.core.output import print_result
from handviz.data.datasets.cut import crop_affine
from handviz.detection.crop import cut_out
from handviz.hand_models.choice import hand_model
from handviz.training.dataset_samples import DatasetSamples, Drawing, load_dataset
from handviz.training.samples import DECODERS

Result = TypeVar("Result")
BATCH_SIZE = 32
WARM_UP_BATCHES = 2
STAGE_SAMPLES = 64
STAGES = ("annotate", "read", "decode", "cut")


@dataclass(frozen=True)
class Throughput:
    """The measurements of one dataset."""

    batch_s: tuple[float, ...]
    """Wall clock of every batch of BATCH_SIZE"""
    core_s: float
    """Mean core seconds of a batch, which hardly depend on the machine's other load"""
    stage_core_ms: dict[str, float]
    """Median milliseconds of a core for one crop, of each stage alone"""
    size: str
    """Of the images"""

    @property
    def crops_per_s(self) -> float:
        """The rate of the median batch."""
        return BATCH_SIZE / statistics.median(self.batch_s)

    @property
    def crops_per_core_s(self) -> float:
        """The rate of one core."""
        return BATCH_SIZE / self.core_s


def measured(samples: DatasetSamples, batches: int) -> Throughput:
    """Measure random batches of a split in jittered crops, as in training; then each stage alone."""
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
    """Return milliseconds of a core by stage; "decode" is the time of opening an image without that of reading it."""
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


def _core_ms(call: Callable[[], Result]) -> tuple[float, Result]:
    start = time.process_time()
    result = call()
    return (time.process_time() - start) * 1000, result


def report(source: str, throughput: Throughput) -> str:
    """Format the measurements of one dataset."""
    of_all = sum(throughput.stage_core_ms.values())
    stages = ", ".join(f"{name} {ms:.2f} ({ms / of_all:.0%})" for name, ms in throughput.stage_core_ms.items())
    return (
        f"{source}, images of {throughput.size}: {throughput.crops_per_s:.0f} crops/s in batches of {BATCH_SIZE} "
        f"({DECODERS} threads), {throughput.crops_per_core_s:.0f} crops in a second of a core\n"
        f"  ms of a core for a crop: {stages}"
    )


def measure(samples: dict[str, DatasetSamples], batches: int) -> None:
    """Log the throughput of every dataset, one after the other, in this process, which has no other work."""
    cv2.setNumThreads(1)
    # PyTorch's waiting threads would count as busy.
    torch.set_num_threads(1)
    for source, part in samples.items():
        print_result("%s", report(source, measured(part, batches)))


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The datasets and the number of batches."""

    data: Annotated[tuple[str, ...], Option(is_positional=True, metavar="SPEC ...")]
    """Datasets to measure, NAME/SPLIT:FOLDER."""
    batches: Count = 40
    """Batches of 32 of each dataset."""
    hand_model: HandModelFile = None


def run(arguments: Arguments) -> int:
    """Measure and log; return 0."""
    template, drawing = hand_model(arguments.hand_model), Drawing(seed=0, whole_truth=False)
    measure({spec: load_dataset(spec, template, None, drawing) for spec in arguments.data}, arguments.batches)
    return 0


if __name__ == "__main__":
    sys.exit(tools.run("data_throughput"))
