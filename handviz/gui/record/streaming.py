"""UDP stream of results to other programs."""

import logging
import time
from collections.abc import Sequence
from typing import Literal

from handviz.gui.record.output_panel import PORT_LIMITS, STREAM_FORMATS, OutputPanel
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.gui.session.tasks import Task
from handviz.gui.widgets.shortcuts import Feature, Shortcut
from handviz.io.recording.timed_results import TimedResult, timed_result_of
from handviz.sources.mailbox import Mailbox

WAIT_S = 0.5
QUIET_AFTER_S = 2.0
"""A missing receiver refuses about every other datagram; after this time without refusals one listens."""
logger = logging.getLogger(__name__)
FORMAT, ADDRESS, PORT = "stream_format", "stream_address", "stream_port"
DEFAULT_ADDRESS, DEFAULT_PORT = "127.0.0.1", 9000


class StreamTask(Task):
    """Thread that sends the newest result; one that a newer one overtakes is not sent, so the stream is never late.

    It reports a status message whenever that changes.
    """

    def __init__(self, kind: Literal["OSC", "JSON"], address: str, port: int) -> None:
        super().__init__("Streaming failed unexpectedly")
        self._kind, self._address, self._port = kind, address, port
        self._mailbox: Mailbox[TimedResult] = Mailbox()
        self._message = ""

    def take(self, timed_result: TimedResult) -> None:
        """Send this result; returns at once."""
        self._mailbox.put(timed_result)

    def stop(self) -> None:
        """Close the port and wait for that."""
        self._mailbox.close()
        super().stop()

    def send_all(self) -> None:
        """Open the port, then send until stopped; for ``begin``."""
        # Imported here so that the window is up before they are loaded.
        from handviz.io.recording.udp import Datagrams, UdpSender

        sender, datagrams = UdpSender(self._address, self._port), Datagrams(self._kind)
        try:
            status = f"Streaming {self._kind} to {sender.where}."
            if not sender.is_loopback:
                status += " This is not this machine: others on the network path can read it."
            self._report_status(status)
            refused_s = 0.0
            while not self._mailbox.closed:
                timed_result = self._mailbox.get(WAIT_S)
                if timed_result is None:
                    continue
                error = sender.send(datagrams.of(timed_result))
                if error:
                    refused_s = time.monotonic()
                    self._report_status(f"{status} {error}")
                elif time.monotonic() - refused_s > QUIET_AFTER_S:
                    self._report_status(status)
        finally:
            sender.close()

    def _report_status(self, message: str) -> None:
        if message != self._message:
            self._message = message
            self.report(self.progressed, message)


class Streaming(Feature):
    """Controls of the stream: off at every start; address, port and format are saved."""

    def __init__(self, controller: Controller, panel: OutputPanel) -> None:
        super().__init__()
        self._controller, self._panel = controller, panel
        self._task: StreamTask | None = None
        store = controller.store
        panel.stream_format.setCurrentIndex(max(panel.stream_format.findText(store.text(FORMAT)), 0))
        panel.stream_address.setText(store.text(ADDRESS) or DEFAULT_ADDRESS)
        panel.stream_port.setValue(_port(store.text(PORT)))
        panel.stream_format.textActivated.connect(lambda text: store.save_text(FORMAT, text))
        panel.stream_address.editingFinished.connect(lambda: store.save_text(ADDRESS, self._address()))
        panel.stream_port.valueChanged.connect(lambda value: store.save_text(PORT, str(value)))
        panel.stream.clicked.connect(self.toggle)
        controller.answered.connect(self._take_answer)

    def shortcuts(self) -> Sequence[Shortcut]:
        """Return the key."""
        return (Shortcut(("Ctrl+U",), "Stream over UDP (OSC / JSON)", self.toggle, menu="Tools"),)

    @property
    def is_on(self) -> bool:
        """Whether results are sent."""
        return self._task is not None

    def toggle(self) -> None:
        """Start or stop the stream."""
        if self._task is not None:
            self.stop()
            self._panel.show_stream(False, "")
            self._controller.notify("Streaming stopped.")
            return
        kind: Literal["OSC", "JSON"] = STREAM_FORMATS[self._panel.stream_format.currentIndex()]
        self._task = task = StreamTask(kind, self._address(), self._panel.stream_port.value())
        task.progressed.connect(self._show)
        task.failed.connect(self._fail)
        task.begin(task.send_all)
        self._panel.show_stream(True, "")

    def stop(self) -> None:
        """Close the port and wait for that."""
        task, self._task = self._task, None
        if task is not None:
            task.stop()

    def _address(self) -> str:
        return self._panel.stream_address.text().strip() or DEFAULT_ADDRESS

    def _take_answer(self, answer: Answer) -> None:
        source = self._controller.source
        if self._task is not None and source is not None:
            self._task.take(timed_result_of(answer.result, source.short_text))

    def _show(self, message: str) -> None:
        logger.info("%s", message)
        self._panel.show_stream(True, message)
        self._controller.notify(message)

    def _fail(self, message: str) -> None:
        self.stop()
        self._panel.show_stream(False, message)
        self._controller.warn(message)


def _port(text: str) -> int:
    low, high = PORT_LIMITS
    is_short = text.isdecimal() and len(text) <= len(str(high))
    return int(text) if is_short and low <= int(text) <= high else DEFAULT_PORT
