"""Exports stored results of an inspection: hands.json, a table as CSV, meshes, and a report for a browser."""

import contextlib
import csv
import io
import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import make_folder, open_atomic, spreadsheet_text
from handviz.core.network_files import network_file
from handviz.core.paths import LANDMARKER_FILE
from handviz.core.records import Detection, Frame, FrameResult, HandMesh, NetworkFile, NetworkRole
from handviz.inspection.columns import COLUMNS, ImageRow, InspectionRequest, rows_of
from handviz.inspection.report import ReportSettings, write_html
from handviz.inspection.store import InspectionStore
from handviz.io.hand_pack import unpack_hands
from handviz.io.hands_json import image_entry, output_stems, unreadable_entry
from handviz.io.mesh_export import export_mesh
from handviz.models.registry import model_spec

ExportPart = Literal["json", "csv", "meshes", "report"]
PARTS: tuple[ExportPart, ...] = get_args(ExportPart)
JSON_NAME, CSV_NAME, REPORT_NAME, MESH_FOLDER = "hands.json", "hands.csv", "report.html", "meshes"
MeshSuffix = Literal[".ply", ".obj", ".glb"]
ProgressCallback = Callable[[int, int], None]
"""Receives how many images are done, and of how many."""
CSV_NAMES = {
    "Image": "picture",
    "Sigma mean (mm)": "mean_mm",
    "Sigma max (mm)": "max_mm",
    "Error (mm)": "error_mm",
    "Aligned (mm)": "aligned_mm",
}
"""Columns whose name in ``hands.csv`` is that of version 0.1."""


@dataclass(frozen=True)
class ExportRequest:
    """The parts of an inspection to export, and the folder."""

    out: Path
    inspection: InspectionRequest
    results_path: Path
    """The file with the results."""
    images: tuple[ImageRow, ...]
    """The images, each with its hands to write, in the report's order."""
    parts: frozenset[ExportPart] = frozenset(PARTS)
    mesh_suffix: MeshSuffix = ".ply"
    colour: Literal["uncertainty", "plain"] = "uncertainty"
    range_mm: tuple[float, float] = (0.0, 10.0)
    """Ends of the colour range."""


class ExportCancelledError(HandvizError):
    """Cancellation by the user; the message says which files are left."""


def export_inspection(
    request: ExportRequest, report_progress: ProgressCallback, is_cancelled: Callable[[], bool]
) -> list[Path]:
    """Write everything; return the files and folders. HandvizError if the folder cannot be written."""
    done_images = [image for image in request.images if image.state != "waiting"]
    make_folder(request.out / MESH_FOLDER if "meshes" in request.parts else request.out)
    written: list[Path] = []
    steps = _Steps(len(done_images) * len(request.parts - {"csv"}), report_progress, is_cancelled)
    with InspectionStore(request.results_path) as store:
        export = _Export(request, done_images, store, steps)
        if "csv" in request.parts:
            written.append(export.write_csv())
        if "meshes" in request.parts:
            written.append(export.write_meshes())
        if "json" in request.parts:
            written.append(export.write_json())
        if "report" in request.parts:
            written.append(export.write_report())
    return written


class _Steps:
    """Counts finished images, and raises when the user cancels."""

    def __init__(self, total: int, report_progress: ProgressCallback, is_cancelled: Callable[[], bool]) -> None:
        self._done, self._total = 0, total
        self._report_progress, self._is_cancelled = report_progress, is_cancelled

    def __call__(self) -> None:
        if self._is_cancelled():
            raise ExportCancelledError("The export was ended; files that were complete stay.", ErrorCode.CANCELLED)
        self._done += 1
        self._report_progress(self._done, self._total)


