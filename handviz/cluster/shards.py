"""``reconstruct --shard K/N --resume``: a fixed part of the input's images, one line of JSON per image, resumable.

A shard has two files in ``OUT/shards``: ``.jsonl`` grows line by line; ``.json`` contains the settings (``header``)
and, once the shard is complete, a summary (``done``). Processes share nothing else and need no server.
"""

import contextlib
import hashlib
import heapq
import itertools
import json
import logging
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from handviz import __version__
from handviz.core.errors import ErrorCode, HandvizError, write_error_code
from handviz.core.files import not_writable, open_atomic, write_files
from handviz.core.json_files import json_parser, read_json
from handviz.core.network_files import sha256_of
from handviz.core.onnx_runtime import limit_threads
from handviz.core.paths import TEXTURE_NAME
from handviz.detection.detectors import files_of
from handviz.hand_models.choice import hand_model_for
from handviz.io.hands_json import unreadable_entry
from handviz.io.journal import Entry, Journal, Line
from handviz.models.registry import model_spec, shipped_models
from handviz.pipeline.image_request import ImageReconstructor, ImageRequest, ListedImage, OutputError, listed_images
from handviz.sources.file_kinds import IMAGE_SUFFIXES, left_out

SHARDS_FOLDER, REPORT_NAME, FORMAT = "shards", "hands.json", 2
FILES_OF_OLD_RUNS = ("listing.jsonl", "shards.txt")
SHARD_NAME = re.compile(r"shard-\d{6}-of-(\d{6})\.json")
MAX_SHARDS = 1_000_000
"""Shard numbers have six digits in file names."""
MAX_KILLS = 2
"""An image at which so many processes were killed is skipped, because it may be the cause."""
KILLED = f"{MAX_KILLS} processes were killed at this image; it is skipped"
ENTRIES_AT_ONCE = 64
"""Entries that joining has in memory."""
MAX_NAMED_ERRORS = 20
"""Errors of images per shard that messages name; its file contains all."""
logger = logging.getLogger(__name__)


class OtherRunError(HandvizError):
    """The output folder contains results of other options, models or images."""


class Shard(NamedTuple):
    """Part ``number`` (from 1) of ``of`` parts."""

    number: int
    of: int

    def bounds(self, images: int) -> tuple[int, int]:
        """Return the indices of the first image and of the one after the last."""
        return images * (self.number - 1) // self.of, images * self.number // self.of

    def path(self, out: Path) -> Path:
        """Return the file of the entries; header and progress marker have other suffixes."""
        return out / SHARDS_FOLDER / f"shard-{self.number:06d}-of-{self.of:06d}.jsonl"


@dataclass(frozen=True)
class ShardedRun:
    """Images, options and output of a run; it is pickled to other machines, where all paths must be the same."""

    source: Path
    """A folder, an image, or a .txt file with the path of an image on every line."""
    out: Path
    request: ImageRequest
    recursive: bool = False
    """Include the images in folders below."""
    overlays: bool = False
    threads: int | None = None
    """Threads of the networks; None: the default."""

    def images(self) -> Iterator[ListedImage]:
        """Yield the images, always in the same order."""
        return listed_images(self.source, recursive=self.recursive, leave_out=self.out)

    def path_of(self, file: str) -> Path:
        """Return the path of an image that the list names ``file``."""
        return (self.source if self.source.is_dir() else self.source.parent) / file


@dataclass(frozen=True)
class ShardResult:
    """The outcome of a shard."""

    shard: Shard
    images: int = 0
    hands: int = 0
    unreadable: int = 0
    sha256: str = ""
    """Checksum of the file of entries."""
    errors: tuple[str, ...] = ()
    """The first errors of unreadable images."""
    failure: str = ""
    """Why the shard is not complete."""
    is_fatal: bool = False
    """Whether other shards would fail for the same reason."""


@dataclass(frozen=True)
class Done:
    """The summary of a complete shard, as in its file."""

    images: int
    hands: int
    unreadable: int
    errors: tuple[str, ...]
    sha256: str

    def of(self, shard: Shard) -> ShardResult:
        """Return the outcome of the shard."""
        return ShardResult(shard, self.images, self.hands, self.unreadable, self.sha256, self.errors)


@dataclass(frozen=True)
class Record:
    """The file of a shard."""

    header: dict[str, Any]
    done: Done | None


def image_reconstructor(run: ShardedRun) -> ImageReconstructor:
    """Load the networks of a run."""
    if run.threads:
        limit_threads(run.threads)
    return ImageReconstructor(run.request, run.out, overlays=run.overlays)


MakerFactory = Callable[[ShardedRun], ImageReconstructor]


