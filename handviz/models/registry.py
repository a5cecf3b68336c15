"""The families of models: those of handviz by one line each, those of other packages by their entry points."""

import logging
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated

from handviz.core.arguments import Option
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import ModelId
from handviz.models.base import ModelFamily, ModelSpec

BUILT_IN = (
    "handviz.models.amvur.family:FAMILY",
    "handviz.models.mediapipe.family:FAMILY",
)  # fmt: skip
"""``module:NAME`` of every family of handviz, in the order of the window's keys: a new family is a line here."""
ENTRY_POINTS = "handviz.models"
"""The group of entry points by which other packages add families: each names a ``ModelFamily``."""
logger = logging.getLogger(__name__)


def own_families() -> tuple[ModelFamily, ...]:
    """Return the families of handviz itself."""
    return tuple(_family(line) for line in BUILT_IN)


@cache
def families() -> tuple[ModelFamily, ...]:
    """Return all families; one of another package that cannot be used is logged once and left out."""
    own = own_families()
    return (*own, *_accepted(own, tuple(_others())))


def list_models() -> tuple[ModelSpec, ...]:
    """Return the models that ``handviz.load`` knows, in the order of the window's keys; no model's file is opened."""
    return tuple(spec for family in families() for spec in family.models)


def shipped_models() -> tuple[ModelSpec, ...]:
    """Return the models of handviz's own families, whose files it ships."""
    return tuple(spec for family in own_families() for spec in family.models)


def model_ids() -> tuple[ModelId, ...]:
    """Return the ids of ``list_models``."""
    return tuple(spec.id for spec in list_models())


ModelChoice = Annotated[ModelId, Option("model", choices=model_ids, help="The model to use.")]
"""The option ``--model``."""


def model_spec(name: str) -> ModelSpec:
    """Return the model of that name; HandvizError names the known ones."""
    specs = {spec.id: spec for spec in list_models()}
    if name not in specs:
        raise HandvizError(f"there is no model {name!r}: choose one of {', '.join(specs)}", ErrorCode.UNKNOWN_NAME)
    return specs[name]


def model_labels() -> dict[ModelId, str]:
    """Return what the window calls each model."""
    return {spec.id: spec.label for spec in list_models()}


def _family(line: str) -> ModelFamily:
    module, _, name = line.partition(":")
    found = getattr(import_module(module), name)
    if not isinstance(found, ModelFamily) or not all(isinstance(spec, ModelSpec) for spec in found.models):
        raise TypeError(f"{line} is no ModelFamily of ModelSpecs")
    return found


def _others() -> Iterator[tuple[str, ModelFamily]]:
    """Yield the families of other packages with the packages' names, sorted by them."""
    points = sorted(entry_points(group=ENTRY_POINTS), key=lambda point: (_package(point), point.name))
    for point in points:
        try:
            yield _package(point), _family(point.value)
        except Exception as error:  # noqa: BLE001 - a package of somebody else may fail in any way
            reason = f"{type(error).__name__}: {error}"
            logger.warning("the models of %s (%s) cannot be used: %s", _package(point), point.value, reason)


def _accepted(own: tuple[ModelFamily, ...], others: tuple[tuple[str, ModelFamily], ...]) -> Iterator[ModelFamily]:
    """Yield the families of others whose ids, and their models' ids, nobody else has."""
    named = [("handviz", family) for family in own] + list(others)
    count = Counter(name for _, family in named for name in _names(family))
    for package, family in others:
        clashing = [name for name in _names(family) if count[name] > 1]
        if clashing:
            rivals = [other for other, one in named if one is not family and set(clashing) & _names(one)]
            logger.warning(
                "the models of %s cannot be used: %s also has %s; rename or uninstall one of them",
                package,
                " and ".join(rivals),
                ", ".join(clashing),
            )
        else:
            yield family


def _names(family: ModelFamily) -> set[str]:
    """Return the ids that must be unique, of a family and of its models."""
    return {f"the family {family.id}", *(f"the model {spec.id}" for spec in family.models)}


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
