"""``handviz reconstruct`` on images, folders and clips, good and bad."""

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import trimesh
from numbered_clips import write_uneven_clip
from PIL import Image

from handviz import api as api_module
from handviz.__main__ import main
from handviz.core.camera_files import opencv_text
from handviz.core.camera_model import camera_model_of_intrinsics
from handviz.core.files import read_arrays
from handviz.core.paths import PROJECT_ROOT
from handviz.core.records import Frame, FrameResult, HandTexture, Intrinsics
from handviz.core.termination import Terminated
from handviz.io import hands_json as report
from handviz.models.reconstructor import ModelCache
from handviz.pipeline import pipeline as pipeline_module
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from handviz.sources.images import read_image
from tests.errors import wrong_usage
from tests.hands import FakeLandmarker, made_up_detection
from tests.tiny_network import constant_hand, write_all_networks, write_network

HARD = Path(__file__).parents[1] / "sources" / "hard_clips"

HAND_KEYS = {
    "handedness",
    "detection_score",
    "keypoints_camera_m",
    "keypoints_image_px",
    "keypoint_std_mm",
    "vertex_std_mm",
    "uncertainty",
    "contradiction",
    "wrist_camera_m",
    "wrist_std_m",
    "assumed_focal_px",
    "distance_from_detector",
    "mesh",
}


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all_networks(tmp_path_factory.mktemp("networks"))


@pytest.fixture
def reconstruct(
    tmp_path: Path, networks: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, list[dict[str, Any]]]]:
    """Run the command; return its status and the list that it wrote."""
    monkeypatch.setattr(pipeline_module, "make_detector", FakeLandmarker)

    def run(source: Path, *options: str, overlays: bool = False) -> tuple[int, list[dict[str, Any]]]:
        out = tmp_path / "out"
        arguments = ["reconstruct", str(source), "--out", str(out), "--model-dir", str(networks), *options]
        status = main(arguments if overlays else [*arguments, "--no-overlays"])
        written = out / "hands.json"
        return status, json.loads(written.read_text()) if written.is_file() else []

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write two good images (one without a hand), and an unreadable one."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (320, 240), (90, 90, 90)).save(folder / "b.png")
    Image.new("RGB", (200, 240)).save(folder / "c.jpg")
    (folder / "a.jpg").write_bytes(b"broken")
    return folder


