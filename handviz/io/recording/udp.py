"""Streaming of results over UDP, as OSC or JSON; ``docs/guide/export.md`` describes the datagrams."""

import ipaddress
import json
import socket
from collections.abc import Iterable
from typing import Any, Literal

from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message_builder import OscMessageBuilder

from handviz.core.errors import ErrorCode, HandvizError
from handviz.io.recording.timed_results import TimedResult, recorded_hands, timed_result_entry
from handviz.io.recording.tracks import TrackNames

StreamFormat = Literal["OSC", "JSON"]
OscValue = tuple[str, Any]
"""type tag and value"""
LOOPBACK = "127.0.0.1"


class Datagrams:
    """Conversion of results to datagrams, with tracks over frames."""

    def __init__(self, kind: StreamFormat) -> None:
        self._kind = kind
        self._names = TrackNames()

    def of(self, timed_result: TimedResult) -> list[bytes]:
        """Return a bundle for the frame and one per hand (OSC), or one object (JSON)."""
        entry = timed_result_entry(timed_result) | {"hands": recorded_hands(timed_result.result)}
        for hand, track in zip(entry["hands"], self._names.names(timed_result.result.hands), strict=True):
            hand["track"] = track
        if self._kind == "JSON":
            return [json.dumps({"handviz": 1} | entry, separators=(",", ":")).encode("utf-8")]
        return [_frame_bundle(entry, timed_result), *(_hand_bundle(entry["frame"], hand) for hand in entry["hands"])]


def _frame_bundle(entry: dict[str, Any], timed_result: TimedResult) -> bytes:
    tracks = [("s", hand["track"]) for hand in entry["hands"]]
    frame = [
        ("i", entry["frame"] & 0x7FFFFFFF),
        ("d", timed_result.wall_s),
        ("s", entry["variant"]),
        ("s", entry["source"]),
    ]
    return _bundle({"/handviz/frame": frame, "/handviz/hands": [("i", len(tracks)), *tracks]})


def _hand_bundle(frame: int, hand: dict[str, Any]) -> bytes:
    base = f"/handviz/{hand['track']}"
    values = {
        "wrist": hand["wrist_camera_m"],
        "keypoints": _flat(hand["keypoints_camera_m"]),
        "keypoint_std_mm": hand["keypoint_std_mm"] or [],
        "keypoints_px": _flat(hand["keypoints_image_px"]),
        "vertex_std_mm": list((hand["vertex_std_mm"] or {}).values()),
        "rotation": _flat(hand["camera_from_wrist"]),
        "score": [hand["detection_score"]],
    }
    messages = {f"{base}/{name}": [("f", value) for value in numbers] for name, numbers in values.items()}
    return _bundle({f"{base}/frame": [("i", frame & 0x7FFFFFFF)], **messages})


def _bundle(messages: dict[str, list[OscValue]]) -> bytes:
    bundle = OscBundleBuilder(IMMEDIATELY)
    for address, values in messages.items():
        message = OscMessageBuilder(address)
        for kind, value in values:
            message.add_arg(value, kind)
        bundle.add_content(message.build())
    datagram: bytes = bundle.build().dgram
    return datagram


def _flat(rows: list[list[float]]) -> list[float]:
    return [value for row in rows for value in row]


class UdpSender:
    """A non-blocking UDP socket: datagrams that the system does not accept at once are lost."""

    def __init__(self, address: str, port: int) -> None:
        """Connect to a numeric address; names are not resolved, which can take half a minute.

        Raises HandvizError if the address is invalid or has no route.
        """
        try:
            numbers = ipaddress.ip_address(LOOPBACK if address == "localhost" else address)
        except ValueError as error:
            raise HandvizError(
                f"'{address}' is not a numeric address: use one such as {LOOPBACK}.", ErrorCode.BAD_VALUE
            ) from error
        self.where, self.is_loopback = f"{address}:{port}", numbers.is_loopback
        self._socket = socket.socket(socket.AF_INET if numbers.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect((str(numbers), port))
        except OSError as error:
            self._socket.close()
            raise HandvizError(
                f"No route to {self.where} ({error.strerror}): check the address.", ErrorCode.NO_CONNECTION
            ) from error

    def send(self, datagrams: Iterable[bytes]) -> str:
        """Send the datagrams; returns the first error's message, empty if there was none."""
        errors = [self._send(datagram) for datagram in datagrams]
        return next((error for error in errors if error), "")

    def _send(self, datagram: bytes, *, again: bool = True) -> str:
        try:
            self._socket.send(datagram)
        except BlockingIOError:
            return ""
        except ConnectionRefusedError:
            # The error is of the previous datagram; this one was not sent.
            if again:
                self._send(datagram, again=False)
            return f"No program listens at {self.where} yet."
        except OSError as error:
            return f"{self.where} cannot be reached: {error.strerror}."
        return ""

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
