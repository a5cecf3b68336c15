"""Folders of images: natural order, and folders that change while they are shown."""

from pathlib import Path

import pytest
from PIL import Image

from handviz.core.errors import ErrorCode
from handviz.gui.widgets.dropping import choose
from handviz.sources.source import (
    ChangingSource,
    FolderSource,
    listed_images,
    natural_key,
    open_source,
    source_exists,
    text_of_images,
)
from tests.errors import raises


def put(folder: Path, *names: str) -> list[Path]:
    """Write small images."""
    for name in names:
        Image.new("RGB", (4, 3)).save(folder / name)
    return [folder / name for name in names]


def names_left(source: FolderSource) -> list[str]:
    """Return the names from the present position on."""
    return [frame.name for frame in iter(source.read, None)]


def test_numbers_in_names_are_counted() -> None:
    names = ["img10.png", "IMG2.png", "img1b.png", "img1.png", "a.png", "10.png", "9.png", "img٣.png"]
    expected = ["9.png", "10.png", "a.png", "img1.png", "img1b.png", "IMG2.png", "img٣.png", "img10.png"]
    assert sorted(names, key=natural_key) == expected
    assert natural_key("A.png") != natural_key("a.png"), "two files of a case-sensitive disk have an order"


def test_images_come_in_natural_order(tmp_path: Path) -> None:
    put(tmp_path, "img10.png", "img2.png", "img1.png")
    source = FolderSource.of_folder(tmp_path)
    assert names_left(source) == ["img1.png", "img2.png", "img10.png"]


def test_new_images_are_noticed_and_the_place_is_kept(tmp_path: Path) -> None:
    put(tmp_path, "2.png", "4.png")
    source = FolderSource.of_folder(tmp_path)
    assert isinstance(source, ChangingSource)
    assert source.refresh() is None
    assert source.read() is not None
    put(tmp_path, "1.png", "3.png")
    assert source.refresh() == 1
    assert (source.frame_count, source.description) == (4, f"{tmp_path.name}: 4 images")
    assert names_left(source) == ["3.png", "4.png"]


def test_images_that_vanish_are_named_and_then_left_out(tmp_path: Path) -> None:
    paths = put(tmp_path, "1.png", "2.png", "3.png")
    source = FolderSource.of_folder(tmp_path)
    assert source.read() is not None
    paths[1].unlink()
    with raises(ErrorCode.FILE_MISSING, match=r"2\.png.*no such file"):
        source.read()
    paths[0].unlink()
    assert source.refresh() == -1
    assert source.frame_count == 1
    assert names_left(source) == ["3.png"]


def test_a_folder_that_is_emptied_or_goes_keeps_what_it_had(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (path,) = put(folder, "1.png")
    source = FolderSource.of_folder(folder)
    path.unlink()
    with raises(ErrorCode.EMPTY_INPUT):
        source.refresh()
    folder.rmdir()
    with raises(ErrorCode.FILE_UNREADABLE):
        source.refresh()
    assert source.frame_count == 1
    folder.mkdir()
    put(folder, "1.png")
    assert source.refresh() is None
    assert names_left(source) == ["1.png"]


def test_several_images_are_one_source(tmp_path: Path) -> None:
    paths = put(tmp_path, 'b "1", ä.png', "a.png", "gone.png")
    paths[2].unlink()
    text = text_of_images(paths)
    assert listed_images(text) == paths
    source = open_source(text)
    assert isinstance(source, FolderSource)
    assert names_left(source) == ["a.png", 'b "1", ä.png']
    assert source.refresh() is None
    assert source_exists(text)
    for path in paths[:2]:
        path.unlink()
    assert not source_exists(text)
    with raises(ErrorCode.FILE_MISSING):
        open_source(text)
    with raises(ErrorCode.FILE_UNREADABLE):
        open_source("pictures:[")


def test_what_is_dropped_together(tmp_path: Path) -> None:
    first, second = put(tmp_path, "a.png", "b.jpg")
    clip, notes, folder = tmp_path / "c.mp4", tmp_path / "notes.txt", tmp_path / "more"
    clip.touch()
    notes.touch()
    folder.mkdir()
    assert choose([]).text == ""
    assert choose([notes]).text == str(notes), "opening it reports the error"
    assert choose([first, second]).text == text_of_images([first, second])
    assert choose([first, second]).message == ""
    both = choose([notes, first, clip, second])
    assert both.text == text_of_images([first, second])
    assert "notes.txt, c.mp4" in both.message
    assert choose([notes, clip, first]).text == str(clip)
    assert choose([clip, notes, folder]).text == str(folder)
    assert choose([folder, *[clip] * 6]).message.endswith("c.mp4, c.mp4, c.mp4 and 3 more.")


@pytest.mark.parametrize("text", ["", "camera:0", "pictures:{", "pictures:[]", "~nobody/x", "x" * 5000, "a\0b"])
def test_what_is_no_source_that_lasts(text: str) -> None:
    assert not source_exists(text)
