"""Stores the results of inspections: one SQLite file per folder, network and camera.

Every image is a transaction of its own, so a killed program loses at most the image in progress.
"""

import contextlib
import hashlib
import json
import logging
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handviz import __version__
from handviz.core.camera_files import camera_model_text, hand_size_text
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.json_files import json_parser
from handviz.core.records import KEYPOINT_COUNT, FloatArray, Handedness
from handviz.inspection.columns import HandRow, ImageRow, InspectionRequest, inspections_folder
from handviz.models.registry import model_spec

FORMAT = 3
MAX_STORED = 20
"""Stored inspections; a new one removes the one that was used longest ago."""
SUFFIX = ".sqlite"
DATABASE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""Of a damaged file SQLite's own message may quote bytes that are no text."""
LOCK_TIMEOUT_S = 10.0
TABLES = """
CREATE TABLE IF NOT EXISTS pictures(
    file BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, width INTEGER, height INTEGER, hands TEXT, keypoints BLOB,
    left_out INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records(file BLOB PRIMARY KEY, packed BLOB);
CREATE TABLE IF NOT EXISTS notes(name TEXT PRIMARY KEY, text TEXT);
"""
StoredValues = tuple[int, Handedness, float, float | None, float | None, float]
"""Of a ``HandRow``: number, handedness, score, mean and largest standard deviation (None: the model predicts
none), visible fraction"""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Signature:
    """Size and time of change, by which an image is recognised as unchanged."""

    size: int
    mtime_ns: int


@dataclass(frozen=True, eq=False)
class StoredImage:
    """The stored results of one image."""

    signature: Signature
    row: ImageRow
    keypoints_m: FloatArray
    """(hands, 21, 3), wrist at the origin."""


def signature_of(path: Path) -> Signature:
    """Return the file's signature; OSError if the file is gone."""
    state = path.stat()
    return Signature(state.st_size, state.st_mtime_ns)


def store_path(request: InspectionRequest, results_folder: Path | None = None) -> Path:
    """Return the path of a request's results, in the user's cache folder unless another is given.

    It depends on the network's file and the program's version, so that new weights start again.
    """
    network = model_spec(request.model).file_in(request.model_dir)
    try:
        weights = signature_of(network)
    except OSError:
        weights = Signature(0, 0)
    folder, version = os.fsencode(request.folder).hex(), (FORMAT, __version__)
    metres = camera_model_text(request.camera_model), hand_size_text(request.hand_size)
    parts = (version, folder, request.model, metres, request.side, str(network), weights, request.detector)
    return (results_folder or inspections_folder()) / (
        hashlib.sha256(repr(parts).encode("utf-8")).hexdigest()[:24] + SUFFIX
    )


class InspectionStore:
    """An open file of results; it belongs to the thread that opened it."""

    def __init__(self, path: Path) -> None:
        """Open or create the file; a damaged one is renamed. HandvizError if that fails."""
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._opened()
        except DATABASE_ERRORS as error:
            if isinstance(error, sqlite3.OperationalError):
                raise self._not_writable(error) from error
            logger.warning("%s is damaged (%s): it is renamed, and images are inspected again", path, error)
            self._put_aside()
        except OSError as error:
            raise self._not_writable(error) from error

    def known(self) -> list[StoredImage]:
        """Return all stored results, without vertices; none if the file turns out to be damaged."""
        try:
            return list(self._stored())
        except (sqlite3.DatabaseError, ValueError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, sqlite3.OperationalError):
                raise self._not_writable(error) from error
            logger.warning("%s is damaged (%s): it is renamed, and images are inspected again", self._path, error)
            # Windows does not replace an open file.
            self._file.close()
            self._put_aside()
            return []

    def _stored(self) -> Iterator[StoredImage]:
        parse = json_parser(list[StoredValues])
        for values in self._file.execute("SELECT * FROM pictures"):
            file, size, mtime_ns, width, height, hands, keypoints, left_out = values
            rows = tuple(HandRow(*hand) for hand in parse(hands))
            row = ImageRow(os.fsdecode(file), "done", rows, "", width, height, int(left_out))
            points = np.frombuffer(keypoints, np.float32).reshape(-1, KEYPOINT_COUNT, 3)
            yield StoredImage(Signature(size, mtime_ns), row, points)

    def put(self, image: StoredImage, packed: bytes) -> None:
        """Store an image's results in one transaction."""
        row, signature = image.row, image.signature
        hands = json.dumps([list(_stored_values(hand)) for hand in row.hands])
        key = os.fsencode(row.file)
        keypoints = np.asarray(image.keypoints_m, np.float32).tobytes()
        values = (key, signature.size, signature.mtime_ns, row.width, row.height, hands, keypoints, row.left_out)
        try:
            with self._file:
                self._file.execute("INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
                self._file.execute("INSERT OR REPLACE INTO records VALUES (?, ?)", (key, packed))
        except DATABASE_ERRORS as error:
            raise self._not_writable(error) from error

    def packed(self, file: str) -> bytes | None:
        """Return the ``packed`` bytes of an image; None if there are none."""
        for (packed,) in self._query("SELECT packed FROM records WHERE file = ?", os.fsencode(file)):
            # A damaged file may have a number there, of which bytes() would make as many zeros.
            return packed if isinstance(packed, bytes) else b""
        return None

    def forget(self, file: str) -> None:
        """Delete an image's results."""
        try:
            with self._file:
                for table in ("pictures", "records"):
                    self._file.execute(f"DELETE FROM {table} WHERE file = ?", (os.fsencode(file),))
        except DATABASE_ERRORS as error:
            raise self._not_writable(error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "InspectionStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self) -> sqlite3.Connection:
        file = sqlite3.connect(self._path, timeout=LOCK_TIMEOUT_S)
        try:
            # The image loader reads while the inspection writes.
            file.execute("PRAGMA journal_mode=WAL")
            # Also after a power failure: a few milliseconds for the disk are little beside an image's time.
            file.execute("PRAGMA synchronous=FULL")
            file.executescript(TABLES)
        except DATABASE_ERRORS:
            file.close()
            raise
        return file

    def _put_aside(self) -> None:
        try:
            os.replace(self._path, self._path.with_suffix(".damaged"))
            for ending in ("-wal", "-shm"):
                self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
            self._file = self._opened()
        except (OSError, *DATABASE_ERRORS) as error:
            raise self._not_writable(error) from error

    def _query(self, sql: str, *values: object) -> Iterator[tuple]:
        try:
            yield from self._file.execute(sql, values)
        except DATABASE_ERRORS as error:
            raise self._not_writable(error) from error

    def _not_writable(self, error: Exception) -> HandvizError:
        return HandvizError(
            f"Results cannot be saved in {self._path.parent} ({error}): free disk space or make it writable, "
            "or set another folder in HANDVIZ_CONFIG_DIR.",
            ErrorCode.NOT_WRITABLE,
        )


def delete_old_inspections(keep: Path, most: int = MAX_STORED) -> None:
    """Delete the inspections that were used longest ago until ``most`` are left, ``keep`` among them."""
    with contextlib.suppress(OSError):
        files = sorted(keep.parent.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in [path for path in files if path != keep][max(most - 1, 0) :]:
            for ending in ("", "-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)


def _stored_values(hand: HandRow) -> StoredValues:
    """Return the row's stored values: not the errors, since the ground truth may change."""
    return (
        hand.number,
        hand.handedness,
        hand.score,
        hand.mean_std_mm,
        hand.max_std_mm,
        hand.visible_fraction,
    )
