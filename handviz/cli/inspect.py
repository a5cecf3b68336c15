"""``handviz inspect``: inspect a folder as the window does, saving each result; measure its speed."""

import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from handviz.core.arguments import AsJson, HandModelFile, ModelFolder, Option, Positional
from handviz.core.camera_model import ASSUMED_CAMERA, CameraModel
from handviz.core.errors import HandvizError
from handviz.core.output import print_json, print_result
from handviz.core.paths import MODELS
from handviz.core.process import peak_megabytes
from handviz.core.records import Frame
from handviz.detection.detectors import DetectorOption
from handviz.hand_models.choice import hand_model
from handviz.inspection.columns import ImageRow, InspectionRequest, Listing, checked_folder
from handviz.inspection.inspection import ImageProcessor, Inspection, make_processor
from handviz.models.registry import ModelChoice
from handviz.sources.images import image_frame
from handviz.sources.source import FolderSource

BLOCK, WARM_UP_IMAGES = 6, 2
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Folder, network and measurement."""

    folder: Positional[Path]
    """Folder of images."""
    model: ModelChoice = "final"
    detector: DetectorOption = "handviz"
    field_of_view: Annotated[float | None, Option(metavar="DEG")] = None
    """Degrees over the longer side; without it 60 are assumed."""
    model_dir: ModelFolder = MODELS
    measure: bool = False
    """Ignore saved results, and compare the rate with the pipeline alone."""
    hand_model: HandModelFile = None
    as_json: AsJson = False


def run(arguments: Arguments) -> int:
    """Inspect the folder; return 0 if at least one image was processed."""
    hand_model(arguments.hand_model)  # known from now on, so that the networks find it
    request = InspectionRequest(
        folder=arguments.folder,
        model=arguments.model,
        camera_model=CameraModel("angle", arguments.field_of_view)
        if arguments.field_of_view is not None
        else ASSUMED_CAMERA,
        model_dir=arguments.model_dir,
        detector=arguments.detector,
    )
    with logging_redirect_tqdm():
        if arguments.measure:
            return _print_rates(measured_rates(request), as_json=arguments.as_json)
        inspection = Inspection(request)
        rows = _inspect(inspection)
    done = sum(row.state == "done" for row in rows.values())
    hands = sum(len(row.hands) for row in rows.values())
    failed = len(rows) - done
    if arguments.as_json:
        print_json({"images": done, "hands": hands, "failed": failed, "results": inspection.results_path})
    else:
        print_result("%d images with %d hands, %d could not be done", done, hands, failed)
        print_result("results are in %s", inspection.results_path)
    return 0 if done else 1


def _inspect(inspection: Inspection) -> dict[str, ImageRow]:
    """Return every image's row by its name."""
    rows: dict[str, ImageRow] = {}
    with tqdm(unit="image") as bar:
        for event in inspection.events():
            if isinstance(event, Listing):
                if event.note:
                    logger.warning("%s", event.note)
                rows = {row.file: row for row in event.rows}
                bar.total, bar.n = len(rows), sum(row.state != "waiting" for row in event.rows)
                bar.refresh()
            else:
                rows[event.file] = event
                bar.update()
    return rows


@dataclass(frozen=True)
class Rates:
    """Images a second, and the peak memory."""

    images: int
    images_per_s: dict[str, float]
    """of the pipeline on images in memory, of it with reading them, of the inspection"""
    peak_memory_mb: float


def measured_rates(request: InspectionRequest) -> Rates:
    """Return the rates of the pipeline alone and of the inspection, in alternating blocks under the same load."""
    paths = FolderSource.of_folder(checked_folder(request.folder)).paths
    pipeline = make_processor(request)
    seconds = {"pipeline, images in memory": 0.0, "pipeline, images read one by one": 0.0, "inspection": 0.0}
    try:
        with tempfile.TemporaryDirectory() as scratch:
            _block_seconds(pipeline, request, paths[:WARM_UP_IMAGES], Path(scratch) / "warm-up")
            for number, start in enumerate(tqdm(range(0, len(paths), BLOCK), unit="block")):
                block = _block_seconds(pipeline, request, paths[start : start + BLOCK], Path(scratch) / str(number))
                for name, taken_s in zip(seconds, block, strict=True):
                    seconds[name] += taken_s
    finally:
        pipeline.close()
    return Rates(len(paths), {name: len(paths) / taken_s for name, taken_s in seconds.items()}, peak_megabytes())


def _print_rates(rates: Rates, *, as_json: bool) -> int:
    if as_json:
        print_json(rates)
        return 0
    for name, images_per_s in rates.images_per_s.items():
        print_result("%-36s %7.2f images/s", name, images_per_s)
    in_memory, with_reading, inspection = rates.images_per_s.values()
    print_result(
        "the inspection reaches %.1f %% of the pipeline's own rate on images in memory, %.1f %% of the rate "
        "with reading",
        100 * inspection / in_memory,
        100 * inspection / with_reading,
    )
    print_result("%d images; peak memory %.0f MB", rates.images, rates.peak_memory_mb)
    return 0


def _block_seconds(
    pipeline: ImageProcessor, request: InspectionRequest, paths: Sequence[Path], scratch: Path
) -> tuple[float, float, float]:
    """Return seconds for the same images three times: processed, read and processed, inspected."""
    frames = [frame for frame in map(_frame, paths) if frame is not None]
    started_s = time.perf_counter()
    for frame in frames:
        pipeline.process(frame)
    processed_s = time.perf_counter()
    del frames
    for path in paths:
        read = _frame(path)
        if read is not None:
            pipeline.process(read)
    read_s = time.perf_counter()
    (scratch / "images").mkdir(parents=True)
    for path in paths:
        (scratch / "images" / path.name).symlink_to(path)
    inspection = Inspection(
        replace(request, folder=scratch / "images"), make=lambda _: _Lent(pipeline), results_folder=scratch
    )
    inspection_start_s = time.perf_counter()
    for _ in inspection.events():
        pass
    inspected_s = time.perf_counter()
    return processed_s - started_s, read_s - processed_s, inspected_s - inspection_start_s


class _Lent:
    """A pipeline that stays open after the inspection."""

    def __init__(self, pipeline: ImageProcessor) -> None:
        self.process = pipeline.process

    def close(self) -> None:
        """Leave the pipeline open for its owner."""


def _frame(path: Path) -> Frame | None:
    try:
        return image_frame(path)
    except HandvizError:
        return None
