"""``handviz cluster``: the same entries as ``handviz reconstruct``, and what is told of them."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import trimesh
from PIL import Image

from handviz.__main__ import main
from handviz.cluster import runners
from handviz.models import onnx_session
from handviz.pipeline import pipeline as pipeline_module
from tests.hands import FakeLandmarker
from tests.tiny_network import write_all_networks


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all_networks(tmp_path_factory.mktemp("networks"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three good pictures (one without a hand), and an unreadable one."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, size in (("b.png", (320, 240)), ("b-2.png", (200, 260))):
        Image.new("RGB", size, (90, 90, 90)).save(folder / name)
    Image.new("RGB", (200, 240)).save(folder / "c.jpg")
    (folder / "a.jpg").write_bytes(b"broken")
    return folder


@pytest.fixture
def command(tmp_path: Path, folder: Path, networks: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a command over the folder with networks that answer the same hand always; returns its status."""
    monkeypatch.setattr(pipeline_module, "HandLandmarker", FakeLandmarker)
    monkeypatch.setattr(onnx_session, "_thread_limit", None)

    def run(name: str, *options: str) -> int:
        given = ["--workers", "0", "--shard-size", "2"] if name == "cluster" else ["--no-overlays"]
        out = str(tmp_path / name)
        return main([name, str(folder), "--out", out, "--model-dir", str(networks), *given, *options])

    return run


@pytest.mark.parametrize(
    "options",
    [[], ["--focal-px", "400"], ["--intrinsics", "400", "410", "100", "120"], ["--compare", "--side", "left"]],
)
def test_its_list_is_that_of_reconstruct_byte_by_byte(
    command: Callable[..., int], tmp_path: Path, options: list[str]
) -> None:
    assert command("reconstruct", "--mesh", "none", "--threads", "1", *options) == 0
    assert command("cluster", "--join", *options) == 0
    whole = (tmp_path / "reconstruct" / "hands.json").read_bytes()
    assert b'"detection_score"' in whole
    assert (tmp_path / "cluster" / "hands.json").read_bytes() == whole


def test_meshes_are_written_where_they_are_asked_for(command: Callable[..., int], tmp_path: Path) -> None:
    assert command("cluster", "--mesh", "obj", "--join") == 0
    entries = json.loads((tmp_path / "cluster" / "hands.json").read_text())
    meshes = [hand["mesh"] for entry in entries for hand in entry["hands"]]
    assert meshes == ["meshes/000000000/000001_b-2_0_right.obj", "meshes/000000001/000000_b_0_right.obj"]
    assert len(trimesh.load(tmp_path / "cluster" / meshes[0], process=False).vertices) == 778


def test_parts_make_a_whole(command: Callable[..., int], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert command("cluster", "--list-only") == 0
    assert command("cluster", "--part", "1/9") == 0, "a part may be empty"
    assert not (tmp_path / "cluster" / "shards").exists()
    assert command("cluster", "--part", "2/2") == 0
    assert "2 of 4 pictures with 1 hands, 0 unreadable, in 1 of 2 shards" in caplog.text
    assert command("cluster", "--part", "1/2", "--verify", "3") == 0
    assert "4 of 4 pictures with 2 hands, 1 unreadable, in 2 of 2 shards" in caplog.text
    assert "a.jpg: not a picture" in caplog.text
    assert "0 of 3 pictures that were done again got another entry" in caplog.text
    assert re.search(r"a picture took a worker [\d.]+ ms and [\d.]+ ms of a core \(.*detect .*\)", caplog.text)
    assert re.search(r"memory at most: \d+ MB a worker", caplog.text)


def test_only_reading(command: Callable[..., int], tmp_path: Path) -> None:
    assert command("cluster", "--only-read", "--join") == 0
    entries = json.loads((tmp_path / "cluster" / "hands.json").read_text())
    assert [(entry["width"], entry["hands"]) for entry in entries] == [(0, []), (200, []), (320, []), (200, [])]


def test_results_that_this_machine_does_not_repeat(
    command: Callable[..., int], tmp_path: Path, networks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("cluster") == 0
    (tmp_path / "pictures" / "a.jpg").write_bytes((tmp_path / "pictures" / "b.png").read_bytes())
    assert command("cluster", "--verify", "20") == 1
    assert "for example of a.jpg" in capsys.readouterr().err


def test_no_good_picture_is_no_success(command: Callable[..., int], folder: Path) -> None:
    for path in folder.glob("*.png"):
        path.write_bytes(b"broken")
    (folder / "c.jpg").unlink()
    assert command("cluster") == 1


@pytest.mark.parametrize("options", [("--part", "3/2"), ("--part", "0/1"), ("--workers", "-1"), ("--shard-size", "0")])
def test_impossible_numbers_are_refused(command: Callable[..., int], options: tuple[str, str]) -> None:
    with pytest.raises(SystemExit):
        command("cluster", *options)


def test_sentences(
    command: Callable[..., int], folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("cluster") == 0
    assert command("cluster", "--side", "left") == 1
    assert "side is detected there and left here" in capsys.readouterr().err
    assert main(["cluster", str(folder / "nowhere"), "--out", str(folder / "out")]) == 1
    assert "no such folder" in capsys.readouterr().err
    monkeypatch.setattr(runners.importlib.util, "find_spec", lambda _: None)
    assert main(["cluster", str(folder), "--out", str(folder / "out")]) == 1
    assert "pip install -r requirements-cluster.txt" in capsys.readouterr().err
