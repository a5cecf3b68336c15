"""When and where palms are looked for in a stream: in line, or on a thread of its own beside the reconstruction."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import Detection, FloatArray
from handviz.detection.palm import Palm, PalmDetector

PALM_SCORE = 0.5
FRAMES_BETWEEN = 8
"""From one search to the next while fewer hands are followed than wanted."""
MAX_PAUSE_MS = 250.0
"""The same as a time, which on a slow machine is over sooner."""
FRAMES_BETWEEN_CHECKS = 30
"""The same while all are followed."""
FRAMES_BETWEEN_DOUBTS = 5
"""The same while a followed hand is in doubt."""
FRAMES_AFTER_LOSS = 12
"""After a hand was lost, every frame is searched for so long: it may be elsewhere."""
PALM_LANDMARKS = (0, 5, 9, 13, 17, 1, 2)
"""The hand's landmarks that correspond to the seven keypoints of a palm."""
SAME_PALM = 0.4
"""Mean distance of the two, in sides of the palm's box, up to which a palm belongs to a hand."""


class PalmSearch:
    """Searches frames of a stream for palms as often as is needed."""

    def __init__(self, palms: PalmDetector, *, is_beside: bool) -> None:
        """``is_beside``: while hands are followed, on a thread of its own, whose answer comes with a later frame."""
        self._palms = palms
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="palm-search") if is_beside else None
        self._pending: Future[list[Palm]] | None = None
        self._since_search = self._since_loss = FRAMES_BETWEEN_CHECKS
        self._time_ms = self._searched_ms = 0.0

    def palms(
        self,
        image: NDArray[np.uint8],
        *,
        followed: int,
        wanted: int,
        has_lost: bool,
        has_doubt: bool,
        time_ms: float = 0.0,
    ) -> list[Palm]:
        """Return palms of this frame (H, W, 3), or of one before it; none if it is not the time for a search.

        ``followed`` of ``wanted`` hands are seen in this frame; ``has_lost``: one that was seen in the last is not;
        ``has_doubt``: one may be wrong; ``time_ms``: the frame's.
        """
        self._time_ms = time_ms
        self._since_search += 1
        self._since_loss = 0 if has_lost else self._since_loss + 1
        if self._worker is None or followed == 0:
            self._pending = None
            return self._search(image) if self._is_due(followed, wanted, has_doubt) else []
        found = self._answer()
        if self._pending is None and self._is_due(followed, wanted, has_doubt):
            self._since_search, self._searched_ms = 0, self._time_ms
            # The source may write its next frame into the same memory.
            self._pending = self._worker.submit(self._find, image.copy())
        return found

    def close(self) -> None:
        """End the thread."""
        if self._worker is not None:
            self._worker.shutdown(wait=True, cancel_futures=True)

    def _is_due(self, followed: int, wanted: int, has_doubt: bool) -> bool:
        if followed == 0 or (followed < wanted and self._since_loss < FRAMES_AFTER_LOSS):
            return True
        if followed < wanted and abs(self._time_ms - self._searched_ms) >= MAX_PAUSE_MS:
            return True
        if has_doubt and self._since_search >= FRAMES_BETWEEN_DOUBTS:
            return True
        return self._since_search >= (FRAMES_BETWEEN if followed < wanted else FRAMES_BETWEEN_CHECKS)

    def _search(self, image: NDArray[np.uint8]) -> list[Palm]:
        self._since_search, self._searched_ms = 0, self._time_ms
        return self._find(image)

    def _find(self, image: NDArray[np.uint8]) -> list[Palm]:
        return self._palms.find([image], PALM_SCORE)[0]

    def _answer(self) -> list[Palm]:
        """Return what the thread has found, once; raise what it raised."""
        if self._pending is None or not self._pending.done():
            return []
        pending, self._pending = self._pending, None
        return pending.result()


def palms_without_hand(palms: Sequence[Palm], hands: Sequence[Detection]) -> list[Palm]:
    """Return the palms that belong to none of the hands, best first."""
    return [palm for palm in palms if not any(belongs_to(palm, hand.keypoints_px) for hand in hands)]


def belongs_to(palm: Palm, keypoints_px: FloatArray) -> bool:
    """Return whether a palm is that of a hand's keypoints (21, 2)."""
    side_px = float(np.max(palm.box[2:] - palm.box[:2]))
    distances_px = np.linalg.norm(palm.keypoints_px - keypoints_px[list(PALM_LANDMARKS)], axis=1)
    return float(distances_px.mean()) < SAME_PALM * max(side_px, 1e-6)
