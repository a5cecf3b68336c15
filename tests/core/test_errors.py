"""An error has a message for the user and a code for programs."""

import errno
import pickle

import pytest

from handviz.core.errors import ErrorCode, HandvizError, write_error_code
from tests.errors import raises


def test_the_message_stands_alone() -> None:
    error = HandvizError("a.png: there is no such file", ErrorCode.FILE_MISSING)
    assert str(error) == "a.png: there is no such file"
    assert error.code is ErrorCode.FILE_MISSING


def test_a_code_crosses_processes() -> None:
    error = pickle.loads(pickle.dumps(HandvizError("none", ErrorCode.NO_HANDS)))
    assert (str(error), error.code) == ("none", ErrorCode.NO_HANDS)


def test_the_check_of_a_code_refuses_another() -> None:
    def check(found: ErrorCode, *wanted: ErrorCode) -> None:
        with raises(*wanted):
            raise HandvizError("something", found)

    check(ErrorCode.DISK_FULL, ErrorCode.DISK_FULL)
    check(ErrorCode.DISK_FULL, ErrorCode.NOT_WRITABLE, ErrorCode.DISK_FULL)
    with pytest.raises(AssertionError, match="something"):
        check(ErrorCode.DISK_FULL, ErrorCode.NOT_WRITABLE)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, ErrorCode.DISK_FULL),
        (errno.EDQUOT, ErrorCode.DISK_FULL),
        (errno.EACCES, ErrorCode.NOT_WRITABLE),
        (None, ErrorCode.NOT_WRITABLE),
    ],
)
def test_a_full_disk_is_told_from_a_closed_folder(number: int | None, code: ErrorCode) -> None:
    assert write_error_code(OSError(number, "what the system says")) is code
