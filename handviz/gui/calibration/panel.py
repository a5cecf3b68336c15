"""What the left panel shows of the lens: its angle, how it is known, and the way to the dialog."""

import math
from collections.abc import Sequence

import numpy as np
from PyQt6.QtCore import QSignalBlocker, pyqtSignal
from PyQt6.QtWidgets import QVBoxLayout, QWidget

from handviz.core.camera_model import ANGLE_LIMITS_DEG, ORIGIN_TEXTS, CameraModel, angles_deg, camera_model_in_words
from handviz.core.records import HandMesh, Intrinsics
from handviz.gui.session.controller import Controller
from handviz.gui.session.settings import ViewSettings
from handviz.gui.widgets.controls import check_box, named_label, number_box, push_button, row_of

CENTIMETRES_PER_METRE = 100.0


# Where hands are, as sentences: centimetres with their standard deviation.


def position_text(hand: HandMesh) -> str:
    """Two lines: the wrist in the camera's frame, and the standard deviation of each number."""
    place = ", ".join(f"{value * CENTIMETRES_PER_METRE:.1f}" for value in hand.wrist_camera_m)
    std_m = hand.wrist_std_m
    if std_m is None:
        return f"wrist at {place} cm"
    spread = ", ".join(f"{value * CENTIMETRES_PER_METRE:.1f}" for value in std_m)
    return f"wrist at {place} cm\n± {spread} cm"


def wrist_distance_text(hands: Sequence[HandMesh]) -> str:
    """How far two wrists are apart; empty unless there are two hands."""
    if len(hands) != 2:
        return ""
    first, second = hands
    distance_m_apart = second.wrist_camera_m - first.wrist_camera_m
    distance_m = float(np.linalg.norm(distance_m_apart))
    std_m = wrist_distance_std_m(first, second)
    spread = "" if std_m is None else f" ± {std_m * CENTIMETRES_PER_METRE:.1f}"
    return f"wrists {distance_m * CENTIMETRES_PER_METRE:.1f}{spread} cm apart"


def wrist_distance_std_m(first: HandMesh, second: HandMesh) -> float | None:
    """Standard deviation of the distance of two wrists; None where it is not known.

    The focal length is the same for both. Of the size two hands of one person share what makes it unusual, not what the
    network sees differently in each: half of the variance is taken as shared where nobody measured.
    """
    uncertainties = first.position_uncertainty, second.position_uncertainty
    if uncertainties[0] is None or uncertainties[1] is None:
        return None
    distance_m_apart = second.wrist_camera_m - first.wrist_camera_m
    distance_m = max(float(np.linalg.norm(distance_m_apart)), 1e-6)
    way = distance_m_apart / distance_m
    variance = float(way @ (uncertainties[0].fit_covariance_m2 + uncertainties[1].fit_covariance_m2) @ way)
    size_variance = uncertainties[0].size_std_fraction * uncertainties[1].size_std_fraction
    own_fraction = 0.0 if uncertainties[0].size_is_measured and uncertainties[1].size_is_measured else 0.5
    variance += (1 - own_fraction) * size_variance * distance_m**2
    variance += own_fraction * size_variance * sum(float(way @ hand.wrist_camera_m) ** 2 for hand in (first, second))
    variance += (way[2] * distance_m_apart[2] * first.intrinsics.focal_std_fraction) ** 2
    return math.sqrt(variance)


def intrinsics_summary(intrinsics: Intrinsics, size: tuple[int, int]) -> str:
    """K of these images and the angles that it spans."""
    horizontal, vertical, diagonal = angles_deg(intrinsics, *size)
    (fx, fy), (cx, cy) = intrinsics.focals_px, intrinsics.centre_px
    numbers = f"fx {fx:.1f}, fy {fy:.1f}, cx {cx:.1f}, cy {cy:.1f} px"
    angles = f"{horizontal:.0f}° across, {vertical:.0f}° down, {diagonal:.0f}° over the diagonal"
    known = f"{ORIGIN_TEXTS[intrinsics.origin]}, focal length ± {100 * intrinsics.focal_std_fraction:.1f} %"
    return f"{size[0]} x {size[1]}: {numbers}; {angles}; {known}"


class CameraModelControls(QWidget):
    """Follows and drives a controller's lens."""

    details_wanted = pyqtSignal()

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.field_of_view = number_box(ANGLE_LIMITS_DEG, " °")
        self.field_of_view.setToolTip("Angle that the longer side of the image spans; it sets the distances")
        self.field_of_view.valueChanged.connect(
            lambda angle: controller.change(camera_model=CameraModel("angle", angle))
        )
        self.known = named_label("faint", wraps=True)
        hint = "Presets, fx fy cx cy, checkerboard, the size of your hand (Ctrl+L)"
        self.details = push_button("Lens and hand size …", hint, self.details_wanted.emit)
        hint = "Only what you see is flipped; the hands are found in the true image (M)"
        self.mirror = check_box("Mirror the display", hint, lambda checked: controller.change(mirror=checked))
        self._lay_out()
        controller.settings_changed.connect(self.show_settings)
        self.show_settings(controller.settings)

    def _lay_out(self) -> None:
        title = named_label("", "Field of view")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(7)
        column.addLayout(row_of(title, self.field_of_view, wide=title))
        for part in (self.known, self.details, self.mirror):
            column.addWidget(part)

    def show_settings(self, settings: ViewSettings) -> None:
        """Follow settings that were changed elsewhere."""
        with QSignalBlocker(self.field_of_view), QSignalBlocker(self.mirror):
            # Of a lens that is known otherwise the angle depends on the image's shape: 4:3 stands for it.
            self.field_of_view.setValue(_longer_angle_deg(settings.camera_model))
            self.mirror.setChecked(settings.mirror)
        self.known.setText(camera_model_in_words(settings.camera_model))


def _longer_angle_deg(camera_model: CameraModel) -> float:
    if camera_model.mode != "intrinsics" and camera_model.side == "longer":
        return camera_model.field_of_view_deg
    size = camera_model.known_size if camera_model.mode == "intrinsics" else (640, 480)
    return max(angles_deg(camera_model.intrinsics_for(*size), *size)[:2])
