"""Reading of recordings, including those that a crash or a full disk ended."""

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import KEYPOINT_COUNT, FloatArray, Handedness
from handviz.io.recording.recording import ABOUT, FORMAT, LINES, VERTEX_FLOATS, VERTICES

GAP_S = 0.5
"""A hand that is missing for longer is absent."""
TRACK_NAME = re.compile(r"(left|right)(_[0-9]{1,6})?")
"""Names of ``Tracks``; checked because files are named after them."""


@dataclass(frozen=True, eq=False)
class Track:
    """One hand over time: N frames of increasing time."""

    name: str
    handedness: str
    times_s: FloatArray
    """(N,) since the first frame, strictly increasing; the clip's own times if one was recorded without a jump."""
    keypoints_m: FloatArray
    """(N, 21, 3) camera axes, wrist at the origin."""
    wrists_m: FloatArray
    """(N, 3) in the camera frame."""
    vertices_m: FloatArray
    """(N, V, 3) camera axes, wrist at the origin; V is 0 where the recording has no vertices."""
    vertex_std_mm: FloatArray
    """(N, V)"""
    hand_model: str = ""
    """Fingerprint of the hand model of the vertices; empty: the open hand."""


def read_entries(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of ``hands.jsonl``; an unfinished last one is skipped.

    Raises HandvizError if the folder is no recording or another line is damaged.
    """
    path = folder / LINES
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise HandvizError(
            f"{folder} is no recording of handviz: {path.name} cannot be read.", ErrorCode.FILE_UNREADABLE
        ) from error
    entries = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            entries.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise HandvizError(
                f"{path}, line {number}: invalid JSON, delete it ({error}).", ErrorCode.FILE_DAMAGED
            ) from error
    return entries


def read_tracks(folder: Path) -> list[Track]:
    """Read every track of a recording; raises HandvizError if there is none, or if lines are incomplete."""
    entries = read_entries(folder)
    vertices, hand_model = _read_vertices(folder)
    try:
        found = _by_track(entries)
        tracks = [
            _track(name, timed_results, vertices, hand_model)
            for name, timed_results in sorted(found.items(), reverse=True)
        ]
        for track in tracks:
            _check(track)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise HandvizError(f"{folder / LINES} is damaged: record again ({error!r}).", ErrorCode.FILE_DAMAGED) from error
    if not tracks:
        raise HandvizError(f"{folder} contains no hands: record it again.", ErrorCode.NO_HANDS)
    return tracks


def _by_track(entries: list[dict[str, Any]]) -> dict[str, list[tuple[float, dict[str, Any]]]]:
    """Return times in seconds and entries of every hand, without those whose time does not increase."""
    found: dict[str, list[tuple[float, dict[str, Any]]]] = {}
    for at_s, entry in zip(_times_s(entries), entries, strict=True):
        for hand in entry["hands"]:
            timed_results = found.setdefault(hand["track"], [])
            if not timed_results or at_s > timed_results[-1][0]:
                timed_results.append((at_s, hand))
    return found


def _times_s(entries: list[dict[str, Any]]) -> list[float]:
    """Return the clip's times if they increase throughout one clip; otherwise the times of capture."""
    clip_ms = [entry["clip_ms"] for entry in entries]
    is_one_clip = len({entry["source"] for entry in entries}) == 1 and None not in clip_ms
    if not is_one_clip or any(after <= before for before, after in pairwise(clip_ms)):
        clip_ms = [entry["monotonic_ms"] for entry in entries]
    return [(at_ms - clip_ms[0]) / 1000 for at_ms in clip_ms]


def _track(
    name: str, timed_results: list[tuple[float, dict[str, Any]]], vertices: FloatArray, hand_model: str
) -> Track:
    rows = [hand["vertices_row"] for _, hand in timed_results]
    has_vertices = all(row is not None and 0 <= row < len(vertices) for row in rows)
    meshes = vertices[rows] if has_vertices else np.zeros((len(rows), 0, VERTEX_FLOATS), np.float32)
    return Track(
        name=name,
        handedness=timed_results[0][1]["handedness"],
        times_s=np.array([at_s for at_s, _ in timed_results], np.float64),
        keypoints_m=np.array([hand["keypoints_camera_m"] for _, hand in timed_results], np.float64),
        wrists_m=np.array([hand["wrist_camera_m"] for _, hand in timed_results], np.float64),
        vertices_m=meshes[..., :3],
        vertex_std_mm=meshes[..., 3],
        hand_model=hand_model,
    )


def _check(track: Track) -> None:
    """Raise ValueError at contents that no recording has."""
    count = len(track.times_s)
    if TRACK_NAME.fullmatch(track.name) is None or track.handedness not in get_args(Handedness):
        raise ValueError(f"invalid track {track.name!a} or handedness {track.handedness!a}")
    if (track.keypoints_m.shape, track.wrists_m.shape) != ((count, KEYPOINT_COUNT, 3), (count, 3)):
        raise ValueError(f"{track.name}: a line without 21 keypoints and a wrist")
    numbers = track.times_s, track.keypoints_m, track.wrists_m, track.vertices_m, track.vertex_std_mm
    if not all(np.isfinite(values).all() for values in numbers):
        raise ValueError(f"{track.name}: values that are not finite")


def _read_vertices(folder: Path) -> tuple[FloatArray, str]:
    """Map the complete rows (rows, V, 4) from disk; returns them and the fingerprint of their hand model."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        count, kind = int(about["vertices_per_hand"]), about["handviz_recording"]
        hand_model = str(about.get("hand_model", ""))
        if count < 0:
            raise ValueError("a negative number of vertices")
        row_count = (folder / VERTICES).stat().st_size // max(count * VERTEX_FLOATS * 4, 1)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise HandvizError(
            f"{folder} is no recording of handviz: {ABOUT} or {VERTICES} cannot be read.", ErrorCode.FILE_DAMAGED
        ) from error
    if kind != FORMAT:
        raise HandvizError(
            f"{folder} was recorded by another version of handviz (format {kind}, not {FORMAT}); use that version.",
            ErrorCode.VERSION_MISMATCH,
        )
    if count == 0 or row_count == 0:
        return np.zeros((0, 0, VERTEX_FLOATS), np.float32), hand_model
    return np.memmap(folder / VERTICES, "<f4", "r", shape=(row_count, count, VERTEX_FLOATS)), hand_model
