"""Reading rendered hands back: shards, labels and manifests that are none are named."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from handviz.cli.synthesize import write_preview
from handviz.core.errors import ErrorCode
from handviz.data.synthetic import generator
from handviz.data.synthetic.dataset import read_labels, read_shard, shard_numbers
from handviz.data.synthetic.generator import images_file, labels_file
from tests.errors import raises


@pytest.fixture
def copied(tmp_path, rendered_hands) -> Path:
    return Path(shutil.copytree(rendered_hands, tmp_path / "copy"))


def test_an_empty_folder_says_how_to_fill_it(tmp_path):
    with raises(ErrorCode.EMPTY_INPUT, match="handviz synthesize --out"):
        shard_numbers(tmp_path)


@pytest.mark.parametrize("file_of", [labels_file, images_file])
def test_a_truncated_shard_is_named(copied, file_of):
    os.truncate(file_of(copied, 1), 1000)
    with raises(ErrorCode.FILE_DAMAGED, match=rf"{file_of(copied, 1).name} is damaged.*run synthesize again"):
        read_shard(copied, 1)
    assert len(read_shard(copied, 0).images) == 16


def test_labels_that_are_missing_are_named(copied):
    labels_file(copied, 0).unlink()
    with raises(ErrorCode.FILE_MISSING, match=r"labels.npz is missing.*run synthesize again"):
        read_shard(copied, 0)


@pytest.mark.parametrize("image", [np.zeros((10, 10, 3), np.uint8), None])
def test_an_image_that_is_none_is_named(copied, image):
    with np.load(images_file(copied, 0)) as archive:
        arrays = dict(archive)
    first = arrays["jpeg_end"][0]
    content = np.full(first, 7, np.uint8) if image is None else generator.encode(image, 90)
    arrays["jpeg"] = np.concatenate([content, arrays["jpeg"][first:]])
    arrays["jpeg_end"] += len(content) - first
    np.savez(images_file(copied, 0), **arrays)
    with raises(ErrorCode.FILE_DAMAGED):
        read_shard(copied, 0)


def rewritten(path, **changes):
    """Rewrite the file with other arrays; None leaves one out."""
    with np.load(path) as archive:
        arrays = dict(archive) | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("jpeg_end", lambda ends: ends.astype(float)),
        ("jpeg_end", lambda ends: ends[-1]),
        ("jpeg_end", lambda ends: np.concatenate([ends[:1], ends[:-1]])),
        ("jpeg_end", lambda ends: np.concatenate([ends[1:2], ends[1:]])),
        ("jpeg_end", lambda ends: ends[1:]),
        ("jpeg", lambda data: data.astype(np.int16)),
        ("jpeg", lambda data: data[:-5]),
        ("visible", lambda bits: bits[1:]),
        ("visible_alone", lambda bits: bits.astype(np.int64)),
    ],
)
def test_images_of_other_kinds_or_numbers_are_named(copied, name, change):
    path = images_file(copied, 0)
    with np.load(path) as archive:
        changed = change(archive[name])
    rewritten(path, **{name: changed})
    with raises(
        ErrorCode.FILES_DISAGREE,
        ErrorCode.FILE_DAMAGED,
        ErrorCode.WRONG_SHAPE,
        match=r"shard_00000_pictures.npz.*run synthesize again",
    ):
        read_shard(copied, 0)


@pytest.mark.parametrize("scale", [np.full(16, "eight"), np.ones(15), np.full(16, np.inf), np.float32(8)])
def test_labels_of_other_kinds_or_numbers_are_named(copied, scale):
    rewritten(labels_file(copied, 0), scale=scale)
    with raises(
        ErrorCode.FILE_DAMAGED,
        ErrorCode.NOT_FINITE,
        ErrorCode.WRONG_SHAPE,
        match=r"shard_00000_labels.npz: .*run synthesize again",
    ):
        read_labels(copied, 0)


def test_labels_of_an_older_generator_are_named(copied):
    rewritten(labels_file(copied, 0), hidden_share=None)
    with raises(ErrorCode.VERSION_MISMATCH, match=r"lacks hidden_share: .* an older generator.*another folder"):
        read_labels(copied, 0)


@pytest.mark.parametrize(("lacking", "there"), [("vertices", "is_hand"), ("is_hand", "vertices")])
def test_of_the_labels_of_the_full_rig_neither_is_alone(copied, lacking, there):
    rewritten(labels_file(copied, 0), **{lacking: None})
    with raises(ErrorCode.FILE_DAMAGED, match=rf"_labels.npz holds {there} without {lacking}: .*synthesize again"):
        read_labels(copied, 0)


def test_labels_of_the_version_without_the_full_rig_are_read(copied):
    rewritten(labels_file(copied, 0), vertices=None, is_hand=None)
    assert read_labels(copied, 0).keys() == generator.LABELS.keys()
    assert read_labels(copied, 1).keys() == {**generator.LABELS, **generator.RIG_LABELS}.keys()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("vertices", lambda values: np.where(values == values[0, 0, 0], np.nan, values)),
        ("vertices", lambda values: values[:, :777]),
        ("is_hand", lambda values: values * np.inf),
        ("is_hand", lambda values: values[:, None]),
    ],
)
def test_labels_of_the_full_rig_of_other_kinds_or_numbers_are_named(copied, name, change):
    path = labels_file(copied, 0)
    with np.load(path) as archive:
        changed = change(archive[name])
    rewritten(path, **{name: changed})
    with raises(ErrorCode.NOT_FINITE, ErrorCode.WRONG_SHAPE, match=rf"_labels.npz: {name} h.*run synthesize again"):
        read_labels(copied, 0)


@pytest.mark.parametrize("wrong", [{"count": "many"}, {"shard_size": 0}, {"count": 1.5}, {"shard_size": [4]}])
def test_a_manifest_without_numbers_is_named(copied, wrong):
    path = copied / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    with raises(ErrorCode.FILE_DAMAGED, match=r"manifest.json cannot be used"):
        shard_numbers(copied)


def test_a_foreign_shard_is_named(copied):
    (copied / "shard_last_pictures.npz").write_bytes(b"")
    with raises(ErrorCode.UNSUPPORTED_FORMAT, match=r"shard_last_pictures.npz is not a file of synthesize"):
        shard_numbers(copied)


def test_the_preview_is_a_sheet_of_images_and_skeletons(tmp_path, rendered_hands):
    write_preview(rendered_hands, tmp_path / "new" / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "new" / "sheet.png"))
    assert sheet.shape == (4 * 224, 8 * 224, 3)
    np.testing.assert_array_equal(sheet[:224, :224, ::-1], read_shard(rendered_hands, 0).images[0])
    changed = (sheet[:224] != sheet[224:448]).any(axis=2).mean()
    assert 0.005 < changed < 0.2
