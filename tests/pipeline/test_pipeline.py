"""The whole way of a frame, with a made-up detector and constant networks."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handviz.core import metrics
from handviz.core.camera_model import CameraModel, HandSize
from handviz.core.errors import ErrorCode
from handviz.core.records import DetectorChoice, Frame, HandMesh, Intrinsics, SmoothingKind
from handviz.detection.crop import as_the_detector_marks_them
from handviz.pipeline import kalman, reconstruction
from handviz.pipeline import pipeline as pipeline_module
from handviz.pipeline.kalman import Smoother, make_smoother
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from tests.errors import raises
from tests.hands import FakeLandmarker, made_up_detection
from tests.tiny_network import constant_hand, write_all_networks, write_network


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all_networks(tmp_path_factory.mktemp("networks"))


@pytest.fixture
def fake_landmarker(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FakeLandmarker]]:
    monkeypatch.setattr(pipeline_module, "make_detector", FakeLandmarker)
    FakeLandmarker.made.clear()
    yield FakeLandmarker.made
    assert all(landmarker.closed for landmarker in FakeLandmarker.made)


def frame(number: int = 0, grey: int = 90) -> Frame:
    return Frame(number=number, image=np.full((240, 320, 3), grey, np.uint8), captured_ms=number * 33.0)


@pytest.mark.usefixtures("fake_landmarker")
def test_a_frame_becomes_a_hand_where_the_detector_saw_it(networks: Path) -> None:
    with Pipeline(PipelineSettings(smoothing=0.0), PipelineConfig(networks)) as pipeline:
        result = pipeline.process(frame(7))
    assert result.frame.number == 7
    assert result.model == "final"
    (hand,), (crop,) = result.hands, result.crops
    assert hand.handedness == crop.detection.handedness == "right"
    assert (crop.image == 90).all()
    seen = made_up_detection().keypoints_px
    assert np.linalg.norm(hand.keypoints_px.mean(axis=0) - seen.mean(axis=0)) < 20
    assert hand.intrinsics.focal_px == pytest.approx(160 / np.tan(np.radians(30)))
    assert min(result.times.detect_ms, result.times.crop_ms, result.times.reconstruct_ms) > 0


@pytest.mark.usefixtures("fake_landmarker")
def test_results_name_the_files_that_they_come_from(networks: Path, tmp_path: Path) -> None:
    other = tmp_path / "my_detector.task"
    other.write_bytes(b"mine")
    config = PipelineConfig(networks, preload_others=False, landmarker=other)
    with Pipeline(PipelineSettings("prior"), config) as pipeline:
        assert pipeline.networks == pipeline.process(frame()).networks
        assert {role: file.file for role, file in pipeline.networks.items()} == {
            "network": "handviz_prior.onnx",
            "detector": "my_detector.task",
        }
        assert [file.state for file in pipeline.networks.values()] == ["changed", "own"]
        pipeline.apply(replace(pipeline.settings, model="final"))
        assert pipeline.process(frame(1)).networks["network"].file == "handviz_final.onnx"


def test_a_frame_without_hands(networks: Path) -> None:
    with Pipeline(PipelineSettings(), PipelineConfig(networks)) as pipeline:
        result = pipeline.process(frame(grey=0))
    assert result.hands == result.detections == ()


@pytest.mark.usefixtures("fake_landmarker")
def test_the_model_changes_with_the_very_next_frame(networks: Path) -> None:
    with Pipeline(PipelineSettings(), PipelineConfig(networks)) as pipeline:
        for number, model in enumerate(("final", "prior", "amvur", "final")):
            pipeline.apply(replace(pipeline.settings, model=model))
            result = pipeline.process(frame(number))
            assert result.model == model
            assert [hand.model for hand in result.hands] == [model]


@pytest.mark.usefixtures("fake_landmarker")
def test_smoothing_does_not_mix_two_models(tmp_path: Path) -> None:
    hand = constant_hand()
    write_network(tmp_path / "handviz_final.onnx")
    write_network(tmp_path / "handviz_prior.onnx", "prior", hand=hand | {"vertices_m": hand["vertices_m"] * 1.5})
    smoothed, unsmoothed = PipelineSettings(smoothing=1.0), PipelineSettings("prior", smoothing=0.0)
    config = PipelineConfig(tmp_path)
    with Pipeline(smoothed, config) as mixed, Pipeline(unsmoothed, config) as alone:
        mixed.process(frame(0))
        mixed.apply(replace(mixed.settings, model="prior"))
        np.testing.assert_allclose(
            mixed.process(frame(1)).hands[0].vertices_m, alone.process(frame(1)).hands[0].vertices_m
        )


@pytest.mark.usefixtures("fake_landmarker")
def test_a_missing_model_is_said_once_and_the_last_one_stays(tmp_path: Path) -> None:
    write_network(tmp_path / "handviz_final.onnx")
    with Pipeline(PipelineSettings(), PipelineConfig(tmp_path)) as pipeline:
        pipeline.process(frame(0))
        pipeline.apply(replace(pipeline.settings, model="amvur"))
        with raises(ErrorCode.MODEL_MISSING, match=r"handviz_amvur\.onnx is missing"):
            pipeline.process(frame(1))
        assert pipeline.process(frame(2)).model == "final"
        write_network(tmp_path / "handviz_amvur.onnx", "amvur")
        pipeline.apply(replace(pipeline.settings, smoothing=0.1))
        assert pipeline.process(frame(3)).model == "final", "another setting does not request the model anew"
        pipeline.apply(replace(pipeline.settings, model="final"))
        pipeline.apply(replace(pipeline.settings, model="amvur"))
        assert pipeline.process(frame(3)).model == "amvur"


@pytest.mark.usefixtures("fake_landmarker")
def test_the_first_model_must_be_there(tmp_path: Path) -> None:
    with raises(ErrorCode.MODEL_MISSING, match=r"handviz_final\.onnx is missing"):
        Pipeline(PipelineSettings(), PipelineConfig(tmp_path))


@pytest.mark.usefixtures("fake_landmarker")
def test_a_file_with_another_model_inside(tmp_path: Path) -> None:
    write_network(tmp_path / "handviz_final.onnx", "prior")
    with raises(ErrorCode.MODEL_MISMATCH):
        Pipeline(PipelineSettings(), PipelineConfig(tmp_path))


def test_a_reset_starts_a_new_detector(networks: Path, fake_landmarker: list[FakeLandmarker]) -> None:
    with Pipeline(PipelineSettings(), PipelineConfig(networks)) as pipeline:
        pipeline.process(frame(0))
        pipeline.reset(video=False)
        pipeline.process(frame(1))
        assert [item.video for item in fake_landmarker] == [True, False]
        assert fake_landmarker[0].closed


def test_the_most_hands_of_a_stream_change_with_the_settings(
    networks: Path, fake_landmarker: list[FakeLandmarker]
) -> None:
    with Pipeline(PipelineSettings(), PipelineConfig(networks, preload_others=False)) as pipeline:
        first = pipeline.process(frame(0)).hands[0].track_id
        pipeline.apply(replace(pipeline.settings, max_hands=4))
        assert pipeline.process(frame(1)).hands[0].track_id == first
        pipeline.apply(replace(pipeline.settings, smoothing=0.0))
        pipeline.process(frame(2))
        assert [(item.max_hands, item.video, item.closed) for item in fake_landmarker] == [
            (2, True, True),
            (4, True, False),
        ]


def test_a_still_image_shows_all_its_hands_whatever_the_settings(
    networks: Path, fake_landmarker: list[FakeLandmarker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to ten: how many more there are is said. A stream has as many as its detector gives."""
    found = tuple(made_up_detection(size=20.0, x=25.0 * number) for number in range(1, 13))
    monkeypatch.setattr(FakeLandmarker, "detect", lambda *_: found)
    with Pipeline(PipelineSettings(max_hands=1), PipelineConfig(networks, preload_others=False)) as pipeline:
        assert pipeline.process(frame(0)).left_out == 0
        pipeline.reset(video=False)
        still = pipeline.process(frame(1))
        pipeline.apply(replace(pipeline.settings, max_hands=3))
        pipeline.process(frame(1))
        assert [item.max_hands for item in fake_landmarker] == [1, 10]
    assert (len(still.hands), still.left_out) == (10, 2)
    seen_px = [detection.keypoints_px for detection in still.detections]
    np.testing.assert_array_equal(seen_px, [detection.keypoints_px for detection in found[:10]])


