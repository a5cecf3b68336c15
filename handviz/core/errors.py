"""The error type whose message is shown to the user, and its codes."""

import errno
from enum import StrEnum


class ErrorCode(StrEnum):
    """The kind of error, for programs and tests, which must not depend on the wording of a message."""

    # Files and folders.
    FILE_MISSING = "file_missing"
    """a file or folder does not exist"""
    FILE_UNREADABLE = "file_unreadable"
    """the system does not allow reading it"""
    FILE_DAMAGED = "file_damaged"
    """its content is truncated, altered or of another kind"""
    UNSAFE_FILE = "unsafe_file"
    """it asks to run code, or for more than a file of its kind needs; nothing was run"""
    CHECKSUM = "checksum"
    """its content does not match its fingerprint"""
    UNSUPPORTED_FORMAT = "unsupported_format"
    """a format that cannot be read or written"""
    VERSION_MISMATCH = "version_mismatch"
    """written by another version of handviz"""
    FILES_DISAGREE = "files_disagree"
    """files that do not belong together"""
    TOO_LARGE = "too_large"
    """larger than the limit, or than memory"""
    NOT_WRITABLE = "not_writable"
    """a file or folder cannot be written or created"""
    DISK_FULL = "disk_full"
    """the disk is full, or nearly"""
    FOLDER_TAKEN = "folder_taken"
    """the folder already contains something else"""

    # Requests.
    BAD_VALUE = "bad_value"
    """a value cannot be parsed, or is out of range"""
    UNKNOWN_NAME = "unknown_name"
    """a name that does not exist"""
    OPTION_CONFLICT = "option_conflict"
    """options that exclude or need each other"""
    CANCELLED = "cancelled"
    """cancelled by the user"""
    PACKAGE_MISSING = "package_missing"
    """a Python package is not installed"""

    # Input data.
    EMPTY_INPUT = "empty_input"
    """it contains nothing usable"""
    NO_HANDS = "no_hands"
    """it contains no hands, or too few"""
    WRONG_SHAPE = "wrong_shape"
    """an array has the wrong shape or type"""
    NOT_FINITE = "not_finite"
    """values that are infinite or NaN"""

    # Networks and hand models.
    MODEL_MISSING = "model_missing"
    """a network, the detector or a hand model does not exist"""
    MODEL_DAMAGED = "model_damaged"
    """it does not load, does not run, or is inconsistent"""
    MODEL_FOREIGN = "model_foreign"
    """an intact file whose inputs, outputs or weights are not those of a handviz network"""
    MODEL_MISMATCH = "model_mismatch"
    """made for another hand model, or of another kind than requested"""
    OUTPUT_DIFFERS = "output_differs"
    """a network gives other results in ONNX Runtime than in PyTorch"""
    NOT_PROVIDED = "not_provided"
    """this network or hand lacks what was requested, such as attention or a texture"""
    NO_RESULT = "no_result"
    """part of the request was not computed"""

    # Devices.
    CAMERA_MISSING = "camera_missing"
    """no camera has that number"""
    CAMERA_BUSY = "camera_busy"
    """a camera does not open"""
    CAMERA_LOST = "camera_lost"
    """a camera stopped delivering images"""
    NO_OPENGL = "no_opengl"
    """OpenGL 3.3 is not available"""
    NO_DISPLAY = "no_display"
    """there is no screen to show a window on"""
    NO_CUDA = "no_cuda"
    """CUDA was requested and cannot be used"""
    NO_CONNECTION = "no_connection"
    """that address cannot be reached"""

    # Camera calibration by a checkerboard.
    TOO_FEW_VIEWS = "too_few_views"
    """fewer views of the board than needed"""
    VIEWS_TOO_ALIKE = "views_too_alike"
    """views that do not determine the camera"""
    VIEWS_DISAGREE = "views_disagree"
    """views that no camera fits"""


MAX_MESSAGE, MESSAGE_END = 1200, 300
"""Characters of a message, and of its end, which holds the remedy, where it is shortened."""


def shortened(message: str) -> str:
    """Return a message without most of the damaged content that some repeat."""
    if len(message) <= MAX_MESSAGE:
        return message
    return f"{message[: MAX_MESSAGE - MESSAGE_END]} [...] {message[-MESSAGE_END:]}"


class HandvizError(Exception):
    """An error outside of the program's control: the message names cause and remedy, the code its kind."""

    def __init__(self, message: str, code: ErrorCode) -> None:
        super().__init__(shortened(message))
        self.code = code

    def __reduce__(self) -> tuple[type["HandvizError"], tuple[str, ErrorCode]]:
        """Pickle both, for errors that cross processes."""
        return type(self), (str(self), self.code)


def write_error_code(error: OSError) -> ErrorCode:
    """Return the code of an error while writing a file."""
    return ErrorCode.DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else ErrorCode.NOT_WRITABLE
