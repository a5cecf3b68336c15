"""What drawing needs to know of the models that run: the meshes of their hand models, and their labels."""

from handviz.hand_models.choice import DisplayMeshes
from handviz.hand_models.template import HandTemplate
from handviz.models.registry import model_labels
from handviz.rendering.hand_shape import ModelDisplay


def model_display(*templates: HandTemplate) -> ModelDisplay:
    """Return it, with hand models that are loaded; others are found when a hand of theirs is drawn."""
    return ModelDisplay(DisplayMeshes(*templates), model_labels())
