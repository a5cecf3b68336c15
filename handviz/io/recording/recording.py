"""Writing of recordings, whose files ``docs/guide/export.md`` describes.

Every file can be read up to its last complete record at any time, whatever ended the recording.
"""

import json
import logging
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from handviz import __version__
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import not_writable, write_files
from handviz.core.records import HandMesh, NetworkFile
from handviz.io.recording.timed_results import TimedResult, ViewImage, recorded_hands, timed_result_entry
from handviz.io.recording.tracks import TrackNames, table_header, table_rows
from handviz.io.recording.video import SteadyVideo

FORMAT = 1
ABOUT, LINES, TABLE, VERTICES, VIDEO = "recording.json", "hands.jsonl", "keypoints.csv", "vertices.f32", "view.mp4"
MAX_COPIED_BYTES = 1_000_000_000
"""Some six hours of video, copied in seconds."""
RESERVE_BYTES = 50_000_000
"""Free space on the disk below which a recording ends."""
VERTEX_FLOATS = 4
logger = logging.getLogger(__name__)


@dataclass
class Counts:
    """Numbers of recorded and lost results and images."""

    results: int = 0
    hands: int = 0
    results_lost: int = 0
    images_lost: int = 0
    """The video shows the previous image instead."""

    def as_json(self) -> dict[str, int]:
        """Return the entries of ``recording.json``, which keep the names of version 0.1."""
        return {
            "results": self.results,
            "hands": self.hands,
            "results_lost": self.results_lost,
            "pictures_lost": self.images_lost,
        }


class GrowingFile:
    """Append-only unbuffered file of complete records, which survive a crash of the program."""

    def __init__(self, path: Path) -> None:
        """Create the file; raises HandvizError if it exists already or cannot be made."""
        self.path = path
        self.size_bytes = 0
        try:
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise not_writable(path, error) from error

    def append(self, record: bytes) -> None:
        """Append the record whole or not at all; raises HandvizError if writing fails."""
        try:
            left = memoryview(record)
            while left:
                left = left[self._file.write(left) or 0 :]
        except OSError as error:
            self._truncate_incomplete_record()
            raise not_writable(self.path, error) from error
        self.size_bytes += len(record)

    def close(self) -> None:
        """Close the file; errors are ignored, since all records are written."""
        try:
            self._file.close()
        except OSError:
            return

    def _truncate_incomplete_record(self) -> None:
        try:
            self._file.truncate(self.size_bytes)
        except OSError:
            return  # readers skip an incomplete last record


