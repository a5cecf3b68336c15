"""What views say of hands that cannot be drawn as asked. No OpenGL here."""

from collections.abc import Sequence

from handviz.core.records import HandMesh
from handviz.rendering.hand_shape import Surfaces
from handviz.rendering.options import DrawOptions

FINGERPRINT_LETTERS = 8


def asks_for_uncertainty(options: DrawOptions) -> bool:
    """Return whether colours, fading, ellipses or drawn hands show the uncertainty."""
    in_colours = options.colour == "uncertainty" and options.shown_difference is None
    return in_colours or options.uncertain != "show" or options.ellipses or options.samples != "none"


def uncertainty_note(hands: Sequence[HandMesh], options: DrawOptions, model: str) -> str:
    """Return what is said of a model's hands without a standard deviation for each vertex; mostly empty.

    ``model`` is what views call it.
    """
    if not asks_for_uncertainty(options):
        return ""
    if any(hand.uncertainty == "none" for hand in hands):
        return f"no uncertainty: {model} predicts none"
    same = [hand.vertex_std_mm for hand in hands if hand.uncertainty == "constant" and hand.vertex_std_mm is not None]
    values = dict.fromkeys(f"{std_mm.mean():.1f}" for std_mm in same)
    return f"one standard deviation for all vertices: {', '.join(values)} mm" if values else ""


def mesh_note(hands: Sequence[HandMesh], surfaces: Surfaces) -> str:
    """Return what is said of hands whose hand model is not known; mostly empty."""
    missing = [hand.hand_model for hand in hands if surfaces.get(hand.hand_model) is None]
    return f"no mesh: the hand model {missing[0][:FINGERPRINT_LETTERS]} is not known here" if missing else ""


def has_uncertainty(hands: Sequence[HandMesh]) -> bool:
    """Return whether any of the hands has standard deviations."""
    return any(hand.uncertainty != "none" for hand in hands)


def has_posterior(hands: Sequence[HandMesh]) -> bool:
    """Return whether hands can be drawn from the posterior of any of them."""
    return any(hand.shape is not None for hand in hands)
