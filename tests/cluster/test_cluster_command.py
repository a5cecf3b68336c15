"""``handviz cluster`` and ``reconstruct --shard``: the bytes of ``handviz reconstruct``, and what is logged."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trimesh
from PIL import Image

from handviz.__main__ import main
from handviz.cluster import ray_run, shards
from handviz.core import onnx_runtime
from handviz.core.errors import ErrorCode
from handviz.core.extras import install_line
from handviz.core.paths import PROJECT_ROOT
from handviz.pipeline import pipeline as pipeline_module
from tests.errors import wrong_usage
from tests.hands import FakeLandmarker
from tests.tiny_network import write_all_networks


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all_networks(tmp_path_factory.mktemp("networks"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write four good images (one without a hand, two that differ in the suffix only), and an unreadable one."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name, size in (("b.png", (320, 240)), ("b-2.png", (200, 260)), ("b.bmp", (240, 240))):
        Image.new("RGB", size, (90, 90, 90)).save(folder / name)
    Image.new("RGB", (200, 240)).save(folder / "c.jpg")
    (folder / "a.jpg").write_bytes(b"broken")
    return folder


@pytest.fixture
def command(tmp_path: Path, folder: Path, networks: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a command over the folder with networks that always return the same hand; returns its status."""
    monkeypatch.setattr(pipeline_module, "make_detector", FakeLandmarker)
    monkeypatch.setattr(onnx_runtime, "_thread_limit", None)

    def run(name: str, *options: str, out: str = "", overlays: bool = False) -> int:
        given = ["--workers", "0"] if name == "cluster" else ["--no-overlays"] * (not overlays)
        paths = ["--out", str(tmp_path / (out or name)), "--model-dir", str(networks)]
        return main([name, str(folder), *paths, *given, *options])

    return run


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*") if "shards" not in str(path)
    }


@pytest.mark.parametrize(
    "options",
    [[], ["--focal-px", "400"], ["--intrinsics", "400", "410", "100", "120"], ["--compare", "--side", "left"]],
)
def test_the_list_is_that_of_a_single_process_byte_by_byte(
    command: Callable[..., int], tmp_path: Path, options: list[str]
) -> None:
    given = ["--mesh", "none", *options]
    assert command("reconstruct", "--threads", "1", *given) == 0
    whole = (tmp_path / "reconstruct" / "hands.json").read_bytes()
    assert b'"detection_score"' in whole
    assert command("cluster", "--shards", "3", *options) == 0
    assert (tmp_path / "cluster" / "hands.json").read_bytes() == whole
    for number in (2, 3, 1):
        assert not (tmp_path / "sharded" / "hands.json").exists()
        assert command("reconstruct", "--shard", f"{number}/3", "--resume", *given, out="sharded") == 0
    assert (tmp_path / "sharded" / "hands.json").read_bytes() == whole
    assert command("reconstruct", "--resume", *given, out="resumed") == 0
    assert (tmp_path / "resumed" / "hands.json").read_bytes() == whole


@pytest.mark.parametrize("kind", ["ply", "obj"])
def test_meshes_and_overlays_are_those_of_a_single_process(
    command: Callable[..., int], tmp_path: Path, kind: str
) -> None:
    assert command("reconstruct", "--mesh", kind, overlays=True) == 0
    for number in (1, 2):
        assert command("reconstruct", "--mesh", kind, "--shard", f"{number}/2", overlays=True, out="sharded") == 0
    whole = files_below(tmp_path / "reconstruct")
    assert files_below(tmp_path / "sharded") == whole
    expected = {"b-2.png", "b_png.png", "b_bmp.png", "c.png"}
    assert {Path(name).name for name in whole if name.startswith("overlays")} == expected


@pytest.mark.parametrize("obstacle", ["meshes/b-2_0_right.ply/folder", "overlays/b-2.png/folder"])
@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_an_image_whose_outputs_cannot_be_written_is_named_and_the_run_goes_on(
    command: Callable[..., int], tmp_path: Path, obstacle: str, more: list[str]
) -> None:
    path = tmp_path / "reconstruct" / obstacle
    path.parent.mkdir(parents=True)
    path.write_text("in the way")
    assert command("reconstruct", "--mesh", "ply", *more, overlays=True) == 0
    entries = json.loads((tmp_path / "reconstruct" / "hands.json").read_text())
    assert [entry["file"] for entry in entries if "error" in entry] == ["a.jpg", "b-2.png"]
    assert "cannot be written" in entries[1]["error"]
    assert path.read_text() == "in the way"


