"""Turns the stream for other programs on and off."""

import logging
from collections.abc import Sequence
from typing import Literal

from handviz.gui.feature import Feature
from handviz.gui.record.output_panel import PORT_LIMITS, STREAM_FORMATS, OutputPanel
from handviz.gui.record.stream_thread import StreamThread
from handviz.gui.session.controller import Controller
from handviz.gui.session.messages import Answer
from handviz.gui.widgets.shortcuts import Shortcut
from handviz.io.recording.moments import moment_of

FORMAT, ADDRESS, PORT = "stream_format", "stream_address", "stream_port"
DEFAULT_ADDRESS, DEFAULT_PORT = "127.0.0.1", 9000
logger = logging.getLogger(__name__)


class Streaming(Feature):
    """Off at every start; only where to and in which format is remembered."""

    def __init__(self, controller: Controller, panel: OutputPanel) -> None:
        super().__init__()
        self._controller, self._panel = controller, panel
        self._thread: StreamThread | None = None
        store = controller.store
        panel.stream_format.setCurrentIndex(max(panel.stream_format.findText(store.text(FORMAT)), 0))
        panel.stream_address.setText(store.text(ADDRESS) or DEFAULT_ADDRESS)
        panel.stream_port.setValue(_port(store.text(PORT)))
        panel.stream_format.textActivated.connect(lambda text: store.remember(FORMAT, text))
        panel.stream_address.editingFinished.connect(lambda: store.remember(ADDRESS, self._address()))
        panel.stream_port.valueChanged.connect(lambda value: store.remember(PORT, str(value)))
        panel.stream.clicked.connect(self.toggle)
        controller.answered.connect(self._take_answer)

    def shortcuts(self) -> Sequence[Shortcut]:
        """One."""
        return (Shortcut(("Ctrl+U",), "stream to other programs, or stop that", self.toggle, menu="Tools"),)

    @property
    def is_on(self) -> bool:
        """Whether results are being sent."""
        return self._thread is not None

    def toggle(self) -> None:
        """Begin or stop."""
        if self._thread is not None:
            self.stop()
            self._panel.show_stream(False, "")
            self._controller.say("Streaming has stopped.")
            return
        kind: Literal["OSC", "JSON"] = STREAM_FORMATS[self._panel.stream_format.currentIndex()]
        self._thread = StreamThread(kind, self._address(), self._panel.stream_port.value())
        self._thread.told.connect(self._show)
        self._thread.failed.connect(self._fail)
        self._thread.start()
        self._panel.show_stream(True, "")

    def stop(self) -> None:
        """Close the port and wait for that."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    def _address(self) -> str:
        return self._panel.stream_address.text().strip() or DEFAULT_ADDRESS

    def _take_answer(self, answer: Answer) -> None:
        source = self._controller.source
        if self._thread is not None and source is not None:
            self._thread.take(moment_of(answer.result, source.short_text))

    def _show(self, sentence: str) -> None:
        if self._thread is not None:
            logger.info("%s", sentence)
            self._panel.show_stream(True, sentence)
            self._controller.say(sentence)

    def _fail(self, sentence: str) -> None:
        self.stop()
        self._panel.show_stream(False, sentence)
        self._controller.warn(sentence)


def _port(text: str) -> int:
    low, high = PORT_LIMITS
    return int(text) if text.isdecimal() and low <= int(text) <= high else DEFAULT_PORT
