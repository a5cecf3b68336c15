"""The mailbox for one item: newest wins, close wakes."""

import threading

from handviz.sources.mailbox import Mailbox
from tests.waiting import LIMIT_S


def test_a_newer_item_replaces_an_older_one_and_is_counted() -> None:
    mailbox: Mailbox[int] = Mailbox()
    for item in (1, 2, 3):
        mailbox.put(item)
    assert mailbox.get(0.0) == 3
    assert mailbox.dropped == 2
    assert mailbox.get(0.0) is None


def test_taken_items_are_not_dropped() -> None:
    mailbox: Mailbox[int] = Mailbox()
    for item in (1, 2, 3):
        mailbox.put(item)
        assert mailbox.get(0.0) == item
    assert mailbox.dropped == 0


def test_who_puts_may_wait_until_the_item_is_taken() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert mailbox.wait_until_taken(0.0)
    mailbox.put(1)
    assert not mailbox.wait_until_taken(0.0)
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(mailbox.wait_until_taken(LIMIT_S)))
    waiting.start()
    assert mailbox.get(0.0) == 1
    waiting.join(LIMIT_S)
    assert answers == [True]
    mailbox.put(2)
    mailbox.close()
    assert mailbox.wait_until_taken(0.0)


def test_close_wakes_who_waits_and_ends_everything() -> None:
    mailbox: Mailbox[int] = Mailbox()
    answers: list[int | None] = []
    waiting = threading.Thread(target=lambda: answers.append(mailbox.get(60.0)))
    waiting.start()
    mailbox.close()
    waiting.join(LIMIT_S)
    assert answers == [None]
    mailbox.put(4)
    assert mailbox.closed
    assert mailbox.get(0.0) is None


def test_an_item_wakes_who_waits() -> None:
    mailbox: Mailbox[int] = Mailbox()
    answers: list[int | None] = []
    waiting = threading.Thread(target=lambda: answers.append(mailbox.get(60.0)))
    waiting.start()
    mailbox.put(7)
    waiting.join(LIMIT_S)
    assert answers == [7]
