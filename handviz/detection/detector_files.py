"""Checks of the detector's files: which file is wrong, what was expected, and how to get it.

MediaPipe's task file has the weights of both networks; the ONNX files beside it have their graphs, which read the
weights from it. So a graph belongs to one task file, whose checksum its metadata name.
"""

import errno
import re
import stat
import zipfile
from pathlib import Path

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import UNREADABLE, read_limited
from handviz.core.network_files import SHOWN_DIGITS, sha256_of
from handviz.core.paths import restore_or_build

TASK_MEMBERS = ("hand_detector.tflite", "hand_landmarks_detector.tflite")
"""Palm detector and landmark network."""
WEIGHTS_KEY = "handviz.weights_sha256"
"""In their metadata: sha256 of the task file that their weights are read from."""
WEIGHTS_ENTRY = re.compile(re.escape(WEIGHTS_KEY.encode("ascii")) + rb"\x12@([0-9a-f]{64})")
"""That entry in the file's bytes: a protobuf string of 64 digits (tag 0x12, length 64) follows its name."""
MAX_GRAPH_BYTES = 16 * 2**20
GET_TASK_FILE = restore_or_build("build landmarker")
GET_GRAPHS = restore_or_build("build detector")


def check_task_file(path: Path) -> None:
    """Raise HandvizError unless ``path`` is an intact zip with MediaPipe's two hand networks, not compressed."""
    check_is_file(path, GET_TASK_FILE)
    try:
        with zipfile.ZipFile(path) as archive:
            members, damaged = {item.filename: item for item in archive.infolist()}, archive.testzip()
    except UNREADABLE as error:
        raise _wrong(path, f"is truncated or not a task file ({error})", GET_TASK_FILE) from error
    if damaged is not None:
        raise _wrong(path, f"is damaged in {damaged}", GET_TASK_FILE)
    missing = [name for name in TASK_MEMBERS if name not in members]
    packed = [name for name in TASK_MEMBERS if name in members and members[name].compress_type != zipfile.ZIP_STORED]
    if missing or packed:
        found = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(packed)} compressed"
        text = f"{found}; expected {', '.join(TASK_MEMBERS)}, stored as they are"
        raise _wrong(path, text, GET_TASK_FILE, ErrorCode.MODEL_FOREIGN)


def check_graph(path: Path, task_file: Path) -> None:
    """Raise HandvizError unless ``path`` is a graph made for the weights in ``task_file``.

    The file's bytes are searched, because ONNX Runtime reads metadata only after the weights, and of weights that do
    not fit it says nothing that helps.
    """
    check_is_file(path, GET_GRAPHS)
    entry = WEIGHTS_ENTRY.search(read_limited(path, MAX_GRAPH_BYTES, GET_GRAPHS))
    if entry is None:
        text = f"is truncated or another file: expected an ONNX file whose metadata have {WEIGHTS_KEY}"
        raise _wrong(path, text, GET_GRAPHS, ErrorCode.MODEL_FOREIGN)
    check_is_file(task_file, GET_TASK_FILE)
    wanted, found = entry[1].decode("ascii"), sha256_of(task_file)
    if found != wanted:
        check_task_file(task_file)  # names what is wrong with a damaged one
        raise HandvizError(
            f"{path} and {task_file} do not belong together: expected weights whose sha256 begins with "
            f"{wanted[:SHOWN_DIGITS]}, not with {found[:SHOWN_DIGITS]}; {GET_GRAPHS}, or {GET_TASK_FILE}",
            ErrorCode.FILES_DISAGREE,
        )


def check_is_file(path: Path, how_to_get: str) -> None:
    """Raise HandvizError unless ``path`` is a file of the detector that may be read and is not empty."""
    try:
        # Opened, because permissions of its folders count too; a pipe would wait for its writer, so that comes first.
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise _wrong(path, "is a folder" if stat.S_ISDIR(state.st_mode) else "is no file", how_to_get)
        path.open("rb").close()
    except FileNotFoundError as error:
        text = "is a link to a file that is missing" if path.is_symlink() else "is missing"
        raise _wrong(path, text, how_to_get, ErrorCode.MODEL_MISSING) from error
    except OSError as error:
        is_circle = error.errno == errno.ELOOP
        text = "is a link that leads back to itself" if is_circle else f"cannot be read ({error.strerror})"
        raise _wrong(path, text, how_to_get, ErrorCode.FILE_UNREADABLE) from error
    if not state.st_size:
        raise _wrong(path, "is empty", how_to_get)


def _wrong(path: Path, text: str, how_to_get: str, code: ErrorCode = ErrorCode.MODEL_DAMAGED) -> HandvizError:
    return HandvizError(f"the hand detector {path} {text}; {how_to_get}", code)
