"""Results are written atomically, under unique temporary names, and no link is followed."""

import errno
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from handviz.core import files
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import (
    atomic_path,
    check_writable,
    open_atomic,
    read_arrays,
    spreadsheet_text,
    unfinished_path,
    write_arrays,
    write_files,
)
from tests.errors import raises

Write = Callable[[Path, bytes], None]


def _by_bytes(path: Path, content: bytes) -> None:
    write_files({path: content})


def _by_pieces(path: Path, content: bytes) -> None:
    with open_atomic(path) as file:
        for byte in content:
            file.write(bytes([byte]))


def _by_name(path: Path, content: bytes) -> None:
    with atomic_path(path) as part:
        part.write_bytes(content)


@pytest.fixture(params=[_by_bytes, _by_pieces, _by_name])
def write(request: pytest.FixtureRequest) -> Write:
    """Return each of the three ways to write one file."""
    way: Write = request.param
    return way


def names(folder: Path) -> list[str]:
    """Return the names in a folder, hidden files too."""
    return sorted(os.listdir(folder))


def test_a_file_is_made_and_replaced(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "hands.json"
    for content in (b"first, and longer", b"second", b""):
        write(path, content)
        assert path.read_bytes() == content
    assert names(tmp_path) == ["hands.json"]


def test_a_name_may_be_as_long_as_the_system_allows(write: Write, tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 125 + ".json")
    write(path, b"content")
    assert path.read_bytes() == b"content"


def test_a_link_is_replaced_and_not_followed(write: Write, tmp_path: Path) -> None:
    other, path = tmp_path / "other", tmp_path / "hands.json"
    other.write_bytes(b"of another program")
    for target in (other, tmp_path / "nowhere", tmp_path):
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        write(path, b"content")
        assert not path.is_symlink()
        assert path.read_bytes() == b"content"
    assert other.read_bytes() == b"of another program"
    assert names(tmp_path) == ["hands.json", "other"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_under_the_temporary_name_is_not_followed(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "guessed")
    other, path = tmp_path / "other", tmp_path / "hands.json"
    if exists:
        other.write_bytes(b"of another program")
    planted = unfinished_path(path)
    planted.symlink_to(other)
    with raises(ErrorCode.NOT_WRITABLE, match=r"hands\.json cannot be written"):
        write(path, b"content")
    assert planted.is_symlink()
    assert other.exists() is exists
    assert not exists or other.read_bytes() == b"of another program"
    assert not path.exists()


def test_temporary_names_are_of_the_process_and_of_the_call(tmp_path: Path) -> None:
    path = tmp_path / "hands.json"
    found = {unfinished_path(path) for _ in range(100)}
    assert len(found) == 100
    assert all(name.parent == tmp_path and f".{os.getpid()}-" in name.name for name in found)


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "hands.json"
    with open_atomic(path) as first:
        first.write(b"first")
        write_files({path: b"second"})
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["hands.json"]


def half_by_pieces(path: Path, error: BaseException) -> None:
    """Write until something happens."""
    with open_atomic(path) as file:
        file.write(b"half")
        raise error


def half_by_name(path: Path, error: BaseException) -> None:
    """Write until something happens."""
    with atomic_path(path) as part:
        part.write_bytes(b"half")
        raise error


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), SystemExit(), ValueError("stopped"), HandvizError("stopped", ErrorCode.CANCELLED)],
    ids=lambda error: type(error).__name__,
)
def test_whatever_ends_the_writing_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "hands.json"
    path.write_bytes(b"before")
    for way in (half_by_pieces, half_by_name):
        with pytest.raises(type(error)):
            way(path, error)
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["hands.json"]


