"""Which shards training reads: those that the limit needs, and no more."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from handviz.core.errors import ErrorCode
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.amvur.model import ModelConfig, build_model
from handviz.models.amvur.training_cache import load_cached
from handviz.training.samples import load_images, needed_shards
from tests.errors import raises

SMALL = ModelConfig(variant="prior", width=16, regressor_width=16, feature_width=16, feature_layers=1)


@pytest.fixture
def uncached(rendered_hands, tmp_path):
    """Two shards of 16 hands, nothing cached of them."""
    kept_out = shutil.ignore_patterns("*_middle_*", "*_landmarks.npy")
    return Path(shutil.copytree(rendered_hands, tmp_path / "copy", ignore=kept_out))


@pytest.mark.parametrize(("limit", "shards"), [(None, 4), (1, 1), (16, 1), (17, 2), (33, 3), (99, 4)])
def test_a_limit_needs_the_first_shards_alone(rendered_hands, limit, shards):
    places, labels = needed_shards((rendered_hands, rendered_hands), limit)
    assert places == [(rendered_hands, 0), (rendered_hands, 1), (rendered_hands, 0), (rendered_hands, 1)][:shards]
    assert [len(part["scale"]) for part in labels] == [16] * shards


@pytest.mark.slow
@pytest.mark.parametrize("features", ["joints", "global"])
def test_only_what_the_limit_needs_is_cached(uncached, features):
    template = load_open_hand()
    model = build_model(replace(SMALL, features=features), template)
    assert len(load_cached((uncached,), model, "mediapipe_hand", template, 5)) == 5
    cached = sorted(path.name for path in uncached.glob("*.npy"))
    landmarks = ["shard_00000_landmarks.npy"] if features == "joints" else []
    assert cached == [*landmarks, "shard_00000_middle_mediapipe_hand.npy"]
    assert len(load_cached((uncached, uncached), model, "mediapipe_hand", template, 40)) == 40
    assert len(list(uncached.glob("*_middle_*.npy"))) == 2


def test_images_stop_at_the_limit_too(uncached):
    (uncached / "shard_00001_pictures.npz").write_bytes(b"")
    assert len(load_images((uncached,), load_open_hand(), 16)) == 16
    with raises(ErrorCode.FILE_DAMAGED, match="shard_00001_pictures"):
        load_images((uncached,), load_open_hand(), 17)
