"""Functions and requests in threads beside the window."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import NoReturn

import pytest
from PyQt6.QtCore import QCoreApplication, QThread
from pytestqt.qtbot import QtBot

from handviz.core.errors import ErrorCode, HandvizError
from handviz.gui.session.tasks import NICENESS, LatestWins, Task

PATIENCE_S = 30
FAILURE = "The cake could not be baked"


class Gate:
    """Gate that blocks a thread until the test opens it, and reports its arrival."""

    def __init__(self) -> None:
        self.come, self.open = threading.Event(), threading.Event()

    def pass_through(self) -> None:
        """Call this in the thread."""
        self.come.set()
        assert self.open.wait(PATIENCE_S)

    def wait_for_thread(self) -> None:
        """Block until the thread is here; unlike ``qtbot`` this delivers no signal."""
        assert self.come.wait(PATIENCE_S)


def open_when_waited_for(thread: QThread, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open the gate once ``stop`` waits for the thread to end."""

    def wait() -> bool:
        gate.open.set()
        return QThread.wait(thread)

    monkeypatch.setattr(thread, "wait", wait)


def fail(error: Exception) -> NoReturn:
    raise error


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Return a gate that is open at the end."""
    made = Gate()
    yield made
    made.open.set()


@pytest.fixture
def task(qapp: QCoreApplication) -> Iterator[Task]:
    """Return a task that is stopped at the end; conftest.py fails a test whose thread still runs."""
    made = Task(FAILURE)
    yield made
    made.stop()


Heard = list[tuple[str, object]]


def heard_of(task: Task) -> Heard:
    """Return the signals of the task from now on."""
    heard: Heard = []
    for name in ("done", "failed", "progressed"):
        getattr(task, name).connect(lambda value, name=name: heard.append((name, value)))
    return heard


def test_result_is_reported_in_the_thread_that_asked(qtbot: QtBot, task: Task) -> None:
    threads: list[int] = []
    task.done.connect(lambda _: threads.append(threading.get_ident()))
    with qtbot.waitSignal(task.done) as done:
        assert task.begin(threading.get_ident)
    assert done.args[0] != threading.get_ident(), "the function ran elsewhere"
    assert threads == [threading.get_ident()]
    assert not task.is_busy


@pytest.mark.parametrize(
    ("error", "message", "is_logged"),
    [
        (HandvizError("There is no flour.", ErrorCode.CAMERA_MISSING), "There is no flour.", False),
        (ZeroDivisionError("no eggs"), f"{FAILURE} (no eggs); details are in the log.", True),
    ],
)
def test_error_becomes_a_message_and_the_next_function_runs(
    qtbot: QtBot, task: Task, caplog: pytest.LogCaptureFixture, error: Exception, message: str, is_logged: bool
) -> None:
    heard = heard_of(task)
    with qtbot.waitSignal(task.failed):
        task.begin(partial(fail, error))
    with qtbot.waitSignal(task.done):
        assert task.begin(lambda: "cake")
    assert heard == [("failed", message), ("done", "cake")]
    assert [FAILURE in record.message and record.exc_info is not None for record in caplog.records] == [
        True
    ] * is_logged


def test_one_function_at_a_time(qtbot: QtBot, task: Task, gate: Gate) -> None:
    heard = heard_of(task)
    assert task.begin(gate.pass_through)
    assert task.is_busy
    assert not task.begin(lambda: "another")
    gate.open.set()
    qtbot.waitUntil(lambda: heard == [("done", None)])


def test_next_function_can_begin_as_soon_as_the_last_ones_end_is_told(qtbot: QtBot, task: Task) -> None:
    begun: list[bool] = []
    task.done.connect(lambda count: begun.append(task.begin(lambda: count + 1)) if count < 20 else None)
    with qtbot.waitSignal(task.done, check_params_cb=lambda count: count == 20, timeout=PATIENCE_S * 1000):
        task.begin(lambda: 0)
    assert begun == [True] * 20


def test_progress_comes_before_the_result(qtbot: QtBot, task: Task) -> None:
    def count() -> str:
        for number in range(3):
            task.report(task.progressed, number)
        return "all"

    heard = heard_of(task)
    with qtbot.waitSignal(task.done):
        task.begin(count)
    assert heard == [("progressed", 0), ("progressed", 1), ("progressed", 2), ("done", "all")]


def test_function_is_asked_to_end_by_cancel_and_the_next_one_is_not(qtbot: QtBot, task: Task, gate: Gate) -> None:
    def ask() -> bool:
        gate.pass_through()
        return task.is_cancelled

    heard = heard_of(task)
    task.begin(ask)
    task.cancel()
    gate.open.set()
    qtbot.waitUntil(lambda: heard == [("done", True)])
    task.begin(ask)
    qtbot.waitUntil(lambda: heard[1:] == [("done", False)])


def test_stop_waits_and_nothing_is_heard_afterwards(task: Task, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    finished: list[bool] = []

    def work() -> None:
        task.report(task.progressed, "on the way")
        gate.pass_through()
        finished.append(task.is_cancelled)

    heard = heard_of(task)
    task.begin(work)
    gate.wait_for_thread()
    open_when_waited_for(task, gate, monkeypatch)
    task.stop()
    assert finished == [True]
    assert not task.isRunning()
    assert not task.begin(lambda: "too late")
    assert not task.isRunning()
    QCoreApplication.processEvents()
    assert heard == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere Qt's own priorities do it")
@pytest.mark.parametrize("is_low", [True, False])
def test_priority_is_lowered_where_that_is_wanted(qtbot: QtBot, is_low: bool) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    task = Task(FAILURE, low_priority=is_low)
    with qtbot.waitSignal(task.done) as done:
        task.begin(lambda: os.getpriority(os.PRIO_PROCESS, 0))
    task.stop()
    assert done.args[0] == (max(before, NICENESS) if is_low else before)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


Make = Callable[..., LatestWins]


@pytest.fixture
def make(qapp: QCoreApplication) -> Iterator[Make]:
    """Return a function that makes workers, which are stopped at the end."""
    made: list[LatestWins] = []

    def make_one(answer: Callable[[int], object], **options: object) -> LatestWins:
        made.append(LatestWins(answer, FAILURE, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make_one
    for worker in made:
        worker.stop()


def answers_of(worker: LatestWins) -> list[tuple[object, object]]:
    """Return the requests with their answers or error messages from now on."""
    answers: list[tuple[object, object]] = []
    for signal in (worker.answered, worker.failed):
        signal.connect(lambda request, answer: answers.append((request, answer)))
    return answers


class Kitchen:
    """Function that doubles numbers; number 0 waits at the gate."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.asked: list[int] = []

    def __call__(self, request: int) -> int:
        self.asked.append(request)
        if request == 0:
            self._gate.pass_through()
        return 2 * request


