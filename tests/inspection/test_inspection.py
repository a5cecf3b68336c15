"""Folders inspected without a window: stored results, repeated work, bad input."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handviz.core.camera_model import CameraModel
from handviz.core.errors import ErrorCode
from handviz.core.paths import PROJECT_ROOT
from handviz.core.records import Detection, Frame, FrameResult
from handviz.hand_models.open_hand import load_open_hand
from handviz.inspection.columns import ImageRow, InspectionRequest, Listing, common_range_mm
from handviz.inspection.inspection import Inspection, visible_fraction
from handviz.inspection.store import InspectionStore, delete_old_inspections, signature_of
from handviz.io.hand_pack import pack_hands, unpack_hands
from tests.errors import raises
from tests.hands import made_up_detection, shifted, textured_hand


class Processor:
    """Finds the same textured hand in every image that is not black, and records the images."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.is_closed = False
        self.left_out = 0
        self.before: Callable[[Frame], None] = lambda _: None

    def process(self, frame: Frame) -> FrameResult:
        """Return one hand, or none."""
        self.before(frame)
        self.seen.append(frame.name)
        hands = (textured_hand(),) if frame.image.any() else ()
        detections = tuple(made_up_detection() for _ in hands)
        return FrameResult(frame, "final", detections, hands, left_out=self.left_out)

    def close(self) -> None:
        """Record the call."""
        self.is_closed = True


def write_images(folder: Path, *names: str, grey: int = 90) -> Path:
    """Write small grey images."""
    folder.mkdir(exist_ok=True)
    for name in names:
        Image.new("RGB", (320, 240), (grey, grey, grey)).save(folder / name)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write two images with a hand, one without, and one that cannot be read."""
    folder = write_images(tmp_path / "pictures", "a.png", "c.png")
    write_images(folder, "d.png", grey=0)
    (folder / "b.jpg").write_bytes(b"broken")
    return folder


def inspect(folder: Path, processor: Processor, *, most: int | None = None) -> tuple[Listing, dict[str, ImageRow]]:
    """Return the first listing, and every row as it was in the end; ``most`` images, then it is cancelled."""
    inspection = Inspection(InspectionRequest(folder), make=lambda _: processor)
    events = inspection.events()
    listing = next(events)
    assert isinstance(listing, Listing)
    rows = {row.file: row for row in listing.rows}
    for number, event in enumerate(events, start=1):
        if isinstance(event, Listing):
            rows = {row.file: row for row in event.rows}
        else:
            rows[event.file] = event
        if number == most:
            inspection.cancel()
    return listing, rows


def test_every_image_gets_its_row(folder: Path) -> None:
    processor = Processor()
    listing, rows = inspect(folder, processor)
    assert [(row.file, row.state) for row in listing.rows] == [
        (n, "waiting") for n in ("a.png", "b.jpg", "c.png", "d.png")
    ]
    assert {name: (row.state, len(row.hands)) for name, row in rows.items()} == {
        "a.png": ("done", 1),
        "b.jpg": ("failed", 0),
        "c.png": ("done", 1),
        "d.png": ("done", 0),
    }
    assert "not an image" in rows["b.jpg"].reason
    (hand,) = rows["a.png"].hands
    assert (hand.handedness, hand.score, hand.max_std_mm) == ("right", 0.9, 12.0)
    assert (rows["a.png"].width, rows["a.png"].height) == (320, 240)
    assert processor.is_closed


def test_what_is_kept_is_not_done_again(folder: Path) -> None:
    counting = Processor()
    counting.left_out = 4
    _, first = inspect(folder, counting, most=2)
    assert first["a.png"].left_out == 4
    assert [name for name, row in first.items() if row.state == "waiting"] == ["c.png", "d.png"]
    processor = Processor()
    listing, second = inspect(folder, processor)
    assert [row.state for row in listing.rows] == ["done", "waiting", "waiting", "waiting"]
    assert processor.seen == ["c.png", "d.png"]
    assert second["a.png"] == first["a.png"]
    write_images(folder, "a.png", grey=120)
    changed = Processor()
    inspect(folder, changed)
    assert changed.seen == ["a.png"]


def test_another_network_or_camera_has_results_of_its_own(folder: Path) -> None:
    order = InspectionRequest(folder)
    kept = {
        Inspection(one).results_path
        for one in (
            order,
            replace(order, model="prior"),
            replace(order, camera_model=CameraModel("angle", 70.0)),
            order,
        )
    }
    assert len(kept) == 3


KILLED = """
import os, signal, sys
from pathlib import Path
from handviz.inspection.inspection import Inspection
from handviz.core.camera_model import CameraModel
from handviz.inspection.columns import InspectionRequest
from tests.inspection.test_inspection import Processor
inspection = Inspection(InspectionRequest(Path(sys.argv[1])), make=lambda _: Processor())
events = inspection.events()
next(events)
next(events)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_run_goes_on_where_it_was(folder: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(folder)]
    outcome = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == -signal.SIGKILL, outcome.stderr
    processor = Processor()
    listing, _ = inspect(folder, processor)
    assert listing.rows[0].state == "done"
    assert processor.seen == ["c.png", "d.png"]


