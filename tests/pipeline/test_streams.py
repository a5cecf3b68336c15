"""Streams in which something happens: hands that leave, cuts, other sizes, long breaks, many hands; real networks.

Whatever the detector does between frames, hands end and begin within ``PATIENCE`` frames.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from handviz.core.paths import CLIP_FILE
from handviz.core.records import DetectorChoice, Frame, FrameResult, HandMesh
from handviz.pipeline.pipeline import Pipeline
from handviz.pipeline.settings import PipelineConfig, PipelineSettings

pytestmark = pytest.mark.slow
PATIENCE = 12
"""Frames within which a hand must be found, or be gone."""
STEP_MS = 1000 / 30
RIGHT, LEFT = 0, 199
"""Frames of the bundled clip with an open hand, whose side is clear."""
Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def images() -> dict[int, Image]:
    """Return frames of the bundled clip by their numbers."""
    clip, found = cv2.VideoCapture(str(CLIP_FILE)), {}
    for number in range(LEFT + 1):
        clip.grab()
        if number in (RIGHT, LEFT):
            found[number] = np.ascontiguousarray(clip.retrieve()[1][..., ::-1], np.uint8)
    clip.release()
    return found


@pytest.fixture(scope="module")
def both(images: dict[int, Image]) -> Image:
    """Return an image of a right hand in its left half and a left hand in its right half."""
    return np.ascontiguousarray(np.hstack([images[RIGHT][:, 100:420], images[LEFT][:, 240:560]]))


class Stream:
    """A pipeline that is shown images as a camera does, on a clock of its own."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline, self._number, self._now_ms = pipeline, 0, 0.0

    def show(self, image: Image, *, step_ms: float = STEP_MS) -> FrameResult:
        self._number, self._now_ms = self._number + 1, self._now_ms + step_ms
        return self._pipeline.process(Frame(self._number, image.copy(), self._now_ms))

    def until(self, image: Image, count: int) -> FrameResult:
        """Show an image until there are so many hands, and once more, when there must be as many."""
        for _ in range(PATIENCE):
            if len(self.show(image).hands) == count:
                break
        result = self.show(image)
        assert len(result.hands) == count
        return result


@contextmanager
def open_stream(detector: DetectorChoice, max_hands: int = 2) -> Iterator[Stream]:
    settings = PipelineSettings("prior", max_hands=max_hands)
    with Pipeline(settings, PipelineConfig(detector=detector, preload_others=False)) as pipeline:
        yield Stream(pipeline)


@pytest.fixture(params=["handviz", "mediapipe"])
def detector(request: pytest.FixtureRequest) -> DetectorChoice:
    """Return each of the detectors."""
    return request.param


@pytest.fixture
def stream(detector: DetectorChoice) -> Iterator[Stream]:
    """Return a stream of up to two hands."""
    with open_stream(detector) as opened:
        yield opened


def empty(width: int = 640, height: int = 480) -> Image:
    return np.full((height, width, 3), 120, np.uint8)


def numbers(result: FrameResult) -> list[int]:
    return sorted(hand.track_id for hand in result.hands)


def centres(result: FrameResult) -> NDArray[np.float64]:
    """Return the centres (N, 2) in the image, sorted from left to right."""
    found = np.array([hand.keypoints_px.mean(axis=0) for hand in result.hands])
    return found[np.argsort(found[:, 0])]


def test_a_hand_that_leaves_is_gone_and_has_its_number_when_it_comes_back(
    stream: Stream, images: dict[int, Image]
) -> None:
    before = stream.until(images[RIGHT], 1)
    stream.until(empty(), 0)
    for _ in range(30):
        assert not stream.show(empty()).hands
    after = stream.until(images[RIGHT], 1)
    assert numbers(after) == numbers(before)
    np.testing.assert_allclose(centres(after), centres(before), atol=12)


def test_one_of_two_hands_leaves_and_the_other_one_keeps_its_number(stream: Stream, both: Image) -> None:
    first = stream.until(both, 2)
    assert {hand.handedness for hand in first.hands} == {"left", "right"}
    covered = both.copy()
    covered[:, :320] = 120
    (stays,) = stream.until(covered, 1).hands
    assert stays.handedness == "left"
    assert {hand.track_id for hand in first.hands if hand.handedness == "left"} == {stays.track_id}
    assert numbers(stream.until(both, 2)) == numbers(first)


