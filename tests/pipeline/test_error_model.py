"""The file of the posterior's errors: the shipped one, and that which a fit writes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handviz.core.errors import ErrorCode
from handviz.pipeline import error_model as module
from handviz.pipeline.error_model import FIELDS, error_model, write_error_model
from tests.errors import raises


def test_the_shipped_errors_are_those_of_a_hand() -> None:
    errors = error_model()
    for name in ("shape", "world", "image"):
        assert np.linalg.eigvalsh(getattr(errors, name)).min() > 0
    assert 0.001 < errors.usual_std_m.min() < errors.usual_std_m.max() < 0.02
    assert 0.01 < errors.camera_std.min() < errors.camera_std.max() < 0.3


def test_what_is_written_is_read_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "errors.npz"
    written = replace(error_model(), degrees=12.5)
    write_error_model(path, written)
    monkeypatch.setattr(module, "POSTERIOR_FILE", path)
    read = error_model.__wrapped__()
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
    assert [entry.name for entry in tmp_path.iterdir()] == ["errors.npz"]


def test_where_nothing_can_be_written_is_said(tmp_path: Path) -> None:
    with raises(ErrorCode.NOT_WRITABLE):
        write_error_model(tmp_path, error_model())
