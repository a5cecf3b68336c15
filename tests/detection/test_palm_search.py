"""When palms are searched for, on which thread, and to which hand a palm belongs."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from handviz.detection import palm_search
from handviz.detection.palm import Palm, PalmDetector
from handviz.detection.palm_search import FRAMES_BETWEEN, PalmSearch, palms_without_hand
from tests.detection.hand_world import hand_at, palm_of
from tests.waiting import LIMIT_S

PALM = palm_of(hand_at(200).keypoints_px)
IMAGE = np.zeros((48, 64, 3), np.uint8)


class SomePalms(PalmDetector):
    """Finds one palm in every image, and notes images and threads."""

    def __init__(self) -> None:
        self.images: list[NDArray[np.uint8]] = []
        self.threads: list[threading.Thread] = []
        self.error: Exception | None = None

    def find(self, images: Sequence[NDArray[np.uint8]], min_score: float) -> list[list[Palm]]:
        """Return that palm, or raise ``error``."""
        self.images.extend(images)
        self.threads.append(threading.current_thread())
        if self.error is not None:
            raise self.error
        return [[PALM] for _ in images]


class SteppedExecutor:
    """Takes work, and does it when ``run`` is called."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []

    def submit(self, work: Callable[..., object], *arguments: object) -> Future[object]:
        """Note the work."""
        future = Future[object]()

        def do() -> None:
            try:
                future.set_result(work(*arguments))
            except ValueError as error:
                future.set_exception(error)

        self._waiting.append(do)
        return future

    def run(self) -> None:
        """Do what was taken."""
        while self._waiting:
            self._waiting.pop()()

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        """Forget the rest."""
        self._waiting.clear()


@pytest.fixture
def palms() -> SomePalms:
    """Return a detector that finds one palm everywhere."""
    return SomePalms()


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> SteppedExecutor:
    """Return the thread of searches, which works when the test says so."""
    stepped = SteppedExecutor()
    monkeypatch.setattr(palm_search, "ThreadPoolExecutor", lambda **_: stepped)
    return stepped


def look(search: PalmSearch, *, followed: int = 1, image: NDArray[np.uint8] = IMAGE, lost: bool = False) -> list[Palm]:
    return search.palms(image, followed=followed, wanted=2, has_lost=lost, has_doubt=False)


def test_in_line_every_frame_is_searched_while_no_hand_is_followed(palms: SomePalms) -> None:
    search = PalmSearch(palms, is_beside=False)
    assert [look(search, followed=0) for _ in range(5)] == [[PALM]] * 5
    assert set(palms.threads) == {threading.current_thread()}


def test_in_line_while_one_of_two_is_followed_some_frames_are(palms: SomePalms) -> None:
    search = PalmSearch(palms, is_beside=False)
    found = [bool(look(search)) for _ in range(2 * FRAMES_BETWEEN + 1)]
    assert [row for row, one in enumerate(found) if one] == [0, FRAMES_BETWEEN, 2 * FRAMES_BETWEEN]


def test_beside_the_answer_comes_with_a_later_frame_once(palms: SomePalms, worker: SteppedExecutor) -> None:
    search = PalmSearch(palms, is_beside=True)
    assert look(search) == []
    assert look(search) == []
    assert palms.images == []
    worker.run()
    assert look(search) == [PALM]
    assert look(search) == []
    assert len(palms.images) == 1


def test_beside_only_one_search_waits_at_a_time(palms: SomePalms, worker: SteppedExecutor) -> None:
    search = PalmSearch(palms, is_beside=True)
    for _ in range(3 * FRAMES_BETWEEN):
        look(search, lost=True)
    worker.run()
    assert len(palms.images) == 1


def test_beside_the_image_is_the_frames_even_if_the_source_writes_the_next_one_into_it(
    palms: SomePalms, worker: SteppedExecutor
) -> None:
    search, image = PalmSearch(palms, is_beside=True), np.full((48, 64, 3), 7, np.uint8)
    look(search, image=image)
    image[:] = 9
    worker.run()
    assert set(palms.images[0].ravel()) == {7}


def test_beside_an_error_is_raised_in_the_loop_and_the_next_search_goes_on(
    palms: SomePalms, worker: SteppedExecutor
) -> None:
    search, palms.error = PalmSearch(palms, is_beside=True), ValueError("of the thread")
    look(search)
    worker.run()
    with pytest.raises(ValueError, match="of the thread"):
        look(search)
    palms.error = None
    for _ in range(FRAMES_BETWEEN):
        look(search)
    worker.run()
    assert look(search) == [PALM]


def test_without_a_followed_hand_the_frame_itself_is_searched_and_an_older_answer_is_dropped(
    palms: SomePalms, worker: SteppedExecutor
) -> None:
    search = PalmSearch(palms, is_beside=True)
    look(search)
    assert look(search, followed=0) == [PALM]
    worker.run()
    assert look(search) == [], "the older answer"


def test_a_thread_of_its_own_searches_and_ends_when_it_is_closed(
    palms: SomePalms, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending: list[Future[list[Palm]]] = []

    class NotedExecutor(ThreadPoolExecutor):
        def submit(self, *work: Callable[..., list[Palm]]) -> Future[list[Palm]]:  # type: ignore[override]
            pending.append(super().submit(*work))
            return pending[-1]

    monkeypatch.setattr(palm_search, "ThreadPoolExecutor", NotedExecutor)
    search = PalmSearch(palms, is_beside=True)
    look(search)
    pending[0].result(LIMIT_S)
    assert look(search) == [PALM]
    (thread,) = palms.threads
    assert thread is not threading.current_thread()
    search.close()
    assert not thread.is_alive()


def test_closing_one_in_line_ends_nothing(palms: SomePalms) -> None:
    search = PalmSearch(palms, is_beside=False)
    search.close()
    assert look(search, followed=0) == [PALM]


def test_palms_of_known_hands_are_left_out() -> None:
    known, other = hand_at(200), hand_at(420, "left")
    palms = [palm_of(one.keypoints_px) for one in (known, other)]
    assert palms_without_hand(palms, [known]) == palms[1:]
    assert palms_without_hand(palms, []) == palms
    assert palms_without_hand(palms, [known, other]) == []


def test_a_palm_beside_a_hand_is_its_own() -> None:
    known = hand_at(200)
    near, beside = palm_of(known.keypoints_px + 4.0), palm_of(known.keypoints_px + np.array([60.0, 0.0]))
    assert palms_without_hand([near, beside], [known]) == [beside]


def test_a_slow_stream_is_searched_by_its_time(palms: SomePalms) -> None:
    search = PalmSearch(palms, is_beside=False)

    def searched_at(time_ms: float) -> bool:
        count = len(palms.images)
        search.palms(IMAGE, followed=1, wanted=2, has_lost=False, has_doubt=False, time_ms=time_ms)
        return len(palms.images) > count

    assert searched_at(0)
    assert [searched_at(time_ms) for time_ms in (100, 200, 300, 400)] == [False, False, True, False]