def test_after_a_cut_no_hand_stays_where_it_was(
    stream: Stream, detector: DetectorChoice, images: dict[int, Image]
) -> None:
    stream.until(images[RIGHT], 1)
    stream.show(images[LEFT])
    for _ in range(PATIENCE):
        result = stream.show(images[LEFT])
    assert [hand.handedness for hand in result.hands] == ["left"]
    shown_px = centres(result)
    with open_stream(detector) as other:
        np.testing.assert_allclose(shown_px, centres(other.until(images[LEFT], 1)), atol=12)


@pytest.mark.parametrize("size", [(320, 240), (1280, 960), (480, 640)])
def test_a_camera_may_change_its_size(stream: Stream, images: dict[int, Image], size: tuple[int, int]) -> None:
    before = stream.until(images[RIGHT], 1)
    upright = images[RIGHT] if size[0] > size[1] else images[RIGHT][:, :360]
    other = np.asarray(cv2.resize(upright, size, interpolation=cv2.INTER_AREA), np.uint8)
    stream.show(other)
    after = stream.until(other, 1)
    expected_px = centres(before) * size[0] / upright.shape[1]
    np.testing.assert_allclose(centres(after), expected_px, atol=0.03 * max(size))
    for hand in after.hands:
        assert (hand.intrinsics.centre_x_px, hand.intrinsics.centre_y_px) == (size[0] / 2, size[1] / 2)
    np.testing.assert_allclose(centres(stream.until(images[RIGHT], 1)), centres(before), atol=12)


def test_minutes_without_a_hand_change_nothing(stream: Stream, images: dict[int, Image]) -> None:
    before = stream.until(images[RIGHT], 1)
    stream.until(empty(), 0)
    for _ in range(60):
        assert not stream.show(empty(), step_ms=4000).hands
    after = stream.until(images[RIGHT], 1)
    assert numbers(after) == numbers(before)
    np.testing.assert_allclose(centres(after), centres(before), atol=12)


def test_frames_that_come_late_or_at_once_are_frames(stream: Stream, images: dict[int, Image]) -> None:
    stream.until(images[RIGHT], 1)
    for step_ms in (0.0, 0.0, 500.0, -200.0, 1e7, 33.0):
        result = stream.show(images[RIGHT], step_ms=step_ms)
        assert len(result.hands) == 1
        assert np.isfinite(result.hands[0].keypoints_px).all()


def test_ten_hands_begin_are_told_apart_and_end(detector: DetectorChoice, images: dict[int, Image]) -> None:
    with open_stream(detector, max_hands=10) as stream:
        image = np.ascontiguousarray(np.tile(images[LEFT][90:380, 290:500], (2, 5, 1)))
        first = stream.until(image, 10)
        assert len(set(numbers(first))) == 10
        cells = {hand.track_id: cell_of(hand) for hand in first.hands}
        assert len(set(cells.values())) == 10
        assert {hand.track_id: cell_of(hand) for hand in stream.show(image).hands} == cells
        stream.until(empty(*image.shape[1::-1]), 0)
        assert numbers(stream.until(image, 10)) == numbers(first), "numbers are given again, not used up"


def cell_of(hand: HandMesh) -> tuple[int, int]:
    """Return column and row of a hand in the image of ten."""
    x, y = hand.keypoints_px.mean(axis=0)
    return int(x // 210), int(y // 290)


def test_no_more_hands_than_asked_for(detector: DetectorChoice, both: Image) -> None:
    with open_stream(detector, max_hands=1) as stream:
        first = numbers(stream.until(both, 1))
        for _ in range(PATIENCE):
            assert numbers(stream.show(both)) == first


def test_hands_that_jump_about_do_not_use_up_numbers(stream: Stream, images: dict[int, Image]) -> None:
    seen = set[int]()
    for number in range(24):
        shifted = np.roll(images[RIGHT], 160 if number % 2 else -80, axis=1)
        for image in (shifted, shifted, empty()):
            seen |= set(numbers(stream.show(image)))
    assert seen <= {1, 2}
