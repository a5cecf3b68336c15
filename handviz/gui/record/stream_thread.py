"""Sends every result to other programs, beside the window."""

import logging
import time
from typing import Literal

from PyQt6.QtCore import QThread, pyqtSignal

from handviz.core.errors import HandvizError
from handviz.io.recording.moments import Moment
from handviz.sources.mailbox import Mailbox

TURN_S = 0.5
CALM_AFTER_S = 2.0
"""Refusals come for every other datagram or so: without any for so long, somebody listens."""
logger = logging.getLogger(__name__)


class StreamThread(QThread):
    """Sends the newest moment; one that a newer one overtakes is left out, so the stream is never late."""

    told = pyqtSignal(str)
    """How it goes, whenever that changes."""
    failed = pyqtSignal(str)
    """Why it has ended."""

    def __init__(self, kind: Literal["OSC", "JSON"], address: str, port: int) -> None:
        super().__init__()
        self._kind, self._address, self._port = kind, address, port
        self._mailbox: Mailbox[Moment] = Mailbox()
        self._sentence = ""

    def take(self, moment: Moment) -> None:
        """Send this; returns at once."""
        self._mailbox.put(moment)

    def stop(self) -> None:
        """End and wait for it."""
        self._mailbox.close()
        self.wait()

    def run(self) -> None:
        """Open the port, then send until told to stop."""
        try:
            self._send_all()
        except HandvizError as error:
            self.failed.emit(str(error))
        # The thread's outermost place: whatever a network does, the person hears of it.
        except Exception as error:
            logger.exception("streaming failed")
            self.failed.emit(f"Streaming failed unexpectedly ({error}); the log says where.")

    def _send_all(self) -> None:
        # Here, so that the window is up before they are loaded.
        from handviz.io.recording.datagrams import Datagrams
        from handviz.io.recording.udp import UdpSender

        sender, datagrams = UdpSender(self._address, self._port), Datagrams(self._kind)
        try:
            calm = f"Streaming {self._kind} to {sender.where}."
            if not sender.is_loopback:
                calm += " That is not this machine: whoever is on the way there can read it."
            self._tell(calm)
            troubled_s = 0.0
            while not self._mailbox.closed:
                moment = self._mailbox.get(TURN_S)
                if moment is None:
                    continue
                trouble = sender.send(datagrams.of(moment))
                if trouble:
                    troubled_s = time.monotonic()
                    self._tell(f"{calm} {trouble}")
                elif time.monotonic() - troubled_s > CALM_AFTER_S:
                    self._tell(calm)
        finally:
            sender.close()

    def _tell(self, sentence: str) -> None:
        if sentence != self._sentence:
            self._sentence = sentence
            self.told.emit(sentence)
