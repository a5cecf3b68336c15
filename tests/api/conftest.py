"""Models of networks and a detector made up for tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import handviz
from handviz.pipeline import pipeline as pipeline_module
from tests.hands import FakeLandmarker
from tests.tiny_network import write_all_networks


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all_networks(tmp_path_factory.mktemp("networks"))


@pytest.fixture
def load(networks: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., handviz.Model]]:
    """Load networks and a detector that find the same right hand in every image that is not black."""
    monkeypatch.setattr(pipeline_module, "make_detector", FakeLandmarker)
    FakeLandmarker.made.clear()
    loaded: list[handviz.Model] = []

    def load_one(name: str = "final", **options: Any) -> handviz.Model:
        loaded.append(handviz.load(name, **{"model_dir": networks, **options}))
        return loaded[-1]

    yield load_one
    for model in loaded:
        model.close()
    assert all(landmarker.closed for landmarker in FakeLandmarker.made)


@pytest.fixture
def model(load: Callable[..., handviz.Model]) -> handviz.Model:
    return load()
