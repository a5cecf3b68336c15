"""What ``tools.kills`` kills: each writes something again and again, and prints a number when that is done.

``python -m tools.fuzzing.kill_victims NAME FOLDER``; a process of its own, with the same code that handviz writes by.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

IMAGES, SHARD_SIZE, RENDERED = 400, 2, 400
MAX_SETTINGS, RATE_HZ = 900, 50
VIDEO_SIZE = (64, 48)


def tell(number: int) -> None:
    """Say that this is done: whatever happens from now on, it must be readable."""
    os.write(1, f"{number}\n".encode())


def inspect(folder: Path) -> None:
    """Inspect a folder whose images all have the same hand."""
    from handviz.core.records import Frame, FrameResult
    from handviz.inspection.columns import InspectionRequest, Listing
    from handviz.inspection.inspection import Inspection
    from tests.hands import made_up_detection, textured_hand

    hand, detection = textured_hand(), made_up_detection()

    class Processor:
        def process(self, frame: Frame) -> FrameResult:
            return FrameResult(frame, "final", (detection,), (hand,))

        def close(self) -> None:
            """Close nothing."""

    write_images(folder / "images")
    request = InspectionRequest(folder / "images")
    inspection = Inspection(request, make=lambda _: Processor(), results_folder=folder / "results")
    events = (event for event in inspection.events() if not isinstance(event, Listing))
    for number, _ in enumerate(events):
        tell(number + 1)


def write_images(folder: Path) -> None:
    """Write tiny images."""
    from PIL import Image

    folder.mkdir()
    Image.new("RGB", (8, 8), (90, 90, 90)).save(folder / "0000.png")
    for number in range(1, IMAGES):
        os.link(folder / "0000.png", folder / f"{number:04d}.png")


def record(folder: Path) -> None:
    """Record a hand and a video of images that change, as fast as it goes."""
    from handviz.core.records import Frame, FrameResult
    from handviz.io.recording.recording import Recording
    from handviz.io.recording.timed_results import ViewImage, timed_result_of
    from tests.hands import textured_hand

    made = Recording(folder / "recording", reserve_bytes=0)
    width, height = VIDEO_SIZE
    hand = textured_hand()
    for number in range(100_000):
        frame = Frame(number, np.zeros((48, 64, 3), np.uint8), 1000.0 * number / RATE_HZ)
        made.add_result(timed_result_of(FrameResult(frame, "final", hands=(hand,)), "clip.mp4"), number / RATE_HZ)
        made.add_image(ViewImage(bytes([number % 256]) * (4 * width * height), VIDEO_SIZE), number / RATE_HZ)
        tell(number + 1)


def checkpoint(folder: Path) -> None:
    """Save checkpoints one over the other."""
    from dataclasses import dataclass

    import torch
    from torch import nn

    from handviz.hand_models.open_hand import load_open_hand
    from handviz.training.checkpoint import save_checkpoint

    @dataclass(frozen=True)
    class Config:
        width: int = 64

    model, template = nn.Linear(64, 64), load_open_hand()
    for number in range(1, 100_000):
        with torch.no_grad():
            model.bias.fill_(float(number))
        save_checkpoint(
            folder / "last", model, Config(), {"samples_seen": number}, template, {"step": number}, family="kill"
        )
        tell(number)


def settings(folder: Path) -> None:
    """Save settings one over the other."""
    from handviz.gui.session.settings import SettingsStore, ViewSettings, changed

    store = SettingsStore(folder)
    for number in range(1, MAX_SETTINGS):
        store.save(changed(ViewSettings(), range_high_mm=number / 2))
        tell(number)


def synthesize(folder: Path) -> None:
    """Render hands in shards of two."""
    from handviz.data.synthetic import generator

    generator.SHARD_SIZE = SHARD_SIZE
    done = 0
    for count in generator.render(generator.Plan(folder / "hands", 5, RENDERED), 1):
        done += count
        tell(done)


def shards(folder: Path) -> None:
    """Reconstruct a shard of a folder, with made-up hands: the journal that ``--resume`` continues."""
    from handviz.cluster.shards import Shard, ShardedRun, run_shard
    from handviz.pipeline.image_request import ImageRequest
    from tests.cluster_fakes import MadeUpEntries

    write_images(folder / "images")
    (folder / "out").mkdir()
    run = ShardedRun(folder / "images", folder / "out", ImageRequest())
    done = 0

    def progress(count: int) -> None:
        nonlocal done
        done += count
        if done:
            tell(done)

    run_shard(run, Shard(1, 1), {"images": IMAGES}, make=MadeUpEntries, progress=progress)


VICTIMS: dict[str, Callable[[Path], None]] = {
    victim.__name__: victim for victim in (inspect, record, checkpoint, settings, synthesize, shards)
}

if __name__ == "__main__":
    VICTIMS[sys.argv[1]](Path(sys.argv[2]))
