"""Checkpoints: they come back as they were, what is none is named, and none is lost or run."""

import errno
import json
import os
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from handviz import __version__
from handviz.core.errors import ErrorCode
from handviz.core.paths import PROJECT_ROOT
from handviz.models.amvur.model import build_model
from handviz.models.amvur.training_checkpoint import load_checkpoint
from handviz.training import checkpoint
from handviz.training.checkpoint import current_commit, load_resume_state, recovered, save_checkpoint
from tests.errors import raises
from tests.small_trainings import SMALL, assert_same


@pytest.fixture
def saved(tmp_path, template):
    """Save a checkpoint of untrained weights."""
    model, notes = build_model(SMALL, template), {"step": 3}
    return save_checkpoint(
        tmp_path / "last", model, SMALL, notes, template, {"step": 3, "optimiser": {}}, family="amvur"
    ), model


def test_a_checkpoint_comes_back_as_it_was(saved, template):
    folder, model = saved
    loaded, config, notes = load_checkpoint(folder, template)
    assert_same(loaded.state_dict(), model.state_dict())
    assert (config, notes) == (SMALL, {"step": 3})
    assert load_resume_state(folder) == {"step": 3, "optimiser": {}}
    assert sorted(path.name for path in folder.parent.iterdir() if "last" in path.name) == ["last"]


def test_another_hand_model_is_named(saved, template):
    other = replace(template, uv=template.uv + 1)
    with raises(ErrorCode.MODEL_MISMATCH, match=f"{template.fingerprint[:12]}.*{other.fingerprint[:12]}"):
        load_checkpoint(saved[0], other)


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("missing", ErrorCode.FILE_MISSING),
        ("truncated", ErrorCode.FILE_DAMAGED),
        ("text", ErrorCode.FILE_DAMAGED),
        ("another program's", ErrorCode.MODEL_FOREIGN),
        ("another version's", ErrorCode.MODEL_DAMAGED),
    ],
)
def test_a_folder_that_is_no_checkpoint_is_named(saved, template, damage, code):
    folder, model = saved
    path = folder / "model.safetensors"
    metadata = {"model": "{}", "fingerprint": template.fingerprint, "notes": "{}"}
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        os.truncate(path, 5000)
    elif damage == "text":
        path.write_text("not weights")
    elif damage == "another program's":
        save_file(model.state_dict(), path)
    else:
        save_file(model.state_dict(), path, {**metadata, "model": json.dumps({"layers": 12})})
    with raises(code, match="last"):
        load_checkpoint(folder, template)


def test_a_checkpoint_older_than_features_is_the_paper_s(tmp_path, template):
    plain = replace(SMALL, features="global")
    model = build_model(plain, template)
    named = {name: value for name, value in asdict(plain).items() if not name.startswith("feature")}
    metadata = {"model": json.dumps(named), "fingerprint": template.fingerprint, "notes": "{}"}
    save_file(model.state_dict(), tmp_path / "model.safetensors", metadata)
    loaded, config, _ = load_checkpoint(tmp_path, template)
    assert config.features == "global"
    assert loaded.landmark_head is None
    assert_same(loaded.state_dict(), model.state_dict())


@pytest.mark.parametrize("notes", ["[]", "{", '{"samples_seen": "9"}', '{"samples_seen": -1}', '{"samples_seen": 1.5}'])
def test_notes_that_are_none_are_said(saved, template, notes):
    folder, model = saved
    metadata = {"model": json.dumps(asdict(SMALL)), "fingerprint": template.fingerprint, "notes": notes}
    save_file(model.state_dict(), folder / "model.safetensors", metadata)
    with raises(ErrorCode.FILE_DAMAGED, match=r"notes of .*last"):
        load_checkpoint(folder, template)


def test_weights_of_another_width_do_not_fit(saved, template):
    folder, model = saved
    metadata = {"model": json.dumps(asdict(SMALL) | {"width": 32}), "fingerprint": template.fingerprint, "notes": "{}"}
    save_file(model.state_dict(), folder / "model.safetensors", metadata)
    with raises(ErrorCode.MODEL_DAMAGED):
        load_checkpoint(folder, template)


class Hostile:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_hostile_state_is_refused_and_not_run(saved, tmp_path):
    torch.save({"step": 1, "optimiser": Hostile(tmp_path / "owned")}, saved[0] / "resume.pt")
    with raises(ErrorCode.UNSAFE_FILE, match=r"resume.pt"):
        load_resume_state(saved[0])
    assert not (tmp_path / "owned").exists()
    (saved[0] / "resume.pt").unlink()
    with raises(ErrorCode.FILE_MISSING, match=r"resume.pt"):
        load_resume_state(saved[0])


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(saved, template, monkeypatch):
    folder, model = saved
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full_disk(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", full_disk)
    with raises(ErrorCode.DISK_FULL, match="last one is intact"):
        save_checkpoint(folder, model, SMALL, {}, template, {}, family="amvur")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert not list(folder.parent.glob("*.part"))


def test_a_stop_between_two_checkpoints_loses_none(saved, template):
    folder, model = saved
    folder.rename(folder.with_name("last.old"))
    assert recovered(folder) == folder
    assert_same(load_checkpoint(folder, template)[0].state_dict(), model.state_dict())
    assert recovered(folder.with_name("never")) == folder.with_name("never")


def test_the_commit_is_the_clones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    inner = tmp_path / "unpacked"
    inner.mkdir()
    monkeypatch.setattr(checkpoint, "PROJECT_ROOT", inner)
    assert current_commit() == "unknown"
    monkeypatch.setattr(checkpoint, "IS_CLONE", False)
    assert current_commit() == f"handviz {__version__}"


def test_the_commit_of_this_clone_is_git_s() -> None:
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert current_commit() == git.stdout.strip()
