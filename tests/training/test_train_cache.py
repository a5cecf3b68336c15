"""What training reads: the cache is what the network sees of the images, and data that is none is named."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from handviz.core.errors import ErrorCode
from handviz.data.synthetic.dataset import read_shard
from handviz.models.amvur.model import build_model
from handviz.models.amvur.training import train
from handviz.models.amvur.training_cache import landmarks_file, load_cached, with_features
from handviz.training.cache import middle_file
from handviz.training.samples import image_batch
from tests.errors import raises
from tests.small_trainings import SMALL, amvur_run

pytestmark = pytest.mark.slow

NAME = "mediapipe_hand"


@pytest.mark.parametrize("features", ["joints", "global"])
@torch.no_grad()
def test_what_a_frozen_network_sees_is_kept_and_changes_nothing(config, template, features):
    model = build_model(replace(SMALL, features=features), template).eval()
    samples = load_cached(config.data, model, NAME, template, 8)
    ids = torch.tensor([5, 2])
    features, truth = with_features(samples, model).batch(ids)
    cached, same_truth = samples.batch(ids)
    direct = model.seen(cached)
    assert cached.middle_map.shape == (2, 112, 14, 14)
    for mine, wanted in zip(features, direct, strict=True):
        assert (mine is None) == (wanted is None)
        if wanted is not None:
            # Half precision.
            torch.testing.assert_close(mine, wanted, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        model.from_cached(features).mean_cm, model.from_cached(cached).mean_cm, rtol=0, atol=0.02
    )
    assert torch.equal(truth.vertices_cm, same_truth.vertices_cm)


@torch.no_grad()
def test_the_cache_is_what_the_model_sees_of_the_images(config, template):
    model = build_model(SMALL, template).eval()
    samples = load_cached(config.data, model, NAME, template)
    assert len(samples) == 32
    expected = model.cached(image_batch(read_shard(config.data[0], 1).images[:3]))
    cached, _ = samples.batch(torch.arange(16, 19))
    torch.testing.assert_close(cached.middle_map, expected.middle_map, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(cached.landmarks, expected.landmarks, rtol=1e-2, atol=1e-2)


def test_several_folders_are_taken_together(config, template):
    model = build_model(SMALL, template)
    samples = load_cached((*config.data, *config.data), model, NAME, template, 40)
    assert len(samples) == 40
    assert torch.equal(samples.middle_maps[32:], samples.middle_maps[:8])
    assert torch.equal(samples.landmarks[32:], samples.landmarks[:8])
    assert torch.equal(samples.truth.vertices_cm[32:], samples.truth.vertices_cm[:8])


# Data that is none.


@pytest.mark.parametrize("damage", ["nan", "of another hand"])
@pytest.mark.parametrize("end_to_end", [False, True])
def test_labels_that_are_none_are_named_with_their_shard(config, template, tmp_path, damage, end_to_end):
    folder = Path(shutil.copytree(config.data[0], tmp_path / "copy"))
    path = folder / "shard_00001_labels.npz"
    with np.load(path) as archive:
        arrays = dict(archive)
    if damage == "nan":
        arrays["pose"][3, 7] = np.nan
    else:
        arrays["pose"] = arrays["pose"][:, :12]
    np.savez(path, **arrays)
    model = replace(SMALL, landmark_stem=end_to_end)
    with raises(
        ErrorCode.WRONG_SHAPE, ErrorCode.VERSION_MISMATCH, ErrorCode.NOT_FINITE, match=r"shard_00001_labels.npz.*pose"
    ):
        train(replace(config, data=(folder,), model=model, end_to_end=end_to_end, limit=None), template)
    assert not (config.run / "last").exists()


def test_a_folder_without_hands_is_said(config, template, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"")
    for folder in (tmp_path, tmp_path / "nowhere"):
        with raises(ErrorCode.EMPTY_INPUT, match="synthesize"):
            amvur_run(replace(config, data=(folder,)), template)


def test_fewer_hands_than_a_batch_are_said(config, template):
    with raises(ErrorCode.EMPTY_INPUT, match="32 samples"):
        amvur_run(replace(config, limit=None, batch_size=33), template)


def damaged(path, damage):
    if damage == "truncated":
        os.truncate(path, 400)
    elif damage == "of fewer images":
        np.save(path, np.load(path)[:3])
    else:
        np.save(path, np.load(path)[:, :5])


@pytest.mark.parametrize("damage", ["truncated", "of fewer images", "of another network"])
@pytest.mark.parametrize("kind", ["maps", "landmarks"])
def test_a_damaged_cache_is_named_and_computed_again_when_deleted(config, template, tmp_path, kind, damage):
    folder = Path(shutil.copytree(config.data[0], tmp_path / "copy"))
    path = middle_file(folder, 1, NAME) if kind == "maps" else landmarks_file(folder, 1)
    damaged(path, damage)
    copied, model = replace(config, data=(folder,), limit=None), build_model(SMALL, template)
    with raises(ErrorCode.FILE_DAMAGED, ErrorCode.WRONG_SHAPE, match=path.name):
        load_cached(copied.data, model, NAME, template)
    path.unlink()
    if kind == "landmarks":
        assert len(load_cached(copied.data, model, NAME, template)) == 32
