"""Texts that name datasets."""

import sys
from pathlib import Path, PureWindowsPath

import pytest

from handviz.core.errors import ErrorCode
from handviz.data.datasets import registry
from tests.errors import raises
from tests.memory_dataset import MemoryDataset, reader_of


@pytest.fixture
def dataset(monkeypatch: pytest.MonkeyPatch) -> MemoryDataset:
    """Open this for every spec of freihand."""
    dataset = MemoryDataset([])
    monkeypatch.setitem(sys.modules, "handviz.data.datasets.freihand", reader_of(dataset))
    return dataset


@pytest.mark.parametrize(
    ("text", "split", "root"),
    [
        ("freihand/evaluation:/data/Frei HAND", "evaluation", "/data/Frei HAND"),
        ("freihand:FreiHAND", "training", "FreiHAND"),
        (r"freihand/evaluation:C:\data\FreiHAND", "evaluation", r"C:\data\FreiHAND"),
        (str(PureWindowsPath(r"freihand/evaluation:D:/x")), "evaluation", r"D:\x"),
        ("freihand:/a:b", "training", "/a:b"),
    ],
)
def test_a_spec_is_taken_apart(dataset: MemoryDataset, text: str, split: str, root: str) -> None:
    assert registry.is_dataset_spec(text)
    assert registry.parsed(text) == registry.DatasetSpec("freihand", split, Path(root))
    assert registry.parsed(str(registry.parsed(text))) == registry.parsed(text)
    assert registry.open_dataset(text) is dataset


@pytest.mark.parametrize("text", ["data/rendered", "/data/rendered", r"C:\data\rendered", "C:/data", "freihand", "a:b"])
def test_a_folder_is_no_spec(text: str) -> None:
    assert not registry.is_dataset_spec(text)
    with raises(ErrorCode.BAD_VALUE):
        registry.parsed(text)


def test_what_lies_on_the_disk_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("freihand:odd").mkdir()
    assert not registry.is_dataset_spec("freihand:odd")
    assert registry.is_dataset_spec("freihand:other")


def test_what_there_is_not_is_said(dataset: MemoryDataset) -> None:
    with raises(ErrorCode.UNKNOWN_NAME, match="no dataset 'freihnd'; there are freihand, ho3d_v2, ho3d_v3"):
        registry.open_dataset("freihnd:/data")
    with raises(ErrorCode.UNKNOWN_NAME, match="freihand has no split 'test'; there are training, evaluation"):
        registry.open_dataset("freihand/test:/data")


def test_a_settled_spec_is_the_same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert registry.settled("freihand/evaluation:x") == f"freihand/evaluation:{tmp_path / 'x'}"
    assert registry.settled("x") == str(tmp_path / "x")
