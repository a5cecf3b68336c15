"""Reading the arrays of a scientific pickle without running any of it.

A pickle is a program that names callables and calls them. Here the names that may occur in a MANO file or an annotation
of HO-3D or RHD become inert records of the call, any other name is refused, and arrays are made from checked bytes
afterwards.
"""

import io
import math
import pickle
import pickletools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError

MAX_FILE_BYTES = 64 * 2**20
MAX_OPCODES = 200_000
"""MANO's files need some thousands: their numbers lie in a few long byte strings."""
MAX_NODES = 10_000_000
"""Of a value, written out: a tuple that contains itself doubled 60 times would take for ever to hash or print."""
MAX_DIMENSIONS, MAX_LENGTH = 32, 2**40
NUMBER_CODE = re.compile(r"[<>|=]?([biuf][1248])")
ARRAY_NAMES = {"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"}
BUFFER_NAMES = {"numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"}
OBJECT_NAMES = {"copy_reg._reconstructor", "copyreg._reconstructor"}
SPARSE_NAME = re.compile(r"scipy\.sparse\._?(csc|csr|coo)\.\1_(matrix|array)")
CHUMPY_NAME = re.compile(r"chumpy(\.\w+)+")
OTHER_NAMES = {"numpy.ndarray", "numpy.dtype", "_codecs.encode"}
OTHER_NAMES |= {f"{module}.{name}" for module in ("__builtin__", "builtins") for name in ("object", "set")}
OTHER_NAMES |= {"numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"}
REFUSED_OPCODES = {"EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "NEXT_BUFFER", "READONLY_BUFFER"}
MEMO_OPCODES = {"PUT", "BINPUT", "LONG_BINPUT"}
BROKEN_PICKLE = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class PickleLimits:
    """How much a pickle may hold before it is refused unread; the defaults are those of one hand's file."""

    file_bytes: int = MAX_FILE_BYTES
    opcodes: int = MAX_OPCODES
    nodes: int = MAX_NODES


ONE_HAND = PickleLimits()


class Record:
    """A callable that the pickle names, its arguments, and the state for its result."""

    kind: ClassVar[str] = ""

    def __new__(cls, *arguments: Any) -> "Record":
        record = super().__new__(cls)
        record.arguments = arguments
        record.state = None
        return record

    arguments: tuple[Any, ...]
    state: Any

    def __setstate__(self, state: Any) -> None:
        self.state = state

    @property
    def name(self) -> str:
        """The named class or function; for objects of protocols 0 and 1 their class."""
        if self.kind in OBJECT_NAMES:
            return str(self.arguments[0].kind)
        return self.kind


class _InertUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, source: str) -> None:
        super().__init__(file, encoding="latin1")
        self._source = source
        self._records: dict[str, type[Record]] = {}

    def find_class(self, module: str, name: str) -> type[Record]:
        """Return a record class of this load alone, so that a pickle cannot change later loads."""
        full = f"{module}.{name}"
        plain = full in ARRAY_NAMES | BUFFER_NAMES | OBJECT_NAMES | OTHER_NAMES
        if not (plain or SPARSE_NAME.fullmatch(full) or CHUMPY_NAME.fullmatch(full)):
            raise HandvizError(
                f"{self._source} asks for {full}, which a file of numbers does not need; it was not run",
                ErrorCode.UNSAFE_FILE,
            )
        if full not in self._records:
            self._records[full] = type("Record", (Record,), {"kind": full})
        return self._records[full]


def load_records(path: Path, limits: PickleLimits = ONE_HAND) -> dict[Any, Any]:
    """Load the pickled dictionary with objects as ``Record``; HandvizError names anything unexpected."""
    try:
        with path.open("rb") as file:
            content = file.read(limits.file_bytes + 1)
        if len(content) > limits.file_bytes:
            raise HandvizError(f"{path} is larger than {limits.file_bytes} bytes and is not read", ErrorCode.TOO_LARGE)
        _check_opcodes(content, str(path), limits)
        loaded = _InertUnpickler(io.BytesIO(content), str(path)).load()
    except OSError as error:
        raise HandvizError(f"{path} cannot be read: {error}", ErrorCode.FILE_UNREADABLE) from error
    except BROKEN_PICKLE as error:
        raise HandvizError(f"{path} is damaged or is not a pickle: {error}", ErrorCode.FILE_DAMAGED) from error
    if not isinstance(loaded, dict):
        raise HandvizError(f"{path} contains a {type(loaded).__name__}, expected a dictionary", ErrorCode.FILE_DAMAGED)
    return loaded


def _check_opcodes(content: bytes, source: str, limits: PickleLimits) -> None:
    """Refuse opcodes that could allocate without limit (lengths, memo indices) or reach outside the file."""
    sizes = _Sizes()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if opcode.name in REFUSED_OPCODES:
            raise HandvizError(
                f"{source} uses the pickle opcode {opcode.name}, which a file of numbers does not need",
                ErrorCode.UNSAFE_FILE,
            )
        # Indices count up by one per value that is kept; the table grows to the largest one.
        if opcode.name in MEMO_OPCODES and not 0 <= int(argument or 0) <= count:
            raise HandvizError(f"{source} is damaged: its memo index is too large", ErrorCode.FILE_DAMAGED)
        if count >= limits.opcodes or sizes.after(opcode, argument) > limits.nodes:
            raise HandvizError(
                f"{source} is built of more parts than a file of numbers needs; it was not read", ErrorCode.UNSAFE_FILE
            )