def test_an_interruption_between_two_files_leaves_nothing_unfinished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = tmp_path / "hand.mtl", tmp_path / "hand.obj"
    last.write_bytes(b"before")
    move = os.replace

    def interrupted(source: Path, target: Path) -> None:
        if target == last:
            raise KeyboardInterrupt
        move(source, target)

    monkeypatch.setattr(files.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_files({first: b"material", last: b"mesh"})
    assert last.read_bytes() == b"before"
    assert names(tmp_path) == ["hand.mtl", "hand.obj"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(write: Write, tmp_path: Path, mask: int, mode: int) -> None:
    path = tmp_path / "hands.json"
    before = os.umask(mask)
    try:
        write(path, b"content")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(
    ("number", "code", "remedy"),
    [
        (errno.ENOSPC, ErrorCode.DISK_FULL, "free space on the disk"),
        (errno.EDQUOT, ErrorCode.DISK_FULL, "free space on the disk"),
        (errno.EROFS, ErrorCode.NOT_WRITABLE, "choose another folder, or make this one writable"),
        (errno.EACCES, ErrorCode.NOT_WRITABLE, "choose another folder, or make this one writable"),
    ],
)
def test_a_disk_that_takes_nothing_is_named_with_a_remedy(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: ErrorCode, remedy: str
) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "hands.json"
    path.write_bytes(b"before")
    monkeypatch.setattr(files.os, "replace", refused)
    with raises(code) as caught:
        write(path, b"content")
    assert str(caught.value).startswith(f"{path} cannot be written ({os.strerror(number)}): {remedy}")
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["hands.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on a file's size")
def test_a_file_that_is_cut_off_is_removed(write: Write, tmp_path: Path) -> None:
    """Let the system accept 10 bytes of a file, as a disk that becomes full."""
    import resource

    path = tmp_path / "hands.json"
    path.write_bytes(b"before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with raises(ErrorCode.NOT_WRITABLE, match=r"hands\.json cannot be written"):
            write(path, b"more than ten bytes")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["hands.json"]


def test_a_folder_that_is_none_is_named_with_a_remedy(write: Write, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "in the way").mkdir(parents=True)
    for path, remedy in {
        tmp_path / "missing" / "hands.json": "create its folder first",
        tmp_path / "file" / "hands.json": "its folder is a file",
        tmp_path / "folder": "a folder has that name",
    }.items():
        with raises(ErrorCode.NOT_WRITABLE) as caught:
            write(path, b"content")
        assert str(caught.value).startswith(f"{path} cannot be written")
        assert remedy in str(caught.value)
    assert names(tmp_path) == ["file", "folder"]
    assert names(tmp_path / "folder") == ["in the way"]


def test_whether_a_file_can_be_written_is_tried_and_leaves_nothing(tmp_path: Path) -> None:
    wanted = tmp_path / "new" / "file.npz"
    check_writable(wanted)
    assert list(wanted.parent.iterdir()) == []
    wanted.write_bytes(b"old")
    check_writable(wanted)
    assert wanted.read_bytes() == b"old"
    for wrong in (wanted.parent, wanted / "below.npz"):
        with raises(ErrorCode.NOT_WRITABLE, match=wanted.parent.name):
            check_writable(wrong)


def test_of_several_files_none_is_put_in_place_if_one_cannot_be_written(tmp_path: Path) -> None:
    first, last = tmp_path / "hand.obj", tmp_path / "missing" / "hand.mtl"
    with raises(ErrorCode.NOT_WRITABLE, match=r"hand\.mtl cannot be written"):
        write_files({first: b"mesh", last: b"material"})
    assert names(tmp_path) == []


def test_arrays_come_back(tmp_path: Path) -> None:
    arrays = {"points": np.arange(6, dtype=np.float32).reshape(2, 3), "stamp": np.array("a text")}
    write_arrays(tmp_path / "points.npz", arrays)
    found = read_arrays(tmp_path / "points.npz", "make it again")
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    assert names(tmp_path) == ["points.npz"]


def _npz(path: Path, header: bytes, data: bytes = b"") -> None:
    """Write an npz file with one array, ``a``, of this npy header and data."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,), }\n",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (-3,), }\n",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (1, \n",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n",
        b"{'descr': '<f8' * 9 ** 9, 'fortran_order': False, 'shape': (1,), }\n",
        b"__import__('os').abort()\n",
        b'"""\n',
        b"\xff\xfe",
        b"(" * 5000,
    ],
)
def test_arrays_with_a_damaged_header_are_refused(tmp_path: Path, header: bytes) -> None:
    _npz(tmp_path / "a.npz", header, bytes(8))
    with raises(ErrorCode.FILE_DAMAGED, match=r"a\.npz"):
        read_arrays(tmp_path / "a.npz", "make it again")


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused(tmp_path: Path) -> None:
    many = 3 * files.ALWAYS_ALLOWED_BYTES
    _npz(tmp_path / "a.npz", b"{'descr': '|u1', 'fortran_order': False, 'shape': (%d,), }\n" % many, bytes(many))
    assert (tmp_path / "a.npz").stat().st_size < many / 900
    with raises(ErrorCode.FILE_DAMAGED, match="unpacks"):
        read_arrays(tmp_path / "a.npz", "make it again")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum", " =1", "\t=1", "\rx", "\nx", "\uff1d1", "\u00a0=1"])
def test_a_text_that_a_spreadsheet_would_run_is_quoted(text: str) -> None:
    assert spreadsheet_text(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "hand=1.png", "a-b.png", "1.png", "'=1", "ü.png"])
def test_other_texts_stay(text: str) -> None:
    assert spreadsheet_text(text) == text
