"""Datagrams of streams: OSC, read after its specification, and JSON."""

import json
import socket
import struct
from dataclasses import replace

import numpy as np
import pytest
from hands import made_up_hand

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import Frame, FrameResult, HandMesh
from handviz.io.recording.timed_results import TimedResult, timed_result_of
from handviz.io.recording.udp import Datagrams, UdpSender
from tests.errors import raises
from tests.waiting import LIMIT_S


def timed_result(*hands: HandMesh, number: int = 7) -> TimedResult:
    """Return a result of a clip with these hands."""
    frame = Frame(number, np.zeros((480, 640, 3), np.uint8), 1000.0)
    return timed_result_of(FrameResult(frame, "final", hands=hands), "clip.mp4")


def padded_text(data: bytes, at: int) -> tuple[str, int]:
    """Read a string of OSC 1.0: it ends with a zero and is padded to four bytes."""
    end = data.index(b"\0", at)
    return data[at:end].decode(), (end // 4 + 1) * 4


def read_osc(data: bytes) -> dict[str, list[object]]:
    """Read the messages of a bundle, after the OSC 1.0 specification."""
    assert data[:8] == b"#bundle\0"
    messages: dict[str, list[object]] = {}
    at = 16
    while at < len(data):
        (size,) = struct.unpack_from(">i", data, at)
        message, at = data[at + 4 : at + 4 + size], at + 4 + size
        address, place = padded_text(message, 0)
        tags, place = padded_text(message, place)
        assert tags[0] == ","
        values: list[object] = []
        for tag in tags[1:]:
            if tag == "s":
                text, place = padded_text(message, place)
                values.append(text)
            else:
                kind = {"i": ">i", "f": ">f", "d": ">d"}[tag]
                values += struct.unpack_from(kind, message, place)
                place += struct.calcsize(kind)
        assert place == len(message)
        messages[address] = values
    return messages


def test_osc_contains_the_values_of_the_documented_table() -> None:
    hands = made_up_hand(), made_up_hand(handedness="left", wrist_px=(100.0, 90.0))
    frame, *bundles = [read_osc(datagram) for datagram in Datagrams("OSC").of(timed_result(*hands))]
    number, wall_s, model, source = frame["/handviz/frame"]
    assert (number, model, source) == (7, "final", "clip.mp4")
    assert isinstance(wall_s, float)
    assert frame["/handviz/hands"] == [2, "right", "left"]
    assert len(bundles) == 2
    for hand, bundle in zip(hands, bundles, strict=True):
        base = f"/handviz/{hand.handedness}"
        assert bundle[f"{base}/frame"] == [7]
        for name, wanted in (
            ("wrist", hand.wrist_camera_m),
            ("keypoints", hand.keypoints_m.ravel()),
            ("keypoint_std_mm", hand.keypoint_std_mm),
            ("vertex_std_mm", [hand.vertex_std_mm.mean(), hand.vertex_std_mm.max()]),
            ("rotation", hand.camera_from_wrist.ravel()),
            ("score", [hand.detection_score]),
        ):
            np.testing.assert_allclose(bundle[f"{base}/{name}"], wanted, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(bundle[f"{base}/keypoints_px"], hand.keypoints_px.ravel(), atol=1e-2)


def test_datagrams_of_two_hands_fit_into_udp() -> None:
    hands = made_up_hand(), made_up_hand(handedness="left")
    assert max(map(len, Datagrams("OSC").of(timed_result(*hands)))) < 1472, "one Ethernet packet"
    assert max(map(len, Datagrams("JSON").of(timed_result(*hands)))) < 9000


def test_frames_without_hands_are_sent() -> None:
    (datagram,) = Datagrams("OSC").of(timed_result())
    assert read_osc(datagram)["/handviz/hands"] == [0]
    (text,) = Datagrams("JSON").of(timed_result())
    assert json.loads(text)["hands"] == []


def test_a_hand_keeps_its_name_while_it_keeps_number_and_side() -> None:
    near, far = made_up_hand(track_id=1), made_up_hand(track_id=2)
    datagrams = Datagrams("JSON")

    def tracks(*hands: HandMesh) -> list[str]:
        return [hand["track"] for hand in json.loads(datagrams.of(timed_result(*hands))[0])["hands"]]

    assert tracks(near) == ["right"]
    assert tracks(near, far) == ["right", "right_2"]
    assert tracks(far, near) == ["right_2", "right"]
    assert tracks(far) == ["right_2"]
    assert tracks(replace(far, handedness="left"), near) == ["left", "right"]
    assert tracks(far, made_up_hand(track_id=7)) == ["right_2", "right_3"]


@pytest.mark.parametrize("address", ["nowhere.invalid", "", "1.2.3", "127.0.0.1; rm"])
def test_what_is_no_address_is_a_message(address: str) -> None:
    with raises(ErrorCode.BAD_VALUE):
        UdpSender(address, 9000)


def test_nobody_listening_is_noticed_and_nothing_is_lost_once_somebody_does() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        port = receiver.getsockname()[1]
    sender = UdpSender("localhost", port)
    messages = [sender.send([b"a"]) for _ in range(4)]
    assert any("No program listens" in message for message in messages)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(LIMIT_S)
        receiver.bind(("127.0.0.1", port))
        sender.send([b"b"])
        assert receiver.recv(10) == b"b"
    sender.close()


def test_loopback_addresses_are_recognized() -> None:
    for address, is_loopback in (("127.0.0.1", True), ("localhost", True), ("192.0.2.1", False)):
        try:
            sender = UdpSender(address, 9)
        except HandvizError:  # a machine without any network has no way there
            continue
        assert sender.is_loopback is is_loopback
        sender.close()
