"""When each frame of a Matroska or WebM file is shown, from the heads of its blocks (RFC 9559): no frame is decoded."""

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
MAX_HEAD, LACING, INVISIBLE = 12, 0x06, 0x08
NANOSECONDS_PER_MS = 1_000_000


# When each frame of an MP4 or MOV file is shown, from its sample table (ISO/IEC 14496-12): no frame is decoded.


def mp4_frame_times_ms(path: Path) -> list[float]:
    """Times of the first video track's frames in the order in which they are shown, from 0; empty if it has no table.

    Also empty where an edit list cuts frames away, for then the table's frames are not those that a player shows.
    """
    try:
        with path.open("rb") as file:
            index = _index(file)
        for track in _children(index, b"trak"):
            # QuickTime has a second "hdlr" further in; the first is the track's own.
            parts = dict(reversed(list(_flat(track))))
            if parts.get(b"hdlr", b"")[8:12] == b"vide":
                return _times_ms(parts)
    # Sizes beyond any file, and boxes in boxes without end: no table either.
    except (OSError, struct.error, ValueError, OverflowError, RecursionError):
        pass
    return []


def _index(file: BinaryIO) -> bytes:
    """The body of the box "moov", empty if there is none."""
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
    place = 0
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        if size < 8:
            return
        yield kind, data[place + 8 : place + size]
        place += size


def _children(data: bytes, wanted: bytes) -> list[bytes]:
    return [body for kind, body in _boxes(data) if kind == wanted]


def _flat(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """All boxes of a track that hold no further boxes."""
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
    """(count, value) pairs of a table with that many entries."""
    (entries,) = struct.unpack_from(">I", box, 4)
    runs = list(struct.iter_unpack(layout, box[8 : 8 + 8 * entries]))
    if len(runs) != entries or sum(count for count, _ in runs) > MAX_CLIP_FRAMES:
        raise ValueError("the table breaks off")
    return runs


def _first_shown(edits: bytes) -> float:
    """Where in the track, in its ticks, showing begins; infinite where there are several edits."""
    if len(edits) < 8:
        return 0
    (entries,) = struct.unpack_from(">I", edits, 4)
    if entries != 1:
        return float("inf") if entries else 0
    place, layout = (16, ">q") if edits[:1] == b"\x01" else (12, ">i")
    start: int = struct.unpack_from(layout, edits, place)[0]
    return start


# When each frame of a Matroska or WebM file is shown, from the heads of its blocks (RFC 9559): no frame is decoded.


class Element(NamedTuple):
    """Kind, and the first bytes of the body where they matter here."""

    kind: int
    body: bytes


def matroska_frame_times_ms(path: Path) -> list[float]:
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
    while len(head := _read_at(file, place, MAX_HEAD)) >= 2:
        kind, kind_length = _number(head, 0, keeps_marker=True)
        size, size_length = _number(head, kind_length)
        place += kind_length + size_length
        if kind in OPENED:
            continue
        is_unknown = size == (1 << 7 * size_length) - 1
        if is_unknown:
            raise ValueError("an element without a length that is not known here")
        if kind in READ or kind in BLOCKS:
            yield Element(kind, _read_at(file, place, min(size, MAX_HEAD)))
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
