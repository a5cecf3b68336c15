"""The generator: a seed always gives the same, only what is missing is made, and other folders are left alone."""

import json

import cv2
import pytest

from handviz.__main__ import main
from handviz.core.errors import ErrorCode
from handviz.core.files import unfinished_path
from handviz.data.synthetic.dataset import read_shard
from handviz.data.synthetic.generator import Plan, images_file, labels_file, render
from tests.errors import raises, wrong_usage

pytestmark = pytest.mark.usefixtures("small_shards")


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    plans = [Plan(tmp_path / name, seed, 4) for name, seed in (("first", 3), ("again", 3), ("other", 4))]
    for plan in plans:
        assert list(render(plan, workers=1)) == [4]
    first, again, other = (labels_file(plan.directory, 0).read_bytes() for plan in plans)
    assert first == again
    assert first != other
    images = [images_file(plan.directory, 0).read_bytes() for plan in plans]
    assert images[0] == images[1] != images[2]


def test_only_what_is_missing_is_rendered_again(tmp_path):
    plan = Plan(tmp_path / "hands", 5, 10)
    assert list(render(plan, workers=1)) == [4, 4, 2]
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in plan.directory.glob("shard*")}
    images_file(plan.directory, 1).unlink()
    assert list(render(plan, workers=1)) == [4, 2, 4]
    for path in plan.directory.glob("shard*"):
        content, changed_ns = before[path.name]
        assert path.read_bytes() == content
        assert (path.stat().st_mtime_ns == changed_ns) == ("00001" not in path.name)
    assert not list(plan.directory.glob("*.part"))


def test_more_samples_go_into_the_same_folder(tmp_path):
    assert list(render(Plan(tmp_path / "hands", 5, 2), workers=1)) == [2]
    assert list(render(Plan(tmp_path / "hands", 5, 6), workers=1)) == [4, 2]
    assert len(read_shard(tmp_path / "hands", 0).images) == 4


def test_damaged_labels_are_rendered_again(tmp_path, rendered_hands):
    plan = Plan(tmp_path / "hands", 5, 2)
    list(render(plan, workers=1))
    content = labels_file(plan.directory, 0).read_bytes()
    labels_file(plan.directory, 0).write_bytes(content[:300])
    list(render(plan, workers=1))
    assert labels_file(plan.directory, 0).read_bytes() == content


def test_a_run_that_was_killed_at_its_first_file_is_resumed(tmp_path):
    unfinished_path(tmp_path / "manifest.json").write_bytes(b"{")
    assert list(render(Plan(tmp_path, 0, 2), workers=1)) == [2]


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path, tmp_path / "file"):
        with raises(ErrorCode.FOLDER_TAKEN):
            next(render(Plan(place, 0, 4), workers=1))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["file", "holiday.jpg"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", 8), ("generator_version", 0), ("generator_version", 2), ("no_hand", 0.1), ("hand_model", "another")],
)
def test_samples_of_another_seed_generator_or_hand_are_not_mixed(tmp_path, rendered_hands, key, value):
    manifest = json.loads((rendered_hands / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, key: value}))
    with raises(ErrorCode.FOLDER_TAKEN, match=f"{key} {value}.*choose another folder"):
        next(render(Plan(tmp_path, 7, 4), workers=1))


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "7"])
def test_a_damaged_manifest_is_named(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with raises(ErrorCode.FILE_DAMAGED, match=r"manifest.json cannot be used"):
        next(render(Plan(tmp_path, 7, 4), workers=1))


def test_the_command_renders_and_shows(tmp_path):
    folder, sheet = tmp_path / "hands", tmp_path / "sheet.png"
    arguments = ["synthesize", "--count", "4", "--seed", "3", "--workers", "1"]
    assert main([*arguments, "--out", str(folder), "--preview", str(sheet)]) == 0
    assert len(read_shard(folder, 0).images) == 4
    assert cv2.imread(str(sheet)).shape == (2 * 224, 8 * 224, 3)


@pytest.mark.parametrize("wrong", [["--count", "0"], ["--seed", "-1"], ["--workers", "0"]])
def test_the_command_says_what_it_cannot_do(tmp_path, capsys, wrong):
    with wrong_usage():
        main(["synthesize", "--out", str(tmp_path / "hands"), *wrong])
    assert wrong[0] in capsys.readouterr().err
    assert not (tmp_path / "hands").exists()


def test_version_2_has_no_crops_without_a_hand(tmp_path, capsys):
    words = ["synthesize", "--out", str(tmp_path / "hands"), "--count", "2", "--workers", "1", "--generator", "2"]
    assert main([*words, "--no-hand", "0.2"]) == 1
    assert "--generator 2" in capsys.readouterr().err
    assert not (tmp_path / "hands").exists()
    assert main(words) == 0
    manifest = json.loads((tmp_path / "hands" / "manifest.json").read_text())
    assert (manifest["generator_version"], manifest["no_hand"]) == (2, 0)


def test_nobody_renders_training_hands_of_a_held_out_seed(tmp_path, capsys):
    assert main(["synthesize", "--out", str(tmp_path / "hands"), "--seed", "990003"]) == 1
    assert "heavily hidden" in capsys.readouterr().err
    assert not (tmp_path / "hands").exists()
