"""What is less certain than a threshold fades or goes: the numbers that the mesh's shader gets."""

from handviz.rendering.options import DrawOptions

Fade = tuple[float, float, float]
"""Deviations in mm between which a surface fades, and the share of its opacity that is left above both."""
FADED_FROM, FADED_TO, FADED_OPACITY = 0.8, 1.25, 0.15
"""Shares of the threshold; deviations differ smoothly over a hand, and so does what is seen of it."""
HIDDEN_FROM, HIDDEN_TO = 0.97, 1.03


def fade_of(options: DrawOptions) -> Fade | None:
    """None where everything is shown alike."""
    above_mm = options.uncertain_above_mm
    if options.uncertain == "fade":
        return FADED_FROM * above_mm, FADED_TO * above_mm, FADED_OPACITY
    if options.uncertain == "hide":
        return HIDDEN_FROM * above_mm, HIDDEN_TO * above_mm, 0.0
    return None
