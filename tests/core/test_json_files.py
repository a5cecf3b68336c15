"""The one reader of JSON: what it accepts, and that everything else is a message with the place."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handviz.core.errors import ErrorCode
from handviz.core.json_files import Numbers, Rows, Within, check_value, json_parser, parse_json, read_json
from handviz.core.records import FloatArray
from tests.errors import raises
from tests.foreign import FEW


@dataclass(frozen=True, eq=False)
class Hand:
    """A row."""

    side: Literal["left", "right"]
    points: Annotated[FloatArray, Numbers(2, 3)]
    score: float = 0.5
    pair: tuple[int, int] | None = None
    count: Annotated[int, Within(ge=1)] = 1
    fraction: Annotated[float, Within(gt=0, le=1)] = 1

    def __post_init__(self) -> None:
        if self.score > 1:
            raise ValueError("a score above 1")


@dataclass(frozen=True, eq=False)
class Listing:
    """A file."""

    name: str
    hands: Rows[Hand]


POINTS = [[1, 2, 3], [4.5, 5, 6]]


def listing(**changes: object) -> str:
    """Return a file of one hand."""
    return json.dumps({"name": "a", "hands": [{"side": "left", "points": POINTS} | changes]})


def test_a_file_becomes_records_and_what_they_do_not_name_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(listing(pair=[3, 4], count=1, fraction=1, new_in_a_later_version={"x": [1]}), encoding="utf-8-sig")
    found = read_json(path, Listing, "make it again")
    (hand,) = found.hands
    assert (found.name, hand.side, hand.score, hand.pair) == ("a", "left", 0.5, (3, 4))
    np.testing.assert_array_equal(hand.points, POINTS)
    assert hand.points.dtype == np.float64


def test_of_entries_of_the_same_name_the_last_counts_as_in_pythons_own_reader() -> None:
    assert parse_json('{"name": "a", "name": "b", "hands": []}', Listing, "it", "do").name == "b"


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (listing(side="up"), r"hands\[0\]\.side: "),
        (listing(side=3), r"hands\[0\]\.side: "),
        (listing(points=[[1, 2], [3, 4]]), r"hands\[0\]\.points: expected 2 x 3 finite numbers"),
        (listing(points=[[1, 2, 3], [4]]), r"hands\[0\]\.points: "),
        (listing(points=[[1, 2, 3], [4, 5, None]]), r"hands\[0\]\.points: "),
        (listing(points=[[1, 2, 3], [4, 5, 10**400]]), r"hands\[0\]\.points: "),
        (listing(points={"a": 1}), r"hands\[0\]\.points: "),
        (listing(score=float("nan")), r"hands\[0\]\.score: "),
        (listing(score=float("inf")), r"hands\[0\]\.score: "),
        (listing(score="0.5"), r"hands\[0\]\.score: "),
        (listing(score=True), r"hands\[0\]\.score: "),
        (listing(score=10**400), r"hands\[0\]\.score: "),
        (listing(count=0), r"hands\[0\]\.count: .* 1"),
        (listing(count=True), r"hands\[0\]\.count: "),
        (listing(fraction=0), r"hands\[0\]\.fraction: .* 0"),
        (listing(fraction=1.5), r"hands\[0\]\.fraction: .* 1"),
        (listing(fraction=float("nan")), r"hands\[0\]\.fraction: "),
        (listing(score=2), r"hands\[0\]: a score above 1"),
        (listing(pair=[1, 2, 3]), r"hands\[0\]\.pair"),
        (listing(pair=[1, 2.5]), r"hands\[0\]\.pair\[1\]: "),
        ('{"name": "a", "hands": {}}', "hands: "),
        ('{"name": "a"}', "hands: "),
        ('{"name": "\\udcff", "hands": [7]}', r"hands\[0\]: "),
        ("[]", "object"),
        ("", "EOF"),
        ("{", "line 1"),
        ('{"name": 1' + "0" * 5000 + "}", "line 1"),
        ("[" * 100_000, "recursion"),
        ('{"name": "\\udcff", "x": ' + "[" * 100_000, "recursion"),
        ('{"name": "\\udcff"', "line 1"),
        (b"\xff\xfe{\0}\0", "line 1"),
        (b'{"name": "\xff", "hands": []}', "line 1"),
        (b"\x00", "line 1"),
    ],
)
def test_everything_else_is_a_message_with_its_place(content: str | bytes, place: str) -> None:
    with raises(ErrorCode.FILE_DAMAGED, match=rf"^it cannot be used \(.*{place}.*\): make it again$"):
        parse_json(content, Listing, "it", "make it again")


def test_a_message_stays_short_whatever_the_file_names() -> None:
    with raises(ErrorCode.FILE_DAMAGED) as caught:
        parse_json(json.dumps({"n" * 10_000: "x"}), dict[str, int], "it", "do")
    assert len(str(caught.value)) < 200


def test_a_list_of_wrong_items_is_left_at_the_first() -> None:
    content = json.dumps({"name": "a", "hands": [1] * 100_000})
    with pytest.raises(ValueError, match="1 validation error"):
        json_parser(Listing)(content)
    with pytest.raises(ValueError, match="1 validation error"):
        json_parser(list[str])(json.dumps([1] * 100_000))


def test_a_file_name_that_is_not_utf_8_comes_back() -> None:
    name = os.fsdecode(b"\xff.png")
    content = json.dumps({"name": name, "hands": [{"side": "left", "points": POINTS, "pair": [1, 2]}]})
    found = parse_json(content, Listing, "it", "do")
    assert (found.name, found.hands[0].pair) == (name, (1, 2))
    # An escaped pair, and a backslash before a u, are text like any other.
    for text in ("\U0001f590", "\\ud83d", "\\\\udcff"):
        assert parse_json(json.dumps(text), str, "it", "do") == text


@FEW
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_come_back_to_the_bit(number: float) -> None:
    assert parse_json(json.dumps(number), float, "it", "do").hex() == number.hex()


def test_values_of_other_files_are_checked_alike() -> None:
    rows = [{"side": "left", "points": np.ones((2, 3))}]
    assert check_value(rows, list[Hand], "it", "do")[0].points.shape == (2, 3)
    with raises(ErrorCode.FILE_DAMAGED, match=r"\[0\]\.points"):
        check_value([rows[0] | {"points": np.ones(3)}], list[Hand], "it", "do")


def test_what_is_no_file_is_a_message(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(listing())
    os.symlink("loop.json", tmp_path / "loop.json")
    os.symlink("none.json", tmp_path / "dangling.json")
    for name, code in (
        ("none.json", ErrorCode.FILE_MISSING),
        ("dangling.json", ErrorCode.FILE_MISSING),
        ("a.json/b.json", ErrorCode.FILE_MISSING),
        (".", ErrorCode.FILE_UNREADABLE),
        ("loop.json", ErrorCode.FILE_UNREADABLE),
    ):
        with raises(code, match="make it again"):
            read_json(tmp_path / name, Listing, "make it again")
    size = path.stat().st_size
    assert read_json(path, Listing, "do", max_bytes=size).name == "a"
    with raises(ErrorCode.TOO_LARGE, match=r"a\.json"):
        read_json(path, Listing, "do", max_bytes=size - 1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes in folders")
def test_a_pipe_is_a_message_and_not_a_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with raises(ErrorCode.FILE_UNREADABLE, match="make it again"):
        read_json(tmp_path / "pipe.json", Listing, "make it again")
