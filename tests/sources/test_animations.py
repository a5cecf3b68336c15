"""Animated images play as clips, timed as browsers show them; of other images the first page is used, and said."""

from pathlib import Path

import numpy as np
import pytest
from numbered_clips import number_in, pattern
from PIL import Image

from handviz.core.errors import HandvizError
from handviz.sources.clips import ClipSource
from handviz.sources.source import FolderSource, open_source

HARD = Path(__file__).parent / "hard_clips"
DURATIONS_MS = [40, 120, 40, 200, 40, 40, 40, 40, 40, 40]
KINDS = ("a.gif", "a.png", "a.webp", "a.avif")


def write_pages(path: Path, count: int = len(DURATIONS_MS)) -> Path:
    """Write numbered images into one file."""
    first, *others = [Image.fromarray(pattern(number)) for number in range(count)]
    quality = {".webp": {"lossless": True}, ".avif": {"quality": 95}, ".tif": {}}.get(path.suffix, {"loop": 0})
    times = {} if path.suffix == ".tif" else {"duration": DURATIONS_MS[:count]}
    first.save(path, save_all=True, append_images=others, **times, **quality)
    return path


def opened(path: Path) -> ClipSource:
    """Open what must be a clip."""
    source = open_source(str(path))
    assert isinstance(source, ClipSource)
    return source


@pytest.mark.parametrize("name", KINDS)
def test_animated_images_play_with_their_own_times(tmp_path: Path, name: str) -> None:
    source = opened(write_pages(tmp_path / name))
    assert source.description == f"{name}: 160x96, variable rate"
    frames = list(iter(source.read, None))
    assert [(frame.number, number_in(frame.image)) for frame in frames] == [(n, n) for n in range(10)]
    assert [frame.time_ms for frame in frames] == pytest.approx(np.cumsum([0, *DURATIONS_MS[:-1]]).tolist())
    assert source.frame_count == 10
    for number in (7, 0, 9, 3, 4):
        source.seek(number)
        frame = source.read()
        assert frame is not None
        assert (frame.number, number_in(frame.image), frame.time_ms) == (number, number, frames[number].time_ms)
    source.close()
    assert source.read() is None


def test_bundled_scene_as_gif() -> None:
    source = opened(HARD / "ten_frames.gif")
    assert source.description == "ten_frames.gif: 320x240, 10 fps"
    assert [frame.image.shape for frame in iter(source.read, None)] == [(240, 320, 3)] * 10
    source.close()


def test_frames_without_a_time_last_as_long_as_in_browsers(tmp_path: Path) -> None:
    first, second = (Image.fromarray(pattern(number)) for number in range(2))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    source = opened(tmp_path / "a.gif")
    assert [frame.time_ms for frame in iter(source.read, None)] == [0.0, 100.0]
    source.close()


def test_image_for_older_programs_is_no_frame(tmp_path: Path) -> None:
    first, *others = [Image.fromarray(pattern(number)) for number in range(4)]
    first.save(tmp_path / "a.png", save_all=True, append_images=others, default_image=True, duration=40)
    source = opened(tmp_path / "a.png")
    assert [(frame.number, number_in(frame.image)) for frame in iter(source.read, None)] == [(0, 1), (1, 2), (2, 3)]
    source.close()


@pytest.mark.parametrize("name", KINDS)
def test_an_animation_that_breaks_off_is_one_error_or_ends_there(tmp_path: Path, name: str) -> None:
    whole = write_pages(tmp_path / name).read_bytes()
    for share in (0.3, 0.6, 0.9):
        (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
        try:
            source = open_source(str(tmp_path / name))
            numbers = [number_in(frame.image) for frame in iter(source.read, None)]
        except HandvizError:
            continue
        assert numbers == list(range(len(numbers)))
        assert source.frame_count == len(numbers)


def test_images_with_several_pages_say_that_the_first_is_used(tmp_path: Path) -> None:
    write_pages(tmp_path / "pages.tif", 3)
    source = open_source(str(tmp_path / "pages.tif"))
    assert isinstance(source, FolderSource)
    frame = source.read()
    assert frame is not None
    assert (number_in(frame.image), frame.note) == (0, "pages.tif: only the first of 3 frames is used")
    write_pages(tmp_path / "moving.gif")
    Image.fromarray(pattern(1)).save(tmp_path / "one.png")
    notes = [frame.note for frame in iter(open_source(str(tmp_path)).read, None)]
    assert notes == [
        "moving.gif: only the first of 10 frames is used",
        "",
        "pages.tif: only the first of 3 frames is used",
    ]


def test_an_image_is_known_by_its_content(tmp_path: Path) -> None:
    Image.fromarray(pattern(5)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "a.jfif")
    source = open_source(str(tmp_path / "a.jfif"))
    assert isinstance(source, FolderSource)
    frame = source.read()
    assert frame is not None
    assert number_in(frame.image) == 5
