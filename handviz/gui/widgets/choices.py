"""The values of every setting that is a choice, as panels, menus and keys show them."""

from typing import Any, NamedTuple

from handviz.models.base import ModelSpec
from handviz.models.registry import list_models
from handviz.rendering.colormap import UNCERTAINTY_CONTROL_COLOURS
from handviz.rendering.ellipses import fraction_inside
from handviz.rendering.options import GROUNDS

MAX_KEYS = 9
"""Models that have a key, their number in the list."""
MAX_LABEL_CHARACTERS = 24


class Choice(NamedTuple):
    """A value of a setting."""

    value: Any
    label: str
    key: str = ""
    hint: str = ""


UNCERTAIN_HINT = "Fade or hide regions that are less certain than the threshold"
GHOSTS_HINT = "Several faint hands around the mean, drawn from the posterior"
ANIMATION_HINT = "The hand moves slowly through hands drawn from the posterior"
DIFFERENCE_HINT = "Distances between corresponding vertices of two models, wrist-aligned"
ATTENTION_HINT = (
    "Attention weights with which the network computed the picked point, averaged over its heads. They show what was "
    "attended to, not what caused the result."
)
COLOUR_MAP_HINT = "Colours of the standard deviation, from dark (confident) to light (uncertain)"
GROUND_HINT = "Colour around the image, and behind the hands in the 3D view"
FIGURE_SCALE_HINT = "Resolution of saved and copied images, relative to the view"
FIGURE_BACKGROUND_HINT = "Background of saved and copied images; on white and transparent the hands are alone"
COMPARE_MODE_HINT = "All beside each other; the first two on both sides of a line to drag; or one after the other"
SIDE_HINT = "Override the detected handedness of all hands"
CHOICES: dict[str, tuple[Choice, ...]] = {
    "shown_colour": (
        Choice("uncertainty", "Uncertainty", "V", "Standard deviation of each vertex, in millimetres"),
        Choice("texture", "Texture", "T", "Skin colours from the image and the texture net"),
        Choice("plain", "Shaded", "P", "The shape only, without colours"),
        Choice("difference", "Difference map", "D", DIFFERENCE_HINT),
        Choice("attention", "Attention", "A", ATTENTION_HINT),
    ),
    "view": (
        Choice("overlay", "Overlay", "O", "The mesh drawn over the image"),
        Choice("orbit", "3D view", "O", "Drag to rotate, Shift+drag to pan, wheel to zoom, double-click to reset"),
    ),
    "smoothing_kind": (
        Choice("kalman", "Kalman", "K", "Weights each frame by its own standard deviation; little lag"),
        Choice("one_euro", "One Euro", "K", "Smooths slow hands strongly and fast ones less; some lag"),
    ),
    "colour_map": tuple(Choice(name, name.capitalize(), hint=COLOUR_MAP_HINT) for name in UNCERTAINTY_CONTROL_COLOURS),
    "compare_mode": (
        Choice("panes", "Side by side", hint=COMPARE_MODE_HINT),
        Choice("wipe", "Wipe (first two)", hint=COMPARE_MODE_HINT),
        Choice("blink", "Blink", hint=COMPARE_MODE_HINT),
    ),
    "ground": tuple(Choice(name, name.capitalize(), hint=GROUND_HINT) for name in GROUNDS),
    "figure_scale": tuple(Choice(scale, f"{scale}x", hint=FIGURE_SCALE_HINT) for scale in (1, 2, 4)),
    "figure_background": (
        Choice("view", "As in the view", hint=FIGURE_BACKGROUND_HINT),
        Choice("white", "White", hint=FIGURE_BACKGROUND_HINT),
        Choice("transparent", "Transparent", hint=FIGURE_BACKGROUND_HINT),
    ),
    "theme": (Choice("system", "System"), Choice("dark", "Dark"), Choice("light", "Light")),
    "side": (
        Choice("detected", "Automatic", hint=SIDE_HINT),
        Choice("left", "Force left", hint=SIDE_HINT),
        Choice("right", "Force right", hint=SIDE_HINT),
    ),
    "uncertain": (
        Choice("show", "Show", "H", UNCERTAIN_HINT),
        Choice("fade", "Fade", "H", UNCERTAIN_HINT),
        Choice("hide", "Hide", "H", UNCERTAIN_HINT),
    ),
    "samples": (
        Choice("none", "None", "G", "The mean of the posterior alone"),
        Choice("ghosts", "Ghosts", "G", GHOSTS_HINT),
        Choice("animation", "Animation", "G", ANIMATION_HINT),
    ),
    "ellipse_sigmas": tuple(
        Choice(
            sigmas,
            f"{sigmas:g} sigma, {fraction_inside(sigmas):.0%}",
            hint="Size of the ellipses, and the fraction of the Gaussian inside",
        )
        for sigmas in (1.0, 2.0)
    ),
}


def choices_of(name: str) -> tuple[Choice, ...]:
    """Return the values of a setting; models come from the registry, in the order of their keys 1 to 9."""
    if name != "model":
        return CHOICES[name]
    return tuple(
        Choice(spec.id, _fitting(spec.label), str(number) if number <= MAX_KEYS else "", _hint(spec))
        for number, spec in enumerate(list_models(), start=1)
    )


def _hint(spec: ModelSpec) -> str:
    """Return the model's hint, with its label in full if panels have it shortened."""
    return spec.hint if _fitting(spec.label) == spec.label else f"{spec.label}. {spec.hint}".strip()


def _fitting(label: str) -> str:
    """Return the label of a model, which may be another package's, no longer than a panel is wide."""
    line = " ".join(label.split())
    return line if len(line) <= MAX_LABEL_CHARACTERS else f"{line[: MAX_LABEL_CHARACTERS - 1]}…"
