"""Hands of a model without uncertainty in the Python interface, also with a texture."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import trimesh

import handviz
from handviz.core.errors import ErrorCode
from handviz.core.records import Frame, SmoothingKind
from handviz.hand_models.open_hand import load_open_hand
from handviz.pipeline import pipeline as pipeline_module
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from tests.api.images import GREY
from tests.errors import raises
from tests.made_up_families import MadeUpModel, installed, made_up_family, plain_hand, std_of


@pytest.fixture(autouse=True)
def families() -> Iterator[None]:
    """Let two packages add a model without uncertainty and one with a single number."""
    constant = {"vertex_std_m": std_of(0.002, 778), "keypoint_std_m": std_of(0.002, 21)}
    steady = made_up_family("steady", lambda count: [plain_hand(**constant)] * count)
    with installed(stranger=made_up_family(), other=steady):
        yield


def test_a_hand_without_uncertainty_has_nan_and_says_so(load: Callable[..., handviz.Model], tmp_path: Path) -> None:
    (hand,) = load("plain")(GREY)
    assert hand.uncertainty == "none"
    assert (hand.vertex_std_mm.shape, hand.keypoint_std_mm.shape) == ((778,), (21,))
    assert np.isnan(hand.vertex_std_mm).all()
    assert np.isnan(hand.keypoint_std_mm).all()
    assert np.isfinite(hand.vertices_m).all()
    assert not hand.contradicts
    with raises(ErrorCode.NOT_PROVIDED):
        hand.covariance()
    with raises(ErrorCode.NOT_PROVIDED):
        hand.sample(2)
    assert "±" not in repr(hand)
    assert "nan" not in repr(hand)
    assert b"vertex_std_mm" not in hand.save(tmp_path / "hand.ply").read_bytes()
    assert len(trimesh.load(hand.save(tmp_path / "hand.glb"), force="mesh").vertices) > 778


def test_a_hand_with_one_number_says_so(load: Callable[..., handviz.Model]) -> None:
    (hand,) = load("steady")(GREY)
    assert hand.uncertainty == "constant"
    assert np.ptp(hand.vertex_std_mm) < 1e-6 * hand.vertex_std_mm.max() < 1


def test_a_hand_of_handviz_has_its_own_for_each_vertex(load: Callable[..., handviz.Model]) -> None:
    (hand,) = load("final")(GREY)
    assert hand.uncertainty == "per_vertex"
    assert "±" in repr(hand)


def test_covariance_and_drawn_hands_belong_to_the_standard_deviations(load: Callable[..., handviz.Model]) -> None:
    (hand,) = load("final")(GREY)
    covariance = hand.covariance()
    assert covariance.shape == (63, 63)
    std_mm = np.sqrt(np.diag(covariance).reshape(21, 3).sum(axis=1))
    np.testing.assert_allclose(std_mm, hand.keypoint_std_mm, rtol=1e-4)
    drawn_m = hand.sample(400, seed=1)
    assert drawn_m.shape == (400, 778, 3)
    np.testing.assert_array_equal(drawn_m, hand.sample(400, seed=1))
    spread_mm = 1000 * np.sqrt(drawn_m.var(axis=0).sum(axis=1))
    # Drawn hands lack the small part of a vertex's own.
    assert np.median(spread_mm / hand.vertex_std_mm) == pytest.approx(1, abs=0.1)
    with raises(ErrorCode.BAD_VALUE):
        hand.sample(0)


@pytest.mark.parametrize("kind", ["kalman", "one_euro"])
def test_the_covariance_of_a_smoothed_hand_belongs_to_its_standard_deviations(
    load: Callable[..., handviz.Model], kind: SmoothingKind
) -> None:
    (hand,) = list(load("final").track([GREY] * 4, smoothing=0.8, smoothing_kind=kind))[-1].hands
    std_mm = np.sqrt(np.diag(hand.covariance()).reshape(21, 3).sum(axis=1))
    np.testing.assert_allclose(std_mm, hand.keypoint_std_mm, rtol=1e-3)


def test_clips_are_smoothed_without_uncertainty(load: Callable[..., handviz.Model]) -> None:
    for kind in ("kalman", "one_euro"):
        frames = list(load("plain").track([GREY] * 4, smoothing=0.8, smoothing_kind=kind))
        assert [len(frame.hands) for frame in frames] == [1] * 4
        assert {frame.hands[0].uncertainty for frame in frames} == {"none"}
        assert all(np.isfinite(frame.hands[0].vertices_m).all() for frame in frames)


@pytest.mark.slow
def test_a_model_without_uncertainty_gets_a_texture_from_the_crop_that_the_texture_net_takes(
    load: Callable[..., handviz.Model],
) -> None:
    load("plain")  # with a made-up detector
    assert pipeline_module.make_detector.__name__ == "FakeLandmarker"
    config = PipelineConfig(video=False, preload_others=False)
    with Pipeline(PipelineSettings("plain", texture=True), config) as pipeline:
        result = pipeline.process(Frame(0, GREY, 0.0))
    assert result.error == ""
    (hand,) = result.hands
    assert hand.texture is not None
    assert hand.texture.rgb.shape == (778, 3)
    assert np.isfinite(hand.texture.rgb).all()
    assert hand.uncertainty == "none"


def test_faces_are_those_of_the_model_s_own_hand(load: Callable[..., handviz.Model]) -> None:
    template = load_open_hand()
    other = dataclasses.replace(template, name="another", faces=template.faces[::-1].copy())
    turned = made_up_family("turned", load=lambda _: MadeUpModel(lambda count: [plain_hand()] * count, other))
    with installed(third=turned):
        model = load("turned", side="right")
        (hand,) = model(GREY)
        (frame,) = model.track([GREY])
    np.testing.assert_array_equal(hand.faces, other.faces)
    np.testing.assert_array_equal(frame.hands[0].faces, other.faces)
