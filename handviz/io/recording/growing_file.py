"""A file that grows by complete records, and the message for a disk that takes no more."""

import errno
from pathlib import Path

from handviz.core.errors import HandvizError, write_error_code


class GrowingFile:
    """Append-only unbuffered file of complete records, which survive a crash of the program."""

    def __init__(self, path: Path) -> None:
        """Create the file; raises HandvizError if it exists already or cannot be made."""
        self.path = path
        self.size_bytes = 0
        try:
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise HandvizError(f"{path} cannot be written: {error.strerror}.", write_error_code(error)) from error

    def append(self, record: bytes) -> None:
        """Append the record whole or not at all; raises HandvizError if writing fails."""
        try:
            left = memoryview(record)
            while left:
                left = left[self._file.write(left) or 0 :]
        except OSError as error:
            self._truncate_incomplete_record()
            raise HandvizError(disk_message(self.path, error), write_error_code(error)) from error
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


def disk_message(path: Path, error: OSError) -> str:
    """Return the message for an error while writing a file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: free some space for {path.parent}."
    return f"{path} cannot be written any more: {error.strerror}."
