"""When each frame of an MP4 or MOV file is shown, from its sample table (ISO/IEC 14496-12): no frame is decoded."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

LARGEST_INDEX_BYTES = 256 << 20
LONGEST_CLIP_FRAMES = 10_000_000
CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts")


def frame_times_ms(path: Path) -> list[float]:
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
            return file.read(body) if body <= LARGEST_INDEX_BYTES else b""
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
    if not ticks_per_s or not 0 < sum(count for count, _ in durations) <= LONGEST_CLIP_FRAMES:
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
    if len(runs) != entries or sum(count for count, _ in runs) > LONGEST_CLIP_FRAMES:
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
