"""Inspects a folder, image by image; results are stored at once, so that an interrupted run is resumed."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import KEYPOINT_COUNT, FloatArray, Frame, FrameResult, HandMesh
from handviz.hand_models.choice import hand_model_named
from handviz.inspection.columns import (
    GROUND_TRUTH_NAME,
    HandRow,
    ImageRow,
    InspectionRequest,
    Listing,
    checked_folder,
)
from handviz.inspection.ground_truth import GroundTruth, load_ground_truth, with_errors
from handviz.inspection.store import (
    InspectionStore,
    Signature,
    StoredImage,
    delete_old_inspections,
    signature_of,
    store_path,
)
from handviz.io.hand_pack import pack_hands
from handviz.io.mesh_io import faces_for
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from handviz.sources.images import image_frame
from handviz.sources.source import FolderSource

READ_AHEAD = 2
"""Images that are read ahead while one is reconstructed, and are in memory at once."""
MAX_PASSES = 5
"""Limit of passes over a folder that changes during the inspection."""
HALF_SIDES_PER_M = 10.0
"""``self_visible`` measures in half-sides of a crop, about 10 cm."""
logger = logging.getLogger(__name__)
Event = Listing | ImageRow


class ImageProcessor(Protocol):
    """The part of ``handviz.pipeline.pipeline.Pipeline`` that an inspection uses."""

    def process(self, frame: Frame) -> FrameResult:
        """Return the hands of an image."""
        ...

    def close(self) -> None:
        """Free everything."""
        ...


ProcessorMaker = Callable[[InspectionRequest], ImageProcessor]


def make_processor(request: InspectionRequest) -> ImageProcessor:
    """Return a request's pipeline, for images that do not follow each other."""
    # Imported here, so that stored results appear before the networks' libraries are loaded.
    from handviz.pipeline.pipeline import Pipeline

    settings = PipelineSettings(
        request.model, camera_model=request.camera_model, hand_size=request.hand_size, side=request.side
    )
    config = PipelineConfig(request.model_dir, detector=request.detector, video=False, preload_others=False)
    return Pipeline(settings, config)


@dataclass(frozen=True, eq=False)
class _Read:
    """An image that was read, or the reason why not."""

    path: Path
    signature: Signature | None
    frame: Frame | None
    reason: str = ""


