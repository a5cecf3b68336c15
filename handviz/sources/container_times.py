"""Presentation times of a clip's frames from its container, without decoding: MP4, MOV, Matroska and WebM."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

MAX_INDEX_BYTES = 256 << 20
MAX_CLIP_FRAMES = 10_000_000
CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts")
SEGMENT, INFO, SCALE = 0x18538067, 0x1549A966, 0x2AD7B1
TRACKS, TRACK, TRACK_NUMBER, TRACK_TYPE, VIDEO = 0x1654AE6B, 0xAE, 0xD7, 0x83, 1
CLUSTER, CLUSTER_TIME, SIMPLE_BLOCK, BLOCK_GROUP, BLOCK = 0x1F43B675, 0xE7, 0xA3, 0xA0, 0xA1
OPENED = frozenset((SEGMENT, INFO, TRACKS, TRACK, CLUSTER, BLOCK_GROUP))
READ = frozenset((SCALE, TRACK_NUMBER, TRACK_TYPE, CLUSTER_TIME))
BLOCKS = frozenset((SIMPLE_BLOCK, BLOCK))
MAX_HEADER_BYTES, LACING, INVISIBLE = 12, 0x06, 0x08
NANOSECONDS_PER_MS = 1_000_000


# MP4 and MOV: the sample table (ISO/IEC 14496-12).


def mp4_frame_times_ms(path: Path) -> list[float]:
    """Return the times of the first video track's frames in presentation order, from 0; empty if it has no table.

    Also empty if an edit list cuts frames, because then the table's frames are not those that a player shows.
    """
    try:
        with path.open("rb") as file:
            index = _index(file)
        for track in _children(index, b"trak"):
            # QuickTime has a second, nested "hdlr"; the first is the track's own.
            parts = dict(reversed(list(_flat(track))))
            if parts.get(b"hdlr", b"")[8:12] == b"vide":
                return _times_ms(parts)
    # Also for impossible sizes and endless nesting.
    except (OSError, struct.error, ValueError, OverflowError, RecursionError):
        pass
    return []


def _index(file: BinaryIO) -> bytes:
    """Return the body of the box "moov", empty if there is none."""
    while len(head := file.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        body = size - 8
        if size == 1:
            body = struct.unpack(">Q", file.read(8))[0] - 16
        if body < 0:
            break
        if kind == b"moov":
            return file.read(body) if body <= MAX_INDEX_BYTES else b""
        file.seek(body, 1)
    return b""


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        if size < 8:
            return
        yield kind, data[position + 8 : position + size]
        position += size


def _children(data: bytes, wanted: bytes) -> list[bytes]:
    return [body for kind, body in _boxes(data) if kind == wanted]


def _flat(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield all boxes of a track that contain no further boxes."""
    for kind, body in _boxes(data):
        if kind in CONTAINERS:
            yield from _flat(body)
        else:
            yield kind, body


def _times_ms(parts: dict[bytes, bytes]) -> list[float]:
    durations = _runs(parts[b"stts"], ">II") if b"stts" in parts else []
    offsets = _runs(parts[b"ctts"], ">Ii") if b"ctts" in parts else []
    header = parts.get(b"mdhd", b"")
    ticks_per_s = struct.unpack_from(">I", header, 20 if header[:1] == b"\x01" else 12)[0]
    if not ticks_per_s or not 0 < sum(count for count, _ in durations) <= MAX_CLIP_FRAMES:
        return []
    shifts = [shift for count, shift in offsets for _ in range(count)]
    ticks: list[int] = []
    decoded_at = 0
    for count, duration in durations:
        for _ in range(count):
            ticks.append(decoded_at + (shifts[len(ticks)] if len(ticks) < len(shifts) else 0))
            decoded_at += duration
    ticks.sort()
    if _first_shown(parts.get(b"elst", b"")) > ticks[0]:
        return []
    return [(tick - ticks[0]) * 1000 / ticks_per_s for tick in ticks]


def _runs(box: bytes, layout: str) -> list[tuple[int, int]]:
    """Return the (count, value) pairs of a table; ValueError if it is truncated or too long."""
    (entries,) = struct.unpack_from(">I", box, 4)
    runs = list(struct.iter_unpack(layout, box[8 : 8 + 8 * entries]))
    if len(runs) != entries or sum(count for count, _ in runs) > MAX_CLIP_FRAMES:
        raise ValueError("the table is truncated")
    return runs


def _first_shown(edits: bytes) -> float:
    """Return the track's first presented tick; infinite if there are several edits."""
    if len(edits) < 8:
        return 0
    (entries,) = struct.unpack_from(">I", edits, 4)
    if entries != 1:
        return float("inf") if entries else 0
    position, layout = (16, ">q") if edits[:1] == b"\x01" else (12, ">i")
    start: int = struct.unpack_from(layout, edits, position)[0]
    return start


# Matroska and WebM: the headers of the blocks (RFC 9559).


class Element(NamedTuple):
    """An element's kind and, where needed, the first bytes of its body."""

    kind: int
    body: bytes


def matroska_frame_times_ms(path: Path) -> list[float]:
    """Return the times of the video track's frames in presentation order, from 0; empty if they cannot be read."""
    try:
        with path.open("rb") as file:
            ticks, scale = _ticks(_elements(file))
    except (OSError, struct.error, ValueError):
        return []
    return [(tick - ticks[0]) * scale / NANOSECONDS_PER_MS for tick in ticks]


def _ticks(elements: Iterator[Element]) -> tuple[list[int], int]:
    """Return the sorted times in ticks, and the nanoseconds per tick."""
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
    """Yield the elements needed here in file order; containers are entered whatever their stated length."""
    position = 0
    while len(head := _read_at(file, position, MAX_HEADER_BYTES)) >= 2:
        kind, kind_length = _number(head, 0, keeps_marker=True)
        size, size_length = _number(head, kind_length)
        position += kind_length + size_length
        if kind in OPENED:
            continue
        is_unknown = size == (1 << 7 * size_length) - 1
        if is_unknown:
            raise ValueError("an unknown element without a length")
        if kind in READ or kind in BLOCKS:
            yield Element(kind, _read_at(file, position, min(size, MAX_HEADER_BYTES)))
        position += size


def _read_at(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)


def _number(data: bytes, position: int, *, keeps_marker: bool = False) -> tuple[int, int]:
    """Return a number of variable length and its count of bytes."""
    if position >= len(data) or not data[position]:
        raise ValueError("not a Matroska number")
    length = 9 - data[position].bit_length()
    if position + length > len(data):
        raise ValueError("the file is truncated")
    value = int.from_bytes(data[position : position + length])
    return value if keeps_marker else value & ((1 << 7 * length) - 1), length