def test_a_folder_of_outputs_that_cannot_be_written_ends_the_run(
    command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "reconstruct" / "meshes"
    path.parent.mkdir(parents=True)
    path.write_text("in the way")
    assert command("reconstruct", "--mesh", "ply", "--resume", overlays=True) == 1
    assert "cannot be made" in capsys.readouterr().err
    assert not (tmp_path / "reconstruct" / "hands.json").exists()
    (lines,) = (tmp_path / "reconstruct" / "shards").glob("*.jsonl")
    assert [json.loads(line)["file"] for line in lines.read_text().splitlines()] == ["a.jpg"]


def test_images_in_folders_below(command: Callable[..., int], folder: Path, tmp_path: Path) -> None:
    below = folder / "below" / "deeper"
    below.mkdir(parents=True)
    Image.new("RGB", (240, 240), (90, 90, 90)).save(below / "b.png")
    assert command("cluster", "--mesh", "obj", "--shards", "2") == 0
    entries = json.loads((tmp_path / "cluster" / "hands.json").read_text())
    meshes = {entry["file"]: hand["mesh"] for entry in entries for hand in entry["hands"]}
    assert meshes["below/deeper/b.png"] == "meshes/below/deeper/b_0_right.obj"
    assert meshes["b.png"] == "meshes/b_png_0_right.obj"
    for mesh in meshes.values():
        assert len(trimesh.load(tmp_path / "cluster" / mesh, process=False).vertices) == 778
    assert command("reconstruct", "--mesh", "obj", "--resume", "--recursive", out="resumed") == 0
    assert files_below(tmp_path / "resumed") == files_below(tmp_path / "cluster")
    assert command("reconstruct", "--resume", out="flat") == 0
    flat = json.loads((tmp_path / "flat" / "hands.json").read_text())
    assert "below/deeper/b.png" not in {entry["file"] for entry in flat}


def test_a_run_begun_by_shards_is_finished_joined_and_verified(
    command: Callable[..., int],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("INFO")
    assert command("reconstruct", "--shard", "2/3", "--resume", "--mesh", "none", out="cluster") == 0
    assert command("cluster", "--no-join", "--verify", "3") == 0
    assert "5 images in 3 shards, 1 of them complete already" in caplog.text
    assert "a.jpg: not an image" in caplog.text
    printed = capsys.readouterr().out
    assert "5 of 5 images with 3 hands, 1 unreadable, in 3 of 3 shards" in printed
    assert "0 of 3 images that were done again got another entry" in printed
    assert not (tmp_path / "cluster" / "hands.json").exists()
    assert command("cluster") == 0
    assert (tmp_path / "cluster" / "hands.json").is_file()


def test_results_that_this_machine_does_not_repeat(
    command: Callable[..., int], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("cluster") == 0
    (folder / "a.jpg").write_bytes((folder / "b.png").read_bytes())
    assert command("cluster", "--verify", "20") == 1
    assert "for example of a.jpg" in capsys.readouterr().err


def test_no_good_image_is_no_success(command: Callable[..., int], folder: Path) -> None:
    for path in (*folder.glob("*.png"), *folder.glob("*.bmp")):
        path.write_bytes(b"broken")
    (folder / "c.jpg").unlink()
    assert command("cluster") == 1
    assert command("reconstruct", "--resume") == 1
    assert command("reconstruct", "--shard", "1/2", out="sharded") == 0, "bad images are no failure of a Slurm task"


@pytest.mark.parametrize("options", [("--workers", "-1"), ("--shards", "0"), ("--cpus", "many")])
def test_impossible_numbers_are_refused(command: Callable[..., int], options: tuple[str, str]) -> None:
    with wrong_usage():
        command("cluster", *options)


@pytest.mark.parametrize("part", ["3/2", "0/1", "1", "1/", "-1/2", "1/1000000"])
def test_impossible_shards_are_refused(command: Callable[..., int], part: str) -> None:
    with wrong_usage():
        command("reconstruct", "--shard", part)


def test_the_run_ends_where_shards_go_on_failing(
    command: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[int] = []

    def fails(_: Any, shard: shards.Shard, *__: Any, **___: Any) -> Any:
        tried.append(shard.number)
        raise shards.HandvizError("no space left", ErrorCode.DISK_FULL)

    monkeypatch.setattr(shards, "run_shard", fails)
    assert command("cluster", "--shards", "5") == 1
    assert tried == [1, 2, 3, 4, 5], "a shard that fails does not keep others from being done"
    tried.clear()
    assert command("cluster", "--shards", "100") == 1
    assert len(tried) == 20
    assert "after 20 shards that failed" in capsys.readouterr().err


def test_messages(
    command: Callable[..., int], folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("cluster") == 0
    assert command("cluster", "--side", "left") == 1
    assert "side is detected there and left here" in capsys.readouterr().err
    assert command("reconstruct", "--mesh", "none", "--side", "left", "--shard", "1/1", out="cluster") == 1
    assert "side is detected there and left here" in capsys.readouterr().err
    assert command("cluster", "--shards", "7") == 1
    assert "contains 1 shards, not 7" in capsys.readouterr().err
    assert main(["cluster", str(folder / "nowhere"), "--out", str(folder / "out")]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert command("reconstruct", "--recursive", out="other") == 1
    assert "--recursive needs --resume or --shard" in capsys.readouterr().err
    assert command("reconstruct", "--resume", "--save-mano", "hands.npz", out="other") == 1
    assert "--save-mano does not work" in capsys.readouterr().err
    monkeypatch.setattr(ray_run.importlib.util, "find_spec", lambda _: None)
    assert main(["cluster", str(folder), "--out", str(folder / "out")]) == 1
    assert install_line("cluster") in capsys.readouterr().err


def test_giving_shards_away_needs_neither_torch_nor_ray() -> None:
    script = "import sys, handviz.cli.cluster; sys.exit(str({'torch', 'ray'} & set(sys.modules) or ''))"
    outcome = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False
    )
    assert outcome.stderr.strip() == ""
