"""Limits of numbers that users set: they stand in the type of the field, and are read from there."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Annotated, Any, NamedTuple, get_args, get_origin


class Limits(NamedTuple):
    """The smallest and the largest value of a number, as in ``Annotated[float, Limits(0.0, 1.0)]``."""

    low: float
    high: float


Fraction = Annotated[float, Limits(0.0, 1.0)]
"""A number from 0 to 1."""


def plain_type(kind: Any) -> Any:
    """Return a field's type without its annotations."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def limits_in(*kinds: type) -> dict[str, Limits]:
    """Return the limits of all numbers of dataclasses, by the names of the fields."""
    return {name: limits for kind in kinds for name, limits in _limits_of(kind)}


def _limits_of(kind: Any) -> Iterator[tuple[str, Limits]]:
    for item in fields(kind):
        for note in get_args(item.type)[1:] if get_origin(item.type) is Annotated else ():
            if isinstance(note, Limits):
                yield item.name, note
