"""The hand model that a file names, and finding it by its fingerprint."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from handviz.core.errors import ErrorCode
from handviz.hand_models import choice
from handviz.hand_models.mano.model import load_mano
from handviz.hand_models.open_hand import load_display_mesh, load_open_hand
from tests.errors import raises
from tests.fake_datasets.stand_in_mano import right_arrays
from tests.mano_hands import stand_in_network
from tests.tiny_network import write_network


@pytest.fixture
def mano_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace ``models/mano`` by an empty folder, with no hand model known."""
    folder = tmp_path / "mano"
    folder.mkdir()
    monkeypatch.setattr(choice, "MANO_FOLDER", folder)
    monkeypatch.setattr(choice, "_KNOWN", {})
    choice._mano.cache_clear()
    return folder


def test_no_file_is_the_open_hand_and_a_file_is_read_once(mano_files: tuple[Path, Path]) -> None:
    assert choice.hand_model(None) is load_open_hand()
    right = choice.hand_model(mano_files[0])
    assert right.name == "mano"
    assert choice.hand_model(mano_files[0]) is right
    known = choice.known_hand_model(right.fingerprint)
    assert known is not None
    assert known.fingerprint == right.fingerprint, "the same file may have been read from another folder before"


def test_a_left_file_a_folder_and_a_missing_file_are_said(mano_files: tuple[Path, Path], tmp_path: Path) -> None:
    with raises(
        ErrorCode.MODEL_MISMATCH, match=r"MANO_LEFT\.pkl is MANO's left hand where the right .*MANO_RIGHT\.pkl"
    ):
        choice.hand_model(mano_files[1])
    with raises(ErrorCode.FILE_UNREADABLE):
        choice.hand_model(tmp_path / "MANO_RIGHT.pkl")
    with raises(ErrorCode.FILE_UNREADABLE):
        choice.hand_model(tmp_path)


def test_the_side_is_told_by_the_hand_not_by_the_name(mano_files: tuple[Path, Path], tmp_path: Path) -> None:
    renamed = shutil.copy(mano_files[1], tmp_path / "MANO_RIGHT.pkl")
    with raises(ErrorCode.MODEL_MISMATCH):
        choice.hand_model(Path(renamed))
    with raises(ErrorCode.MODEL_MISMATCH, match=r"right hand where the left .*give MANO_LEFT\.pkl"):
        load_mano(mano_files[0], side="left")
    assert load_mano(mano_files[1], side="left").vertex_count == 778


@pytest.mark.parametrize(
    ("name", "body"), [("lmk_faces_idx", "SMPL-X"), ("hands_meanl", r"SMPL\+H"), ("J_regressor_prior", "SMPL")]
)
def test_a_body_model_of_the_same_authors_is_named(tmp_path: Path, name: str, body: str) -> None:
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(pickle.dumps(right_arrays() | {name: np.zeros(3), "v_template": np.zeros((10475, 3))}, protocol=2))
    with raises(ErrorCode.MODEL_MISMATCH, match=f"is the body model {body}: give MANO_RIGHT.pkl"):
        choice.hand_model(path)


def test_a_users_file_in_models_mano_is_found_by_its_fingerprint(
    mano_folder: Path, mano_files: tuple[Path, Path]
) -> None:
    wanted = load_mano(mano_files[0]).fingerprint
    assert choice.known_hand_model(wanted) is None
    assert choice.found_mano() is None
    with raises(
        ErrorCode.MODEL_MISSING, match=f"mano {wanted[:12]} is missing; give the MANO_RIGHT.pkl .*--hand-model"
    ):
        choice.hand_model_named(wanted)
    (mano_folder / "other.pkl").write_bytes(b"something of the user's")
    for path in mano_files:
        shutil.copy(path, mano_folder)
    assert choice.hand_model_named(wanted).fingerprint == wanted
    assert choice.found_mano() is choice.hand_model_named(wanted)


def test_a_folder_of_networks_says_which_hand_it_is_for(
    mano_folder: Path, mano_files: tuple[Path, Path], tmp_path: Path
) -> None:
    source = write_network(tmp_path / "open.onnx")
    network = stand_in_network(source, tmp_path / "networks" / "handviz_final.onnx")
    fingerprint = load_mano(mano_files[0]).fingerprint
    assert choice.named_in(network) == fingerprint
    assert choice.named_in(source) == load_open_hand().fingerprint
    assert choice.named_in(tmp_path / "none.onnx") == choice.named_in(mano_files[0]) == ""
    assert choice.hand_model_for(None, network.parent) is load_open_hand(), "its file is not here"
    shutil.copy(mano_files[0], mano_folder)
    assert choice.hand_model_for(None, network.parent).fingerprint == fingerprint


def test_of_a_mano_hand_its_own_vertices_are_drawn(mano_files: tuple[Path, Path]) -> None:
    template = choice.hand_model(mano_files[0])
    mesh = choice.display_mesh(template)
    values = np.random.default_rng(0).normal(size=(778, 3))
    np.testing.assert_array_equal(mesh.lift(values), values)
    np.testing.assert_array_equal(mesh.faces, template.faces)
    assert choice.display_mesh(load_open_hand()) is load_display_mesh()


def test_meshes_to_draw_are_found_by_fingerprint_and_looked_up_once(
    mano_folder: Path, mano_files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_hand = load_open_hand()
    meshes = choice.DisplayMeshes(open_hand)
    assert meshes.get("") is meshes.get(open_hand.fingerprint) is load_display_mesh()
    mano = load_mano(mano_files[0], side="right")
    unknown = choice.DisplayMeshes()
    assert unknown.get(mano.fingerprint) is None
    shutil.copy(mano_files[0], mano_folder)
    found = meshes.get(mano.fingerprint)
    assert found is not None
    np.testing.assert_array_equal(found.faces, mano.faces)
    monkeypatch.setattr(choice, "known_hand_model", lambda _: pytest.fail("a second look-up"))
    assert meshes.get(mano.fingerprint) is found
    assert unknown.get(mano.fingerprint) is None
