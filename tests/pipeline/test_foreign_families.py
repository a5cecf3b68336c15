"""Models of other packages in the pipeline: with another crop, without uncertainty, or failing."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handviz.core.camera_model import HandSize
from handviz.core.errors import ErrorCode
from handviz.core.records import DEFAULT_CROP, CropLandmarks, FloatArray, Frame, HandCrop, Intrinsics, NetworkOutput
from handviz.models.base import LoadContext, Reconstructor
from handviz.models.reconstructor import LoadedModel
from handviz.models.registry import model_spec
from handviz.pipeline import pipeline as pipeline_module
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.reconstruction import FrameConditions, HandMaker
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from handviz.rendering.options import DEFAULT_COMPARED
from tests.errors import raises
from tests.hands import FakeLandmarker, made_up_detection
from tests.made_up_families import MadeUpModel, installed, made_up_family, plain_hand, std_of
from tests.tiny_network import write_all_networks


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all_networks(tmp_path_factory.mktemp("networks"))


@pytest.fixture(autouse=True)
def fake_landmarker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pipeline_module, "make_detector", FakeLandmarker)
    FakeLandmarker.made.clear()
    yield
    assert all(landmarker.closed for landmarker in FakeLandmarker.made)


def config(networks: Path, *, video: bool = False) -> PipelineConfig:
    return PipelineConfig(networks, video=video, preload_others=False)


def frame(number: int = 0) -> Frame:
    return Frame(number, np.full((240, 320, 3), 90, np.uint8), number * 33.0)


def fail_to_answer(_: int) -> list[NetworkOutput]:
    raise ZeroDivisionError("by the stranger")


def fail_to_load(_: LoadContext) -> Reconstructor:
    raise FileNotFoundError("weights.bin")


FAILING = {
    "load": made_up_family("failing", load=fail_to_load),
    "answer": made_up_family("failing", fail_to_answer),
    "count": made_up_family("failing", lambda _: []),
    "shape": made_up_family("failing", lambda count: [plain_hand(vertices_m=np.zeros((5, 3)))] * count),
    "finite": made_up_family("failing", lambda count: [plain_hand(scale=np.inf)] * count),
}


@pytest.mark.parametrize("family", FAILING.values(), ids=FAILING)
def test_compared_with_a_failing_model_the_others_have_their_hands(networks: Path, family: object) -> None:
    settings = PipelineSettings(others=(*DEFAULT_COMPARED, "failing"))
    with installed(stranger=family), Pipeline(settings, config(networks)) as pipeline:
        result = pipeline.process(frame())
    assert set(result.other_errors) == {"failing"}
    assert "failing" in result.other_errors["failing"]
    assert set(result.others) == {"prior", "amvur"}
    assert len(result.hands) == len(result.others["prior"]) == 1


@pytest.mark.parametrize("family", FAILING.values(), ids=FAILING)
def test_a_failing_model_in_use_is_an_error_and_the_next_frame_has_another(networks: Path, family: object) -> None:
    with installed(stranger=family), Pipeline(config=config(networks, video=True)) as pipeline:
        assert len(pipeline.process(frame(0)).hands) == 1
        pipeline.apply(PipelineSettings("failing"))
        with raises(ErrorCode.MODEL_FOREIGN, ErrorCode.NOT_FINITE, match="failing"):
            pipeline.process(frame(1))
        pipeline.apply(PipelineSettings("prior"))
        result = pipeline.process(frame(2))
    assert (result.model, len(result.hands)) == ("prior", 1)


def test_the_others_of_a_failing_model_in_use_have_their_hands(networks: Path) -> None:
    settings = PipelineSettings("failing", others=("prior", "final"))
    with installed(stranger=FAILING["answer"]), Pipeline(settings, config(networks, video=True)) as pipeline:
        result = pipeline.process(frame())
    assert (result.hands, result.error) == ((), "")
    assert "ZeroDivisionError" in result.failure
    assert {model: len(hands) for model, hands in result.others.items()} == {"prior": 1, "final": 1}
    assert result.of_model("prior").failure == ""


def test_a_pipeline_of_a_model_that_does_not_load_frees_the_detector(networks: Path) -> None:
    with installed(stranger=FAILING["load"]), raises(ErrorCode.MODEL_FOREIGN, match="failing"):
        Pipeline(PipelineSettings("failing"), config(networks))


@pytest.mark.parametrize("video", [True, False])
def test_a_model_without_uncertainty_gets_its_own_crop_and_gives_hands_without_any(networks: Path, video: bool) -> None:
    model = MadeUpModel(lambda count: [plain_hand()] * count)
    family = made_up_family(load=lambda _: model)
    with installed(stranger=family), Pipeline(PipelineSettings("plain"), config(networks, video=video)) as pipeline:
        results = [pipeline.process(frame(number)) for number in range(3)]
    assert {crop.image.shape for crop in model.crops} == {(128, 128, 3)}
    assert {crop.image.dtype for crop in model.crops} == {np.dtype(np.uint8)}
    for result in results:
        (hand,) = result.hands
        assert hand.uncertainty == "none"
        assert (hand.vertex_std_mm, hand.keypoint_std_mm, hand.vertex_covariance_mm2) == (None, None, None)
        assert np.isfinite(hand.vertices_m).all()
        assert np.isfinite(hand.vertices_px).all()


def test_a_model_with_one_number_for_all_points_says_so(networks: Path) -> None:
    std = {"vertex_std_m": std_of(0.002, 778), "keypoint_std_m": std_of(0.002, 21)}
    family = made_up_family("steady", lambda count: [plain_hand(**std)] * count)
    setup = PipelineConfig(networks, video=False, preload_others=False, correct_pose=False)
    with installed(stranger=family), Pipeline(PipelineSettings("steady"), setup) as pipeline:
        (hand,) = pipeline.process(frame()).hands
    assert hand.uncertainty == "constant"
    assert hand.vertex_std_mm is not None
    assert 1 < hand.vertex_std_mm.mean() < 10


def fail_at_length(_: object) -> list[NetworkOutput]:
    raise RuntimeError("first line\n  second line\n" + "and so on " * 1000)


def test_the_failure_of_a_model_is_one_line_of_bounded_length(networks: Path) -> None:
    settings = PipelineSettings(others=("failing",))
    family = made_up_family("failing", fail_at_length)
    with installed(stranger=family), Pipeline(settings, config(networks)) as pipeline:
        message = pipeline.process(frame()).other_errors["failing"]
    assert "RuntimeError: first line second line and so on" in message
    assert "\n" not in message
    assert len(message) < 500


def shape_of(provides: frozenset[str], crop: HandCrop) -> FloatArray:
    """Return the mesh (V, 3), turned back, that the pipeline makes of a stranger's resting hand in this crop."""
    family = made_up_family("resting", crop=DEFAULT_CROP, provides=provides)
    conditions = FrameConditions(frame().image, Intrinsics(300.0, 160.0, 120.0), "detected", HandSize(), follows=True)
    with installed(stranger=family):
        model = LoadedModel(model_spec("resting"), LoadContext())
        made = HandMaker(PipelineConfig(align_to_detector=False)).of_crops([crop], model, conditions)
    return made.hands[0].vertices_m @ made.hands[0].camera_from_wrist


def test_landmarks_of_the_crop_bend_only_hands_of_models_that_provide_landmarks() -> None:
    plain = HandCrop(np.zeros((224, 224, 3), np.uint8), np.eye(2, 3), made_up_detection("right"))
    bent = plain_hand().keypoints_m * [1.0, 1.5, 0.7]
    landmarks = CropLandmarks(np.zeros((21, 3)), bent, 1.0, 1.0, np.zeros((112, 14, 14)))
    known, resting = replace(plain, landmarks=landmarks), shape_of(frozenset(), plain)
    np.testing.assert_allclose(shape_of(frozenset(), known), resting, atol=1e-9)
    assert np.abs(shape_of(frozenset({"landmarks"}), known) - resting).max() > 1e-3
