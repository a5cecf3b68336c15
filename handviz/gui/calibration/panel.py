"""Camera controls of the left panel, and texts about intrinsics and wrist positions."""

import math
from collections.abc import Sequence

import numpy as np
from PyQt6.QtCore import pyqtSignal
from PyQt6.QtWidgets import QVBoxLayout, QWidget

from handviz.core.camera_model import (
    ANGLE_LIMITS_DEG,
    ORIGIN_TEXTS,
    CameraModel,
    angles_deg,
    camera_model_in_words,
    intrinsics_of_frame,
)
from handviz.core.records import Frame, HandMesh, Intrinsics
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import ViewSettings
from handviz.gui.widgets.bind import bind
from handviz.gui.widgets.controls import check_box, named_label, number_box, push_button, row_of

CENTIMETRES_PER_METRE = 100.0


def position_text(hand: HandMesh) -> str:
    """Return the wrist in the camera frame, and below it the standard deviation of each coordinate, in cm."""
    x, y, z = (f"{value * CENTIMETRES_PER_METRE:.1f}" for value in hand.wrist_camera_m)
    position = f"wrist x {x} y {y} z {z} cm"
    std_m = hand.wrist_std_m
    if std_m is None:
        return position
    x, y, z = (f"{value * CENTIMETRES_PER_METRE:.1f}" for value in std_m)
    return f"{position}\nsigma x {x} y {y} z {z} cm"


def wrist_distance_text(hands: Sequence[HandMesh]) -> str:
    """Return the distance of two wrists; empty unless there is one left and one right hand, as one person has."""
    if sorted(hand.handedness for hand in hands) != ["left", "right"]:
        return ""
    first, second = hands
    displacement_m = second.wrist_camera_m - first.wrist_camera_m
    distance_m = float(np.linalg.norm(displacement_m))
    std_m = wrist_distance_std_m(first, second)
    spread = "" if std_m is None else f" ± {std_m * CENTIMETRES_PER_METRE:.1f}"
    return f"wrist distance {distance_m * CENTIMETRES_PER_METRE:.1f}{spread} cm"


def wrist_distance_std_m(first: HandMesh, second: HandMesh) -> float | None:
    """Return the standard deviation of the distance of two wrists; None where it is unknown.

    The focal length is the same for both. Of an unmeasured hand size, half of the variance is taken as common to both
    hands of a person, the other half as the network's error in each.
    """
    uncertainties = first.position_uncertainty, second.position_uncertainty
    if uncertainties[0] is None or uncertainties[1] is None:
        return None
    displacement_m = second.wrist_camera_m - first.wrist_camera_m
    distance_m = max(float(np.linalg.norm(displacement_m)), 1e-6)
    direction = displacement_m / distance_m
    variance = float(direction @ (uncertainties[0].fit_covariance_m2 + uncertainties[1].fit_covariance_m2) @ direction)
    size_variance = uncertainties[0].size_std_fraction * uncertainties[1].size_std_fraction
    own_fraction = 0.0 if uncertainties[0].size_is_measured and uncertainties[1].size_is_measured else 0.5
    variance += (1 - own_fraction) * size_variance * distance_m**2
    variance += (
        own_fraction * size_variance * sum(float(direction @ hand.wrist_camera_m) ** 2 for hand in (first, second))
    )
    variance += (direction[2] * displacement_m[2] * first.intrinsics.focal_std_fraction) ** 2
    return math.sqrt(variance)


def intrinsics_summary(intrinsics: Intrinsics, size: tuple[int, int]) -> str:
    """Return intrinsics and fields of view of images of this size."""
    horizontal, vertical, diagonal = angles_deg(intrinsics, *size)
    (fx, fy), (cx, cy) = intrinsics.focals_px, intrinsics.centre_px
    numbers = f"fx {fx:.1f}, fy {fy:.1f}, cx {cx:.1f}, cy {cy:.1f} px"
    angles = f"HFOV {horizontal:.0f}°, VFOV {vertical:.0f}°, DFOV {diagonal:.0f}°"
    known = f"{ORIGIN_TEXTS[intrinsics.origin]}, focal length ± {100 * intrinsics.focal_std_fraction:.1f} %"
    return f"{size[0]} x {size[1]}: {numbers}; {angles}; {known}"


def camera_text(camera_model: CameraModel, frame: Frame) -> str:
    """Return which camera a frame is reconstructed with: a stated one, that of its EXIF data, or the assumed one."""
    if camera_model.mode != "assumed" or frame.exif_focal_px is None:
        return camera_model_in_words(camera_model)
    height, width = frame.image.shape[:2]
    return (
        f"{max(angles_deg(intrinsics_of_frame(camera_model, frame), width, height)[:2]):.0f}° field of view, from EXIF"
    )


class CameraModelControls(QWidget):
    """View and controls of a controller's camera model."""

    details_wanted = pyqtSignal()

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.field_of_view = number_box(ANGLE_LIMITS_DEG, " °")
        self.field_of_view.setToolTip("Field of view over the longer side of the image; distances depend on it")
        bind(
            self.field_of_view,
            "camera_model",
            controller,
            # For other camera models the angle depends on the aspect ratio: 4:3 is assumed.
            shown=_longer_angle_deg,
            taken=lambda angle_deg: CameraModel("angle", angle_deg),
        )
        self.known = named_label("faint", wraps=True)
        hint = "Presets, intrinsics, checkerboard calibration, size of the hand (Ctrl+L)"
        self.details = push_button("Intrinsics and hand size…", hint, self.details_wanted.emit)
        hint = "Flip only the display; hands are detected in the original image (M)"
        self.mirror = check_box("Mirror the display", hint)
        bind(self.mirror, "mirror", controller)
        self._lay_out()
        controller.settings_changed.connect(self.show_settings)
        self.show_settings(controller.settings)

    def _lay_out(self) -> None:
        title = named_label("", "FOV (longer side)")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(7)
        column.addLayout(row_of(title, self.field_of_view, wide=title))
        for part in (self.known, self.details, self.mirror):
            column.addWidget(part)

    def show_settings(self, settings: ViewSettings) -> None:
        """Show what is known of the camera."""
        self.known.setText(camera_model_in_words(settings.pipeline.camera_model))


def _longer_angle_deg(camera_model: CameraModel) -> float:
    if camera_model.mode != "intrinsics" and camera_model.side == "longer":
        return camera_model.field_of_view_deg
    size = camera_model.known_size if camera_model.mode == "intrinsics" else (640, 480)
    return max(angles_deg(camera_model.intrinsics_for(*size), *size)[:2])