class Recording:
    """Writer of one recording; times are seconds since its start. Every method may raise HandvizError."""

    def __init__(self, folder: Path, *, with_video: bool = True, reserve_bytes: int = RESERVE_BYTES) -> None:
        """Create the folder, which must not exist, and its files."""
        self.folder, self.counts, self.duration_s = folder, Counts(), 0.0
        self._with_video, self._reserve_bytes = with_video, reserve_bytes
        self._video: SteadyVideo | None = None
        self._vertex_count, self._hand_model = 0, ""
        self._networks: dict[NetworkFile, None] = {}
        self._names = TrackNames()
        self._started = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise HandvizError(
                f"The folder {folder} cannot be made ({error.strerror}): choose another.", ErrorCode.NOT_WRITABLE
            ) from error
        try:
            self.check_room()
        except HandvizError:
            folder.rmdir()
            raise
        self._write_about()
        self._lines, self._table, self._vertices = (GrowingFile(folder / name) for name in (LINES, TABLE, VERTICES))
        self._table.append(table_header())

    @property
    def size_bytes(self) -> int:
        """Total size of the files on disk."""
        is_video = self._video is not None and self._video.path.is_file()
        video_bytes = self._video.path.stat().st_size if self._video is not None and is_video else 0
        return video_bytes + sum(file.size_bytes for file in (self._lines, self._table, self._vertices))

    def add_result(self, timed_result: TimedResult, at_s: float) -> None:
        """Write a result that was shown at ``at_s``."""
        result = timed_result.result
        entry = timed_result_entry(timed_result) | {
            "recording_ms": round(at_s * 1000, 1),
            "hands": recorded_hands(result),
        }
        self._networks |= dict.fromkeys(result.networks.values())
        tracks = self._names.names(result.hands)
        # Vertices first: a line never refers to missing rows.
        for hand, hand_entry, track in zip(result.hands, entry["hands"], tracks, strict=True):
            hand_entry |= {"track": track, "vertices_row": self._add_vertices(hand)}
        self._lines.append((json.dumps(entry, separators=(",", ":")) + "\n").encode("utf-8"))
        self._table.append(table_rows(entry))
        self.counts.results += 1
        self.counts.hands += len(result.hands)
        self.duration_s = max(self.duration_s, at_s)

    def add_image(self, image: ViewImage, at_s: float) -> None:
        """Show this image in the video from ``at_s`` on."""
        if not self._with_video:
            return
        if self._video is None:
            self._video = SteadyVideo(self.folder / VIDEO, image.size)
        width, height = image.size
        upside_down = np.frombuffer(image.pixels, np.uint8).reshape(height, width, 4)
        self._video.show(np.asarray(cv2.cvtColor(upside_down[::-1], cv2.COLOR_RGBA2BGR), np.uint8), at_s)
        self.duration_s = max(self.duration_s, at_s)

    def extend_until(self, at_s: float) -> None:
        """Extend the video's last image until then."""
        if self._video is not None:
            self._video.extend_until(at_s)
        self.duration_s = max(self.duration_s, at_s)

    def check_room(self) -> None:
        """Raise HandvizError if the disk is nearly full or the folder is gone, which the encoder does not report."""
        try:
            free_bytes = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise not_writable(self.folder / LINES, error) from error
        if free_bytes < self._reserve_bytes:
            message = f"The disk is nearly full: keep {self._reserve_bytes / 1e6:.0f} MB free for {self.folder}."
            raise HandvizError(message, ErrorCode.DISK_FULL)

    def close(self) -> None:
        """Finish and close every file; those that fail stay readable as they are."""
        try:
            if self._video is not None:
                self._video.close()
                self._finish_video(self._video.path)
        finally:
            for file in (self._lines, self._table, self._vertices):
                file.close()
            if self.folder.is_dir():
                self._write_about()

    def _finish_video(self, path: Path) -> None:
        """Rewrite the video with its index in front, so that players know its length and jump in it."""
        if path.suffix != Path(VIDEO).suffix:
            return
        from handviz.io.recording.mp4 import make_seekable

        try:
            if path.stat().st_size > MAX_COPIED_BYTES:
                raise HandvizError("the file is too large to copy on closing", ErrorCode.TOO_LARGE)
            if shutil.disk_usage(self.folder).free < path.stat().st_size + self._reserve_bytes:
                raise HandvizError("there is no free space for a copy", ErrorCode.DISK_FULL)
            make_seekable(path)
        except (HandvizError, OSError) as error:
            logger.warning("the video %s remains in fragments: %s", path.name, error)

    def _add_vertices(self, hand: HandMesh) -> int | None:
        """Append the hand; returns its row in ``vertices.f32``, None if its vertex count is not the first hand's."""
        std_mm = np.full(len(hand.vertices_m), np.nan) if hand.vertex_std_mm is None else hand.vertex_std_mm
        rows = np.column_stack([hand.vertices_m, std_mm]).astype("<f4")
        if self._vertex_count == 0:
            self._vertex_count, self._hand_model = len(rows), hand.hand_model
            self._write_about()
        if len(rows) != self._vertex_count:
            return None
        row = self._vertices.size_bytes // (self._vertex_count * VERTEX_FLOATS * 4)
        self._vertices.append(rows.tobytes())
        return row

    def _write_about(self) -> None:
        about = {
            "handviz_recording": FORMAT,
            "handviz": __version__,
            "started": self._started,
            "duration_s": round(self.duration_s, 3),
            "vertices_per_hand": self._vertex_count,
            "hand_model": self._hand_model,
            "networks": [asdict(file) for file in self._networks],
            "video_rate_hz": self._video.rate_hz if self._video is not None else 0,
            **self.counts.as_json(),
        }
        write_files({self.folder / ABOUT: (json.dumps(about, indent=1) + "\n").encode("utf-8")})
