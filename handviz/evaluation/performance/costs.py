"""Measures the cost of recording and streaming, for ``handviz benchmark``."""

import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FrameResult
from handviz.io.recording.recording import Recording
from handviz.io.recording.timed_results import ViewImage, timed_result_of
from handviz.io.recording.udp import Datagrams
from handviz.io.recording.video import RATE_HZ


def output_costs_ms(shown: Iterable[tuple[FrameResult, NDArray[np.uint8]]]) -> dict[str, list[float]]:
    """Measure milliseconds per result with its view (H, W, 3); all but ``hand over`` run beside the live program."""
    costs: dict[str, list[float]] = {"hand over": [], "record": [], "record video": [], "stream OSC": []}
    datagrams = Datagrams("OSC")

    with tempfile.TemporaryDirectory() as folder:
        recording = Recording(Path(folder) / "costs", reserve_bytes=0)
        for number, (result, view) in enumerate(shown):
            at_s = number / RATE_HZ
            image = _as_painted(view)
            timed_result = timed_result_of(result, "benchmark")
            costs["hand over"].append(_milliseconds(timed_result_of, result, "benchmark"))
            costs["record"].append(_milliseconds(recording.add_result, timed_result, at_s))
            costs["record video"].append(_milliseconds(recording.add_image, image, at_s))
            costs["stream OSC"].append(_milliseconds(datagrams.of, timed_result))
        recording.close()
    return costs


def _as_painted(view: NDArray[np.uint8]) -> ViewImage:
    height, width = view.shape[:2]
    opaque = np.full((height, width, 1), 255, np.uint8)
    return ViewImage(np.concatenate([view, opaque], axis=2)[::-1].tobytes(), (width, height))


def _milliseconds(call: Callable[..., object], *values: object) -> float:
    start = time.perf_counter()
    call(*values)
    return (time.perf_counter() - start) * 1000
