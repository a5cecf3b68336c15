"""Serialization of hands and detections, to show a result again without reconstructing it."""

import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import UNREADABLE, arrays_in
from handviz.core.json_files import json_parser
from handviz.core.records import Detection, HandMesh

NUMBERS_KEY = "numbers"
EXACT_SIZE = 128
"""Arrays of up to this size keep their type; larger ones (vertices) become float32: 0.01 micrometres."""
NAMES_NOW = {
    "variant": "model",
    "place_doubt": "position_uncertainty",
    "size_std_share": "size_std_fraction",
    "focal_std_share": "focal_std_fraction",
}
"""Field names in stores of version 0.1 -> present names."""
LEFT_OUT = ("heatmaps", "steps")
"""Fields that only a live view shows."""
Record = TypeVar("Record")
Arrays = dict[str, NDArray[Any]]


def pack_hands(hands: Sequence[HandMesh], detections: Sequence[Detection]) -> bytes:
    """Serialize all hands of an image with their detections, about 20 KB each."""
    arrays: Arrays = {}
    numbers: dict[str, Any] = {"count": len(hands)}
    for index, (hand, detection) in enumerate(zip(hands, detections, strict=True)):
        _take_apart(f"hand{index}", hand, arrays, numbers)
        _take_apart(f"detection{index}", detection, arrays, numbers)
    arrays[NUMBERS_KEY] = np.frombuffer(json.dumps(numbers).encode("utf-8"), np.uint8)
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def unpack_hands(packed: bytes) -> tuple[tuple[HandMesh, ...], tuple[Detection, ...]]:
    """Invert ``pack_hands``; raises HandvizError if the bytes are damaged."""
    try:
        arrays = {_name_now(name): array for name, array in arrays_in(io.BytesIO(packed)).items()}
        saved = json_parser(dict[str, bool | int | float | str])(arrays.pop(NUMBERS_KEY).tobytes())
        numbers = {_name_now(name): value for name, value in saved.items()}
        count = range(int(numbers["count"]))
        hands = tuple(_put_together(HandMesh, f"hand{index}", arrays, numbers) for index in count)
        detections = tuple(_put_together(Detection, f"detection{index}", arrays, numbers) for index in count)
    except UNREADABLE as error:
        raise HandvizError(f"a stored result is damaged: inspect again ({error})", ErrorCode.FILE_DAMAGED) from error
    return hands, detections


def _name_now(path: str) -> str:
    return ".".join(NAMES_NOW.get(part, part) for part in path.split("."))


def _take_apart(prefix: str, record: Any, arrays: Arrays, numbers: dict[str, Any]) -> None:
    for item in dataclasses.fields(record):
        name, value = f"{prefix}.{item.name}", getattr(record, item.name)
        if item.name in LEFT_OUT:
            continue
        if isinstance(value, np.ndarray):
            arrays[name] = value if value.size <= EXACT_SIZE else value.astype(np.float32)
        elif dataclasses.is_dataclass(value):
            _take_apart(name, value, arrays, numbers)
        elif value is not None:
            numbers[name] = value.item() if isinstance(value, np.generic) else value


def _put_together(kind: type[Record], prefix: str, arrays: Arrays, numbers: Mapping[str, Any]) -> Record:
    """Rebuild a record; fields that were None, or were added later, get their defaults."""
    values: dict[str, Any] = {}
    hints = get_type_hints(kind)
    for item in dataclasses.fields(kind):  # type: ignore[arg-type]
        name, hint = f"{prefix}.{item.name}", hints[item.name]
        inner = [one for one in (hint, *get_args(hint)) if dataclasses.is_dataclass(one)]
        if name in arrays:
            values[item.name] = arrays[name]
        elif name in numbers:
            values[item.name] = numbers[name]
        elif inner and any(key.startswith(f"{name}.") for key in (*arrays, *numbers)):
            values[item.name] = _put_together(inner[0], name, arrays, numbers)  # type: ignore[arg-type]
    return kind(**values)
