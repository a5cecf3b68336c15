"""The Python API: what ``handviz.load``, ``track`` and the others take, give and refuse."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import handviz
from handviz.pipeline import pipeline as pipeline_module
from tests.hands import FakeLandmarker
from tests.tiny_network import write_all_networks

GREY = np.full((240, 320, 3), 90, np.uint8)


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all_networks(tmp_path_factory.mktemp("networks"))


@pytest.fixture
def model(networks: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[handviz.Model]:
    """Load a network and a detector that find the same right hand in every image that is not black."""
    monkeypatch.setattr(pipeline_module, "HandLandmarker", FakeLandmarker)
    with handviz.load("final", model_dir=networks) as loaded:
        yield loaded


def test_an_image_gives_hands_with_shapes_and_frames(model: handviz.Model) -> None:
    (hand,) = model(GREY)
    shapes: dict[str, tuple[int, ...]] = {
        "vertices_m": (778, 3),
        "keypoints_m": (21, 3),
        "vertex_std_mm": (778,),
        "keypoint_std_mm": (21,),
        "keypoints_px": (21, 2),
        "wrist_camera_m": (3,),
        "wrist_std_m": (3,),
        "camera_from_wrist": (3, 3),
    }
    for name, shape in shapes.items():
        array: NDArray[np.float64] = getattr(hand, name)
        assert (array.shape, array.dtype, array.flags.writeable) == (shape, np.float64, True), name
    assert hand.faces.shape[1] == 3
    assert (hand.handedness, hand.score, hand.model) == ("right", 0.95, "final")
    np.testing.assert_allclose(hand.keypoints_m[0], 0, atol=1e-9)
