"""Clips, folders and iterables: numbers, times, identities, and what is freed."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import handviz
from handviz import api
from handviz.core.errors import ErrorCode
from handviz.core.paths import CLIP_FILE
from handviz.models import reconstructor
from handviz.sources.clips import ClipSource
from tests.api.images import GREY, assert_same, clip_frame
from tests.errors import raises
from tests.hands import FakeLandmarker


class WatchedClip(ClipSource):
    """A clip that records whether it was closed."""

    opened: list["WatchedClip"] = []  # noqa: RUF012 - the test's own record, cleared by its fixture

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.opened.append(self)

    @property
    def closed(self) -> bool:
        return self._is_closed


@pytest.fixture
def clips(monkeypatch: pytest.MonkeyPatch) -> list[WatchedClip]:
    WatchedClip.opened.clear()
    monkeypatch.setattr(api, "open_source", lambda text: WatchedClip(Path(text)))
    return WatchedClip.opened


def test_frames_of_a_clip_have_numbers_times_and_identities(model: handviz.Model) -> None:
    frames = list(itertools.islice(model.track(CLIP_FILE, every=3, smoothing=0.5), 4))
    assert [frame.number for frame in frames] == [0, 3, 6, 9]
    np.testing.assert_allclose([frame.time_ms for frame in frames], np.array([0, 3, 6, 9]) * 1000 / 30, atol=0.1)
    assert [[hand.track_id for hand in frame.hands] for frame in frames] == [["right"]] * 4
    np.testing.assert_array_equal(frames[0].image, clip_frame())


def test_leaving_the_loop_closes_clip_and_detector(model: handviz.Model, clips: list[WatchedClip]) -> None:
    for frame in model.track(str(CLIP_FILE)):
        assert frame.number == 0
        break
    assert [clip.closed for clip in clips] == [True]
    assert FakeLandmarker.made[-1].closed
    assert not FakeLandmarker.made[0].closed  # the one for images
    tracked = model.track(CLIP_FILE)
    next(tracked)
    assert not clips[-1].closed
    tracked.close()
    assert clips[-1].closed
    assert model(GREY)


def test_an_error_in_the_loop_closes_clip_and_detector(model: handviz.Model, clips: list[WatchedClip]) -> None:
    def interrupted() -> None:
        for _ in model.track(CLIP_FILE):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert clips[-1].closed
    assert FakeLandmarker.made[-1].closed


def test_the_short_form_closes_the_model_too(
    networks: Path, load: Callable[..., handviz.Model], clips: list[WatchedClip]
) -> None:
    assert load  # its detector
    for _ in handviz.track(CLIP_FILE, model_dir=networks):
        break
    assert clips[-1].closed
    assert all(made.closed for made in FakeLandmarker.made)


def test_several_clips_use_one_network(model: handviz.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconstructor, "OnnxReconstructor", None)  # loading another would fail
    for _ in range(2):
        assert len([frame.hands for frame in model.track([GREY, GREY])]) == 2


def test_a_folder_and_an_iterable_are_frames_at_a_rate(model: handviz.Model, tmp_path: Path) -> None:
    for number in (1, 2, 10):
        Image.fromarray(GREY).save(tmp_path / f"frame{number}.png")
    of_folder = list(model.track(tmp_path, fps=10))
    assert [(frame.number, frame.time_ms, frame.name) for frame in of_folder] == [
        (0, 0, "frame1.png"),
        (1, 100, "frame2.png"),
        (2, 200, "frame10.png"),
    ]
    of_arrays = list(model.track((GREY for _ in range(3)), fps=10))
    for one, other in zip(of_folder, of_arrays, strict=True):
        assert (one.number, one.time_ms) == (other.number, other.time_ms)
        assert_same(one.hands, other.hands)


def test_two_hands_of_one_side_keep_their_names(model: handviz.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.hands import made_up_detection

    near, far = made_up_detection(x=80.0, size=60), made_up_detection(x=240.0, size=60)
    orders = iter([(near, far), (far, near), (near, far)])
    monkeypatch.setattr(FakeLandmarker, "detect", lambda *_: next(orders))
    found = [
        {hand.track_id: hand.keypoints_px[0, 0] > 160 for hand in frame.hands} for frame in model.track([GREY] * 3)
    ]
    assert found == [{"right": False, "right_2": True}] * 3


@pytest.mark.parametrize(
    "options", [{"smoothing": 2}, {"smoothing_kind": "mean"}, {"every": 0}, {"fps": 0}, {"fps": float("nan")}]
)
def test_values_that_make_no_sense_in_clips(model: handviz.Model, options: dict[str, Any]) -> None:
    with raises(ErrorCode.BAD_VALUE):
        model.track([GREY], **options)


def test_sources_that_cannot_be_read(model: handviz.Model, tmp_path: Path) -> None:
    with raises(ErrorCode.FILE_MISSING, match=r"absent\.mp4"):
        next(model.track(tmp_path / "absent.mp4"))
    with raises(ErrorCode.EMPTY_INPUT):
        next(model.track(tmp_path))
    (tmp_path / "a.png").write_bytes(b"broken")
    with raises(ErrorCode.UNSUPPORTED_FORMAT, match=r"a\.png"):
        next(model.track(tmp_path))
    tracked = model.track([GREY, GREY[:, :, 0]])
    assert next(tracked).hands
    with raises(ErrorCode.WRONG_SHAPE):
        next(tracked)
