"""``handviz reconstruct``: image, folder or clip -> overlays, meshes and hands.json."""

import contextlib
import dataclasses
import itertools
import logging
import os
from collections.abc import Container, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from handviz.api import Model
from handviz.cli.image_arguments import AsRequested, ImageArguments, image_request
from handviz.cli.reconstruct_views import ViewsRun, run_views
from handviz.cluster.shards import (
    MAX_SHARDS,
    REPORT_NAME,
    Shard,
    ShardedRun,
    complete_shards,
    header_for,
    header_of,
    join,
    left_out_entries,
    open_run_journal,
    remove_run_journal,
    run_shard,
)
from handviz.core.arguments import Count, Fraction, Option, Positional
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import make_folder, not_writable
from handviz.core.onnx_runtime import limit_threads
from handviz.core.output import print_result
from handviz.core.paths import MANO_FOLDER, WINDOW_COMMAND
from handviz.core.records import Frame, FrameResult, Intrinsics, SmoothingKind
from handviz.hand_models.choice import found_mano, hand_model
from handviz.hand_models.template import HandTemplate
from handviz.io.hands_json import fitting_stem, output_stems, unreadable_entry, write_report
from handviz.io.hands_npz import NAME as NPZ_NAME
from handviz.io.hands_npz import HandRow, write_covariances
from handviz.io.journal import Journal, read_entries
from handviz.io.mano import ManoRecord, check_mano_path, fit_message, mano_of_hand, write_mano
from handviz.pipeline.image_request import (
    LIST_SUFFIX,
    ImageRequest,
    OutputError,
    outputs_checked,
    overlay_renderer,
    reconstructed,
    write_overlay,
    written_entry,
)
from handviz.pipeline.settings import MAX_HANDS_OF_CLIPS
from handviz.rendering.offscreen import OffscreenRenderer
from handviz.sources.file_kinds import left_out, left_out_message
from handviz.sources.source import ClipSource, FolderSource, Source, open_source, read_frames

COMPANIONS = (".mtl", ".png")
"""Suffixes of the files beside an OBJ with a texture."""
NOT_OF_VIEWS = (
    "shard",
    "resume",
    "recursive",
    "covariance",
    "save_mano",
    "smoothing",
    "intrinsics",
    "field_of_view",
    "focal_px",
)
"""Options that --views does not work with: a rig has cameras of its own, and no tracks."""
PLY_MESH = ImageRequest(mesh="ply")
logger = logging.getLogger(__name__)


def _read_shard(words: Sequence[str]) -> Shard:
    """Return the shard of a text like 3/100; ValueError if there is no such one."""
    number, _, of = words[0].partition("/")
    if number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) < MAX_SHARDS:
        return Shard(int(number), int(of))
    raise ValueError(f"{words[0]} is no part like 3/100")


@dataclass(frozen=True, kw_only=True)
class Arguments(ImageArguments):
    """Input, models and outputs.

    Exit status 0 if at least one image was done, 1 if none was; the rest is named in messages.
    """

    input: Positional[str]
    """Image, folder of images, or clip; with --views a rig."""
    out: Path
    """Folder for overlays, meshes and hands.json."""
    request: Annotated[ImageRequest, AsRequested] = PLY_MESH
    no_overlays: bool = False
    """Only meshes and hands.json; needs no OpenGL."""
    every: Count = 1
    """Of a clip, every N-th frame."""
    smoothing: Fraction = 0.0
    """Of a clip, 0 (off) to 1."""
    smoothing_kind: SmoothingKind = "kalman"
    """Filter that smooths."""
    threads: Count | None = None
    """Of the networks on the processor; without it 4 at most."""
    save_mano: Annotated[Path | None, Option(metavar="FILE")] = None
    """Also every hand as MANO parameters, json or npz."""
    mano: Annotated[Path | None, Option(metavar="FILE")] = None
    """The MANO_RIGHT.pkl to fit, where the network is of another hand."""
    covariance: bool = False
    """Also hands.npz in the output folder, with the covariances of all hands."""
    shard: Annotated[Shard | None, Option(metavar="K/N", read=_read_shard)] = None
    """Only the K-th of N parts of the images; the last one joins them."""
    resume: bool = False
    """Continue an interrupted run; of a clip, tracks and smoothing begin anew there."""
    recursive: bool = False
    """With --shard or --resume: also the images in folders below."""
    views: bool = False
    """The input is a rig of several cameras: RIG.json, or a split of HanCo or DexYCB."""