# The header: everything that determines the results, stored beside every shard and compared on resuming and joining.


def header_of(run: ShardedRun) -> dict[str, Any]:
    """Return version, options, models and images of a run; HandvizError if images or models are missing."""
    if any((run.out / name).exists() for name in FILES_OF_OLD_RUNS):
        raise OtherRunError(
            f"{run.out} contains a run of an earlier version of handviz: choose another --out",
            ErrorCode.VERSION_MISMATCH,
        )
    if run.recursive and os.path.realpath(run.out) == os.path.realpath(run.source):
        raise HandvizError(
            f"{run.out}: --out cannot be the folder of the images itself; choose a folder below it",
            ErrorCode.OPTION_CONFLICT,
        )
    for path in _models_of(run.request):
        if not path.is_file():
            raise HandvizError(f"{path} is missing: give its folder by --model-dir", ErrorCode.FILE_UNREADABLE)
    header = header_for(run.request, (image.file for image in run.images()))
    if not header["images"]:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise HandvizError(f"{run.source}: no images (looked for {suffixes})", ErrorCode.EMPTY_INPUT)
    return header


def header_for(request: ImageRequest, files: Iterable[str], **more: object) -> dict[str, Any]:
    """Return version, options, models and images of any run; ``more`` are options that the request lacks."""
    digest, count = hashlib.sha256(), 0
    sums = {path.name: sha256_of(path) for path in _models_of(request) if path.is_file()}
    for file in files:
        digest.update(json.dumps(file).encode("ascii") + b"\n")
        count += 1
    options = more | {name: value for name, value in asdict(request).items() if name not in ("model_dir", "hand_model")}
    if not request.compare_with:
        del options["compare_with"]  # headers of earlier versions lack it
    if request.detector == "mediapipe":
        del options["detector"]  # likewise: they had no other
    return {
        "format": FORMAT,
        "handviz": __version__,
        "options": json.loads(json.dumps(options, default=str)),
        "hand_model": hand_model_for(request.hand_model, request.model_dir).fingerprint,
        "sha256": sums,
        "images": count,
        "images_sha256": digest.hexdigest(),
    }


def _models_of(request: ImageRequest) -> list[Path]:
    specs = [model_spec(model) for model in request.compared or (request.model,)]
    files = [(spec.file_in(request.model_dir), spec in shipped_models()) for spec in specs]
    # Where another package keeps its files is its own business: they count if they lie beside those of handviz.
    models = [*files_of(request.detector), *(path for path, is_own in files if is_own or path.is_file())]
    return models + ([request.model_dir / TEXTURE_NAME] if request.colour == "texture" else [])


