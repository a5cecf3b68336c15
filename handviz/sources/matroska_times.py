"""When each frame of a Matroska or WebM file is shown, from the heads of its blocks (RFC 9559): no frame is decoded."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

SEGMENT, INFO, SCALE = 0x18538067, 0x1549A966, 0x2AD7B1
TRACKS, TRACK, TRACK_NUMBER, TRACK_TYPE, VIDEO = 0x1654AE6B, 0xAE, 0xD7, 0x83, 1
CLUSTER, CLUSTER_TIME, SIMPLE_BLOCK, BLOCK_GROUP, BLOCK = 0x1F43B675, 0xE7, 0xA3, 0xA0, 0xA1
OPENED = frozenset((SEGMENT, INFO, TRACKS, TRACK, CLUSTER, BLOCK_GROUP))
READ = frozenset((SCALE, TRACK_NUMBER, TRACK_TYPE, CLUSTER_TIME))
BLOCKS = frozenset((SIMPLE_BLOCK, BLOCK))
LONGEST_HEAD, LACING, INVISIBLE = 12, 0x06, 0x08
NANOSECONDS_PER_MS = 1_000_000


class Element(NamedTuple):
    """Kind, and the first bytes of the body where they matter here."""

    kind: int
    body: bytes


def frame_times_ms(path: Path) -> list[float]:
    """Times of the video track's frames in the order in which they are shown, from 0; empty if they cannot be had."""
    try:
        with path.open("rb") as file:
            ticks, scale = _ticks(_elements(file))
    except (OSError, struct.error, ValueError):
        return []
    return [(tick - ticks[0]) * scale / NANOSECONDS_PER_MS for tick in ticks]


def _ticks(elements: Iterator[Element]) -> tuple[list[int], int]:
    """Sorted times, and how many nanoseconds a tick has."""
    scale, cluster, track, video = NANOSECONDS_PER_MS, 0, 0, -1
    ticks = []
    for kind, body in elements:
        if kind in BLOCKS:
            number, length = _number(body, 0)
            shift, flags = struct.unpack_from(">hB", body, length)
            if number == video and flags & LACING:
                raise ValueError("several frames in one block")
            if number == video and not (kind == SIMPLE_BLOCK and flags & INVISIBLE):
                ticks.append(cluster + shift)
            continue
        value = int.from_bytes(body)
        if kind == SCALE:
            scale = value
        elif kind == CLUSTER_TIME:
            cluster = value
        elif kind == TRACK_NUMBER:
            track = value
        elif kind == TRACK_TYPE and value == VIDEO and video < 0:
            video = track
    return sorted(ticks), scale


def _elements(file: BinaryIO) -> Iterator[Element]:
    """What matters, in the order of the file; what holds further elements is gone into, whatever its length says."""
    place = 0
    while len(head := _read_at(file, place, LONGEST_HEAD)) >= 2:
        kind, kind_length = _number(head, 0, keeps_marker=True)
        size, size_length = _number(head, kind_length)
        place += kind_length + size_length
        if kind in OPENED:
            continue
        is_unknown = size == (1 << 7 * size_length) - 1
        if is_unknown:
            raise ValueError("an element without a length that is not known here")
        if kind in READ or kind in BLOCKS:
            yield Element(kind, _read_at(file, place, min(size, LONGEST_HEAD)))
        place += size


def _read_at(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)


def _number(data: bytes, place: int, *, keeps_marker: bool = False) -> tuple[int, int]:
    """A number of variable length and how many bytes it takes."""
    if place >= len(data) or not data[place]:
        raise ValueError("not a number of Matroska")
    length = 9 - data[place].bit_length()
    if place + length > len(data):
        raise ValueError("the file breaks off")
    value = int.from_bytes(data[place : place + length])
    return value if keeps_marker else value & ((1 << 7 * length) - 1), length
