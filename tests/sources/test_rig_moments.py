"""Moments of clips by time and of folders by name or order; what a view lacks is named."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numbered_clips import HEIGHT, WIDTH, number_in, pattern, write_clip, write_uneven_clip

from handviz.core.camera_model import camera_model_of_intrinsics
from handviz.core.errors import ErrorCode
from handviz.core.records import Intrinsics
from handviz.sources.rig import Rig, RigView
from handviz.sources.rig_moments import Moment, RigSource
from tests.errors import raises

CAMERA = camera_model_of_intrinsics(Intrinsics(150.0, WIDTH / 2, HEIGHT / 2), (WIDTH, HEIGHT))


def rig_of(sources: Sequence[Path], **options: Any) -> Rig:
    """Return a rig of these sources; ``offsets_ms`` by their places."""
    offsets = options.get("offsets_ms", {})
    views = [
        RigView(f"view{number}", path, CAMERA, np.eye(4), time_offset_ms=offsets.get(number, 0.0))
        for number, path in enumerate(sources)
    ]
    return Rig("RIG.json", tuple(views))


def moments(sources: Sequence[Path], **options: Any) -> list[Moment]:
    """Return all moments of a rig of these sources."""
    with RigSource(rig_of(sources, **options)) as source:
        found = list(source.moments())
    assert [moment.number for moment in found] == list(range(len(found)))
    for moment in found:
        assert {view.name for view in moment.views} | {left.name for left in moment.left_out} == {
            f"view{number}" for number in range(len(sources))
        }
    return found


def numbers(found: Sequence[Moment]) -> list[dict[str, int]]:
    """Return the numbers that the images show, by the views' names."""
    return [{view.name: number_in(view.frame.image) for view in moment.views} for moment in found]


def images(folder: Path, shown: dict[str, int]) -> Path:
    """Write images of these numbers."""
    folder.mkdir()
    for name, number in shown.items():
        cv2.imwrite(str(folder / name), pattern(number))
    return folder


def test_clips_of_one_rate_go_frame_by_frame(tmp_path: Path) -> None:
    clips = [write_clip(tmp_path / f"{number}.avi", "MJPG", 6) for number in range(3)]
    found = moments(clips)
    assert numbers(found) == [{f"view{view}": number for view in range(3)} for number in range(6)]
    assert [moment.time_ms for moment in found] == pytest.approx([40.0 * number for number in range(6)])
    assert found[2].views[1].file == "1.avi#000002"
    with RigSource(rig_of(clips)) as source:
        assert (source.count, source.is_clip) == (6, True)


def test_an_offset_moves_a_clip_and_what_others_lack_is_named(tmp_path: Path) -> None:
    clips = [write_clip(tmp_path / f"{number}.avi", "MJPG", 5) for number in range(2)]
    found = moments(clips, offsets_ms={1: 85.0})
    assert numbers(found) == [
        {"view0": 0},
        {"view0": 1},
        {"view0": 2, "view1": 0},
        {"view0": 3, "view1": 1},
        {"view0": 4, "view1": 2},
        {"view1": 3},
        {"view1": 4},
    ]
    assert [(left.name, left.kind) for left in found[0].left_out] == [("view1", "time")]
    assert found[5].time_ms == pytest.approx(85 + 3 * 40)


def test_the_slowest_clip_sets_the_rate(tmp_path: Path) -> None:
    fast, slow = write_clip(tmp_path / "f.avi", "MJPG", 12, 50.0), write_clip(tmp_path / "s.avi", "MJPG", 4, 16.0)
    found = numbers(moments([fast, slow]))
    # Every 62.5 ms; the nearest of every 20 ms.
    assert found[:4] == [{"view0": round(62.5 * number / 20), "view1": number} for number in range(4)]


def test_a_frame_that_is_missing_leaves_its_view_out_of_that_moment_only(tmp_path: Path) -> None:
    whole, gap = write_clip(tmp_path / "w.avi", "MJPG", 6, 25.0), tmp_path / "g.mkv"
    write_uneven_clip(gap, [0, 1, 3, 4, 5], 25.0)
    for order, (with_gap, without) in (([whole, gap], ("view1", "view0")), ([gap, whole], ("view0", "view1"))):
        found = moments(order)
        assert len(found) == 6
        assert [without in {view.name for view in moment.views} for moment in found] == [True] * 6
        assert [left.name for left in found[2].left_out] == [with_gap]
        assert not any(moment.left_out for number, moment in enumerate(found) if number != 2)


def test_clips_that_do_not_overlap_have_moments_of_one_view(tmp_path: Path) -> None:
    clips = [write_clip(tmp_path / f"{number}.avi", "MJPG", 3) for number in range(2)]
    found = moments(clips, offsets_ms={0: 10_000.0})
    assert numbers(found) == [{"view1": number} for number in range(3)] + [{"view0": number} for number in range(3)]


def test_folders_go_by_name_where_names_are_equal(tmp_path: Path) -> None:
    first = images(tmp_path / "a", {"1.png": 1, "2.png": 2, "10.png": 10})
    second = images(tmp_path / "b", {"1.jpg": 1, "10.png": 10, "3.png": 3})
    found = moments([first, second])
    assert numbers(found) == [{"view0": 1, "view1": 1}, {"view0": 2}, {"view1": 3}, {"view0": 10, "view1": 10}]
    assert found[0].views[1].file == "1.jpg"
    assert (found[0].time_ms, found[1].left_out[0].kind) == (None, "time")
    with RigSource(rig_of([first, second])) as source:
        assert (source.count, source.is_clip) == (4, False)


def test_folders_go_by_order_where_names_differ(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = images(tmp_path / "a", {"left_2.png": 2, "left_10.png": 10})
    second = images(tmp_path / "b", {"right_7.png": 7, "right_8.png": 8, "right_9.png": 9})
    found = numbers(moments([first, second]))
    assert found == [{"view0": 2, "view1": 7}, {"view0": 10, "view1": 8}, {"view1": 9}]
    assert "different numbers of images" in caplog.text


def test_an_image_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    first = images(tmp_path / "a", {"1.png": 1, "2.png": 2})
    second = images(tmp_path / "b", {"1.png": 1, "2.png": 2})
    (second / "1.png").write_bytes(b"no image")
    cv2.imwrite(str(first / "2.png"), np.zeros((WIDTH, HEIGHT, 3), np.uint8))
    found = moments([first, second])
    assert [[(left.name, left.kind) for left in moment.left_out] for moment in found] == [
        [("view1", "unreadable")],
        [("view0", "unreadable")],
    ]
    assert "1.png" in found[0].left_out[0].reason


def test_clips_and_folders_are_not_mixed_and_missing_ones_are_named(tmp_path: Path) -> None:
    clip, folder = write_clip(tmp_path / "a.avi", "MJPG", 2), images(tmp_path / "b", {"1.png": 1})
    with raises(ErrorCode.OPTION_CONFLICT):
        RigSource(rig_of([clip, folder]))
    with raises(ErrorCode.FILE_MISSING, match="view1"):
        RigSource(rig_of([clip, tmp_path / "none.mp4"]))