class Inspection:
    """One pass over a folder; ``events`` belongs to one thread, ``cancel`` to any."""

    def __init__(
        self,
        request: InspectionRequest,
        *,
        make: ProcessorMaker = make_processor,
        faces: NDArray[np.int32] | None = None,
        results_folder: Path | None = None,
    ) -> None:
        """Prepare; ``faces`` (F, 3): instead of each hand's own; ``results_folder``: instead of the cache folder."""
        self.request = replace(request, folder=checked_folder(request.folder))
        self.results_path = store_path(self.request, results_folder)
        """The file with the results."""
        self._make, self._faces = make, faces
        self._processor: ImageProcessor | None = None
        self._truth: GroundTruth = {}
        self._failed: dict[str, tuple[Signature | None, ImageRow]] = {}
        self._is_cancelled = False

    def cancel(self) -> None:
        """Stop after the present image."""
        self._is_cancelled = True

    def events(self) -> Iterator[Event]:
        """Yield the listing, then every image as soon as it is done; the listing again if the folder changed.

        HandvizError if the folder, the network or the folder of the results cannot be used.
        """
        with ExitStack() as resources:
            store = resources.enter_context(InspectionStore(self.results_path))
            delete_old_inspections(self.results_path)
            resources.callback(self._close_processor)
            reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-pictures")
            resources.callback(reader.shutdown, cancel_futures=True)
            listing, todo = self._scan(store)
            yield listing
            for _ in range(MAX_PASSES):
                for read in self._reading(reader, todo):
                    yield self._inspected(store, read)
                if self._is_cancelled:
                    return
                before = {row.file for row in listing.rows}
                listing, todo = self._scan(store)
                now = {row.file for row in listing.rows}
                if not todo and now == before:
                    return
                yield replace(listing, note=_change_message(len(now - before), len(before - now)) or listing.note)

    def _scan(self, store: InspectionStore) -> tuple[Listing, list[Path]]:
        """Return the folder's listing and the images that are still to do."""
        folder, message = self.request.folder, ""
        try:
            source = FolderSource.of_folder(folder)
            paths = source.paths
        except OSError as error:
            raise HandvizError(
                f"{folder} cannot be read any more ({error}); results so far are saved.", ErrorCode.FILE_UNREADABLE
            ) from error
        try:
            self._truth = load_ground_truth(folder)
        except HandvizError as error:
            self._truth, message = {}, str(error)
            logger.warning("%s", error)
        known = {image.row.file: image for image in store.known()}
        rows, todo = [], []
        for path in paths:
            stored, failed = known.get(path.name), self._failed.get(path.name)
            if stored is not None and not _changed(path, stored.signature):
                rows.append(self._judged(stored.row, stored.keypoints_m))
            elif failed is not None and not _changed(path, failed[0]):
                rows.append(failed[1])
            else:
                rows.append(ImageRow(path.name))
                todo.append(path)
        unknown_files = sorted(set(self._truth) - {path.name for path in paths})
        if unknown_files and not message:
            named = (
                f"{unknown_files[0]} and {len(unknown_files) - 1} more" if len(unknown_files) > 1 else unknown_files[0]
            )
            message = f"{GROUND_TRUTH_NAME} names images that are not here: {named}."
        notes = " ".join(filter(None, (message, f"{source.name}: {source.note}." if source.note else "")))
        return Listing(tuple(rows), bool(self._truth), self.results_path, notes), todo

    def _reading(self, reader: ThreadPoolExecutor, paths: Sequence[Path]) -> Iterator[_Read]:
        """Yield the images in order; the next ones are read while this one is reconstructed."""
        waiting: deque[Future[_Read]] = deque()
        for path in paths:
            waiting.append(reader.submit(_read, path))
            if len(waiting) > READ_AHEAD:
                yield waiting.popleft().result()
            if self._is_cancelled:
                break
        while waiting and not self._is_cancelled:
            yield waiting.popleft().result()
        for future in waiting:
            future.cancel()

    def _inspected(self, store: InspectionStore, read: _Read) -> ImageRow:
        if read.frame is None or read.signature is None:
            return self._failure(read, read.reason)
        if self._processor is None:
            self._processor = self._make(self.request)
        try:
            result = self._processor.process(read.frame)
        except HandvizError as error:
            return self._failure(read, str(error))
        # The outermost loop: one failing image must not end the inspection.
        except Exception as error:
            logger.exception("%s failed", read.path)
            return self._failure(read, f"{read.path}: it could not be reconstructed ({error})")
        return self._stored(store, read.signature, result)

    def _failure(self, read: _Read, reason: str) -> ImageRow:
        logger.warning("%s", reason)
        row = ImageRow(read.path.name, "failed", reason=reason)
        self._failed[read.path.name] = read.signature, row
        return row

    def _stored(self, store: InspectionStore, signature: Signature, result: FrameResult) -> ImageRow:
        height, width = result.frame.image.shape[:2]
        rows = tuple(self._row(number, hand, (width, height)) for number, hand in enumerate(result.hands))
        row = ImageRow(result.frame.name, "done", rows, "", width, height, result.left_out)
        keypoints_m = np.array([hand.keypoints_m for hand in result.hands]).reshape(-1, KEYPOINT_COUNT, 3)
        # Large, and neither shown nor exported.
        hands = [
            replace(hand, vertex_covariance_mm2=None, shape=None, heatmaps=None, steps=()) for hand in result.hands
        ]
        store.put(StoredImage(signature, row, keypoints_m), pack_hands(hands, result.detections))
        return self._judged(row, keypoints_m)

    def _row(self, number: int, hand: HandMesh, image_size: tuple[int, int]) -> HandRow:
        faces = hand_model_named(hand.hand_model).faces if self._faces is None else self._faces
        std_mm = hand.vertex_std_mm
        return HandRow(
            number=number,
            handedness=hand.handedness,
            score=round(float(hand.detection_score), 4),
            mean_std_mm=None if std_mm is None else round(float(std_mm.mean()), 4),
            max_std_mm=None if std_mm is None else round(float(std_mm.max()), 4),
            visible_fraction=round(visible_fraction(hand, faces, image_size), 4),
            contradicts=hand.shape is not None and hand.shape.contradicts,
        )

    def _judged(self, row: ImageRow, keypoints_m: FloatArray) -> ImageRow:
        truth = self._truth.get(row.file)
        return replace(row, hands=with_errors(row.hands, keypoints_m, truth)) if truth else row

    def _close_processor(self) -> None:
        if self._processor is not None:
            self._processor.close()


def visible_fraction(hand: HandMesh, faces: NDArray[np.int32], image_size: tuple[int, int]) -> float:
    """Return the fraction of vertices inside the image (width, height) that the hand does not occlude itself."""
    # Imported here, since a listing needs no mesh.
    from handviz.core.visibility import self_visible

    sideways_m = (hand.vertices_px - hand.keypoints_px[0]) / hand.pixels_per_m
    points = np.column_stack([sideways_m, hand.vertices_m[:, 2]]) * HALF_SIDES_PER_M
    inside = ((hand.vertices_px >= 0) & (hand.vertices_px <= image_size)).all(axis=1)
    return float((self_visible(points, faces_for(hand.handedness, faces)) & inside).mean())


def _read(path: Path) -> _Read:
    signature = None
    try:
        signature = signature_of(path)
        return _Read(path, signature, image_frame(path))
    except HandvizError as error:
        return _Read(path, signature, None, str(error))
    except OSError as error:
        return _Read(path, signature, None, f"{path}: the image has gone ({error.strerror})")


def _changed(path: Path, signature: Signature | None) -> bool:
    try:
        return signature_of(path) != signature
    except OSError:
        return True


def _change_message(come: int, gone: int) -> str:
    """Return a message on images that came or went during the inspection; empty if none did."""
    changes = [f"{count} image{'s' * (count != 1)} {verb}" for count, verb in ((come, "came"), (gone, "went")) if count]
    return f"The folder changed meanwhile: {' and '.join(changes)}." if changes else ""
