"""``python -m tools.build landmarker``: MediaPipe's two hand networks -> one task file that MediaPipe 1.x loads."""

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

from handviz.core.files import make_folder, write_files
from handviz.core.paths import LANDMARKER_FILE
from tools.mediapipe_wheel import HAND_LANDMARK, PALM_DETECTION, wheel_members

TASK_NAMES = {PALM_DETECTION: "hand_detector.tflite", HAND_LANDMARK: "hand_landmarks_detector.tflite"}
ALIGNMENT_BYTES, LOCAL_HEADER_BYTES = 64, 30
PADDING_HEADER, PADDING_FIELD = struct.Struct("<HH"), 0xD935
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def build(path: Path = LANDMARKER_FILE) -> Path:
    """Download the networks and write the task file, the same bytes every time; raise HandvizError on failure."""
    members = wheel_members(list(TASK_NAMES))
    make_folder(path.parent)
    write_files({path: task_bytes({TASK_NAMES[name]: content for name, content in members.items()})})
    return path


def task_bytes(members: Mapping[str, bytes]) -> bytes:
    """Return a zip with every member stored and aligned, so that MediaPipe maps the networks from the file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name, date_time=ZIP_EPOCH)
            entry.create_system = 3  # the same bytes on every system
            entry.external_attr = 0o644 << 16
            start = buffer.tell() + LOCAL_HEADER_BYTES + len(name) + PADDING_HEADER.size
            padding = -start % ALIGNMENT_BYTES
            entry.extra = PADDING_HEADER.pack(PADDING_FIELD, padding) + bytes(padding)
            archive.writestr(entry, content)
    return buffer.getvalue()
