"""The families of models: those of handviz by one line each, those of other packages by their entry points."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated

from handviz.core.arguments import Option
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import RESTORE
from handviz.core.records import CropSpec, ModelId
from handviz.models.base import PROVISIONS, ModelFamily, ModelSpec

BUILT_IN = (
    "handviz.models.amvur.family:FAMILY",
    "handviz.models.mediapipe.family:FAMILY",
    "handviz.models.hamr.family:FAMILY",
    "handviz.models.sima_hand.family:FAMILY",
)  # fmt: skip
"""``module:NAME`` of every family of handviz, in the order of the window's keys: a new family is a line here."""
ENTRY_POINTS = "handviz.models"
"""The group of entry points by which other packages add families: each names a ``ModelFamily``."""
OWN_PACKAGE = "handviz"
HAND_MODELS = ("open_hand", "mano")
FailureTypes = (Exception, SystemExit)
"""What code of other packages may raise: a module that ends the program must not end handviz."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RefusedFamily:
    """A family that cannot be used."""

    package: str
    line: str
    """Its ``module:NAME``."""
    reason: str
    """What is wrong with it and what to do."""


def own_families() -> tuple[ModelFamily, ...]:
    """Return the families of handviz itself that can be used."""
    return tuple(_own()[0])


@cache
def families() -> tuple[ModelFamily, ...]:
    """Return all families; one of another package that cannot be used is logged once and left out."""
    accepted, refused = _examined()
    for one in refused:
        logger.warning("the models of %s (%s) cannot be used: %s", one.package, one.line, one.reason)
    return (*own_families(), *(family for _, family in accepted))


def refused_families() -> tuple[RefusedFamily, ...]:
    """Return the families that cannot be used, with the reasons."""
    return tuple(_examined()[1])


def family_packages() -> dict[str, str]:
    """Return the package of every family in use, by the family's id, in the order of ``families``."""
    accepted, _ = _examined()
    return {family.id: OWN_PACKAGE for family in own_families()} | {family.id: package for package, family in accepted}


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


def family_members(name: ModelId) -> tuple[ModelId, ...]:
    """Return the ids of all models of a model's family."""
    family = model_spec(name).family
    return tuple(spec.id for spec in list_models() if spec.family == family)


def model_labels() -> dict[ModelId, str]:
    """Return what the window calls each model."""
    return {spec.id: spec.label for spec in list_models()}


def _family(line: str, load: Callable[[], object] | None = None) -> ModelFamily:
    """Return the family of ``module:NAME``; TypeError or ValueError if that is none, or what ``load`` raises."""
    module, _, name = line.partition(":")
    found = load() if load is not None else getattr(import_module(module), name)
    if not isinstance(found, ModelFamily) or not all(isinstance(spec, ModelSpec) for spec in found.models):
        raise TypeError(f"{line} is no ModelFamily of ModelSpecs")
    for spec in found.models:
        _check(spec, found)
    if len({spec.id for spec in found.models}) < len(found.models):
        raise ValueError(f"the family {found.id} has two models of one id")
    return found


def _check(spec: ModelSpec, family: ModelFamily) -> None:
    """Raise ValueError for a spec whose values cannot be used."""
    wrong = {
        "id": not (isinstance(spec.id, str) and spec.id.isidentifier()),
        "family": spec.family != family.id,
        "hand_model": spec.hand_model not in HAND_MODELS,
        "provides": not set(spec.provides) <= PROVISIONS.keys(),
        "crop": not isinstance(spec.crop, CropSpec),
        "load": not callable(spec.load),
    }
    for name in (name for name, is_wrong in wrong.items() if is_wrong):
        raise ValueError(f"the model {spec.id!r} of the family {family.id!r}: its {name} is {getattr(spec, name)!r}")


def _own() -> tuple[list[ModelFamily], list[RefusedFamily]]:
    """Return the families of handviz itself that can be used, and those that cannot."""
    found: list[ModelFamily] = []
    refused: list[RefusedFamily] = []
    for line in BUILT_IN:
        try:
            found.append(_family(line))
        except FailureTypes as error:
            refused.append(RefusedFamily(OWN_PACKAGE, line, f"{type(error).__name__}: {error}; {RESTORE}"))
    return found, refused


_Named = tuple[str, ModelFamily]
"""The package of a family, and the family."""


def _examined() -> tuple[list[_Named], list[RefusedFamily]]:
    """Return the families of other packages that can be used, sorted by package, and all that cannot."""
    found: list[tuple[EntryPoint, ModelFamily]] = []
    own, refused = _own()
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: (_package(point), point.name)):
        try:
            found.append((point, _family(point.value, point.load)))
        except FailureTypes as error:
            reason = f"{type(error).__name__}: {error}; correct or uninstall it"
            refused.append(RefusedFamily(_package(point), point.value, reason))
    named = [(OWN_PACKAGE, family) for family in own]
    named += [(_package(point), family) for point, family in found]
    accepted: list[_Named] = []
    for point, family in found:
        if reason := _clash(family, named):
            refused.append(RefusedFamily(_package(point), point.value, reason))
        else:
            accepted.append((_package(point), family))
    return accepted, refused


def _clash(family: ModelFamily, named: Iterable[_Named]) -> str:
    """Return who else has the id of the family or of one of its models; empty if nobody has."""
    rivals = [(package, _names(one) & _names(family)) for package, one in named if one is not family]
    packages = [package for package, names in rivals if names]
    if not packages:
        return ""
    names = sorted(set().union(*(names for _, names in rivals)))
    return f"{' and '.join(packages)} also has {', '.join(names)}; rename or uninstall one of them"


def _names(family: ModelFamily) -> set[str]:
    """Return the ids that must be unique, of a family and of its models."""
    return {f"the family {family.id}", *(f"the model {spec.id}" for spec in family.models)}


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
