"""Opens ONNX files as ONNX Runtime sessions: execution provider, number of threads, and messages for damaged files."""

import ctypes
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_state

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.process import usable_cores
from handviz.core.records import Device, FloatArray

CUDA_PROVIDER, CPU_PROVIDER = "CUDAExecutionProvider", "CPUExecutionProvider"
MAX_THREADS = 4
SPIN_US = "50"
_thread_limit: int | None = None
_spins = True
logger = logging.getLogger(__name__)
ONNX_ERRORS: tuple[type[Exception], ...] = tuple(
    item for item in vars(onnx_state).values() if isinstance(item, type) and issubclass(item, Exception)
)
LOADING_ERRORS: tuple[type[Exception], ...] = (*ONNX_ERRORS, MemoryError, UnicodeDecodeError)


def metadata_of(path: Path, session: onnxruntime.InferenceSession, how_to_get: str) -> Mapping[str, str]:
    """Return the texts stored in the file; HandvizError if they are damaged."""
    try:
        return dict(session.get_modelmeta().custom_metadata_map)
    except LOADING_ERRORS as error:
        raise HandvizError(
            f"{path} is damaged: its metadata are no text; {how_to_get}", ErrorCode.MODEL_DAMAGED
        ) from error


def check_finite(path: Path, outputs: Mapping[str, FloatArray], how_to_get: str) -> None:
    """Raise HandvizError if a network's outputs are not all finite."""
    for name, values in outputs.items():
        if not np.isfinite(values).all():
            raise HandvizError(f"{path.name} gave {name} that are not finite; {how_to_get}", ErrorCode.NOT_FINITE)


def limit_threads(count: int) -> None:
    """Limit the threads of every session that this process opens from now on, where processes share the cores."""
    global _thread_limit
    _thread_limit = count


def spare_cores() -> None:
    """Let the threads of every session that this process opens from now on not spin: a window draws beside them."""
    global _spins
    _spins = False


def check_device(device: str) -> None:
    """Raise HandvizError if there is no such device, or if CUDA is requested where it cannot be tried."""
    if device not in get_args(Device):
        raise HandvizError(
            f"there is no device {device!r}: choose one of {', '.join(get_args(Device))}", ErrorCode.UNKNOWN_NAME
        )
    if device == "cuda" and not _cuda_driver():
        providers = onnxruntime.get_available_providers()
        missing = "NVIDIA's driver" if CUDA_PROVIDER in providers else "an ONNX Runtime with CUDA (onnxruntime-gpu)"
        raise HandvizError(f"device 'cuda' needs {missing}: install it, or choose 'auto' or 'cpu'", ErrorCode.NO_CUDA)


def open_session(
    path: Path,
    how_to_get: str,
    *,
    device: Device = "auto",
    content: bytes | None = None,
) -> onnxruntime.InferenceSession:
    """Open a session on a device; HandvizError if the file is missing, or CUDA requested and not usable.

    ``content``: a network made from that file, to run in its place.
    """
    check_device(device)
    if content is None and not path.is_file():
        raise HandvizError(f"the network {path} is missing; {how_to_get}", ErrorCode.MODEL_MISSING)
    providers = [CPU_PROVIDER]
    if device != "cpu" and _cuda_driver():
        onnxruntime.preload_dlls()
        providers = [CUDA_PROVIDER, CPU_PROVIDER]
    try:
        session = onnxruntime.InferenceSession(content or path, session_options(), providers=providers)
    except LOADING_ERRORS as error:
        raise HandvizError(
            f"{path} is truncated or not an ONNX file ({error}); {how_to_get}", ErrorCode.MODEL_DAMAGED
        ) from error
    if device == "cuda" and session.get_providers()[0] != CUDA_PROVIDER:
        raise _cuda_error(path, "CUDA or cuDNN is missing or of another version")
    return session


def session_options() -> onnxruntime.SessionOptions:
    """Return options of a session that shares the cores with the rest of the program."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _thread_limit or min(MAX_THREADS, usable_cores())
    # Threads that spin between layers save a third of a network's time, but capture, search and drawing need the cores:
    # so they spin for no longer than the next layer takes to come, and beside a window not at all.
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(_spins)))
    options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_US)
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 4
    return options


def warm_up(
    path: Path,
    how_to_get: str,
    session: onnxruntime.InferenceSession,
    run: Callable[[onnxruntime.InferenceSession], None],
    *,
    device: Device = "auto",
) -> None:
    """Call ``run`` on the session once; on a new one of the processor if the graphics card cannot run it.

    With ``device`` "cuda" that is a HandvizError.
    """
    try:
        run(session)
    except ONNX_ERRORS as error:
        if session.get_providers()[0] == CPU_PROVIDER:
            raise HandvizError(f"{path} does not run ({error}); {how_to_get}", ErrorCode.MODEL_DAMAGED) from error
        if device == "cuda":
            raise _cuda_error(path, str(error)) from error
        logger.warning("the graphics card does not run %s (%s): the processor does", path.name, error)
        warm_up(path, how_to_get, open_session(path, how_to_get, device="cpu"), run)


def _cuda_error(path: Path, reason: str) -> HandvizError:
    return HandvizError(
        f"the graphics card does not run {path.name} ({reason}): choose device 'auto' or 'cpu'", ErrorCode.NO_CUDA
    )


def _cuda_driver() -> bool:
    """Return whether CUDA can be tried: this ONNX Runtime supports it and NVIDIA's driver is installed."""
    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        return False
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
