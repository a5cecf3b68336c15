"""Hands of a model without uncertainty, or with one number for all points, in every file and stream."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from hands import textured_hand

from handviz.__main__ import main
from handviz.core.errors import ErrorCode
from handviz.core.records import Detection, Frame, FrameResult, HandMesh
from handviz.io.hand_pack import pack_hands, unpack_hands
from handviz.io.hands_json import image_entry
from handviz.io.mesh_export import export_mesh
from handviz.io.recording.recorded import read_entries, read_tracks
from handviz.io.recording.recording import TABLE, VERTICES, Recording
from handviz.io.recording.timed_results import TimedResult, timed_result_of
from handviz.io.recording.udp import Datagrams
from tests.errors import raises
from tests.io.test_datagrams import read_osc

NONE = {"vertex_std_mm": None, "keypoint_std_mm": None}


def plain_hand() -> HandMesh:
    return replace(textured_hand(), model="mediapipe", texture=None, **NONE)


def timed_result(hand: HandMesh, number: int = 0) -> TimedResult:
    frame = Frame(number, np.zeros((480, 640, 3), np.uint8), 40.0 * number)
    return timed_result_of(FrameResult(frame, hand.model, hands=(hand,)), "clip.mp4")


def entry_of(hand: HandMesh) -> dict[str, Any]:
    frame = Frame(0, np.zeros((480, 640, 3), np.uint8), 0.0)
    detection = Detection(hand.handedness, 0.9, hand.keypoints_px)
    result = FrameResult(frame, hand.model, (detection,), (hand,))
    entry: dict[str, Any] = json.loads(
        json.dumps(image_entry("a.png", result, hand.intrinsics, [None]), allow_nan=False)
    )
    found: dict[str, Any] = entry["hands"][0]
    return found


def record(folder: Path, *hands: HandMesh) -> Path:
    recording = Recording(folder, with_video=False, reserve_bytes=0)
    for number, hand in enumerate(hands):
        recording.add_result(timed_result(hand, number), number / 25)
    recording.close()
    return folder


def test_hands_json_has_null_and_says_which_kind_it_is() -> None:
    plain = entry_of(plain_hand())
    assert (plain["vertex_std_mm"], plain["keypoint_std_mm"], plain["uncertainty"]) == (None, None, "none")
    steady = entry_of(replace(textured_hand(), vertex_std_mm=np.full(778, 4.0), keypoint_std_mm=np.full(21, 4.0)))
    assert (steady["vertex_std_mm"], steady["uncertainty"]) == ({"mean": 4.0, "max": 4.0}, "constant")
    assert entry_of(textured_hand())["uncertainty"] == "per_vertex"


@pytest.mark.parametrize("colour", ["uncertainty", "plain"])
@pytest.mark.parametrize("suffix", ["ply", "obj", "glb"])
def test_meshes_are_drawn_plain_and_ply_lacks_the_column(tmp_path: Path, suffix: str, colour: Any) -> None:
    path, plain = tmp_path / f"hand.{suffix}", tmp_path / f"plain.{suffix}"
    export_mesh(path, plain_hand(), colour=colour)
    export_mesh(plain, plain_hand(), colour="plain")
    assert path.read_bytes() == plain.read_bytes()
    assert b"vertex_std_mm" not in path.read_bytes()
    (mesh,) = trimesh.load(path, process=False, force="scene").geometry.values()
    assert len(mesh.vertices) >= 778


def test_ply_of_other_models_has_the_column(tmp_path: Path) -> None:
    export_mesh(tmp_path / "hand.ply", textured_hand(), colour="plain")
    assert b"property float vertex_std_mm" in (tmp_path / "hand.ply").read_bytes()


def test_a_recording_has_null_empty_cells_and_not_a_number_per_vertex(tmp_path: Path) -> None:
    folder = record(tmp_path / "recording", plain_hand(), plain_hand())
    lines = list(read_entries(folder))
    assert [line["hands"][0]["vertex_std_mm"] for line in lines] == [None, None]
    assert "NaN" not in (folder / "hands.jsonl").read_text()
    rows = list(csv.DictReader(io.StringIO((folder / TABLE).read_text(encoding="utf-8-sig"))))
    assert len(rows) == 2
    assert {row["index_4_std_mm"] for row in rows} == {""}
    assert all(float(row["index_4_x_m"]) for row in rows)
    numbers = np.fromfile(folder / VERTICES, "<f4").reshape(2, 778, 4)
    assert np.isnan(numbers[..., 3]).all()
    assert np.isfinite(numbers[..., :3]).all()
    (track,) = read_tracks(folder)
    assert track.vertex_std_mm is None


def test_a_recording_that_changes_to_such_a_model_can_be_read(tmp_path: Path) -> None:
    folder = record(tmp_path / "recording", replace(textured_hand(), texture=None), plain_hand())
    (track,) = read_tracks(folder)
    assert track.vertex_std_mm is None
    assert len(track.times_s) == 2


def test_single_deviations_that_are_no_numbers_are_damage(tmp_path: Path) -> None:
    folder = record(tmp_path / "recording", textured_hand(), textured_hand())
    numbers = np.fromfile(folder / VERTICES, "<f4")
    numbers[3] = np.nan
    numbers.tofile(folder / VERTICES)
    with raises(ErrorCode.FILE_DAMAGED):
        read_tracks(folder)


@pytest.mark.parametrize("colour", ["uncertainty", "plain"])
def test_animations_are_plain(tmp_path: Path, colour: str) -> None:
    folder = record(tmp_path / "recording", *(plain_hand() for _ in range(6)))
    assert main(["animate", str(folder), "--colour", colour, "--out", str(tmp_path / colour)]) == 0
    (mesh,) = trimesh.load(tmp_path / colour / "hands.glb", process=False, force="scene").geometry.values()
    colours = np.asarray(mesh.visual.vertex_colors) if mesh.visual.kind == "vertex" else np.zeros((1, 4))
    assert len(np.unique(colours[:, :3], axis=0)) == 1
    assert (tmp_path / colour / "right.bvh").read_text().startswith("HIERARCHY")


def test_streams_have_null_or_no_floats() -> None:
    (datagram,) = Datagrams("JSON").of(timed_result(plain_hand()))
    (hand,) = json.loads(datagram, parse_constant=pytest.fail)["hands"]
    assert (hand["keypoint_std_mm"], hand["vertex_std_mm"], hand["uncertainty"]) == (None, None, "none")
    _, bundle = (read_osc(part) for part in Datagrams("OSC").of(timed_result(plain_hand())))
    assert bundle["/handviz/right/keypoint_std_mm"] == []
    assert bundle["/handviz/right/vertex_std_mm"] == []
    assert len(bundle["/handviz/right/keypoints"]) == 63


def test_stored_hands_come_back_without_uncertainty() -> None:
    detection = Detection("right", 0.9, plain_hand().keypoints_px)
    (hand,), _ = unpack_hands(pack_hands((plain_hand(),), (detection,)))
    assert (hand.vertex_std_mm, hand.keypoint_std_mm, hand.uncertainty) == (None, None, "none")
    np.testing.assert_allclose(hand.vertices_m, plain_hand().vertices_m, atol=1e-6)
