"""Families of models made up for tests, and a registry that finds them as if packages of others had them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from handviz.core.records import CropSpec, HandCrop, ModelId, NetworkFile, NetworkOutput
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.template import HandTemplate
from handviz.models import registry
from handviz.models.base import LoadContext, ModelFamily, ModelSpec, Reconstructor
from tests.tiny_network import constant_hand

SMALL_CROP = CropSpec(size_px=128, is_upright=False)
Answer = Callable[[int], list[NetworkOutput]]
"""Number of crops -> hands."""


def plain_hand(**changes: object) -> NetworkOutput:
    """Return the open hand at rest without uncertainty, upright in the crop."""
    fields = {name: value for name, value in constant_hand().items() if "std" not in name}
    return NetworkOutput(**fields | {"scale": float(fields["scale"])} | changes)  # type: ignore[arg-type]


class MadeUpModel:
    """A model that answers as a test says, and keeps the crops that it got."""

    provider = "CPUExecutionProvider"
    file = NetworkFile("made_up", "", "own")

    def __init__(self, answer: Answer, template: HandTemplate | None = None) -> None:
        self.template, self._answer = template or load_open_hand(), answer
        self.crops: list[HandCrop] = []

    def reconstruct(self, crops: Sequence[HandCrop], /) -> list[NetworkOutput]:
        self.crops += crops
        return self._answer(len(crops))


def made_up_family(
    model: ModelId = "plain",
    answer: Answer = lambda count: [plain_hand()] * count,
    *,
    family: str = "",
    load: Callable[[LoadContext], Reconstructor] | None = None,
    crop: CropSpec = SMALL_CROP,
    provides: frozenset[str] = frozenset(),
) -> ModelFamily:
    """Return a family of one model, without uncertainty unless its answers have one."""
    family = family or f"{model}_family"
    loaded = load or (lambda _: MadeUpModel(answer))
    spec = ModelSpec(model, model.capitalize(), family, "open_hand", provides, loaded, crop)
    return ModelFamily(family, family.capitalize(), (spec,))


def std_of(metres: float, count: int) -> np.ndarray:
    """Return standard deviations (count, 3), the same for all points and axes."""
    return np.full((count, 3), metres)


@contextmanager
def installed(**packages: object) -> Iterator[None]:
    """Let the registry find what each package's entry point gives; an exception is raised in its place.

    The entry point ``handviz.models`` of the package ``NAME`` is ``NAME:FAMILY``.
    """
    points = [_EntryPoint(name, found) for name, found in packages.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "entry_points", lambda group: points if group == registry.ENTRY_POINTS else [])
        registry.families.cache_clear()
        yield
    registry.families.cache_clear()


class _EntryPoint:
    def __init__(self, package: str, found: object) -> None:
        self.name, self.value = "family", f"{package}:FAMILY"
        self.dist = SimpleNamespace(name=package)
        self._found = found

    def load(self) -> object:
        if isinstance(self._found, BaseException):
            raise self._found
        return self._found
