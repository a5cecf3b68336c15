"""Whether a network's file is the one that handviz ships: checksums against ``models/SHA256SUMS``."""

import hashlib
import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import read_limited
from handviz.core.paths import CHECKSUM_FILE, RESTORE
from handviz.core.records import NetworkFile, NetworkState

MAX_LIST_BYTES = 2**20
SHOWN_DIGITS = 12
logger = logging.getLogger(__name__)


def loaded_file(path: Path) -> NetworkFile:
    """Return what ``network_file`` does, and log a warning if the file is changed: for those that load it."""
    file = network_file(path)
    if file.state == "changed":
        wanted = shipped_checksums()[file.file]
        logger.warning(
            "%s is changed: its sha256 begins with %s, that of the file that handviz ships with %s",
            path,
            file.sha256[:SHOWN_DIGITS],
            wanted[:SHOWN_DIGITS],
        )
    return file


def network_file(path: Path) -> NetworkFile:
    """Return the name and checksum of a file, and whether it is shipped; HandvizError if it is not readable."""
    found, wanted = sha256_of(path), shipped_checksums().get(path.name)
    state: NetworkState = "own" if wanted is None else "shipped" if found == wanted else "changed"
    return NetworkFile(path.name, found, state)


def sha256_of(path: Path) -> str:
    """Return the checksum of a file as hexadecimal digits; HandvizError if it is not readable."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise HandvizError(
            f"{path} cannot be read ({error.strerror}): check the path and its permissions", ErrorCode.FILE_UNREADABLE
        ) from error


@cache
def shipped_checksums() -> Mapping[str, str]:
    """Return the checksums of the shipped files by name; none if their list is missing, which ``doctor`` reports."""
    try:
        return dict(listed_checksums(CHECKSUM_FILE))
    except HandvizError:
        return {}


def listed_checksums(path: Path) -> list[tuple[str, str]]:
    """Return (name, checksum) of every line of a file of ``sha256sum``; HandvizError if it is not readable."""
    lines = read_limited(path, MAX_LIST_BYTES, RESTORE).decode("utf-8", "replace").splitlines()
    parts = [line.partition(" ") for line in lines]
    return [(name.strip().lstrip("*"), digest.lower()) for digest, _, name in parts if name]