class _Sizes:
    """Sizes, in nodes, of the values that a pickle builds, followed opcode by opcode without building any."""

    def __init__(self) -> None:
        self._stack: list[int | None] = []
        self._memo: dict[int, int] = {}

    def after(self, opcode: pickletools.OpcodeInfo, argument: Any) -> int:
        """Follow one opcode; return the size of the value on top, 0 if there is none."""
        if "GET" in opcode.name:
            self._stack.append(self._memo.get(int(argument), 1))
        elif opcode.name in MEMO_OPCODES or opcode.name == "MEMOIZE":
            self._memo[len(self._memo) if argument is None else int(argument)] = self._top()
        elif opcode.name == "DUP":
            self._stack.append(self._top())
        else:
            self._apply(opcode)
        return self._top()

    def _apply(self, opcode: pickletools.OpcodeInfo) -> None:
        """Replace the values that the opcode takes by one of their joint size, as often as it pushes."""
        taken = 1
        for kind in reversed(opcode.stack_before):
            if kind is pickletools.stackslice:
                continue
            if kind is pickletools.markobject:
                while self._stack and (value := self._stack.pop()) is not None:
                    taken += value
            elif self._stack:
                taken += self._stack.pop() or 0
        for kind in opcode.stack_after:
            self._stack.append(None if kind is pickletools.markobject else taken)

    def _top(self) -> int:
        return (self._stack[-1] or 0) if self._stack else 0


def array_from(value: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the array of this shape from a loaded value: numpy, scipy.sparse (made dense) or chumpy.

    Raises ValueError stating what it is instead.
    """
    try:
        sparse = SPARSE_NAME.fullmatch(value.name) if isinstance(value, Record) else None
        array = _dense(value.state, sparse.group(1), shape) if sparse else _array(value)
    except (LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"its contents do not fit together: {error!r}") from error
    if array.shape != shape:
        raise ValueError(f"it has shape {array.shape}, expected {shape}")
    return array


def _array(value: Any) -> NDArray[Any]:
    if not isinstance(value, Record):
        raise ValueError(f"it is a {type(value).__name__}, expected an array")
    if value.name in ARRAY_NAMES:
        shape, dtype, fortran, data = value.state[-4:]
        return _from_bytes(data, dtype, shape, "F" if fortran else "C")
    if value.name in BUFFER_NAMES:
        data, dtype, shape, order = value.arguments
        return _from_bytes(data, dtype, shape, order)
    if value.name == "chumpy.ch.Ch":
        return _array(value.state["x"])
    if value.name == "chumpy.reordering.Select":
        picked = _array(value.state["a"]).ravel()[_array(value.state["idxs"]).ravel()]
        return picked.reshape(_checked_shape(value.state.get("preferred_shape", picked.shape)))
    raise ValueError(f"it is a {value.name}, which cannot be read as an array")


def _checked_shape(stored: Any) -> tuple[int, ...]:
    """Return a shape that can be computed with and printed; ValueError, without its content, if it is none."""
    is_shape = isinstance(stored, tuple) and len(stored) <= MAX_DIMENSIONS
    if not is_shape or not all(type(length) is int and 0 <= length <= MAX_LENGTH for length in stored):
        raise ValueError("its shape is not a short tuple of whole numbers")
    return tuple(stored)


def _from_bytes(data: Any, dtype: Any, stored: Any, order: Any) -> NDArray[Any]:
    """Make an array of numbers after checking type and count of bytes."""
    shape = _checked_shape(stored)
    number = NUMBER_CODE.fullmatch(dtype.arguments[0]) if dtype.name == "numpy.dtype" else None
    if number is None:
        raise ValueError("its elements are not plain numbers")
    byte_order = dtype.state[1] if dtype.state else "="
    element = np.dtype(byte_order + number.group(1))
    if isinstance(data, Record) and data.name == "_codecs.encode":
        data = data.arguments[0]
    content = data.encode("latin1") if isinstance(data, str) else bytes(data)
    if math.prod(shape) * element.itemsize != len(content):
        raise ValueError(f"its {len(content)} bytes do not make up the shape {shape}")
    return np.frombuffer(content, element).reshape(shape, order=order)


def _dense(state: dict[str, Any], layout: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Make a sparse matrix dense; indices are checked by numpy, not by compiled sparse code."""
    stored = _checked_shape(state.get("_shape", state.get("shape")))
    if stored != shape:
        raise ValueError(f"it has shape {stored}, expected {shape}")
    values = _array(state["data"])
    if layout == "coo":
        indices = (_array(state["row"]), _array(state["col"])) if "row" in state else _coordinates(state)
    else:
        counts = np.diff(_array(state["indptr"]))
        major = np.repeat(np.arange(len(counts)), counts)
        minor = _array(state["indices"])
        indices = (minor, major) if layout == "csc" else (major, minor)
    if any(index.shape != values.shape or (index.size and index.min() < 0) for index in indices):
        raise ValueError("its indices do not match its values")
    dense = np.zeros(shape)
    np.add.at(dense, indices, values)
    return dense


def _coordinates(state: dict[str, Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return rows and columns as newer scipy stores them."""
    row, column = state["coords"]
    return _array(row), _array(column)
