"""Tags of TIFF and EXIF, read without what they point to: size and layout of an image, and guards against bombs."""

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION, SAMPLES, ROWS = 256, 257, 258, 262, 274, 277, 278
PLANAR, SAMPLE_FORMAT = 284, 339
PARTS = (273, 279, 324, 325)
"""Places and lengths of strips and tiles."""
SUB_DIRECTORIES = (0x8769, 0x8825, 0xA005)
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value by its type."""
NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
"""How a whole number is written, by its type."""
MAX_DIRECTORIES = 10_000
MAX_TAG_BYTES = 64_000_000
"""Of one directory: tags may all point to the same bytes, and readers copy them for each."""
BIG = (b"+\x00", b"\x00+")
"""Mark of files with addresses of 64 bits."""
EXIF_MARK = b"Exif\x00\x00"


class Tag(NamedTuple):
    """One entry of a directory."""

    number: int
    kind: int
    length: int
    """Of its values."""
    size: int
    """Bytes that it takes outside of the directory."""
    value: int
    """The first value, if that is a whole number."""
    at: int
    """Place of the entry in the file."""
    values_at: int
    """Place of its values."""


def directories(file: BinaryIO) -> Iterator[list[Tag]]:
    """Yield the directories of TIFF or EXIF, each with those inside of it; ends where the file is damaged."""
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    is_big = start[2:4] in BIG
    if order is None or len(start) < 16:
        return
    waiting = [int(struct.unpack_from(f"{order}Q" if is_big else f"{order}I", start, 8 if is_big else 4)[0])]
    seen: set[int] = set()
    while waiting and len(seen) < MAX_DIRECTORIES:
        at = waiting.pop()
        if not at or at in seen:
            continue
        seen.add(at)
        try:
            tags, following = _directory(file, at, order, is_big)
        except (struct.error, OSError, OverflowError):
            continue
        waiting += [following, *(tag.value for tag in tags if tag.number in SUB_DIRECTORIES)]
        yield tags


def _directory(file: BinaryIO, at: int, order: str, is_big: bool) -> tuple[list[Tag], int]:
    """Return the tags of the directory at this place, and the place of the next one."""
    count_form, offset_form, entry_size, inline = ("Q", "Q", 20, 8) if is_big else ("H", "I", 12, 4)
    file.seek(at)
    (count,) = struct.unpack(order + count_form, file.read(struct.calcsize(order + count_form)))
    entries = file.read(min(count, 0xFFFF) * entry_size)
    rest = file.read(struct.calcsize(order + offset_form))
    tags, first_entry = [], at + struct.calcsize(order + count_form)
    for start in range(0, len(entries) - entry_size + 1, entry_size):
        number, kind, values = struct.unpack_from(f"{order}HH{offset_form}", entries, start)
        size, field, form = SIZES.get(kind, 1) * values, start + entry_size - inline, NUMBERS.get(kind)
        value = struct.unpack_from(order + form, entries, field)[0] if form and size <= inline else 0
        values_at, outside = first_entry + field, 0
        if size > inline:
            values_at, outside = struct.unpack_from(order + offset_form, entries, field)[0], size
        if form and outside and number in (BITS, SAMPLE_FORMAT):
            file.seek(values_at)
            value = struct.unpack(order + form, file.read(struct.calcsize(order + form)))[0]
        tags.append(Tag(number, kind, values, outside, int(value), first_entry + start, values_at))
    return tags, int(struct.unpack(order + offset_form, rest)[0]) if rest else 0


def set_values(data: NDArray[np.uint8], tag: Tag, values: bytes, *, kind: int, at: int = 0) -> None:
    """Give a tag in a file's bytes (N,) other values: inside of its entry, or ``at`` the place where they lie."""
    order, is_big = "<" if bytes(data[:2]) == b"II" else ">", bytes(data[2:4]) in BIG
    offset_form, inline = ("Q", 8) if is_big else ("I", 4)
    start = struct.pack(f"{order}HH{offset_form}", tag.number, kind, len(values) // SIZES[kind])
    entry = start + (values.ljust(inline, b"\0") if len(values) <= inline else struct.pack(order + offset_form, at))
    data[tag.at : tag.at + len(entry)] = np.frombuffer(entry, np.uint8)


def are_harmless(file: BinaryIO) -> bool:
    """Return whether the tags of TIFF or EXIF take no more memory than tags of images do."""
    file.seek(0, 2)
    end = file.tell()
    file.seek(0)
    # Readers refuse a value that goes beyond the end of the file before they take memory for it.
    return all(sum(min(tag.size, end) for tag in tags) <= MAX_TAG_BYTES for tags in directories(file))


def jpeg_exif(file: BinaryIO) -> bytes:
    """Return the EXIF data of a JPEG, whose segments are joined as readers do; empty if there is none."""
    found = b""
    file.seek(2)
    while len(head := file.read(4)) == 4 and head[0] == 0xFF:
        marker, length = head[1], int.from_bytes(head[2:], "big")
        if marker == 0xDA or length < 2:
            break
        content = file.read(length - 2)
        if marker == 0xE1 and content.startswith(EXIF_MARK):
            found += content[len(EXIF_MARK) :]
    return found


def exif_is_harmless(exif: bytes) -> bool:
    """Return whether EXIF data, with or without its mark, take no more memory than usual."""
    return are_harmless(BytesIO(exif.removeprefix(EXIF_MARK)))