def run(arguments: Arguments) -> int:
    """Reconstruct all readable images; return 0 if there was one."""
    if arguments.views:
        return run_views(_views_run(arguments))
    for option, is_given in (("--save-mano", bool(arguments.save_mano)), ("--covariance", arguments.covariance)):
        if is_given and (arguments.shard or arguments.resume or arguments.recursive):
            raise HandvizError(
                f"{option} does not work with --shard, --resume and --recursive", ErrorCode.OPTION_CONFLICT
            )
    if arguments.shard or arguments.recursive or (arguments.resume and _is_listed(arguments.input)):
        return _run_shard(arguments)
    with ExitStack() as resources:
        source = open_source(arguments.input)
        resources.callback(source.close)
        if arguments.resume and isinstance(source, FolderSource):
            return _run_shard(arguments)
        if source.is_live:
            raise HandvizError(
                f"reconstruct reads images and clips; for a camera start the window: {WINDOW_COMMAND}",
                ErrorCode.OPTION_CONFLICT,
            )
        if isinstance(source, FolderSource) and source.note:
            logger.warning("%s: %s", source.name, source.note)
        job = Job(arguments, source, resources)
        try:
            with logging_redirect_tqdm():
                job.run()
        finally:
            job.finish()
    return 0 if job.done else 1


def _views_run(arguments: Arguments) -> ViewsRun:
    """Return what is reconstructed of a rig; HandvizError for options that are for single images."""
    request = image_request(arguments)
    given = [name for name in NOT_OF_VIEWS if getattr(arguments, name)]
    given += ["compare"] if request.compared else []
    given += ["colour"] if request.colour == "texture" else []
    if given:
        raise HandvizError(
            f"--{given[0].replace('_', '-')} does not work with --views: leave one of them out",
            ErrorCode.OPTION_CONFLICT,
        )
    request = dataclasses.replace(request, max_hands=arguments.max_hands or MAX_HANDS_OF_CLIPS)
    return ViewsRun(arguments.input, arguments.out, request, arguments.every, arguments.threads)


def _is_listed(text: str) -> bool:
    """Return whether an input is a folder or a list of images, which no source opens."""
    path = Path(text).expanduser()
    return path.is_dir() or path.suffix.lower() == LIST_SUFFIX


def _run_shard(arguments: Arguments) -> int:
    """Reconstruct one shard, or all as a single one; write hands.json if no shard is incomplete."""
    if not (arguments.shard or arguments.resume):
        raise HandvizError("--recursive needs --resume or --shard", ErrorCode.OPTION_CONFLICT)
    source, shard = Path(arguments.input).expanduser(), arguments.shard or Shard(1, 1)
    order, overlays = image_request(arguments), not arguments.no_overlays
    whole = ShardedRun(source, arguments.out, order, arguments.recursive, overlays, arguments.threads)
    header = header_of(whole)
    if unread := left_out_message(left_out(source, recursive=arguments.recursive)):
        logger.warning("%s: %s", source.name, unread)
    complete_shards(whole, shard.of, header)  # raises if the options differ
    first, last = shard.bounds(header["images"])
    try:
        with logging_redirect_tqdm(), tqdm(total=last - first, unit="image") as bar:
            result = run_shard(whole, shard, header, resume=arguments.resume, progress=bar.update)
    except KeyboardInterrupt:
        if arguments.shard is None:
            _write_results(arguments.out, read_entries(shard.path(whole.out)))
        raise
    for error in result.errors:
        logger.error("%s", error)
    message = "%d images with %d hands, %d unreadable: %s"
    print_result(message, result.images, result.hands, result.unreadable, shard.path(whole.out))
    complete = complete_shards(whole, shard.of, header)
    if len(complete) == shard.of:
        print_result("all shards are complete: %s", join(whole, shard.of, complete))
    return int(arguments.shard is None and result.images == result.unreadable)


def _write_results(out: Path, entries: Sequence[dict[str, Any]], left: Sequence[dict[str, Any]] = ()) -> None:
    """Write the list of results, with files that were left out, and print its path."""
    report = out / REPORT_NAME
    write_report(report, sorted([*entries, *left], key=lambda entry: str(entry["file"])))
    of_other_kinds = f", {len(left)} of kinds that are not read" if left else ""
    print_result("%s%s: %s", summary(entries), of_other_kinds, report)


