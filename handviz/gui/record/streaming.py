"""Turns the stream for other programs on and off."""

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

TURN_S = 0.5
CALM_AFTER_S = 2.0
"""Refusals come for every other datagram or so: without any for so long, somebody listens."""
logger = logging.getLogger(__name__)
FORMAT, ADDRESS, PORT = "stream_format", "stream_address", "stream_port"
DEFAULT_ADDRESS, DEFAULT_PORT = "127.0.0.1", 9000


# Sends every result to other programs, beside the window.


class StreamTask(Task):
    """Sends the newest moment; one that a newer one overtakes is left out, so the stream is never late.

    Its progress is a sentence on how it goes, whenever that changes.
    """

    def __init__(self, kind: Literal["OSC", "JSON"], address: str, port: int) -> None:
        super().__init__("Streaming failed unexpectedly")
        self._kind, self._address, self._port = kind, address, port
        self._mailbox: Mailbox[TimedResult] = Mailbox()
        self._message = ""

    def take(self, timed_result: TimedResult) -> None:
        """Send this; returns at once."""
        self._mailbox.put(timed_result)

    def stop(self) -> None:
        """Close the port and wait for that."""
        self._mailbox.close()
        super().stop()

    def send_all(self) -> None:
        """Open the port, then send until told to stop; for ``begin``."""
        # Here, so that the window is up before they are loaded.
        from handviz.io.recording.udp import Datagrams, UdpSender

        sender, datagrams = UdpSender(self._address, self._port), Datagrams(self._kind)
        try:
            calm = f"Streaming {self._kind} to {sender.where}."
            if not sender.is_loopback:
                calm += " That is not this machine: whoever is on the way there can read it."
            self._tell(calm)
            troubled_s = 0.0
            while not self._mailbox.closed:
                timed_result = self._mailbox.get(TURN_S)
                if timed_result is None:
                    continue
                error = sender.send(datagrams.of(timed_result))
                if error:
                    troubled_s = time.monotonic()
                    self._tell(f"{calm} {error}")
                elif time.monotonic() - troubled_s > CALM_AFTER_S:
                    self._tell(calm)
        finally:
            sender.close()

    def _tell(self, message: str) -> None:
        if message != self._message:
            self._message = message
            self.report(self.progressed, message)


class Streaming(Feature):
    """Off at every start; only where to and in which format is remembered."""

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
        """One."""
        return (Shortcut(("Ctrl+U",), "stream to other programs, or stop that", self.toggle, menu="Tools"),)

    @property
    def is_on(self) -> bool:
        """Whether results are being sent."""
        return self._task is not None

    def toggle(self) -> None:
        """Begin or stop."""
        if self._task is not None:
            self.stop()
            self._panel.show_stream(False, "")
            self._controller.notify("Streaming has stopped.")
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
    return int(text) if text.isdecimal() and low <= int(text) <= high else DEFAULT_PORT