def test_covariances_are_written_beside_the_list(reconstruct: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    _, entries = reconstruct(folder, "--covariance")
    found = read_arrays(tmp_path / "out" / "hands.npz", "")
    assert found["image"].tolist() == ["b.png"]
    assert found["hand"].tolist() == [0]
    (covariance,), (hand,) = found["keypoint_covariance_mm2"], entries[1]["hands"]
    np.testing.assert_allclose(found["keypoints_m"][0], hand["keypoints_camera_m"], atol=1e-6)
    std_mm = np.sqrt(np.diag(covariance).reshape(21, 3).sum(axis=1))
    np.testing.assert_allclose(std_mm, hand["keypoint_std_mm"], rtol=1e-3)
    assert np.linalg.eigvalsh(covariance).min() > -1e-3
    assert found["vertices_from_displacements"].shape == (778, 21)
    assert hand["contradiction"]["expected"] > 0
    assert isinstance(hand["contradiction"]["flagged"], bool)


@pytest.mark.parametrize("other", [["--resume"], ["--shard", "1/2"]])
def test_covariances_are_of_one_whole_run(
    reconstruct: Callable[..., Any], folder: Path, capsys: pytest.CaptureFixture[str], other: list[str]
) -> None:
    status, _ = reconstruct(folder, "--covariance", *other)
    assert status != 0
    assert "--covariance" in capsys.readouterr().err


def test_a_folder_with_everything_in_it(
    reconstruct: Callable[..., Any], folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    status, entries = reconstruct(folder)
    assert status == 0
    assert [entry["file"] for entry in entries] == ["a.jpg", "b.png", "c.jpg"]
    assert [len(entry["hands"]) for entry in entries] == [0, 1, 0]
    assert "a.jpg" in caplog.text
    assert "a.jpg" in entries[0]["error"]
    assert (entries[1]["width"], entries[1]["height"]) == (320, 240)
    (hand,) = entries[1]["hands"]
    assert set(hand) == HAND_KEYS
    assert np.shape(hand["keypoints_camera_m"]) == (21, 3)
    assert np.shape(hand["keypoints_image_px"]) == (21, 2)
    assert np.shape(hand["keypoint_std_mm"]) == (21,)
    np.testing.assert_allclose(hand["keypoints_camera_m"][0], 0, atol=1e-6)
    assert 0 < hand["vertex_std_mm"]["mean"] < hand["vertex_std_mm"]["max"]
    assert hand["assumed_focal_px"] == pytest.approx(160 / np.tan(np.radians(30)), abs=1e-2)
    mesh = trimesh.load(tmp_path / "out" / hand["mesh"], process=False)
    assert len(mesh.vertices) == 778
    assert np.linalg.norm(mesh.vertices, axis=1).max() < 0.3


def test_the_model_s_own_probability_of_a_hand_is_a_key_where_it_has_one(
    reconstruct: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    write_network(own / "handviz_final.onnx", hand=constant_hand() | {"hand_probability": np.array(0.87654)})
    options = ("--mesh", "none", "--model-dir", str(own))
    _, entries = reconstruct(folder / "b.png", *options)
    (hand,) = entries[0]["hands"]
    assert set(hand) == HAND_KEYS | {"hand_probability"}
    assert hand["hand_probability"] == 0.8765


def test_the_detector_and_its_hands_are_options(reconstruct: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    clip = grey_clip(tmp_path / "clip.mkv", 1)
    expected = {(): ("handviz", 10, 2), ("--detector", "mediapipe", "--max-hands", "3"): ("mediapipe", 3, 3)}
    for options, (choice, of_images, of_clips) in expected.items():
        for source, most in ((folder / "b.png", of_images), (clip, of_clips)):
            FakeLandmarker.made.clear()
            reconstruct(source, "--mesh", "none", *options)
            assert [(made.choice, made.max_hands) for made in FakeLandmarker.made] == [(choice, most)]


def test_hands_beyond_the_most_of_an_image_are_counted_in_the_log(
    reconstruct: Callable[..., Any], folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = tuple(made_up_detection(size=20.0, x=25.0 * number) for number in range(1, 13))
    monkeypatch.setattr(FakeLandmarker, "detect", lambda *_: found)
    _, entries = reconstruct(folder / "b.png", "--mesh", "none")
    assert len(entries[0]["hands"]) == 10
    assert "b.png: 10 of 12 hands" in caplog.text
    caplog.clear()
    reconstruct(folder / "b.png", "--mesh", "none", "--max-hands", "12")
    assert "of 12 hands" not in caplog.text


def test_overlays_have_the_size_of_the_images(reconstruct: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    status, _ = reconstruct(folder, "--colour", "plain", "--mesh", "none", overlays=True)
    assert status == 0
    sizes = {path.name: read_image(path).shape for path in (tmp_path / "out" / "overlays").iterdir()}
    assert sizes == {"b.png": (240, 320, 3), "c.png": (240, 200, 3)}
    assert (read_image(tmp_path / "out" / "overlays" / "b.png") != 90).any()


def test_a_known_focal_length(reconstruct: Callable[..., Any], folder: Path) -> None:
    _, entries = reconstruct(folder / "b.png", "--focal-px", "500", "--mesh", "obj")
    assert entries[0]["assumed_focal_px"] == 500
    assert entries[0]["assumed_field_of_view_deg"] == pytest.approx(2 * np.degrees(np.arctan(160 / 500)), abs=1e-2)
    assert entries[0]["hands"][0]["mesh"].endswith("b_0_right.obj")


def test_camera_models_by_numbers_and_by_file(reconstruct: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    _, (assumed,) = reconstruct(folder / "b.png", "--mesh", "none")
    assert assumed["intrinsics"]["origin"] == "assumed"
    assert assumed["intrinsics"]["focal_std_share"] == 0.2
    _, (known,) = reconstruct(folder / "b.png", "--mesh", "none", "--intrinsics", "400", "410", "150", "125")
    stated = {"fx": 400, "fy": 410, "cx": 150, "cy": 125, "origin": "stated", "focal_std_share": 0.03}
    assert known["intrinsics"] == stated
    assert known["hands"][0]["wrist_std_m"][2] < 0.9 * assumed["hands"][0]["wrist_std_m"][2]
    camera_model = tmp_path / "lens.yml"
    camera_model.write_text(opencv_text(camera_model_of_intrinsics(Intrinsics(800, 320, 240), (640, 480))))
    _, (measured,) = reconstruct(folder / "b.png", "--mesh", "none", "--intrinsics", str(camera_model))
    assert (measured["intrinsics"]["fx"], measured["intrinsics"]["origin"]) == (400, "calibrated")


def test_a_measured_hand_sets_the_distance(reconstruct: Callable[..., Any], folder: Path) -> None:
    lengths = [reconstruct(folder / "b.png", "--mesh", "none", "--hand-length", mm)[1] for mm in ("100", "200")]
    near, far = (np.array(entries[0]["hands"][0]["wrist_camera_m"]) for entries in lengths)
    np.testing.assert_allclose(far, 2 * near, rtol=1e-3)


@pytest.mark.parametrize("numbers", [("1", "2"), ("a", "b", "c", "d")])
def test_intrinsics_are_four_numbers_or_a_file(folder: Path, tmp_path: Path, numbers: tuple[str, ...]) -> None:
    with wrong_usage():
        main(["reconstruct", str(folder), "--out", str(tmp_path / "out"), "--intrinsics", *numbers])


@pytest.mark.parametrize("numbers", [("none.json",), ("0", "0", "0", "0")])
def test_impossible_camera_models_get_a_message(
    reconstruct: Callable[..., Any], folder: Path, capsys: pytest.CaptureFixture[str], numbers: tuple[str, ...]
) -> None:
    status, _ = reconstruct(folder / "b.png", "--mesh", "none", "--intrinsics", *numbers)
    assert status == 1
    assert "handviz reconstruct: " in capsys.readouterr().err


def test_hands_json_names_the_network_that_was_used(reconstruct: Callable[..., Any], folder: Path) -> None:
    _, entries = reconstruct(folder, "--mesh", "none")
    named = {entry["file"]: entry.get("network", {}) for entry in entries}
    assert named["a.jpg"] == {}, "which is unreadable"
    for name in ("b.png", "c.jpg"):
        assert (named[name]["file"], named[name]["state"]) == ("handviz_final.onnx", "changed")
        assert len(named[name]["sha256"]) == 64
    assert not any("detector" in entry for entry in entries), "which is shipped"


class Texturing(pipeline_module.Pipeline):
    """A pipeline whose hands have a grey texture if, and only if, one is asked for."""

    def __init__(self, settings: PipelineSettings, config: PipelineConfig, models: ModelCache | None = None) -> None:
        self.texture = settings.texture
        super().__init__(dataclasses.replace(settings, texture=False), config, models)

    def process_with(self, frame: Frame, intrinsics: Intrinsics) -> FrameResult:
        result = super().process_with(frame, intrinsics)
        visible = np.full(778, 0.2)
        texture = HandTexture(np.full((778, 3), 0.5), np.full((778, 3), 0.5), visible, visible)
        hands = [dataclasses.replace(hand, texture=texture if self.texture else None) for hand in result.hands]
        return dataclasses.replace(result, hands=tuple(hands))


@pytest.mark.parametrize(
    ("options", "vertices", "files"),
    [
        (["--mesh", "glb"], 1609, {"glb"}),
        (["--mesh", "ply", "--colour", "texture"], 778, {"ply"}),
        (["--mesh", "ply", "--mesh-vertices", "display"], 1609, {"ply"}),
        (["--mesh", "obj", "--colour", "texture"], 1852, {"obj", "mtl", "png"}),
        (["--mesh", "glb", "--colour", "texture"], 1852, {"glb"}),
    ],
)
def test_every_kind_of_mesh(
    reconstruct: Callable[..., Any],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    vertices: int,
    files: set[str],
) -> None:
    monkeypatch.setattr(api_module, "Pipeline", Texturing)
    status, entries = reconstruct(folder / "b.png", *options)
    assert status == 0
    (hand,) = entries[0]["hands"]
    mesh = trimesh.load(tmp_path / "out" / hand["mesh"], process=False, force="mesh")
    assert len(mesh.vertices) == vertices
    assert {path.name for path in (tmp_path / "out" / "meshes").iterdir()} == {f"b_0_right.{kind}" for kind in files}
    assert hand["mesh"] == f"meshes/b_0_right.{options[1]}"


def test_namesakes_do_not_overwrite_each_other(reconstruct: Callable[..., Any], folder: Path) -> None:
    Image.new("RGB", (320, 240), (90, 90, 90)).save(folder / "b.jpg")
    _, entries = reconstruct(folder)
    meshes = [hand["mesh"] for entry in entries for hand in entry["hands"]]
    assert len(set(meshes)) == len(meshes) == 2


def test_every_second_frame_of_a_clip(reconstruct: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (320, 240))
    for _ in range(5):
        writer.write(np.full((240, 320, 3), 90, np.uint8))
    writer.release()
    status, entries = reconstruct(path, "--every", "2", "--model", "prior", "--smoothing", "0.5")
    assert status == 0
    assert [entry["file"] for entry in entries] == [f"clip.mp4#{number:06d}" for number in (0, 2, 4)]
    assert {entry["variant"] for entry in entries} == {"prior"}
    assert [entry["time_ms"] for entry in entries] == [0.0, 80.0, 160.0]
    assert [[hand["track_id"] for hand in entry["hands"]] for entry in entries] == [[1]] * 3


def test_times_are_those_of_the_clip_and_images_have_none(
    reconstruct: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    _, entries = reconstruct(write_uneven_clip(tmp_path / "uneven.mkv", [0, 1, 7, 9]))
    assert [entry["time_ms"] for entry in entries] == [0.0, 20.0, 140.0, 180.0]
    _, entries = reconstruct(folder)
    assert not any("time_ms" in entry for entry in entries)


def test_frames_that_are_damaged_are_listed_in_their_place(reconstruct: Callable[..., Any]) -> None:
    status, entries = reconstruct(HARD / "damaged_middle.mp4")
    assert status == 0
    assert [entry["file"] for entry in entries] == [f"damaged_middle.mp4#{number:06d}" for number in range(30)]
    assert [number for number, entry in enumerate(entries) if "error" in entry] == [11, 12, 13]
    assert entries[14]["time_ms"] == pytest.approx(14 / 30 * 1000, abs=0.1)


def test_animations_are_played_and_pages_that_are_not_used_are_told(
    reconstruct: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, entries = reconstruct(HARD / "ten_frames.gif")
    assert [entry["time_ms"] for entry in entries] == [100.0 * number for number in range(10)]
    first, second = (Image.new("RGB", (64, 48), (grey,) * 3) for grey in (90, 120))
    first.save(tmp_path / "pages.tif", save_all=True, append_images=[second])
    told = "pages.tif: only the first of 2 frames is used"
    for more in ((), ("--resume",)):
        caplog.clear()
        assert reconstruct(tmp_path / "pages.tif", *more)[0] == 0
        assert told in caplog.text


def test_a_clip_that_breaks_off_is_named(
    reconstruct: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (320, 240))
    noise = np.random.default_rng(0).integers(0, 256, (9, 240, 320, 3), dtype=np.uint8)
    for image in noise:
        writer.write(image)
    writer.release()
    whole = clip.read_bytes()
    clip.write_bytes(whole[: len(whole) // 2])
    status, entries = reconstruct(clip)
    assert (status, 0 < len(entries) < 9) == (0, True)
    assert f"cut.avi: of 9 frames only {len(entries)} can be read" in caplog.text


def test_nothing_that_can_be_read(reconstruct: Callable[..., Any], folder: Path) -> None:
    (folder / "b.png").unlink()
    (folder / "c.jpg").unlink()
    status, entries = reconstruct(folder)
    assert status == 1
    assert [entry["file"] for entry in entries] == ["a.jpg"]


@pytest.mark.parametrize("name", ["absent.jpg", "absent/"])
def test_an_input_that_is_not_there(
    reconstruct: Callable[..., Any], tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reconstruct(tmp_path / name) == (1, [])
    assert "absent" in capsys.readouterr().err


def test_an_output_that_is_a_file(
    reconstruct: Callable[..., Any], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("in the way")
    assert reconstruct(folder)[0] == 1
    assert f"the folder {tmp_path / 'out'} cannot be made" in capsys.readouterr().err


def test_an_interruption_keeps_what_is_done(
    reconstruct: Callable[..., Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detect = FakeLandmarker.detect

    def detect_once(self: FakeLandmarker, frame: Frame) -> Any:
        if frame.name == "c.jpg":
            raise KeyboardInterrupt
        return detect(self, frame)

    monkeypatch.setattr(FakeLandmarker, "detect", detect_once)
    status, entries = reconstruct(folder)
    assert status == 130
    assert [entry["file"] for entry in entries] == ["a.jpg", "b.png"]


def stop_at(monkeypatch: pytest.MonkeyPatch, stop: BaseException, *, calls: int) -> list[int]:
    """Let the detector stop the run at this call; return the list of its calls."""
    detect, seen = FakeLandmarker.detect, list[int]()

    def detect_or_stop(self: FakeLandmarker, frame: Frame) -> Any:
        seen.append(frame.number)
        if len(seen) == calls:
            raise stop
        return detect(self, frame)

    monkeypatch.setattr(FakeLandmarker, "detect", detect_or_stop)
    return seen


def grey_clip(path: Path, frames: int) -> Path:
    return write_uneven_clip(path, [2 * number for number in range(frames)])


def test_the_list_grows_beside_the_old_one(
    reconstruct: Callable[..., Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies there when a process is killed: here when the third image begins."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "hands.json").write_text("[]")
    at_third: list[str] = []
    detect = FakeLandmarker.detect

    def look(self: FakeLandmarker, frame: Frame) -> Any:
        if frame.name == "c.jpg":
            assert (out / "hands.json").read_text() == "[]"
            (journal,) = out.rglob("*.jsonl")
            at_third.extend(journal.read_text().splitlines())
        return detect(self, frame)

    monkeypatch.setattr(FakeLandmarker, "detect", look)
    status, entries = reconstruct(folder)
    assert status == 0
    assert [json.loads(line) for line in at_third] == entries[:2]
    assert not (out / "shards").exists(), "the journal goes with the end of the run"


def test_an_interrupted_run_of_images_is_resumed_with_the_same_result(
    reconstruct: Callable[..., Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (320, 240), (90, 90, 90)).save(folder / "b10.png")
    _, whole = reconstruct(folder)
    stop_at(monkeypatch, KeyboardInterrupt(), calls=2)
    status, part = reconstruct(folder)
    assert (status, part) == (130, whole[:2])
    calls = stop_at(monkeypatch, KeyboardInterrupt(), calls=0)
    assert reconstruct(folder, "--resume") == (0, whole)
    assert len(calls) == 2, "what is done is not done again"


def test_an_interrupted_clip_is_resumed(
    reconstruct: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clip = grey_clip(tmp_path / "clip.mkv", 9)
    _, whole = reconstruct(clip, "--every", "2", "--mesh", "none")
    stop_at(monkeypatch, Terminated(signal.SIGTERM), calls=4)
    assert reconstruct(clip, "--every", "2", "--mesh", "none") == (143, whole[:3])
    calls = stop_at(monkeypatch, KeyboardInterrupt(), calls=0)
    caplog.set_level("INFO")
    assert reconstruct(clip, "--every", "2", "--mesh", "none", "--resume") == (0, whole)
    assert calls == [6, 8]
    assert "begin anew at clip.mkv#000006" in caplog.text


def test_a_clip_is_not_resumed_with_other_options(
    reconstruct: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = grey_clip(tmp_path / "clip.mkv", 5)
    stop_at(monkeypatch, KeyboardInterrupt(), calls=3)
    reconstruct(clip)
    for other in (["--every", "2"], ["--smoothing", "0.5"], ["--side", "left"]):
        assert reconstruct(clip, "--resume", *other)[0] == 1
        assert "contains another run" in capsys.readouterr().err


def test_an_end_before_the_first_image_leaves_the_old_list(
    reconstruct: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = grey_clip(tmp_path / "clip.mkv", 3)
    _, whole = reconstruct(clip)
    stop_at(monkeypatch, KeyboardInterrupt(), calls=1)
    assert reconstruct(clip) == (130, whole)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_process_loses_at_most_the_image_under_way(tmp_path: Path, networks: Path) -> None:
    """The process really ends, while its third image is looked at."""
    folder, out = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (320, 240), (90, 90, 90)).save(folder / f"{number}.png")
    script = (
        "import os, signal, sys\nfrom handviz.__main__ import main\nfrom handviz.pipeline import pipeline\n"
        "from tests.hands import FakeLandmarker\n"
        "class Killing(FakeLandmarker):\n"
        "    def detect(self, frame):\n"
        "        if frame.name == '2.png' and '--resume' not in sys.argv: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().detect(frame)\n"
        "pipeline.make_detector = Killing\nsys.exit(main(sys.argv[1:]))"
    )
    words = ["reconstruct", str(folder), "--out", str(out), "--model-dir", str(networks), "--no-overlays"]
    run = [sys.executable, "-c", script, *words]
    first = subprocess.run(run, cwd=PROJECT_ROOT, capture_output=True, check=False)
    assert first.returncode == -signal.SIGKILL
    assert not (out / "hands.json").exists()
    subprocess.run([*run, "--resume"], cwd=PROJECT_ROOT, capture_output=True, check=True)
    entries = json.loads((out / "hands.json").read_text())
    assert [(entry["file"], len(entry["hands"])) for entry in entries] == [(f"{number}.png", 1) for number in range(4)]


@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_files_of_kinds_that_are_not_read_are_in_the_list(
    reconstruct: Callable[..., Any], folder: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    (folder / "bb.psd").write_bytes(b"8BPS" + bytes(100))
    (folder / "notes.txt").write_text("no image")
    status, entries = reconstruct(folder, *more)
    assert status == 0
    assert [entry["file"] for entry in entries] == ["a.jpg", "b.png", "bb.psd", "c.jpg"]
    assert "bb.psd: " in entries[2]["error"]
    if not more:
        assert "2 images with 1 hands, 1 unreadable, 1 of kinds that are not read" in capsys.readouterr().out


def test_files_of_other_runs_are_counted_and_left(
    reconstruct: Callable[..., Any], folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reconstruct(folder)
    assert "other files" not in caplog.text
    reconstruct(folder)
    assert "other files" not in caplog.text, "the same run again"
    (tmp_path / "out" / "meshes" / "mine.txt").write_text("kept")
    reconstruct(folder, "--side", "left")
    assert "2 other files in meshes and overlays" in caplog.text
    names = {path.name for path in (tmp_path / "out" / "meshes").iterdir()}
    assert names == {"b_0_right.ply", "b_0_left.ply", "mine.txt"}


@pytest.mark.parametrize("letter", ["x", "\u624b", "\U0001f590"])
def test_names_as_long_as_the_system_allows(reconstruct: Callable[..., Any], folder: Path, letter: str) -> None:
    count = (255 - len("1.png")) // len(letter.encode())
    for digit in "12":
        Image.new("RGB", (320, 240), (90, 90, 90)).save(folder / f"{letter * count}{digit}.png")
    status, entries = reconstruct(folder, overlays=True)
    assert status == 0
    meshes = [hand["mesh"] for entry in entries for hand in entry["hands"]]
    assert len(set(meshes)) == 3
    assert [entry["file"] for entry in entries if "error" in entry] == ["a.jpg"]
    assert max(len(os.fsencode(Path(mesh).name)) for mesh in meshes) <= 255
    assert f"{letter * count}2.png" in [entry["file"] for entry in entries]


def test_a_clip_with_a_name_as_long_as_the_system_allows(reconstruct: Callable[..., Any], tmp_path: Path) -> None:
    status, entries = reconstruct(grey_clip(tmp_path / f"{'x' * 251}.mkv", 2), overlays=True)
    assert (status, len(entries)) == (0, 2)
    assert len({hand["mesh"] for entry in entries for hand in entry["hands"]}) == 2


def test_a_disk_that_is_full_ends_the_run_and_keeps_the_old_list(
    reconstruct: Callable[..., Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (folder / "a.jpg").unlink()
    _, whole = reconstruct(folder)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "b_0_right.ply")

    monkeypatch.setattr("handviz.pipeline.image_request.export_mesh", full)
    assert reconstruct(folder) == (1, whole)
    assert "free space" in capsys.readouterr().err


def test_the_list_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "hands.json"
    report.write_report(path, [{"file": "a.jpg"}])
    with pytest.raises(ValueError, match="JSON compliant"):
        report.write_report(path, [{"file": float("nan")}])
    assert json.loads(path.read_text()) == [{"file": "a.jpg"}]


@pytest.mark.parametrize("options", [["--field-of-view", "0"], ["--focal-px", "-1"], ["--every", "0"]])
def test_numbers_that_make_no_sense(options: list[str], folder: Path, tmp_path: Path) -> None:
    with wrong_usage():
        main(["reconstruct", str(folder), "--out", str(tmp_path / "out"), *options])