@pytest.mark.parametrize(("capacity", "expected"), [(1, [0, 3]), (2, [0, 3, 2])])
def test_newest_request_comes_first_and_the_oldest_are_dropped(
    qtbot: QtBot, make: Make, gate: Gate, capacity: int, expected: list[int]
) -> None:
    kitchen = Kitchen(gate)
    worker = make(kitchen, capacity=capacity)
    answers = answers_of(worker)
    worker.ask(0)
    gate.wait_for_thread()
    for request in (1, 2, 3):
        worker.ask(request)
    gate.open.set()
    qtbot.waitUntil(lambda: len(answers) == len(expected))
    assert answers == [(request, 2 * request) for request in expected]
    assert kitchen.asked == expected


def test_same_request_waits_once_and_moves_to_the_front(qtbot: QtBot, make: Make, gate: Gate) -> None:
    kitchen = Kitchen(gate)
    worker = make(kitchen, capacity=10)
    answers = answers_of(worker)
    worker.ask(0)
    gate.wait_for_thread()
    for request in (1, 2, 3, 1):
        worker.ask(request)
    gate.open.set()
    qtbot.waitUntil(lambda: len(answers) == 4)
    assert kitchen.asked == [0, 1, 3, 2]


def test_answers_to_forgotten_requests_are_dropped(qtbot: QtBot, make: Make, gate: Gate) -> None:
    worker = make(Kitchen(gate), capacity=10)
    answers = answers_of(worker)
    worker.ask(0)
    gate.wait_for_thread()
    worker.ask(1)
    worker.forget()
    worker.ask(2)
    gate.open.set()
    qtbot.waitUntil(lambda: bool(answers))
    worker.stop()
    assert answers == [(2, 4)]


def test_request_that_fails_is_told_and_the_next_one_answered(
    qtbot: QtBot, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def halve(request: int) -> float:
        if request < 0:
            raise HandvizError("Only positive numbers.", ErrorCode.CAMERA_MISSING)
        return 1 / request

    worker = make(halve)
    answers = answers_of(worker)
    for count, request in enumerate((-1, 0, 2), start=1):
        worker.ask(request)
        qtbot.waitUntil(lambda count=count: len(answers) == count)
    messages = [answer for _, answer in answers]
    assert messages == ["Only positive numbers.", f"{FAILURE} (division by zero); details are in the log.", 0.5]
    assert len(caplog.records) == 1


def test_stop_waits_for_the_present_request_only(make: Make, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    kitchen = Kitchen(gate)
    worker = make(kitchen)
    answers = answers_of(worker)
    worker.ask(0)
    gate.wait_for_thread()
    worker.ask(1)
    open_when_waited_for(worker, gate, monkeypatch)
    worker.stop()
    worker.ask(2)
    assert not worker.isRunning()
    QCoreApplication.processEvents()
    assert (kitchen.asked, answers) == ([0], [])


def test_rest_after_an_answer_ends_with_stop(qtbot: QtBot, make: Make) -> None:
    rests: list[object] = []

    def rest_s(answer: object) -> float:
        rests.append(answer)
        return 3600.0

    worker = make(lambda request: request, rest_s=rest_s)
    with qtbot.waitSignal(worker.answered):
        worker.ask(5)
    worker.ask(6)
    qtbot.waitUntil(lambda: bool(rests))
    worker.stop()
    assert rests == [5], "the next request waits"
