"""What a family of models is: the records that the registry lists, and the interface that the pipeline runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from handviz.core.paths import MODELS, model_file
from handviz.core.records import DEFAULT_CROP, CropSpec, Device, HandCrop, ModelId, NetworkFile, NetworkOutput
from handviz.hand_models.template import HandTemplate
from handviz.models.shared import SharedNetworks

PROVISIONS = {
    "uncertainty": "a standard deviation for each vertex",
    "constant_uncertainty": "one standard deviation for all vertices",
    "landmarks": "MediaPipe's 3D landmarks of the crop, which the pipeline fuses the hand with",
    "attention": "attention between vertices and joints",
    "heatmaps": "heatmaps of the keypoints",
    "iterations": "the steps of an iterative regression",
}
"""What a model may predict besides the mesh, and what that is."""


@dataclass(frozen=True)
class LoadContext:
    """From where, and for what, a model is loaded."""

    model_dir: Path = MODELS
    """The folder of the ONNX files."""
    hand_model: Path | None = None
    """The user's MANO file; None: the hand model that a file names, if it is known."""
    device: Device = "auto"
    shared: SharedNetworks = field(default_factory=SharedNetworks, compare=False, repr=False)
    """The networks that all models loaded with this context share."""


class Reconstructor(Protocol):
    """A loaded model, which turns crops into right hands."""

    @property
    def template(self) -> HandTemplate:
        """The hand model of its meshes."""
        ...

    @property
    def provider(self) -> str:
        """The execution provider in use, by ONNX Runtime's name."""
        ...

    @property
    def file(self) -> NetworkFile:
        """The file that it was loaded from."""
        ...

    def reconstruct(self, crops: Sequence[HandCrop], /) -> list[NetworkOutput]:
        """Return one hand per crop, in order; crops are as the model's ``CropSpec`` says."""
        ...


@dataclass(frozen=True)
class ModelSpec:
    """A model that ``handviz.load`` can load; ``str`` gives its ``id``."""

    id: ModelId
    """The name that ``handviz.load`` and ``--model`` take, such as "final"."""
    label: str
    """What the window calls it."""
    family: str
    """The id of its family."""
    hand_model: str
    """The hand model of its mesh: "open_hand" or "mano", with 778 vertices each; a user's own file may have another."""
    provides: frozenset[str]
    """What it predicts besides the mesh: names of ``PROVISIONS``."""
    load: Callable[[LoadContext], Reconstructor]
    """Loads it; HandvizError if its file is missing, damaged or made for another hand model."""
    crop: CropSpec = DEFAULT_CROP
    """The crop of the image that it takes."""
    hint: str = ""
    """What it is, in a line."""
    file_name: str = ""
    """The name of its file in the folder of the models; empty: ``handviz_ID.onnx``."""
    is_always_shipped: bool = False
    """Whether its file is the one that handviz ships, whatever folder of models is given."""

    def file_in(self, model_dir: Path = MODELS) -> Path:
        """Return the path of its file in a folder of models."""
        model_dir = MODELS if self.is_always_shipped else model_dir
        return model_dir / self.file_name if self.file_name else model_file(self.id, model_dir)

    @property
    def file(self) -> Path:
        """The file that handviz loads it from, unless another folder is given."""
        return self.file_in()

    def __str__(self) -> str:
        """Return the ``id``."""
        return self.id


@dataclass(frozen=True)
class ModelFamily:
    """Models that share code; the registry lists families, and a package adds one by an entry point."""

    id: str
    label: str
    """Its name in texts, such as "AMVUR"."""
    models: tuple[ModelSpec, ...]
    training: str = ""
    """``module:NAME`` of its ``training.families.TrainingFamily``; empty: it is not trained."""
