"""Damaged files of every kind, the same in every run: none may crash, hang, fill the memory or give wrong numbers."""

import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest

import tools
from handviz.core.errors import ErrorCode, HandvizError
from tests.errors import raises
from tools import fuzz
from tools.fuzzing import doors as all_doors
from tools.fuzzing.door import Door, WrongAnswerError, check, check_rgb
from tools.fuzzing.mutations import damaged
from tools.fuzzing.worker import Reader, case

SEED = 20_261_130
SLOW_DOORS = ("dataset_dexycb", "dataset_hanco", "dataset_ho3d_v2", "checkpoints", "resume_states", "trained_networks")
"""Their whole files take seconds to make."""
QUICK_FILES, SLOW_FILES = 12, 16
JSON = b'{"numbers": [1, 2.5, 3e4], "name": "x", "more": {"a": -1}}'


QUICK_DOORS = [name for name in all_doors.DOORS if name not in SLOW_DOORS]


def failures(cases: list[tuple[str, int]], folder: Path) -> list[str]:
    """Return what failed among the doors' files of these numbers, and how to see it again."""
    found = list(fuzz.read_all(cases, SEED, folder))
    assert len(found) == len(cases)
    return [str(finding) for finding in found if finding.has_failed]


def test_damaged_files_of_every_quick_door(tmp_path: Path) -> None:
    assert failures([(door, number) for door in QUICK_DOORS for number in range(QUICK_FILES)], tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_more_damaged_files_of_every_door(tmp_path: Path) -> None:
    """Beyond those of the test above."""
    first = dict.fromkeys(QUICK_DOORS, QUICK_FILES)
    cases = [(door, number) for door in all_doors.DOORS for number in range(first.get(door, 0), SLOW_FILES)]
    assert failures(cases, tmp_path) == []


def test_the_same_seed_gives_the_same_files() -> None:
    door = Door("any", lambda _: None, lambda _: None)
    contents = {"a.json": JSON, "b.json": JSON[::-1], "c.bin": bytes(range(256))}
    first, again = ([case(door, contents, 5, number) for number in range(50)] for _ in range(2))
    assert first == again
    assert case(door, contents, 6, 0) != first[0]
    assert len({content for _, content in first}) > 40


@pytest.mark.parametrize(
    "content", [b"", JSON, bytes(range(256)), b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"\xc3\xa4" * 2000]
)
def test_anything_can_be_damaged(content: bytes) -> None:
    found = [damaged(content, [content], Random(number)) for number in range(200)]
    assert max(map(len, found)) <= 4_000_000
    assert not content or sum(one != content for one in found) > 150


# A verdict is what it says: with doors that fail on purpose, in this process or in one that dies.


def write_one(folder: Path) -> None:
    (folder / "a.txt").write_text("1 2 3")


def fail(path: Path) -> None:
    """Crash at a damaged file."""
    if path.read_text(errors="replace") != "1 2 3":
        raise ZeroDivisionError("not handled")


def refuse(path: Path) -> None:
    if path.read_text(errors="replace") != "1 2 3":
        raise HandvizError(f"{path} is damaged", ErrorCode.FILE_DAMAGED)


def be_wrong(path: Path) -> None:
    check(path.read_text(errors="replace") == "1 2 3", "another text")


def fill_memory(path: Path) -> None:
    if path.read_text(errors="replace") != "1 2 3":
        bytearray(1_200_000_000)[::4096] = bytes([1]) * (1_200_000_000 // 4096 + 1)


VERDICTS = {"crashed": fail, "refused": refuse, "wrong": be_wrong, "fine": lambda path: None}
if sys.platform.startswith("linux"):
    VERDICTS["memory"] = fill_memory


@pytest.mark.parametrize("verdict", VERDICTS)
def test_each_verdict(verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(all_doors.DOORS, "any", Door("any", write_one, VERDICTS[verdict]))
    saved = tmp_path / "saved"
    saved.mkdir()
    (tmp_path / "work").mkdir()
    found = Reader(tmp_path / "work").verdict("any", 1, 3, str(saved))
    assert found["verdict"] == verdict
    assert [str(path) for path in saved.iterdir()] == ([] if verdict in fuzz.GOOD else [found["file"]])


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put this code in place of the worker's; returns the list that holds it."""
    code: list[str] = []
    real = subprocess.Popen

    def start(command: list[str], **options: object) -> "subprocess.Popen[str]":
        return real([sys.executable, "-c", code[0]], **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(fuzz.subprocess, "Popen", start)
    return code


def test_a_reader_that_ends_the_process_has_crashed(stand_in: list[str], tmp_path: Path) -> None:
    stand_in.append("import os; input(); os.abort()")
    found = list(fuzz.read_all([("cameras", 0), ("cameras", 1)], 1, tmp_path))
    assert [one.verdict for one in found] == ["crashed", "crashed"]
    assert "--doors cameras --seed 1 --number 1" in str(found[1])


def test_a_reader_that_does_not_end_is_killed(
    stand_in: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.append("import sys; sys.stdin.read()")
    monkeypatch.setattr(fuzz, "OPENING_SECONDS", 0.05)
    (found,) = fuzz.read_all([("cameras", 0)], 1, tmp_path)
    assert found.verdict == "hung"
    assert found.has_failed


def test_the_command_prints_a_table_and_fails_when_a_file_failed(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["--files", "3", "--doors", "cameras,lists", "--seed", "4", "--out", str(tmp_path)]
    assert tools.run("fuzz", words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["door", "cameras", "all"]
    assert lines[-1].split()[1] == "3"
    failed = fuzz.Finding("cameras", 4, 0, "crashed", "Traceback", "file", 0.1)
    monkeypatch.setattr(fuzz, "read_all", lambda *_: iter([failed]))
    assert tools.run("fuzz", words) == 1
    assert "--number 0" in caplog.text


def test_a_door_that_does_not_exist_is_named() -> None:
    with raises(ErrorCode.UNKNOWN_NAME, match="there is no door 'walls': choose from images"):
        all_doors.door_named("walls")


@pytest.mark.parametrize(
    "image", [None, np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8)]
)
def test_what_is_no_image_is_wrong(image: object) -> None:
    with pytest.raises(WrongAnswerError, match="no RGB image"):
        check_rgb(image)