def require_same(out: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    """Raise OtherRunError with the first difference, if there is one."""
    differences = _differences(there, here)
    if differences:
        raise OtherRunError(
            f"{out} contains another run: {differences[0]}; use the same or choose another --out",
            ErrorCode.FOLDER_TAKEN,
        )


def _differences(there: dict[str, Any], here: dict[str, Any], prefix: str = "") -> list[str]:
    differences = []
    for name in sorted(there.keys() | here.keys()):
        old, new = there.get(name), here.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            differences += _differences(old, new, f"{prefix}{name}: ")
        elif old != new:
            differences.append(f"{prefix}{name} is {old} there and {new} here")
    return differences


# One shard.


def run_shard(
    run: ShardedRun,
    shard: Shard,
    header: dict[str, Any],
    *,
    resume: bool = True,
    make: MakerFactory = image_reconstructor,
    progress: Callable[[int], None] = lambda _: None,
) -> ShardResult:
    """Reconstruct the missing images of a shard, or all of them without ``resume``.

    ``progress`` gets the number of images found complete, then 1 for each. Raises HandvizError if the shard
    cannot be written, OtherRunError if the folder contains another run.
    """
    record = _record(run.out, shard) if resume else None
    if record:
        require_same(run.out, record.header, header)
    if record and record.done:
        progress(record.done.images)
        return record.done.of(shard)
    try:
        _write_record(run.out, shard, Record(header, None))
        _write_entries(run, shard, header, make, progress, resume=record is not None)
        done = _summary(run.out, shard)
    except OSError as error:
        raise HandvizError(
            f"shard {shard.number} cannot be written to {run.out}: {error}", write_error_code(error)
        ) from error
    first, last = shard.bounds(header["images"])
    if done.images != last - first:
        raise HandvizError(
            f"{run.source}: the images changed meanwhile; choose another --out", ErrorCode.FILES_DISAGREE
        )
    _write_record(run.out, shard, Record(header, done))
    return done.of(shard)


def attempt_shard(run: ShardedRun, shard: Shard, expected: dict[str, Any], make: MakerFactory) -> ShardResult:
    """Resume a shard of ``handviz cluster`` with the header ``expected``; errors are in the result."""
    try:
        header = header_of(run)
        require_same(run.out, expected, header)
        return run_shard(run, shard, header, make=make)
    except HandvizError as error:
        failure = f"{socket.gethostname()}: {error}"
        return ShardResult(shard, failure=failure, is_fatal=isinstance(error, OtherRunError))


def _write_entries(
    run: ShardedRun,
    shard: Shard,
    header: dict[str, Any],
    make: MakerFactory,
    progress: Callable[[int], None],
    *,
    resume: bool,
) -> None:
    path, (first, last) = shard.path(run.out), shard.bounds(header["images"])
    marker = path.with_suffix(".in_progress")
    there = islice(run.images(), first, last if resume else first)
    killed_at, kills = _marked(marker) if resume else (0, 0)
    with contextlib.ExitStack() as resources:
        journal = resources.enter_context(contextlib.closing(Journal(path, (image.file for image in there))))
        kept = journal.kept
        progress(kept)
        # Only if the process itself is killed the marker stays.
        resources.callback(marker.unlink, missing_ok=True)
        mark = resources.enter_context(marker.open("r+b" if marker.exists() else "wb", buffering=0))
        maker: ImageReconstructor | None = None
        for position, image in enumerate(islice(run.images(), first + kept, last), kept):
            kills = kills if position == killed_at else 0
            if kills >= MAX_KILLS:
                entry = unreadable_entry(image.file, f"{image.file}: {KILLED}")
            else:
                maker = maker or resources.enter_context(contextlib.closing(make(run)))
                mark.seek(0)
                mark.write(b"%09d %d" % (position, kills + 1))
                entry = entry_or_error(maker, run, image)
            journal.append(entry)
            progress(1)


def entry_or_error(maker: ImageReconstructor, run: ShardedRun, image: ListedImage) -> Entry:
    """Return the entry of an image, or one with its error; OutputError if files cannot be written."""
    path = run.path_of(image.file)
    try:
        entry = maker.entry(path, image.file, image.stem)
        json.dumps(entry, allow_nan=False)
        return entry
    except OutputError:
        raise
    except HandvizError as error:
        return unreadable_entry(image.file, str(error))
    # The outermost loop: one image of a million that fails must not end the shard.
    except Exception as error:
        logger.exception("%s failed", path)
        return unreadable_entry(image.file, f"{path}: it could not be reconstructed ({error})")


def _marked(marker: Path) -> tuple[int, int]:
    """Return the image at which processes were killed, and their number."""
    try:
        position, kills = marker.read_text(encoding="ascii").split()
        return int(position), int(kills)
    except (OSError, ValueError):
        return 0, 0


# Headers and summaries.


def _write_record(out: Path, shard: Shard, record: Record) -> None:
    path = shard.path(out).with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_files({path: (json.dumps(asdict(record), indent=1) + "\n").encode("ascii")})


def _record(out: Path, shard: Shard) -> Record | None:
    """Return header and summary of a shard; None if it was not started, HandvizError if they are damaged."""
    try:
        return read_json(shard.path(out).with_suffix(".json"), Record, "delete it to make the shard again")
    except HandvizError as error:
        if error.code == ErrorCode.FILE_MISSING:
            return None
        raise


def shard_count(out: Path) -> int | None:
    """Return the number of shards that an output folder is divided into, None if it has none yet."""
    names = (SHARD_NAME.fullmatch(path.name) for path in (out / SHARDS_FOLDER).glob("shard-*.json"))
    return next((int(name[1]) for name in names if name), None)


def _summary(out: Path, shard: Shard) -> Done:
    images = hands = unreadable = 0
    errors: list[str] = []
    parse = json_parser(Line)
    with shard.path(out).open("rb") as file:
        for line in file:
            entry = parse(line)
            images, hands, unreadable = images + 1, hands + len(entry.hands), unreadable + (entry.error is not None)
            errors += [entry.error] if entry.error is not None and len(errors) < MAX_NAMED_ERRORS else []
    return Done(images, hands, unreadable, tuple(errors), sha256_of(shard.path(out)))


def complete_shards(run: ShardedRun, of: int, header: dict[str, Any]) -> list[ShardResult]:
    """Return the complete shards of a run; OtherRunError if any shard belongs to another run."""
    there, results = shard_count(run.out), []
    if there not in (None, of):
        raise OtherRunError(
            f"{run.out} contains {there} shards, not {of}: use that number or choose another --out",
            ErrorCode.FOLDER_TAKEN,
        )
    for number in range(1, of + 1):
        shard = Shard(number, of)
        record = _record(run.out, shard)
        require_same(run.out, record.header if record else header, header)
        results += [record.done.of(shard)] if record and record.done else []
    return results


# A run without shards, which has the files of a single one until it is complete.


def open_run_journal(out: Path, header: dict[str, Any], files: Iterable[str], *, resume: bool) -> Journal:
    """Return the journal of a run of ``reconstruct``: with ``resume`` that of the interrupted run, else a new one.

    Raises OtherRunError if the folder contains shards, or with ``resume`` results of other options, models or images.
    """
    there, shard = shard_count(out), Shard(1, 1)
    if there not in (None, 1):
        raise OtherRunError(
            f"{out} contains {there} shards: finish them by 'handviz cluster', or choose another --out",
            ErrorCode.FOLDER_TAKEN,
        )
    record = _record(out, shard) if resume else None
    if record:
        require_same(out, record.header, header)
    try:
        _write_record(out, shard, Record(header, None))
        return Journal(shard.path(out), files if record else ())
    except OSError as error:
        raise not_writable(shard.path(out), error) from error


def remove_run_journal(out: Path) -> None:
    """Remove the journal of a run whose list is written, and its folder."""
    path = Shard(1, 1).path(out)
    with contextlib.suppress(OSError):
        path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        path.with_suffix(".in_progress").unlink(missing_ok=True)
        path.parent.rmdir()


# All shards together.


def entries_of(out: Path, result: ShardResult) -> Iterator[Entry]:
    """Yield the entries of a complete shard; HandvizError at the end if their checksum differs."""
    path, digest = result.shard.path(out), hashlib.sha256()
    try:
        with path.open("rb") as file:
            for line in file:
                digest.update(line)
                yield json.loads(line)
    except (OSError, ValueError, RecursionError) as error:
        raise HandvizError(f"{path} cannot be read ({error})", ErrorCode.FILE_UNREADABLE) from error
    if digest.hexdigest() != result.sha256:
        header = path.with_suffix(".json").name
        raise HandvizError(f"{path} was changed: delete {header} to make the shard again", ErrorCode.CHECKSUM)


def left_out_entries(folder: Path, *, recursive: bool = False) -> list[Entry]:
    """Return entries with the reason for a folder's files that are not read as images; none for anything else."""
    found = left_out(folder, recursive=recursive)
    return [unreadable_entry(name, f"{folder / name}: {reason}") for name, reason in found]


def _file_of(entry: Entry) -> str:
    return str(entry["file"])


def join(run: ShardedRun, of: int, complete: list[ShardResult]) -> Path:
    """Write one ``hands.json`` of all shards, image by image: the same bytes as from a single process."""
    if len(complete) < of:
        raise HandvizError(
            f"{of - len(complete)} of {of} shards are not complete: run the command again", ErrorCode.NO_RESULT
        )
    path = run.out / REPORT_NAME
    done = itertools.chain.from_iterable(entries_of(run.out, result) for result in complete)
    entries = heapq.merge(done, left_out_entries(run.source, recursive=run.recursive), key=_file_of)
    with open_atomic(path) as file:
        before = b"["
        # Not one by one: each call of json.dumps with an indent leaves a cycle of references to the garbage collector.
        while batch := list(islice(entries, ENTRIES_AT_ONCE)):
            file.write(before + json.dumps(batch, indent=1)[1:-2].encode("ascii"))
            before = b","
        file.write(b"\n]\n")
    return path


def differing(
    run: ShardedRun, complete: list[ShardResult], count: int, make: MakerFactory = image_reconstructor
) -> list[str]:
    """Reconstruct ``count`` random images of complete shards again; returns those whose entries differ."""
    random, filled = np.random.default_rng(0), [result for result in complete if result.images]
    different = []
    with contextlib.closing(make(replace(run, request=replace(run.request, mesh="none"), overlays=False))) as maker:
        for index in random.integers(len(filled), size=count) if filled else []:
            position = random.integers(filled[index].images)
            # Reads to the end, where the checksum is compared.
            (entry,) = [e for at, e in enumerate(entries_of(run.out, filled[index])) if at == position]
            if KILLED in entry.get("error", ""):
                continue
            again = entry_or_error(maker, run, ListedImage(entry["file"], ""))
            if _comparable(again) != _comparable(entry):
                different.append(str(entry["file"]))
    return different


def _comparable(entry: Entry) -> Entry:
    """Return the entry without meshes, which are not made again, and error texts, which contain paths."""
    return {**entry, "error": "error" in entry, "hands": [{**hand, "mesh": None} for hand in entry["hands"]]}
