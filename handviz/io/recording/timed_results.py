"""Results with source and time, and their entries in recordings and streams."""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from handviz.core.records import Detection, FloatArray, FrameResult, HandMesh
from handviz.io.hands_json import hand_entry


@dataclass(frozen=True, eq=False)
class TimedResult:
    """A result with its source and time."""

    result: FrameResult
    """Without image, crops and other models, so that many fit in a queue."""
    size: tuple[int, int]
    """Width and height of that image in pixels."""
    source: str
    """"camera:0", or the path of a clip, a folder or an image."""
    wall_s: float
    """``time.time()`` when the image was read."""

    @property
    def iso_time(self) -> str:
        """When the image was read, UTC with milliseconds."""
        return datetime.fromtimestamp(self.wall_s, UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, eq=False)
class ViewImage:
    """An image of the rendered view."""

    pixels: bytes
    """RGBA, the lowest row first, as OpenGL reads them."""
    size: tuple[int, int]
    """Width and height in pixels."""


def timed_result_of(result: FrameResult, source: str) -> TimedResult:
    """Attach source and time of capture: now, minus the age of the image."""
    age_s = time.perf_counter() - result.frame.captured_ms / 1000
    height, width = result.frame.image.shape[:2]
    frame = replace(result.frame, image=np.zeros((0, 0, 3), np.uint8), name=_text(result.frame.name))
    found = _finite(result)
    # What the view alone needs: a hand's heatmaps take a quarter of a megabyte.
    hands = tuple(replace(hand, heatmaps=None, steps=()) for hand in found.hands)
    slim = replace(found, frame=frame, hands=hands, crops=(), others={}, other_errors={})
    return TimedResult(slim, (width, height), _text(source), time.time() - age_s)


def _text(name: str) -> str:
    """Escape bytes in file names that are not UTF-8, which no format here accepts."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _finite(result: FrameResult) -> FrameResult:
    """Remove hands with values that are not finite, which JSON cannot represent."""
    finite = [number for number, hand in enumerate(result.hands) if _is_finite(hand)]
    if len(finite) == len(result.hands):
        return result
    detections = tuple(result.detections[number] for number in finite if number < len(result.detections))
    return replace(result, hands=tuple(result.hands[number] for number in finite), detections=detections)


def _is_finite(hand: HandMesh) -> bool:
    positions = hand.keypoints_m, hand.keypoints_px, hand.wrist_camera_m, hand.vertices_m, hand.camera_from_wrist
    uncertainties = hand.keypoint_std_mm, hand.vertex_std_mm, hand.wrist_std_m
    return all(values is None or bool(np.isfinite(values).all()) for values in (*positions, *uncertainties))


def timed_result_entry(timed_result: TimedResult) -> dict[str, Any]:
    """Return the JSON object of a result without its hands."""
    frame = timed_result.result.frame
    return {
        "frame": frame.number,
        "source": timed_result.source,
        "picture": frame.name,
        "time": timed_result.iso_time,
        "monotonic_ms": round(frame.captured_ms, 3),
        "clip_ms": None if frame.time_ms is None else round(frame.time_ms, 3),
        "variant": timed_result.result.model,
        "width": timed_result.size[0],
        "height": timed_result.size[1],
    }


def recorded_hands(result: FrameResult) -> list[dict[str, Any]]:
    """Return the hands as in ``hands.json``, each with its rotation and intrinsics."""
    detections: list[Detection | None] = [*result.detections]
    detections += [None] * (len(result.hands) - len(detections))
    return [_entry(hand, detection) for hand, detection in zip(result.hands, detections, strict=False)]


def _entry(hand: HandMesh, detection: Detection | None) -> dict[str, Any]:
    stand_in = Detection(hand.handedness, hand.detection_score, hand.keypoints_px)
    entry = hand_entry(hand, detection or stand_in, None)
    del entry["mesh"]
    if detection is None:
        del entry["distance_from_detector"]
    entry["track_id"] = hand.track_id
    entry["wrist_std_m"] = None if hand.wrist_std_m is None else _rounded(hand.wrist_std_m, 6)
    entry["camera_from_wrist"] = _rounded(hand.camera_from_wrist, 6)
    entry["focals_px"] = _rounded(hand.intrinsics.focals_px, 3)
    entry["centre_px"] = _rounded(hand.intrinsics.centre_px, 3)
    entry["intrinsics_origin"] = hand.intrinsics.origin
    return entry


def _rounded(values: FloatArray, digits: int) -> list[Any]:
    rounded: list[Any] = np.round(np.asarray(values, dtype=np.float64), digits).tolist()
    return rounded
