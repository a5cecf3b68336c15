"""Files of an exported inspection, and the report in a browser."""

import base64
import csv
import dataclasses
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.network_files import network_file
from handviz.core.paths import model_file
from handviz.inspection import report as inspection_report
from handviz.inspection.columns import ImageRow, InspectionRequest, Listing
from handviz.inspection.export import PARTS, ExportPart, ExportRequest, export_inspection
from handviz.inspection.inspection import Inspection
from handviz.sources.images import read_image
from tests.browser import run_in_browser
from tests.errors import raises
from tests.inspection.test_inspection import Processor, write_images

HOSTILE = '<img src=x onerror=document.title="caught">&amp;{{summary}}.png'
Export = Callable[..., list[Path]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write hands, none, unreadable, and a name that is HTML where the system allows that."""
    folder = write_images(tmp_path / "pictures", "a.png", "c.png", *([] if sys.platform == "win32" else [HOSTILE]))
    write_images(folder, "d.png", grey=0)
    (folder / "b.jpg").write_bytes(b"broken")
    points = [[0.001 * number, 0.0, 0.0] for number in range(21)]
    truth = [{"file": "c.png", "hands": [{"handedness": "right", "keypoints_camera_m": points}]}]
    (folder / "ground_truth.json").write_text(json.dumps(truth))
    return folder


@pytest.fixture
def order(folder: Path, tmp_path: Path) -> ExportRequest:
    """Request everything of the inspected folder."""
    inspection = Inspection(InspectionRequest(folder), make=lambda _: Processor())
    rows = {event.file: event for event in inspection.events() if isinstance(event, ImageRow)}
    return ExportRequest(tmp_path / "out", inspection.request, inspection.results_path, tuple(rows.values()))


def export(order: ExportRequest, *parts: ExportPart) -> list[str]:
    """Return the names of what was written."""
    wanted = replace(order, parts=frozenset(parts or PARTS))
    return [path.name for path in export_inspection(wanted, lambda done, total: None, lambda: False)]


def test_everything_is_written(order: ExportRequest) -> None:
    assert export(order) == ["hands.csv", "meshes", "hands.json", "report.html"]
    entries = json.loads((order.out / "hands.json").read_text())
    by_name = {entry["file"]: entry for entry in entries}
    assert [entry["file"] for entry in entries] == sorted(by_name)
    assert "not an image" in by_name["b.jpg"]["error"]
    assert (by_name["d.png"]["width"], by_name["d.png"]["hands"]) == (320, [])
    assert by_name["d.png"]["network"] == dataclasses.asdict(network_file(model_file("final")))
    (hand,) = by_name["a.png"]["hands"]
    assert hand["mesh"] == "meshes/a_0_right.ply"
    mesh = trimesh.load(order.out / hand["mesh"], process=False)
    assert len(mesh.vertices) == 778
    table = list(csv.DictReader((order.out / "hands.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert ",".join(table[0]) == "picture,hand,score,mean_mm,max_mm,visible,error_mm,aligned_mm,note"
    assert [row["picture"] for row in table] == sorted(by_name)
    with_error = {row["picture"]: row["error_mm"] for row in table if row["error_mm"]}
    assert list(with_error) == ["c.png"]
    assert float(with_error["c.png"]) > 1
    assert not list(order.out.rglob("*.part"))


def test_the_table_has_no_formulas(order: ExportRequest) -> None:
    images = tuple(
        replace(one, file="=1+1.jpg", reason="@sum(1)") if one.file == "b.jpg" else one for one in order.images
    )
    export(replace(order, images=images), "csv")
    table = list(csv.DictReader((order.out / "hands.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert [row["note"] for row in table if row["picture"] == "'=1+1.jpg"] == ["'@sum(1)"]


def test_only_those_hands_that_were_asked_for(order: ExportRequest) -> None:
    images = tuple(replace(one, hands=()) if one.file == "a.png" else one for one in order.images)
    export(replace(order, images=images), "json", "meshes")
    entries = {entry["file"]: entry for entry in json.loads((order.out / "hands.json").read_text())}
    assert entries["a.png"]["hands"] == []
    assert not (order.out / "meshes" / "a_0_right.ply").exists()


def test_nothing_at_all_is_a_list_too(order: ExportRequest) -> None:
    export(replace(order, images=()), "json", "csv")
    assert json.loads((order.out / "hands.json").read_text()) == []


@pytest.mark.parametrize("part", PARTS)
def test_a_place_that_cannot_be_written_is_a_message(order: ExportRequest, part: ExportPart) -> None:
    names = {"json": "hands.json", "csv": "hands.csv", "meshes": "meshes/c_0_right.ply", "report": "report.html"}
    # A folder is in the way of the file, which root cannot write either.
    (order.out / names[part] / "in the way").mkdir(parents=True)
    with raises(ErrorCode.NOT_WRITABLE):
        export(order, part)
    assert not list(order.out.rglob("*.part"))


def test_a_folder_that_cannot_be_made_is_a_message(order: ExportRequest) -> None:
    order.out.write_text("in the way")
    with raises(ErrorCode.NOT_WRITABLE):
        export(order)


def test_the_person_ends_it(order: ExportRequest) -> None:
    steps: list[tuple[int, int]] = []
    with raises(ErrorCode.CANCELLED):
        export_inspection(order, lambda done, total: steps.append((done, total)), lambda: len(steps) == 7)
    assert (order.out / "hands.csv").exists()
    assert not (order.out / "report.html").exists()
    assert not list(order.out.rglob("*.part"))


SEEN = """
const cells = name => Array.from(document.querySelectorAll("tbody tr")).filter(row => row.style.display !== "none")
  .map(row => row.cells[name].dataset.value);
const click = title => headings.find(one => one.textContent === title).click();
const hidden = headings.filter(one => one.style.display === "none");
const seen = {names: cells(0), title: document.title, hidden: hidden.length,
  sizes: Array.from(document.images).map(image => [image.naturalWidth, image.naturalHeight])};
click("Sigma mean (mm)"); seen.worst = cells(0);
click("Error (mm)"); seen.errors = cells(6);
click("Error (mm)"); seen.errorsUp = cells(6);
click("Image"); seen.byName = cells(0);
document.getElementById("filter").value = "A.PN"; filter(); seen.filtered = cells(0);
seen.count = document.getElementById("count").textContent;
seen
"""


def test_the_report_works_in_a_browser(order: ExportRequest) -> None:
    export(order, "report")
    answer = run_in_browser(order.out / "report.html", SEEN)
    seen, names = answer["result"], [image.file for image in order.images]
    assert (answer["requests"], answer["messages"]) == ([], [])
    assert seen["title"] == "pictures · handviz"
    assert seen["names"] == names
    assert seen["hidden"] == 0
    assert len(seen["sizes"]) == len(names) - 1
    assert all(size == [320, 240] for size in seen["sizes"])
    assert set(seen["worst"][-2:]) == {"b.jpg", "d.png"}
    assert float(seen["errors"][0]) > 1
    assert seen["errors"][1:] == [""] * (len(names) - 1)
    assert seen["errorsUp"] == seen["errors"]
    assert seen["byName"] == sorted(names)
    assert seen["filtered"] == ["a.png"]
    assert seen["count"] == "1 row"


def test_images_of_the_report_show_the_hands(order: ExportRequest, tmp_path: Path) -> None:
    export(order, "report")
    text = (order.out / "report.html").read_text(encoding="utf-8")
    encoded = text.split('src="data:image/jpeg;base64,')[1].split('"')[0]
    path = tmp_path / "one.jpg"
    path.write_bytes(base64.b64decode(encoded))
    image = read_image(path)
    assert np.abs(image.astype(int) - 90).max() > 60
    assert np.abs(image[:40, -40:].astype(int) - 90).max() < 12, "nothing is drawn beside the hand"


def test_large_folders_have_images_of_the_first_rows_only(
    order: ExportRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection_report, "MAX_IMAGES", 1)
    export(order, "report")
    text = (order.out / "report.html").read_text(encoding="utf-8")
    assert text.count("data:image/jpeg") == 1
    assert f"Only the first 1 of {len(order.images)} have their image" in text
    assert text.count("<tr>") == len(order.images) + 1


def test_without_opengl_the_report_has_plain_images_and_says_so(
    order: ExportRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise HandvizError("no OpenGL 3.3 without a window", ErrorCode.OPTION_CONFLICT)

    monkeypatch.setattr(inspection_report, "OffscreenRenderer", refuse)
    export(order, "report")
    text = (order.out / "report.html").read_text(encoding="utf-8")
    assert "Images are without meshes: no OpenGL 3.3" in text
    assert "data:image/jpeg" in text


def test_listing_of_the_order_is_one(order: ExportRequest) -> None:
    """The fixture's inspection has its ground truth."""
    events = Inspection(order.inspection, make=lambda _: Processor()).events()
    listing = next(events)
    assert isinstance(listing, Listing)
    assert listing.has_ground_truth