def test_a_damaged_file_of_results_is_put_aside(folder: Path) -> None:
    kept = Inspection(InspectionRequest(folder)).results_path
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"this is no database" * 100)
    _, rows = inspect(folder, Processor())
    assert rows["a.png"].state == "done"
    assert kept.with_suffix(".damaged").exists()


def test_a_message_of_the_database_that_is_no_text_is_damage_too(folder: Path) -> None:
    kept = folder / "results.sqlite"
    InspectionStore(kept).close()
    content = kept.read_bytes()
    assert b"PRIMARY KEY, text TEXT" in content
    kept.write_bytes(content.replace(b"PRIMARY KEY, text TEXT", b"PRIMARY KEY\xac text TEXT"))
    with InspectionStore(kept) as store:
        assert store.known() == []
    assert kept.with_suffix(".damaged").exists()


@pytest.mark.parametrize("hands", ["{", "[[1]]", "[7]"])
def test_a_file_of_results_that_is_damaged_further_in_is_put_aside(folder: Path, hands: str) -> None:
    inspect(folder, Processor())
    kept = Inspection(InspectionRequest(folder)).results_path
    with contextlib.closing(sqlite3.connect(kept)) as file, file:
        file.execute("UPDATE pictures SET hands = ?", (hands,))
    processor = Processor()
    _, rows = inspect(folder, processor)
    assert rows["a.png"].state == "done"
    assert "a.png" in processor.seen
    assert kept.with_suffix(".damaged").exists()


def test_a_place_for_results_that_cannot_be_written_is_a_message(folder: Path, settings_folder: Path) -> None:
    settings_folder.write_text("a file where the folder should be")
    with raises(ErrorCode.NOT_WRITABLE):
        inspect(folder, Processor())


def test_a_full_disk_is_a_message_and_what_was_written_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(folder, *(f"e{number}.png" for number in range(9)))
    opened = InspectionStore._opened

    def on_a_small_disk(self: InspectionStore) -> sqlite3.Connection:
        file = opened(self)
        file.execute("PRAGMA max_page_count=40")
        return file

    with monkeypatch.context() as patch:
        patch.setattr(InspectionStore, "_opened", on_a_small_disk)
        with raises(ErrorCode.NOT_WRITABLE):
            inspect(folder, Processor())
    processor = Processor()
    listing, rows = inspect(folder, processor)
    done = [row.file for row in listing.rows if row.state == "done"]
    assert 1 < len(done) < 9
    assert not set(done) & set(processor.seen)
    assert rows["e8.png"].state == "done"


@pytest.mark.parametrize("path", ["absent", "a.png"])
def test_a_folder_that_is_none_is_a_message(folder: Path, path: str) -> None:
    with raises(ErrorCode.FILE_MISSING):
        Inspection(InspectionRequest(folder / path))


