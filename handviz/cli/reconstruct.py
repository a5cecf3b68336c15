"""``handviz reconstruct``: image, folder or clip -> overlays, meshes and hands.json."""

import dataclasses
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from handviz.api import MAX_HANDS_OF_CLIPS, Model
from handviz.cli.image_arguments import AsRequested, ImageArguments, image_request
from handviz.cluster.shards import (
    MAX_SHARDS,
    REPORT_NAME,
    Shard,
    ShardedRun,
    complete_shards,
    header_of,
    join,
    run_shard,
)
from handviz.core.arguments import Count, Fraction, Option, Positional
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import distance_from_detector
from handviz.core.paths import MANO_FOLDER, WINDOW_COMMAND
from handviz.core.records import Frame, SmoothingKind
from handviz.hand_models.choice import found_mano, hand_model
from handviz.hand_models.template import HandTemplate
from handviz.io.hands_json import output_stems, unreadable_entry, write_report
from handviz.io.mano import ManoRecord, check_mano_path, fit_message, mano_of_hand, write_mano
from handviz.models.onnx_session import limit_threads
from handviz.pipeline.image_request import (
    ImageRequest,
    overlay_renderer,
    reconstructed,
    write_overlay,
    written_entry,
)
from handviz.rendering.offscreen import OffscreenRenderer
from handviz.sources.file_kinds import left_out, left_out_message
from handviz.sources.source import ClipSource, FolderSource, Source, open_source, read_frames

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
    """Image, folder of images, or clip."""
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
    shard: Annotated[Shard | None, Option(metavar="K/N", read=_read_shard)] = None
    """Only the K-th of N parts of the images; the last one joins them."""
    resume: bool = False
    """Save every result in OUT/shards, and continue an interrupted run."""
    recursive: bool = False
    """With --shard or --resume: also the images in folders below."""


def run(arguments: Arguments) -> int:
    """Reconstruct all readable images; return 0 if there was one."""
    if arguments.shard or arguments.resume or arguments.recursive:
        return _run_shard(arguments)
    with ExitStack() as resources:
        source = open_source(arguments.input)
        resources.callback(source.close)
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


def _run_shard(arguments: Arguments) -> int:
    """Reconstruct one shard, or all as a single one; write hands.json if no shard is incomplete."""
    if arguments.save_mano:
        raise HandvizError(
            "--save-mano does not work with --shard, --resume and --recursive", ErrorCode.OPTION_CONFLICT
        )
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
    with logging_redirect_tqdm(), tqdm(total=last - first, unit="image") as bar:
        result = run_shard(whole, shard, header, resume=arguments.resume, progress=bar.update)
    for error in result.errors:
        logger.error("%s", error)
    message = "%d images with %d hands, %d unreadable: %s"
    logger.info(message, result.images, result.hands, result.unreadable, shard.path(whole.out))
    complete = complete_shards(whole, shard.of, header)
    if len(complete) == shard.of:
        logger.info("all shards are complete: %s", join(whole, shard.of, complete))
    return int(arguments.shard is None and result.images == result.unreadable)


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
        self._make_folders()
        self._entries: list[dict[str, Any]] = []
        self._distances: list[float] = []
        self._stems: dict[str, str] | None = None
        self.done = 0

    def run(self) -> None:
        """Process the source; log unreadable images and skip them."""
        every, total = self._arguments.every, self._source.frame_count
        frames = read_frames(self._source, every)
        for number, item in tqdm(frames, total=total and -(-total // every), unit="image"):
            file = self._file(number)
            if isinstance(item, HandvizError):
                logger.error("%s", item)
                self._entries.append(unreadable_entry(file, str(item)))
            else:
                self._entries.append(self._reconstruct(item, file))
                self.done += 1

    def finish(self) -> None:
        """Write the list of results, also after an interruption, and log its path."""
        report = self._arguments.out / REPORT_NAME
        write_report(report, sorted(self._entries, key=lambda entry: str(entry["file"])))
        if self._mano is not None and self._arguments.save_mano is not None:
            write_mano(self._arguments.save_mano, self._mano_records, self._mano, "absolute")
            logger.info("%s", fit_message(self._mano_records, self._arguments.save_mano))
        failed = len(self._entries) - self.done
        logger.info("%d images with %d hands, %d unreadable: %s", self.done, len(self._distances), failed, report)
        if self._distances:
            mean, median = 100 * np.mean(self._distances), 100 * np.median(self._distances)
            message = "projected keypoints lie %.1f %% of the hand's box from the detector's, median %.1f %%"
            logger.info(message, mean, median)

    def _reconstruct(self, frame: Frame, file: str) -> dict[str, Any]:
        if frame.note:
            logger.warning("%s", frame.note)
        found = result, _ = reconstructed(self._pipeline, frame, self._order.camera)
        self._distances += [
            distance_from_detector(*found) for found in zip(result.hands, result.detections, strict=True)
        ]
        if self._mano is not None:
            self._mano_records += [
                mano_of_hand(hand, self._mano, source=file, number=number) for number, hand in enumerate(result.hands)
            ]
        name = self._output_name(frame.number)
        try:
            if self._renderer is not None:
                overlay = self._arguments.out / "overlays" / f"{name}.png"
                write_overlay(self._renderer, result, self._order, overlay)
            return written_entry(file, found, self._order, self._arguments.out, f"meshes/{name}")
        except OSError as error:
            raise HandvizError(f"{self._arguments.out} cannot be written: {error}", ErrorCode.NOT_WRITABLE) from error

    def _file(self, number: int) -> str:
        """Return an image's name in the list: its file name, in clips with the frame's number."""
        if isinstance(self._source, FolderSource):
            return self._source.paths[number].name
        return f"{self._source.name}#{number:06d}"

    def _output_name(self, number: int) -> str:
        """Return the image's name without suffix, unless another image differs only in that."""
        if not isinstance(self._source, FolderSource):
            return f"{Path(self._source.name).stem}_{number:06d}"
        if self._stems is None:
            self._stems = output_stems([path.name for path in self._source.paths])
        return self._stems[self._source.paths[number].name]

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
        try:
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HandvizError(f"the folder {out} cannot be made: {error}", ErrorCode.NOT_WRITABLE) from error
