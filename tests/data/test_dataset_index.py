"""What was read of a dataset is kept part by part, and read again when something about it changed."""

import os
from pathlib import Path

import numpy as np
import pytest

from handviz.data.datasets.images import message_on, messages_on
from handviz.data.datasets.index import Arrays, Part, read_parts, stamp_of


class Reader:
    """Counts how often it is asked."""

    def __init__(self, *, breaks: bool = False) -> None:
        self.asked, self.breaks = 0, breaks

    def __call__(self) -> Arrays:
        self.asked += 1
        if self.breaks:
            raise KeyboardInterrupt
        return {"problem": np.array(["", "x: y"]), "values": np.arange(3.0)}


def test_parts_are_read_once(tmp_path: Path) -> None:
    reader = Reader()
    for _ in range(2):
        (arrays,) = read_parts([Part("a/b", "1", reader)], tmp_path, "it")
        assert list(arrays["problem"]) == ["", "x: y"]
        np.testing.assert_array_equal(arrays["values"], [0, 1, 2])
        assert "stamp" not in arrays
    assert reader.asked == 1
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"]


def test_who_broke_off_goes_on_where_he_was(tmp_path: Path) -> None:
    first, second = Reader(), Reader(breaks=True)
    with pytest.raises(KeyboardInterrupt):
        read_parts([Part("a", "1", first), Part("b", "1", second)], tmp_path, "it")
    second.breaks = False
    assert len(read_parts([Part("a", "1", first), Part("b", "1", second)], tmp_path, "it")) == 2
    assert (first.asked, second.asked) == (1, 2)


def test_another_stamp_or_a_damaged_file_is_read_again(tmp_path: Path) -> None:
    reader = Reader()
    read_parts([Part("a", "1", reader)], tmp_path, "it")
    read_parts([Part("a", "2", reader)], tmp_path, "it")
    assert reader.asked == 2
    kept = next(tmp_path.iterdir())
    kept.write_bytes(kept.read_bytes()[:40])
    read_parts([Part("a", "2", reader)], tmp_path, "it")
    assert reader.asked == 3


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    reader = Reader()
    assert len(read_parts([Part("a", "1", reader)], tmp_path / "file", "it")) == 1
    assert "cannot be cached" in caplog.text


def test_stamps_change_with_lists_and_folders(tmp_path: Path) -> None:
    before = stamp_of(1, tmp_path, "a", "b")
    assert stamp_of(1, tmp_path, "a", "b") == before
    assert stamp_of(1, tmp_path, "ab") != before
    assert stamp_of(2, tmp_path, "a", "b") != before
    os.utime(tmp_path, ns=(0, 1))
    assert stamp_of(1, tmp_path, "a", "b") != before
    assert stamp_of(tmp_path / "missing")


def test_what_is_left_out_is_counted_by_kind() -> None:
    assert messages_on(["", "missing: a", "damaged: b: c", "", "missing: d"]) == (
        "2 samples left out, missing, the first: a.",
        "1 sample left out, damaged: b: c.",
    )
    assert message_on("missing", 1234, "x") == "1,234 samples left out, missing, the first: x."
