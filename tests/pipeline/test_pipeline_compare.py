"""Every model run on every frame, with a made-up detector and constant networks."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import Frame, HandMesh, HandTexture, ModelId, NetworkFile
from handviz.models.reconstructor import OnnxReconstructor
from handviz.pipeline import pipeline as pipeline_module
from handviz.pipeline import texture_fusion
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from handviz.rendering.options import DEFAULT_COMPARED
from tests.hands import FakeLandmarker
from tests.tiny_network import constant_hand, write_network

SIZES: dict[ModelId, float] = {"prior": 0.8, "amvur": 1.0, "final": 1.2}
FIELDS = ("vertices_m", "vertex_std_mm", "keypoints_m", "vertices_px", "wrist_camera_m")


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write three networks with hands of different size."""
    folder, hand = tmp_path_factory.mktemp("networks"), constant_hand()
    for model, size in SIZES.items():
        scaled = {name: hand[name] * size for name in ("vertices_m", "keypoints_m", "vertex_std_m")}
        write_network(folder / f"handviz_{model}.onnx", model, hand=hand | scaled)
    return folder


@pytest.fixture(autouse=True)
def fake_landmarker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pipeline_module, "make_detector", FakeLandmarker)
    FakeLandmarker.made.clear()
    yield
    assert all(landmarker.closed for landmarker in FakeLandmarker.made)


def frame(number: int = 0) -> Frame:
    image = np.full((240, 320, 3), 90, np.uint8)
    image[60 + number :, 100:] = 200
    return Frame(number=number, image=image, captured_ms=number * 33.0)


def assert_same(one: HandMesh, other: HandMesh) -> None:
    assert (one.model, one.handedness) == (other.model, other.handedness)
    for name in FIELDS:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-9)


@pytest.mark.parametrize("video", [True, False])
def test_three_models_together_are_as_each_alone(networks: Path, video: bool) -> None:
    alone = {}
    for model in DEFAULT_COMPARED:
        settings = PipelineSettings(model), PipelineConfig(networks, preload_others=False, video=video)
        with Pipeline(*settings) as pipeline:
            alone[model] = [pipeline.process(frame(number)) for number in range(3)]
    with Pipeline(PipelineSettings(others=DEFAULT_COMPARED), PipelineConfig(networks, video=video)) as pipeline:
        together = [pipeline.process(frame(number)) for number in range(3)]
    for number, result in enumerate(together):
        assert (set(result.others), result.other_errors) == ({"prior", "amvur"}, {})
        for model in DEFAULT_COMPARED:
            (one,), (other,) = result.of_model(model).hands, alone[model][number].hands
            assert_same(one, other)


def test_sizes_tell_the_models_apart(networks: Path) -> None:
    with Pipeline(PipelineSettings(others=DEFAULT_COMPARED), PipelineConfig(networks)) as pipeline:
        result = pipeline.process(frame())
    spans = {model: np.ptp(result.of_model(model).hands[0].vertices_m, axis=0).max() for model in DEFAULT_COMPARED}
    assert spans["prior"] < 0.95 * spans["amvur"] < 0.95**2 * spans["final"]


def test_nobody_else_is_asked_unless_wanted(networks: Path) -> None:
    with Pipeline(PipelineSettings(), PipelineConfig(networks)) as pipeline:
        assert not pipeline.process(frame(0)).is_compared
        pipeline.apply(replace(pipeline.settings, others=DEFAULT_COMPARED))
        assert set(pipeline.process(frame(1)).others) == {"prior", "amvur"}
        pipeline.apply(replace(pipeline.settings, others=()))
        assert not pipeline.process(frame(3)).is_compared


def test_a_frame_without_hands_has_none_of_any_model(networks: Path) -> None:
    empty = Frame(0, np.zeros((240, 320, 3), np.uint8), 0.0)
    with Pipeline(PipelineSettings(others=DEFAULT_COMPARED), PipelineConfig(networks)) as pipeline:
        result = pipeline.process(empty)
    assert result.hands == ()
    assert dict(result.others) == {"prior": (), "amvur": ()}


def test_changing_the_chosen_model_changes_no_hand(networks: Path) -> None:
    results = []
    for model in ("final", "prior"):
        with Pipeline(PipelineSettings(others=DEFAULT_COMPARED, smoothing=0.9), PipelineConfig(networks)) as pipeline:
            for number in range(3):
                pipeline.process(frame(number))
            pipeline.apply(replace(pipeline.settings, model=model))
            results.append(pipeline.process(frame(3)))
    assert [result.model for result in results] == ["final", "prior"]
    for model in DEFAULT_COMPARED:
        assert_same(*(result.of_model(model).hands[0] for result in results))


def test_a_missing_model_is_said_and_the_others_go_on(tmp_path: Path) -> None:
    for model in ("final", "prior"):
        write_network(tmp_path / f"handviz_{model}.onnx", model)
    with Pipeline(PipelineSettings(others=DEFAULT_COMPARED), PipelineConfig(tmp_path)) as pipeline:
        for number in range(2):
            result = pipeline.process(frame(number))
            assert set(result.others) == {"prior"}
            assert "handviz_amvur.onnx is missing" in result.other_errors["amvur"]
        write_network(tmp_path / "handviz_amvur.onnx", "amvur")
        pipeline.apply(replace(pipeline.settings, others=()))
        pipeline.apply(replace(pipeline.settings, others=DEFAULT_COMPARED))
        result = pipeline.process(frame(2))
        assert (set(result.others), result.other_errors) == ({"prior", "amvur"}, {})


def test_a_network_that_fails_on_a_frame_stops_no_other(networks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = OnnxReconstructor.reconstruct

    def fail_prior(self, crops):
        if self.model == "prior":
            raise HandvizError("prior answered with vertices that are not finite", ErrorCode.OPTION_CONFLICT)
        return real(self, crops)

    with Pipeline(PipelineSettings(others=DEFAULT_COMPARED), PipelineConfig(networks)) as pipeline:
        monkeypatch.setattr(OnnxReconstructor, "reconstruct", fail_prior)
        result = pipeline.process(frame())
    assert set(result.others) == {"amvur"}
    assert "not finite" in result.other_errors["prior"]


def test_all_models_wear_the_colours_of_the_chosen_one(networks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FakeTexturer:
        file = NetworkFile("handviz_texture.onnx", "", "shipped")

        def __init__(self, *_: object) -> None:
            self.calls = 0

        def texture(self, crops, hands, size):
            count = len(constant_hand()["vertices_m"])
            colours = np.random.default_rng(3).uniform(0, 1, (count, 3))
            return [HandTexture(colours, colours, np.ones(count), np.ones(count)) for _ in crops]

    monkeypatch.setattr(texture_fusion, "Texturer", FakeTexturer)
    with Pipeline(PipelineSettings(others=DEFAULT_COMPARED, texture=True), PipelineConfig(networks)) as pipeline:
        result = pipeline.process(frame())
    for model in DEFAULT_COMPARED:
        assert result.of_model(model).hands[0].texture is result.hands[0].texture is not None
