"""``handviz landmarks``: MediaPipe's own world landmarks as a hands.json, to score them beside models."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from handviz.cli.reconstruct import summary
from handviz.cluster.shards import REPORT_NAME
from handviz.core.arguments import Count, Positional
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import make_folder
from handviz.core.output import print_result
from handviz.core.records import Detection, FloatArray, Frame
from handviz.detection.landmarker import HandLandmarker
from handviz.io.hands_json import unreadable_entry, write_report
from handviz.pipeline.settings import MAX_HANDS_OF_CLIPS, MAX_HANDS_OF_IMAGES
from handviz.sources.source import ClipSource, FolderSource, Source, open_source, read_frames

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Input and output.

    Each image is searched once by MediaPipe's own library, whatever detector other commands use: no handviz model, no
    further views of stills, no posterior.
    """

    input: Positional[str]
    """Image, folder of images, or clip."""
    out: Path
    """Folder for hands.json."""
    every: Count = 1
    """Of a clip, every N-th frame."""
    max_hands: Count | None = None
    """Hands looked for: 10 in images, 2 in clips."""


def run(arguments: Arguments) -> int:
    """Detect the hands of all readable images; return 0 if there was one."""
    source = open_source(arguments.input)
    try:
        if source.is_live:
            raise HandvizError(
                "landmarks reads images and clips: record the camera first, then give the clip",
                ErrorCode.OPTION_CONFLICT,
            )
        is_clip = isinstance(source, ClipSource)
        most = arguments.max_hands or (MAX_HANDS_OF_CLIPS if is_clip else MAX_HANDS_OF_IMAGES)
        path = make_folder(arguments.out) / REPORT_NAME
        with logging_redirect_tqdm(), HandLandmarker(video=is_clip, max_hands=most) as landmarker:
            entries = _entries(source, arguments.every, landmarker)
    finally:
        source.close()
    write_report(path, sorted(entries, key=lambda entry: str(entry["file"])))
    print_result("%s: %s", summary(entries), path)
    return int(all("error" in entry for entry in entries))


def _entries(source: Source, every: int, landmarker: HandLandmarker) -> list[dict[str, Any]]:
    entries, total = [], source.frame_count
    for number, item in tqdm(read_frames(source, every), total=total and -(-total // every), unit="image"):
        folder = source if isinstance(source, FolderSource) else None
        file = folder.paths[number].name if folder else f"{source.name}#{number:06d}"
        if isinstance(item, HandvizError):
            logger.error("%s", item)
            entries.append(unreadable_entry(file, str(item)))
        else:
            entries.append(landmarks_entry(file, item, landmarker))
    return entries


def landmarks_entry(file: str, frame: Frame, landmarker: HandLandmarker) -> dict[str, Any]:
    """Return the object of an image for ``hands.json``; what MediaPipe does not say is null."""
    height, width = frame.image.shape[:2]
    found = landmarker.detect_with_world_landmarks(frame.image)
    return {
        "file": file,
        "width": width,
        "height": height,
        **({} if frame.time_ms is None else {"time_ms": round(frame.time_ms, 3)}),
        "variant": None,
        "hands": [_hand_entry(detection, landmarks_m) for detection, landmarks_m in found],
    }


def _hand_entry(detection: Detection, landmarks_m: FloatArray) -> dict[str, Any]:
    return {
        "handedness": detection.handedness,
        "detection_score": round(detection.score, 4),
        "keypoints_camera_m": np.round(landmarks_m - landmarks_m[0], 6).tolist(),
        "keypoints_image_px": np.round(detection.keypoints_px, 3).tolist(),
        "keypoint_std_mm": None,
        "vertex_std_mm": None,
        "uncertainty": "none",
        "wrist_camera_m": None,
        "wrist_std_m": None,
        "mesh": None,
    }
