"""Which shards training reads, and their truth: those that the limit needs, of either version of the generator."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from handviz.core.errors import ErrorCode
from handviz.data.synthetic.dataset import read_labels
from handviz.data.synthetic.generator import MODEL_SPACE_VERSION, Plan, render
from handviz.hand_models.layer import HandLayer
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.amvur.model import ModelConfig, build_model
from handviz.models.amvur.training_cache import load_cached
from handviz.models.truth import Truth
from handviz.training.samples import joined_truth, load_images, needed_shards, take, to_device, truth_from_labels
from tests.errors import raises
from tests.small_trainings import amvur_run, straight_losses, with_empty_crops

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


def test_vertices_of_the_labels_are_the_truth_and_else_those_of_pose_and_shape(rendered_hands):
    template = load_open_hand()
    _, (first, second) = needed_shards((rendered_hands,), None)
    plain = joined_truth([dict(first), dict(second)], 20, template)
    own = np.random.default_rng(0).normal(size=(16, template.vertex_count, 3)).astype(np.float32)
    is_hand = np.arange(16) % 2 == 0
    found = joined_truth([dict(first), dict(second) | {"vertices": own, "is_hand": is_hand}], 20, template)
    torch.testing.assert_close(found.vertices_cm[:16], plain.vertices_cm[:16])
    np.testing.assert_allclose(found.vertices_cm[16:].numpy(), 100 * own[:4], rtol=1e-6)
    assert found.is_hand.tolist() == [True] * 16 + is_hand[:4].tolist()
    assert plain.is_hand.dtype == torch.bool
    assert plain.is_hand.all()
    torch.testing.assert_close(found.rotation, plain.rotation)
    alone = truth_from_labels(dict(second) | {"vertices": own, "is_hand": is_hand}, template)
    assert alone.is_hand.tolist() == is_hand.tolist()


@pytest.fixture
def former_hands(tmp_path):
    """Eight hands of version 2 of the generator, without labels of the full rig."""
    assert sum(render(Plan(tmp_path / "former", 8, 8, version=MODEL_SPACE_VERSION), workers=1)) == 8
    return tmp_path / "former"


@pytest.mark.parametrize("former_first", [True, False])
def test_folders_of_both_versions_are_taken_together(rendered_hands, former_hands, tmp_path, former_first):
    template, some = load_open_hand(), tmp_path / "some"
    shows = with_empty_crops(rendered_hands, some)
    folders = (former_hands, some) if former_first else (some, former_hands)
    both, (first, second) = load_images(folders, template), (load_images((folder,), template) for folder in folders)
    assert len(both) == 8 + 32
    for name in ("vertices_cm", "is_hand", "rotation", "keypoints_crop"):
        expected = torch.cat([getattr(first.truth, name), getattr(second.truth, name)])
        torch.testing.assert_close(getattr(both.truth, name), expected, rtol=0, atol=0)
    of_former = slice(8) if former_first else slice(32, None)
    assert both.truth.is_hand[of_former].all()
    assert (~both.truth.is_hand).sum() == (~shows).sum() > 0
    labels = read_labels(former_hands, 0)
    own = HandLayer(template)(*(torch.from_numpy(labels[name]).float() for name in ("pose", "shape"))).vertices_m
    torch.testing.assert_close(both.truth.vertices_cm[of_former], 100 * own)


@pytest.mark.slow
def test_a_training_on_both_versions_that_is_stopped_goes_on_to_the_bit(config, former_hands, rendered_hands, tmp_path):
    template = load_open_hand()
    with_empty_crops(rendered_hands, tmp_path / "some")
    config = replace(config, data=(former_hands, tmp_path / "some"), limit=16)
    losses = straight_losses(config, template, stopped_after=3)
    assert len(losses) == 8
    assert np.isfinite(losses).all()
    with raises(ErrorCode.FOLDER_TAKEN):
        amvur_run(replace(config, run=config.run / "stopped", data=(former_hands,)), template).resume()


def test_rows_and_copies_keep_which_crops_show_a_hand():
    known = torch.tensor([True, False, True])
    truth = Truth(
        torch.zeros(3, 1, 3), torch.zeros(3, 21, 2), torch.zeros(3, 3, 3), torch.ones(3), torch.zeros(3, 2), known
    )
    assert take(truth, torch.tensor([1, 2])).is_hand.tolist() == [False, True]
    assert to_device(truth, torch.device("cpu")).is_hand.tolist() == known.tolist()
    assert take(replace(truth, is_hand=None), torch.tensor([0])).is_hand.tolist() == [True]
