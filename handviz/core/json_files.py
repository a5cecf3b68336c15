"""JSON from files that may be anybody's, checked by pydantic against plain dataclasses.

A reader states what it expects as a frozen dataclass whose fields have the names in the file; entries that it does not
name are ignored, as are all but the last of several of the same name. Numbers must be finite, and no value is converted
to another type. pydantic is imported when the first file is read: the window starts without it.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import numpy as np

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import read_limited
from handviz.core.records import FloatArray

MAX_SMALL_BYTES = 2**20
"""Of a file with a few settings"""
MAX_LISTING_BYTES = 2**30
"""Of a file with a row per image or hand"""
MAX_PLACE = 80
"""Characters of a place in a file, whose names may be anything, in a message"""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
"""Possibly half of a surrogate pair: Python's form of a file name that is not UTF-8, which pydantic does not parse"""
Value = TypeVar("Value")


def read_json(path: Path, kind: type[Value], remedy: str, *, max_bytes: int = MAX_SMALL_BYTES) -> Value:
    """Return the content of a file as ``kind``; the HandvizError names the file, the place in it and the remedy."""
    return parse_json(read_limited(path, max_bytes, remedy), kind, str(path), remedy)


def parse_json(content: str | bytes, kind: type[Value], name: str, remedy: str) -> Value:
    """Return JSON as ``kind``; the HandvizError contains ``name``, the place of the first error and the remedy."""
    return _named(json_parser(kind), content, name, remedy)


def check_value(value: Any, kind: type[Value], name: str, remedy: str) -> Value:
    """Return a value, such as of other files' arrays, as ``kind``; the error is as that of ``parse_json``."""
    return _named(partial(_checked(cast(Any, kind)).model_validate, strict=False), value, name, remedy).root


def json_parser(kind: type[Value]) -> Callable[[str | bytes], Value]:
    """Return the function from JSON to ``kind``, for loops over many lines; it raises ValueError or RecursionError."""
    checked = _checked(cast(Any, kind))

    def parse(content: str | bytes) -> Value:
        encoded = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
        encoded = encoded.removeprefix(BYTE_ORDER_MARK)
        if HALF_PAIR.search(encoded):
            # Python's lists are no tuples, which JSON's are: not strict.
            return checked.model_validate(json.loads(encoded), strict=False).root
        return checked.model_validate_json(encoded).root

    return parse


@cache
def _checked(kind: Any) -> Any:
    """Return pydantic's model of the kind."""
    from pydantic import ConfigDict, RootModel

    class Checked(RootModel[Annotated[kind, _StopAtFirstError()]]):
        # Passed on to the dataclasses within, which have no configuration of their own.
        model_config = ConfigDict(strict=True, allow_inf_nan=False)

    return Checked


def _named(read: Callable[[Any], Value], content: Any, name: str, remedy: str) -> Value:
    from pydantic import ValidationError

    try:
        return read(content)
    except ValidationError as error:
        reason = _first_error(error)
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise HandvizError(f"{name} cannot be used ({reason}): {remedy}", ErrorCode.FILE_DAMAGED)


def _first_error(error: Any) -> str:
    """Return place and text of a ValidationError's first error, such as "[2].hands[0].score: ..."."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).removeprefix(".")
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return f"{place[:MAX_PLACE]}: {message}" if place else message


class _StopAtFirstError:
    """Makes pydantic leave a list at its first wrong item: a hostile one has millions."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        schema = handler(source)
        return schema | {"fail_fast": True} if schema["type"] == "list" else schema


Rows = Annotated[list[Value], _StopAtFirstError()]
"""A list of any length."""


@dataclass(frozen=True, kw_only=True)
class Within:
    """Annotation of a number's range: ``ge`` and ``le`` belong to it, ``gt`` does not."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        return handler(source) | {name: bound for name, bound in vars(self).items() if bound is not None}


@dataclass(frozen=True, init=False)
class Numbers:
    """Annotation of a FloatArray that a file contains as nested lists: finite numbers of this shape."""

    shape: tuple[int, ...]

    def __init__(self, *shape: int) -> None:
        object.__setattr__(self, "shape", shape)

    def array(self, values: Any) -> FloatArray:
        """Return the values as an array of the shape; ValueError if they are none."""
        try:
            found = np.asarray(values, np.float64)
        except (TypeError, ValueError, OverflowError):
            found = np.empty(0)
        if found.shape != self.shape or not np.isfinite(found).all():
            raise ValueError(f"Expected {' x '.join(map(str, self.shape))} finite numbers")
        return found

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import PlainValidator

        return PlainValidator(self.array).__get_pydantic_core_schema__(source, handler)
