"""Crops without a hand: none is in them, they are as many as asked for, and their labels say so."""

import numpy as np
import pytest

from handviz.core.geometry import apply_affine, project_points
from handviz.core.records import CROP_SIZE
from handviz.data.synthetic import no_hand
from handviz.data.synthetic.dataset import read_labels, read_shard
from handviz.data.synthetic.generator import Plan, labels_file, render
from handviz.data.synthetic.sample import render_samples, scene_maker
from handviz.data.synthetic.viewpoint import sample_camera
from handviz.hand_models.open_hand import load_arm_mesh

pytestmark = pytest.mark.usefixtures("small_shards")


def test_a_fraction_of_the_crops_shows_no_hand(tmp_path):
    list(render(Plan(tmp_path / "hands", 2, 24, no_hand=0.5), workers=1))
    flags = np.concatenate([read_labels(tmp_path / "hands", shard)["is_hand"] for shard in range(6)])
    assert set(flags) == {0.0, 1.0}
    assert 5 < flags.sum() < 19
    shard = read_shard(tmp_path / "hands", 0)
    empty = shard.labels["is_hand"] == 0
    assert not shard.visible[empty].any()
    assert shard.visible[~empty].any(axis=1).all()


def test_their_labels_are_finite_and_their_images_are_not_black():
    samples = list(render_samples(np.random.default_rng(8), 6, truth="rig", no_hand=1.0))
    for one in samples:
        assert one.labels["is_hand"] == 0
        assert not one.mask.any()
        assert not one.colours.lit.any()
        assert all(np.isfinite(value).all() for value in one.labels.values())
    assert np.mean([one.image.std() for one in samples]) > 15


def test_a_forearm_s_crop_has_no_hand_in_it():
    rng, maker, found = np.random.default_rng(9), scene_maker("rig"), 0
    of_hand = load_arm_mesh().skinning_weights[:, 16] <= 0.5
    for hand in maker.poser.sample(rng, 12):
        camera = sample_camera(rng, hand.keypoints_m)
        beside = no_hand.forearm_camera(rng, maker, hand, camera)
        if beside is None:
            continue
        found += 1
        points = hand.vertices_m @ beside.camera_from_wrist.T + beside.wrist_camera_m
        in_crop = apply_affine(beside.crop_from_image, project_points(points, beside.intrinsics))
        inside = ((in_crop > 0) & (in_crop < CROP_SIZE)).all(axis=1)
        assert inside[of_hand].mean() < 0.02
        assert inside[~of_hand].mean() > 0.2
    assert found > 5


def test_the_former_generator_knows_none(tmp_path):
    list(render(Plan(tmp_path / "hands", 2, 4, version=2), workers=1))
    with np.load(labels_file(tmp_path / "hands", 0)) as archive:
        assert not {"vertices", "is_hand"} & set(archive.files)
    assert "is_hand" not in read_labels(tmp_path / "hands", 0)
