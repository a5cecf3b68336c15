"""Values of single settings, as the settings file has them: checked by the field's type, its limits and choices."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin

from handviz.core.camera_files import camera_model_from_text, camera_model_text, hand_size_from_text, hand_size_text
from handviz.core.camera_model import CameraModel, HandSize
from handviz.core.errors import HandvizError
from handviz.core.records import ModelId
from handviz.models.registry import model_ids
from handviz.rendering.options import MAX_COMPARED, MIN_COMPARED

SEPARATOR = ","
"""Of the ids of several models in one text."""
COUNTS: dict[Any, tuple[int, int]] = {
    tuple[ModelId, ...]: (MIN_COMPARED, MAX_COMPARED),
    tuple[ModelId, ModelId]: (2, 2),
}
"""How many models, none of them twice, a field of that type has."""
TEXTS: dict[Any, Callable[[str], Any]] = {CameraModel: camera_model_from_text, HandSize: hand_size_from_text}


def written(value: Any) -> Any:
    """Return a setting as the file has it: a text, number or boolean."""
    if isinstance(value, CameraModel):
        return camera_model_text(value)
    if isinstance(value, tuple):
        return SEPARATOR.join(value)
    return hand_size_text(value) if isinstance(value, HandSize) else value


def checked(kind: Any, limits: tuple[float, float] | None, saved: Any) -> Any:
    """Return a saved value as a field of this type has it, None if it is none; numbers and booleans may be texts.

    Ids of models that nothing here has, such as those of a package that was uninstalled, are no values.
    """
    kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if kind in TEXTS:
        return _of_text(TEXTS[kind], saved)
    if kind is bool:
        return saved if isinstance(saved, bool) else {"true": True, "false": False}.get(str(saved))
    if kind is float:
        return _number_within(saved, limits or (float("-inf"), float("inf")))
    if kind is int:
        number = _number_within(saved, limits or (float("-inf"), float("inf")))
        return int(number) if number is not None and number.is_integer() else None
    if kind in COUNTS:
        return _models(saved, *COUNTS[kind])
    return saved if saved in (get_args(kind) if get_origin(kind) is Literal else model_ids()) else None


def _models(saved: Any, least: int, most: int) -> tuple[ModelId, ...] | None:
    ids = tuple(str(saved).split(SEPARATOR))
    is_possible = least <= len(ids) <= most and len(set(ids)) == len(ids) and set(ids) <= set(model_ids())
    return ids if is_possible else None


def _of_text(read: Callable[[str], Any], saved: Any) -> Any:
    try:
        return read(str(saved))
    except HandvizError:
        return None


def _number_within(saved: Any, limits: tuple[float, float]) -> float | None:
    if saved is None or isinstance(saved, bool):
        return None
    try:
        number = float(saved)
    except ValueError:
        return None
    return number if limits[0] <= number <= limits[1] else None
