"""Images whose hands were missed, doubled or turned around give one right hand each, by detector and network."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from handviz.core.paths import CLIP_FILE
from handviz.core.records import Frame, FrameResult
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings
from handviz.sources.images import read_image
from handviz.sources.source import open_source

IMAGES = Path(__file__).parent / "hard_images"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    settings = PipelineSettings(), PipelineConfig(video=False, preload_others=False)
    with Pipeline(*settings) as opened:
        yield opened


def hands_of(pipeline: Pipeline, image: NDArray[np.uint8]) -> FrameResult:
    return pipeline.process(Frame(number=0, image=image, captured_ms=0.0))


@pytest.mark.parametrize(
    ("name", "middle_px"),
    [
        ("base.jpg", (241, 186)),
        ("f120_blueglove.jpg", (258, 207)),
        ("scroll1to20.jpg", (120, 2253)),
        ("two_meshes_on_one_fist.png", (258, 207)),
    ],
)
def test_one_right_hand_is_found(pipeline: Pipeline, name: str, middle_px: tuple[int, int]) -> None:
    result = hands_of(pipeline, read_image(IMAGES / name))
    (hand,), (detection,) = result.hands, result.detections
    assert hand.handedness == "right"
    np.testing.assert_allclose(detection.keypoints_px.mean(axis=0), middle_px, atol=15)


@pytest.mark.parametrize("number", [60, 120, 200])
@pytest.mark.parametrize("std", [25, 40])
def test_noise_hides_no_hand(pipeline: Pipeline, number: int, std: int) -> None:
    source = open_source(str(CLIP_FILE))
    source.seek(number)
    frame = source.read()
    source.close()
    assert frame is not None
    noise = np.random.default_rng(number).normal(0, std, frame.image.shape)
    noisy = np.clip(frame.image + noise, 0, 255).astype(np.uint8)
    clean, found = hands_of(pipeline, frame.image), hands_of(pipeline, noisy)
    assert len(clean.hands) == len(found.hands) == 1
    expected_px, found_px = clean.detections[0].keypoints_px, found.detections[0].keypoints_px
    assert np.linalg.norm(found_px.mean(axis=0) - expected_px.mean(axis=0)) < 15


@pytest.mark.parametrize("shape", [(240, 320, 3), (1200, 100, 3)])
def test_noise_alone_is_no_hand(pipeline: Pipeline, shape: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert hands_of(pipeline, noise).hands == ()
