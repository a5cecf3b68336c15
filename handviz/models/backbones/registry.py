"""The three image backbones by name, behind one interface."""

from collections.abc import Callable

from handviz.core.errors import ErrorCode, HandvizError
from handviz.models.backbones.imagenet_backbones import EfficientNetB0, ResNet50
from handviz.models.backbones.interface import Backbone, BackboneFeatures
from handviz.models.backbones.mediapipe_hand import load_mediapipe_hand

__all__ = ["BACKBONES", "Backbone", "BackboneFeatures", "make_backbone"]
BACKBONES: dict[str, Callable[[], Backbone]] = {
    "mediapipe_hand": load_mediapipe_hand,
    "resnet50": ResNet50,
    "efficientnet_b0": EfficientNetB0,
}


def make_backbone(name: str) -> Backbone:
    """Build the backbone of this name; HandvizError for an unknown name or a missing weight file."""
    if name not in BACKBONES:
        raise HandvizError(f"unknown backbone {name!r}; there are {', '.join(BACKBONES)}", ErrorCode.UNKNOWN_NAME)
    return BACKBONES[name]()