class _Export:
    def __init__(
        self, request: ExportRequest, images: Sequence[ImageRow], store: InspectionStore, step: Callable[[], None]
    ) -> None:
        self._request, self._images, self._store, self._step = request, images, store, step
        self._by_name = sorted(images, key=lambda image: image.file)
        self._stems = output_stems([image.file for image in self._by_name])
        # Another file of that name would have results of its own.
        self._networks = _networks(request.inspection)

    def write_csv(self) -> Path:
        path = self._request.out / CSV_NAME
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow([_csv_name(column.title) for column in COLUMNS])
        for image in self._by_name:
            writer.writerows([_cell(column.value(row)) for column in COLUMNS] for row in rows_of(image))
        with open_atomic(path) as file:
            # With a byte order mark, else Excel assumes the machine's code page.
            file.write(text.getvalue().encode("utf-8-sig", "backslashreplace"))
        return path

    def write_json(self) -> Path:
        """Write the list as ``handviz reconstruct`` does, one image at a time."""
        path = self._request.out / JSON_NAME
        with open_atomic(path) as file:
            separator = b"[\n"
            for entry in self._entries():
                text = json.dumps(entry, indent=1, allow_nan=False)
                file.write(separator + textwrap.indent(text, " ").encode("utf-8"))
                separator = b",\n"
            file.write(b"\n]\n" if separator == b",\n" else b"[]\n")
        return path

    def write_meshes(self) -> Path:
        folder, request = self._request.out / MESH_FOLDER, self._request
        for image in self._by_name:
            self._step()
            for number, hand, _ in self._hands(image):
                path = folder / self._mesh_name(image, number, hand)
                vertices: Literal["display", "model"] = "display" if request.mesh_suffix == ".glb" else "model"
                export_mesh(path, hand, colour=request.colour, range_mm=request.range_mm, vertices=vertices)
        return folder

    def write_report(self) -> Path:
        path, inspection = self._request.out / REPORT_NAME, self._request.inspection
        settings = ReportSettings(inspection, self._request.colour, self._request.range_mm)

        def hands_of(image: ImageRow) -> list[HandMesh]:
            self._step()
            return [hand for _, hand, _ in self._hands(image)]

        write_html(path, self._images, settings, hands_of)
        return path

    def _entries(self) -> Iterator[dict[str, Any]]:
        has_meshes = "meshes" in self._request.parts
        for image in self._by_name:
            self._step()
            if image.state == "failed":
                yield unreadable_entry(image.file, image.reason)
                continue
            found = list(self._hands(image))
            meshes = [
                f"{MESH_FOLDER}/{self._mesh_name(image, number, hand)}" if has_meshes else None
                for number, hand, _ in found
            ]
            hands, detections = tuple(hand for _, hand, _ in found), tuple(detection for *_, detection in found)
            # The list needs the images' sizes only, not their pixels.
            blank = np.broadcast_to(np.uint8(0), (image.height, image.width, 3))
            frame = Frame(0, blank, 0.0, image.file)
            model = self._request.inspection.model
            result = FrameResult(frame, model, detections, hands, networks=self._networks)
            known = self._request.inspection.camera_model.intrinsics_for(image.width, image.height)
            intrinsics, input_px = hands[0].intrinsics if hands else known, model_spec(model).crop.size_px
            yield image_entry(image.file, result, intrinsics, meshes, network_input_px=input_px)

    def _hands(self, image: ImageRow) -> Iterator[tuple[int, HandMesh, Detection]]:
        """Yield number, hand and detection of the hands to write."""
        packed = self._store.packed(image.file) if image.hands else None
        if packed is None:
            return
        hands, detections = unpack_hands(packed)
        for row in image.hands:
            if row.number < len(hands):
                yield row.number, hands[row.number], detections[row.number]

    def _mesh_name(self, image: ImageRow, number: int, hand: HandMesh) -> str:
        return f"{self._stems[image.file]}_{number}_{hand.handedness}{self._request.mesh_suffix}"


def _cell(value: Any) -> Any:
    return spreadsheet_text(value) if isinstance(value, str) else value


def _csv_name(title: str) -> str:
    return CSV_NAMES.get(title, title.lower().replace(" ", "_"))


def _networks(request: InspectionRequest) -> dict[NetworkRole, NetworkFile]:
    """Return the files that the results come from, as far as they are still there."""
    files: dict[NetworkRole, NetworkFile] = {}
    paths: dict[NetworkRole, Path] = {
        "network": model_spec(request.model).file_in(request.model_dir),
        "detector": LANDMARKER_FILE,
    }
    for role, path in paths.items():
        with contextlib.suppress(HandvizError):
            files[role] = network_file(path)
    return files
