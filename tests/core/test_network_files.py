"""Files of networks: those that handviz ships, changed ones, and the user's own."""

import hashlib
import logging
from pathlib import Path

import pytest

from handviz.core.errors import ErrorCode
from handviz.core.network_files import listed_checksums, loaded_file, network_file, shipped_checksums
from handviz.core.paths import (
    CHECKSUM_FILE,
    LANDMARK_FILE,
    LANDMARKER_FILE,
    MODELS,
    PALM_FILE,
    TEXTURE_NAME,
    TRUNK_NAME,
    model_file,
)
from handviz.core.records import NetworkFile
from handviz.rendering.options import DEFAULT_COMPARED
from tests.errors import raises


@pytest.mark.parametrize(
    "path",
    [
        *map(model_file, DEFAULT_COMPARED),
        LANDMARKER_FILE,
        LANDMARK_FILE,
        PALM_FILE,
        MODELS / TEXTURE_NAME,
        MODELS / TRUNK_NAME,
    ],
    ids=lambda path: path.name,
)
def test_shipped_files_are_shipped(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = loaded_file(path)
    assert file == NetworkFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), "shipped")
    assert not caplog.records


def test_all_shipped_weights_are_under_48_megabytes_and_stand_once() -> None:
    sizes = {path.name: path.stat().st_size for path in map(MODELS.joinpath, shipped_checksums())}
    assert sum(sizes.values()) < 56e6
    # MediaPipe's weights are in the task file alone: graphs and heads are small beside it.
    assert sizes[LANDMARK_FILE.name] + sizes[PALM_FILE.name] < 0.2e6
    assert max(sizes[f"handviz_{name}.onnx"] for name in DEFAULT_COMPARED) < 14e6


def test_a_shipped_name_with_other_content_is_changed_wherever_it_lies(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "handviz_final.onnx"
    path.write_bytes(b"other")
    with caplog.at_level(logging.WARNING):
        assert loaded_file(path).state == "changed"
    (record,) = caplog.records
    assert hashlib.sha256(b"other").hexdigest()[:12] in record.getMessage()
    assert shipped_checksums()["handviz_final.onnx"][:12] in record.getMessage()


def test_another_name_is_the_users_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(model_file("final").read_bytes())
    assert loaded_file(path).state == "own"
    assert not caplog.records


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with raises(ErrorCode.FILE_UNREADABLE, match=r"gone\.onnx"):
        network_file(tmp_path / "gone.onnx")


def test_lists_of_both_kinds_of_sha256sum(tmp_path: Path) -> None:
    path = tmp_path / "SHA256SUMS"
    path.write_bytes(b"AB  a.onnx\ncd *b c.onnx\n\xff\n\n")
    assert listed_checksums(path) == [("a.onnx", "ab"), ("b c.onnx", "cd")]
    assert dict(listed_checksums(CHECKSUM_FILE)) == shipped_checksums()
