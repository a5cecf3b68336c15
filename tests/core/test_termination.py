"""Other signals stop a command as Ctrl+C does; worker processes never outlive their parent."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import psutil
import pytest

from handviz.core.paths import PROJECT_ROOT
from handviz.core.termination import TERMINATIONS, Terminated, interrupt_status, terminations_as_interrupt
from tests.waiting import LIMIT_S

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows ends processes without a signal")


@pytest.mark.parametrize("number", TERMINATIONS)
def test_a_termination_is_an_interrupt_with_its_own_status(number: signal.Signals) -> None:
    # Under nohup the tests themselves begin with SIGHUP ignored.
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(Terminated, match=number.name) as stop, terminations_as_interrupt():
            signal.raise_signal(number)
        assert interrupt_status(stop.value) == 128 + number
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminations_as_interrupt():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_changes_no_handler() -> None:
    seen: list[object] = []

    def run() -> None:
        with terminations_as_interrupt():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


def test_ctrl_c_has_its_own_status() -> None:
    assert interrupt_status(KeyboardInterrupt()) == 130


POOL = """
import multiprocessing, signal
from handviz.core.termination import follow_parent
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2, follow_parent) as pool:
        waiting = [pool.apply_async(signal.pause) for _ in range(2)]
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        waiting[0].get()
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", [subprocess.Popen.kill, subprocess.Popen.terminate], ids=["killed", "terminated"])
def test_workers_end_with_their_parent(end: Callable[[subprocess.Popen[str]], None], tmp_path: os.PathLike) -> None:
    script = os.path.join(tmp_path, "pool.py")
    with open(script, "w", encoding="utf-8") as file:
        file.write(POOL)
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT)}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        workers = [psutil.Process(int(word)) for word in parent.stdout.readline().split()[:2]]
        end(parent)
        parent.wait(LIMIT_S)
    gone, alive = psutil.wait_procs(workers, LIMIT_S)
    assert (len(gone), alive) == (2, [])