def test_images_that_come_go_and_change_meanwhile(folder: Path) -> None:
    processor = Processor()

    def change(frame: Frame) -> None:
        if frame.name == "a.png" and not (folder / "e.png").exists():
            write_images(folder, "e.png")
            write_images(folder, "b.jpg")
            (folder / "d.png").unlink()
            Image.new("RGB", (32, 24), (9, 9, 9)).save(folder / "a.png")

    processor.before = change
    _, rows = inspect(folder, processor)
    assert {name: row.state for name, row in rows.items()} == dict.fromkeys(
        ("a.png", "b.jpg", "c.png", "e.png"), "done"
    )
    assert processor.seen.count("a.png") == 2
    assert rows["a.png"].width == 32


def test_a_folder_that_goes_is_a_message_and_what_is_done_is_kept(folder: Path) -> None:
    processor = Processor()
    moved = folder.with_name("moved")
    processor.before = lambda frame: folder.rename(moved) if frame.name == "c.png" else None
    with raises(ErrorCode.FILE_UNREADABLE):
        inspect(folder, processor)
    moved.rename(folder)
    listing, _ = inspect(folder, Processor())
    assert "a.png" in [row.file for row in listing.rows if row.state == "done"]


def test_an_image_that_makes_the_pipeline_fail_does_not_end_the_folder(folder: Path) -> None:
    processor = Processor()

    def fail(frame: Frame) -> None:
        if frame.name == "a.png":
            raise ZeroDivisionError("of all things")

    processor.before = fail
    _, rows = inspect(folder, processor)
    assert rows["a.png"].state == "failed"
    assert "of all things" in rows["a.png"].reason
    assert rows["c.png"].state == "done"


@pytest.mark.skipif(sys.platform != "linux", reason="only there are names any bytes")
def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"hand\xff.png")
    folder = write_images(tmp_path / "odd", name)
    inspect(folder, Processor())
    listing, _ = inspect(folder, Processor())
    assert [(row.file, row.state) for row in listing.rows] == [(name, "done")]


def write_truth(folder: Path, hands: object, file: str = "a.png") -> None:
    """Write a ground truth of one image."""
    (folder / "ground_truth.json").write_text(json.dumps([{"file": file, "hands": hands}]))


def test_errors_against_a_ground_truth(folder: Path) -> None:
    points = textured_hand().keypoints_m
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    far = points.copy()
    far[0] += 0.021
    truths = [
        {"handedness": "left", "keypoints_camera_m": points.tolist()},
        {"handedness": "right", "keypoints_camera_m": (3 * points @ turn.T + 7).tolist()},
        {"handedness": "right", "keypoints_camera_m": far.tolist()},
    ]
    for truth, error_mm, aligned_mm in (
        (truths[:1], None, None),
        (truths[1:2], np.linalg.norm(3 * points @ turn.T - points, axis=1).mean() * 1000, 0.0),
        # The wrist is laid on the wrist, so an error of the true wrist moves all other keypoints.
        (truths, 20 / 21 * np.linalg.norm([21.0] * 3), None),
    ):
        write_truth(folder, truth)
        listing, rows = inspect(folder, Processor())
        (hand,) = rows["a.png"].hands
        assert listing.has_ground_truth
        assert hand.error_mm == (None if error_mm is None else pytest.approx(error_mm, rel=1e-5))
        if aligned_mm is not None:
            assert hand.aligned_error_mm == pytest.approx(aligned_mm, abs=1e-3)


def hand_of(points: list[list[float]]) -> dict[str, object]:
    """Return a right hand of the ground truth."""
    return {"handedness": "right", "keypoints_camera_m": points}


