"""The models that handviz ships, by name. Nothing is loaded."""

from dataclasses import dataclass
from pathlib import Path

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.paths import variant_file
from handviz.core.records import VariantName


@dataclass(frozen=True)
class ModelSpec:
    """A model that ``handviz.load`` can load; ``str`` gives its ``id``."""

    id: VariantName
    """The name that ``handviz.load`` takes: "prior", "amvur" or "final"."""
    label: str
    """What the window calls it."""
    family: str
    """Models of one family have the same inputs and outputs: "amvur"."""
    hand_model: str
    """The hand model of its mesh: "open_hand", with 778 vertices."""
    provides: frozenset[str]
    """What it predicts besides the mesh: "uncertainty", "landmarks" (in 3D), "attention"."""
    file: Path
    """The ONNX file."""

    def __str__(self) -> str:
        """Return the ``id``."""
        return self.id


def list_models() -> tuple[ModelSpec, ...]:
    """Return the models that ``handviz.load`` knows; no file is opened."""
    common = frozenset({"uncertainty", "landmarks"})
    return (
        _amvur("prior", "Prior-net", common),
        _amvur("amvur", "AMVUR", common | {"attention"}),
        _amvur("final", "Final", common | {"attention"}),
    )


def model_spec(name: str) -> ModelSpec:
    """Return the model of that name; HandvizError names the known ones."""
    specs = {spec.id: spec for spec in list_models()}
    for known, spec in specs.items():
        if known == name:
            return spec
    raise HandvizError(f"there is no model {name!r}: choose one of {', '.join(specs)}", ErrorCode.UNKNOWN_NAME)


def _amvur(name: VariantName, label: str, provides: frozenset[str]) -> ModelSpec:
    return ModelSpec(name, label, "amvur", "open_hand", provides, variant_file(name))