@pytest.mark.parametrize("choice", ["handviz", "mediapipe"])
def test_the_detector_is_the_chosen_one(
    networks: Path, fake_landmarker: list[FakeLandmarker], choice: DetectorChoice
) -> None:
    with Pipeline(config=PipelineConfig(networks, detector=choice, preload_others=False)) as pipeline:
        pipeline.process(frame(0))
    assert [item.choice for item in fake_landmarker] == [choice]


@pytest.mark.usefixtures("fake_landmarker")
def test_the_camera_decides_the_distance(networks: Path) -> None:
    with Pipeline(PipelineSettings(), PipelineConfig(networks)) as pipeline:
        wide = pipeline.process(frame(0)).hands[0]
        pipeline.reset()
        pipeline.apply(replace(pipeline.settings, camera_model=CameraModel("angle", 20.0)))
        narrow = pipeline.process(frame(1)).hands[0]
        pipeline.reset()
        known = pipeline.process_with(frame(2), Intrinsics(900.0, 160.0, 120.0)).hands[0]
    assert narrow.wrist_camera_m[2] > 2 * wide.wrist_camera_m[2]
    assert known.intrinsics.focal_px == 900.0


def test_a_live_session_never_loads_torch() -> None:
    code = "import sys, handviz.pipeline.pipeline; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.usefixtures("fake_landmarker")
