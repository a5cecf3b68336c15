"""MAT files are read as scipy reads them; those that promise more than they hold are refused."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from handviz.core.errors import ErrorCode
from handviz.data.datasets import mat_arrays
from handviz.data.datasets.mat_arrays import MAX_FILE_BYTES, read_mat_array
from tests.errors import raises

REMEDY = "unpack it again."
REFUSED = (ErrorCode.FILE_DAMAGED, ErrorCode.TOO_LARGE)


def points() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 21, 5))


def element(kind: int, data: bytes, *, size: int | None = None, order: str = "<") -> bytes:
    """Return an element of the format, of another stated size where one is given."""
    stated = len(data) if size is None else size
    padding = b"" if kind == 15 else bytes(-len(data) % 8)
    return struct.pack(f"{order}II", kind, stated) + data + padding


def matrix(
    name: bytes = b"handPara", shape: tuple[int, ...] = (3, 1), kind: int = 6, number_kind: int = 9, order: str = "<"
) -> bytes:
    """Return a variable of three numbers."""
    numbers = np.array([1.0, 2.0, 3.0], f"{order}f8").tobytes()
    parts = [
        element(6, struct.pack(f"{order}II", kind, 0), order=order),
        element(5, struct.pack(f"{order}{len(shape)}i", *shape), order=order),
        element(1, name, order=order),
        element(number_kind, numbers, order=order),
    ]
    return element(14, b"".join(parts), order=order)


def file_of(folder: Path, *elements: bytes, version: int = 0x0100, order: str = "<") -> Path:
    path = folder / "labels.mat"
    mark = b"IM" if order == "<" else b"MI"
    path.write_bytes(b"MATLAB 5.0".ljust(124) + struct.pack(f"{order}H", version) + mark + b"".join(elements))
    return path


@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize(
    "array",
    [
        points(),
        points().astype(np.float32),
        np.arange(6.0).reshape(2, 3),
        np.array([[np.nan, np.inf]]),
        np.ones((0, 4)),
    ],
)
def test_arrays_are_those_of_scipy(tmp_path: Path, array: np.ndarray, is_packed: bool) -> None:
    path = tmp_path / "labels.mat"
    others: dict[str, Any] = {"a": 1, "text": "x", "cells": np.array([1, "a"], object), "s": {"x": 1.0, "y": "b"}}
    savemat(path, others | {"handPara": array, "z": array}, do_compression=is_packed)
    found = read_mat_array(path, "handPara", REMEDY)
    np.testing.assert_array_equal(found, loadmat(path)["handPara"])
    assert found.dtype == np.float64


def test_doubles_that_are_stored_as_small_integers_and_big_endian_files(tmp_path: Path) -> None:
    numbers = element(2, bytes([7, 8, 9, 250]))
    parts = [element(6, struct.pack("<II", 6, 0)), element(5, struct.pack("<2i", 2, 2)), element(1, b"handPara")]
    small = struct.pack("<HH", 2, 4) + bytes([7, 8, 9, 250])
    for stored in (numbers, small):
        path = file_of(tmp_path, element(14, b"".join([*parts, stored])))
        np.testing.assert_array_equal(read_mat_array(path, "handPara", REMEDY), [[7, 9], [8, 250]])
        np.testing.assert_array_equal(loadmat(path)["handPara"], [[7, 9], [8, 250]])
    path = file_of(tmp_path, matrix(order=">"), order=">")
    np.testing.assert_array_equal(read_mat_array(path, "handPara", REMEDY), [[1], [2], [3]])


def packed(data: bytes) -> bytes:
    return element(15, zlib.compress(data, 9))


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ([], "no variable handPara"),
        ([matrix(b"other")], "no variable handPara"),
        ([matrix()[:40]], "longer than the file"),
        ([matrix(shape=(3, 10**9))], "do not make up"),
        ([matrix(shape=(-3, -1))], "do not make up"),
        ([matrix(shape=(2**31 - 1,) * 8)], "do not make up"),
        ([matrix(shape=(1,) * 40)], "header is damaged"),
        ([matrix(kind=1)], "a cell array, expected an array"),
        ([matrix(kind=2)], "a structure, expected an array"),
        ([matrix(kind=3)], "an object, expected an array"),
        ([matrix(kind=5)], "a sparse matrix, expected an array"),
        ([matrix(kind=17)], "an object, expected an array"),
        ([matrix(kind=6 | 0x0800)], "of another kind|expected an array"),
        ([matrix(number_kind=99)], "has no numbers"),
        ([element(14, b"")], "no variable handPara"),
        ([element(14, b"", size=2**32 - 8)], "longer than the file"),
        ([packed(matrix())[:-6]], "longer than the file"),
        ([element(15, zlib.compress(matrix())[:-6])], "cut off"),
        ([element(15, b"not packed at all")], "labels.mat"),
        ([packed(b"\0" * 2**27)], "unpack to more than"),
        ([packed(b"\0" * 2**25)] * 3, "unpack to more than"),
        ([packed(packed(matrix()))], "no variable handPara"),
    ],
)
def test_hostile_files_are_refused_by_name(tmp_path: Path, elements: list[bytes], words: str) -> None:
    path = file_of(tmp_path, *elements)
    with raises(*REFUSED, match=words) as caught:
        read_mat_array(path, "handPara", REMEDY)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith(REMEDY)


def test_other_kinds_of_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.mat"
    with raises(ErrorCode.FILE_MISSING):
        read_mat_array(path, "handPara", REMEDY)
    for content in (b"", b"\x89HDF\r\n\x1a\n" * 100, b"x" * 200):
        path.write_bytes(content)
        with raises(ErrorCode.FILE_DAMAGED, match="no MAT file"):
            read_mat_array(path, "handPara", REMEDY)
    with raises(ErrorCode.FILE_DAMAGED, match="no MAT file"):
        read_mat_array(file_of(tmp_path, matrix(), version=0x0200), "handPara", REMEDY)
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with raises(ErrorCode.TOO_LARGE):
        read_mat_array(path, "handPara", REMEDY)


def test_a_file_that_is_cut_off_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "labels.mat"
    savemat(path, {"handPara": points()}, do_compression=True)
    content = path.read_bytes()
    for length in range(0, len(content) - 1, 37):
        path.write_bytes(content[:length])
        with raises(ErrorCode.FILE_DAMAGED):
            read_mat_array(path, "handPara", REMEDY)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than the limit and one byte is ever made of it."""
    made = []
    unpack = mat_arrays._unpacked

    def counted(data: memoryview, limit: int) -> memoryview:
        stream = zlib.decompressobj()
        made.append(len(stream.decompress(data, limit + 1)))
        return unpack(data, limit)

    monkeypatch.setattr(mat_arrays, "MAX_UNPACKED_BYTES", 1000)
    monkeypatch.setattr(mat_arrays, "_unpacked", counted)
    with raises(ErrorCode.FILE_DAMAGED):
        read_mat_array(file_of(tmp_path, packed(b"\0" * 10**7)), "handPara", REMEDY)
    assert made == [1001]
