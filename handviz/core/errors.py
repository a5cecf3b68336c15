"""The one error type whose text is meant for the person in front of the screen, and the kinds of fault it names."""

import errno
from enum import StrEnum


class ErrorCode(StrEnum):
    """What kind of fault it is: for programs and tests, which must not depend on the words of a message."""

    UNSPECIFIED = "unspecified"
    """not said yet"""

    # Files and folders.
    FILE_MISSING = "file_missing"
    """a file or folder is not there"""
    FILE_UNREADABLE = "file_unreadable"
    """it is there, or may be, and the system does not let it be read"""
    FILE_DAMAGED = "file_damaged"
    """its content is cut off, altered, or not of the kind that belongs there"""
    UNSAFE_FILE = "unsafe_file"
    """it asks to run code, or for more than a file of its kind needs; nothing of it was run"""
    CHECKSUM = "checksum"
    """its content does not match the fingerprint that it carries"""
    UNSUPPORTED_FORMAT = "unsupported_format"
    """a format that is not read, or not written"""
    VERSION_MISMATCH = "version_mismatch"
    """it is of another version of handviz"""
    FILES_DISAGREE = "files_disagree"
    """files that are whole one by one do not belong together"""
    TOO_LARGE = "too_large"
    """more than is read, written or held in memory"""
    NOT_WRITABLE = "not_writable"
    """a file or folder cannot be written or made"""
    DISK_FULL = "disk_full"
    """no room, or nearly none"""
    FOLDER_TAKEN = "folder_taken"
    """the folder holds something else already"""

    # What was asked for.
    BAD_VALUE = "bad_value"
    """a number or text is not one, or lies outside of what is allowed"""
    UNKNOWN_NAME = "unknown_name"
    """none of the names that there are"""
    OPTION_CONFLICT = "option_conflict"
    """options that exclude or need each other"""
    CANCELLED = "cancelled"
    """the user ended it"""
    PACKAGE_MISSING = "package_missing"
    """a Python package is not installed"""

    # What there is to work on.
    EMPTY_INPUT = "empty_input"
    """nothing in it that can be used"""
    NO_HANDS = "no_hands"
    """too few hands in it, or none"""
    WRONG_SHAPE = "wrong_shape"
    """an array has another shape or type than it must have"""
    NOT_FINITE = "not_finite"
    """numbers that are infinite, or none"""

    # Networks and hand models.
    MODEL_MISSING = "model_missing"
    """a network, the detector or a hand model is not there"""
    MODEL_DAMAGED = "model_damaged"
    """it does not load, does not run, or contradicts itself"""
    MODEL_FOREIGN = "model_foreign"
    """a sound file, whose inputs, outputs or weights are not those of a network of handviz"""
    MODEL_MISMATCH = "model_mismatch"
    """made for another hand model, or another kind of network than the one asked for"""
    OUTPUT_DIFFERS = "output_differs"
    """a network answers otherwise in ONNX Runtime than in PyTorch"""
    NOT_PROVIDED = "not_provided"
    """this network or this hand lacks what was asked for: attention, a texture"""
    NO_RESULT = "no_result"
    """a part of what was asked for was not computed; the message says why"""

    # Devices.
    CAMERA_MISSING = "camera_missing"
    """no camera of that number"""
    CAMERA_BUSY = "camera_busy"
    """a camera that does not open"""
    CAMERA_LOST = "camera_lost"
    """a camera that gave images and stopped"""
    NO_OPENGL = "no_opengl"
    """no OpenGL 3.3 to draw with"""
    NO_CONNECTION = "no_connection"
    """no way to that address"""

    # Calibration of a camera by a checkerboard.
    TOO_FEW_VIEWS = "too_few_views"
    """fewer views of the board than are needed"""
    VIEWS_TOO_ALIKE = "views_too_alike"
    """views that leave the camera open"""
    VIEWS_DISAGREE = "views_disagree"
    """views that no camera explains"""


class HandvizError(Exception):
    """Something from outside is not usable; the message says what, and what to do about it, the code which kind."""

    def __init__(self, message: str, code: ErrorCode = ErrorCode.UNSPECIFIED) -> None:
        super().__init__(message)
        self.code = code


def write_error_code(error: OSError) -> ErrorCode:
    """Return the code for what kept a file from being written."""
    return ErrorCode.DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else ErrorCode.NOT_WRITABLE
