"""Models that reconstruct one hand from several calibrated views; each is one line here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from handviz.core.multiview import CalibratedView
from handviz.core.records import CropSpec, HandCrop, HandMesh, ModelId, NetworkFile
from handviz.hand_models.template import HandTemplate
from handviz.models.base import LoadContext

BUILT_IN: tuple[str, ...] = ("handviz.models.sima_hand.multi_view:load",)
"""``module:NAME`` of a ``MultiViewLoader``; the first one is used."""


@dataclass(frozen=True, eq=False)
class ViewCrop:
    """The crop of a hand in one view."""

    name: str
    """Of the view."""
    crop: HandCrop
    """As the model's ``CropSpec`` says; its handedness is that of all views"""
    camera: CalibratedView


class MultiViewModel(Protocol):
    """A loaded network that takes crops of two or more views at once."""

    @property
    def id(self) -> ModelId:
        """The name of the model in ``hands.json``."""
        ...

    @property
    def crop(self) -> CropSpec:
        """The crops that it takes."""
        ...

    @property
    def template(self) -> HandTemplate:
        """The hand model of its meshes."""
        ...

    @property
    def file(self) -> NetworkFile:
        """The file that it was loaded from."""
        ...

    def reconstruct(self, views: Sequence[ViewCrop], /) -> HandMesh:
        """Return the hand that two or more views show, of their handedness, in the frame of the first one's camera."""
        ...


MultiViewLoader = Callable[[LoadContext], MultiViewModel]
"""Loads a model; HandvizError if its file is missing, damaged or made for another hand model."""


def load_multi_view_model(context: LoadContext) -> MultiViewModel:
    """Load the multi-view network; HandvizError if it cannot be used."""
    module, _, name = BUILT_IN[0].partition(":")
    loader: MultiViewLoader = getattr(import_module(module), name)
    return loader(context)
