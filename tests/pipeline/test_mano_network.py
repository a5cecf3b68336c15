"""A network of a user's MANO from training to the screen; the stand-in's is OpenHand's in another order and axes."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from handviz.__main__ import main
from handviz.core.paths import CLIP_FILE, MODELS, PROJECT_ROOT
from handviz.core.records import Detection, Frame, FrameResult, Handedness, HandMesh
from handviz.core.skeleton import KEYPOINT_NAMES
from handviz.hand_models.choice import hand_model
from handviz.inspection.point_reading import read_point
from handviz.io.mesh_export import export_mesh
from handviz.io.recording.animated_glb import animated_glb, fit_tracks
from handviz.io.recording.bvh import fit_skeleton
from handviz.io.recording.recorded import Track
from handviz.pipeline import pipeline as pipeline_module
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from handviz.rendering.highlight import Pick
from tests.fake_datasets.stand_in_mano import stand_in_template, vertex_order
from tests.hands import FakeLandmarker, made_up_detection
from tests.mano_hands import relabelled, stand_in_network
from tests.tiny_network import write_network

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a folder ``open`` and a folder ``mano`` with the same hand."""
    folder = tmp_path_factory.mktemp("networks")
    (folder / "open").mkdir()
    stand_in_network(write_network(folder / "open" / "handviz_final.onnx"), folder / "mano" / "handviz_final.onnx")
    return folder


@pytest.fixture
def seen(
    networks: Path, mano_files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, Handedness], FrameResult]:
    """Run one of the folders' networks on a grey image with a hand of that side."""
    monkeypatch.setattr(pipeline_module, "make_detector", FakeLandmarker)
    image = np.full((240, 320, 3), 90, np.uint8)

    def run(name: str, side: Handedness = "right") -> FrameResult:
        found: tuple[Detection, ...] = (made_up_detection(side),)
        monkeypatch.setattr(FakeLandmarker, "detect", lambda *_: found)
        path = mano_files[0] if name == "mano" else None
        config = PipelineConfig(networks / name, path, preload_others=False, correct_pose=False)
        with Pipeline(PipelineSettings(texture=True), config) as pipeline:
            return pipeline.process(Frame(0, image, 0.0))

    return run


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_same_hand_in_manos_order_and_axes_lies_at_the_same_place(
    seen: Callable[[str, Handedness], FrameResult], side: Handedness
) -> None:
    (mano,), (known,) = seen("mano", side).hands, seen("open", side).hands
    assert mano.hand_model == stand_in_template().fingerprint != known.hand_model
    order = vertex_order()
    np.testing.assert_allclose(mano.wrist_camera_m, known.wrist_camera_m, atol=1e-6)
    np.testing.assert_allclose(mano.vertices_m, known.vertices_m[order], atol=1e-6)
    np.testing.assert_allclose(mano.keypoint_std_mm, known.keypoint_std_mm, rtol=1e-4)
    # Vertices follow keypoints, which are other sums of them here.
    assert np.median(mano.vertex_std_mm / known.vertex_std_mm[order]) == pytest.approx(1, abs=0.15)
    traces = np.trace(mano.vertex_covariance_mm2, axis1=1, axis2=2)
    np.testing.assert_allclose(traces, mano.vertex_std_mm**2, rtol=1e-4)
    np.testing.assert_allclose(mano.keypoints_px, known.keypoints_px, atol=1e-3)


def test_textures_are_refused_in_a_message_and_the_hand_is_shown_without(
    seen: Callable[[str, Handedness], FrameResult],
) -> None:
    result = seen("mano", "right")
    assert result.error == "Without texture: textures are made for the hand that handviz ships, not for mano"
    assert result.hands[0].texture is None


def test_meshes_points_and_animations_are_those_of_the_hands_own_model(
    seen: Callable[[str, Handedness], FrameResult], tmp_path: Path, mano_files: tuple[Path, Path]
) -> None:
    (hand,) = seen("mano", "left").hands
    template = hand_model(mano_files[0])
    export_mesh(tmp_path / "hand.ply", hand, colour="uncertainty", vertices="display")
    mesh = trimesh.load(tmp_path / "hand.ply", process=False)
    np.testing.assert_array_equal(mesh.faces, template.faces[:, ::-1])
    np.testing.assert_allclose(mesh.vertices, hand.vertices_m, atol=1e-6)
    names = {finger[-1]: name for finger, name in zip(FINGERTIPS, NAMES, strict=True)}
    for vertex, name in names.items():
        assert name in read_point(hand, Pick(0, vertex=vertex), template).name.lower()
    track = _track(hand)
    (animated,) = fit_tracks([track])
    assert animated.fit.mean_error_mm < 0.5
    content = animated_glb([animated])
    (tmp_path / "hand.glb").write_bytes(content)
    assert len(trimesh.load(tmp_path / "hand.glb").geometry) == 1
    thumb = content.index(b"left_thumb_1")
    assert thumb > content.index(b"left_ring_1") > content.index(b"left_little_1"), "MANO's order of fingers"
    assert fit_skeleton(track).mean_error_mm < 5
    assert set(KEYPOINT_NAMES) >= {"thumb_1", "ring_1", "little_1"}


