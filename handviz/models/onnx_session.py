"""ONNX files become sessions: on which hardware, with how many threads."""

import ctypes
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_state

from handviz.core.errors import HandvizError

CUDA_PROVIDER, CPU_PROVIDER = "CUDAExecutionProvider", "CPUExecutionProvider"
MOST_THREADS = 4
_thread_limit: int | None = None
logger = logging.getLogger(__name__)
ONNX_ERRORS = tuple(
    item for item in vars(onnx_state).values() if isinstance(item, type) and issubclass(item, Exception)
)


def limit_threads(count: int) -> None:
    """Give every session that this process opens from now on so many threads: where processes share the cores."""
    global _thread_limit
    _thread_limit = count


def open_session(
    path: Path, how_to_get: str, *, may_use_card: bool = True, content: bytes | None = None
) -> onnxruntime.InferenceSession:
    """A session on the graphics card where one serves, else on the processor; HandvizError if there is no such file.

    ``content``: a network made from that file, to run instead of it.
    """
    if content is None and not path.is_file():
        raise HandvizError(f"the network {path} is missing; {how_to_get}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _thread_limit or min(MOST_THREADS, _usable_cores())
    # Spinning between a network's layers saves a fifth of its time; between runs detector and drawing need the cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 4
    try:
        if may_use_card and _cuda_driver():
            onnxruntime.preload_dlls()
            return onnxruntime.InferenceSession(content or path, options, providers=[CUDA_PROVIDER, CPU_PROVIDER])
        return onnxruntime.InferenceSession(content or path, options, providers=[CPU_PROVIDER])
    except ONNX_ERRORS as error:
        raise HandvizError(f"{path} is truncated or not an ONNX file ({error}); {how_to_get}") from error


def warm_up(
    path: Path,
    how_to_get: str,
    session: onnxruntime.InferenceSession,
    run: Callable[[onnxruntime.InferenceSession], None],
) -> None:
    """``run`` the session once; with another one, of the processor, where the graphics card turns out not to run it."""
    try:
        run(session)
    except ONNX_ERRORS as error:
        if session.get_providers()[0] == CPU_PROVIDER:
            raise HandvizError(f"{path} does not run ({error}); {how_to_get}") from error
        logger.warning("the graphics card does not run %s (%s): the processor does", path.name, error)
        warm_up(path, how_to_get, open_session(path, how_to_get, may_use_card=False), run)


def _usable_cores() -> int:
    if sys.platform.startswith("linux"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cuda_driver() -> bool:
    """Whether CUDA is worth trying: this ONNX Runtime has it and the machine has NVIDIA's driver."""
    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        return False
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
