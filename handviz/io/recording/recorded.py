"""Reading of recordings, including those that a crash or a full disk ended."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.json_files import Numbers, Rows, Value, Within, json_parser, parse_json, read_json
from handviz.core.records import KEYPOINT_COUNT, FloatArray, Handedness
from handviz.io.recording.recording import ABOUT, FORMAT, LINES, VERTEX_FLOATS, VERTICES

MAX_LINE_BYTES = 2**20
"""Of a result with its hands, which take 2 KB each"""
GAP_S = 0.5
"""A hand that is missing for longer is absent."""
TRACK_NAME = re.compile(r"(left|right)(_[0-9]{1,6})?")
"""Names of ``TrackNames``; checked because files are named after them."""


@dataclass(frozen=True, eq=False)
class Track:
    """One hand over time: N frames of increasing time."""

    name: str
    handedness: Handedness
    times_s: FloatArray
    """(N,) since the first frame, strictly increasing; the clip's own times if one was recorded without a jump."""
    keypoints_m: FloatArray
    """(N, 21, 3) camera axes, wrist at the origin."""
    wrists_m: FloatArray
    """(N, 3) in the camera frame."""
    vertices_m: FloatArray
    """(N, V, 3) camera axes, wrist at the origin; V is 0 where the recording has no vertices."""
    vertex_std_mm: FloatArray | None
    """(N, V); None if the model predicts no uncertainty."""
    hand_model: str = ""
    """Fingerprint of the hand model of the vertices; empty: the open hand."""


@dataclass(frozen=True, eq=False)
class _Hand:
    """What is read of a hand of ``hands.jsonl``, under the names there."""

    track: str
    handedness: Handedness
    keypoints_camera_m: Annotated[FloatArray, Numbers(KEYPOINT_COUNT, 3)]
    wrist_camera_m: Annotated[FloatArray, Numbers(3)]
    vertices_row: int | None

    def __post_init__(self) -> None:
        if TRACK_NAME.fullmatch(self.track) is None:
            raise ValueError(f"invalid track {self.track[:40]!a}")


@dataclass(frozen=True, eq=False)
class _Entry:
    """What is read of a line of ``hands.jsonl``."""

    source: str
    monotonic_ms: float
    clip_ms: float | None
    hands: Rows[_Hand]


@dataclass(frozen=True)
class _About:
    """What is read of ``recording.json``."""

    handviz_recording: int
    vertices_per_hand: Annotated[int, Within(ge=0)]
    hand_model: str = ""


MAX_NUMBER = 1e7
"""Of seconds (a third of a year), metres and millimetres: what is written of them is finite in single precision."""
TimedHands = list[tuple[float, _Hand]]


def read_entries(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of ``hands.jsonl``; an unfinished last one is skipped.

    Raises HandvizError if the folder is no recording or another line is damaged.
    """
    return _lines(folder, dict[str, Any])


def _lines(folder: Path, kind: type[Value]) -> Iterator[Value]:
    path, parse = folder / LINES, json_parser(kind)
    try:
        with path.open("rb") as file:
            for number in itertools.count(1):
                line = file.readline(MAX_LINE_BYTES)
                if not line or (not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES):
                    return
                try:
                    yield parse(line)
                except (ValueError, RecursionError):
                    # Once more, for the message.
                    parse_json(line, kind, f"{path}, line {number}", "delete it")
    except OSError as error:
        raise HandvizError(
            f"{folder} is no recording of handviz: {path.name} cannot be read.", ErrorCode.FILE_UNREADABLE
        ) from error


def read_tracks(folder: Path) -> list[Track]:
    """Read every track of a recording; raises HandvizError if there is none, or if lines are incomplete."""
    entries = list(_lines(folder, _Entry))
    vertices, hand_model = _read_vertices(folder)
    found = _by_track(entries)
    tracks = [_track(name, timed_hands, vertices, hand_model) for name, timed_hands in sorted(found.items())[::-1]]
    for track in tracks:
        numbers = (track.times_s, track.keypoints_m, track.wrists_m, track.vertices_m, track.vertex_std_mm)
        if not all(values is None or (np.abs(values) < MAX_NUMBER).all() for values in numbers):
            raise HandvizError(
                f"{folder} is damaged: record again ({track.name}: values that are not finite, or far too large).",
                ErrorCode.FILE_DAMAGED,
            )
    if not tracks:
        raise HandvizError(f"{folder} contains no hands: record it again.", ErrorCode.NO_HANDS)
    return tracks


def _by_track(entries: list[_Entry]) -> dict[str, TimedHands]:
    """Return times in seconds and entries of every hand, without those whose time does not increase."""
    found: dict[str, TimedHands] = {}
    for at_s, entry in zip(_times_s(entries), entries, strict=True):
        for hand in entry.hands:
            timed_hands = found.setdefault(hand.track, [])
            if not timed_hands or at_s > timed_hands[-1][0]:
                timed_hands.append((at_s, hand))
    return found


def _times_s(entries: list[_Entry]) -> list[float]:
    """Return the clip's times if they increase throughout one clip; otherwise the times of capture."""
    clip_ms = [entry.clip_ms for entry in entries if entry.clip_ms is not None]
    is_one_clip = len({entry.source for entry in entries}) == 1 and len(clip_ms) == len(entries)
    if not is_one_clip or any(after <= before for before, after in pairwise(clip_ms)):
        clip_ms = [entry.monotonic_ms for entry in entries]
    return [(at_ms - clip_ms[0]) / 1000 for at_ms in clip_ms]


def _track(name: str, timed_hands: TimedHands, vertices: FloatArray, hand_model: str) -> Track:
    hands = [hand for _, hand in timed_hands]
    rows = [-1 if hand.vertices_row is None else hand.vertices_row for hand in hands]
    has_vertices = all(0 <= row < len(vertices) for row in rows)
    meshes = vertices[rows] if has_vertices else np.zeros((len(rows), 0, VERTEX_FLOATS), np.float32)
    return Track(
        name=name,
        handedness=hands[0].handedness,
        times_s=np.array([at_s for at_s, _ in timed_hands], np.float64),
        keypoints_m=np.array([hand.keypoints_camera_m for hand in hands], np.float64),
        wrists_m=np.array([hand.wrist_camera_m for hand in hands], np.float64),
        vertices_m=meshes[..., :3],
        # Written as not a number by a model without uncertainty.
        vertex_std_mm=None if meshes.size and np.isnan(meshes[..., 3]).all() else meshes[..., 3],
        hand_model=hand_model,
    )


def _read_vertices(folder: Path) -> tuple[FloatArray, str]:
    """Map the complete rows (rows, V, 4) from disk; returns them and the fingerprint of their hand model."""
    about = read_json(folder / ABOUT, _About, "record again")
    if about.handviz_recording != FORMAT:
        raise HandvizError(
            f"{folder} was recorded by another version of handviz (format {about.handviz_recording}, not {FORMAT}); "
            "use that version.",
            ErrorCode.VERSION_MISMATCH,
        )
    count, path = about.vertices_per_hand, folder / VERTICES
    try:
        row_count = path.stat().st_size // max(count * VERTEX_FLOATS * 4, 1)
        if count == 0 or row_count == 0:
            return np.zeros((0, 0, VERTEX_FLOATS), np.float32), about.hand_model
        return np.memmap(path, "<f4", "r", shape=(row_count, count, VERTEX_FLOATS)), about.hand_model
    except OSError as error:
        raise HandvizError(
            f"{folder} is no recording of handviz: {VERTICES} cannot be read.", ErrorCode.FILE_DAMAGED
        ) from error