FINGERTIPS = ((744,), (320,), (443,), (554,), (671,))
NAMES = ("thumb", "index", "middle", "ring", "little")


def _track(hand: HandMesh) -> Track:
    def stacked(values: np.ndarray) -> np.ndarray:
        return np.stack([values] * 3)

    return Track(
        name=hand.handedness,
        handedness=hand.handedness,
        times_s=np.array([0.0, 0.1, 0.2]),
        keypoints_m=stacked(hand.keypoints_m),
        wrists_m=stacked(hand.wrist_camera_m),
        vertices_m=stacked(hand.vertices_m),
        vertex_std_mm=stacked(hand.vertex_std_mm),
        hand_model=hand.hand_model,
    )


@pytest.fixture(scope="module")
def mano_hands(cached_hands: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return relabelled(cached_hands, tmp_path_factory.mktemp("mano_hands") / "hands")


def _train(model: str, data: Path, run: Path, file: Path) -> Path:
    small = ["--width", "16", "--batch-size", "4", "--limit", "8", "--epochs", "1", "--model", model]
    assert main(["train", "--data", str(data), "--run", str(run), *small, "--hand-model", str(file)]) == 0
    return run / "last"


def test_final_trains_calibrates_exports_evaluates_and_reconstructs(
    mano_hands: Path,
    mano_files: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    last = _train("final", mano_hands, tmp_path / "run", mano_files[0])
    # From here on the file is known, and its fingerprint is enough.
    assert main(["calibrate", str(last), "--data", str(mano_hands), "--count", "4"]) == 0
    assert main(["export", str(last), "--model-dir", str(tmp_path)]) == 0
    models = [str(last), str(tmp_path / "handviz_final.onnx")]
    assert main(["evaluate", *models, "--data", str(mano_hands), "--count", "4"]) == 0
    assert "4 crops" in capsys.readouterr().out
    monkeypatch.setattr(pipeline_module, "make_detector", FakeLandmarker)
    Image.new("RGB", (320, 240), (90, 90, 90)).save(tmp_path / "hand.png")
    out = ["--out", str(tmp_path / "out"), "--model-dir", str(tmp_path), "--mesh", "glb"]
    assert main(["reconstruct", str(tmp_path / "hand.png"), *out, "--hand-model", str(mano_files[0])]) == 0
    assert (tmp_path / "out" / "overlays" / "hand.png").is_file()


@pytest.mark.parametrize("model", ["prior", "amvur"])
def test_the_other_models_train_and_are_judged(
    model: str, mano_hands: Path, mano_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their export is that of final, of one head fewer."""
    last = _train(model, mano_hands, tmp_path / "run", mano_files[0])
    assert main(["evaluate", str(last), "--data", str(mano_hands), "--count", "4"]) == 0
    assert "4 crops" in capsys.readouterr().out


def test_labels_of_another_hand_are_refused(
    rendered_hands: Path,
    mano_hands: Path,
    mano_files: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    option = ["--hand-model", str(mano_files[0])]
    line = ["train", "--run", str(tmp_path / "run"), "--limit", "8", "--batch-size", "4"]
    assert main([*line, "--data", str(rendered_hands), *option]) == 1
    assert "a MANO hand is trained and evaluated on the datasets that have its vertices" in capsys.readouterr().err
    assert main([*line, "--data", str(mano_hands)]) == 1
    assert "of the hand model 9d70ba" in capsys.readouterr().err.replace(stand_in_template().fingerprint[:6], "9d70ba")


@pytest.mark.display
def test_a_mano_network_is_shown_in_the_window(mano_files: tuple[Path, Path], tmp_path: Path) -> None:
    """The whole program in a process of its own; the shipped network's hands in the stand-in's order."""
    stand_in_network(MODELS / "handviz_final.onnx", tmp_path / "handviz_final.onnx")
    images = []
    for options in ([], ["--model-dir", str(tmp_path), "--hand-model", str(mano_files[0])]):
        saved = tmp_path / f"{len(options)}.png"
        command = [
            sys.executable,
            "app.py",
            "--source",
            str(CLIP_FILE),
            "--view",
            "orbit",
            "--screenshot",
            str(saved),
        ]
        surroundings = os.environ | {"HANDVIZ_CONFIG_DIR": str(tmp_path / "settings")}
        command += ["--screenshot-after", "2", *options]
        done = subprocess.run(
            command, cwd=PROJECT_ROOT, env=surroundings, timeout=120, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        images.append(np.asarray(Image.open(saved).convert("RGB"), dtype=float))
    # In orbit there is the hand alone before one grey; it is small in the view where it is far away.
    for image in images:
        view = image[120:560, 300:940]
        assert (np.abs(view - view[0, 0]).max(axis=2) > 40).mean() > 0.01
