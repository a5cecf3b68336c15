"""The one-place, newest-wins mailbox between two workers."""

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Holds at most one item; a newer one replaces one that nobody took, so that no old frame is shown."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: Item | None = None
        self._closed = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many items were replaced before anybody took them."""
        with self._condition:
            return self._dropped

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        with self._condition:
            return self._closed

    def put(self, item: Item) -> None:
        """Leave an item, replacing the one that is there; ignored after ``close``."""
        with self._condition:
            if self._closed:
                return
            self._dropped += self._item is not None
            self._item = item
            self._condition.notify()

    def get(self, timeout_s: float) -> Item | None:
        """Wait for an item and take it; None when the time is over or the mailbox is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._closed, timeout_s)
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Throw away what is there and wake everybody who waits."""
        with self._condition:
            self._closed = True
            self._item = None
            self._condition.notify_all()
