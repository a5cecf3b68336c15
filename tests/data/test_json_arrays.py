"""Long lists of numbers are what json reads, block by block; everything else is refused."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from handviz.core.errors import ErrorCode, HandvizError
from handviz.data.datasets import json_arrays
from handviz.data.datasets.json_arrays import cache_folder, number_lists, read_number_lists
from tests.errors import raises

REMEDY = "download it again."
SHAPE = (3, 2)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDVIZ_DATASET_CACHE", str(tmp_path / "kept"))


@pytest.fixture
def numbers() -> np.ndarray:
    return np.random.default_rng(0).normal(scale=10.0 ** np.arange(-3, 3), size=(9, 6)).reshape(9, *SHAPE)


@pytest.mark.parametrize("block", [1, 7, 64, 2**24])
@pytest.mark.parametrize("indent", [None, 1])
def test_numbers_are_those_of_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: np.ndarray, block: int, indent: int | None
) -> None:
    monkeypatch.setattr(json_arrays, "BLOCK_BYTES", block)
    path = tmp_path / "list.json"
    path.write_text(json.dumps(numbers.tolist(), indent=indent) + "\n")
    np.testing.assert_array_equal(read_number_lists(path, SHAPE, REMEDY), numbers)
    single = read_number_lists(path, SHAPE, REMEDY, dtype=np.float32)
    np.testing.assert_array_equal(single, numbers.astype(np.float32))


def test_a_plain_list_is_one_number_each(tmp_path: Path) -> None:
    path = tmp_path / "scale.json"
    path.write_text("[0.5, 1, -2e-3]")
    np.testing.assert_array_equal(read_number_lists(path, (), REMEDY), [0.5, 1, -2e-3])


def test_what_is_not_finite_is_kept_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text("[[NaN, Infinity], [-Infinity, 1e400]]")
    np.testing.assert_array_equal(read_number_lists(path, (2,), REMEDY), [[np.nan, np.inf], [-np.inf, np.inf]])


def test_whatever_is_spoiled_is_refused_or_means_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: np.ndarray
) -> None:
    monkeypatch.setattr(json_arrays, "BLOCK_BYTES", 256)
    rng = np.random.default_rng(1)
    path, text = tmp_path / "list.json", json.dumps(numbers[:2].tolist())
    refused = 0
    for _ in range(400):
        place, length = int(rng.integers(len(text))), int(rng.integers(3))
        spoiled = text[:place] + str(rng.choice(list('[],0.e- "{x\n'))) + text[place + length :]
        path.write_text(spoiled)
        try:
            found = read_number_lists(path, SHAPE, REMEDY)
        except HandvizError:
            refused += 1
            continue
        # Digits may have gone or come: Python's float reads them one by one.
        expected = [float(word) for word in spoiled.replace("[", " ").replace("]", " ").split(",")]
        np.testing.assert_array_equal(found.ravel(), expected)
        assert found.shape == (len(expected) // 6, *SHAPE)
    assert 100 < refused < 400


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_what_is_cut_off_is_refused_and_told_how_far_it_goes(
    tmp_path: Path, numbers: np.ndarray, monkeypatch: pytest.MonkeyPatch, keep: float
) -> None:
    monkeypatch.setattr(json_arrays, "BLOCK_BYTES", 64)
    path, text = tmp_path / "list.json", json.dumps(numbers.tolist())
    path.write_text(text[: int(keep * len(text))])
    with raises(ErrorCode.FILE_DAMAGED, match=rf"list\.json .* after {int(keep * 9)} hands"):
        read_number_lists(path, SHAPE, REMEDY)


def test_large_files_are_read_once_until_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: np.ndarray
) -> None:
    monkeypatch.setattr(json_arrays, "CACHED_FROM_BYTES", 1)
    path = tmp_path / "list.json"
    path.write_text(json.dumps(numbers.tolist()))
    first = number_lists(path, SHAPE, REMEDY)
    assert isinstance(first, np.memmap)
    with monkeypatch.context() as patched:
        patched.setattr(json_arrays, "read_number_lists", lambda *_, **__: pytest.fail("read again"))
        np.testing.assert_array_equal(number_lists(path, SHAPE, REMEDY), numbers)
    path.write_text(json.dumps((numbers + 1).tolist()))
    os.utime(path, ns=(1, 1))
    np.testing.assert_array_equal(number_lists(path, SHAPE, REMEDY), numbers + 1)
    assert len(list(cache_folder().iterdir())) == 1, "the older array is gone"


def test_a_damaged_cache_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: np.ndarray) -> None:
    monkeypatch.setattr(json_arrays, "CACHED_FROM_BYTES", 1)
    path = tmp_path / "list.json"
    path.write_text(json.dumps(numbers.tolist()))
    number_lists(path, SHAPE, REMEDY)
    (kept,) = cache_folder().iterdir()
    for damage in (b"", kept.read_bytes()[:100], kept.read_bytes()[:-8], b"PK\x03\x04"):
        kept.write_bytes(damage)
        np.testing.assert_array_equal(number_lists(path, SHAPE, REMEDY), numbers)


def test_without_a_place_to_keep_it_a_file_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: np.ndarray
) -> None:
    monkeypatch.setattr(json_arrays, "CACHED_FROM_BYTES", 1)
    (tmp_path / "kept").write_text("in the way")
    path = tmp_path / "list.json"
    path.write_text(json.dumps(numbers.tolist()))
    np.testing.assert_array_equal(number_lists(path, SHAPE, REMEDY), numbers)