class Job:
    """One run: its outputs, and the results so far."""

    def __init__(self, arguments: Arguments, source: Source, resources: ExitStack) -> None:
        self._arguments, self._source = arguments, source
        self._is_clip = isinstance(source, ClipSource)
        self._order = image_request(arguments)
        if self._is_clip and not arguments.max_hands:
            self._order = dataclasses.replace(self._order, max_hands=MAX_HANDS_OF_CLIPS)
        if arguments.threads:
            limit_threads(arguments.threads)
        model = resources.enter_context(Model(self._order))
        self._pipeline = resources.enter_context(
            model.open_pipeline(
                video=self._is_clip, smoothing=arguments.smoothing, smoothing_kind=arguments.smoothing_kind
            )
        )
        self._renderer = self._new_renderer(resources)
        self._mano = self._mano_model()
        self._mano_records: list[ManoRecord] = []
        self._rows: list[HandRow] = []
        self._make_folders()
        self._stems: dict[str, str] | None = None
        self._journal = self._open_journal()
        self._entries: list[dict[str, Any]] = []
        if self._journal is not None:
            resources.callback(self._journal.close)
            self._entries += self._journal.kept_entries()
        self._is_complete = False

    @property
    def done(self) -> int:
        """The number of images that could be read and reconstructed."""
        return sum("error" not in entry for entry in self._entries)

    def run(self) -> None:
        """Process the source; log unreadable images and skip them."""
        every, total = self._arguments.every, self._source.frame_count
        start = len(self._entries) * every
        if start:
            logger.info("%d images are done already: tracks and smoothing begin anew at %s", start, self._file(start))
            if total is None or start < total:
                self._source.seek(start)
            else:
                self._is_complete = True
                return
        frames = read_frames(self._source, every, start)
        for number, item in tqdm(frames, total=total and -(-(total - start) // every), unit="image"):
            self._keep(self._entry(item, self._file(number)))
        self._is_complete = True

    def finish(self) -> None:
        """Write the list of results, also after an interruption, and print its path."""
        out = self._arguments.out
        if not (self._entries or self._is_complete):
            return  # an older list stays
        folder = Path(self._arguments.input).expanduser()
        _write_results(out, self._entries, left_out_entries(folder) if folder.is_dir() else [])
        if self._journal is not None and self._is_complete:
            remove_run_journal(out)
        elif self._journal is not None and self._arguments.save_mano is None and not self._arguments.covariance:
            logger.info("the same command with --resume continues")
        if self._mano is not None and self._arguments.save_mano is not None:
            write_mano(self._arguments.save_mano, self._mano_records, self._mano, "absolute")
            print_result("%s", fit_message(self._mano_records, self._arguments.save_mano))
        if self._arguments.covariance:
            write_covariances(out / NPZ_NAME, self._rows)
        distances = [hand["distance_from_detector"] for entry in self._entries for hand in entry["hands"]]
        if distances:
            mean, median = 100 * np.mean(distances), 100 * np.median(distances)
            message = "projected keypoints lie %.1f %% of the hand's box from the detector's, median %.1f %%"
            print_result(message, mean, median)
        if self._is_complete and (older := count_other_files(out, self._own_files())):
            logger.warning("%s: %d other files in meshes and overlays, not of this run, are left there", out, older)

    def _open_journal(self) -> Journal | None:
        """Return the journal: of the frames so far with --resume, else a new one; None for a single image."""
        arguments = self._arguments
        if self._source.frame_count == 1:
            return None
        if isinstance(self._source, FolderSource):
            # In the order of shards, whose journal --resume continues.
            self._source.paths.sort(key=lambda path: path.name)
            names: Iterable[str] = [path.name for path in self._source.paths]
            return open_run_journal(arguments.out, header_for(self._order, names), names, resume=False)
        clip = Path(arguments.input).expanduser()
        options = {name: getattr(arguments, name) for name in ("every", "smoothing", "smoothing_kind")}
        header = header_for(self._order, [clip.name], clip_bytes=clip.stat().st_size, **options)
        names = map(self._file, itertools.count(0, arguments.every))
        return open_run_journal(arguments.out, header, names, resume=arguments.resume)

    def _keep(self, entry: dict[str, Any]) -> None:
        """Add an entry to the results, and to their journal."""
        self._entries.append(entry)
        try:
            if self._journal is not None:
                self._journal.append(entry)
        except OSError as error:
            raise not_writable(self._arguments.out / REPORT_NAME, error) from error

    def _entry(self, item: Frame | HandvizError, file: str) -> dict[str, Any]:
        """Return the entry of an image, with the error if it cannot be read or its own files cannot be written."""
        if isinstance(item, HandvizError):
            logger.error("%s", item)
            return unreadable_entry(file, str(item))
        if item.note:
            logger.warning("%s", item.note)
        found = result, _ = reconstructed(self._pipeline, item, self._order.camera)
        try:
            with outputs_checked(self._arguments.out):
                entry = self._write_outputs(found, file)
        except OutputError:
            raise
        except HandvizError as error:
            logger.error("%s", error)
            return unreadable_entry(file, str(error))
        if self._arguments.covariance:
            self._rows += [HandRow(file, number, hand) for number, hand in enumerate(result.hands)]
        if self._mano is not None:
            self._mano_records += [
                mano_of_hand(hand, self._mano, source=file, number=number) for number, hand in enumerate(result.hands)
            ]
        return entry

    def _write_outputs(self, found: tuple[FrameResult, Intrinsics], file: str) -> dict[str, Any]:
        """Write overlay and meshes of an image; return its entry."""
        name, out = self._stem(file), self._arguments.out
        if self._renderer is not None:
            write_overlay(self._renderer, found[0], self._order, out / "overlays" / f"{name}.png")
        return written_entry(file, found, self._order, out, f"meshes/{name}")

    def _own_files(self) -> set[str]:
        """Return the meshes and overlays of the list, relative to the output folder."""
        own: set[str] = set()
        for entry in self._entries:
            meshes = [Path(hand["mesh"]) for hand in entry["hands"] if hand["mesh"]]
            own.update(str(mesh.with_suffix(suffix)) for mesh in meshes for suffix in (mesh.suffix, *COMPANIONS))
            if self._renderer is not None:
                own.add(f"overlays/{self._stem(entry['file'])}.png")
        return own

    def _file(self, number: int) -> str:
        """Return an image's name in the list: its file name, in clips with the frame's number."""
        if isinstance(self._source, FolderSource):
            return self._source.paths[number].name
        return f"{self._source.name}#{number:06d}"

    def _stem(self, file: str) -> str:
        """Return the beginning of the names of an image's outputs.

        That is its name without suffix, unless another image differs only in that, or it is too long.
        """
        if not isinstance(self._source, FolderSource):
            _, _, number = file.rpartition("#")
            return f"{fitting_stem(Path(self._source.name).stem, self._source.name)}_{number}"
        if self._stems is None:
            self._stems = output_stems([path.name for path in self._source.paths])
        return self._stems[file]

    def _new_renderer(self, resources: ExitStack) -> OffscreenRenderer | None:
        if self._arguments.no_overlays:
            return None
        return resources.enter_context(overlay_renderer(self._pipeline))

    def _mano_model(self) -> HandTemplate | None:
        """Return the MANO hand to save: the network's own, or the given one, which is fitted to its keypoints."""
        if self._arguments.save_mano is None:
            return None
        check_mano_path(self._arguments.save_mano)
        own = self._pipeline.template
        fitted = hand_model(self._arguments.mano) if self._arguments.mano else found_mano()
        if own.name == "mano" or fitted is not None:
            return own if own.name == "mano" else fitted
        raise HandvizError(
            f"--save-mano needs your MANO_RIGHT.pkl: give it by --mano FILE, or put it into {MANO_FOLDER}",
            ErrorCode.FILE_MISSING,
        )

    def _make_folders(self) -> None:
        out: Path = self._arguments.out
        folders = [out, *([out / "meshes"] if self._order.mesh != "none" else [])]
        folders += [out / "overlays"] if self._renderer is not None else []
        for folder in folders:
            make_folder(folder)


def summary(entries: Sequence[dict[str, Any]]) -> str:
    """Return the counts of a list of results in words; "unreadable" are all entries with an error."""
    failed, hands = sum("error" in entry for entry in entries), sum(len(entry["hands"]) for entry in entries)
    return f"{len(entries) - failed} images with {hands} hands, {failed} unreadable"


def count_other_files(out: Path, own: Container[str]) -> int:
    """Return how many files in the folders of meshes and overlays are not among these, named relative to ``out``."""
    count = 0
    for folder in ("meshes", "overlays"):
        with contextlib.suppress(OSError), os.scandir(out / folder) as files:
            count += sum(f"{folder}/{file.name}" not in own for file in files)
    return count
