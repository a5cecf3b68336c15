"""Which pictures there are, in an order that never changes, and where each shard of them begins.

Names go straight to a file: no process ever holds more of them than one directory has.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from handviz.core.errors import HandvizError
from handviz.core.files import writing_whole
from handviz.sources.images import IMAGE_SUFFIXES

LISTING_NAME, SHARDS_NAME = "listing.jsonl", "shards.txt"
SHARD_LINE = "{offset:016d} {count:010d}\n"
SHARD_LINE_BYTES = len(SHARD_LINE.format(offset=0, count=0))


@dataclass(frozen=True)
class Listed:
    """What a listing holds."""

    pictures: int
    shards: int
    remarks: tuple[str, ...] = ()
    """A sentence on every folder that could not be read."""


def pictures_under(folder: Path, *, leave_out: Path, remarks: list[str]) -> Iterator[str]:
    """Paths of all pictures below a folder, relative to it and with "/", in the order of their characters.

    That is the order of ``hands.json``. Hidden files and folders and ``leave_out`` are passed, links to folders are not
    followed (they may lead in circles); a folder that cannot be read adds a sentence to ``remarks``.
    """
    yield from _pictures_in(folder, "", os.path.realpath(leave_out), remarks)


def pictures_of_manifest(manifest: Path) -> Iterator[str]:
    """The lines of a text file, each a picture's path relative to the file's folder, in their order."""
    try:
        with manifest.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
            for line in lines:
                name = line.rstrip("\r\n")
                if name:
                    yield name
    except OSError as error:
        raise HandvizError(f"{manifest} cannot be read: {error.strerror}") from error


def write_listing(out: Path, pictures: Iterable[str], shard_size: int, remarks: list[str]) -> Listed:
    """Write both files into ``out``, whole or not at all; HandvizError if they cannot be written."""
    in_shard, shard_start, offset, shards, total = 0, 0, 0, 0, 0
    with writing_whole(out / LISTING_NAME) as listing, writing_whole(out / SHARDS_NAME) as starts:
        for picture in pictures:
            line = json.dumps(picture).encode("ascii") + b"\n"
            listing.write(line)
            offset, in_shard, total = offset + len(line), in_shard + 1, total + 1
            if in_shard == shard_size:
                starts.write(SHARD_LINE.format(offset=shard_start, count=in_shard).encode("ascii"))
                in_shard, shard_start, shards = 0, offset, shards + 1
        if in_shard:
            starts.write(SHARD_LINE.format(offset=shard_start, count=in_shard).encode("ascii"))
            shards += 1
    return Listed(total, shards, tuple(remarks))


def pictures_of_shard(out: Path, number: int) -> list[str]:
    """The pictures of one shard; HandvizError if the listing is gone or damaged."""
    try:
        with (out / SHARDS_NAME).open("rb") as starts:
            starts.seek(number * SHARD_LINE_BYTES)
            offset, count = map(int, starts.read(SHARD_LINE_BYTES).split())
        with (out / LISTING_NAME).open("rb") as listing:
            listing.seek(offset)
            names = [json.loads(listing.readline()) for _ in range(count)]
    except (OSError, ValueError) as error:
        raise HandvizError(f"the listing in {out} is damaged ({error}); begin anew in another folder") from error
    if not all(isinstance(name, str) for name in names):
        raise HandvizError(f"the listing in {out} is damaged; begin anew in another folder")
    return names


def _pictures_in(folder: Path, prefix: str, leave_out: str, remarks: list[str]) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            # A folder's slash takes part in the order, so that whole paths come out sorted.
            names = sorted(
                entry.name + "/" * is_folder
                for entry in entries
                if not entry.name.startswith(".")
                and ((is_folder := entry.is_dir(follow_symlinks=False)) or _is_picture(entry))
            )
    except OSError as error:
        remarks.append(f"{folder} could not be read ({error.strerror}): its pictures are left out.")
        return
    for name in names:
        if not name.endswith("/"):
            yield prefix + name
        elif os.path.realpath(folder / name) != leave_out:
            yield from _pictures_in(folder / name, prefix + name, leave_out, remarks)


def _is_picture(entry: os.DirEntry[str]) -> bool:
    return os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES and entry.is_file()
