"""From a frame that PyAV decoded to an image: progressive, with square pixels, upright, RGB."""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

DEINTERLACER = ("bwdif", "mode=send_frame:deint=interlaced")
"""One frame out for every frame in; those that are not interlaced stay as they are."""
MAX_ASPECT = 16.0
DisplayMatrix = tuple[int, int, int, int]


def square_size(stream: av.VideoStream) -> tuple[int, int]:
    """Return (width, height) with square pixels: the pixels' shorter side is enlarged."""
    aspect = min(max(float(stream.sample_aspect_ratio or 1), 1 / MAX_ASPECT), MAX_ASPECT)
    return round(stream.width * max(aspect, 1)), round(stream.height / min(aspect, 1))


def progressive(frames: Iterator[av.VideoFrame], tick_s: Fraction) -> Iterator[av.VideoFrame]:
    """Yield as many frames, deinterlaced from the first interlaced one on; ``tick_s`` is the unit of their times."""
    graph: Graph | None = None
    for frame in frames:
        if graph is None and frame.interlaced_frame:
            graph = Graph()
            source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=tick_s)
            graph.link_nodes(source, graph.add(*DEINTERLACER), graph.add("buffersink")).configure()
        yield from (frame,) if graph is None else _filtered(graph, frame, tick_s)
    if graph is not None:
        yield from _filtered(graph, None, tick_s)


def _filtered(graph: Graph, frame: av.VideoFrame | None, tick_s: Fraction) -> Iterator[av.VideoFrame]:
    graph.vpush(frame)
    with suppress(BlockingIOError, EOFError):
        while True:
            filtered = graph.vpull()
            if filtered.pts is not None:
                filtered.pts = round(filtered.pts * (filtered.time_base or tick_s) / tick_s)
            yield filtered


def rgb_of(
    frame: av.VideoFrame, size: tuple[int, int], matrix: DisplayMatrix, scaler: VideoReformatter
) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB, scaled to ``size`` (width, height) and then turned upright."""
    # More threads to convert cost more than they save.
    scaled = scaler.reformat(frame, *size, format="rgb24", interpolation="BICUBIC", threads=1)
    return upright(np.asarray(scaled.to_ndarray(), np.uint8), matrix)


def display_matrix(frame: av.VideoFrame) -> DisplayMatrix:
    """Return how the frames of this video are to be turned and mirrored."""
    try:
        side_data: Any = frame.side_data
        a, b, _, c, d = np.frombuffer(side_data[Type.DISPLAYMATRIX], np.int32)[:5].tolist()
    except (KeyError, ValueError):  # none, or side data of a kind that PyAV does not know
        return 1, 0, 0, 1
    return a, b, c, d


def upright(image: NDArray[np.uint8], matrix: DisplayMatrix) -> NDArray[np.uint8]:
    """Turn and mirror an image (H, W, 3) by quarters as its display matrix (a, b, c, d) says.

    A point (x, y) is shown at (a x + c y, b x + d y).
    """
    a, b, c, d = matrix
    if abs(b) > abs(a):
        image, a, d = image.swapaxes(0, 1), c, b
    return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
