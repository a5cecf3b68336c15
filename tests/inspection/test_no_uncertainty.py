"""An inspection with a model without uncertainty: table, filter, colour range, CSV, JSON and report."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handviz.core.records import Frame, FrameResult
from handviz.core.shape_posterior import CONTRADICTION
from handviz.gui.folder.table import RowFilter
from handviz.inspection.columns import (
    COLUMNS,
    HandRow,
    ImageRow,
    InspectionRequest,
    TableRow,
    common_range_mm,
    note_of,
    rows_of,
)
from handviz.inspection.export import ExportRequest, export_inspection
from handviz.inspection.inspection import Inspection
from handviz.inspection.point_reading import other_models, read_point
from handviz.inspection.store import store_path
from handviz.rendering.colormap import DEFAULT_RANGE_MM
from handviz.rendering.highlight import Pick
from tests.hands import made_up_detection, textured_hand
from tests.inspection.test_inspection import Processor, write_images
from tests.made_up_families import installed, made_up_family

PLAIN = replace(textured_hand(), model="plain", texture=None, vertex_std_mm=None, keypoint_std_mm=None)


class PlainProcessor(Processor):
    """Finds a hand without uncertainty in every image."""

    def process(self, frame: Frame) -> FrameResult:
        return FrameResult(frame, "plain", (made_up_detection(),), (PLAIN,))


@pytest.fixture
def request_of_export(tmp_path: Path) -> ExportRequest:
    """Request everything of a folder of two images that were inspected with such a model."""
    folder = write_images(tmp_path / "pictures", "a.png", "b.png")
    with installed(stranger=made_up_family()):
        inspection = Inspection(InspectionRequest(folder, model="plain"), make=lambda _: PlainProcessor())
        rows = {event.file: event for event in inspection.events() if isinstance(event, ImageRow)}
    return ExportRequest(tmp_path / "out", inspection.request, inspection.results_path, tuple(rows.values()))


def test_rows_say_so_and_the_colour_range_is_the_usual_one(request_of_export: ExportRequest) -> None:
    images = request_of_export.images
    (row,) = rows_of(images[0])
    texts = {column.title: column.text(row) for column in COLUMNS}
    assert (texts["Sigma mean (mm)"], texts["Sigma max (mm)"]) == ("", "")
    assert note_of(row) == texts["Note"] == "the model predicts no uncertainty"
    assert common_range_mm(images) == DEFAULT_RANGE_MM


def test_a_row_says_that_all_vertices_have_one_standard_deviation(request_of_export: ExportRequest) -> None:
    image = request_of_export.images[0]
    hands = [replace(image.hands[0], mean_std_mm=14.9, max_std_mm=largest) for largest in (14.9, 15.2)]
    assert [note_of(TableRow(image, hand)) for hand in hands] == ["one standard deviation for all vertices", ""]


def test_a_least_standard_deviation_admits_no_hand_without_any(request_of_export: ExportRequest) -> None:
    (row,) = rows_of(request_of_export.images[0])
    assert RowFilter().admits(row)
    assert not RowFilter(min_std_mm=0.1).admits(row)


def test_every_export_has_no_number_instead_of_a_wrong_one(request_of_export: ExportRequest) -> None:
    with installed(stranger=made_up_family()):
        export_inspection(request_of_export, lambda done, total: None, lambda: False)
    out = request_of_export.out
    table = list(csv.DictReader(io.StringIO((out / "hands.csv").read_text(encoding="utf-8-sig"))))
    assert [(row["mean_mm"], row["max_mm"]) for row in table] == [("", ""), ("", "")]
    entries = json.loads((out / "hands.json").read_text(), parse_constant=pytest.fail)
    assert [(entry["variant"], entry["network_input_px"]) for entry in entries] == [("plain", 128)] * 2
    assert {hand["uncertainty"] for entry in entries for hand in entry["hands"]} == {"none"}
    report = (out / "report.html").read_text()
    assert "the model predicts no uncertainty" in report
    assert 'class="scale hidden"' in report
    assert "nan" not in report.partition("<tbody")[2].split("base64")[0].lower()
    assert b"vertex_std_mm" not in next((out / "meshes").iterdir()).read_bytes()


def test_the_report_of_other_models_keeps_its_scale(request_of_export: ExportRequest, tmp_path: Path) -> None:
    inspection = Inspection(InspectionRequest(request_of_export.inspection.folder), make=lambda _: Processor())
    rows = tuple(event for event in inspection.events() if isinstance(event, ImageRow))
    wanted = ExportRequest(
        tmp_path / "other", inspection.request, inspection.results_path, rows, parts=frozenset({"report"})
    )
    export_inspection(wanted, lambda done, total: None, lambda: False)
    assert 'class="scale"' in (tmp_path / "other" / "report.html").read_text()


def test_the_results_of_a_model_depend_on_its_own_file(tmp_path: Path) -> None:
    with installed(stranger=made_up_family()):
        paths = {store_path(InspectionRequest(tmp_path, model=name)) for name in ("plain", "final", "prior")}
    assert len(paths) == 3


def test_each_detector_has_results_of_its_own(tmp_path: Path) -> None:
    request = InspectionRequest(tmp_path)
    assert store_path(request) != store_path(replace(request, detector="mediapipe"))


def test_hands_beyond_the_most_of_an_image_are_counted_in_its_note() -> None:
    hands = (HandRow(0, "left", 0.9, None, None, 1.0), HandRow(1, "left", 0.9, 3.0, 4.0, 1.0))
    image = ImageRow("a.png", "done", hands, left_out=1)
    notes = [note_of(row) for row in rows_of(image)]
    assert notes == ["2 of 3 hands; the model predicts no uncertainty", "2 of 3 hands"]


def test_a_point_has_a_position_and_no_deviation() -> None:
    result = FrameResult(
        Frame(0, np.zeros((240, 320, 3), np.uint8), 0.0), "final", hands=(textured_hand(),), others={"plain": (PLAIN,)}
    )
    for pick in (Pick(0, vertex=5), Pick(0, joint=8)):
        reading = read_point(PLAIN, pick, None)
        assert (reading.std_mm, reading.axis_std_mm, reading.principal_std_mm) == (None, None, None)
        std_mm, distance_mm = other_models(result, pick)["plain"]
        assert std_mm is None
        assert distance_mm == pytest.approx(0)


def test_a_contradiction_is_a_note() -> None:
    hand = HandRow(0, "right", 0.9, 5.0, 9.0, 0.5, contradicts=True)
    assert note_of(TableRow(ImageRow("a.png", "done", (hand,)), hand)) == CONTRADICTION
