"""Angles of common cameras: what makers state, what follows from a focal length "in 35 mm", and what is typical."""

from dataclasses import dataclass

from handviz.core.lens import AngleSide, angle_of_equivalent_deg


@dataclass(frozen=True)
class Preset:
    """A kind of camera and what it spans."""

    name: str
    angle_deg: float
    side: AngleSide
    source: str


PRESETS = (
    Preset("Laptop or simple webcam", 60.0, "horizontal", "typical"),
    Preset("Wide webcam", 78.0, "diagonal", "typical"),
    Preset("Logitech C920, C922", 78.0, "diagonal", "typical"),
    Preset("Very wide webcam", 90.0, "diagonal", "typical"),
    Preset("Telephone, main camera, 26 mm", angle_of_equivalent_deg(26), "diagonal", "follows from 26 mm"),
    Preset("Telephone, main camera, 24 mm", angle_of_equivalent_deg(24), "diagonal", "follows from 24 mm"),
    Preset("Telephone, front camera", 80.0, "diagonal", "typical"),
    Preset(
        "Telephone, ultra wide, 13 mm", angle_of_equivalent_deg(13), "diagonal", "follows from 13 mm; bends at edges"
    ),
    Preset("Action camera, wide", 118.0, "horizontal", "typical; bends strongly"),
    Preset("Action camera, linear", 87.0, "horizontal", "typical"),
    Preset("Camera, 50 mm", angle_of_equivalent_deg(50), "diagonal", "follows from 50 mm"),
)


def preset_text(preset: Preset) -> str:
    """One line of the list."""
    over = {
        "diagonal": "over the diagonal",
        "horizontal": "across",
        "vertical": "down",
        "longer": "over the longer side",
    }
    return f"{preset.name}: {preset.angle_deg:.0f}° {over[preset.side]} ({preset.source})"
