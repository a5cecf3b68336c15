"""Meshes that are written beside the stream."""

import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from gui_fakes import FakePipeline, frame, hand
from pytestqt.qtbot import QtBot

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import FrameResult, Handedness
from handviz.gui.session.controller import Controller
from handviz.gui.session.mesh_saver import MeshRequest
from handviz.gui.session.settings import SettingsStore
from tests.waiting import LIMIT_S


def request_for(asked: Path, *sides: Handedness) -> MeshRequest:
    """Return a request for hands of this handedness."""
    hands = tuple(hand(handedness=side) for side in sides)
    return MeshRequest(asked, ".glb", FrameResult(frame(), "final", hands=hands), "plain", None)


def names(asked: Path, *sides: Handedness) -> list[str]:
    return [path.name for path in request_for(asked, *sides).paths()]


def test_every_hand_gets_a_file_of_its_own(tmp_path: Path) -> None:
    assert names(tmp_path / "a", "right") == ["a.glb"]
    assert names(tmp_path / "v1.5", "right") == ["v1.5.glb"]
    assert names(tmp_path / "a.PLY", "right", "left") == ["a_right.PLY", "a_left.PLY"]
    assert names(tmp_path / "a.obj", "left", "left") == ["a_left.obj", "a_left_2.obj"]


def test_only_the_file_that_was_chosen_is_written_over(tmp_path: Path) -> None:
    for name in ("a.glb", "b_left.glb"):
        (tmp_path / name).touch()
    assert names(tmp_path / "a.glb", "right") == ["a.glb"]
    assert names(tmp_path / "a", "right") == ["a_2.glb"]
    assert names(tmp_path / "b.glb", "left", "right") == ["b_left_2.glb", "b_right.glb"]


def test_images_beside_a_wrapped_mesh_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "palm.png").touch()
    hands = (hand(textured=True),)
    asked = MeshRequest(tmp_path / "palm.obj", ".obj", FrameResult(frame(), "final", hands=hands), "texture", None)
    assert [path.name for path in asked.paths()] == ["palm_2.obj"]
    for name in ("palm.obj", "palm.mtl"):
        (tmp_path / name).touch()
    assert [path.name for path in asked.paths()] == ["palm.obj"], "its own files are"


@pytest.mark.parametrize(
    "error", [HandvizError("this hand has no texture", ErrorCode.NOT_PROVIDED), OSError("disk full")]
)
def test_what_fails_is_a_message(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    may_finish, messages = threading.Event(), list[str]()

    def refuse(*_: object, **__: object) -> None:
        assert may_finish.wait(LIMIT_S)
        raise error

    monkeypatch.setitem(sys.modules, "handviz.io.mesh_export", SimpleNamespace(export_mesh=refuse))
    controller = Controller(FakePipeline, SettingsStore(), lister=list)
    controller.status_changed.connect(lambda status: messages.append(status.text))
    controller.save_meshes(request_for(tmp_path / "a", "right"))
    controller.save_meshes(request_for(tmp_path / "b", "right"))
    assert messages == ["Writing the meshes …", "The last meshes are still being written."]
    with qtbot.waitSignal(controller.warned):
        may_finish.set()
    assert str(error) in messages[2]
    controller.close()
