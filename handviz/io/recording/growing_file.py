"""A file that grows piece by piece and holds whole pieces only, whatever happens to the disk or the program."""

import errno
from pathlib import Path

from handviz.core.errors import HandvizError


class GrowingFile:
    """Append-only and unbuffered: what ``append`` has taken outlives the program."""

    def __init__(self, path: Path) -> None:
        """Raises HandvizError if the file is there already or cannot be made."""
        self.path = path
        self.size_bytes = 0
        try:
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise HandvizError(f"{path} cannot be written: {error.strerror}.") from error

    def append(self, piece: bytes) -> None:
        """Add the piece whole or not at all; raises HandvizError if the disk does not take it."""
        try:
            left = memoryview(piece)
            while left:
                left = left[self._file.write(left) or 0 :]
        except OSError as error:
            self._drop_half_a_piece()
            raise HandvizError(disk_sentence(self.path, error)) from error
        self.size_bytes += len(piece)

    def close(self) -> None:
        """Let go of the file; a disk that complains even now has all that it took."""
        try:
            self._file.close()
        except OSError:
            return

    def _drop_half_a_piece(self) -> None:
        try:
            self._file.truncate(self.size_bytes)
        except OSError:
            return  # readers pass over an unfinished end


def disk_sentence(path: Path, error: OSError) -> str:
    """What a person hears when a file stops growing."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: {path.parent} takes no more."
    return f"{path} cannot be written any more: {error.strerror}."
