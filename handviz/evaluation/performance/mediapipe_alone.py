"""Measures MediaPipe's own hand landmarker, with which the program is compared."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import numpy as np

from handviz.core.records import Frame
from handviz.evaluation.performance.measures import AloneMeasures
from handviz.sources.source import Source

WARM_UP_FRAMES = 10
BLOCK_FRAMES = 30
"""Frames that one setting gets before the next one has its turn, so that both meet the same disturbances."""


def mediapipe_alone(
    text: str,
    open_source: Callable[[str], Source],
    max_hands: Sequence[int],
    frames: int,
    progress: Callable[[], object] = lambda: None,
) -> list[AloneMeasures]:
    """Measure MediaPipe on the frames of a source that is opened by its text, at each number of hands in turns."""
    # Imports MediaPipe: not before it is measured.
    from handviz.detection.landmarker import HandLandmarker

    with ExitStack() as resources:
        runs = []
        for count in max_hands:
            source = open_source(text)
            resources.callback(source.close)
            landmarker = resources.enter_context(HandLandmarker(max_hands=count))
            runs.append(_Run(landmarker.detect, endless(source)))
        for block in range(-(-frames // BLOCK_FRAMES)):
            for run in runs:
                run.measure(min(BLOCK_FRAMES, frames - block * BLOCK_FRAMES))
            progress()
    return [run.result(text, count) for run, count in zip(runs, max_hands, strict=True)]


def endless(source: Source) -> Iterator[Frame]:
    """Yield the source's frames, again and again; nothing if it has none."""
    for number in itertools.count():
        frame = source.read()
        if frame is None and number == 0:
            return
        if frame is None:
            source.seek(0)
        else:
            yield frame


class _Run:
    """One setting of MediaPipe on its own frames."""

    def __init__(self, detect: Callable[[Frame], Sequence[object]], frames: Iterator[Frame]) -> None:
        self._detect, self._frames = detect, frames
        self._wall_ms: list[float] = []
        self._processor_s, self._hands = 0.0, 0
        for frame in itertools.islice(frames, WARM_UP_FRAMES):
            detect(frame)

    def measure(self, count: int) -> None:
        """Measure it on the next frames, at most so many."""
        for frame in list(itertools.islice(self._frames, count)):
            processor_s, start_s = time.process_time(), time.perf_counter()
            self._hands += len(self._detect(frame))
            self._wall_ms.append((time.perf_counter() - start_s) * 1000)
            self._processor_s += time.process_time() - processor_s

    def result(self, text: str, max_hands: int) -> AloneMeasures:
        """Return what was measured so far."""
        count = max(len(self._wall_ms), 1)
        per_frame_ms = self._processor_s * 1000 / count
        return AloneMeasures(text, max_hands, np.array(self._wall_ms), per_frame_ms, self._hands / count)
