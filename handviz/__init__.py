"""3D hand reconstruction from one RGB image: a mesh with a standard deviation for every vertex.

``handviz.load`` loads a model, which takes images and returns hands; ``handviz.track`` follows the hands of a clip.
Importing ``handviz`` loads no other package; what is used is imported then.
"""

import importlib
from typing import TYPE_CHECKING

from handviz.core.privacy import disable_onnx_telemetry

if TYPE_CHECKING:
    from handviz.api import Hand, Model, TrackedFrame, load, reconstruct, track
    from handviz.core.errors import ErrorCode, HandvizError
    from handviz.core.records import Intrinsics
    from handviz.models.base import ModelSpec
    from handviz.models.registry import list_models

__version__ = "0.1.0"
disable_onnx_telemetry()
__all__ = [
    "ErrorCode",
    "Hand",
    "HandvizError",
    "Intrinsics",
    "Model",
    "ModelSpec",
    "TrackedFrame",
    "__version__",
    "list_models",
    "load",
    "reconstruct",
    "track",
]
_HOMES = {
    "ErrorCode": "handviz.core.errors",
    "HandvizError": "handviz.core.errors",
    "Intrinsics": "handviz.core.records",
    "ModelSpec": "handviz.models.base",
    "list_models": "handviz.models.registry",
}
"""Modules of the public names; all others are in ``handviz.api``."""

if not TYPE_CHECKING:  # A type checker that saw it would accept every name, misspelled ones too.

    def __getattr__(name: str) -> object:
        """Import a public name when it is used for the first time."""
        if name not in __all__:
            raise AttributeError(f"module 'handviz' has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOMES.get(name, "handviz.api")), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """Return the public names, for completion."""
    return sorted({*globals(), *__all__})
