"""Sends datagrams to one place and notices what can be noticed about it."""

import ipaddress
import socket
from collections.abc import Iterable

from handviz.core.errors import HandvizError

LOOPBACK = "127.0.0.1"


class UdpSender:
    """A socket that never waits: what the system does not take at once is lost, as UDP is."""

    def __init__(self, address: str, port: int) -> None:
        """An address in numbers: names are not looked up, for that can take half a minute.

        Raises HandvizError if it is none, or if there is no way there.
        """
        try:
            numbers = ipaddress.ip_address(LOOPBACK if address == "localhost" else address)
        except ValueError as error:
            raise HandvizError(f"'{address}' is no address: give it in numbers, as in {LOOPBACK}.") from error
        self.where, self.is_loopback = f"{address}:{port}", numbers.is_loopback
        self._socket = socket.socket(socket.AF_INET if numbers.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect((str(numbers), port))
        except OSError as error:
            self._socket.close()
            raise HandvizError(f"There is no way to {self.where}: {error.strerror}.") from error

    def send(self, datagrams: Iterable[bytes]) -> str:
        """What is wrong, as a sentence; empty if nothing seems to be."""
        troubles = [self._send(datagram) for datagram in datagrams]
        return next((trouble for trouble in troubles if trouble), "")

    def _send(self, datagram: bytes, *, again: bool = True) -> str:
        try:
            self._socket.send(datagram)
        except BlockingIOError:
            return ""
        except ConnectionRefusedError:
            # That is the answer to the datagram before; the system has not taken this one.
            if again:
                self._send(datagram, again=False)
            return f"No program listens at {self.where} yet."
        except OSError as error:
            return f"{self.where} cannot be reached: {error.strerror}."
        return ""

    def close(self) -> None:
        """Free the port."""
        self._socket.close()
