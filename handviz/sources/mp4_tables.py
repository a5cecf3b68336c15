"""A check of MP4 and MOV files before FFmpeg opens them: tables may state far more frames than the file can hold.

A few bytes there make FFmpeg fill gigabytes with frames of the same size. Only the counts are read here.
"""

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from handviz.core.errors import ErrorCode, HandvizError

HEADERS, VIDEO, TRACK = (b"moov", b"moof"), b"vide", b"trak"
FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot", b"uuid", b"moof", b"sidx")
MAX_BOXES, MAX_HEADER_BYTES = 100_000, 2**26
SAMPLE_SIZES = re.compile(rb"stsz.{4}(.{4})(.{4})", re.DOTALL)
"""Size of every sample, 0 if there is a table of them, and their number."""
FRAGMENT_RUN = re.compile(rb"trun.(.{3})(.{4})", re.DOTALL)
"""Flags, and number of samples."""
PER_SAMPLE_FLAGS = 0xF00
"""Flags of fragments that list something for every sample, so that the file's end ends the list."""


def check_tables(path: Path) -> None:
    """Raise HandvizError if a table states more frames, listed nowhere, than the file has bytes."""
    try:
        with path.open("rb") as file:
            file_bytes = os.fstat(file.fileno()).st_size
            if any(count > file_bytes for header in _headers(file) for count in _unlisted_counts(header)):
                raise HandvizError(
                    f"{path} is damaged: it states more frames than it can hold: convert it, or choose another",
                    ErrorCode.FILE_DAMAGED,
                )
    except OSError:
        return  # opening it for reading tells why


def _headers(file: BinaryIO) -> Iterator[bytes]:
    """Yield the content of every box that describes frames; none of files of another kind."""
    at = 0
    for number in range(MAX_BOXES):
        file.seek(at)
        start = file.read(16)
        if len(start) < 8 or (number == 0 and start[4:8] not in FIRST_BOXES):
            return
        size = int.from_bytes(start[:4], "big")
        if size == 1:
            size = int.from_bytes(start[8:], "big")
        if start[4:8] in HEADERS:
            yield start[8:] + file.read(min(size or MAX_HEADER_BYTES, MAX_HEADER_BYTES))
        if size < 8:
            return  # it reaches to the end of the file, or is damaged
        at += size


def _unlisted_counts(header: bytes) -> Iterator[int]:
    """Yield numbers of samples of which nothing is listed one by one: of video, and of every fragment."""
    for track in header.split(TRACK):
        # Those of sound are bytes or less each, and may well be more than a truncated file has.
        for size, count in SAMPLE_SIZES.findall(track) if VIDEO in track else ():
            if any(size):
                yield struct.unpack(">I", count)[0]
    for flags, count in FRAGMENT_RUN.findall(header):
        if not int.from_bytes(flags, "big") & PER_SAMPLE_FLAGS:
            yield struct.unpack(">I", count)[0]