GOOD_HAND = hand_of([[0.0, 0.0, 0.0]] * 21)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "line 1"),
        ("[" * 100_000, "cannot be used"),
        ('{"file": "a.png"}', "a valid array"),
        ("[3]", "[0]: "),
        (json.dumps([{"file": "a.png"}]), "[0].hands: "),
        (json.dumps([{"file": "a.png", "hands": [3]}]), "[0].hands[0]: "),
        (json.dumps([{"file": "a.png", "hands": [GOOD_HAND | {"keypoints_camera_m": [[1, 2]]}]}]), "21 x 3"),
        (json.dumps([{"file": "a.png", "hands": [GOOD_HAND | {"keypoints_camera_m": [[1], [1, 2]]}]}]), "21 x 3"),
        ('[{"file": "a.png", "hands": [{"handedness": "right", "keypoints_camera_m": NaN}]}]', "21 x 3"),
        (json.dumps([{"file": "a.png", "hands": [hand_of([[0, 0, 500]] * 20 + [[0, 180, 500]])]}]), "in metres"),
        (json.dumps([{"file": "a.png", "hands": [hand_of([[1e308, 0, 0]] * 20 + [[-1e308, 0, 0]])]}]), "in metres"),
    ],
)
def test_a_malformed_ground_truth_is_a_message_and_images_are_inspected(
    folder: Path, text: str, complaint: str
) -> None:
    (folder / "ground_truth.json").write_text(text)
    listing, rows = inspect(folder, Processor())
    assert complaint in listing.note
    assert not listing.has_ground_truth
    assert rows["a.png"].state == "done"


def test_a_ground_truth_of_other_images_is_told(folder: Path) -> None:
    write_truth(folder, [GOOD_HAND], "elsewhere.png")
    listing, _ = inspect(folder, Processor())
    assert "elsewhere.png" in listing.note


def test_hands_come_back_as_they_were_kept() -> None:
    hands = (textured_hand(), textured_hand(handedness="left"))
    detections = (made_up_detection(), made_up_detection("left"))
    back, back_detections = unpack_hands(pack_hands(hands, detections))
    for hand, same in zip(hands, back, strict=True):
        np.testing.assert_allclose(same.vertices_m, hand.vertices_m, atol=1e-8)
        np.testing.assert_array_equal(same.keypoints_m, hand.keypoints_m)
        np.testing.assert_array_equal(same.wrist_camera_m, hand.wrist_camera_m)
        assert (same.handedness, same.intrinsics, same.model) == (hand.handedness, hand.intrinsics, hand.model)
        assert same.texture is not None
        assert same.texture.sampled_px is None
    assert isinstance(back_detections[1], Detection)
    np.testing.assert_array_equal(back_detections[1].keypoints_px, detections[1].keypoints_px)
    with raises(ErrorCode.FILE_DAMAGED):
        unpack_hands(b"no such thing")


def test_visible_fraction_is_that_of_what_the_image_and_the_hand_leave_open() -> None:
    hand, faces = textured_hand(wrist_px=(150.0, 200.0)), load_open_hand().faces
    whole = visible_fraction(hand, faces, (320, 240))
    assert 0.3 < whole < 0.7
    assert visible_fraction(
        textured_hand(handedness="left", wrist_px=(150.0, 200.0)), faces, (320, 240)
    ) == pytest.approx(whole, abs=0.02)
    assert visible_fraction(shifted(hand, -1e4, -1e4), faces, (320, 240)) == 0


def test_only_the_last_inspections_are_kept(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.sqlite" for number in range(4)]
    for age, path in enumerate(paths):
        InspectionStore(path).close()
        os.utime(path, (1000 - age, 1000 - age))
    delete_old_inspections(paths[3], most=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.sqlite", "1.sqlite", "3.sqlite"]
    assert signature_of(paths[0]).mtime_ns == 1000 * 10**9


def test_one_scale_for_the_whole_folder(folder: Path) -> None:
    _, rows = inspect(folder, Processor())
    low_mm, high_mm = common_range_mm(rows.values())
    assert low_mm < 7 < 12 <= high_mm
    assert common_range_mm([]) == (0.0, 20.0)
