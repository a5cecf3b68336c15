"""The newest-wins mailbox for one item between two threads."""

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """A place for at most one item; a newer one replaces one that was not taken, so that no old frame is shown."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: Item | None = None
        self._closed = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """The number of items that were replaced before they were taken."""
        with self._condition:
            return self._dropped

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        with self._condition:
            return self._closed

    def put(self, item: Item) -> None:
        """Put an item, replacing an earlier one; ignored after ``close``."""
        with self._condition:
            if self._closed:
                return
            self._dropped += self._item is not None
            self._item = item
            self._condition.notify_all()

    def wait_until_taken(self, timeout_s: float) -> bool:
        """Wait until no item is there or the mailbox is closed; return whether that is so."""
        with self._condition:
            return self._condition.wait_for(lambda: self._item is None, timeout_s)

    def get(self, timeout_s: float) -> Item | None:
        """Wait for an item and take it; None after the timeout or when the mailbox is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._closed, timeout_s)
            item, self._item = self._item, None
            self._condition.notify_all()
            return item

    def close(self) -> None:
        """Discard the item and wake all waiting threads."""
        with self._condition:
            self._closed = True
            self._item = None
            self._condition.notify_all()
