"""The detector's files: what is wrong with one, and how to get it."""

import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from handviz.core.errors import ErrorCode
from handviz.core.network_files import sha256_of
from handviz.core.paths import LANDMARKER_FILE, PALM_FILE
from handviz.core.records import DetectorChoice
from handviz.detection import detector_files
from handviz.detection.detector_files import TASK_MEMBERS, WEIGHTS_KEY, check_graph, check_is_file, check_task_file
from handviz.detection.detectors import files_of, make_detector
from handviz.detection.palm import PalmDetector
from tests.errors import raises
from tools.build_landmarker import task_bytes

MEMBERS = {name: name.encode() * 50 for name in TASK_MEMBERS}
"""Stand-ins of both networks: the check reads no network."""


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    path = tmp_path / "hands.task"
    path.write_bytes(task_bytes(MEMBERS))
    return path


def write_graph(path: Path, **metadata: str) -> Path:
    """Write a network of one addition with metadata, as the graphs of the detector have them."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "graph", [value], [result])
    model = helper.make_model(graph)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def test_the_shipped_files_are_right() -> None:
    task_file, *graphs = files_of("handviz")
    assert files_of("mediapipe") == (task_file,)
    check_task_file(task_file)
    for graph in graphs:
        check_graph(graph, task_file)


def test_a_graph_of_a_damaged_task_file_blames_that_file(task_file: Path, tmp_path: Path) -> None:
    graph = write_graph(tmp_path / "palm.onnx", **{WEIGHTS_KEY: sha256_of(task_file)})
    task_file.write_bytes(task_file.read_bytes()[:-50])
    with raises(ErrorCode.MODEL_DAMAGED, match=r"hands\.task is truncated"):
        check_graph(graph, task_file)
    task_file.unlink()
    with raises(ErrorCode.MODEL_MISSING, match=r"hands\.task is missing.*build landmarker"):
        check_graph(graph, task_file)


def test_networks_are_opened_from_any_folder(tmp_path: Path) -> None:
    folder = tmp_path / "händé 手"
    folder.mkdir()
    for path in files_of("handviz"):
        shutil.copyfile(path, folder / path.name)
    assert PalmDetector(folder / PALM_FILE.name).find([np.zeros((50, 60, 3), np.uint8)], 0.5) == [[]]
    (folder / LANDMARKER_FILE.name).write_bytes(LANDMARKER_FILE.read_bytes()[:100_000])
    with raises(ErrorCode.MODEL_DAMAGED, match=LANDMARKER_FILE.name):
        PalmDetector(folder / PALM_FILE.name)


def test_a_path_of_any_letters(task_file: Path) -> None:
    other = task_file.with_name("händé 手 модель.task")
    task_file.rename(other)
    check_task_file(other)
    with raises(ErrorCode.MODEL_MISSING, match="händé 手"):
        check_task_file(other.with_name("händé 手.task"))


def test_a_missing_file_names_how_to_get_it(tmp_path: Path) -> None:
    with raises(ErrorCode.MODEL_MISSING, match=r"absent\.task is missing; .*'python -m tools.build landmarker'"):
        check_task_file(tmp_path / "absent.task")


@pytest.mark.parametrize("fraction", [0.3, 0.9, 0.999])
def test_a_truncated_task_file(task_file: Path, fraction: float) -> None:
    content = task_file.read_bytes()
    task_file.write_bytes(content[: int(fraction * len(content))])
    with raises(ErrorCode.MODEL_DAMAGED, match=r"hands\.task is truncated"):
        check_task_file(task_file)


def test_an_empty_file(task_file: Path) -> None:
    task_file.write_bytes(b"")
    with raises(ErrorCode.MODEL_DAMAGED, match=r"hands\.task is empty"):
        check_task_file(task_file)


@pytest.mark.parametrize("content", [b"\x7fELF" * 500, b"version https://git-lfs.github.com/spec/v1\n" * 3])
def test_a_file_of_another_kind(task_file: Path, content: bytes) -> None:
    task_file.write_bytes(content)
    with raises(ErrorCode.MODEL_DAMAGED, match="not a task file"):
        check_task_file(task_file)


def test_altered_weights(task_file: Path) -> None:
    content = bytearray(task_file.read_bytes())
    content[content.index(MEMBERS[TASK_MEMBERS[1]]) + 7] ^= 1
    task_file.write_bytes(content)
    with raises(ErrorCode.MODEL_DAMAGED, match=f"is damaged in {TASK_MEMBERS[1]}"):
        check_task_file(task_file)


def test_a_task_of_something_else(task_file: Path) -> None:
    task_file.write_bytes(task_bytes({"pose.tflite": b"x"}))
    with raises(ErrorCode.MODEL_FOREIGN, match=f"lacks {TASK_MEMBERS[0]}.*expected"):
        check_task_file(task_file)


def test_a_task_file_that_was_packed_again(task_file: Path) -> None:
    """Weights are read from the file at fixed places, so that they must lie there as they are."""
    with zipfile.ZipFile(task_file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in MEMBERS.items():
            archive.writestr(name, content)
    with raises(ErrorCode.MODEL_FOREIGN, match="compressed"):
        check_task_file(task_file)


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    with raises(ErrorCode.MODEL_DAMAGED, match="is a folder"):
        check_task_file(tmp_path)


def circle(path: Path) -> None:
    path.symlink_to(path.name)


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nothing")


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (circle, ErrorCode.FILE_UNREADABLE, "leads back to itself"),
        (link_to_nothing, ErrorCode.MODEL_MISSING, "a link to a file that is missing"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows makes links only in its developer mode")
def test_links_that_lead_nowhere(tmp_path: Path, make: Callable[[Path], None], code: ErrorCode, words: str) -> None:
    path = tmp_path / "linked.task"
    make(path)
    with raises(code, match=words):
        check_task_file(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe.task"
    os.mkfifo(path)
    with raises(ErrorCode.MODEL_DAMAGED, match="is no file"):
        check_task_file(path)


def test_a_file_that_may_not_be_read(task_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with raises(ErrorCode.FILE_UNREADABLE, match=r"hands\.task cannot be read \(Permission denied\)"):
        check_is_file(task_file, "restore it")


def test_a_graph_of_these_weights(task_file: Path, tmp_path: Path) -> None:
    graph = write_graph(tmp_path / "palm.onnx", **{"other": "text", WEIGHTS_KEY: sha256_of(task_file)})
    check_graph(graph, task_file)


def test_a_graph_of_other_weights_names_both_files(task_file: Path, tmp_path: Path) -> None:
    graph = write_graph(tmp_path / "palm.onnx", **{WEIGHTS_KEY: sha256_of(task_file)})
    task_file.write_bytes(task_bytes(MEMBERS | {TASK_MEMBERS[0]: b"another network"}))
    with raises(ErrorCode.FILES_DISAGREE, match=r"palm\.onnx and .*hands\.task .*build detector"):
        check_graph(graph, task_file)


@pytest.mark.parametrize("metadata", [{}, {WEIGHTS_KEY: "no checksum"}])
def test_a_graph_of_something_else(task_file: Path, tmp_path: Path, metadata: dict[str, str]) -> None:
    with raises(ErrorCode.MODEL_FOREIGN, match=r"palm\.onnx .*expected .*build detector"):
        check_graph(write_graph(tmp_path / "palm.onnx", **metadata), task_file)


def test_a_graph_that_is_missing_empty_cut_or_a_folder(task_file: Path, tmp_path: Path) -> None:
    graph = write_graph(tmp_path / "palm.onnx", **{WEIGHTS_KEY: sha256_of(task_file)})
    content = graph.read_bytes()
    for cut, code in ((0, ErrorCode.MODEL_DAMAGED), (len(content) // 2, ErrorCode.MODEL_FOREIGN)):
        graph.write_bytes(content[:cut])
        with raises(code, match=r"palm\.onnx"):
            check_graph(graph, task_file)
    graph.unlink()
    with raises(ErrorCode.MODEL_MISSING, match=r"palm\.onnx is missing"):
        check_graph(graph, task_file)
    graph.mkdir()
    with raises(ErrorCode.MODEL_DAMAGED, match="is a folder"):
        check_graph(graph, task_file)


def test_a_graph_that_is_too_large_is_not_read(
    task_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector_files, "MAX_GRAPH_BYTES", 1000)
    graph = tmp_path / "palm.onnx"
    graph.write_bytes(np.zeros(2000, np.uint8).tobytes())
    with raises(ErrorCode.TOO_LARGE, match=r"palm\.onnx"):
        check_graph(graph, task_file)


@pytest.mark.parametrize("video", [True, False])
@pytest.mark.parametrize("choice", ["handviz", "mediapipe"])
def test_both_detectors_check_their_files(choice: DetectorChoice, video: bool, tmp_path: Path) -> None:
    for path in files_of(choice):
        folder = tmp_path / path.stem
        folder.mkdir()
        for other in files_of(choice):
            if other != path:
                shutil.copyfile(other, folder / other.name)
        with raises(ErrorCode.MODEL_MISSING, match=f"{path.name} is missing"):
            make_detector(choice, folder / LANDMARKER_FILE.name, max_hands=2, video=video)
