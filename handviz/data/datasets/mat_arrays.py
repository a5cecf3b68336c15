"""Reader of one array of numbers in a MAT file of versions 5 to 7, without running or expanding anything else of it.

The format is MathWorks' "MAT-File Format": a header of 128 bytes, then elements of a type, a size and data; from
version 7 on an element may be compressed by zlib. Only the named array is decoded. Sizes are compared with what there
is before anything is allocated, and compressed elements are unpacked up to a limit, since zlib shrinks zeros a
thousandfold. Structures, objects, cells and sparse matrices are never built.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import read_limited
from handviz.core.records import FloatArray

MAX_FILE_BYTES = 32 * 2**20
MAX_UNPACKED_BYTES = 64 * 2**20
"""Of all elements of a file together."""
MAX_NAME, MAX_DIMENSIONS = 63, 8
HEADER_BYTES = 128
VERSION_5 = 0x0100
BYTE_ORDERS = {b"IM": "<", b"MI": ">"}
INT8, INT32, UINT32, MATRIX, COMPRESSED = 1, 5, 6, 14, 15
NUMBER_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""How numbers are stored; those of an array of doubles may be small integers."""
FLOAT_CLASSES = {6, 7}
CLASS_NAMES = {1: "a cell array", 2: "a structure", 3: "an object", 4: "a text", 5: "a sparse matrix", 17: "an object"}
COMPLEX_FLAG = 0x0800


class _Element(NamedTuple):
    """One element of the format."""

    kind: int
    data: memoryview


class _Matrix(NamedTuple):
    """The header of an array, and the element that holds its numbers."""

    name: str
    word: int
    """Kind of array in the lowest byte, flags above."""
    shape: tuple[int, ...]
    numbers: _Element | None


def read_mat_array(path: Path, name: str, remedy: str) -> FloatArray:
    """Return the real array of this name in double precision, of any shape; its numbers may be nan.

    Raises HandvizError, ending with the remedy, for a file that is missing, too large, damaged or of another kind, and
    for one without such an array.
    """
    content = read_limited(path, MAX_FILE_BYTES, remedy)
    try:
        return _array(content, name)
    except (ValueError, OverflowError, struct.error, zlib.error) as error:
        raise HandvizError(f"{path} cannot be read ({error}): {remedy}", ErrorCode.FILE_DAMAGED) from error


def _array(content: bytes, name: str) -> FloatArray:
    """Return the named array; ValueError, struct.error or zlib.error state what is wrong."""
    order = BYTE_ORDERS.get(content[HEADER_BYTES - 2 : HEADER_BYTES])
    if order is None or struct.unpack_from(f"{order}H", content, HEADER_BYTES - 4)[0] != VERSION_5:
        raise ValueError("it is no MAT file of version 5, 6 or 7")
    for matrix in _matrices(content, order):
        if matrix.name == name:
            return _numbers(matrix, order)
    raise ValueError(f"it holds no variable {name}")


def _matrices(content: bytes, order: str) -> Iterator[_Matrix]:
    left = MAX_UNPACKED_BYTES
    for element in _elements(memoryview(content)[HEADER_BYTES:], order):
        inner = element
        if element.kind == COMPRESSED:
            unpacked = _unpacked(element.data, left)
            left -= len(unpacked)
            inner = next(_elements(unpacked, order), element)
        if inner.kind == MATRIX:
            yield _matrix(inner.data, order)


def _unpacked(data: memoryview, limit: int) -> memoryview:
    """Return at most ``limit`` unpacked bytes; ValueError for more, or for fewer than were packed."""
    stream = zlib.decompressobj()
    unpacked = stream.decompress(data, limit + 1)
    if len(unpacked) > limit:
        raise ValueError(f"its variables unpack to more than {MAX_UNPACKED_BYTES // 2**20} MB")
    if not stream.eof:
        raise ValueError("a packed variable is cut off")
    return memoryview(unpacked)


def _elements(data: memoryview, order: str) -> Iterator[_Element]:
    """Yield elements one after the other; ValueError for one that is longer than the data."""
    start = 0
    while start < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, start)
        first = start + 8
        # Compressed elements alone are not filled up to eight bytes.
        end = first + size + (0 if kind == COMPRESSED else -size % 8)
        if kind >> 16:
            # A small element has its size beside the type, and its data in place of the size.
            kind, size, first, end = kind & 0xFFFF, kind >> 16, start + 4, start + 8
        if first + size > min(end, len(data)):
            raise ValueError("an element is longer than the file")
        yield _Element(kind, data[first : first + size])
        start = end


def _matrix(data: memoryview, order: str) -> _Matrix:
    """Return an array's header; without a name for kinds of newer versions, whose headers are others."""
    parts = _elements(data, order)
    flags, shape, name = (next(parts, _Element(0, data[:0])) for _ in range(3))
    if (flags.kind, shape.kind, name.kind) != (UINT32, INT32, INT8) or len(name.data) > MAX_NAME:
        return _Matrix("", 0, (), None)
    if len(flags.data) != 8 or len(shape.data) % 4 or len(shape.data) > 4 * MAX_DIMENSIONS:
        raise ValueError("a variable's header is damaged")
    lengths = struct.unpack(f"{order}{len(shape.data) // 4}i", shape.data)
    word = struct.unpack_from(f"{order}I", flags.data)[0]
    return _Matrix(bytes(name.data).decode("latin1"), word, lengths, next(parts, None))


def _numbers(matrix: _Matrix, order: str) -> FloatArray:
    """Return the numbers; ValueError unless they are real ones and as many as the shape says."""
    kind = matrix.word & 0xFF
    if kind not in FLOAT_CLASSES or matrix.word & COMPLEX_FLAG:
        raise ValueError(f"{matrix.name} is {CLASS_NAMES.get(kind, 'of another kind')}, expected an array of numbers")
    code = None if matrix.numbers is None else NUMBER_TYPES.get(matrix.numbers.kind)
    if matrix.numbers is None or code is None:
        raise ValueError(f"{matrix.name} has no numbers")
    stored = np.dtype(order + code)
    is_shape = all(length >= 0 for length in matrix.shape)
    if not is_shape or math.prod(matrix.shape) * stored.itemsize != len(matrix.numbers.data):
        raise ValueError(f"the {len(matrix.numbers.data):,} bytes of {matrix.name} do not make up {matrix.shape}")
    return np.frombuffer(matrix.numbers.data, stored).astype(np.float64).reshape(matrix.shape, order="F")
