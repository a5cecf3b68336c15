"""Checks of an error's code, independent of its message."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from handviz.core.errors import ErrorCode, HandvizError


@contextmanager
def wrong_usage() -> Iterator[None]:
    """Expect that a command line is refused: the exit status is 2."""
    with pytest.raises(SystemExit) as stop:
        yield
    assert stop.value.code == 2


@contextmanager
def raises(*codes: ErrorCode, match: str | None = None) -> Iterator[pytest.ExceptionInfo[HandvizError]]:
    """Expect a HandvizError with this code, or one of these.

    ``match`` is for what a message must name (a file, an option), not for its words.
    """
    with pytest.raises(HandvizError, match=match) as caught:
        yield caught
    found = caught.value
    assert found.code in codes, f"{found.code!r} instead of {codes}: {found}"