def test_the_pose_is_refined_by_landmarks_unless_switched_off(tmp_path: Path) -> None:
    hand = constant_hand()
    bent = hand["keypoints_m"].copy()
    bent[[6, 7, 8]] += [0.0, 0.0, 0.03]
    said = hand | {"witness_m": as_the_detector_marks_them(bent), "presence": np.array(1.0)}
    write_network(tmp_path / "handviz_final.onnx", hand=said)
    found = []
    for lean in (True, False):
        config = PipelineConfig(tmp_path, preload_others=False, correct_pose=lean, align_to_detector=False)
        with Pipeline(config=config) as pipeline:
            (seen,) = pipeline.process(frame()).hands
        found.append(seen.keypoints_m @ seen.camera_from_wrist)
    np.testing.assert_allclose(found[1], hand["keypoints_m"], atol=1e-5)
    leaning, alone = metrics.pa_mpjpe_mm(np.stack(found), np.stack([bent, bent]))
    assert alone > 3
    assert leaning < 0.85 * alone


@pytest.mark.usefixtures("fake_landmarker")
@pytest.mark.parametrize(
    ("probability", "presence", "is_kept"),
    [(0.03, 0.8, False), (0.97, 0.8, True), (0.03, 0.95, True), (None, 0.8, True)],
)
def test_a_photograph_shows_no_hand_that_the_model_itself_calls_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probability: float | None, presence: float, is_kept: bool
) -> None:
    detection = replace(made_up_detection(), support=3.0)
    monkeypatch.setattr(FakeLandmarker, "detect", lambda *_: (detection,))
    said = constant_hand()
    said |= {"witness_m": said["keypoints_m"] @ said["rotation"].T, "presence": np.array(presence)}
    said |= {} if probability is None else {"hand_probability": np.array(probability)}
    write_network(tmp_path / "handviz_final.onnx", hand=said)
    with Pipeline(config=PipelineConfig(tmp_path, preload_others=False, video=False)) as pipeline:
        of_image = pipeline.process(frame())
        pipeline.reset(video=True)
        (followed,) = pipeline.process(frame(1)).hands
    assert len(of_image.hands) == is_kept
    for hand in (*of_image.hands, followed):
        assert hand.hand_probability == (None if probability is None else pytest.approx(probability))


@pytest.mark.usefixtures("fake_landmarker")
@pytest.mark.parametrize("turned", [False, True])
def test_keypoints_of_a_hand_of_the_wrong_side_correct_nothing(
    networks: Path, monkeypatch: pytest.MonkeyPatch, turned: bool
) -> None:
    def recheck(image, crops, network):
        return [replace(crop) if turned else crop for crop in crops], network.reconstruct(crops)

    monkeypatch.setattr(reconstruction, "reconstruct_with_recheck", recheck)
    seen = []
    for align in (True, False):
        config = PipelineConfig(networks, preload_others=False, video=False, align_to_detector=align)
        with Pipeline(config=config) as pipeline:
            seen.append(pipeline.process(frame()).hands[0].keypoints_px)
    assert np.allclose(*seen, atol=1e-3) == turned


@pytest.mark.usefixtures("fake_landmarker")
def test_hands_of_a_clip_are_smoothed_in_the_clips_own_time(networks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times_ms: list[float] = []

    def note(hands: tuple[HandMesh, ...], time_ms: float) -> tuple[HandMesh, ...]:
        times_ms.append(time_ms)
        return hands

    with Pipeline(PipelineSettings(), PipelineConfig(networks, preload_others=False)) as pipeline:
        monkeypatch.setattr(pipeline._smoothers.of("final"), "smooth", note)
        pipeline.process(frame(2))
        pipeline.process(replace(frame(3), time_ms=400.0))
        pipeline.process(replace(frame(4), time_ms=0.0))
    assert times_ms == [66.0, 400.0, 0.0]


@pytest.mark.usefixtures("fake_landmarker")
def test_a_change_of_smoothing_during_a_frame_counts_from_the_next_one(
    networks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, float]] = []
    with Pipeline(PipelineSettings(), PipelineConfig(networks, preload_others=False)) as pipeline:

        def make(kind: SmoothingKind, strength: float) -> Smoother:
            made.append((kind, strength))
            if len(made) == 1:  # as another thread would
                pipeline.apply(replace(pipeline.settings, smoothing_kind="one_euro", smoothing=0.7))
            return make_smoother(kind, strength)

        monkeypatch.setattr(kalman, "make_smoother", make)
        for number in range(3):
            pipeline.process(frame(number))
    assert made == [("kalman", 0.3), ("one_euro", 0.7)]


@pytest.mark.parametrize("kind", ["kalman", "one_euro"])
@pytest.mark.parametrize(
    "change",
    [{"camera_model": CameraModel("angle", 30.0)}, {"hand_size": HandSize("length", 150.0)}, {"side": "left"}],
    ids=["intrinsics", "hand size", "side"],
)
@pytest.mark.usefixtures("fake_landmarker")
def test_smoothing_starts_anew_when_hands_get_other_places(
    networks: Path, kind: SmoothingKind, change: dict[str, object]
) -> None:
    smoothed, config = PipelineSettings(smoothing=1.0, smoothing_kind=kind), PipelineConfig(networks)
    with Pipeline(smoothed, config) as changed, Pipeline(replace(smoothed, smoothing=0.0, **change), config) as alone:
        for number in range(3):
            changed.process(frame(number))
        changed.apply(replace(changed.settings, **change))
        # The last frame again, as when a clip is paused.
        (hand,), (expected,) = changed.process(frame(2)).hands, alone.process(frame(2)).hands
    np.testing.assert_allclose(hand.wrist_camera_m, expected.wrist_camera_m, atol=1e-9)
    np.testing.assert_allclose(hand.vertices_m, expected.vertices_m, atol=1e-9)
